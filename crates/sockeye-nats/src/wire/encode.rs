//! What a client sends. Subjects and tokens that come here have no byte with a meaning.

use std::io::Write as _;

use serde_json::json;

use crate::settings::Credentials;

pub(crate) fn connect(out: &mut Vec<u8>, credentials: Option<&Credentials>, is_tls: bool) {
    let mut options = json!({
        "verbose": false,
        "pedantic": false,
        "tls_required": is_tls,
        "name": "sockeye",
        "lang": "rust",
        "version": env!("CARGO_PKG_VERSION"),
        "protocol": 1,
        // A server's own subscribers have the message already, and a stream's copies come from the stream.
        "echo": false,
        "headers": true,
        "no_responders": true,
    });
    match credentials {
        Some(Credentials::Password { user, password }) => {
            options["user"] = user.as_str().into();
            options["pass"] = password.as_str().into();
        }
        Some(Credentials::Token(token)) => options["auth_token"] = token.as_str().into(),
        None => {}
    }
    put(out, format_args!("CONNECT {options}\r\n"));
}

pub(crate) fn ping(out: &mut Vec<u8>) {
    out.extend(b"PING\r\n");
}

pub(crate) fn pong(out: &mut Vec<u8>) {
    out.extend(b"PONG\r\n");
}

pub(crate) fn subscribe(out: &mut Vec<u8>, subject: &str, sid: u64) {
    put(out, format_args!("SUB {subject} {sid}\r\n"));
}

pub(crate) fn unsubscribe(out: &mut Vec<u8>, sid: u64) {
    put(out, format_args!("UNSUB {sid}\r\n"));
}

/// A message. Without headers it is one that any client could have published.
pub(crate) fn publish(out: &mut Vec<u8>, subject: &str, reply: Option<&[u8]>, headers: &[u8], payload: &[u8]) {
    // Piece by piece: `format_args` costs as much as all the rest.
    out.extend_from_slice(if headers.is_empty() { b"PUB " } else { b"HPUB " });
    out.extend_from_slice(subject.as_bytes());
    out.push(b' ');
    if let Some(reply) = reply {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
    if !headers.is_empty() {
        number(out, headers.len() as u64);
        out.push(b' ');
    }
    number(out, (headers.len() + payload.len()) as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(headers);
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// A number in decimal.
pub(crate) fn number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        (at, rest) = (at - 1, rest / 10);
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_how_long_they_are() {
        let published = |reply, headers: &[u8], payload: &[u8]| {
            let mut out = b"before ".to_vec();
            publish(&mut out, "a.b", reply, headers, payload);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(published(None, b"", b""), "before PUB a.b 0\r\n\r\n");
        assert_eq!(published(Some(&b"r.1"[..]), b"", b"0123456789"), "before PUB a.b r.1 10\r\n0123456789\r\n");
        assert_eq!(published(None, b"head", b"x"), "before HPUB a.b 4 5\r\nheadx\r\n");
        assert_eq!(published(Some(&b"r"[..]), b"head", b"x"), "before HPUB a.b r 4 5\r\nheadx\r\n");
    }

    #[test]
    fn numbers_are_decimal() {
        for value in [0, 1, 9, 10, 99, 100, 65_536, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, value);
            assert_eq!(out, value.to_string().into_bytes());
        }
    }
}
