//! The messages of a run: a cyclic list, made once. Every connection starts at a place of its own and goes round, so
//! that what it sends and what has to come back are known without being stored.
//!
//! The messages are slices of one random text at random places: no two neighbours are alike (but for messages of a few
//! bytes), so an answer out of order, or one that belongs to another connection, shows. Random bytes cannot be compressed, so
//! where compression is measured the text is [`records`].

use sockeye::proto::wire::MessageKind;

use super::records;
use super::sizes::Sizes;
use crate::random::Random;

/// A round of messages.
#[derive(Debug)]
pub(crate) struct Script {
    kind: MessageKind,
    /// UTF-8 if the messages are text.
    corpus: Vec<u8>,
    /// Begin and end of each message in the corpus: both on a boundary of characters if it is text.
    places: Vec<(u32, u32)>,
    /// `places.len() - 1`, where `places.len()` is a power of two.
    mask: usize,
}

#[derive(Debug)]
enum Corpus {
    Text(String),
    Binary(Vec<u8>),
}

impl Script {
    pub(crate) fn new(sizes: &Sizes, kind: MessageKind, seed: u64) -> Self {
        let window = if sizes.is_one() { ONE_SIZE.1 } else { MIX.1 };
        Self::of(sizes, kind, seed, window, false)
    }

    /// Messages that compress as those of programs do.
    pub(crate) fn of_records(sizes: &Sizes, kind: MessageKind, seed: u64) -> Self {
        Self::of(sizes, kind, seed, RECORDS, true)
    }

    fn of(sizes: &Sizes, kind: MessageKind, seed: u64, window: usize, are_records: bool) -> Self {
        let mut random = Random::new(seed);
        let round = if sizes.is_one() { ONE_SIZE.0 } else { MIX.0 };
        let len = sizes.longest() as usize + window;
        let corpus = match kind {
            _ if are_records => Corpus::Text(records::text(len, &mut random)),
            MessageKind::Text => Corpus::Text(text(len, &mut random)),
            MessageKind::Binary => {
                let mut bytes = vec![0; len];
                random.fill(&mut bytes);
                Corpus::Binary(bytes)
            }
        };
        let mut sizes = sizes.apportion(round);
        random.shuffle(&mut sizes);
        let mut places: Vec<(u32, u32)> = Vec::with_capacity(round);
        for size in sizes {
            // Neighbours begin at different places; the last one is the first one's neighbour too.
            let apart = [places.last(), places.first()].map(|place| place.map(|(begin, _)| *begin));
            places.push(corpus.place(size, window, apart, &mut random));
        }
        Self { kind, corpus: corpus.into_bytes(), places, mask: round - 1 }
    }

    #[inline]
    pub(crate) fn kind(&self) -> MessageKind {
        self.kind
    }

    /// How many messages there are in a round.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The bytes of message `number` of the round, which has no end.
    #[inline]
    pub(crate) fn bytes(&self, number: u64) -> &[u8] {
        let (begin, end) = self.places[number as usize & self.mask];
        &self.corpus[begin as usize..end as usize]
    }
}

impl Corpus {
    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// A random place for a message of `size` bytes, which does not begin where those of `apart` do.
    fn place(&self, size: u32, window: usize, apart: [Option<u32>; 2], random: &mut Random) -> (u32, u32) {
        let fits = |begin: u32| match self {
            Self::Binary(_) => true,
            Self::Text(text) => text.is_char_boundary(begin as usize) && text.is_char_boundary((begin + size) as usize),
        };
        // Half of the places of a text are boundaries, and the text begins with ASCII enough.
        let mut tries = (0..TRIES).map(|_| random.below(window as u32));
        let begin = tries.find(|begin| fits(*begin) && !apart.contains(&Some(*begin))).unwrap_or_default();
        (begin, begin + size)
    }
}

/// Text of one to four bytes a character, of which `len` bytes are a boundary wherever [`Corpus::place`] cuts.
fn text(len: usize, random: &mut Random) -> String {
    const OTHERS: [&str; 8] = ["é", "ß", "ø", "Ω", "日", "本", "€", "🐟"];
    let mut text = String::with_capacity(len + 4);
    while text.len() < len {
        match random.below(8) {
            0 => text.push_str(OTHERS[random.below(8) as usize]),
            _ => text.push(char::from(b' ' + random.below(95) as u8)),
        }
    }
    text
}

/// Messages of a round, a power of two, and bytes over which their beginnings are spread: enough to be different, and few
/// enough for the nearest cache. Every system call leaves little of that, and what is missing there is waited for.
const ONE_SIZE: (usize, usize) = (256, 128);

/// The same for a mix: enough messages for shares of a thousandth.
const MIX: (usize, usize) = (4096, 8192);

/// Bytes over which records begin: so many that a message has little in common with the one before it, as far as that may be
/// referred to.
const RECORDS: usize = 128 * 1024;

/// A place that fits is found in a few tries; none in so many has a probability of 2^-100.
const TRIES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn script(sizes: &str, kind: MessageKind, seed: u64) -> Script {
        Script::new(&Sizes::parse(sizes).unwrap(), kind, seed)
    }

    #[test]
    fn the_round_has_the_sizes_in_their_shares() {
        for kind in [MessageKind::Text, MessageKind::Binary] {
            let script = script("0:25%,20:50%,16K:25%", kind, 1);
            let count = |size| (0..4096).filter(|n| script.bytes(*n).len() == size).count();
            assert_eq!([count(0), count(20), count(16384)], [1024, 2048, 1024]);
            assert_eq!(script.bytes(5), script.bytes(5 + 4096));
        }
    }

    #[test]
    fn neighbours_are_different() {
        for kind in [MessageKind::Text, MessageKind::Binary] {
            let script = script("20", kind, 2);
            assert!((0..256).all(|n| script.bytes(n) != script.bytes(n + 1)));
        }
    }

    #[test]
    fn records_keep_sizes_and_neighbours_are_different() {
        let sizes = Sizes::parse("200").unwrap();
        let script = Script::of_records(&sizes, MessageKind::Text, 4);
        assert!((0..256).all(|n| script.bytes(n).len() == 200 && script.bytes(n) != script.bytes(n + 1)));
        assert!((0..256).all(|n| script.bytes(n).is_ascii() && script.bytes(n).windows(2).any(|pair| pair == b"\":")));
    }

    #[test]
    fn a_seed_says_the_same_again() {
        let all = |seed| {
            let script = script("64", MessageKind::Binary, seed);
            (0..256).map(|n| script.bytes(n).to_vec()).collect::<Vec<_>>()
        };
        assert!(all(3) == all(3) && all(3) != all(4));
    }

    #[test]
    fn text_has_long_characters_and_every_size_is_kept() {
        for size in [1, 2, 3, 125, 126, 65536] {
            let script = script(&size.to_string(), MessageKind::Text, size);
            assert!((0..256).all(|n| script.bytes(n).len() as u64 == size));
            if size > 100 {
                assert!((0..256).all(|n| !script.bytes(n).is_ascii()));
            }
        }
    }
}
