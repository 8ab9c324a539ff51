//! Stands for `tls` without a feature that brings it: no connect has a configuration of TLS.
#![expect(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "signatures are those of `tls`")]

use crate::client::FailureCause;
use crate::client::negotiate::Negotiation;
use crate::conn::env::Env;
use crate::conn::opening::{AfterOpening, Opening};
use crate::conn::step::Step;
use crate::conn::wire::Wire;
use crate::id::ConnId;

impl Opening {
    pub(super) fn secure(&mut self, _: &mut Wire, _: &mut Env, _: ConnId, _: &[u8]) -> Result<(), FailureCause> {
        Err(FailureCause::Unsupported("there is no TLS"))
    }

    pub(super) fn secure_proxy(&mut self, _: &mut Wire, _: &mut Env, _: Negotiation) -> Result<(), FailureCause> {
        Err(FailureCause::Unsupported("there is no TLS"))
    }

    pub(super) fn shake(
        &mut self,
        _: &mut Wire,
        _: &mut Env,
        _: ConnId,
    ) -> Result<Option<Step<AfterOpening>>, FailureCause> {
        Ok(None)
    }

    pub(super) fn late_refusal(&self, _: &mut Wire) -> Option<FailureCause> {
        None
    }
}
