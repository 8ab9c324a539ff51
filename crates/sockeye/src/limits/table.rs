//! The one table of limits: the least and the most of each, its default, and what it is for. `Builder::build` and the
//! setters of the client check with it, docs/limits.md is made from it, and a test tries each limit at both ends.

use std::time::Duration;

use crate::limits::limit::{Amount, DAY, Limit, LimitError, Unit};
use crate::limits::service::{Limits, MessageLimits};

/// A field of [`Limits`].
pub(crate) struct Field {
    pub(crate) limit: Limit,
    pub(crate) read: fn(&Limits) -> Option<Amount>,
    /// `None` for an amount that the field's type cannot hold.
    #[cfg(test)]
    pub(crate) write: fn(&mut Limits, Amount) -> Option<()>,
}

/// The type of a field.
trait Value: Copy {
    fn amount(self) -> Option<Amount>;
    #[cfg(test)]
    fn of(amount: Amount) -> Option<Self>;
}

impl Value for Duration {
    fn amount(self) -> Option<Amount> {
        Some(Amount::Time(self))
    }

    #[cfg(test)]
    fn of(amount: Amount) -> Option<Self> {
        if let Amount::Time(time) = amount { Some(time) } else { None }
    }
}

impl<V: Value> Value for Option<V> {
    fn amount(self) -> Option<Amount> {
        self.and_then(V::amount)
    }

    #[cfg(test)]
    fn of(amount: Amount) -> Option<Self> {
        V::of(amount).map(Some)
    }
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn amount(self) -> Option<Amount> {
                Some(Amount::Number(self as u64))
            }

            #[cfg(test)]
            fn of(amount: Amount) -> Option<Self> {
                if let Amount::Number(number) = amount { Self::try_from(number).ok() } else { None }
            }
        }
    )*};
}

numbers!(u32, u64, usize);

/// A row for each line: name, unit, default, least and most, what it bounds, what happens beyond it.
macro_rules! row {
    ($name:expr, Time, $default:expr, $least:expr, $most:expr, $bounds:literal, $beyond:literal) => {
        row!(@ $name, Time, $default, Amount::Time($least), Amount::Time($most), $bounds, $beyond)
    };
    ($name:expr, $unit:ident, $default:expr, $least:expr, $most:expr, $bounds:literal, $beyond:literal) => {
        row!(@ $name, $unit, $default, Amount::Number($least), Amount::Number($most), $bounds, $beyond)
    };
    (@ $name:expr, $unit:ident, $default:expr, $least:expr, $most:expr, $bounds:literal, $beyond:literal) => {
        Limit {
            name: $name,
            unit: Unit::$unit,
            default: $default,
            least: $least,
            most: $most,
            #[cfg(test)]
            bounds: $bounds,
            #[cfg(test)]
            beyond: $beyond,
        }
    };
}

/// The row of a field of [`Limits`], or of its `protocol`.
macro_rules! field {
    (protocol.$field:ident, $($row:tt)*) => {
        Field {
            limit: row!(concat!("ProtocolLimits::", stringify!($field)), $($row)*),
            read: |limits| limits.protocol.$field.amount(),
            #[cfg(test)]
            write: |limits, amount| Value::of(amount).map(|value| limits.protocol_mut().$field = value),
        }
    };
    ($field:ident, $($row:tt)*) => {
        Field {
            limit: row!(concat!("Limits::", stringify!($field)), $($row)*),
            read: |limits| limits.$field.amount(),
            #[cfg(test)]
            write: |limits, amount| Value::of(amount).map(|value| limits.$field = value),
        }
    };
}

const fn number(number: u64) -> Option<Amount> {
    Some(Amount::Number(number))
}

const fn secs(seconds: u64) -> Option<Amount> {
    Some(Amount::Time(Duration::from_secs(seconds)))
}

const fn millis(millis: u64) -> Option<Amount> {
    Some(Amount::Time(Duration::from_millis(millis)))
}

