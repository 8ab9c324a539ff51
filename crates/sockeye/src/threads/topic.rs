//! One topic in all services of a group.

use std::fmt;
use std::sync::Arc;

use sockeye_proto::event::AsPayload;
use sockeye_proto::wire::MessageKind;

use crate::id::ConnId;
use crate::protocol::ProtocolMut;
use crate::service::RemoteError;
use crate::state::ToTopic;
use crate::threads::group::{GroupProtocol, copied};

impl GroupProtocol {
    /// A [topic](crate::topics) of the protocol, in all services.
    #[must_use]
    pub fn topic(&self, name: &str) -> GroupTopic {
        GroupTopic { protocol: self.clone(), name: name.into() }
    }
}

/// A [topic](crate::topics) of a protocol in all services of a [`Group`](crate::threads::Group); see [`GroupProtocol::topic`].
///
/// It is `Send` and `Sync`. A message reaches the subscribers of each service once, and those of all services in one order, as
/// [`Group`](crate::threads::Group) describes. What became of it is in
/// [`Statistics::topics`](crate::statistics::Statistics::topics) of each service.
///
/// ```
/// use sockeye::threads::Group;
/// use sockeye::{Service, messages};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let services = [Service::builder().protocol(messages::echo("chat")).build()?];
/// let everyone = Group::of(services.iter().map(Service::remote)).protocol("chat");
/// everyone.topic("news").publish("from any thread")?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct GroupTopic {
    protocol: GroupProtocol,
    name: Arc<str>,
}

impl GroupTopic {
    /// The name of the topic.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a message to the subscribers in all services; see [`TopicMut::publish`](crate::topics::TopicMut::publish).
    ///
    /// # Errors
    /// As [`GroupProtocol::publish_text`]. No subscriber gets the message then.
    pub fn publish(&self, message: impl AsPayload) -> Result<(), RemoteError> {
        self.send(&message, None, None)
    }

    /// As [`publish`](Self::publish), but not to one connection, of whichever service.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_except(&self, except: ConnId, message: impl AsPayload) -> Result<(), RemoteError> {
        self.send(&message, Some(except), None)
    }

    /// As [`publish`](Self::publish), with the key of
    /// [`TopicMut::publish_latest`](crate::topics::TopicMut::publish_latest).
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_latest(&self, key: impl AsRef<[u8]>, message: impl AsPayload) -> Result<(), RemoteError> {
        self.send(&message, None, Some(key.as_ref()))
    }

    fn send(&self, message: &impl AsPayload, except: Option<ConnId>, key: Option<&[u8]>) -> Result<(), RemoteError> {
        let message = message.as_payload();
        let (kind, payload) = (message.kind(), copied(message.as_bytes())?);
        let key = key.map(copied).transpose()?;
        let name = Arc::clone(&self.name);
        let bytes = payload.len() + key.as_ref().map_or(0, Vec::len);
        let publish = move |own: ProtocolMut<'_>, kind: MessageKind| {
            let message = ToTopic { kind, payload: &payload, except, key: key.as_deref() };
            own.commands.publish_to_topic(own.endpoint, &name, message);
        };
        self.protocol.put(bytes, move |own| publish(own, kind))
    }
}

impl fmt::Debug for GroupTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupTopic").field("protocol", &self.protocol.name()).field("name", &self.name).finish()
    }
}
