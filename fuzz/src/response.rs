//! The server's response to our opening handshake: it is accepted only if it matches our key and
//! chooses an offered subprotocol.

use sockeye_proto::ext::deflate;
use sockeye_proto::handshake::{client, key};
use sockeye_proto::http::HeadScanner;
use sockeye_proto::limits::ProtocolLimits;

const NONCE: [u8; 16] = *b"sixteen bytes !!";
const OFFERED: &[&str] = &["chat", "superchat"];

pub fn check(data: &[u8]) {
    // The fuzzer cannot guess a hash, so ACCEPT is replaced with the right one.
    let accept = key::accept(&key::encode(NONCE));
    let mut response = replace(data, b"ACCEPT", &accept);
    let limits = ProtocolLimits::default();
    let mut scanner = HeadScanner::for_response(&limits);
    let Ok(Some(end)) = scanner.scan(&response) else { return };
    scanner.unfold(&mut response[..end]);
    let settings = deflate::Settings::client();
    let Ok(accepted) = client::check(&response[..end], NONCE, OFFERED, Some(settings), &limits) else { return };
    assert_eq!(accepted.head.status, 101);
    assert!(accepted.protocol.is_none_or(|protocol| OFFERED.contains(&protocol)));
    assert!(response.windows(accept.len()).any(|window| window == accept));
}

fn replace(data: &[u8], mark: &[u8], value: &[u8]) -> Vec<u8> {
    match data.windows(mark.len()).position(|window| window == mark) {
        Some(at) => [&data[..at], value, &data[at + mark.len()..]].concat(),
        None => data.to_vec(),
    }
}
