//! The outcomes of a phase's step.

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
    /// The connection has ended: close the socket this way, and free the slot.
    Gone(CloseHow),
}

/// The outcome of a deadline.
pub(super) enum Due<N = Infallible> {
    /// Nothing by itself: take a step.
    Step,
    Over(Step<N>),
}

/// What the loop is to do for a connection that is to be closed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Closing {
    /// Take a step, in which it ends or goes on to its end.
    Step,
    /// Close the socket.
    Now,
    /// It is ending already.
    Ignored,
}

impl<N> Step<N> {
    /// The same step, with another type of next phase.
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
