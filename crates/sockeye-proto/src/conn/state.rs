//! The states of a connection.

/// How far a connection is. It only ever moves down this list.
///
/// ```text
///  Open ──close()──▶ Closing ──peer's Close──▶ Draining ──flushed / EOF / deadline──▶ Ended
///    │                  └───────── EOF, reset, deadline ──────────────────────────────▲
///    ├──peer's Close, or a violation──────────▶ Draining                              │
///    └──EOF, reset, keepalive deadline────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "a caller must handle each of them")]
pub enum State {
    /// Data flows both ways.
    Open,
    /// Our Close frame is queued or sent, the peer's is awaited. No more data of ours once it is sent; data of the peer
    /// is checked and dropped.
    Closing,
    /// Nothing more is received. Our Close frame is to be flushed; then a server ends TCP, and a client waits for the server to.
    Draining,
    /// End the TCP connection now.
    Ended,
}
