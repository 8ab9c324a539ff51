//! Keepalive of one connection.

use std::time::Duration;

use crate::limits::LimitError;
use crate::limits::table;

/// When a silent peer is pinged, and when it is given up: the keepalive of one connection, instead of that of
/// [`ProtocolLimits`](sockeye_proto::limits::ProtocolLimits).
///
/// ```
/// use std::time::Duration;
///
/// use sockeye::protocol::{ConnectionMut, Keepalive};
///
/// fn after_login(connection: &mut ConnectionMut<'_>, is_mobile: bool) {
///     // A ping wakes a telephone's radio.
///     let minute = Duration::from_secs(60);
///     let keepalive = if is_mobile { Keepalive::OFF } else { Keepalive::new(minute, minute).unwrap() };
///     connection.set_keepalive(keepalive);
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Keepalive {
    pub(crate) ping_after: Option<Duration>,
    pub(crate) pong_within: Duration,
}

impl Keepalive {
    /// No pings: a peer that is silent stays connected until TCP gives it up, which may be never.
    pub const OFF: Self = Self { ping_after: None, pong_within: Duration::from_secs(20) };

    /// A ping after so much silence of the peer, and the longest time from that ping until anything arrives. After
    /// it, the connection ends with [`Timeout::Keepalive`](sockeye_proto::close::Timeout::Keepalive).
    ///
    /// # Errors
    /// A time is out of the range of `ping_after` or `pong_within`: 1 ms to 365 days.
    pub fn new(ping_after: Duration, pong_within: Duration) -> Result<Self, LimitError> {
        table::ping_after().check_time(ping_after)?;
        table::pong_within().check_time(pong_within)?;
        Ok(Self { ping_after: Some(ping_after), pong_within })
    }
}
