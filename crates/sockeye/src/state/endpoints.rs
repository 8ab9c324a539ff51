//! Names and kinds of the endpoints of a service.

use std::sync::atomic::{AtomicU64, Ordering};

/// One of the service's endpoints.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct EndpointIndex(pub(crate) u16);

impl EndpointIndex {
    pub(crate) const NONE: Self = Self(u16::MAX);

    pub(crate) fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// The kind of an endpoint's connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum EndpointKind {
    WebSocket,
    Raw,
    Watcher,
    Responder,
}

/// An endpoint as seen from outside.
#[derive(Clone, Debug)]
pub(crate) struct EndpointInfo {
    pub(crate) name: String,
    pub(crate) kind: EndpointKind,
}

/// Identifies the builder of a service: handles of another are not valid for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BuilderId(u64);

impl BuilderId {
    /// The identity as a number.
    pub(crate) fn as_u64(self) -> u64 {
        self.0
    }

    /// An identity that is unique in the process.
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}
