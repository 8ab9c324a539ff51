//! Topics: names that connections subscribe to, and that messages are published to.
//!
//! A protocol subscribes its connections ([`ConnectionMut::subscribe`]) and publishes
//! ([`ProtocolMut::topic`], [`TopicMut::publish`]). A topic belongs to one protocol of one service. It exists while it has a
//! subscriber, or options of its own. Who may subscribe and publish is the program's decision: nothing that a peer sends does
//! either by itself.
//!
//! ```
//! use sockeye::{Service, messages};
//!
//! # fn main() -> Result<(), sockeye::Error> {
//! // "join NAME" and "leave NAME"; anything else goes to all rooms of the sender, but not to the sender itself.
//! let rooms = messages::on("rooms", |cx, message| {
//!     let text = message.as_text().unwrap_or_default();
//!     match text.split_once(' ') {
//!         Some(("join", room)) => {
//!             if let Err(error) = cx.subscribe(room) {
//!                 let _ = cx.push(error.to_string());
//!             }
//!         }
//!         Some(("leave", room)) => _ = cx.unsubscribe(room),
//!         _ => {
//!             for room in cx.topics() {
//!                 let from = cx.id();
//!                 cx.own_protocol().topic(&room).publish_except(from, text);
//!             }
//!         }
//!     }
//!     Ok(())
//! });
//! let service = Service::builder().protocol(rooms).listen("127.0.0.1:0").build()?;
//! # drop(service);
//! # Ok(()) }
//! ```
//!
//! # Order
//! At every subscriber the messages of one topic arrive in the order in which they were published, each at most once, and none
//! that was published after it unsubscribed. What else is published, [pushed](crate::protocol::ConnectionMut::push) and sent keeps the order that
//! [`ProtocolMut::publish_text`] describes.
//!
//! # Readers that are too slow
//! A subscriber is slow from when the loop notes that something waits for its socket, or behind a fragmented message or an outbox, until
//! all of that is sent. Meanwhile the messages of its topics are kept for it, shared with others that are as slow: up to
//! [`TopicOptions::waiting_messages`] of each topic, and half of [`Limits::output_hard`](crate::Limits::output_hard) bytes together with
//! its backlog, where a shared message counts in full for each reader, and 128 bytes and its key for its place. What happens
//! beyond that is the topic's [`SlowReader`]. The other half is for what is published to all and pushed, which waits behind
//! them. Other subscribers are not held up.
//!
//! What one callback publishes before the loop has noted anything goes into the backlog, whatever its length.
//!
//! # In several threads
//! Each service has topics of its own. [`GroupProtocol::topic`](crate::threads::GroupProtocol::topic) publishes in all of them;
//! options are set in each, for instance by [`Group::run_on_all`](crate::threads::Group::run_on_all).
//!
//! [`ConnectionMut::subscribe`]: crate::protocol::ConnectionMut::subscribe
//! [`ProtocolMut::topic`]: crate::protocol::ProtocolMut::topic
//! [`ProtocolMut::publish_text`]: crate::protocol::ProtocolMut::publish_text

pub use crate::protocol::topics::TopicMut;
pub use crate::topic::{Delivery, SlowReader, SubscribeError, TopicOptions};
