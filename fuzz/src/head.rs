//! Request heads: the scanner finds the same end or the same error however the bytes are cut. What
//! is derived from a head (body length, opening handshake, response) follows the rules.

use sockeye_proto::ext::deflate;
use sockeye_proto::handshake::server::Offer;
use sockeye_proto::http::body::Length;
use sockeye_proto::http::{HeadError, HeadScanner, RequestHead, conditional, range};
use sockeye_proto::limits::ProtocolLimits;

use crate::Cut;

pub fn check(data: &[u8]) {
    let cut = Cut::new(data);
    let mut limits = ProtocolLimits::default();
    limits.head_bytes = 4096;
    limits.request_line_bytes = 1024;
    limits.head_lines = 20;

    let whole = HeadScanner::new(&limits).scan(cut.data);
    assert_eq!(whole, in_pieces(&cut, &limits), "cut into pieces of {}", cut.step);
    let Ok(Some(end)) = whole else { return };
    assert!(end <= limits.head_bytes && cut.data[..end].ends_with(b"\r\n\r\n"));

    let Ok(head) = RequestHead::parse(&cut.data[..end], &limits) else { return };
    for (name, value) in head.fields.iter() {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'));
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
    let _ = Length::of_request(&head);
    let _ = conditional::evaluate(&head, "\"tag\"", 1_000_000_000);
    let _ = range::single(&head, 1000, "\"tag\"", 1_000_000_000);
    handshake(&head);
}

fn in_pieces(cut: &Cut<'_>, limits: &ProtocolLimits) -> Result<Option<usize>, HeadError> {
    let mut scanner = HeadScanner::new(limits);
    let mut arrived = 0;
    for piece in cut.pieces() {
        arrived += piece.len();
        match scanner.scan(&cut.data[..arrived]) {
            Ok(None) => {}
            done => return done,
        }
    }
    Ok(None)
}

fn handshake(head: &RequestHead<'_>) {
    let mut out = Vec::new();
    match Offer::of(head) {
        Ok(None) => return,
        Ok(Some(offer)) => {
            let _ = offer.origin();
            let protocols: Vec<&str> = offer.protocols().collect();
            let settings = Some(deflate::Settings::server());
            let accepted = offer.accept(&mut out, protocols.first().copied(), settings, &[]);
            let agreed = accepted.expect("an offered subprotocol was refused");
            assert!(out.starts_with(b"HTTP/1.1 101 "));
            assert_eq!(agreed.is_some(), out.windows(12).any(|window| window == b"-Extensions:"));
        }
        Err(refusal) => {
            assert!((400..=599).contains(&refusal.status), "{refusal:?}");
            refusal.write(&mut out, Some(0));
        }
    }
    // Nothing that the peer sends may end our head early.
    let ends = out.windows(4).filter(|window| window == b"\r\n\r\n").count();
    assert_eq!(ends, 1, "{}", String::from_utf8_lossy(&out));
}
