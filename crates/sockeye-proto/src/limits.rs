//! What a peer may make us hold or wait for. Nothing here is unlimited.

use core::time::Duration;

/// The bounds of the protocol. Change single fields of [`ProtocolLimits::default`].
///
/// ```
/// let mut limits = sockeye_proto::limits::ProtocolLimits::default();
/// limits.message_bytes = 64 * 1024;
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ProtocolLimits {
    /// Bytes of a request or response head, blank line included. Default 16 KiB: room for long cookies. Over it: 431.
    pub head_bytes: usize,
    /// Header lines in a head. Default 100. Over it: 431.
    pub head_lines: usize,
    /// Bytes of the request line. Default 8 KiB (RFC 9112 section 3 asks for 8,000 at least). Over it: 414.
    pub request_line_bytes: usize,
    /// Bytes of the body of a plain request. Default 1 MiB. Over it: 413.
    pub body_bytes: u64,
    /// Bytes of one message, all its fragments together. Default 16 MiB. Over it: close code 1009, at the header that crosses it.
    pub message_bytes: u64,
    /// Fragments of one message that may carry fewer than [`tiny_fragment_bytes`](Self::tiny_fragment_bytes). Default
    /// 4096. Over it: 1008.
    pub tiny_fragments: u32,
    /// A fragment with fewer payload bytes than this is a tiny one. Default 16.
    pub tiny_fragment_bytes: u64,
    /// From our close frame to the end of the closing handshake. Default 5 s. Over it the TCP connection is ended.
    pub close_timeout: Duration,
    /// Silence after which a ping is sent. Default 25 s, below the usual 30 s of middleboxes; `None` turns keepalive off.
    pub ping_after: Option<Duration>,
    /// From that ping to any sign of life. Default 20 s. Over it the connection ends with cause `Timeout`.
    pub pong_within: Duration,
    /// Bytes of the body of a refused handshake that a client keeps for its error. Default 64 KiB.
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
            close_timeout: Duration::from_secs(5),
            ping_after: Some(Duration::from_secs(25)),
            pong_within: Duration::from_secs(20),
            response_body_bytes: 64 * 1024,
        }
    }
}
