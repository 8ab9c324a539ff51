//! A protocol or endpoint that the service does not have.

use std::error::Error;
use std::fmt;

/// The service does not have this protocol or endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum UnknownProtocol {
    /// No WebSocket [`Protocol`](crate::Protocol) has the name.
    Protocol,
    /// No [`Raw`](crate::raw::Raw) or [`Watcher`](crate::raw::Watcher) endpoint has the name.
    Endpoint,
    /// No [`Responder`](crate::responder::Responder) has the name.
    Responder,
    /// The handle is from the builder of another service.
    Handle,
}

impl fmt::Display for UnknownProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "the service has no WebSocket protocol of that name (Builder::protocol)",
            Self::Endpoint => "the service has no endpoint of that name (Builder::raw, Builder::watcher)",
            Self::Responder => "the service has no responder of that name (Builder::add_responder)",
            Self::Handle => "the handle is from the builder of another service",
        })
    }
}

impl Error for UnknownProtocol {}
