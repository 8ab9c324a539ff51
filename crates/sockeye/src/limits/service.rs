//! The limits that a program sets.

use std::sync::Arc;
use std::time::Duration;

/// Every limit of a service. Change single fields of [`Limits::default`].
///
/// Each has a least and a most value, which the repository's `docs/limits.md` lists.
/// [`Builder::build`](crate::Builder::build) returns an error for a value out of this range; it names the limit, the value
/// and the bound.
///
/// ```
/// let mut limits = sockeye::Limits::default();
/// limits.handshake_timeout = std::time::Duration::from_secs(3);
/// limits.protocol_mut().message_bytes = 64 * 1024;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The limits of the protocol: heads, bodies, messages, closing handshakes and keepalive.
    pub protocol: Arc<sockeye_proto::limits::ProtocolLimits>,
    /// Time from accept to the end of the first request, with its body and a PROXY header before it; default 10 s;
    /// after that the connection is closed, with a 408 if part of a request arrived.
    pub handshake_timeout: Duration,
    /// Time from accept to the end of the TLS handshake, with a PROXY header before it; default 10 s; after that the connection is
    /// closed. [`handshake_timeout`](Self::handshake_timeout) begins anew then. For listeners with TLS, as are the next three.
    /// Where TLS begins on an open connection, it is the time from then on.
    pub tls_handshake_timeout: Duration,
    /// Bytes that a peer may send before its TLS handshake is done; default 64 KiB; with more the connection is closed. A
    /// chain of client certificates is the largest part of one.
    pub tls_handshake_bytes: usize,
    /// TLS handshakes that are under way at once; default 1,024; a connection beyond it waits until one is done, and is not
    /// read meanwhile. It costs memory and signing to begin one, so a flood of them is kept away from other connections.
    ///
    /// With [`Threads`](crate::Threads) it applies to each thread, as do the next two.
    pub tls_handshakes: usize,
    /// TLS handshakes of one IP address or network that are under way at once, as
    /// [`connections_per_address`](Self::connections_per_address) counts them; default `None`, no such limit; a connection
    /// beyond it is reset.
    pub tls_handshakes_per_address: Option<usize>,
    /// TLS handshakes that begin in one turn; default 8, about 1 ms; the others begin in the next turns.
    pub turn_tls_handshakes: usize,
    /// Time from a filter's [`Decision::later`](crate::Decision::later) to the decision; default 10 s; after that the
    /// handshake is answered 503.
    pub decision_timeout: Duration,
    /// Size in bytes of the PROXY header from a trusted proxy
    /// ([`Builder::proxy_protocol`](crate::Builder::proxy_protocol)); default 4 KiB; a larger one closes the
    /// connection.
    ///
    /// With less than 232 some addresses do not fit; the largest header has 65,551 bytes. Only an address is kept of
    /// it. A header of version 1 always has at most 107 bytes.
    pub proxy_header_bytes: usize,
    /// Time from an HTTP response to the end of the next request on the same connection; default 10 s; after that the
    /// connection is closed, with a 408 if part of a request arrived.
    pub idle_timeout: Duration,
    /// Bytes of an HTTP response that the peer must accept in each [`slow_reader_window`](Self::slow_reader_window);
    /// default 4 KiB; with fewer the connection is reset.
    pub slow_reader_bytes: u64,
    /// Length of each window in which [`slow_reader_bytes`](Self::slow_reader_bytes) are counted; default 10 s.
    pub slow_reader_window: Duration,
    /// Bytes of a request's body that a peer must send to a [`Responder`](crate::responder::Responder) in each
    /// [`slow_sender_window`](Self::slow_sender_window), while reading is not paused; default 4 KiB; with fewer the
    /// request is answered 408, if its answer has not begun, and the connection ends.
    ///
    /// The same holds for an unfinished WebSocket message of which something is
    /// [held](crate::protocol::ConnectionMut::set_held_bytes): with fewer in a whole window the connection is closed with
    /// 1008 and cause [`Timeout::Message`](sockeye_proto::close::Timeout::Message).
    pub slow_sender_bytes: u64,
    /// Length of each window in which [`slow_sender_bytes`](Self::slow_sender_bytes) are counted; default 10 s.
    pub slow_sender_window: Duration,
    /// Time from the head of a request to the beginning of its answer by a [`Responder`](crate::responder::Responder);
    /// default `None`, no such limit, since a long poll answers when there is something to say; after that the request
    /// is answered 503, and the connection ends.
    pub answer_timeout: Option<Duration>,
    /// Output in bytes queued for one peer; default 64 KiB; with this much or more a writable callback gets no
    /// permission to send another message.
    ///
    /// The last message may exceed it, as permission is given before its size is known.
    pub output_low_water: usize,
    /// Output in bytes queued for one peer, including what is being published; default 16 MiB; beyond it the connection
    /// is reset with cause [`Overflow`](sockeye_proto::close::Cause::Overflow).
    ///
    /// An empty queue accepts a larger message.
    pub output_hard: usize,
    /// Topics that one connection is subscribed to; default 1,024; beyond it
    /// [`subscribe`](crate::protocol::ConnectionMut::subscribe) returns
    /// [`TooManyForConnection`](crate::topics::SubscribeError::TooManyForConnection).
    pub topics_per_connection: usize,
    /// Length of a topic's name in bytes; default 256; with more `subscribe` returns
    /// [`Name`](crate::topics::SubscribeError::Name).
    pub topic_name_bytes: usize,
    /// [Topics](crate::topics) of the service; default 1,048,576; beyond it no connection is subscribed to a new one:
    /// `subscribe` returns [`TooManyTopics`](crate::topics::SubscribeError::TooManyTopics).
    ///
    /// What topics and subscriptions take is bounded by these three limits, and not counted towards
    /// [`total_bytes`](Self::total_bytes): at most about 200 bytes and its name for a topic, and 24 bytes for a subscription. With
    /// [`Threads`](crate::Threads) they apply to each thread.
    pub topics: usize,
    /// Bytes that the service holds for all its peers together: incomplete messages, requests and answers, and output that
    /// waits; default `None`, 1 GiB. Beyond it the connections that hold most are shed until a sixteenth is free: a
    /// WebSocket is closed with 1013 and cause [`Shed`](sockeye_proto::close::Cause::Shed), a request is answered 503, and
    /// what does not read is reset. The others go on.
    ///
    /// It may be exceeded by what one step of one connection adds. What a [`Protocol`](crate::Protocol) keeps itself is
    /// counted if it [says so](crate::protocol::ConnectionMut::set_held_bytes), as [`messages`](crate::messages) does.
    /// With [`Threads`](crate::Threads) it applies to each thread, and the default is an equal share for each.
    pub total_bytes: Option<usize>,
    /// Simultaneous connections of any kind; default `None`, the descriptor limit at start minus the descriptors in use
    /// and 16, which also caps a larger value; at the limit accepting pauses.
    ///
    /// With [`Threads`](crate::Threads) it applies to all threads together.
    pub connections: Option<usize>,
    /// Simultaneous connections from one IP address, or from one network of [`ipv4_prefix_bits`](Self::ipv4_prefix_bits)
    /// or [`ipv6_prefix_bits`](Self::ipv6_prefix_bits); default `None`, no such limit; a connection beyond it is reset.
    ///
    /// With [`Threads`](crate::Threads) it applies to each thread.
    pub connections_per_address: Option<usize>,
    /// Leading bits of an IPv4 address that [`connections_per_address`](Self::connections_per_address) compares; default
    /// 32, the whole address.
    pub ipv4_prefix_bits: u32,
    /// Leading bits of an IPv6 address that [`connections_per_address`](Self::connections_per_address) compares; default
    /// 64: a single host usually has a whole /64 (RFC 4291 section 2.5.1), and could take another address for each
    /// connection. Networks of customers are often a /56 or a /48 (RFC 6177).
    pub ipv6_prefix_bits: u32,
    /// Bytes read from, and bytes sent to, one connection in one turn; default 1,088 KiB, a message of 1 MiB with its headers;
    /// the connection continues in the next turn. The loop's receive buffer has this size, but at most 512 KiB.
    ///
    /// A connection below the limit may be called again in the same turn, because its timer is due or another
    /// connection asked for its writable callback, and then has a whole share for that. When more than 4 connections are
    /// busy in a turn they share what 4 would have, but each has at least 32 KiB and 64 frames, if the limits are not less.
    /// A turn with more work than 2 whole shares leaves the rest to the next one.
    pub turn_bytes: usize,
    /// Frames read from, and frames sent to, one connection in one turn; default 1,024; the connection continues in the
    /// next turn.
    pub turn_frames: usize,
    /// Connections accepted in one turn; default 64; accepting continues in the next turn.
    pub turn_accepts: usize,
    /// Duration of one piece of the loop's work, such as a callback; default 100 ms; a longer one is counted as a stall
    /// and logged as a warning that names it. `None` reads no clock for it. See [`Stalls`](crate::statistics::Stalls).
    pub stall: Option<Duration>,
    /// Jobs of other threads waiting for the service; default 65,536; beyond it a call returns
    /// [`RemoteError::Full`](crate::service::RemoteError::Full).
    pub remote_jobs: usize,
    /// Bytes of messages that a [`Group`](crate::threads::Group) has waiting to be published in this service; default
    /// 64 MiB; beyond it a call returns [`RemoteError::Full`](crate::service::RemoteError::Full). One larger message is
    /// accepted if nothing else waits.
    pub remote_bytes: usize,
}

