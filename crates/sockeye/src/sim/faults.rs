//! What goes wrong, how often, and how often it did.

use std::time::Duration;

/// Something that a network, a kernel or a peer does to a program.
///
/// Those above [`LostEdge`](Self::LostEdge) keep the promises of [`sys`](crate::sys): a correct program shows the same
/// behaviour with them and without, apart from timing and from the connections that were reset or never made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// What was sent arrives in pieces, each an edge of its own.
    Cut,
    /// The next piece arrives in the middle of a turn, just before a `recv` or `send`.
    Race,
    /// Several things happen before a program sees any of them, and one report shows them all.
    Together,
    /// `send` takes less than there is room for; a writable edge follows.
    ShortSend,
    /// `recv`, `send` or `accept` answers `WouldBlock`, or `connected` false, although an edge came; another edge follows.
    WouldBlock,
    /// An edge is reported for which there is no reason.
    Spurious,
    /// An edge is reported later than it could be.
    Delayed,
    /// A report shows only the direction that changed, although the other one is ready too.
    Terse,
    /// `wait` returns only some of the ready handles; the rest come with the next call.
    SmallBatch,
    /// `wait`, `recv` or `send` fails with `Interrupted`: nothing happened, and no edge follows.
    Interrupted,
    /// `accept` fails for want of descriptors or memory (the connection stays), or because the connection is gone.
    AcceptFailed,
    /// `register` or `reregister` fails for want of memory.
    RegisterFailed,
    /// `connect` fails for want of ports, memory or a way, or the attempt does a round trip later.
    ConnectFailed,
    /// Looking a name up fails, although the network knows it.
    ResolveFailed,
    /// The network resets a connection, for each piece that arrives.
    Reset,
    /// The edge that says "there is room again" never comes. This *breaks* the promises: it is what a lost wake-up in the loop
    /// would look like, injected so that a test can prove that it would notice one.
    LostEdge,
}

impl Fault {
    /// Every kind there is.
    pub const ALL: [Self; 16] = [
        Self::Cut,
        Self::Race,
        Self::Together,
        Self::ShortSend,
        Self::WouldBlock,
        Self::Spurious,
        Self::Delayed,
        Self::Terse,
        Self::SmallBatch,
        Self::Interrupted,
        Self::AcceptFailed,
        Self::RegisterFailed,
        Self::ConnectFailed,
        Self::ResolveFailed,
        Self::Reset,
        Self::LostEdge,
    ];
}

/// How often each [`Fault`] happens, and how the network is built.
///
/// ```
/// use std::time::Duration;
///
/// use sockeye::sim::{Fault, Faults, Network};
///
/// let faults = Faults::usual().with(Fault::Reset, 5).with_latency(Duration::from_millis(20));
/// let network = Network::with_faults(7, faults);
/// # drop(network);
/// ```
#[derive(Clone, Debug)]
pub struct Faults {
    per_mille: [u16; Fault::ALL.len()],
    pub(super) latency: Duration,
    pub(super) segment: usize,
    pub(super) send_buffer: usize,
    pub(super) receive_buffer: usize,
}

impl Faults {
    /// A network that does nothing wrong: no latency, pieces of up to 64 KiB, buffers of 256 KiB.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            per_mille: [0; Fault::ALL.len()],
            latency: Duration::ZERO,
            segment: 64 << 10,
            send_buffer: 256 << 10,
            receive_buffer: 256 << 10,
        }
    }

    /// Everything that a correct program must not show: pieces down to one byte, small buffers, up to 2 ms of latency, and
    /// all the faults that cost no connection. [`Network::new`](super::Network::new) has these.
    #[must_use]
    pub const fn usual() -> Self {
        Self { latency: Duration::from_millis(2), segment: 4 << 10, ..Self::none() }
            .with_buffers(16 << 10, 16 << 10)
            .with(Fault::Cut, 1000)
            .with(Fault::Race, 100)
            .with(Fault::Together, 200)
            .with(Fault::ShortSend, 100)
            .with(Fault::WouldBlock, 30)
            .with(Fault::Spurious, 100)
            .with(Fault::Delayed, 50)
            .with(Fault::Terse, 300)
            .with(Fault::SmallBatch, 200)
            .with(Fault::Interrupted, 20)
    }

    /// [`usual`](Self::usual), and connections are lost, not accepted and not made besides.
    #[must_use]
    pub const fn harsh() -> Self {
        Self::usual()
            .with(Fault::AcceptFailed, 200)
            .with(Fault::RegisterFailed, 20)
            .with(Fault::ConnectFailed, 200)
            .with(Fault::ResolveFailed, 200)
            .with(Fault::Reset, 5)
    }

    /// The same, with `fault` happening `per_mille` times in a thousand that it could.
    #[must_use]
    pub const fn with(mut self, fault: Fault, per_mille: u16) -> Self {
        self.per_mille[fault as usize] = per_mille;
        self
    }

    /// The same, with a journey of up to `latency` for each piece.
    #[must_use]
    pub const fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// The same, with pieces of at most `bytes`; 1 is byte by byte.
    #[must_use]
    pub const fn with_segment(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "a segment has at least one byte");
        self.segment = bytes;
        self
    }

    /// The same, with room for so many bytes under way and so many arrived and not read, for each direction of a connection.
    #[must_use]
    pub const fn with_buffers(mut self, send: usize, receive: usize) -> Self {
        assert!(send > 0 && receive > 0, "a buffer has at least one byte");
        self.send_buffer = send;
        self.receive_buffer = receive;
        self
    }

    pub(super) const fn rate(&self, fault: Fault) -> u16 {
        self.per_mille[fault as usize]
    }
}

/// How often each [`Fault`] happened.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counts([u64; Fault::ALL.len()]);

impl Counts {
    /// How often `fault` happened.
    #[must_use]
    pub const fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    pub(super) const fn add(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }
}
