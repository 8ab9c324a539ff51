//! What the threads of a hub share, and how one reaches the connections of all.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use sockeye::protocol::{ConnectionMut, PushError};
use sockeye::responder::RequestId;
use sockeye::service::RemoteError;
use sockeye::threads::{Group, GroupProtocol};
use sockeye::topics::{SlowReader, TopicOptions};
use sockeye::{AsPayload, Payload};
use sockeye::{CloseCode, Commands, Control};

use crate::SUBPROTOCOL;
use crate::config::Config;
use crate::outlet::{Busy, Joined, Joining, Outlet, Place};
use crate::state::State;
use crate::wire::reply::Frame;

/// The timer of messages about presence.
pub(crate) const PRESENCE: u64 = 0;

/// The name of the endpoint that is connected to the broker.
pub(crate) const LINK: &str = "sockeye-hub-broker";

/// How topics treat slow readers.
pub(crate) type Options = Arc<dyn Fn(&str) -> TopicOptions + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) config: Config,
    state: Mutex<State>,
    reach: Reach,
    options: Option<Options>,
}

/// The services that have the hub.
pub(crate) enum Reach {
    One,
    /// One in each of several threads, which are known once all are described.
    Threads(OnceLock<(Group, GroupProtocol)>),
}

impl Shared {
    pub(crate) fn new(config: Config, state: State, reach: Reach, options: Option<Options>) -> Self {
        Self { config, state: Mutex::new(state), reach, options }
    }

    /// Says which threads there are. The first word counts.
    pub(crate) fn attach(&self, group: &Group) {
        if let Reach::Threads(threads) = &self.reach {
            threads.get_or_init(|| (group.clone(), group.protocol(SUBPROTOCOL)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock is meant to panic; if it did, the other threads are about to end.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the state.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the state, in a callback of one thread.
    pub(crate) fn act<R>(
        self: &Arc<Self>,
        thread: usize,
        commands: &mut Commands,
        change: impl FnOnce(&mut State, Duration, &mut dyn Outlet) -> R,
    ) -> R {
        self.act_with(thread, commands, None, change)
    }

    /// The same, which may subscribe a connection to a topic.
    pub(crate) fn act_on<R>(
        self: &Arc<Self>,
        thread: usize,
        commands: &mut Commands,
        topic: &str,
        change: impl FnOnce(&mut State, Duration, &mut dyn Outlet) -> R,
    ) -> R {
        // The program says so without the lock: it may ask the hub.
        let wanted = match self.reach {
            Reach::One => self.options_of(topic),
            Reach::Threads(_) => None,
        };
        self.act_with(thread, commands, wanted, change)
    }

    fn options_of(&self, topic: &str) -> Option<TopicOptions> {
        self.options.as_ref().map(|options| options(topic))
    }

    fn act_with<R>(
        self: &Arc<Self>,
        thread: usize,
        commands: &mut Commands,
        wanted: Option<TopicOptions>,
        change: impl FnOnce(&mut State, Duration, &mut dyn Outlet) -> R,
    ) -> R {
        // Services of one process have one clock.
        let now = Duration::from_nanos(commands.now().as_nanos());
        let mut state = self.lock();
        let now = state.not_before(now);
        let mut out = Loop { shared: self, commands, thread, wanted };
        let result = change(&mut state, now, &mut out);
        state.apply_events(now, &mut out);
        let wants_timer = state.wants_timer();
        drop(state);
        if wants_timer {
            if let Ok(mut own) = commands.protocol_named(SUBPROTOCOL) {
                own.set_timer(PRESENCE, BETWEEN);
            }
        }
        result
    }

    /// Ends a subscription of a connection of this thread.
    pub(crate) fn leave(
        self: &Arc<Self>,
        thread: usize,
        commands: &mut Commands,
        place: Place,
        topic: &str,
        presence: bool,
    ) {
        self.act(thread, commands, |state, now, _| state.leave(place, topic, presence, now));
        let names = [Some(format!("t{topic}")), presence.then(|| format!("p{topic}"))];
        for name in names.into_iter().flatten() {
            if let Ok(mut connection) = commands.connection(place.id) {
                connection.unsubscribe(&name);
            }
            if let Ok(mut own) = commands.protocol_named(SUBPROTOCOL) {
                let mut topic = own.topic(&name);
                if topic.subscriber_count() == 0 {
                    topic.reset_options();
                }
            }
        }
    }

    pub(crate) fn tell_presence(self: &Arc<Self>, thread: usize, commands: &mut Commands) {
        self.act(thread, commands, |state, _, out| state.tell_presence(out));
    }

    /// Subscribes a connection in its loop.
    fn join(&self, commands: &mut Commands, place: Place, joining: &Joining, wanted: Option<&TopicOptions>) {
        let names = [(Some(&joining.data), wanted), (joining.presence.as_ref(), None)];
        for (name, options) in names {
            let Some(name) = name else { continue };
            let Ok(mut connection) = commands.connection(place.id) else { return };
            if let Err(error) = connection.subscribe(name) {
                tracing::warn!(connection = %place.id, topic = &*joining.name, %error, "a client is not subscribed");
                // It believes that it is subscribed, or will in a moment: it must not go on so.
                connection.close(CloseCode::TRY_AGAIN);
                return;
            }
            let wanted = match options {
                Some(options) => *options,
                None if name.starts_with('p') => TopicOptions::default().with_slow_reader(SlowReader::KeepLatest),
                None => continue,
            };
            let Ok(mut own) = commands.protocol_named(SUBPROTOCOL) else { return };
            if own.topic(name).options() == wanted {
                continue;
            }
            if let Err(error) = own.topic(name).set_options(wanted) {
                tracing::warn!(topic = &*joining.name, %error, "the topic has the default options");
            }
        }
    }
}

/// Messages about presence are as far apart, however many come and go.
const BETWEEN: Duration = Duration::from_millis(250);

/// The loops, from a callback of one of them.
struct Loop<'a> {
    shared: &'a Arc<Shared>,
    commands: &'a mut Commands,
    thread: usize,
    /// The options of the topic that a connection of this thread may be subscribed to.
    wanted: Option<TopicOptions>,
}

impl Loop<'_> {
    fn is_own(&self, thread: usize) -> bool {
        match self.shared.reach {
            Reach::One => true,
            Reach::Threads(_) => thread == self.thread,
        }
    }

    /// Runs a job in a thread: now, if that is this one.
    fn run_in(&mut self, thread: usize, job: impl FnOnce(&mut Commands) + Send + 'static) -> Result<(), Busy> {
        match &self.shared.reach {
            Reach::Threads(threads) if thread != self.thread => {
                let (group, _) = threads.get().ok_or(Busy)?;
                let job = move |control: &mut Control<'_>| job(control);
                match group.remote(thread).and_then(|remote| remote.run(job)) {
                    // In a thread that has ended no client waits.
                    Ok(()) | Err(RemoteError::Gone) => Ok(()),
                    Err(_) => Err(Busy),
                }
            }
            _ => {
                job(self.commands);
                Ok(())
            }
        }
    }
}

impl Outlet for Loop<'_> {
    fn deliver(&mut self, topic: &str, key: Option<&str>, frame: &Frame) -> Result<(), Busy> {
        match &self.shared.reach {
            Reach::Threads(threads) => {
                let (_, protocol) = threads.get().ok_or(Busy)?;
                let topic = protocol.topic(topic);
                match key {
                    Some(key) => topic.publish_latest(key, frame),
                    None => topic.publish(frame),
                }
                .map_err(|_| Busy)
            }
            Reach::One => {
                let mut own = self.commands.protocol_named(SUBPROTOCOL).map_err(|_| Busy)?;
                let mut topic = own.topic(topic);
                // What it did is in the statistics.
                let _ = match key {
                    Some(key) => topic.publish_latest(key, frame),
                    None => topic.publish(frame),
                };
                Ok(())
            }
        }
    }

    fn tell_all(&mut self, topic: &str, text: &str) -> Result<(), Busy> {
        let Reach::Threads(threads) = &self.shared.reach else {
            push_to_all(self.commands, topic, text);
            return Ok(());
        };
        let (group, _) = threads.get().ok_or(Busy)?;
        let (topic, text): (Box<str>, Box<str>) = (topic.into(), text.into());
        group.run_on_all(move |control| push_to_all(control, &topic, &text)).map_err(|_| Busy)
    }

    fn join(&mut self, place: Place, joining: Joining) -> Result<Joined, Busy> {
        let Reach::Threads(threads) = &self.shared.reach else {
            self.shared.join(self.commands, place, &joining, self.wanted.as_ref());
            return Ok(Joined::Now);
        };
        let (group, _) = threads.get().ok_or(Busy)?;
        // Behind what was published before, which waits in the queue of the thread.
        let shared = Arc::clone(self.shared);
        let job = move |control: &mut Control<'_>| {
            if shared.lock().still_joins(place, &joining) {
                shared.join(control, place, &joining, shared.options_of(&joining.name).as_ref());
            }
        };
        group.remote(place.thread).and_then(|remote| remote.run(job)).map_err(|_| Busy)?;
        Ok(Joined::Later)
    }

