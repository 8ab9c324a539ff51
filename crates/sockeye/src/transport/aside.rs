//! State that few WebSockets need: what waits for the end of a fragmented message, and what compression keeps.

use std::cell::RefCell;
use std::rc::Rc;

use sockeye_proto::conn::{Connection, Deflation, Inflation};
use sockeye_proto::ext::deflate::Agreed;
use sockeye_proto::time::Instant;

use crate::transport::account::{Account, Charge};
use crate::transport::batch::Framed;
use crate::transport::codec::Inflater;
use crate::transport::codecs::Binding;
use crate::transport::feed::Told;
use crate::transport::heap::give_back;
use crate::transport::pool::Pool;

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

    /// Forgets the history of what was sent, if it is time. `old` takes what that leaves.
    pub(crate) fn forget(self: &mut Box<Self>, ws: &Connection, old: &mut Old, account: &Rc<Account>, now: Instant) {
        let is_due = self.forget_at().is_some_and(|at| at <= now);
        let (Some(packing), Some(agreed)) = (self.packing.as_mut().filter(|_| is_due), ws.deflate()) else { return };
        packing.told = Told::default();
        packing.binding = Binding::NONE;
        packing.forget_at = None;
        let is_between = !packing.inflation.is_within() && !packing.is_fragmenting && self.held.batches.is_empty();
        if is_between && packing.inflation.is_needed() && packing.deflation.held_bytes() > 0 {
            let mut kept = Packing::new(agreed, packing.deflation.history().most());
            kept.inflation = packing.inflation.clone();
            kept.count(account);
            let kept = Self { held: Held::default(), had_last_call: self.had_last_call, packing: Some(kept) };
            old.keep(std::mem::replace(self, Box::new(kept)), account, now);
            return;
        }
        old.freed += usize::from(packing.deflation.held_bytes() > 0);
        packing.deflation.forget();
        packing.count(account);
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

    /// What compression keeps of `ws`, with at most `history_bytes` of what is sent if that is new; `None` if it is not agreed on.
    #[inline]
    pub(super) fn packing(&mut self, ws: &Connection, history_bytes: impl FnOnce() -> usize) -> Option<&mut Packing> {
        let agreed = ws.deflate()?;
        Some(self.packing.get_or_insert_with(|| Packing::new(agreed, history_bytes())))
    }

    /// Drops what compression keeps, if the next message does without.
    pub(super) fn drop_packing(&mut self) {
        if self.packing.as_ref().is_some_and(|packing| !packing.is_needed()) {
            self.packing = None;
        }
    }
}

/// What was freed of histories, which becomes pages for the system only together.
///
/// Between two histories of 2 KiB that stay, a freed one leaves a hole that is shorter than a page. So what stays of a connection is
/// copied, and what it had goes here until there is more of that: neighbours on the heap go at once, and the copies lie side by
/// side.
#[derive(Default)]
pub(crate) struct Old {
    #[expect(clippy::vec_box, reason = "a box that goes now would leave a hole as well")]
    asides: Vec<Box<Aside>>,
    /// When the first of them came.
    since: Option<Instant>,
    /// How many histories were freed since memory was last given back.
    freed: usize,
}

impl Old {
    fn keep(&mut self, aside: Box<Aside>, account: &Rc<Account>, now: Instant) {
        self.asides.push(aside);
        self.since.get_or_insert(now);
        if self.asides.len() >= TOGETHER || account.is_over() {
            self.free();
        }
    }

    fn free(&mut self) {
        self.freed += self.asides.len();
        self.asides = Vec::new();
        self.since = None;
        if self.freed >= TOGETHER {
            self.freed = 0;
            give_back();
        }
    }

    /// Whether nothing is here, and nothing was freed.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.since.is_none() && self.freed < TOGETHER
    }

    /// When [`tidy`](Self::tidy) has something to do.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.since.map(|since| since.saturating_add(KEPT_OLD_FOR))
    }

    /// A turn ends: what has been here for some time goes.
    pub(super) fn tidy(&mut self, now: Instant) {
        if self.look_at().is_some_and(|at| at <= now) || self.freed >= TOGETHER {
            self.free();
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
        !self.told.is_empty() || !self.deflation.history().is_empty()
    }

    /// Something was sent: its history is kept for some time from now on.
    pub(super) fn sent(&mut self, now: Instant) {
        if self.has_sent() {
            self.forget_at = Some(now.saturating_add(FORGOTTEN_AFTER));
        }
    }

    /// Counts what it holds.
    pub(super) fn count(&mut self, account: &Rc<Account>) {
        self.charge.set(account, self.bytes());
    }

    /// The same, and looks for the account only if it holds more or less than it did, which few messages change.
    #[inline]
    pub(super) fn count_in(&mut self, pool: &RefCell<Pool>) {
        if self.bytes() != self.charge.bytes() {
            self.count(pool.borrow().account());
        }
    }

    #[inline]
    fn bytes(&self) -> usize {
        let inflater = if self.inflater.is_some() { Inflater::BYTES } else { 0 };
        let histories = self.inflation.held_bytes() + self.deflation.held_bytes();
        histories + inflater + size_of::<Aside>()
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
/// So many histories are freed together: two megabytes.
const TOGETHER: usize = 500;
/// Fewer are kept no longer than this.
const KEPT_OLD_FOR: std::time::Duration = std::time::Duration::from_secs(1);
/// How long the history of what we sent is kept after the last message: it may be forgotten at any time, at the price of the
/// next few messages.
pub(super) const FORGOTTEN_AFTER: std::time::Duration = std::time::Duration::from_secs(30);
