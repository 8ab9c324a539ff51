//! What Redis keeps of a topic, and how two scripts write and read it at once.
//!
//! A topic has a hash (`run`, `epoch`, `offset`) and a stream, whose entry `OFFSET-0` has the time and the message, or several that
//! were published together: then the offset is that of the last one. Both names have the same part in braces, so that a cluster would
//! keep them together.

use std::time::Duration;

use sockeye_hub::backplane::{Loaded, Position, Stored};

use crate::address::ConfigError;
use crate::envelope::{self, Bodies};
use crate::resp::Reply;

/// What a Redis server is to keep of each topic.
#[derive(Clone, Copy, Debug)]
pub struct History {
    messages: u32,
    age: Duration,
    load_bytes: usize,
}

impl History {
    /// Keeps the last `messages` of each topic, 1 to 100,000, for as long as the server has memory for them.
    #[must_use]
    pub const fn new(messages: u32) -> Self {
        Self { messages, age: Duration::ZERO, load_bytes: 4 * 1024 * 1024 }
    }

    /// Keeps messages for this long only. A day after the last message of a topic has ended in this way its numbers are forgotten too, unless
    /// someone has subscribed since.
    #[must_use]
    pub const fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// How many bytes a server reads of one topic when it subscribes to it, 1 KiB to 24 MiB; 4 MiB unless set. Older messages are left out, as if
    /// they were not kept. Redis disconnects a subscriber for which more than 32 MiB wait, so topics are read one after another, 16 MiB at once
    /// unless one may have more.
    #[must_use]
    pub const fn load_bytes(mut self, bytes: usize) -> Self {
        self.load_bytes = bytes;
        self
    }

    pub(crate) fn check(self) -> Result<Self, ConfigError> {
        let is_valid = (1..=MOST_MESSAGES).contains(&self.messages)
            && (1024..=24 * 1024 * 1024).contains(&self.load_bytes)
            && (self.age.is_zero() || (1..=MOST_AGE_MILLIS).contains(&self.age.as_millis()));
        if is_valid { Ok(self) } else { Err(ConfigError::History) }
    }

    pub(crate) fn messages(&self) -> usize {
        self.messages as usize
    }

    pub(crate) fn most_load_bytes(&self) -> usize {
        self.load_bytes
    }

    /// How many topics may be read at once.
    pub(crate) fn most_loads(&self) -> usize {
        (LOADED_AT_ONCE_BYTES / self.load_bytes).max(1)
    }

    /// The numbers as the scripts take them: messages, milliseconds (0 for no age), bytes to load.
    pub(crate) fn arguments(&self) -> [String; 3] {
        [self.messages.to_string(), self.age.as_millis().to_string(), self.load_bytes.to_string()]
    }
}

/// How the oldest entries of a stream are dropped when messages are added.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Trim {
    /// By their number, so that an entry may have one message. Redis before 6.2 knows nothing else.
    #[default]
    Entries,
    /// By the offsets of their messages, so that an entry may have several.
    Offsets,
}

impl Trim {
    /// What the server can do, from the answer to `INFO server`.
    pub(crate) fn of(info: &[u8]) -> Self {
        let version = field(info, b"redis_version:").and_then(|version| {
            let mut parts = version.split('.').map(str::parse::<u32>);
            Some((parts.next()?.ok()?, parts.next()?.ok()?))
        });
        if version.is_some_and(|version| version >= (6, 2)) { Self::Offsets } else { Self::Entries }
    }

    /// As `XADD` takes it.
    pub(crate) fn argument(self) -> &'static [u8] {
        match self {
            Self::Entries => b"MAXLEN",
            Self::Offsets => b"MINID",
        }
    }
}

/// Appends messages and publishes them. Returns epoch and last offset. An error: none of them.
pub(crate) const PUBLISH: &str = concat!(include_str!("epoch.lua"), include_str!("publish.lua"));

/// Reads what is kept. Returns epoch, last offset and messages, newest first.
pub(crate) const LOAD: &str = concat!(include_str!("epoch.lua"), include_str!("load.lua"));

/// The parts of the name of a key, around the topic: `sockeye:{t:news}log`. The braces are never empty, which would mean nothing.
pub(crate) const BEFORE_TOPIC: &[u8] = b"{t:";
pub(crate) const AFTER_TOPIC_META: &[u8] = b"}meta";
pub(crate) const AFTER_TOPIC_LOG: &[u8] = b"}log";

/// Which start of the server this is, from the answer to `INFO server`.
pub(crate) fn run(info: &[u8]) -> Option<String> {
    let run = field(info, b"run_id:")?;
    (!run.is_empty() && run.len() <= 64).then(|| run.to_owned())
}

/// A line of `INFO`, which begins with its name and a colon.
fn field<'a>(info: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let line = info.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    std::str::from_utf8(line.trim_ascii()).ok()
}

/// The answer to [`PUBLISH`] for so many messages: where the first is.
pub(crate) fn first(reply: &Reply<'_>, count: usize) -> Option<Position> {
    let Reply::List(parts) = reply else { return None };
    let [epoch, last] = parts.as_slice() else { return None };
    let (epoch, last) = (envelope::epoch(epoch.bytes()?)?, envelope::offset(last.bytes()?)?);
    let before = last.checked_sub(u64::try_from(count).ok()?)?;
    Some(Position { epoch, offset: before + 1 })
}

/// The answer to [`LOAD`] of at most so many messages, for a server that has seen everything up to `after`.
pub(crate) fn loaded(reply: &Reply<'_>, after: Option<Position>, most: usize) -> Option<Loaded> {
    let Reply::List(parts) = reply else { return None };
    let [epoch, offset, bodies @ ..] = parts.as_slice() else { return None };
    let (epoch, offset) = (envelope::epoch(epoch.bytes()?)?, envelope::offset(offset.bytes()?)?);
    let mut messages = Vec::with_capacity(bodies.len().min(most));
    let mut base = offset;
    for body in bodies {
        // What another program has put there ends what continues without a hole.
        let Some(bodies) = body.bytes().and_then(Bodies::read) else { break };
        if usize::try_from(bodies.len()).ok()? > most.saturating_sub(messages.len()) {
            break;
        }
        let last = base;
        base = base.checked_sub(bodies.len())?;
        let start = messages.len();
        messages.extend(bodies.zip(base..last).map(|(message, previous)| Stored {
            offset: previous + 1,
            previous,
            ..message
        }));
        messages[start..].reverse();
    }
    messages.reverse();
    let is_complete = after.is_none_or(|after| after.epoch == epoch && (base..=offset).contains(&after.offset));
    Some(Loaded { base: Position { epoch, offset: base }, messages, offset, is_complete })
}

/// A number that no other draw of this sequence has, nor one with another seed (SplitMix64).
pub(crate) fn draw(seed: u64, count: u64) -> u64 {
    let mut value = seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Half of what Redis lets wait for a subscriber unless told otherwise.
const LOADED_AT_ONCE_BYTES: usize = 16 * 1024 * 1024;

const MOST_MESSAGES: u32 = 100_000;

/// A hundred years.
const MOST_AGE_MILLIS: u128 = 100 * 366 * 86_400_000;
