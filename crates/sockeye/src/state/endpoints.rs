//! Names and kinds of the endpoints of a service.

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
