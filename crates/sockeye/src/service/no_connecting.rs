//! Stands for `connecting` without the feature `client`: nothing connects, so no attempt is under way.
#![expect(clippy::needless_pass_by_ref_mut, reason = "signatures are those of `connecting`")]

use sockeye_proto::time::Instant;

use crate::client::FailureCause;
use crate::conn::Unopened;
use crate::id::ConnId;
use crate::service::core::Service;

#[derive(Default)]
pub(super) struct Connecting {}

impl Connecting {
    pub(super) fn is_armed(&self, _: ConnId, _: Instant) -> bool {
        false
    }

    pub(super) fn unstarted(&self) -> usize {
        0
    }
}

impl Service {
    pub(crate) fn start_connects(&mut self) {}

    pub(crate) fn take_resolved(&mut self) {}

    pub(crate) fn racer_event(&mut self, _: u64) {}

    pub(crate) fn attempt_due(&mut self, _: ConnId, _: Instant) {}

    pub(crate) fn retire_unopened(&mut self, _: ConnId, unopened: Unopened) {
        match unopened {}
    }

    /// Gives up an adoption that has no outcome yet.
    pub(crate) fn cancel(&mut self, id: ConnId, _: FailureCause) {
        self.cancel_adoption(id);
    }
}
