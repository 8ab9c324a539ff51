//! Stands for `opening` without the feature `client`: no connection is being opened.
#![expect(clippy::needless_pass_by_ref_mut, reason = "signatures are those of `opening`")]

use sockeye_proto::time::Instant;

use crate::client::FailureCause;
use crate::conn::env::Env;
use crate::conn::raw::Raw;
use crate::conn::step::Step;
use crate::conn::websocket::WebSocket;
use crate::conn::wire::Wire;
use crate::id::ConnId;

pub(super) enum Opening {}

#[expect(dead_code, reason = "nothing opens")]
pub(super) enum AfterOpening {
    WebSocket(WebSocket),
    Raw(Box<Raw>),
}

#[derive(Debug)]
pub(crate) enum Unopened {}

impl Opening {
    pub(super) fn deadline(&self) -> Instant {
        match *self {}
    }

    pub(super) fn step(&mut self, _: &mut Wire, _: &mut Env, _: ConnId) -> Result<Step<AfterOpening>, FailureCause> {
        match *self {}
    }

    pub(super) fn held_bytes(&self) -> usize {
        match *self {}
    }

    pub(super) fn shed(&self) -> FailureCause {
        match *self {}
    }

    pub(super) fn timed_out(&self, _: Instant) -> FailureCause {
        match *self {}
    }

    pub(super) fn give_up(&mut self, _: FailureCause) -> Option<Box<Unopened>> {
        match *self {}
    }
}
