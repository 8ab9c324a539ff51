//! What proxies answer: the outcome does not depend on how it was cut, little is held, and nothing behind it is taken.
//! The second byte of the input chooses the proxy.

use sockeye::{
    Proxy,
    client::{
        ProxyFailure,
        negotiate::{Negotiated, Negotiation},
    },
    proto::limits::ProtocolLimits,
};

use crate::Cut;

pub fn check(data: &[u8]) {
    let cut = Cut::new(data);
    let Some((&choice, answer)) = cut.data.split_first() else { return };
    let whole = run(choice, [answer]);
    let pieces = run(choice, answer.chunks(cut.step));
    assert_eq!((&whole.outcome, &whole.said), (&pieces.outcome, &pieces.said), "cut into pieces of {}", cut.step);
    if whole.outcome.is_ok() {
        assert_eq!(whole.left, pieces.left, "cut into pieces of {}", cut.step);
        assert!(answer.ends_with(&whole.left));
    }
    // A greeting, 513 bytes for user and password, 262 for the request; or a head with a short name.
    assert!(whole.said.len() <= 4 + 513 + 262);
}

struct Run {
    outcome: Result<Negotiated, ProxyFailure>,
    said: Vec<u8>,
    left: Vec<u8>,
}

fn run<'d>(choice: u8, pieces: impl IntoIterator<Item = &'d [u8]>) -> Run {
    let mut negotiation = negotiation(choice);
    let (mut outcome, mut said, mut left) = (Ok(Negotiated::More), Vec::new(), Vec::new());
    negotiation.start(&mut said);
    for piece in pieces {
        let mut input = piece;
        if outcome == Ok(Negotiated::More) {
            outcome = negotiation.feed(&mut input, &mut said);
            assert!(outcome != Ok(Negotiated::More) || input.is_empty(), "all is taken while more is needed");
        }
        left.extend_from_slice(input);
    }
    if outcome != Ok(Negotiated::More) {
        let said_before = said.len();
        assert_eq!(negotiation.feed(&mut &b"\x05\x00\r\n\r\n"[..], &mut said), outcome, "over is over");
        assert_eq!(said.len(), said_before);
    }
    Run { outcome, said, left }
}

fn negotiation(choice: u8) -> Negotiation {
    let proxy =
        ["http://proxy", "http://joe:pw@proxy", "socks5://proxy", "socks5://joe:pw@proxy"][usize::from(choice % 4)];
    let host = ["example.com", "127.0.0.1", "::1"][usize::from(choice / 4 % 3)];
    let mut limits = ProtocolLimits::default();
    limits.head_bytes = 1024;
    limits.request_line_bytes = 256;
    limits.head_lines = 10;
    let proxy = Proxy::parse(proxy).expect("it is one");
    proxy.negotiate(host, 80, &limits).expect("such a host can be asked for")
}
