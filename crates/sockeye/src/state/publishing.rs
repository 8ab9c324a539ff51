//! Messages for all connections of a protocol, kept as messages until the loop sends them.

use sockeye_proto::wire::MessageKind;

use crate::state::endpoints::EndpointIndex;
use crate::transport::Batch;

/// The messages published since the last flush, by endpoint.
pub(crate) struct Publishing {
    batches: Vec<Batch>,
    /// Something was published: one flag, since it is checked after each step.
    any: bool,
}

impl Publishing {
    pub(super) fn new(endpoints: usize) -> Self {
        Self { batches: (0..endpoints).map(|_| Batch::default()).collect(), any: false }
    }

    pub(super) fn push(&mut self, endpoint: EndpointIndex, kind: MessageKind, payload: &[u8]) {
        if let Some(batch) = self.batches.get_mut(endpoint.get()) {
            batch.push(kind, payload);
            self.any = true;
        }
    }

    /// Whether anything waits to be sent.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        !self.any
    }

    /// The number of endpoints.
    pub(crate) fn endpoints(&self) -> u16 {
        self.batches.len() as u16
    }

    /// Clears the flag: everything is about to be taken.
    pub(crate) fn begin_flush(&mut self) {
        self.any = false;
    }

    /// Takes the messages of one endpoint, if they have at least `least` bytes and are not empty.
    pub(crate) fn take(&mut self, endpoint: EndpointIndex, least: usize) -> Option<Batch> {
        let batch = self.batches.get_mut(endpoint.get())?;
        let is_wanted = !batch.is_empty() && batch.bytes() >= least;
        is_wanted.then(|| std::mem::take(batch))
    }

    /// Returns the memory of a sent batch, if nothing was published meanwhile.
    pub(crate) fn recycle(&mut self, endpoint: EndpointIndex, empty: Batch) {
        if let Some(batch) = self.batches.get_mut(endpoint.get()).filter(|batch| batch.is_empty()) {
            *batch = empty;
        }
    }

    /// A batch that has this many bytes leaves before the turn ends, so that the memory of a turn stays bounded.
    pub(crate) const LARGE_BYTES: usize = 64 * 1024;
    /// How many bytes of a batch's memory are kept for the next turn.
    pub(crate) const KEPT_BYTES: usize = 2 * Self::LARGE_BYTES;
}
