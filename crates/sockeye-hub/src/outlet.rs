//! What the state of a hub does outside of itself.

use std::sync::Arc;

use sockeye::ConnId;
use sockeye::responder::RequestId;

use crate::wire::reply::Frame;

/// A connection of one of the threads.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    pub(crate) thread: usize,
    pub(crate) id: ConnId,
}

/// Who wants to know what became of a message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Asker {
    /// A client, by the `id` of its request.
    Client(Place, u64),
    /// A request by HTTP, of a thread.
    Request(usize, RequestId),
}

/// A subscription in the loop that is about to begin.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    /// The topic of the hub.
    pub(crate) name: Arc<str>,
    /// That of the loop.
    pub(crate) data: Arc<str>,
    /// That of its presence, if it is wanted.
    pub(crate) presence: Option<Arc<str>>,
    /// Tells it from others of the same connection and topic.
    pub(crate) serial: u64,
}

/// Whether a subscription has begun.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Joined {
    Now,
    /// Behind what waits in the queue of the thread, if [`State::still_joins`](crate::state::State::still_joins) then.
    Later,
}

/// The queue of a thread is full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Busy;

/// The loops, as the state sees them. What it calls takes effect in the order of the calls, in each thread.
pub(crate) trait Outlet {
    /// Gives all subscribers of a topic of the loop a message: in all threads, or in none.
    fn deliver(&mut self, topic: &str, key: Option<&str>, frame: &Frame) -> Result<(), Busy>;

    /// Gives all subscribers of a topic of the loop a message that none of them may miss, whatever the topic's options: in all threads, or in
    /// none. In one order with [`deliver`](Self::deliver).
    fn tell_all(&mut self, topic: &str, text: &str) -> Result<(), Busy>;

    /// Subscribes a connection of this thread to topics of the loop, behind what was delivered before.
    fn join(&mut self, place: Place, joining: Joining) -> Result<Joined, Busy>;

    /// Has a connection go on with its subscriptions.
    fn wake(&mut self, place: Place) -> Result<(), Busy>;

    /// Has a request by HTTP come for its answer.
    fn wake_request(&mut self, thread: usize, id: RequestId) -> Result<(), Busy>;

    /// Sends one connection a message of its own.
    fn tell(&mut self, place: Place, text: &str) -> Result<(), Busy>;

    /// Has the queue to the broker written.
    fn wake_link(&mut self) -> Result<(), Busy>;
}
