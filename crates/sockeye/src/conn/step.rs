//! What a step of a phase leads to.

use std::convert::Infallible;

use crate::sys::CloseHow;

/// The outcome of a step. `N` is the phase, or one of the phases, that may follow.
pub(super) enum Step<N = Infallible> {
    /// Wait for the socket, a deadline or a command.
    Wait,
    /// The turn's share is spent: go on in the next round.
    Yield,
    /// There is more to do, though the share is not spent: go on in the next round.
    Later,
    /// Another phase follows: take a step in it now.
    Next(N),
    /// The connection is over: close the socket so, and free the slot.
    Gone(CloseHow),
}

/// What a deadline led to.
pub(super) enum Due<N = Infallible> {
    /// Nothing by itself: take a step.
    Step,
    Over(Step<N>),
}

impl<N> Step<N> {
    /// The same step, with what follows as another type.
    pub(super) fn map<M>(self, map: impl FnOnce(N) -> M) -> Step<M> {
        match self {
            Self::Wait => Step::Wait,
            Self::Yield => Step::Yield,
            Self::Later => Step::Later,
            Self::Next(next) => Step::Next(map(next)),
            Self::Gone(how) => Step::Gone(how),
        }
    }
}

impl<N> Due<N> {
    /// As [`Step::map`].
    pub(super) fn map<M>(self, map: impl FnOnce(N) -> M) -> Due<M> {
        match self {
            Self::Step => Due::Step,
            Self::Over(step) => Due::Over(step.map(map)),
        }
    }
}