/// The limits of a service.
#[rustfmt::skip]
pub(crate) static FIELDS: &[Field] = &[
    field!(protocol.message_bytes, Bytes, number(16 * MIB), 1, LARGE,
        "one message, all fragments together, and inflated if it was compressed",
        "close code 1009, at the header that exceeds it; compressed, at the byte that does"),
    field!(protocol.head_bytes, Bytes, number(16 * KIB), 256, MIB,
        "the head of a request or of a response", "431"),
    field!(protocol.head_lines, Count, number(100), 8, 10_000,
        "the field lines of a head", "431"),
    field!(protocol.request_line_bytes, Bytes, number(8 * KIB), 64, MIB,
        "the first line of a head", "414"),
    field!(protocol.body_bytes, Bytes, number(MIB), 0, GIB,
        "the body of a plain request", "413"),
    field!(protocol.tiny_fragments, Count, number(4096), 1, u32::MAX as u64,
        "fragments of one message smaller than `tiny_fragment_bytes`", "close code 1008"),
    field!(protocol.tiny_fragment_bytes, Bytes, number(16), 1, MIB,
        "a fragment smaller than this is tiny", "see `tiny_fragments`"),
    field!(protocol.close_timeout, Time, secs(5), SHORTEST, LONGEST,
        "from the Close frame to the end of the connection", "the TCP connection is ended"),
    field!(protocol.ping_after, Time, secs(25), SHORTEST, LONGEST,
        "silence of the peer", "a ping; `None`: no pings"),
    field!(protocol.pong_within, Time, secs(20), SHORTEST, LONGEST,
        "from the ping to a sign of life (any byte, or taking queued output)", "reset, cause `Timeout`"),
    field!(protocol.response_body_bytes, Bytes, number(64 * KIB), 0, GIB,
        "the body of a response that refuses a client's handshake", "the rest is left out"),
    field!(protocol.piece_bytes, Bytes, None, 4, GIB,
        "one piece of a message; `None`: as much as has arrived", "the rest comes in further pieces"),
    field!(handshake_timeout, Time, secs(10), SHORTEST, LONGEST,
        "from accept to the end of the first request, with its body and a PROXY header",
        "408 if part of the request arrived; closed"),
    field!(tls_handshake_timeout, Time, secs(10), SHORTEST, LONGEST,
        "from accept, or from when TLS begins on an open connection, to the end of the TLS handshake, with a PROXY header", "closed"),
    field!(tls_handshake_bytes, Bytes, number(64 * KIB), 4 * KIB, MIB,
        "what a peer sends before its TLS handshake is done", "closed"),
    field!(tls_handshakes, Count, number(1024), 1, MANY,
        "TLS handshakes under way", "others wait, unread"),
    field!(tls_handshakes_per_address, Count, None, 1, MANY,
        "TLS handshakes under way of one IP address, or of one network", "reset"),
    field!(turn_tls_handshakes, Count, number(8), 1, 1 << 16,
        "TLS handshakes that begin in one turn", "others begin in the next turn"),
    field!(decision_timeout, Time, secs(10), SHORTEST, LONGEST,
        "from a filter's `Decision::later` to the decision", "503"),
    field!(proxy_header_bytes, Bytes, number(4 * KIB), 232, 65_551,
        "the PROXY header of a trusted proxy; a line of version 1 has at most 107 bytes", "closed"),
    field!(idle_timeout, Time, secs(10), SHORTEST, LONGEST,
        "from a response to the end of the next request on the same connection",
        "408 if part of it arrived; closed"),
    field!(slow_reader_bytes, Bytes, number(4 * KIB), 1, GIB,
        "the least of an HTTP response that a peer must take in each `slow_reader_window`", "reset"),
    field!(slow_reader_window, Time, secs(10), SHORTEST, LONGEST,
        "the length of that window", "see `slow_reader_bytes`"),
    field!(slow_sender_bytes, Bytes, number(4 * KIB), 1, GIB,
        "the least that a peer must send in each `slow_sender_window`, of a body to a responder or of a message that is held for it",
        "408 if the answer has not begun; closed"),
    field!(slow_sender_window, Time, secs(10), SHORTEST, LONGEST,
        "the length of that window", "see `slow_sender_bytes`"),
    field!(answer_timeout, Time, None, SHORTEST, LONGEST,
        "from the head of a request to the beginning of a responder's answer", "503; closed"),
    field!(output_low_water, Bytes, number(64 * KIB), 1, GIB,
        "queued for one peer", "no permission to send more"),
    field!(output_hard, Bytes, number(16 * MIB), 1, LARGE,
        "queued for one peer when more is published for it", "reset, cause `Overflow`"),
    field!(topics_per_connection, Count, number(1024), 1, 1 << 20,
        "topics of one connection", "not subscribed, `SubscribeError::TooManyForConnection`"),
    field!(topic_name_bytes, Bytes, number(256), 1, 64 * KIB,
        "the name of a topic", "not subscribed, `SubscribeError::Name`"),
    field!(topics, Count, number(1 << 20), 1, MANY,
        "topics of the service", "not subscribed to a new one, `SubscribeError::TooManyTopics`"),
    field!(total_bytes, Bytes, None, MIB, LARGE,
        "held for all peers: incomplete messages, requests and answers, output that waits; `None`: 1 GiB, an equal share with `Threads`",
        "those that hold most are shed: close code 1013, 503, or reset"),
    field!(connections, Count, None, 1, MANY,
        "connections of any kind; `None`: the descriptor limit, less 16 and those in use, which also caps it",
        "accepting pauses"),
    field!(connections_per_address, Count, None, 1, MANY,
        "connections of one IP address, or of one network of the next two limits", "reset"),
    field!(ipv4_prefix_bits, Count, number(32), 1, 32,
        "leading bits of an IPv4 address that make a network for `connections_per_address`", "another network"),
    field!(ipv6_prefix_bits, Count, number(64), 1, 128,
        "the same of an IPv6 address", "another network"),
    field!(turn_bytes, Bytes, number(1088 * KIB), 64, 64 * MIB,
        "read from, and sent to, one connection in one turn; the size of the receive buffer, up to 512 KiB",
        "continued in the next turn"),
    field!(turn_frames, Count, number(1024), 1, 1 << 20,
        "frames read from, and sent to, one connection in one turn", "continued in the next turn"),
    field!(turn_accepts, Count, number(64), 1, 1 << 16,
        "accepts in one turn", "continued in the next turn"),
    field!(stall, Time, millis(100), SHORTEST, LONGEST,
        "one piece of the loop's work, such as a callback", "a warning that names it, and a count"),
    field!(remote_jobs, Count, number(65_536), 1, 1 << 24,
        "closures that other threads have queued", "`RemoteError::Full`"),
    field!(remote_bytes, Bytes, number(64 * MIB), 1, LARGE,
        "messages that a `Group` has queued in one service", "`RemoteError::Full`"),
];

