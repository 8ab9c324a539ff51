//! Stands for `connects` without the feature `client`: nothing connects.
#![expect(clippy::needless_pass_by_ref_mut, reason = "signatures are those of `connects`")]

use std::iter;

use crate::client::Retry;
use crate::id::ConnId;
use crate::state::commands::Commands;

#[derive(Debug, Default)]
pub(crate) struct Connects {}

impl Connects {
    pub(crate) fn has_planned(&self) -> bool {
        false
    }

    pub(crate) fn has_work(&self) -> bool {
        false
    }

    pub(crate) fn planned_ids(&self) -> impl ExactSizeIterator<Item = ConnId> {
        iter::empty()
    }

    pub(crate) fn clear_planned(&mut self) {}

    pub(crate) fn keeps(&self, _: ConnId) -> bool {
        false
    }
}

impl Commands {
    pub(crate) fn retry_after_close(&mut self, _: ConnId, _: Option<u64>) -> Option<Retry> {
        None
    }
}
