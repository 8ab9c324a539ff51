//! What happens on a connection, as one JSON object each. `SCHEMA` says what is in them.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sockeye::messages::Message;
use sockeye::proto::ext::deflate::Agreed;
use sockeye::statistics::Compressed;

use crate::connect::encoding::Encoding;
use crate::connect::secured::Secured;
use crate::ratio::Ratio;

/// Where a message of a topic comes from.
#[derive(Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) topic: &'a str,
    /// Its place, as `--since` takes it.
    pub(crate) at: &'a str,
    pub(crate) key: Option<&'a [u8]>,
    /// The name is shown to people, since there are other topics.
    pub(crate) is_named: bool,
}

/// One thing that happened.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Listening {
        address: &'a str,
    },
    Open {
        url: Option<&'a str>,
        /// What a client asks for: path and query.
        target: Option<&'a str>,
        address: &'a str,
        subprotocol: Option<&'a str>,
        compression: Option<Agreed>,
    },
    /// With --verbose.
    Handshake {
        by: &'a str,
        /// The other side is a proxy.
        proxy: bool,
        head: &'a [u8],
    },
    /// With --verbose.
    Tls(&'a Secured),
    /// With --verbose: what compression did for all connections.
    Compression(&'a Compressed),
    Message(&'a Message<'a>, Option<&'a Origin<'a>>),
    /// With --topic.
    Subscribed {
        topic: &'a str,
        at: &'a str,
        recovered: Option<bool>,
    },
    /// With --topic.
    Gap {
        topic: &'a str,
        after: &'a str,
        until: &'a str,
    },
    /// With --presence.
    Presence {
        topic: &'a str,
        count: u64,
        joined: u64,
        left: u64,
    },
    /// Those of the peer are answered by the library itself.
    Ping {
        by: &'a str,
        payload: &'a [u8],
    },
    Pong {
        payload: &'a [u8],
    },
    Close {
        code: u16,
        reason: &'a str,
        by: &'a str,
        clean: bool,
        how: &'a str,
    },
    Failure {
        stage: &'a str,
        message: &'a str,
        status: Option<u16>,
        retry: Option<Duration>,
    },
}

impl Event<'_> {
    /// The object, and the end of its line.
    pub(crate) fn to_json(&self, now: SystemTime, since_start: Duration, encoding: Option<Encoding>) -> String {
        let mut object = Object::new(self.name(), now, since_start);
        match self {
            Self::Listening { address } => object.text("address", address),
            Self::Open { url, target, address, subprotocol, compression } => {
                if let Some(url) = url {
                    object.text("url", url);
                }
                if let Some(target) = target {
                    object.text("target", target);
                }
                object.text("address", address);
                object.optional("subprotocol", *subprotocol);
                object.raw("compression", &agreed(*compression));
            }
            Self::Handshake { by, proxy, head } => {
                object.text("by", by);
                object.raw("proxy", if *proxy { "true" } else { "false" });
                object.payload(head, encoding);
            }
            Self::Tls(secured) => object.secured(secured),
            Self::Compression(counted) => {
                object.raw("sent", &Ratio::sent(counted).json().to_string());
                object.raw("received", &Ratio::received(counted).json().to_string());
            }
            Self::Message(message, origin) => {
                object.origin(*origin);
                object.raw("bytes", &message.as_bytes().len().to_string());
                match message {
                    Message::Text(text) => {
                        object.text("type", "text");
                        object.text("data", text);
                    }
                    Message::Binary(bytes) => {
                        object.text("type", "binary");
                        object.binary(bytes, encoding);
                    }
                }
            }
            Self::Subscribed { topic, at, recovered } => object.subscribed(topic, at, *recovered),
            Self::Gap { topic, after, until } => object.gap(topic, after, until),
            Self::Presence { topic, count, joined, left } => object.presence(topic, [*count, *joined, *left]),
            Self::Ping { payload, by } => {
                object.text("by", by);
                object.payload(payload, encoding);
            }
            Self::Pong { payload } => object.payload(payload, encoding),
            Self::Close { code, reason, by, clean, how } => {
                object.raw("code", &code.to_string());
                object.text("reason", reason);
                object.text("by", by);
                object.raw("clean", if *clean { "true" } else { "false" });
                object.text("how", how);
            }
            Self::Failure { stage, message, status, retry } => {
                object.text("stage", stage);
                object.text("message", message);
                if let Some(status) = status {
                    object.raw("status", &status.to_string());
                }
                if let Some(retry) = retry {
                    object.raw("retry_in", &format!("{:.3}", retry.as_secs_f64()));
                }
            }
        }
        object.end()
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Listening { .. } => "listening",
            Self::Open { .. } => "open",
            Self::Handshake { .. } => "handshake",
            Self::Tls(_) => "tls",
            Self::Compression(_) => "compression",
            Self::Message(..) => "message",
            Self::Subscribed { .. } => "subscribed",
            Self::Gap { .. } => "gap",
            Self::Presence { .. } => "presence",
            Self::Ping { .. } => "ping",
            Self::Pong { .. } => "pong",
            Self::Close { .. } => "close",
            Self::Failure { .. } => "failure",
        }
    }
}

