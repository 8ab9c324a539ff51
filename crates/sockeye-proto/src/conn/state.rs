//! The states of a connection.

/// The state of a connection. It only ever moves down this list.
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
    /// Data flows in both directions.
    Open,
    /// Our Close frame is queued or sent, and the peer's has not arrived. Once ours is sent, we
    /// send no more data. Data from the peer is checked and dropped.
    Closing,
    /// Nothing more is received. Our Close frame is yet to be flushed. Then a server ends the TCP
    /// connection, and a client waits for the server to do so.
    Draining,
    /// The caller must end the TCP connection now.
    Ended,
}
