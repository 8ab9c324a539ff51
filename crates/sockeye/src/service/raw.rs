//! What is asked of raw connections between steps.

use crate::id::ConnId;
use crate::service::core::Service;
use crate::state::TlsStart;

impl Service {
    /// Ends the sending side of a raw connection, in its next step.
    pub(super) fn end_output(&mut self, id: ConnId) {
        let until = self.env.state.now + self.env.limits.protocol.close_timeout;
        let Some(conn) = self.connections.get_mut(&self.env.state.registry, id) else { return };
        if conn.end_output(until) {
            self.env.state.registry.enqueue(id);
        }
    }

    /// Begins TLS on a raw connection, in its next step.
    pub(super) fn start_tls(&mut self, id: ConnId, start: &TlsStart) {
        let Some(conn) = self.connections.get_mut(&self.env.state.registry, id) else { return };
        if conn.start_tls(start) {
            self.env.state.registry.enqueue(id);
        }
    }
}
