//! The memory that a request and its answer take.

use crate::conn::env::Env;
use crate::conn::file::Rest;
use crate::conn::http::{Http, State};
use crate::conn::wire::Wire;
use crate::transport::pool::make_room;

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

    /// Keeps a part of a head, off the allocator's heap if it is long: the heads of a crowd must not stay behind. Answers if
    /// there is no memory for it, and returns `false`.
    pub(super) fn keep_head(&mut self, wire: &mut Wire, env: &mut Env, part: &[u8]) -> bool {
        if make_room(&mut self.head.0, part.len(), usize::MAX).is_err() {
            self.answer_error(wire, env, 503, "no memory for the request", |refusals| &mut refusals.internal);
            return false;
        }
        self.head.0.extend_from_slice(part);
        self.count(env);
        true
    }

    /// Counts the memory of the head, of which only what is written takes any, and of the bodies.
    pub(super) fn count(&mut self, env: &Env) {
        let body = match &self.state {
            State::Body { bytes, .. } => bytes.0.capacity(),
            _ => 0,
        };
        let rest = self.rest.as_ref().map_or(0, Rest::memory);
        self.held.set(&env.state.account, self.head.0.len() + body + rest);
    }
}
