//! Building a hub, and what the program does with it.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use sockeye::client::RawConnect;
use sockeye::proto::wire::MessageKind;
use sockeye::threads::{Group, Worker};
use sockeye::topics::TopicOptions;
use sockeye::{AsPayload, Payload};
use sockeye::{Builder, Commands, messages};

use crate::SUBPROTOCOL;
use crate::backplane::{Backplane, Place, Position, Security};
use crate::config::Config;
use crate::handler::Server;
use crate::history::History;
use crate::link::{Heard, Link};
use crate::permissions::Permissions;
use crate::random::Random;
use crate::shared::{Options, Reach, Shared};
use crate::state::{self, State, ToPublish};
use crate::statistics::{BrokerStatus, HubStatistics};
use crate::wire::reply::Code;

/// A hub that is being described; see [`Hub::builder`].
#[must_use]
pub struct HubBuilder {
    config: Config,
    options: Option<Options>,
    backplane: Option<Box<dyn Backplane>>,
    heard: Option<Heard>,
    seed: Option<u64>,
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    tls: Option<sockeye::tls::ClientTls>,
}

impl HubBuilder {
    /// What topics keep for clients that come late or come back; default: nothing.
    ///
    /// With a broker that keeps messages this bounds what this server has of them in memory: give both the same numbers.
    pub fn history(mut self, history: History) -> Self {
        self.config.history = history;
        self
    }

    /// What the histories of all topics take together, in bytes; default 64 MiB. Beyond it the topic that was published to longest ago forgets
    /// its history.
    pub fn history_bytes(mut self, bytes: usize) -> Self {
        self.config.history_bytes = bytes;
        self
    }

    /// The most topics; default 100,000. The loop has [a limit of its own](sockeye::Limits::topics), too.
    pub fn topics(mut self, topics: usize) -> Self {
        self.config.topics = topics;
        self
    }

    /// The most topics of one connection; default 128.
    pub fn topics_per_connection(mut self, topics: usize) -> Self {
        self.config.topics_per_connection = topics;
        self
    }

    /// The longest message, in bytes; default 64 KiB.
    pub fn message_bytes(mut self, bytes: usize) -> Self {
        self.config.message_bytes = bytes;
        self
    }

    /// How long a topic without subscribers keeps its numbers, and stays subscribed to at the broker; default a minute. Who comes back in this
    /// time misses nothing.
    pub fn linger(mut self, time: std::time::Duration) -> Self {
        self.config.linger = time;
        self
    }

    /// How topics treat readers that are too slow, by name; default: they are closed with 1013, and recover when they come back. Each loss that
    /// a topic's options allow is seen by the client, as a hole between two messages: with
    /// [`DropNewest`](sockeye::topics::SlowReader::DropNewest) not before the next one.
    pub fn topic_options(mut self, options: impl Fn(&str) -> TopicOptions + Send + Sync + 'static) -> Self {
        self.options = Some(Arc::new(options));
        self
    }

    /// The broker between this server and others.
    pub fn backplane(mut self, backplane: impl Backplane) -> Self {
        self.backplane = Some(Box::new(backplane));
        self
    }

    /// How many bytes may wait for the broker; default 16 MiB.
    pub fn broker_queue_bytes(mut self, bytes: usize) -> Self {
        self.config.broker_queue_bytes = bytes;
        self
    }