impl Limits {
    /// The limits of the protocol, for changes.
    pub fn protocol_mut(&mut self) -> &mut sockeye_proto::limits::ProtocolLimits {
        Arc::make_mut(&mut self.protocol)
    }
}

/// The limits of one [`Protocol`](crate::Protocol), which its [`limits`](crate::Protocol::limits) returns. Change single
/// fields of [`MessageLimits::default`], where all are `None`: those of the service.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct MessageLimits {
    /// The largest message in bytes that is received, instead of that of
    /// [`ProtocolLimits::message_bytes`](sockeye_proto::limits::ProtocolLimits::message_bytes).
    pub message_bytes: Option<u64>,
    /// The longest piece of a message in bytes that [`receive`](crate::Protocol::receive) is given, instead of that of
    /// [`ProtocolLimits::piece_bytes`](sockeye_proto::limits::ProtocolLimits::piece_bytes): at least 4. For a protocol whose
    /// pieces go into buffers of a fixed size.
    ///
    /// ```
    /// use sockeye::protocol::MessageLimits;
    ///
    /// /// What `Protocol::limits` of a relay returns whose other side takes records of 4 KiB.
    /// fn limits() -> MessageLimits {
    ///     let mut limits = MessageLimits::default();
    ///     limits.piece_bytes = Some(4096);
    ///     limits
    /// }
    /// ```
    pub piece_bytes: Option<usize>,
    /// Bytes of messages that the protocol itself keeps for one connection until they are sent, if it keeps any. The
    /// protocol enforces it; the builder checks its range. See
    /// [`Messages::outbox_bytes`](crate::messages::Messages::outbox_bytes).
    pub outbox_bytes: Option<usize>,
    /// How many of those bytes may still wait when the protocol asks its program for more. The protocol enforces it; the
    /// builder checks its range. See [`Messages::outbox_low_water`](crate::messages::Messages::outbox_low_water).
    pub outbox_low_water: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            protocol: Arc::default(),
            handshake_timeout: Duration::from_secs(10),
            tls_handshake_timeout: Duration::from_secs(10),
            tls_handshake_bytes: 64 * 1024,
            tls_handshakes: 1024,
            tls_handshakes_per_address: None,
            turn_tls_handshakes: 8,
            decision_timeout: Duration::from_secs(10),
            proxy_header_bytes: 4 * 1024,
            idle_timeout: Duration::from_secs(10),
            slow_reader_bytes: 4 * 1024,
            slow_reader_window: Duration::from_secs(10),
            slow_sender_bytes: 4 * 1024,
            slow_sender_window: Duration::from_secs(10),
            answer_timeout: None,
            output_low_water: 64 * 1024,
            output_hard: 16 * 1024 * 1024,
            topics_per_connection: 1024,
            topic_name_bytes: 256,
            topics: 1 << 20,
            total_bytes: None,
            connections: None,
            connections_per_address: None,
            ipv4_prefix_bits: 32,
            ipv6_prefix_bits: 64,
            turn_bytes: 1088 * 1024,
            turn_frames: 1024,
            turn_accepts: 64,
            stall: Some(Duration::from_millis(100)),
            remote_jobs: 65_536,
            remote_bytes: 64 * 1024 * 1024,
        }
    }
}

