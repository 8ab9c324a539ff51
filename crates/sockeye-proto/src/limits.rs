//! Limits on what a peer can make us store or wait for. Each has a finite default.

use core::time::Duration;

/// The limits of the protocol. Start from [`ProtocolLimits::default`] and change single fields.
///
/// ```
/// let mut limits = sockeye_proto::limits::ProtocolLimits::default();
/// limits.message_bytes = 64 * 1024;
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ProtocolLimits {
    /// Largest request or response head in bytes, including the empty line. Default 16 KiB, which
    /// leaves room for long cookies. Beyond it: status 431.
    pub head_bytes: usize,
    /// Most header lines in a head. Default 100. Beyond it: status 431.
    pub head_lines: usize,
    /// Longest request line in bytes. Default 8 KiB (RFC 9112 section 3 asks for at least 8,000).
    /// Beyond it: status 414.
    pub request_line_bytes: usize,
    /// Largest body of a plain HTTP request in bytes. Default 1 MiB. Beyond it: status 413.
    pub body_bytes: u64,
    /// Largest message in bytes, all fragments together. Default 16 MiB. The frame header that
    /// exceeds it is answered with close code 1009. Of a compressed message it limits the inflated bytes, and those that
    /// arrive to an eighth and 64 bytes more.
    pub message_bytes: u64,
    /// Most fragments of one message with fewer than
    /// [`tiny_fragment_bytes`](Self::tiny_fragment_bytes) bytes. Default 4096. Beyond it: close
    /// code 1008.
    pub tiny_fragments: u32,
    /// A fragment with fewer payload bytes than this counts as tiny. Default 16.
    pub tiny_fragment_bytes: u64,
    /// Most bytes of one piece of a message ([`Fragment`](crate::event::Fragment)), for programs that have buffers of their
    /// own. At least 4, which has room for any code point; less means 4. Default `None`: as much as has arrived.
    pub piece_bytes: Option<usize>,
    /// Longest time from our Close frame to the end of the closing handshake. Default 5 s. After
    /// it, the TCP connection is ended.
    pub close_timeout: Duration,
    /// Silence of the peer after which a ping is sent. Default 25 s, below the usual 30 s of
    /// middleboxes. `None` turns keepalive off.
    pub ping_after: Option<Duration>,
    /// Longest time from that ping until anything arrives. Default 20 s. After it, the connection
    /// ends with [`Timeout::Keepalive`](crate::close::Timeout::Keepalive).
    pub pong_within: Duration,
    /// How many bytes of the body of a refused handshake a client keeps for its error. Default 64
    /// KiB.
    pub response_body_bytes: u64,
}

impl Default for ProtocolLimits {
    fn default() -> Self {
        Self {
            head_bytes: 16 * 1024,
            head_lines: 100,
            request_line_bytes: 8 * 1024,
            body_bytes: 1024 * 1024,
            message_bytes: 16 * 1024 * 1024,
            tiny_fragments: 4096,
            tiny_fragment_bytes: 16,
            piece_bytes: None,
            close_timeout: Duration::from_secs(5),
            ping_after: Some(Duration::from_secs(25)),
            pong_within: Duration::from_secs(20),
            response_body_bytes: 64 * 1024,
        }
    }
}