/// Whether each limit of a service is in its range. The first that is not is the error.
pub(crate) fn check(limits: &Limits) -> Result<(), LimitError> {
    let check = |field: &'static Field| (field.read)(limits).map_or(Ok(()), |value| field.limit.check(value));
    FIELDS.iter().try_for_each(check)
}

/// As [`check`], of one protocol.
pub(crate) fn check_messages(limits: &MessageLimits) -> Result<(), LimitError> {
    if let Some(bytes) = limits.message_bytes {
        message_bytes().check_number(bytes)?;
    }
    if let Some(bytes) = limits.piece_bytes {
        piece_bytes().check_number(bytes as u64)?;
    }
    if let Some(bytes) = limits.outbox_low_water {
        OUTBOX_LOW_WATER.check_number(bytes as u64)?;
    }
    limits.outbox_bytes.map_or(Ok(()), |bytes| OUTBOX_BYTES.check_number(bytes as u64))
}

/// The first row, which protocols and connections may have a value of their own for.
pub(crate) fn message_bytes() -> &'static Limit {
    &FIELDS[0].limit
}

/// The longest piece, which protocols may have a value of their own for.
pub(crate) fn piece_bytes() -> &'static Limit {
    &FIELDS[11].limit
}

/// The rows of keepalive, which a connection may have values of its own for.
pub(crate) fn ping_after() -> &'static Limit {
    &FIELDS[8].limit
}

pub(crate) fn pong_within() -> &'static Limit {
    &FIELDS[9].limit
}

