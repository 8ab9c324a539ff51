//! State that few WebSockets need: what waits for the end of a fragmented message, and what compression keeps.

use std::rc::Rc;

use sockeye_proto::conn::{Connection, Deflation, Inflation};
use sockeye_proto::ext::deflate::Agreed;
use sockeye_proto::time::Instant;

use crate::transport::account::{Account, Charge};
use crate::transport::batch::Framed;
use crate::transport::codec::Inflater;
use crate::transport::codecs::{Binding, Codecs};
use crate::transport::feed::Told;

/// Rare state of one WebSocket.
#[derive(Default)]
pub(crate) struct Aside {
    /// Published messages that wait for the end of our own fragmented message.
    held: Held,
    /// The writable callback was called once more after a Close frame was queued: now that frame goes.
    pub(crate) had_last_call: bool,
    pub(super) packing: Option<Packing>,
}

impl Aside {
    /// How many bytes of published messages wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.held.bytes
    }

    /// How many bytes it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.bytes + self.packing.as_ref().map_or(0, |packing| packing.charge.bytes())
    }

    /// Whether it may be dropped while the connection is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.batches.is_empty() && self.packing.is_none()
    }

    /// Keeps what was published until something that goes before it is sent.
    pub(crate) fn hold(&mut self, batch: Rc<Framed>, first: usize) {
        self.held.bytes += batch.memory() + SHARE;
        self.held.batches.push((batch, first));
    }

    /// What was kept, each with the number of its first message that was not sent yet.
    pub(super) fn take_held(&mut self) -> Vec<(Rc<Framed>, usize)> {
        self.held.bytes = 0;
        std::mem::take(&mut self.held.batches)
    }

    /// When the history of what was sent is to be forgotten.
    pub(crate) fn forget_at(&self) -> Option<Instant> {
        self.packing.as_ref().and_then(|packing| packing.forget_at)
    }

    /// Forgets the history of what was sent, if it is time.
    pub(crate) fn forget(&mut self, account: &Rc<Account>, now: Instant) {
        if let Some(packing) = self.packing.as_mut().filter(|packing| packing.forget_at.is_some_and(|at| at <= now)) {
            packing.deflation.forget();
            packing.told = Told::default();
            packing.binding = Binding::NONE;
            packing.forget_at = None;
            packing.count(account);
        }
        self.drop_packing();
    }

    /// Whether a fragmented message of ours is being compressed.
    pub(super) fn is_fragmenting(&self) -> bool {
        self.packing.as_ref().is_some_and(|packing| packing.is_fragmenting)
    }

    pub(super) fn set_fragmenting(&mut self, on: bool) {
        if let Some(packing) = &mut self.packing {
            packing.is_fragmenting = on;
        }
        self.drop_packing();
    }

    /// What compression keeps of `ws`; `None` if it is not agreed on.
    pub(super) fn packing(&mut self, ws: &Connection, history_bytes: usize) -> Option<&mut Packing> {
        let agreed = ws.deflate()?;
        Some(self.packing.get_or_insert_with(|| Packing::new(agreed, history_bytes)))
    }

    /// Drops what compression keeps, if the next message does without.
    pub(super) fn drop_packing(&mut self) {
        if self.packing.as_ref().is_some_and(|packing| !packing.is_needed()) {
            self.packing = None;
        }
    }
}

/// What compression keeps of one connection.
pub(super) struct Packing {
    pub(super) inflation: Inflation,
    pub(super) deflation: Deflation,
    /// What was published for it since, which is not in the history of `deflation` yet.
    pub(super) told: Told,
    /// The decompressor of the message in progress.
    pub(super) inflater: Option<Inflater>,
    /// The compressor that knows what was sent.
    pub(super) binding: Binding,
    /// A fragmented message of ours is compressed.
    pub(super) is_fragmenting: bool,
    pub(super) forget_at: Option<Instant>,
    charge: Charge,
}

impl Packing {
    fn new(agreed: Agreed, history_bytes: usize) -> Self {
        Self {
            inflation: Inflation::new(agreed.receive),
            deflation: Deflation::new(agreed.send, history_bytes),
            told: Told::default(),
            inflater: None,
            binding: Binding::NONE,
            is_fragmenting: false,
            forget_at: None,
            charge: Charge::default(),
        }
    }

    fn is_needed(&self) -> bool {
        self.inflation.is_needed() || self.has_sent() || self.is_fragmenting
    }

    /// Whether the next message may refer to what was sent.
    fn has_sent(&self) -> bool {
        !self.told.is_empty() || !self.deflation.history().bytes().is_empty()
    }

    /// Something was sent: its history is kept for some time from now on.
    pub(super) fn sent(&mut self, now: Instant) {
        if self.has_sent() {
            self.forget_at = Some(now.saturating_add(FORGOTTEN_AFTER));
        }
    }

    /// Counts what it holds.
    pub(super) fn count(&mut self, account: &Rc<Account>) {
        let inflater = if self.inflater.is_some() { Inflater::BYTES } else { 0 };
        let histories = self.inflation.held_bytes() + self.deflation.held_bytes();
        self.charge.set(account, histories + inflater + size_of::<Aside>());
    }

    /// Takes a decompressor for the next piece: that of the message in progress, or any.
    pub(super) fn take_inflater(&mut self, codecs: &mut Codecs) -> Option<Inflater> {
        self.inflater.take().or_else(|| codecs.take_inflater())
    }

    /// Gives it back, to be kept if its message goes on.
    pub(super) fn give_inflater(&mut self, inflater: Inflater, codecs: &mut Codecs) {
        if self.inflation.is_within() {
            self.inflater = Some(inflater);
        } else {
            codecs.give_inflater(inflater);
        }
    }
}

/// Published and pushed messages that wait for the end of their connection's own fragmented message, or for the messages of a
/// layer, in order.
#[derive(Default)]
struct Held {
    batches: Vec<(Rc<Framed>, usize)>,
    /// Their bytes, overhead included.
    bytes: usize,
}

/// The overhead of a share of a batch, beside its bytes.
const SHARE: usize = 64;
/// How long the history of what we sent is kept after the last message: it may be forgotten at any time, at the price of the
/// next few messages.
pub(super) const FORGOTTEN_AFTER: std::time::Duration = std::time::Duration::from_secs(30);
