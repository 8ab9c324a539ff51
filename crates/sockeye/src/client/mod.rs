//! Client connections: their descriptions, the protocols of proxies, and failures. Nothing here opens a socket, reads a
//! clock or draws a random number.
//!
//! * [`Connect`] describes one connection: the [`Url`], the handshake, the [`Proxy`], [`Timeouts`], redirects, and with
//!   [`Reconnect`] what happens when the connection is lost.
//! * [`RawConnect`] describes a connection without WebSocket framing, for the endpoints of [`raw`](crate::raw).
//! * [`Failure`] says why an attempt failed: the [`Stage`] it had reached and the [`FailureCause`], with the server's
//!   [`Refusal`] if it answered with a status other than 101.
//! * [`Lookup`] and [`Resolution`] are for programs that look hosts up themselves
//!   ([`Builder::resolver`](crate::Builder::resolver)).
//! * [`negotiate`] is a state machine without I/O that connects through a proxy.
//!
//! ```
//! use std::time::Duration;
//! use sockeye::Connect;
//! use sockeye::client::Reconnect;
//!
//! let connect = Connect::new("ws://example.com/feed?from=7")?
//!     .subprotocol("feed.v2")?
//!     .header("Cookie", "session=abc")?
//!     .timeout(Duration::from_secs(5))?
//!     .reconnect(Reconnect::new().cap(Duration::from_secs(10)))?;
//! assert_eq!(connect.url().authority(), "example.com");
//! # Ok::<(), sockeye::client::ConnectError>(())
//! ```

// Before editing: credentials come from URLs, setters and the environment, and must leave only in a handshake. No `Debug`
// or `Display` shows them, and no error repeats a text that may hold them.
//
// `plan` is one connect with its progress over redirects and attempts. The service in `service/connecting` carries plans
// out.

mod chars;
mod connect;
mod credentials;
mod failure;
mod heads;
mod lookup;
pub mod negotiate;
mod no_proxy;
pub(crate) mod plan;
mod proxy;
mod raw_connect;
mod reconnect;
mod redirect;
mod refusal;
mod timeouts;
mod url;

pub use connect::{Connect, ConnectError};
pub use credentials::CredentialsError;
pub use failure::{Failure, FailureCause, Retry, Stage};
pub use heads::HandshakeHead;
pub(crate) use lookup::Answer;
pub use lookup::{Lookup, Resolution};
pub use negotiate::ProxyFailure;
pub use proxy::{EnvironmentError, Proxy, ProxyError};
pub use raw_connect::RawConnect;
pub use reconnect::Reconnect;
pub use redirect::RedirectError;
pub use refusal::Refusal;
pub use timeouts::Timeouts;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
pub(crate) use url::without_zone;
pub use url::{Url, UrlError};
