//! What the loop lets peers hold. Nothing here is unlimited.

use std::sync::Arc;
use std::time::Duration;

/// Every bound of a service. Change single fields of [`Limits::default`].
///
/// ```
/// let mut limits = sockeye::Limits::default();
/// limits.handshake_timeout = std::time::Duration::from_secs(3);
/// limits.protocol_mut().message_bytes = 64 * 1024;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The bounds of the protocol: heads, bodies, messages, closing and keepalive.
    pub protocol: Arc<sockeye_proto::limits::ProtocolLimits>,
    /// From accept to the end of the first request, its body and a PROXY header before it included. Default 10 s. Over
    /// it: 408 when part of the request came, then close.
    pub handshake_timeout: Duration,
    /// The PROXY header of a trusted proxy ([`Builder::proxy_protocol`](crate::Builder::proxy_protocol)), in bytes.
    /// Default 4 KiB, of which nothing but an address is kept. With less than 232 some addresses do not fit; a header
    /// has 65,551 at most. Over it: close. A header of version 1 has at most 107 bytes whatever this says.
    pub proxy_header_bytes: usize,
    /// From the answer to an HTTP request to the end of the next one on the same connection. Default 10 s. Over it: as above.
    pub idle_timeout: Duration,
    /// While an HTTP response is being taken by the peer, this many bytes ... Default 4 KiB.
    pub slow_reader_bytes: u64,
    /// ... must be taken in each such window, or the connection is reset. Default 10 s.
    pub slow_reader_window: Duration,
    /// Queued output in bytes under which a writable callback may go on sending. Default 64 KiB. What one callback sent at
    /// once may be queued above it: at most one message more.
    pub output_low_water: usize,
    /// Queued output in bytes for one peer. Default 16 MiB. What is published while that much would wait resets the
    /// connection, with cause [`Overflow`](sockeye_proto::close::Cause::Overflow).
    pub output_hard: usize,
    /// Connections at once, of any kind. Default `None`: what the descriptor limit allows, read once at start, less the
    /// descriptors in use and 16. Never more than that. At the limit accepting pauses. Of [`Threads`](crate::Threads) this
    /// is the bound of each thread, and the default an equal share for each.
    pub connections: Option<usize>,
    /// Connections at once from one IP address. Default `None`: no such bound. One over it is reset. Of
    /// [`Threads`](crate::Threads), too, this is the bound of each thread.
    pub connections_per_address: Option<usize>,
    /// Bytes read from, and bytes sent to, one connection in one turn. Default 512 KiB; also the size of the loop's receive
    /// buffer. Who has used up this share goes on in the next turn. Who has not may be called again in the same turn, because
    /// its timer is due or another connection asked for its writable callback, and then has a share for that.
    pub turn_bytes: usize,
    /// Frames taken from, and frames sent to, one connection in one turn. Default 1,024.
    pub turn_frames: usize,
    /// Connections accepted in one turn. Default 64.
    pub turn_accepts: usize,
    /// A piece of the loop's work that takes this long is a stall: counted, and logged as a warning, with what caused
    /// it. `None`: no clock is read for it. Default 100 ms. See [`Stalls`](crate::statistics::Stalls).
    pub stall: Option<Duration>,
    /// Jobs that other threads may have waiting. Default 65,536. Over it: [`RemoteError::Full`](crate::service::RemoteError::Full).
    pub remote_jobs: usize,
    /// Bytes of messages that a [`Group`](crate::threads::Group) may have waiting to be published in this service. Default 64 MiB. Over
    /// it: [`RemoteError::Full`](crate::service::RemoteError::Full). A single message may be larger.
    pub remote_bytes: usize,
}

impl Limits {
    /// The bounds of the protocol, to be changed.
    pub fn protocol_mut(&mut self) -> &mut sockeye_proto::limits::ProtocolLimits {
        Arc::make_mut(&mut self.protocol)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            protocol: Arc::default(),
            handshake_timeout: Duration::from_secs(10),
            proxy_header_bytes: 4 * 1024,
            idle_timeout: Duration::from_secs(10),
            slow_reader_bytes: 4 * 1024,
            slow_reader_window: Duration::from_secs(10),
            output_low_water: 64 * 1024,
            output_hard: 16 * 1024 * 1024,
            connections: None,
            connections_per_address: None,
            turn_bytes: 512 * 1024,
            turn_frames: 1024,
            turn_accepts: 64,
            stall: Some(Duration::from_millis(100)),
            remote_jobs: 65_536,
            remote_bytes: 64 * 1024 * 1024,
        }
    }
}
