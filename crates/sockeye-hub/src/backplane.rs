//! What connects hubs on several servers: a broker, whose protocol is spoken without I/O.
//!
//! A [`Backplane`] turns what a [hub](crate) asks into bytes for a broker, and bytes of the broker into [`Event`]s. It does no I/O and has no
//! clock: the hub owns the connection, which is an ordinary raw connection of its service, with TLS, keepalive and reconnecting.
//!
//! The order of calls on one connection: [`opened`](Backplane::opened) once, then any of the others, then [`lost`](Backplane::lost) once. Nothing
//! but [`receive`](Backplane::receive), [`secured`](Backplane::secured) and [`ping`](Backplane::ping) is called before the event [`Event::Ready`].
//! What was subscribed ends with the connection; the hub subscribes again on the next.

use std::error::Error;
use std::fmt;

use sockeye::proto::wire::MessageKind;

/// A place in a topic; see `docs/topics.md`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an offset needs its epoch, and a position is these two")]
pub struct Position {
    /// Offsets of different epochs say nothing of each other.
    pub epoch: u64,
    /// The offset of a message; 0 is before the first.
    pub offset: u64,
}

/// A message for the broker.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "hubs make it")]
pub struct Publish<'a> {
    /// The hub's number for it, which [`Event::Published`] or [`Event::Refused`] repeats. Each is used once.
    pub ticket: u64,
    /// Any text: no broker may take a part of it for a wildcard, a separator or a command.
    pub topic: &'a str,
    /// Text or binary.
    pub kind: MessageKind,
    /// What a newer message with the same key replaces at slow readers.
    pub key: Option<&'a [u8]>,
    /// What is sent.
    pub payload: &'a [u8],
}

/// A message from the broker.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "backplanes make it")]
pub struct Stored {
    /// Text or binary. What is called text is UTF-8.
    pub kind: MessageKind,
    /// Its key, if it was published with one.
    pub key: Option<Vec<u8>>,
    /// What was published.
    pub payload: Vec<u8>,
    /// Where it is in the broker's history; 0 if the broker keeps none.
    pub offset: u64,
    /// The offset of the message before it in the same topic; 0 for the first, and if the broker keeps no history.
    pub previous: u64,
}

/// What a broker keeps of a topic.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "backplanes make it")]
pub struct Loaded {
    /// The position behind which `messages` begin, and continue without a hole. 0 if nothing was ever dropped of the topic.
    pub base: Position,
    /// Oldest first. The newest messages, as many as the backplane is to keep.
    pub messages: Vec<Stored>,
    /// Up to where this is all: the offset of the last of `messages`, or a later one, which no message of the topic has. It is not before
    /// `base`. The next message says this as its `previous`, unless some were lost in between. Two servers that load a topic without messages
    /// may be given different offsets; so a client may ask for a position behind that of its new server.
    pub offset: u64,
    /// Whether nothing was missed behind the position that the hub asked for. True if it asked for none.
    pub is_complete: bool,
}

/// What happened at the broker.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The broker has accepted the connection and its credentials.
    Ready {
        /// The longest payload that may be published, in bytes.
        most_bytes: usize,
    },
    /// A subscription has begun: from here on every message of the topic arrives, in order.
    ///
    /// With history it may come again, unasked, when the broker has forgotten what it knew of the topic and numbers its messages in a new
    /// epoch.
    Subscribed {
        /// The topic.
        topic: String,
        /// What the broker keeps, if it [does](Backplane::keeps_history).
        history: Option<Loaded>,
    },
    /// A subscription has failed, or was ended by the broker.
    Unsubscribed {
        /// The topic.
        topic: String,
        /// Why, for people.
        reason: String,
    },
    /// A message of another server, or, if the broker keeps history, of any. Without history a server's own messages are not reported.
    Message {
        /// The topic.
        topic: String,
        /// What was published.
        message: Stored,
    },
    /// The broker has taken a message.
    Published {
        /// That of [`Publish::ticket`].
        ticket: u64,
        /// Where it is, if the broker keeps history and says so.
        position: Option<Position>,
    },
    /// The broker has not taken a message. No subscriber gets it.
    Refused {
        /// That of [`Publish::ticket`].
        ticket: u64,
        /// Why, for people.
        reason: String,
    },
    /// The broker itself dropped messages of a topic before they reached this server.
    Missed {
        /// The topic.
        topic: String,
    },
}

/// What a backplane writes to: bytes for the broker, and events for the hub.
#[derive(Debug)]
pub struct Io<'a> {
    out: &'a mut Vec<u8>,
    events: &'a mut Vec<Event>,
    most: usize,
    wants_tls: bool,
}

impl<'a> Io<'a> {
    /// Bytes go behind those of `out`, events behind those of `events`. Messages are taken until `out` has `most` bytes.
    #[must_use]
    pub fn new(out: &'a mut Vec<u8>, events: &'a mut Vec<Event>, most: usize) -> Self {
        Self { out, events, most, wants_tls: false }
    }

