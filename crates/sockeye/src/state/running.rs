//! The connection whose step is running.

use crate::id::ConnId;
use crate::state::registry::{Entry, HELD, HOLDS_BACK, OF_STEP, PAUSED, Registry, WANTS_WRITE};

/// The connection whose step is running. Its flags are here meanwhile, since its own callbacks
/// change them most often; the end of the step writes them back.
pub(crate) struct RunningStep {
    pub(crate) id: ConnId,
    /// The flags at the start of the step.
    pub(crate) entry: Entry,
    pub(crate) budget: ReadBudget,
    /// The next read asks for no more than this.
    pub(crate) read_most: usize,
    /// Those of its flags that are [`OF_STEP`].
    flags: u16,
    /// The endpoint keeps ranges of the current read, and must be notified before it is
    /// overwritten.
    pub(crate) keeps_input: bool,
    /// The largest message that the connection receives.
    pub(crate) message_bytes: u64,
    /// Address and length of the bytes of the current read. Callbacks borrow pieces of them.
    window: (usize, usize),
}

/// The first read of a step, and the one behind a long frame, ask for no more than this. If that begins a long message, the
/// rest is received where it is collected, and so little is copied.
pub(crate) const FIRST_READ: usize = 64 * 1024;

/// No read into the loop's receive buffer asks for more: that is its size.
pub(crate) const MOST_READ: usize = 512 * 1024;

/// So many connections have a whole share each.
const FEW: usize = 4;
const LEAST_BYTES: usize = 32 * 1024;
const LEAST_FRAMES: usize = 64;

/// The rest of one connection's read budget for the turn.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ReadBudget {
    pub(crate) bytes: usize,
    pub(crate) frames: usize,
}

impl ReadBudget {
    /// What each of `busy` connections may read, and may send, in one turn, if one alone may have `whole`.
    ///
    /// A few have all of it, so that a single transfer goes at full speed. More share what those few would have, so that the
    /// turn stays short for everybody else, but each has a piece that is worth its system calls.
    pub(crate) fn share(whole: Self, busy: usize) -> Self {
        if busy <= FEW {
            return whole;
        }
        let part = |whole: usize, least: usize| (whole / busy).saturating_mul(FEW).max(least.min(whole));
        Self { bytes: part(whole.bytes, LEAST_BYTES), frames: part(whole.frames, LEAST_FRAMES) }
    }

    /// The smaller of both, of each part.
    pub(crate) fn min(self, other: Self) -> Self {
        Self { bytes: self.bytes.min(other.bytes), frames: self.frames.min(other.frames) }
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.bytes == 0 || self.frames == 0
    }
}

impl RunningStep {
    /// Notes what a read cost that brought nothing.
    pub(crate) fn spend(&mut self, cost: usize) {
        self.budget.bytes = self.budget.bytes.saturating_sub(cost);
    }

    pub(super) fn none() -> Self {
        Self {
            id: ConnId::default(),
            entry: Entry::accepted(),
            budget: ReadBudget::default(),
            read_most: FIRST_READ,
            flags: 0,
            keeps_input: false,
            message_bytes: 0,
            window: (0, 0),
        }
    }

    /// Begins a step.
    #[inline]
    pub(super) fn begin(&mut self, id: ConnId, entry: Entry, budget: ReadBudget) {
        self.id = id;
        self.entry = entry;
        self.budget = budget;
        self.read_most = FIRST_READ;
        self.flags = entry.flags & OF_STEP;
    }

    /// Ends the step.
    #[inline]
    pub(super) fn end(&mut self, registry: &mut Registry) {
        if self.flags != self.entry.flags & OF_STEP {
            self.put_back(registry);
        }
        self.id = ConnId::default();
        self.keeps_input = false;
        self.clear_window();
    }

    fn put_back(&self, registry: &mut Registry) {
        if let Some(entry) = registry.get_mut(self.id) {
            entry.flags = entry.flags & !OF_STEP | self.flags;
        }
    }

    #[inline]
    pub(crate) fn wants_write(&self) -> bool {
        self.flags & WANTS_WRITE != 0
    }

    #[inline]
    pub(crate) fn is_paused(&self) -> bool {
        self.flags & (PAUSED | HELD) != 0
    }

    /// The writable callback was requested.
    #[inline]
    pub(super) fn want_write(&mut self) {
        self.flags |= WANTS_WRITE;
    }

    /// The request for the writable callback was carried out.
    #[inline]
    pub(crate) fn grant_write(&mut self) {
        self.flags &= !WANTS_WRITE;
    }

    pub(super) fn set_paused(&mut self, paused: bool) {
        self.set(PAUSED, paused);
    }

    /// A layer whose output is behind pauses reading, or resumes it.
    #[inline]
    pub(crate) fn set_held(&mut self, held: bool) {
        self.set(HELD, held);
    }

    /// Messages of a layer wait, or no longer do.
    pub(crate) fn set_holds_back(&mut self, holds: bool) {
        self.set(HOLDS_BACK, holds);
    }

    /// Whether what is published and pushed has to wait behind messages of a layer.
    pub(crate) fn holds_back(&self) -> bool {
        self.flags & HOLDS_BACK != 0
    }

    /// The endpoint keeps ranges of the current read, or no longer does.
    #[inline]
    pub(crate) fn set_keeps_input(&mut self, keeps: bool) {
        self.keeps_input = keeps;
    }

    #[inline]
    fn set(&mut self, flag: u16, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    /// The offset of `bytes` within the current read, if they are part of it.
    #[inline]
    pub(crate) fn offset_of(&self, bytes: &[u8]) -> Option<usize> {
        let offset = (bytes.as_ptr() as usize).wrapping_sub(self.window.0);
        (offset < self.window.1 && bytes.len() <= self.window.1 - offset).then_some(offset)
    }

    /// The current read is in `bytes`.
    #[inline]
    pub(crate) fn set_window(&mut self, bytes: &[u8]) {
        self.window = (bytes.as_ptr() as usize, bytes.len());
    }

    /// The current read is used up: its bytes may be overwritten.
    #[inline]
    pub(crate) fn clear_window(&mut self) {
        self.window = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_share_what_a_few_would_have() {
        let whole = ReadBudget { bytes: 1024 * 1024, frames: 1024 };
        let share = |busy| ReadBudget::share(whole, busy);
        assert_eq!((share(0), share(1), share(FEW)), (whole, whole, whole));
        assert_eq!(share(4 * FEW), ReadBudget { bytes: 256 * 1024, frames: 256 });
        assert_eq!(share(1000), ReadBudget { bytes: LEAST_BYTES, frames: LEAST_FRAMES });
        for busy in FEW + 1..=64 {
            let share = share(busy);
            assert!(share.bytes * busy <= FEW * whole.bytes && share.frames * busy <= FEW * whole.frames, "{busy}");
        }
        // What the program allows less of stays as it is.
        let little = ReadBudget { bytes: 64, frames: 1 };
        assert_eq!(ReadBudget::share(little, 1 << 20), little);
    }
}