/// How much of the past the messages of each direction may refer to, as JSON.
fn agreed(compression: Option<Agreed>) -> String {
    compression.map_or(Value::Null, |Agreed { send, receive }| {
        json!({ "send_history": send.history_bytes(), "receive_history": receive.history_bytes() })
    }).to_string()
}

/// An object that is being written.
struct Object(String);

impl Object {
    fn new(event: &str, now: SystemTime, since_start: Duration) -> Self {
        // A clock before 1970 was never set.
        let time = humantime::format_rfc3339_millis(now.max(SystemTime::UNIX_EPOCH));
        let elapsed = since_start.as_secs_f64();
        Self(format!(r#"{{"event":"{event}","time":"{time}","elapsed":{elapsed:.6}"#))
    }

    /// The names are written here, and need no escape.
    fn raw(&mut self, name: &str, json: &str) {
        self.0.extend([",\"", name, "\":", json]);
    }

    fn secured(&mut self, secured: &Secured) {
        self.text("version", &secured.version);
        self.text("cipher", secured.cipher);
        self.optional("group", secured.group);
        self.raw("resumed", if secured.is_resumed { "true" } else { "false" });
        if let Some(certificate) = &secured.certificate {
            let names: Vec<_> = certificate.names.iter().map(|name| quoted(name)).collect();
            self.raw("names", &format!("[{}]", names.join(",")));
            let expires = certificate.expires.max(SystemTime::UNIX_EPOCH);
            self.text("expires", &humantime::format_rfc3339_seconds(expires).to_string());
            self.text("pin", &certificate.pin);
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        self.raw(name, &quoted(text));
    }

    fn optional(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.text(name, text),
            None => self.raw(name, "null"),
        }
    }

    fn subscribed(&mut self, topic: &str, at: &str, recovered: Option<bool>) {
        self.text("topic", topic);
        self.text("at", at);
        self.raw("recovered", &Value::from(recovered).to_string());
    }

    fn gap(&mut self, topic: &str, after: &str, until: &str) {
        self.text("topic", topic);
        self.text("after", after);
        self.text("until", until);
    }

    fn presence(&mut self, topic: &str, counts: [u64; 3]) {
        self.text("topic", topic);
        for (name, count) in ["count", "joined", "left"].into_iter().zip(counts) {
            self.raw(name, &count.to_string());
        }
    }

    fn origin(&mut self, origin: Option<&Origin<'_>>) {
        let Some(origin) = origin else { return };
        self.text("topic", origin.topic);
        self.text("at", origin.at);
        match origin.key.map(std::str::from_utf8) {
            None => {}
            Some(Ok(key)) => self.text("key", key),
            Some(Err(_)) => self.text("key_hex", &Encoding::Hex.encode(origin.key.unwrap_or_default())),
        }
    }

    fn binary(&mut self, bytes: &[u8], encoding: Option<Encoding>) {
        let encoding = match encoding {
            Some(Encoding::Base64) => Encoding::Base64,
            _ => Encoding::Hex,
        };
        self.text("encoding", if encoding == Encoding::Hex { "hex" } else { "base64" });
        self.text("data", &encoding.encode(bytes));
    }

    /// What is usually a text and may be anything.
    fn payload(&mut self, payload: &[u8], encoding: Option<Encoding>) {
        match std::str::from_utf8(payload) {
            Ok(text) => self.text("data", text),
            Err(_) => self.binary(payload, encoding),
        }
    }

    fn end(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    harmless(&Value::from(text))
}

/// JSON on a line. It lets controls beyond ASCII through, which a terminal may obey, and marks that turn the text around: they are
/// escaped.
pub(crate) fn harmless(value: &Value) -> String {
    let json = value.to_string();
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// For `--help`.
pub(crate) const SCHEMA: &str = "\
With --json each line of standard output is an object with these members:
  event    open, message, ping, pong, close, failure; listening with --listen; handshake, tls and
           compression with --verbose; subscribed and gap with --topic, presence with --presence
  time     UTC, such as 2026-11-22T14:02:37.123Z
  elapsed  seconds since the start
and of its event:
  listening  address
  open       url (when connecting: the one in use, after redirects), target (with --listen:
             path and query), address, subprotocol (or null), compression (null, or send_history and
             receive_history: bytes of past messages that compressed ones may refer to)
  handshake  by (us, peer), proxy (true: the other side is one), data (a head, with its line ends);
             encoding if it is not UTF-8
  tls        version, cipher, group (or null), resumed, and of the peer's certificate names, expires
             (UTC) and pin (of its key)
  compression  (at the end, if there was any) sent and received, each with messages (compressed
             ones), plain_bytes, bytes (as they went over the wire) and ratio (or null)
  message    type (text or binary), bytes (their number), data; encoding of binary: hex or base64;
             with --topic: topic, at (its place, as --since takes it), and key (or key_hex) if it has one
  subscribed  topic, at, recovered (null: not seen before; true: nothing is missing; false: a gap follows)
  gap        topic, after, until: messages behind `after`, up to and with `until`, may be missing
  presence   topic, count, joined, left
  ping       by (us, peer), data; encoding if it is not UTF-8
  pong       (from the peer) data; encoding if it is not UTF-8
  close      code (1005: the peer gave none, 1006: there was no close), reason,
             by (peer, us, neither), clean (by a closing handshake), how (in words)
  failure    stage (resolve, connect, proxy, tls, handshake; input, expect, count, timeout, topic),
             message, status (of a refusal), retry_in (seconds)";

#[cfg(test)]
mod tests {
    use sockeye::proto::ext::deflate::Direction;

    use super::*;
    use crate::connect::secured::Shown;

    fn object(event: &Event<'_>, encoding: Option<Encoding>) -> Value {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_356_157_123);
        let line = event.to_json(now, Duration::from_micros(1_500_000), encoding);
        assert_eq!(line.find('\n'), Some(line.len() - 1), "{line}");
        let mut value: Value = serde_json::from_str(&line).unwrap();
        let common = value.as_object_mut().unwrap();
        assert_eq!(common.remove("time"), Some("2026-11-22T14:02:37.123Z".into()));
        assert_eq!(common.remove("elapsed"), Some(json!(1.5)));
        value
    }

    #[test]
    fn each_event_is_an_object() {
        let text = Message::from("a\"\n\u{1b}");
        let binary = Message::from(vec![0, 255]);
        for (event, encoding, expected) in [
            (Event::Listening { address: "x" }, None, json!({"event": "listening", "address": "x"})),
            (
                Event::Open {
                    url: Some("ws://a/"),
                    target: None,
                    address: "1.2.3.4:80",
                    subprotocol: None,
                    compression: None,
                },
                None,
                json!({"event": "open", "url": "ws://a/", "address": "1.2.3.4:80", "subprotocol": null, "compression": null}),
            ),
            (
                Event::Message(&text, None),
                None,
                json!({"event": "message", "type": "text", "bytes": 4, "data": "a\"\n\u{1b}"}),
            ),
            (
                Event::Message(&binary, None),
                Some(Encoding::Raw),
                json!({"event": "message", "type": "binary", "bytes": 2, "encoding": "hex", "data": "00ff"}),
            ),
            (
                Event::Message(&binary, None),
                Some(Encoding::Base64),
                json!({"event": "message", "type": "binary", "bytes": 2, "encoding": "base64", "data": "AP8="}),
            ),
            (
                Event::Handshake { by: "us", proxy: false, head: b"GET /\r\n" },
                None,
                json!({"event": "handshake", "by": "us", "proxy": false, "data": "GET /\r\n"}),
            ),
            (
                Event::Handshake { by: "peer", proxy: true, head: b"\xff" },
                None,
                json!({"event": "handshake", "by": "peer", "proxy": true, "encoding": "hex", "data": "ff"}),
            ),
            (Event::Ping { payload: b"x", by: "peer" }, None, json!({"event": "ping", "by": "peer", "data": "x"})),
            (Event::Pong { payload: b"\xff" }, None, json!({"event": "pong", "encoding": "hex", "data": "ff"})),
            (
                Event::Close { code: 4000, reason: "bye", by: "peer", clean: true, how: "x" },
                None,
                json!({"event": "close", "code": 4000, "reason": "bye", "by": "peer", "clean": true, "how": "x"}),
            ),
            (
                Event::Failure {
                    stage: "handshake",
                    message: "m",
                    status: Some(401),
                    retry: Some(Duration::from_millis(500)),
                },
                None,
                json!({"event": "failure", "stage": "handshake", "message": "m", "status": 401, "retry_in": 0.5}),
            ),
        ] {
            assert_eq!(object(&event, encoding), expected);
        }
    }

    #[test]
    fn events_of_topics_are_objects() {
        let binary = Message::from(vec![0, 255]);
        let origin = Origin { topic: "t", at: "e:1", key: Some(b"k"), is_named: false };
        let of_bytes = Origin { key: Some(b"\xff"), ..origin };
        for (event, encoding, expected) in [
            (
                Event::Message(&binary, Some(&origin)),
                None,
                json!({"event": "message", "topic": "t", "at": "e:1", "key": "k", "type": "binary", "bytes": 2, "encoding": "hex", "data": "00ff"}),
            ),
            (
                Event::Message(&binary, Some(&of_bytes)),
                None,
                json!({"event": "message", "topic": "t", "at": "e:1", "key_hex": "ff", "type": "binary", "bytes": 2, "encoding": "hex", "data": "00ff"}),
            ),
            (
                Event::Subscribed { topic: "t", at: "e:1", recovered: None },
                None,
                json!({"event": "subscribed", "topic": "t", "at": "e:1", "recovered": null}),
            ),
            (
                Event::Gap { topic: "t", after: "e:1", until: "f:2" },
                None,
                json!({"event": "gap", "topic": "t", "after": "e:1", "until": "f:2"}),
            ),
            (
                Event::Presence { topic: "t", count: 3, joined: 2, left: 1 },
                None,
                json!({"event": "presence", "topic": "t", "count": 3, "joined": 2, "left": 1}),
            ),
        ] {
            assert_eq!(object(&event, encoding), expected);
        }
    }

    #[test]
    fn what_tls_agreed_on_is_an_object() {
        let secured = Secured {
            version: "TLS 1.3".to_owned(),
            cipher: "C",
            group: None,
            is_resumed: false,
            certificate: Some(Shown {
                names: vec!["a".to_owned(), "\u{1b}".to_owned()],
                expires: SystemTime::UNIX_EPOCH,
                pin: "p".to_owned(),
            }),
        };
        let expected = json!({
            "event": "tls", "version": "TLS 1.3", "cipher": "C", "group": null, "resumed": false,
            "names": ["a", "\u{1b}"], "expires": "1970-01-01T00:00:00Z", "pin": "p",
        });
        assert_eq!(object(&Event::Tls(&secured), None), expected);
    }

    #[test]
    fn compression_is_in_numbers() {
        let forgets = Direction { takeover: false, ..Direction::UNLIMITED };
        let compression = Some(Agreed { send: Direction::UNLIMITED, receive: forgets });
        let open = Event::Open { url: None, target: Some("/"), address: "a", subprotocol: None, compression };
        let expected = json!({"send_history": 32768, "receive_history": 0});
        assert_eq!(object(&open, None)["compression"], expected);
        let mut counted = Compressed::default();
        (counted.sent, counted.sent_plain_bytes, counted.sent_bytes) = (1, 200, 50);
        let expected = json!({
            "event": "compression",
            "sent": {"messages": 1, "plain_bytes": 200, "bytes": 50, "ratio": 0.25},
            "received": {"messages": 0, "plain_bytes": 0, "bytes": 0, "ratio": null},
        });
        assert_eq!(object(&Event::Compression(&counted), None), expected);
    }

    #[test]
    fn no_terminal_obeys_what_is_in_a_string() {
        let message = Message::from("\u{1b}[2J\u{9b}2J\u{7f}\u{202e}é");
        let line = Event::Message(&message, None).to_json(SystemTime::UNIX_EPOCH, Duration::ZERO, None);
        assert!(line.contains(r#""data":"\u001b[2J\u009b2J\u007f\u202eé""#), "{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["data"], "\u{1b}[2J\u{9b}2J\u{7f}\u{202e}é");
    }

    #[test]
    fn the_schema_names_every_event() {
        for name in [
            "listening",
            "open",
            "handshake",
            "tls",
            "compression",
            "message",
            "subscribed",
            "gap",
            "presence",
            "ping",
            "pong",
            "close",
            "failure",
        ] {
            assert!(SCHEMA.contains(&format!("\n  {name} ")), "{name}");
        }
    }
}
