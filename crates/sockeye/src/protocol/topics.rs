//! The topics of a protocol, and the subscriptions of a connection.

use sockeye_proto::event::AsPayload;

use crate::protocol::ConnId;
use crate::protocol::views::{ConnectionMut, ProtocolMut};
use crate::state::{Commands, EndpointIndex, ToTopic};
use crate::topic::{Delivery, SubscribeError, TopicOptions};

impl ConnectionMut<'_> {
    /// Subscribes the connection to a [topic](crate::topics) of its protocol: it gets what is published to it from now on, until
    /// it [unsubscribes](Self::unsubscribe) or ends. Returns whether it was not subscribed before.
    ///
    /// The name may be any text. Decide before whether the peer may subscribe to it.
    ///
    /// ```
    /// use sockeye::Cx;
    ///
    /// fn join(cx: &mut Cx<'_>, room: &str) {
    ///     if let Err(error) = cx.subscribe(room) {
    ///         println!("{}: {error}", cx.id());
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// The connection is not an open WebSocket, the name is empty or too long, or there are too many topics.
    pub fn subscribe(&mut self, topic: &str) -> Result<bool, SubscribeError> {
        self.commands.subscribe(self.id, topic)
    }

    /// Ends the subscription to a topic. Returns whether there was one.
    ///
    /// What was published before still arrives, unless the connection reads too slowly: what waits for it of this topic is dropped,
    /// and counted nowhere.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        self.commands.unsubscribe(self.id, topic)
    }

    /// The topics that the connection is subscribed to, the oldest subscription first.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.commands.topics_of(self.id)
    }
}

impl ProtocolMut<'_> {
    /// A [topic](crate::topics) of the protocol, whether or not it has subscribers.
    pub fn topic<'s>(&'s mut self, name: &'s str) -> TopicMut<'s> {
        TopicMut { commands: self.commands, endpoint: self.endpoint, name }
    }
}

/// One topic of a protocol; see [`ProtocolMut::topic`].
///
/// ```
/// use sockeye::{Service, messages};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut service = Service::builder().protocol(messages::echo("chat")).build()?;
/// let delivery = service.control().protocol_named("chat")?.topic("news").publish("it rains");
/// assert_eq!(delivery.subscribers(), 0); // no connection is there yet
/// # Ok(()) }
/// ```
pub struct TopicMut<'a> {
    commands: &'a mut Commands,
    endpoint: EndpointIndex,
    name: &'a str,
}

impl TopicMut<'_> {
    /// The name of the topic.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// Sends a message to all subscribers, framed once, and compressed once for those with compression. It leaves at the end of the
    /// turn, with what else is published in it. Returns what became of it at the subscribers of this service.
    ///
    /// Text must be `&str`, `String` or something that was received as text, as in [`push`](ConnectionMut::push).
    pub fn publish(&mut self, message: impl AsPayload) -> Delivery {
        self.send(&message, None, None)
    }

    /// As [`publish`](Self::publish), but not to one connection, such as the sender.
    pub fn publish_except(&mut self, except: ConnId, message: impl AsPayload) -> Delivery {
        self.send(&message, Some(except), None)
    }

    /// As [`publish`](Self::publish), where a message replaces an older one with the same key that waits for a slow reader. Only in
    /// a topic with [`SlowReader::KeepLatest`](crate::topics::SlowReader::KeepLatest) does the key matter; messages that are
    /// published without one replace each other there.
    pub fn publish_latest(&mut self, key: impl AsRef<[u8]>, message: impl AsPayload) -> Delivery {
        self.send(&message, None, Some(key.as_ref()))
    }

    fn send(&mut self, message: &impl AsPayload, except: Option<ConnId>, key: Option<&[u8]>) -> Delivery {
        let message = message.as_payload();
        let message = ToTopic { kind: message.kind(), payload: message.as_bytes(), except, key };
        self.commands.publish_to_topic(self.endpoint, self.name, message)
    }

    /// The connections that are subscribed. The call copies their ids, so they can be looked up and ended while the list is walked.
    #[must_use]
    pub fn subscriber_ids(&self) -> Vec<ConnId> {
        self.commands.subscribers_of(self.endpoint, self.name)
    }

    /// How many connections are subscribed.
    #[must_use]
    pub fn subscriber_count(&self) -> usize {
        self.commands.subscriber_count(self.endpoint, self.name)
    }

    /// How the topic treats its subscribers: the default, unless it was given [options of its own](Self::set_options).
    #[must_use]
    pub fn options(&self) -> TopicOptions {
        self.commands.topic_options(self.endpoint, self.name)
    }

    /// Gives the topic options of its own, from its next message on. It keeps them without subscribers, too, until it is
    /// [reset](Self::reset_options), and counts towards [`Limits::topics`](crate::Limits::topics).
    ///
    /// # Errors
    /// The name is empty or too long, or there are too many topics.
    pub fn set_options(&mut self, options: TopicOptions) -> Result<(), SubscribeError> {
        self.commands.set_topic_options(self.endpoint, self.name, Some(options))
    }

    /// The topic has the default options again.
    pub fn reset_options(&mut self) {
        // A topic with such a name has no options.
        let _ = self.commands.set_topic_options(self.endpoint, self.name, None);
    }
}
