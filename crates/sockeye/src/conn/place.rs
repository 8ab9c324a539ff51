//! The place of one connection among the handshakes of TLS that are under way, or wait.

use crate::conn::env::Env;
use crate::conn::handshakes::Start;
use crate::conn::wire::Wire;
use crate::id::ConnId;

/// A handshake costs as much as moving so many bytes.
pub(super) const HANDSHAKE_EFFORT: u64 = 128 * 1024;

/// Where a connection is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Place {
    /// It has not asked.
    #[default]
    None,
    /// Others are under way, and come first. This is its number among those that wait.
    Waiting(u64),
    /// It counts among those that are under way.
    Running,
}

impl Place {
    pub(super) fn is_running(self) -> bool {
        self == Self::Running
    }

    /// Asks whether its handshake may begin, and takes its place if so, or waits.
    pub(super) fn enter(&mut self, wire: &Wire, env: &mut Env, id: ConnId) -> Start {
        let Env { io, handshakes, admission, limits, .. } = env;
        let statistics = &mut io.meters.statistics;
        let before = match *self {
            Self::Waiting(place) => Some(place),
            Self::None | Self::Running => None,
        };
        let start = handshakes.start(id, statistics.work.turns, admission.network(&wire.peer), before, limits);
        match start {
            Start::Now => *self = Self::Running,
            Start::NextTurn => statistics.limits.turn_tls_handshakes += 1,
            Start::Waiting(now) => {
                statistics.limits.tls_handshakes += u64::from(Some(now) != before);
                *self = Self::Waiting(now);
            }
            Start::Never => {
                statistics.limits.tls_handshakes_per_address += 1;
                tracing::debug!(%id, peer = %wire.peer, "refused: too many TLS handshakes of the address");
            }
        }
        start
    }

    /// It has no place any more: another one may have it. Called whenever a handshake is over, in whichever way.
    pub(super) fn leave(&mut self, wire: &Wire, env: &mut Env) {
        let Env { handshakes, admission, limits, state, .. } = env;
        let next = match std::mem::take(self) {
            Self::None => None,
            Self::Waiting(place) => handshakes.leave(place, limits),
            Self::Running => handshakes.end(admission.network(&wire.peer), limits),
        };
        if let Some(id) = next {
            state.registry.enqueue(id);
        }
    }
}
