//! Outgoing connections, from the request to a connected socket: waiting, resolving, racing.
//!
//! ```text
//!  connect ─▶ Later ─▶ Resolving ─▶ Racing ─▶ conn::opening ─▶ open
//!                │         │            ├─▶ (not a WebSocket) ─▶ open
//!                └─────────┴────────────┴────────────┴───────▶ failed (and perhaps the next attempt)
//! ```
//!
//! Every connect has exactly one outcome: the endpoint's `open`, or its `failed`, which only [`outcome`] calls.

mod attempts;
mod lookup;
mod outcome;
mod race;
mod racing;
mod start;

pub(super) use self::attempts::Connecting;
