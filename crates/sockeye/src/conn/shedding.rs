//! How much memory is held for the peer of a connection, and the end of one for which too much is.

use sockeye_proto::close::Close;

use crate::conn::abort::Abort;
use crate::conn::env::Env;
use crate::conn::step::Step;
use crate::conn::{Conn, Outcome, Phase};
use crate::id::ConnId;
use crate::sys::CloseHow;

impl Conn {
    /// How much memory is held for the peer, without what its protocol holds.
    pub(crate) fn held_bytes(&self) -> usize {
        let of_phase = match &self.phase {
            Phase::Http(http) => http.held_bytes(),
            Phase::Opening(opening) => opening.held_bytes(),
            Phase::WebSocket(ws) => ws.held_bytes(),
            // What a body takes on its way is in the socket.
            Phase::Exchange(_)
            | Phase::Proxied(_)
            | Phase::Securing(_)
            | Phase::Raw(_)
            | Phase::Watched(_)
            | Phase::Linger(_) => 0,
        };
        self.wire.socket.held_bytes().saturating_add(of_phase)
    }

    /// How much has arrived of a message whose rest is awaited.
    pub(crate) fn arrived_of_message(&self) -> Option<u64> {
        match &self.phase {
            Phase::WebSocket(ws) => ws.arrived_of_message(),
            _ => None,
        }
    }

    /// Ends the connection to free what is held for it. A Close frame or an answer is sent if that needs no memory.
    #[cold]
    pub(crate) fn shed(&mut self, env: &mut Env, id: ConnId, close: Close, abort: Abort) -> Outcome {
        let wire = &mut self.wire;
        let step = match &mut self.phase {
            Phase::WebSocket(ws) => ws.shed(wire, env, id, close, abort.cause()).map(Into::into),
            Phase::Http(http) if http.is_asking() => {
                http.shed(wire, env);
                return match env.state.registry.get(id) {
                    Some(entry) => self.step(env, id, entry),
                    None => Outcome::Gone(CloseHow::Reset),
                };
            }
            Phase::Opening(opening) => {
                let cause = opening.shed();
                return self.fail(env, cause);
            }
            _ => {
                self.abort(env, id, abort);
                Step::Gone(CloseHow::Reset)
            }
        };
        self.follow::<Phase>(env, id, step)
    }
}
