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
pub(crate) fn publish(out: &mut Vec<u8>, subject: &str, reply: Option<&str>, headers: &[u8], payload: &[u8]) {
    let (space, reply) = if let Some(reply) = reply { (" ", reply) } else { ("", "") };
    let total = headers.len() + payload.len();
    if headers.is_empty() {
        put(out, format_args!("PUB {subject}{space}{reply} {total}\r\n"));
    } else {
        put(out, format_args!("HPUB {subject}{space}{reply} {} {total}\r\n", headers.len()));
    }
    out.extend_from_slice(headers);
    out.extend_from_slice(payload);
    out.extend(b"\r\n");
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = out.write_fmt(text);
}
