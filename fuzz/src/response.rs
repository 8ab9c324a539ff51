//! The server's answer to our opening handshake: only the one that fits our key is accepted, with a subprotocol that we
//! offered.

use sockeye_proto::{
    handshake::{client, key},
    http::HeadScanner,
    limits::ProtocolLimits,
};

const NONCE: [u8; 16] = *b"sixteen bytes !!";
const OFFERED: &[&str] = &["chat", "superchat"];

pub fn check(data: &[u8]) {
    // The fuzzer cannot guess a hash: it writes ACCEPT where it wants the right one.
    let accept = key::accept(&key::encode(NONCE));
    let response = replace(data, b"ACCEPT", &accept);
    let limits = ProtocolLimits::default();
    let Ok(Some(end)) = HeadScanner::new(&limits).scan(&response) else { return };
    let Ok(accepted) = client::check(&response[..end], NONCE, OFFERED, &limits) else { return };
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
