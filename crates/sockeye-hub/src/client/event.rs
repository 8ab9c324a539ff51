//! What happens to a client.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use sockeye::messages::Message;
use sockeye::{Close, CloseCode};

use crate::SUBPROTOCOL;
use crate::client::Bookmark;

/// What a message of the server means, or the end of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HubEvent<'m> {
    /// The messages that follow are those behind `at`. An [`HubEvent::Gap`] follows if some may be missing before.
    Subscribed {
        /// The topic.
        topic: Cow<'m, str>,
        /// Where it begins.
        at: Bookmark,
        /// `None` for a topic that was not seen before; else whether nothing was missed since.
        recovered: Option<bool>,
    },
    /// A message of a topic.
    Message {
        /// The topic.
        topic: Cow<'m, str>,
        /// Its place in the topic, in the epoch of [`Client::bookmark`](crate::client::Client::bookmark).
        offset: u64,
        /// What newer messages with the same key replace.
        key: Option<Cow<'m, [u8]>>,
        /// What was published.
        payload: Message<'m>,
    },
    /// Messages may have been lost: those behind `after`, up to and with `until`. Positions of two epochs do not say how many.
    Gap {
        /// The topic.
        topic: Cow<'m, str>,
        /// What was seen last.
        after: Bookmark,
        /// The messages that follow are behind this.
        until: Bookmark,
    },
    /// What was published is in the topic.
    Published {
        /// That of [`Client::publish`](crate::client::Client::publish).
        id: u64,
        /// Its place, if the server knows it.
        at: Option<Bookmark>,
    },
    /// What was published may have reached all subscribers, some or none.
    Unknown {
        /// That of [`Client::publish`](crate::client::Client::publish).
        id: u64,
        /// For people.
        reason: Cow<'m, str>,
    },
    /// The token was accepted.
    Authorized,
    /// The server has not done something. A subscription is over, unless the code [`is_temporary`](ErrorCode::is_temporary).
    Refused {
        /// What it was asked, if it says so.
        asked: Option<Asked>,
        /// Why.
        code: ErrorCode,
        /// Why, for people.
        reason: Cow<'m, str>,
    },
    /// The server has ended a subscription.
    Unsubscribed {
        /// The topic.
        topic: Cow<'m, str>,
        /// Where it was, to subscribe again.
        at: Option<Bookmark>,
        /// Why, for people.
        reason: Cow<'m, str>,
    },
    /// Subscribers have come or left.
    Presence {
        /// The topic.
        topic: Cow<'m, str>,
        /// How many there are at this server.
        count: u64,
        /// How many came since the last such event.
        joined: u64,
        /// How many left.
        left: u64,
    },
}

/// What a server was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Asked {
    /// To accept the token.
    Authorize,
    /// To publish; the id is that of [`Client::publish`](crate::client::Client::publish).
    Publish(u64),
    /// To subscribe to this topic.
    Subscribe(String),
}

/// Why a server refuses.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `bad-request`: the server does not understand it.
    BadRequest,
    /// `denied`: the program does not allow it; a token may help.
    Denied,
    /// `name`: the name of the topic is empty or too long.
    Name,
    /// `too-many`: the connection, or the hub, has as many topics as it may have.
    TooMany,
    /// `too-large`: the message is longer than the hub, or its broker, takes.
    TooLarge,
    /// `busy`: a queue is full.
    Busy,
    /// `unavailable`: the broker that keeps the messages is not connected.
    Unavailable,
    /// One of a later version.
    Other(String),
}

impl ErrorCode {
    pub(super) fn parse(name: String) -> Self {
        NAMES.iter().find(|(known, _)| *known == name).map_or(Self::Other(name), |(_, code)| code.clone())
    }

    /// Its name in the sub-protocol.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            _ => NAMES.iter().find(|(_, code)| code == self).map_or("", |(name, _)| name),
        }
    }

    /// Whether asking again later may help.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const NAMES: [(&str, ErrorCode); 7] = [
    ("bad-request", ErrorCode::BadRequest),
    ("denied", ErrorCode::Denied),
    ("name", ErrorCode::Name),
    ("too-many", ErrorCode::TooMany),
    ("too-large", ErrorCode::TooLarge),
    ("busy", ErrorCode::Busy),
    ("unavailable", ErrorCode::Unavailable),
];

/// The events of one message, in order.
#[derive(Clone, Debug, Default)]
#[must_use = "an event that is not looked at is lost"]
pub struct HubEvents<'m> {
    pub(super) first: Option<HubEvent<'m>>,
    pub(super) second: Option<HubEvent<'m>>,
}

impl<'m> From<HubEvent<'m>> for HubEvents<'m> {
    fn from(event: HubEvent<'m>) -> Self {
        Self { first: Some(event), second: None }
    }
}

impl<'m> Iterator for HubEvents<'m> {
    type Item = HubEvent<'m>;

    fn next(&mut self) -> Option<HubEvent<'m>> {
        self.first.take().or_else(|| self.second.take())
    }
}

/// A server does not speak the sub-protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed(pub(super) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server does not speak {SUBPROTOCOL}: {}", self.0)
    }
}

impl Error for Malformed {}

impl From<Malformed> for Close {
    fn from(_: Malformed) -> Self {
        CloseCode::PROTOCOL_ERROR.into()
    }
}
