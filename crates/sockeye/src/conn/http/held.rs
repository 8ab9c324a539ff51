//! The memory that a request and its answer take.

use crate::conn::env::Env;
use crate::conn::file::Rest;
use crate::conn::http::{Http, State};
use crate::conn::wire::Wire;

impl Http {
    pub(in crate::conn) fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Whether a request is arriving.
    pub(in crate::conn) fn is_asking(&self) -> bool {
        matches!(self.state, State::Head | State::Body { .. })
    }

    /// Too much is held for all peers together: this request is given up.
    #[cold]
    pub(in crate::conn) fn shed(&mut self, wire: &mut Wire, env: &mut Env) {
        self.answer_error(wire, env, 503, "too much is waiting", |refusals| &mut refusals.internal);
    }

    /// Counts the memory of the head and of the bodies.
    pub(super) fn count(&mut self, env: &Env) {
        let body = match &self.state {
            State::Body { bytes, .. } => bytes.0.capacity(),
            _ => 0,
        };
        let rest = self.rest.as_ref().map_or(0, Rest::memory);
        self.held.set(&env.state.account, self.head.capacity() + body + rest);
    }
}
