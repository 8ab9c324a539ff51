//! What a fraggle server says: random messages in random fragments, each followed by its sum. Apart from the network.
//!
//! The format of libwebsockets' `test-fraggle`, over and over: a binary message of 1 to 1,024 fragments (a BINARY frame,
//! CONTINUATION frames, FIN on the last) of 1 to 2,000 bytes each, then a binary message of four bytes, which is the sum of
//! all bytes of the message before, modulo 2^32, in network order.

use crate::random::Random;

/// The subprotocol, as libwebsockets' `test-fraggle` calls it.
pub(crate) const NAME: &str = "fraggle-protocol";

/// Fragments of a message at most.
pub(crate) const FRAGMENTS: u32 = 1024;

/// Bytes of a fragment at most.
pub(crate) const FRAGMENT_BYTES: u32 = 2000;

/// One connection's messages.
#[derive(Debug)]
pub(crate) struct Generator {
    random: Random,
    /// The present fragment.
    fragment: Vec<u8>,
    /// Of the present message; none before the first fragment and after the last.
    left: u32,
    message: Message,
}

/// A message as far as it was said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Message {
    pub(crate) fragments: u32,
    pub(crate) bytes: u64,
    pub(crate) sum: u32,
}

impl Message {
    pub(crate) fn add(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        let sum: u64 = piece.iter().map(|byte| u64::from(*byte)).sum();
        self.sum = self.sum.wrapping_add(sum as u32);
    }
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            fragment: Vec::with_capacity(FRAGMENT_BYTES as usize),
            left: 0,
            message: Message::default(),
        }
    }

    /// The next fragment, and whether it is the last of its message. After a last one comes the first of a new message.
    pub(crate) fn fragment(&mut self) -> (&[u8], bool) {
        if self.left == 0 {
            self.left = 1 + self.random.below(FRAGMENTS);
            self.message = Message::default();
        }
        self.left -= 1;
        self.fragment.resize(1 + self.random.below(FRAGMENT_BYTES) as usize, 0);
        self.random.fill(&mut self.fragment);
        self.message.fragments += 1;
        self.message.add(&self.fragment);
        (&self.fragment, self.left == 0)
    }

    /// What was said of the present message, or of the last one.
    pub(crate) fn message(&self) -> Message {
        self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_and_length_is_within_bounds_and_the_sum_is_of_the_bytes() {
        let mut generator = Generator::new(5);
        let (mut shortest, mut longest) = (u32::MAX, 0);
        for _ in 0..50 {
            let (mut sum, mut bytes, mut count) = (0_u32, 0, 0);
            loop {
                let (fragment, last) = generator.fragment();
                assert!((1..=2000).contains(&fragment.len()));
                (shortest, longest) = (shortest.min(fragment.len() as u32), longest.max(fragment.len() as u32));
                sum = fragment.iter().fold(sum, |sum, byte| sum.wrapping_add(u32::from(*byte)));
                bytes += fragment.len() as u64;
                count += 1;
                if last {
                    break;
                }
            }
            assert!((1..=1024).contains(&count));
            assert_eq!(generator.message(), Message { fragments: count, bytes, sum });
        }
        assert_eq!((shortest, longest), (1, 2000), "both ends of the range come");
    }

    #[test]
    fn a_seed_says_the_same_again() {
        let said = |seed| {
            let mut generator = Generator::new(seed);
            (0..2000).map(|_| generator.fragment().0.to_vec()).collect::<Vec<_>>()
        };
        assert!(said(1) == said(1) && said(1) != said(2));
    }
}
