//! Generated messages for the benchmarks of compression. They look like those of real programs, and are the same in every run.

use std::fmt::Write as _;

/// A kind of messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
#[expect(clippy::exhaustive_enums, reason = "programs of this crate match on all of them")]
pub enum Corpus {
    /// Prices in JSON, about 165 bytes each.
    Quotes,
    /// Lines of a chat in JSON, about 181 bytes each.
    Chat,
    /// Pages of a feed in JSON, about 4 KiB each: articles, people, numbers and opaque tokens.
    Mixed,
}

impl Corpus {
    /// The first `count` messages of a connection, which differ from those of any other.
    #[must_use]
    pub fn messages(self, connection: u64, count: usize) -> Vec<String> {
        let mut random = Random(connection.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
        let mut prices: Vec<u64> = (0..SYMBOLS.len()).map(|_| 1_000 + random.below(90_000)).collect();
        let mut at = 1_790_000_000_000 + random.below(1 << 30);
        (0..count as u64)
            .map(|number| {
                at += random.below(400);
                match self {
                    Self::Quotes => quote(&mut random, &mut prices, at, number),
                    Self::Chat => chat(&mut random, at),
                    Self::Mixed => page(&mut random, at),
                }
            })
            .collect()
    }
}

fn quote(random: &mut Random, prices: &mut [u64], at: u64, number: u64) -> String {
    let which = random.below(SYMBOLS.len() as u64) as usize;
    prices[which] += random.below(21);
    prices[which] -= random.below(21).min(prices[which] - 100);
    let (bid, ask) = (prices[which], prices[which] + 1 + random.below(4));
    let (bids, asks) = ((1 + random.below(40)) * 100, (1 + random.below(40)) * 100);
    format!(
        "{{\"type\":\"quote\",\"symbol\":\"{}\",\"venue\":\"{}\",\"bid\":{}.{:02},\"bidSize\":{bids},\"ask\":{}.{:02},\
         \"askSize\":{asks},\"condition\":\"{}\",\"sequence\":{},\"time\":{at}}}",
        SYMBOLS[which],
        random.pick(VENUES),
        bid / 100,
        bid % 100,
        ask / 100,
        ask % 100,
        random.pick(CONDITIONS),
        4_118_000 + number,
    )
}

fn chat(random: &mut Random, at: u64) -> String {
    let words = 7 + random.below(8);
    let text = random.sentence(words);
    format!(
        "{{\"event\":\"message\",\"room\":\"{}\",\"user\":\"{}\",\"id\":\"{:012x}\",\"text\":\"{text}\",\"attachments\":[],\
         \"isEdited\":false,\"time\":{at}}}",
        random.pick(ROOMS),
        random.pick(NAMES),
        random.next() >> 16,
    )
}

fn page(random: &mut Random, at: u64) -> String {
    let mut page = format!("{{\"event\":\"page\",\"time\":{at},\"items\":[");
    while page.len() < PAGE {
        if !page.ends_with('[') {
            page.push(',');
        }
        let id = random.next() as u32;
        // Writing to a string does not fail.
        _ = match random.below(4) {
            0 => {
                let title = random.sentence(3);
                let words = 12 + random.below(20);
                let body = random.sentence(words);
                write!(page, "{{\"kind\":\"article\",\"id\":\"{id:08x}\",\"title\":\"{title}\",\"body\":\"{body}\"}}")
            }
            1 => write!(
                page,
                "{{\"kind\":\"person\",\"id\":\"{id:08x}\",\"name\":\"{}\",\"room\":\"{}\",\"isOnline\":{},\"seen\":{}}}",
                random.pick(NAMES),
                random.pick(ROOMS),
                random.below(2) == 0,
                at - random.below(1 << 24),
            ),
            2 => {
                let points: Vec<String> = (0..12).map(|_| format!("{}", 20 + random.below(10))).collect();
                write!(page, "{{\"kind\":\"series\",\"id\":\"{id:08x}\",\"points\":[{}]}}", points.join(","))
            }
            _ => write!(
                page,
                "{{\"kind\":\"session\",\"id\":\"{id:08x}\",\"isOnline\":{},\"token\":\"{:012x}\"}}",
                random.below(2) == 0,
                random.next() >> 16,
            ),
        };
    }
    page.push_str("]}");
    page
}

/// Numbers that look random, the same for the same beginning (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.below(words.len() as u64) as usize]
    }

    /// Words, the first ones of the list more often than the last.
    fn sentence(&mut self, words: u64) -> String {
        let mut sentence = String::new();
        for _ in 0..words {
            let most = 1 + self.below(WORDS.len() as u64);
            let word = WORDS[self.below(most) as usize];
            if !sentence.is_empty() {
                sentence.push(' ');
            }
            sentence.push_str(word);
        }
        sentence
    }
}

/// A page is as long as this, and what the last item exceeds it by.
const PAGE: usize = 4_000;

const SYMBOLS: &[&str] = &[
    "ALDR", "ASPN", "BEEC", "BIRC", "CEDR", "CHST", "CYPR", "ELMW", "FIRS", "GINK", "HAZL", "HOLY", "IRON", "JUNI",
    "LARC", "LIND", "MAPL", "OAKS", "OLIV", "PINE", "POPL", "ROWN", "SPRC", "SYCM", "TEAK", "WALN", "WILO", "YEWS",
];
const VENUES: &[&str] = &["XAMS", "XLON", "XNYS", "XPAR", "XTKS"];
const CONDITIONS: &[&str] = &["regular", "regular", "regular", "opening", "closing", "halted"];
const ROOMS: &[&str] = &["general", "harbour", "kitchen", "workshop", "weather"];
const NAMES: &[&str] =
    &["Ada", "Bruno", "Chidi", "Dalia", "Emre", "Freya", "Goran", "Hana", "Ines", "Jonas", "Kofi", "Lea"];
const WORDS: &[&str] = &[
    "the",
    "a",
    "to",
    "is",
    "and",
    "it",
    "of",
    "in",
    "that",
    "for",
    "you",
    "we",
    "on",
    "not",
    "this",
    "be",
    "have",
    "are",
    "water",
    "boat",
    "river",
    "today",
    "tomorrow",
    "morning",
    "please",
    "thanks",
    "still",
    "again",
    "before",
    "after",
    "nets",
    "upstream",
    "bridge",
    "weather",
    "cold",
    "warm",
    "salmon",
    "harbour",
    "meeting",
    "ready",
    "found",
    "looking",
    "probably",
    "yesterday",
    "somebody",
    "everything",
    "nothing",
    "together",
    "returning",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_size_and_are_the_same_in_every_run() {
        for (corpus, size) in [(Corpus::Quotes, 160..171), (Corpus::Chat, 176..187), (Corpus::Mixed, 3_950..4_250)] {
            let messages = corpus.messages(1, 400);
            let mean = messages.iter().map(String::len).sum::<usize>() / messages.len();
            assert!(size.contains(&mean), "{corpus:?}: {mean}");
            assert_eq!(messages[..100], corpus.messages(1, 100));
            assert_ne!(messages[..100], corpus.messages(2, 100));
        }
    }
}
