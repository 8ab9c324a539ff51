//! The client's side of `sockeye.topics.v1`, without I/O.
//!
//! A [`Client`] keeps what a program wants of a hub (topics, a token, answers to what it published), and where it is in each topic. It makes the
//! messages to send, and turns those that arrive into [`HubEvent`]s. The program owns the connection, and tells when there is a new one
//! ([`opened`](Client::opened)) and when it has ended ([`lost`](Client::lost)): topics go on where they were. With a message handler of the library and
//! `Connect::reconnect` that is a client which comes back by itself; the example `watch` is one.
//!
//! What it promises: no message of a topic is reported twice, messages come in the order of their offsets, what is missing between two of them is
//! reported as an [`HubEvent::Gap`] first, and each publish has one end: published, refused, or unknown. A server that does not keep to the sub-protocol can
//! say anything, but it can neither make a client panic nor have it keep more than a position for each topic.
//!
//! ```
//! use sockeye_hub::client::{Client, HubEvent, Subscribe};
//!
//! let mut client = Client::new();
//! client.subscribe("news", Subscribe::default())?;
//! // There is a connection: this is sent,
//! assert_eq!(client.opened(), [r#"{"type":"subscribe","id":1,"topic":"news"}"#]);
//! // and this arrives.
//! let answer = r#"{"type":"subscribed","id":1,"topic":"news","epoch":"a","offset":41}"#;
//! assert!(matches!(client.received(&answer.into())?.next(), Some(HubEvent::Subscribed { .. })));
//! let message = r#"{"type":"message","topic":"news","offset":42,"previous":41,"data":"it rains"}"#.into();
//! for event in client.received(&message)? {
//!     if let HubEvent::Message { topic, payload, .. } = event {
//!         println!("{topic}: {}", payload.as_text().unwrap_or("(binary)"));
//!     }
//! }
//! // After a break the next connection goes on behind it.
//! let unanswered = client.lost().count();
//! assert_eq!(unanswered, 0);
//! assert!(client.opened()[0].contains(r#""since":{"epoch":"a","offset":42}"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bookmark;
mod event;
mod receive;
mod send;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use sockeye::messages::Message;

pub use self::bookmark::{Bookmark, InvalidBookmark};
pub use self::event::{Asked, ErrorCode, HubEvent, HubEvents, Malformed};

/// What a program wants of a hub, and where it is; see the [module](self).
#[derive(Debug)]
pub struct Client {
    topics: BTreeMap<String, Topic>,
    /// What the server has not answered. Invariant: one for each topic with `asked`, `publishes` publishes, and at most one authorization.
    requests: BTreeMap<u64, Asked>,
    /// Invariant: at most `most_publishes`.
    publishes: usize,
    most_publishes: usize,
    token: Option<String>,
    authorizing: Option<u64>,
    /// The next id.
    next: u64,
    is_open: bool,
}

/// How to subscribe to a topic.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "those of the sub-protocol's first version, written out by users")]
pub struct Subscribe {
    /// Continue behind this position, of an earlier run for instance.
    pub since: Option<Bookmark>,
    /// Begin with this many messages of the history, if there is nothing to continue from.
    pub last: Option<u32>,
    /// Report how many others there are, by [`HubEvent::Presence`].
    pub presence: bool,
}

/// Why a request was not made. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no connection.
    Closed,
    /// The name of the topic is empty or has more than 65,535 bytes.
    Name,
    /// The key has more than 65,535 bytes, or that of a text is not UTF-8.
    Key,
    /// The topic is subscribed to already; unsubscribe first.
    AlreadySubscribed,
    /// As many publishes as [`Client::most_publishes`] allows wait for their answers.
    TooManyPublishes,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "there is no connection",
            Self::Name => "the name of a topic has 1 to 65535 bytes",
            Self::Key => "a key has at most 65535 bytes, and that of a text is UTF-8",
            Self::AlreadySubscribed => "the topic is subscribed to already",
            Self::TooManyPublishes => "too many publishes wait for their answers",
        })
    }
}

impl Error for RequestError {}

/// A subscription.
#[derive(Debug)]
struct Topic {
    wanted: Subscribe,
    /// Where it is: behind this, messages are new.
    seen: Option<Bookmark>,
    /// The request that is under way.
    asked: Option<u64>,
    /// The server has answered on this connection.
    is_live: bool,
    /// The server has refused it for now.
    is_due: bool,
}

impl Client {
    /// One without topics.
    #[must_use]
    pub fn new() -> Self {
        Self {
            topics: BTreeMap::new(),
            requests: BTreeMap::new(),
            publishes: 0,
            most_publishes: MOST_PUBLISHES,
            token: None,
            authorizing: None,
            next: 1,
            is_open: false,
        }
    }

    /// How many publishes may wait for their answers. Default 1024; beyond that [`publish`](Self::publish) fails.
    #[must_use]
    pub fn most_publishes(mut self, most: usize) -> Self {
        self.most_publishes = most;
        self
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Where a topic is; `None` before its first answer. A program that keeps it can continue there when it runs again.
    #[must_use]
    pub fn bookmark(&self, topic: &str) -> Option<&Bookmark> {
        self.topics.get(topic)?.seen.as_ref()
    }

    /// The topics that are subscribed to, or will be.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    /// How many publishes wait for their answers.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.publishes
    }

    /// A connection is open, with the subprotocol [`SUBPROTOCOL`](crate::SUBPROTOCOL). Returns what has to be sent first, in order: the token, then
    /// each subscription, behind what was seen of it.
    #[must_use]
    pub fn opened(&mut self) -> Vec<String> {
        self.is_open = true;
        let mut messages: Vec<_> = self.send_token().into_iter().collect();
        let topics: Vec<_> = self.topics.keys().cloned().collect();
        messages.extend(topics.iter().filter_map(|topic| self.send_subscribe(topic)));
        messages
    }

    /// Subscriptions that the server has refused [for now](ErrorCode::is_temporary) are asked for again: returns what has to be sent. Call it after
    /// a while, if an event said so.
    #[must_use]
    pub fn retry(&mut self) -> Vec<String> {
        let due: Vec<_> = self.topics.iter().filter(|(_, topic)| topic.is_due).map(|(name, _)| name.clone()).collect();
        due.iter().filter_map(|topic| self.send_subscribe(topic)).collect()
    }

    /// The connection has ended. Returns an [`HubEvent::Unknown`] for each publish without an answer.
    pub fn lost(&mut self) -> impl Iterator<Item = HubEvent<'static>> + use<> {
        self.is_open = false;
        self.publishes = 0;
        self.authorizing = None;
        for topic in self.topics.values_mut() {
            (topic.asked, topic.is_live, topic.is_due) = (None, false, false);
        }
        std::mem::take(&mut self.requests).into_iter().filter_map(|(id, asked)| match asked {
            Asked::Publish(_) => Some(HubEvent::Unknown { id, reason: LOST.into() }),
            _ => None,
        })
    }

    /// A message has arrived. Returns what it means: at most two events. Messages of later versions of the sub-protocol mean nothing.
    ///
    /// # Errors
    /// The server does not speak the sub-protocol: close the connection. It converts into a `Close` with 1002.
    pub fn received<'m>(&mut self, message: &'m Message<'_>) -> Result<HubEvents<'m>, Malformed> {
        match message {
            Message::Text(text) => self.receive_text(text),
            Message::Binary(bytes) => self.receive_binary(bytes),
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

/// Whole numbers of the sub-protocol are below this.
const END_OF_NUMBERS: u64 = 1 << 53;

const MOST_PUBLISHES: usize = 1024;

const LOST: &str = "the connection was lost before the answer";
