//! What the program reaches of a connection between turns.

use crate::conn::{Conn, Phase};
use crate::limits::RequestLimits;
use crate::sys::Address;
use crate::transport::LoopIo;

impl Conn {
    /// The address of our end, asked of the system.
    pub(crate) fn local_address(&self, io: &mut LoopIo) -> Address {
        self.wire.socket.local_address(io)
    }

    /// The largest message that a WebSocket receives.
    pub(crate) fn message_bytes(&self) -> u64 {
        match &self.phase {
            Phase::WebSocket(ws) => ws.protocol.limits().message_bytes,
            _ => 0,
        }
    }

    /// The peer, and the limits of the request that the connection carries. `None` once no callback but `closed` follows.
    pub(crate) fn request(&mut self) -> Option<(&Address, &mut RequestLimits)> {
        match &mut self.phase {
            Phase::Exchange(exchange) if exchange.is_open() => Some((&self.wire.peer, exchange.limits())),
            _ => None,
        }
    }
}
