//! Connecting: what to connect to and how, and why it failed. Descriptions only; nothing here opens a socket, reads a
//! clock or draws a random number.
//!
//! * [`Connect`] describes one connection: the [`Url`], what the handshake says, the [`Proxy`], [`Timeouts`], redirects,
//!   and with [`Reconnect`] what happens when it is lost.
//! * [`Failure`] says why a connection did not come about: the [`Stage`] that it had reached and the [`FailureCause`],
//!   with the [`Refusal`] if the server answered something else.
//! * [`negotiate`] is the way through a proxy, as a machine without I/O.
//!
//! ```
//! use std::time::Duration;
//! use sockeye::Connect;
//! use sockeye::client::Reconnect;
//!
//! let connect = Connect::new("ws://example.com/feed?from=7")?
//!     .subprotocol("feed.v2")?
//!     .field("Cookie", "session=abc")?
//!     .timeout(Duration::from_secs(5))
//!     .reconnect(Reconnect::new().cap(Duration::from_secs(10)));
//! assert_eq!(connect.url().authority(), "example.com");
//! # Ok::<(), sockeye::client::ConnectError>(())
//! ```
//!
//! Before editing: credentials come in through URLs, setters and the environment, and must leave only in the handshake.
//! No `Debug` and no `Display` shows them, and no error repeats a text that may hold them.

mod chars;
mod connect;
mod credentials;
mod failure;
pub mod negotiate;
mod no_proxy;
pub(crate) mod plan;
mod proxy;
mod reconnect;
mod redirect;
mod refusal;
mod url;

pub use connect::{Connect, ConnectError, Timeouts};
pub use credentials::CredentialsError;
pub use failure::{Failure, FailureCause, Retry, Stage};
pub use negotiate::ProxyFailure;
pub use proxy::{EnvironmentError, Proxy, ProxyError};
pub use reconnect::Reconnect;
pub use redirect::RedirectError;
pub use refusal::Refusal;
pub use url::{Url, UrlError};