/// The limits of one protocol, of a connect, and of reconnecting.
#[cfg(test)]
#[rustfmt::skip]
pub(crate) static OTHERS: &[&Limit] = &[
    &OUTBOX_BYTES, &OUTBOX_LOW_WATER, &CONNECT_TIMEOUT, &RESOLVE, &CONNECT, &HEAD_START, &PROXY, &TLS, &HANDSHAKE,
    &RECONNECT_INITIAL, &RECONNECT_CAP, &RECONNECT_STABLE, &RECONNECT_MAX_RETRY_AFTER, &RECONNECT_ATTEMPTS,
];

#[rustfmt::skip]
mod others {
    use super::*;

    pub(crate) static OUTBOX_BYTES: Limit = row!("Messages::outbox_bytes", Bytes, number(17 * MIB), 128, LARGE,
        "payload plus 64 bytes per message, waiting in one outbox; reading from the peer pauses at 512 KiB, or at half of the bound if that is less",
        "`Full(message)`");
    pub(crate) static OUTBOX_LOW_WATER: Limit = row!("Messages::outbox_low_water", Bytes, number(0), 0, LARGE,
        "what may still wait in an outbox, counted the same, when `Handler::writable` is called",
        "it is not called until less waits");
    pub(crate) static CONNECT_TIMEOUT: Limit = row!("Connect::timeout", Time, secs(30), SHORTEST, LONGEST,
        "from the connect command to the open connection", "`failed`, cause `Timeout`");
    pub(crate) static RESOLVE: Limit = row!("Timeouts::resolve", Time, secs(10), SHORTEST, LONGEST,
        "host lookup", "`failed`, cause `Timeout`, with the stage");
    pub(crate) static CONNECT: Limit = row!("Timeouts::connect", Time, secs(10), SHORTEST, LONGEST,
        "connecting, over all addresses", "`failed`, cause `Timeout`, with the stage");
    pub(crate) static HEAD_START: Limit = row!("Timeouts::head_start", Time, millis(250), Duration::from_millis(10), LONGEST,
        "the wait for one address; the least is that of RFC 8305 section 5", "the next one is tried in parallel");
    pub(crate) static PROXY: Limit = row!("Timeouts::proxy", Time, secs(10), SHORTEST, LONGEST,
        "negotiation with the proxy, behind the handshake of its own TLS", "`failed`, cause `Timeout`, with the stage");
    pub(crate) static TLS: Limit = row!("Timeouts::tls", Time, secs(10), SHORTEST, LONGEST,
        "the handshake of TLS", "`failed`, cause `Timeout`, with the stage");
    pub(crate) static HANDSHAKE: Limit = row!("Timeouts::handshake", Time, secs(10), SHORTEST, LONGEST,
        "from the request to the end of the response", "`failed`, cause `Timeout`, with the stage");
    pub(crate) static RECONNECT_INITIAL: Limit = row!("Reconnect::initial", Time, millis(500), Duration::from_millis(10), LONGEST,
        "the wait before the first new attempt", "the next attempt");
    pub(crate) static RECONNECT_CAP: Limit = row!("Reconnect::cap", Time, secs(30), Duration::from_millis(10), LONGEST,
        "the wait before any new attempt", "the wait does not grow further");
    pub(crate) static RECONNECT_STABLE: Limit = row!("Reconnect::stable", Time, secs(60), Duration::ZERO, LONGEST,
        "how long a connection must have been open", "the failures before it are forgotten");
    pub(crate) static RECONNECT_MAX_RETRY_AFTER: Limit = row!("Reconnect::max_retry_after", Time, secs(300), Duration::ZERO, LONGEST,
        "the wait that a server may ask for", "a longer one is cut to this");
    pub(crate) static RECONNECT_ATTEMPTS: Limit = row!("Reconnect::attempts", Count, None, 1, u32::MAX as u64,
        "attempts in a row that fail", "no further attempt");
}

pub(crate) use self::others::*;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
/// Sums of two of these do not overflow, and RFC 6455 section 5.2 allows a length of 2^63 - 1.
const LARGE: u64 = 1 << 62;
/// What no system allows: Linux has at most 2^30 descriptors in a process.
const MANY: u64 = 1 << 30;
/// The loop's timers have a resolution of a millisecond.
const SHORTEST: Duration = Duration::from_millis(1);
/// Far from the end of the clock, and from that of every system call.
const LONGEST: Duration = Duration::from_secs(365 * DAY.as_secs());