    fn wake(&mut self, place: Place) -> Result<(), Busy> {
        self.run_in(place.thread, move |commands| {
            if let Ok(mut connection) = commands.connection(place.id) {
                connection.request_writable();
            }
        })
    }

    fn wake_request(&mut self, thread: usize, id: RequestId) -> Result<(), Busy> {
        self.run_in(thread, move |commands| {
            if let Ok(mut request) = commands.request(id) {
                request.request_writable();
            }
        })
    }

    fn tell(&mut self, place: Place, text: &str) -> Result<(), Busy> {
        if self.is_own(place.thread) {
            // Without a copy.
            if let Ok(mut connection) = self.commands.connection(place.id) {
                push_or_close(&mut connection, text);
            }
            return Ok(());
        }
        let text: Box<str> = text.into();
        self.run_in(place.thread, move |commands| {
            if let Ok(mut connection) = commands.connection(place.id) {
                push_or_close(&mut connection, &text);
            }
        })
    }

    fn wake_link(&mut self) -> Result<(), Busy> {
        self.run_in(0, |commands| {
            if let Ok(mut link) = commands.endpoint_named(LINK) {
                link.request_writable();
            }
        })
    }
}

/// What is pushed goes behind the messages of topics that wait for a slow reader, as what is published does, and is not dropped.
fn push_to_all(commands: &mut Commands, topic: &str, text: &str) {
    let Ok(mut own) = commands.protocol_named(SUBPROTOCOL) else { return };
    for id in own.topic(topic).subscriber_ids() {
        if let Ok(mut connection) = commands.connection(id) {
            push_or_close(&mut connection, text);
        }
    }
}

/// A client that lacked an answer or a gap would never know. One that has so much to read comes back, and asks for what it missed.
fn push_or_close(connection: &mut ConnectionMut<'_>, text: &str) {
    if connection.push(text) == Err(PushError::Full) {
        connection.close(CloseCode::TRY_AGAIN);
    }
}

impl AsPayload for &Frame {
    fn as_payload(&self) -> Payload<'_> {
        match self {
            Frame::Text(text) => Payload::Text(text),
            Frame::Binary(payload) => Payload::Binary(payload),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}
