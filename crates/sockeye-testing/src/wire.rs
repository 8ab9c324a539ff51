//! The other end of a simulated connection, whose bytes go as they are or through the transform that stands for TLS.

use std::cell::RefCell;
use std::ops::Deref;

use sockeye::sim::{Peer, Scrambler};

/// A [`Peer`] whose test speaks plaintext. What it sends is sealed and what it receives is opened, when the service was
/// built with [`scrambled`](sockeye::Builder::scrambled); where the bytes are cut is up to the network.
///
/// All that does not carry bytes is the peer's own.
pub struct Wire {
    peer: Peer,
    transform: Option<RefCell<Transform>>,
}

struct Transform {
    sealer: Scrambler,
    opener: Scrambler,
}

/// What was taken from the network at one time.
pub struct Taken {
    /// How many bytes came, as the network carries them.
    pub wire_bytes: usize,
    /// What they say. It may be empty though bytes came: a record is opened when it is complete.
    pub plaintext: Vec<u8>,
}

impl Wire {
    /// Bytes as they are, or scrambled with this seed.
    pub fn new(peer: Peer, scrambled: Option<u64>) -> Self {
        let transform = |seed| RefCell::new(Transform { sealer: Scrambler::new(seed), opener: Scrambler::new(seed) });
        Self { peer, transform: scrambled.map(transform) }
    }

    pub fn send(&self, bytes: &[u8]) {
        match &self.transform {
            Some(transform) => self.peer.send(&transform.borrow_mut().seal(bytes)),
            None => self.peer.send(bytes),
        }
    }

    /// Ends the sending side. If bytes are sealed, the beginning of a record with `lost` goes before the end: the network
    /// carries it and no program may see it.
    pub fn shutdown_inside_record(&self, lost: &[u8]) {
        if let Some(transform) = &self.transform {
            let sealed = transform.borrow_mut().seal(lost);
            self.peer.send(&sealed[..sealed.len().saturating_sub(1)]);
        }
        self.peer.shutdown();
    }

    /// Takes up to `most` bytes of what arrived.
    pub fn take(&self, most: usize) -> Taken {
        let bytes = self.peer.recv_at_most(most);
        let wire_bytes = bytes.len();
        let plaintext = match &self.transform {
            Some(transform) => transform.borrow_mut().open(&bytes),
            None => bytes,
        };
        Taken { wire_bytes, plaintext }
    }

    /// What [`take`](Self::take) of so many bytes says.
    pub fn recv_at_most(&self, most: usize) -> Vec<u8> {
        self.take(most).plaintext
    }

    /// What everything that has arrived says.
    pub fn recv(&self) -> Vec<u8> {
        self.recv_at_most(usize::MAX)
    }

    /// Whether the beginning of a record was taken, and not its end.
    pub fn is_inside_record(&self) -> bool {
        self.transform.as_ref().is_some_and(|transform| transform.borrow().opener.is_inside_record())
    }
}

impl Transform {
    fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        self.sealer.seal(bytes, &mut sealed);
        sealed
    }

    fn open(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut opened = Vec::new();
        self.opener.open(bytes, &mut opened);
        opened
    }
}

impl Deref for Wire {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}
