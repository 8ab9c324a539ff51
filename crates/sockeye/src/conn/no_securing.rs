//! Stands for `securing` without a feature that brings TLS: no handshake is under way.
#![expect(clippy::needless_pass_by_ref_mut, reason = "signatures are those of `securing`")]

use sockeye_proto::time::Instant;

use crate::conn::env::Env;
use crate::conn::http::Http;
use crate::conn::linger::Linger;
use crate::conn::policy::Secured;
use crate::conn::raw::Raw;
use crate::conn::step::{Due, Step};
use crate::conn::wire::Wire;
use crate::id::ConnId;
use crate::limits::Limits;
use crate::sys::Address;

pub(super) enum Securing {}

#[expect(dead_code, reason = "no handshake leads anywhere")]
pub(super) enum AfterSecuring {
    Http(Box<Http>),
    Raw(Box<Raw>),
    Linger(Linger),
}

impl Securing {
    pub(super) fn new(_: &Limits, _: Instant, secured: &Secured, _: Option<Address>) -> Box<Self> {
        match secured.tls {}
    }

    pub(super) fn deadline(&self) -> Instant {
        match *self {}
    }

    pub(super) fn step(&mut self, _: &mut Wire, _: &mut Env, _: ConnId) -> Step<AfterSecuring> {
        match *self {}
    }

    pub(super) fn due(&mut self, _: &Wire, _: &mut Env, _: ConnId) -> Due<AfterSecuring> {
        match *self {}
    }

    pub(super) fn release(&mut self, _: &Wire, _: &mut Env) {
        match *self {}
    }
}