    /// How TLS is spoken with the broker, if its URL asks for that.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))))]
    pub fn broker_tls(mut self, tls: sockeye::tls::ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Calls `heard` when the broker is connected, and when it is not any more, in the thread of the first service.
    pub fn on_broker(mut self, heard: impl FnMut(&BrokerStatus) + Send + 'static) -> Self {
        self.heard = Some(Box::new(heard));
        self
    }

    /// Where its random numbers begin: epochs, and the delays before it connects to the broker again; default: the system's. For tests in the
    /// simulator (feature `sim` of `sockeye`), so that a seed repeats. No two hubs may have the same: a client that comes from one to the other would be
    /// taken for one of its own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Adds the hub to a service, which is the only one that has it. For several threads, see [`threads`](Self::threads).
    ///
    /// # Errors
    /// The place of the broker is invalid, it wants TLS that was not given, or the system has no random numbers.
    pub fn install<P: Permissions>(self, builder: Builder, permissions: P) -> Result<(Hub, Builder), HubError> {
        let (hub, link) = self.build(Reach::One)?;
        let builder = install(&hub, 0, builder, permissions);
        Ok((hub, with_link(builder, link)))
    }

    /// A hub for several services, each in its own thread.
    ///
    /// # Errors
    /// As [`install`](Self::install).
    ///
    /// ```no_run
    /// use sockeye::{Service, Threads};
    /// use sockeye_hub::{Everybody, Hub};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::builder().threads()?;
    /// let threads = Threads::new(4)
    ///     .listen("127.0.0.1:7681")
    ///     .start(move |worker| Ok(hub.install(worker, Service::builder(), Everybody)))?;
    /// threads.join()?;
    /// # Ok(()) }
    /// ```
    pub fn threads(self) -> Result<HubThreads, HubError> {
        let (hub, link) = self.build(Reach::Threads(OnceLock::new()))?;
        Ok(HubThreads { hub, link: Mutex::new(link) })
    }

    fn build(mut self, reach: Reach) -> Result<(Hub, Option<Link>), HubError> {
        let place = self.backplane.as_ref().map(|backplane| backplane.place());
        let link = place.map(|place| self.link_to(&place)).transpose()?;
        self.config.history_bytes = self.config.history_bytes.max(self.config.history.bytes());
        let seed = self.seed.map_or_else(getrandom::u64, Ok);
        let mut random = Random::new(seed.map_err(|error| HubError::Random(error.to_string()))?);
        let state = State::new(self.config, random.next(), self.backplane);
        let shared = Arc::new(Shared::new(self.config, state, reach, self.options));
        let link = link.map(|parts| parts.build(&shared, random));
        Ok((Hub { shared }, link))
    }

    fn link_to(&mut self, place: &Place) -> Result<LinkParts, HubError> {
        let host = if place.host.contains(':') { format!("[{}]", place.host) } else { place.host.clone() };
        let failed = |error: &dyn fmt::Display| HubError::Place(format!("{host}:{}: {error}", place.port));
        let connect = RawConnect::new(&format!("{host}:{}", place.port)).map_err(|error| failed(&error))?;
        let parts = LinkParts {
            connect,
            heard: self.heard.take(),
            #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
            tls: None,
        };
        #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
        if let Some(tls) = self.tls.take() {
            return Ok(match place.security {
                Security::Tls => LinkParts { connect: parts.connect.clone().tls(tls), ..parts },
                _ => LinkParts { tls: Some((tls, place.host.clone())), ..parts },
            });
        }
        if place.security == Security::Plain { Ok(parts) } else { Err(HubError::NoTls) }
    }
}

struct LinkParts {
    connect: RawConnect,
    heard: Option<Heard>,
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    tls: Option<(sockeye::tls::ClientTls, String)>,
}

impl LinkParts {
    fn build(self, shared: &Arc<Shared>, random: Random) -> Link {
        let link = Link::new(Arc::clone(shared), self.connect, self.heard, random);
        #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
        if let Some((tls, host)) = self.tls {
            return link.with_tls(tls, host);
        }
        link
    }
}

fn install<P: Permissions>(hub: &Hub, thread: usize, builder: Builder, permissions: P) -> Builder {
    let shared = Arc::clone(&hub.shared);
    let config = shared.config;
    // A message as a client sends it: JSON may escape each byte as six.
    let most = config.message_bytes.saturating_mul(6).saturating_add(4096);
    let server = messages::with(SUBPROTOCOL, Server::new(shared, permissions, thread));
    builder.protocol(server.message_bytes(most as u64).outbox_bytes(most.saturating_mul(2).max(OUTBOX)))
}

/// Room for what is read of a history, and for answers.
const OUTBOX: usize = 1 << 20;

fn with_link(builder: Builder, link: Option<Link>) -> Builder {
    match link {
        Some(link) => builder.raw(link),
        None => builder,
    }
}

/// A hub in several threads; see [`HubBuilder::threads`].
pub struct HubThreads {
    hub: Hub,
    /// For the first service.
    link: Mutex<Option<Link>>,
}

impl HubThreads {
    /// Adds the hub to the service of a worker. Each must have it.
    pub fn install<P: Permissions>(&self, worker: &Worker, builder: Builder, permissions: P) -> Builder {
        self.attach(worker.group());
        self.install_at(worker.index(), builder, permissions)
    }

    /// Adds the hub to the service that has this index in the group that the hub is [attached](Self::attach) to, for programs that start their
    /// threads themselves.
    pub fn install_at<P: Permissions>(&self, index: usize, builder: Builder, permissions: P) -> Builder {
        let builder = install(&self.hub, index, builder, permissions);
        let link = if index == 0 { self.link.lock().ok().and_then(|mut link| link.take()) } else { None };
        with_link(builder, link)
    }