/// The limits of one HTTP request with a session. They are those of the service, until the
/// [`Responder`](crate::responder::Responder) [changes them](crate::responder::RequestCx::limits).
///
/// ```
/// use sockeye::http::{HttpRequest, Response};
/// use sockeye::responder::{RequestCx, RequestEnd, Responder, ResponseTx};
/// # struct Upload;
/// # impl Responder for Upload {
/// #     type Session = u64;
/// #     fn name(&self) -> &str { "upload" }
///
/// fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<u64, Response> {
///     if request.header("Authorization").is_some() {
///         cx.limits().body_bytes = 1 << 30; // for those who may
///     }
///     Ok(0)
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestLimits {
    /// Size in bytes of the body; default [`body_bytes`](sockeye_proto::limits::ProtocolLimits::body_bytes); a larger
    /// one is answered 413. A change has an effect in [`request`](crate::responder::Responder::request) only.
    pub body_bytes: u64,
    /// See [`Limits::slow_sender_bytes`].
    pub slow_sender_bytes: u64,
    /// See [`Limits::slow_sender_window`]. A change has an effect from the next window on.
    pub slow_sender_window: Duration,
    /// See [`Limits::slow_reader_bytes`]: while output waits.
    pub slow_reader_bytes: u64,
    /// See [`Limits::slow_reader_window`]. A change has an effect from the next window on.
    pub slow_reader_window: Duration,
    /// See [`Limits::answer_timeout`].
    pub answer_timeout: Option<Duration>,
}

impl RequestLimits {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            body_bytes: limits.protocol.body_bytes,
            slow_sender_bytes: limits.slow_sender_bytes,
            slow_sender_window: limits.slow_sender_window,
            slow_reader_bytes: limits.slow_reader_bytes,
            slow_reader_window: limits.slow_reader_window,
            answer_timeout: limits.answer_timeout,
        }
    }
}
