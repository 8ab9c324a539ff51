//! Stands for `tls` without a feature that brings it: no connection can be told to begin it.
#![expect(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "signatures are those of `tls`")]

use crate::conn::env::Env;
use crate::conn::linger::Linger;
use crate::conn::raw::{Callbacks, Raw};
use crate::conn::step::Step;
use crate::conn::wire::Wire;
use crate::id::ConnId;
use crate::state::TlsStart;
use crate::transport::{LoopIo, Socket};

impl Raw {
    pub(in crate::conn) fn start_tls(&mut self, start: &TlsStart) {
        match start.role {}
    }

    pub(super) fn step_starting(&mut self, _: &mut Wire, _: &mut Env, _: ConnId) -> Step<Linger> {
        Step::Wait
    }

    pub(super) fn note_late(&mut self, _: &mut Env) {}

    pub(in crate::conn) fn release(&mut self, _: &Wire, _: &mut Env) {}

    pub(super) fn tell_failure(&self, _: &mut Callbacks<'_>, _: &mut LoopIo, _: &mut Socket) {}
}
