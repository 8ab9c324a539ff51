//! Who may do what: the program's decisions.

use sockeye::Handshake;
use sockeye::http::HttpRequest;

/// What clients of a hub may do. Each thread has one of its own.
///
/// ```
/// use sockeye::Handshake;
/// use sockeye_hub::Permissions;
///
/// /// Anybody may read; who knows the token may write.
/// struct Readers {
///     token: String,
/// }
///
/// impl Permissions for Readers {
///     type Client = bool; // whether it may write
///
///     fn open(&mut self, _: &Handshake<'_>) -> bool {
///         false
///     }
///
///     fn authorize(&mut self, may_write: &mut bool, token: &str) -> bool {
///         // The time that a comparison takes must not tell how much of it was right.
///         let same = self.token.len() == token.len()
///             && self.token.bytes().zip(token.bytes()).fold(0, |different, (a, b)| different | (a ^ b)) == 0;
///         *may_write |= same;
///         same
///     }
///
///     fn may_publish(&mut self, may_write: &bool, _: &str) -> bool {
///         *may_write
///     }
/// }
/// # let _ = sockeye_hub::Hub::builder().install(sockeye::Service::builder(), Readers { token: String::new() });
/// ```
pub trait Permissions: 'static {
    /// What is known of a client.
    type Client: 'static;

    /// A client has connected. Of those that are not welcome at all the program's [`Builder::origins`](sockeye::Builder::origins) and
    /// hooks have been asked before.
    fn open(&mut self, handshake: &Handshake<'_>) -> Self::Client;

    /// It shows a token. Returns whether it is good.
    fn authorize(&mut self, client: &mut Self::Client, token: &str) -> bool {
        let _ = (client, token);
        false
    }

    /// Whether it may subscribe to a topic.
    fn may_subscribe(&mut self, client: &Self::Client, topic: &str) -> bool {
        let _ = (client, topic);
        true
    }

    /// Whether it may publish to a topic.
    fn may_publish(&mut self, client: &Self::Client, topic: &str) -> bool {
        let _ = (client, topic);
        true
    }

    /// Whether a request by HTTP may publish to a topic; see [`Hub::http`](crate::Hub::http). `token` is that of `Authorization: Bearer`.
    fn may_post(&mut self, request: &HttpRequest<'_>, token: Option<&str>, topic: &str) -> bool {
        let _ = (request, token, topic);
        false
    }
}

/// Everybody who can connect may subscribe and publish, by WebSocket.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it is all that it will be")]
pub struct Everybody;

impl Permissions for Everybody {
    type Client = ();

    fn open(&mut self, _: &Handshake<'_>) {}
}
