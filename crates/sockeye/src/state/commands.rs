//! Everything that callbacks may access: [`Commands`], whose public methods are in
//! [`protocol`](crate::protocol).

use std::cell::RefCell;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::time::Instant;
use sockeye_proto::wire::MessageKind;

use crate::id::{BuilderId, ConnId, Gone, ServiceNumber};
use crate::state::connects::Connects;
use crate::state::endpoints::{EndpointIndex, EndpointInfo, EndpointKind};
use crate::state::exchanges::Exchanges;
use crate::state::holdings::Holdings;
use crate::state::lifecycle::Lifecycle;
use crate::state::message_limits::MessageLimitSets;
use crate::state::own_timers::OwnTimers;
use crate::state::queue::{Adoption, CommandQueue, End};
use crate::state::registry::{self, Entry, Registry};
use crate::state::running::{ReadBudget, RunningStep};
use crate::state::topic_counts::{TopicCounts, TopicLimits};
use crate::state::undecided::Undecided;
use crate::transport::pool::Pool;
use crate::transport::{Account, Outgoing};

/// The commands to a running service: for callbacks, through their context, for
/// [`Control`](crate::Control) between turns, and for jobs of a [`Remote`](crate::Remote). They are
/// the same everywhere.
///
/// The loop carries out commands between callbacks. Look up a [connection](Self::connection), a
/// [protocol](Self::protocol) or an [endpoint](Self::endpoint) once, then call its methods.
///
/// ```
/// use sockeye::{Commands, ConnId, Gone};
///
/// fn kick(commands: &mut Commands, id: ConnId) -> Result<(), Gone> {
///     let mut connection = commands.connection(id)?;
///     connection.stop_reconnecting();
///     connection.close(sockeye::CloseCode::POLICY);
///     Ok(())
/// }
/// ```
pub struct Commands {
    /// Keeps everything that contains it on the loop's thread. First, so that the compiler names it first.
    stays: PhantomData<*mut ViewsStayOnTheThreadOfTheService>,
    /// The builder whose handles are valid here.
    pub(crate) builder: BuilderId,
    /// The service's endpoints, by index.
    pub(crate) endpoints: Arc<[EndpointInfo]>,
    pub(crate) registry: Registry,
    pub(crate) queue: CommandQueue,
    pub(crate) connects: Connects,
    pub(crate) own_timers: OwnTimers,
    pub(crate) undecided: Undecided,
    /// Which HTTP requests have a session.
    pub(crate) exchanges: Exchanges,
    /// The same as that of the [`LoopIo`](crate::transport::LoopIo).
    pub(crate) outgoing: Rc<Outgoing>,
    pub(crate) running: RunningStep,
    pub(crate) message_limits: MessageLimitSets,
    /// What protocols hold for single connections.
    pub(crate) holdings: Holdings,
    pub(crate) topic_limits: TopicLimits,
    pub(crate) topic_counts: TopicCounts,
    /// The same as that of the pool.
    pub(crate) account: Rc<Account>,
    pub(crate) lifecycle: Lifecycle,
    /// When this turn began.
    pub(crate) now: Instant,
    /// The same as that of the [`LoopIo`](crate::transport::LoopIo).
    pub(crate) pool: Rc<RefCell<Pool>>,
    /// A connection was opened since the ticks were last checked.
    pub(crate) opened: bool,
}

/// What the compiler names when a view is sent to another thread. Use a [`Remote`](crate::Remote) there.
pub(crate) struct ViewsStayOnTheThreadOfTheService;

impl Commands {
    pub(crate) fn new(
        builder: BuilderId,
        number: ServiceNumber,
        endpoints: Arc<[EndpointInfo]>,
        output_hard: usize,
        now: Instant,
    ) -> Self {
        let count = endpoints.len();
        let pool: Rc<RefCell<Pool>> = Rc::default();
        let account = Rc::clone(pool.borrow().account());
        Self {
            builder,
            endpoints,
            registry: Registry::new(number),
            queue: CommandQueue::new(count),
            connects: Connects::default(),
            own_timers: OwnTimers::default(),
            undecided: Undecided::default(),
            exchanges: Exchanges::default(),
            outgoing: Rc::new(Outgoing::new(count, output_hard)),
            running: RunningStep::none(),
            message_limits: MessageLimitSets::default(),
            holdings: Holdings::default(),
            topic_limits: TopicLimits::default(),
            topic_counts: TopicCounts::default(),
            account,
            lifecycle: Lifecycle::default(),
            now,
            pool,
            opened: false,
            stays: PhantomData,
        }
    }

    /// The endpoint of that name, if its kind is wanted.
    pub(crate) fn find_endpoint(&self, name: &str, is_wanted: impl Fn(EndpointKind) -> bool) -> Option<EndpointIndex> {
        let found = self.endpoints.iter().position(|endpoint| endpoint.name == name && is_wanted(endpoint.kind));
        found.map(|index| EndpointIndex(index as u16))
    }

    /// The name of an endpoint.
    pub(crate) fn name_of(&self, endpoint: EndpointIndex) -> &str {
        self.endpoints.get(endpoint.get()).map_or("", |endpoint| &endpoint.name)
    }

    /// The kind of an endpoint's connections.
    pub(crate) fn kind(&self, endpoint: EndpointIndex) -> EndpointKind {
        self.endpoints.get(endpoint.get()).map_or(EndpointKind::WebSocket, |endpoint| endpoint.kind)
    }

