//! What the kernel reported about one socket. The poller is edge-triggered and reports a change once, so it is kept here.

use crate::sys;

/// The state of a socket, as far as the kernel has reported it.
///
/// One byte, since every connection has one. The bits are private: each question and each change is a method.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Readiness(u8);

const READABLE: u8 = 1;
const WRITABLE: u8 = 2;
/// The peer ended its sending side; what it sent before is still to be read.
const READ_CLOSED: u8 = 4;
/// Reset or error: nothing more can be sent.
const BROKEN: u8 = 8;
/// A read may end before everything was read: at TCP's urgent mark (tcp(7)), or behind a message with descriptors (unix(7)).
const STOPS_EARLY: u8 = 16;

impl Readiness {
    #[inline]
    pub(super) fn is_readable(self) -> bool {
        self.0 & READABLE != 0
    }

    /// Whether the socket takes output: writable, and not broken.
    #[inline]
    pub(super) fn can_send(self) -> bool {
        self.0 & (WRITABLE | BROKEN) == WRITABLE
    }

    #[inline]
    pub(super) fn is_writable(self) -> bool {
        self.0 & WRITABLE != 0
    }

    #[inline]
    pub(super) fn is_broken(self) -> bool {
        self.0 & BROKEN != 0
    }

    pub(super) fn has_read_closed(self) -> bool {
        self.0 & READ_CLOSED != 0
    }

    /// Whether a short read means that nothing more is there. It does not after the end of the input was reported, which
    /// no further edge announces, nor on a socket whose reads may stop early.
    #[inline]
    pub(super) fn trusts_short_reads(self) -> bool {
        self.0 & (READ_CLOSED | BROKEN | STOPS_EARLY) == 0
    }

    pub(super) fn set_stops_early(&mut self) {
        self.set(STOPS_EARLY, true);
    }

    pub(super) fn set_readable(&mut self, readable: bool) {
        self.set(READABLE, readable);
    }

    pub(super) fn set_writable(&mut self, writable: bool) {
        self.set(WRITABLE, writable);
    }

    pub(super) fn set_broken(&mut self, broken: bool) {
        self.set(BROKEN, broken);
    }

    /// Adds what the poller reported.
    #[inline]
    pub(super) fn note(&mut self, event: &sys::Readiness) {
        self.0 |= (u8::from(event.readable) * READABLE) | (u8::from(event.writable) * WRITABLE);
        if event.read_closed | event.error | event.urgent {
            self.note_rare(event);
        }
    }

    #[cold]
    fn note_rare(&mut self, event: &sys::Readiness) {
        let mut bits = 0;
        if event.read_closed {
            // The read side only: what was sent before the end is still to be read.
            bits |= READ_CLOSED | READABLE;
        }
        if event.error {
            // Nothing more can be sent. Reading returns what still arrived, and how the connection ended.
            bits |= BROKEN | READABLE;
        }
        if event.urgent {
            bits |= STOPS_EARLY | READABLE;
        }
        self.0 |= bits;
    }

    fn set(&mut self, bit: u8, on: bool) {
        if on {
            self.0 |= bit;
        } else {
            self.0 &= !bit;
        }
    }
}
