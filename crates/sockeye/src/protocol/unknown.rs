//! A name that no endpoint of the service has.

use std::error::Error;
use std::fmt;

use crate::shared::{EndpointIndex, EndpointKind, Shared};

/// The service has no endpoint of that name that could do what was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnknownProtocol {
    wanted: Wanted,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wanted {
    Any,
    WebSocket,
    Descriptor,
}

impl UnknownProtocol {
    pub(crate) const ANY: Self = Self { wanted: Wanted::Any };
    /// What was asked for is for WebSockets.
    pub(crate) const WEBSOCKET: Self = Self { wanted: Wanted::WebSocket };

    /// What was asked for is for descriptors.
    pub(crate) const DESCRIPTOR: Self = Self { wanted: Wanted::Descriptor };

    /// The endpoint of that name that can do it; itself when there is none.
    pub(crate) fn unless(self, shared: &Shared, name: &str) -> Result<EndpointIndex, Self> {
        shared.endpoint(name, |kind| self.is_wanted(kind)).ok_or(self)
    }

    /// Whether an endpoint of this kind can do it.
    pub(crate) fn is_wanted(self, kind: EndpointKind) -> bool {
        match self.wanted {
            Wanted::Any => true,
            Wanted::WebSocket => kind == EndpointKind::WebSocket,
            Wanted::Descriptor => kind != EndpointKind::WebSocket,
        }
    }
}

impl fmt::Display for UnknownProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.wanted {
            Wanted::Any => "the service has no endpoint of that name (Builder::protocol, Builder::raw, Builder::watch)",
            Wanted::Descriptor => {
                "the service has no endpoint of that name that takes descriptors (Builder::raw, Builder::watch)"
            }
            Wanted::WebSocket => "the service has no WebSocket protocol of that name (Builder::protocol)",
        })
    }
}

impl Error for UnknownProtocol {}