    /// Bytes for the broker, behind those that it has not taken yet. Only append.
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// How many bytes of messages the queue to the broker has room for. Subscriptions and pings go into it
    /// whatever the room, since the number of topics bounds it.
    #[must_use]
    pub fn room(&self) -> usize {
        self.most.saturating_sub(self.out.len())
    }

    /// Reports an event.
    pub fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Begins TLS on the connection, for brokers that do so after a first line. [`Backplane::secured`] follows.
    pub fn start_tls(&mut self) {
        self.wants_tls = true;
    }

    /// Whether TLS was asked for.
    #[must_use]
    pub fn wants_tls(&self) -> bool {
        self.wants_tls
    }
}

/// When the connection to a broker becomes one with TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Security {
    /// Never.
    Plain,
    /// Before the first byte.
    Tls,
    /// When the backplane says so, by [`Io::start_tls`].
    TlsWhenAsked,
}

/// Where the broker is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "backplanes make it")]
pub struct Place {
    /// A name or an address; that of an IPv6 address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub security: Security,
}

/// Why a message was not given to the broker. No subscriber gets it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PublishError {
    /// It is longer than the broker takes.
    TooLarge {
        /// The longest payload, in bytes.
        most: usize,
    },
    /// The broker reads too slowly: the queue to it is full.
    QueueFull,
    /// The broker cannot have a topic of this name: it is too long for it.
    Name,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { most } => write!(f, "the message is longer than the {most} bytes that the broker takes"),
            Self::QueueFull => f.write_str("the queue to the broker is full"),
            Self::Name => f.write_str("the name of the topic is too long for the broker"),
        }
    }
}

impl Error for PublishError {}

/// Why a connection to a broker cannot go on. The hub closes it, and connects again after a while.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BrokerError {
    /// The broker does not speak its protocol, or not as this backplane knows it.
    Protocol(String),
    /// The broker refuses: wrong credentials, missing rights, an unfit configuration. The text is the broker's, cut and escaped.
    Refused(String),
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(what) => write!(f, "the broker does not speak its protocol: {what}"),
            Self::Refused(why) => write!(f, "the broker refuses: {why}"),
        }
    }
}

impl Error for BrokerError {}

/// A broker's protocol, without I/O.
///
/// What comes from the broker is not trusted: lengths are checked before memory is taken, and no bytes make it panic.
pub trait Backplane: Send + 'static {
    /// What it is called in logs, such as `redis`.
    fn name(&self) -> &'static str;

    /// Where the broker is.
    fn place(&self) -> Place;

    /// Whether the broker keeps messages and numbers them. If so, the hub gives its subscribers only what comes from the broker, and a client is
    /// recovered by any server. If not, the hub gives its own subscribers a message itself, and numbers are those of one server.
    fn keeps_history(&self) -> bool;

    /// A connection is open, and with [`Security::Tls`] it is secured.
    fn opened(&mut self, io: &mut Io<'_>);

    /// TLS has begun, after [`Io::start_tls`].
    fn secured(&mut self, io: &mut Io<'_>) {
        let _ = io;
    }

    /// Bytes have arrived, cut anywhere.
    ///
    /// # Errors
    /// The connection cannot go on. [`lost`](Self::lost) follows.
    fn receive(&mut self, bytes: &[u8], io: &mut Io<'_>) -> Result<(), BrokerError>;

    /// How many bytes of the queue to the broker are for messages that it has taken and not written to [`Io::out`] yet, since they wait for others.
    fn waiting_bytes(&self) -> usize {
        0
    }

    /// The connection has ended. What was not confirmed will never be; the hub knows what that is.
    fn lost(&mut self);

    /// Asks the broker for any sign of life. The hub does so when it has heard nothing for a while, and closes the connection if nothing follows.
    fn ping(&mut self, io: &mut Io<'_>);

    /// About a second has passed on a connection that is ready. A broker may drop a request without a word, for instance while a cluster has no leader.
    /// The backplane that counts on answers gives the connection up then, with an error at the next [`receive`](Self::receive).
    fn tick(&mut self, io: &mut Io<'_>) {
        let _ = io;
    }

    /// Subscribes to a topic. [`Event::Subscribed`] or [`Event::Unsubscribed`] follows. `after` is where this server was before, if it was.
    ///
    /// # Errors
    /// The broker cannot have a topic of this name.
    fn subscribe(&mut self, topic: &str, after: Option<Position>, io: &mut Io<'_>) -> Result<(), PublishError>;

    /// Ends a subscription. Messages that are on their way may still be reported, and [`Event::Subscribed`] of this subscription is not.
    fn unsubscribe(&mut self, topic: &str, io: &mut Io<'_>);

    /// Publishes a message. Unless it returns an error, [`Event::Published`] or [`Event::Refused`] follows, or the connection is lost.
    ///
    /// # Errors
    /// The message is too long, its topic's name is, or the queue is full.
    fn publish(&mut self, message: Publish<'_>, io: &mut Io<'_>) -> Result<(), PublishError>;
}