    /// Starts a step of a connection.
    #[inline]
    pub(crate) fn enter(&mut self, id: ConnId, entry: Entry, budget: ReadBudget) {
        self.running.begin(id, entry, budget);
    }

    /// Ends the step.
    #[inline]
    pub(crate) fn leave(&mut self) {
        self.running.end(&mut self.registry);
    }

    /// Requests the writable callback of one connection.
    #[inline]
    pub(crate) fn want_write(&mut self, id: ConnId) -> Result<(), Gone> {
        if self.running.id == id {
            self.running.want_write();
            return Ok(());
        }
        let entry = self.registry.get_mut(id).filter(|entry| entry.is_open()).ok_or(Gone)?;
        // If it was already requested, the connection is queued or waits for its socket, whose edge
        // is a step: nothing to do.
        if entry.flags & registry::WANTS_WRITE == 0 {
            entry.flags |= registry::WANTS_WRITE;
            self.registry.enqueue(id);
        }
        Ok(())
    }

    pub(crate) fn want_write_all(&mut self, endpoint: EndpointIndex) {
        self.queue.want_write_all(endpoint);
    }

    /// Pauses reading, or ends the pause, for the program.
    pub(crate) fn set_paused(&mut self, id: ConnId, paused: bool) {
        if self.running.id == id {
            return self.running.set_paused(paused);
        }
        let Some(entry) = self.registry.get_mut(id).filter(|entry| entry.is_open()) else { return };
        let was_paused = entry.is_paused();
        entry.set(registry::PAUSED, paused);
        if was_paused && !entry.is_paused() {
            self.registry.enqueue(id);
        }
    }

    /// Requests the end of a connection that is alive.
    pub(crate) fn push_end(&mut self, id: ConnId, end: End) {
        if self.registry.get(id).is_some_and(Entry::is_alive) {
            self.queue.push_end(id, end);
        }
    }

    /// Takes the ends requested for a connection, in order.
    #[cold]
    pub(crate) fn take_ends(&mut self, id: ConnId, mut apply: impl FnMut(&End)) {
        self.queue.ends.retain(|(wished, end)| {
            if *wished == id {
                apply(end);
            }
            *wished != id
        });
        self.queue.settle();
    }

    /// Takes the limits that a connection was given last, if it was.
    #[cold]
    pub(crate) fn take_limits(&mut self, id: ConnId) -> Option<Arc<ProtocolLimits>> {
        let mut bytes = None;
        self.queue.message_bytes.retain(|&(wished, wanted)| {
            if wished == id {
                bytes = Some(wanted);
            }
            wished != id
        });
        self.queue.settle();
        let endpoint = self.registry.get(id)?.endpoint;
        bytes.map(|bytes| self.message_limits.with(endpoint, bytes))
    }

    /// Requests an adoption; its id is valid at once.
    pub(crate) fn push_adoption(&mut self, endpoint: EndpointIndex, fd: OwnedFd) -> ConnId {
        let id = self.registry.insert_adopting(endpoint);
        self.queue.push_adoption(Adoption { id, fd });
        id
    }

    /// Whether there are requests to carry out between steps.
    #[inline(always)]
    pub(crate) fn has_new_commands(&self) -> bool {
        !self.outgoing.is_empty() || !self.queue.is_empty() || self.connects.has_work() || self.account.is_over()
    }

    /// Whether there is something to do without waiting.
    pub(crate) fn has_work(&self) -> bool {
        self.registry.has_ready()
            || self.queue.has_all_writable()
            || self.has_new_commands()
            || self.lifecycle.is_drain_requested()
    }

    /// Turns requests for all connections of a protocol into requests for each.
    #[inline]
    pub(crate) fn spread_all_writable(&mut self) {
        if self.queue.has_all_writable() {
            self.spread();
        }
    }

    #[cold]
    fn spread(&mut self) {
        let queue = &self.queue;
        self.registry.want_write_of(|endpoint| queue.wants_all(endpoint));
        self.queue.clear_all_writable();
    }

    /// How many bytes wait for an open connection: in its queue when that was last noted, and pushed since.
    pub(crate) fn queued_bytes(&self, id: ConnId) -> usize {
        let Some(entry) = self.registry.get(id) else { return 0 };
        self.registry.queued_bytes(id) + self.outgoing.pushed_bytes(entry.endpoint.0, id.as_u64())
    }

    /// Whether something that was published or pushed waits for a connection, of this endpoint.
    pub(crate) fn has_waiting(&self, endpoint: EndpointIndex, id: ConnId) -> bool {
        self.outgoing.has_waiting(endpoint.0, id.as_u64()) || self.registry.get(id).is_some_and(Entry::is_held_back)
    }

    /// Keeps a message for one connection until the loop sends the published messages. `Ok(false)` when too much waits.
    pub(crate) fn push_message(&self, id: ConnId, kind: MessageKind, payload: &[u8]) -> Result<bool, Gone> {
        let entry = self.registry.get(id).filter(|entry| entry.is_open()).ok_or(Gone)?;
        if self.kind(entry.endpoint) != EndpointKind::WebSocket {
            return Err(Gone);
        }
        let queued = self.registry.queued_bytes(id);
        Ok(self.outgoing.push(entry.endpoint.0, id.as_u64(), queued, kind, payload))
    }

    /// Keeps a message for every connection of a WebSocket protocol until the loop sends the
    /// published messages.
    pub(crate) fn push_publish(&self, endpoint: EndpointIndex, kind: MessageKind, payload: &[u8]) {
        self.outgoing.publish(endpoint.0, kind, payload);
    }
}
