//! TLS that was asked for on an open connection.

use sockeye_proto::time::Instant;

use crate::conn::place::Place;
use crate::conn::wire::NEVER;
use crate::state::TlsStart;
use crate::tls::{Role, TlsFailure};

/// TLS that was asked for, until its handshake is done.
pub(super) struct Starting {
    pub(super) start: TlsStart,
    pub(super) place: Place,
    /// Set in the first step.
    pub(super) deadline: Instant,
    /// The session exists.
    pub(super) is_begun: bool,
    /// It was counted as started, and has no outcome.
    pub(super) is_counted: bool,
}

impl Starting {
    pub(super) fn new(start: TlsStart) -> Self {
        Self { start, place: Place::None, deadline: NEVER, is_begun: false, is_counted: false }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether this side is the server: only then others bear the cost of what a stranger asks for.
    pub(super) fn is_server(&self) -> bool {
        matches!(self.start.role.0, Role::Server(_))
    }

    pub(super) fn closed_by_peer(&self) -> TlsFailure {
        match &self.start.role.0 {
            Role::Server(_) => TlsFailure::client_closed(),
            #[cfg(feature = "client")]
            Role::Client(_, name) => TlsFailure::server_closed(name),
        }
    }
}