    /// Says which services have the hub, before the first of them runs. Until then requests of clients are refused as `busy`.
    pub fn attach(&self, group: &Group) {
        self.hub.shared.attach(group);
    }

    /// The hub, for the program.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }
}

impl fmt::Debug for HubThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubThreads").finish_non_exhaustive()
    }
}

/// A server of topics. It is `Send` and `Sync`, and a clone is the same hub.
///
/// ```
/// use sockeye::Service;
/// use sockeye_hub::{Everybody, History, Hub};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::builder().history(History::of_messages(100));
/// let (hub, builder) = hub.install(Service::builder().listen("127.0.0.1:0"), Everybody)?;
/// let mut service = builder.build()?;
/// // The program publishes, too: from callbacks, between turns, and in jobs of other threads.
/// hub.publish(&mut service.control(), "news", "it rains")?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Shared>,
}

impl Hub {
    /// Describes a hub.
    pub fn builder() -> HubBuilder {
        HubBuilder {
            config: Config::default(),
            options: None,
            backplane: None,
            heard: None,
            seed: None,
            #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
            tls: None,
        }
    }

    /// Publishes a message to a topic, as clients do. No permission is asked for. It can be done in any thread that has a service with
    /// this hub; from others by [`Remote::run`](sockeye::Remote::run).
    ///
    /// # Errors
    /// No subscriber gets the message: its length or the name of the topic is beyond a limit, or a queue is full, or the broker that keeps messages is
    /// not connected.
    pub fn publish(
        &self,
        commands: &mut Commands,
        topic: &str,
        message: impl AsPayload,
    ) -> Result<Receipt, PublishRefused> {
        self.send(commands, topic, None, &message)
    }

    /// As [`publish`](Self::publish), with a key: while the message waits for a slow reader, one with the same key replaces it, where the
    /// [topic's options](HubBuilder::topic_options) say so.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_latest(
        &self,
        commands: &mut Commands,
        topic: &str,
        key: &str,
        message: impl AsPayload,
    ) -> Result<Receipt, PublishRefused> {
        self.send(commands, topic, Some(key), &message)
    }

    fn send(
        &self,
        commands: &mut Commands,
        topic: &str,
        key: Option<&str>,
        message: &impl AsPayload,
    ) -> Result<Receipt, PublishRefused> {
        let (kind, payload) = match message.as_payload() {
            Payload::Text(text) => (MessageKind::Text, text.as_bytes()),
            Payload::Binary(payload) => (MessageKind::Binary, payload),
        };
        let message = ToPublish { topic, key, kind, payload, from: None };
        // Which thread this is does not matter to one that waits for no answer.
        let receipt = self.shared.act(NO_THREAD, commands, |state, now, out| state.publish(message, now, out));
        match receipt {
            Ok(state::Receipt::Done(position)) => Ok(Receipt::Published(position)),
            Ok(state::Receipt::Pending(_)) => Ok(Receipt::Sent),
            Ok(state::Receipt::Unknown(_)) => Ok(Receipt::OnlyHere),
            Err(refusal) => Err(PublishRefused { code: refusal.code, reason: refusal.reason }),
        }
    }

    /// What the hub has done, in all threads.
    #[must_use]
    pub fn statistics(&self) -> HubStatistics {
        self.shared.look(State::statistics)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

/// Has everything go through the queues of the threads.
const NO_THREAD: usize = usize::MAX;

/// What became of a message of the program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Receipt {
    /// It is in the topic. The position is `None` if the topic has neither subscribers nor a history.
    Published(Option<Position>),
    /// The broker has been sent it, and its answer is in the [statistics](Hub::statistics).
    Sent,
    /// Subscribers at this server get it. The broker is not connected, or takes nothing more.
    OnlyHere,
}

/// Why a message was not published. No subscriber gets it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublishRefused {
    code: Code,
    reason: String,
}

impl PublishRefused {
    /// The code that a client would get; see `docs/topics.md`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code.as_str()
    }
}

impl fmt::Display for PublishRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error for PublishRefused {}

/// Why a hub cannot be built.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HubError {
    /// The place of the broker is invalid.
    Place(String),
    /// The broker is to be spoken to by TLS, and the hub does not know how: `HubBuilder::broker_tls`.
    NoTls,
    /// The system has no random numbers.
    Random(String),
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(error) => write!(f, "the broker's place is invalid: {error}"),
            Self::NoTls => {
                f.write_str("the broker is to be spoken to by TLS, which was not set up (HubBuilder::broker_tls)")
            }
            Self::Random(error) => write!(f, "the system has no random numbers: {error}"),
        }
    }
}

impl Error for HubError {}

impl fmt::Debug for HubBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
