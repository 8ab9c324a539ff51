//! Responses of proxies: the result does not depend on how they are cut, memory is bounded, and
//! nothing after the response is taken. The second byte of the data selects the proxy.

use sockeye::client::negotiate::{Negotiated, Negotiation};
use sockeye::client::{Proxy, ProxyFailure};
use sockeye::proto::limits::ProtocolLimits;

use crate::Cut;

pub fn check(data: &[u8]) {
    let cut = Cut::new(data);
    let Some((&choice, answer)) = cut.data.split_first() else { return };
    let whole = run(choice, [answer]);
    let pieces = run(choice, answer.chunks(cut.step));
    assert_eq!((&whole.outcome, &whole.sent), (&pieces.outcome, &pieces.sent), "cut into pieces of {}", cut.step);
    if whole.outcome.is_ok() {
        assert_eq!(whole.left, pieces.left, "cut into pieces of {}", cut.step);
        assert!(answer.ends_with(&whole.left));
    }
    // SOCKS: a greeting, 513 bytes for user and password, 262 for the request. An HTTP head is
    // shorter here.
    assert!(whole.sent.len() <= 4 + 513 + 262);
}

struct Run {
    outcome: Result<Negotiated, ProxyFailure>,
    sent: Vec<u8>,
    left: Vec<u8>,
}

fn run<'d>(choice: u8, pieces: impl IntoIterator<Item = &'d [u8]>) -> Run {
    let mut negotiation = negotiation(choice);
    let (mut outcome, mut sent, mut left) = (Ok(Negotiated::More), Vec::new(), Vec::new());
    negotiation.start(&mut sent);
    for piece in pieces {
        let mut input = piece;
        if outcome == Ok(Negotiated::More) {
            outcome = negotiation.feed(&mut input, &mut sent);
            assert!(outcome != Ok(Negotiated::More) || input.is_empty(), "everything is taken while more is needed");
        }
        left.extend_from_slice(input);
    }
    if outcome != Ok(Negotiated::More) {
        let sent_before = sent.len();
        assert_eq!(negotiation.feed(&mut &b"\x05\x00\r\n\r\n"[..], &mut sent), outcome, "the result stays the same");
        assert_eq!(sent.len(), sent_before);
    }
    Run { outcome, sent, left }
}

fn negotiation(choice: u8) -> Negotiation {
    let proxy =
        ["http://proxy", "http://joe:pw@proxy", "socks5://proxy", "socks5://joe:pw@proxy"][usize::from(choice % 4)];
    let host = ["example.com", "127.0.0.1", "::1"][usize::from(choice / 4 % 3)];
    let mut limits = ProtocolLimits::default();
    limits.head_bytes = 1024;
    limits.request_line_bytes = 256;
    limits.head_lines = 10;
    let proxy = Proxy::parse(proxy).expect("the proxy is valid");
    proxy.negotiate(host, 80, &limits).expect("the host is valid")
}
