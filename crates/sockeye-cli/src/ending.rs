//! How a connection ended: for people in words, for scripts as an exit code.

use sockeye::Closed;
use sockeye::log::escape;
use sockeye::proto::close::{Cause, Initiator, Timeout};

use crate::failure::{Failure, PROTOCOL};

/// The end of a connection in words, as `closed by the peer: 1000 bye`.
pub(crate) fn describe(closed: &Closed) -> String {
    let received = || {
        let close = closed.received.as_ref();
        in_words(close.and_then(|close| close.code()).map(|code| code.get()), close.map_or("", |close| close.reason()))
    };
    match (closed.cause, closed.initiator) {
        (Cause::Handshake, Initiator::Peer) => format!("closed by the peer: {}", received()),
        (Cause::Handshake, _) => format!("closed by us: {}", sent(closed)),
        (Cause::Eof, Initiator::Local) => {
            format!("the peer closed the connection without answering our close ({})", sent(closed))
        }
        (Cause::Eof, Initiator::Peer) => format!("closed by the peer: {}", received()),
        (Cause::Eof, Initiator::Neither) => "the peer dropped the connection without a close (1006)".to_owned(),
        (Cause::Reset, _) => "the connection was reset (1006)".to_owned(),
        (Cause::Timeout(Timeout::Close), _) => format!("the peer did not answer our close ({})", sent(closed)),
        (Cause::Timeout(Timeout::Keepalive), _) => "the peer did not answer a ping (1006)".to_owned(),
        (Cause::Violation(violation), _) => {
            format!("the peer broke a rule: {violation}; closed with {}", code_sent(closed))
        }
        (Cause::Overflow, _) => "the peer does not read".to_owned(),
        (Cause::Aborted, _) => "aborted by us".to_owned(),
        // `Dropped`, and what a later version may add.
        (_, _) => "the connection was dropped".to_owned(),
    }
}

fn code_sent(closed: &Closed) -> String {
    in_words(closed.sent.as_ref().and_then(|close| close.code()).map(|code| code.get()), "")
}

fn sent(closed: &Closed) -> String {
    let close = closed.sent.as_ref();
    in_words(close.and_then(|close| close.code()).map(|code| code.get()), close.map_or("", |close| close.reason()))
}

/// A code and a reason, as `4000 bye`.
fn in_words(code: Option<u16>, reason: &str) -> String {
    let mut shown = code.map_or_else(|| "no code".to_owned(), |code| code.to_string());
    if !reason.is_empty() {
        shown.push_str(&format!(" {}", escape(reason)));
    }
    shown
}

/// Who began it.
pub(crate) fn by(closed: &Closed) -> &'static str {
    match closed.initiator {
        Initiator::Local => "us",
        Initiator::Peer => "peer",
        Initiator::Neither => "neither",
    }
}

/// Both sides closed in the way of the protocol.
pub(crate) fn is_clean(closed: &Closed) -> bool {
    closed.cause == Cause::Handshake
}

/// # Errors
/// An abnormal end: the peer closed with a code other than 1000, 1001 or none, or there was no closing handshake.
pub(crate) fn judge(closed: &Closed) -> Result<(), Failure> {
    let good =
        is_clean(closed) && (closed.initiator == Initiator::Local || matches!(closed.code_seen(), 1000 | 1001 | 1005));
    if good { Ok(()) } else { Err(Failure { code: PROTOCOL, message: describe(closed) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_are_told_with_code_and_reason() {
        assert_eq!(in_words(Some(4000), "bye\x1b"), "4000 bye\\u{1b}");
        assert_eq!(in_words(Some(1000), ""), "1000");
        assert_eq!(in_words(None, ""), "no code");
    }
}
