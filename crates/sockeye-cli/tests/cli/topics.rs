//! `connect --topic`: with hubs that do what a script says, and with `serve --topics`.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::peer::{Peer, once, serve};
use crate::publish::{hub, request, say};
use crate::support::{BINARY, Running, failure, fed, finished, request as http, sockeye};

/// Answers a subscription.
fn subscribed(peer: &mut Peer, asked: &Value, place: (&str, u64), recovered: Option<bool>) {
    let mut answer =
        json!({"type": "subscribed", "id": asked["id"], "topic": asked["topic"], "epoch": place.0, "offset": place.1});
    if let Some(recovered) = recovered {
        answer["recovered"] = recovered.into();
    }
    say(peer, &answer);
}

fn tell(peer: &mut Peer, topic: &str, offset: u64, previous: u64, data: &str) {
    say(peer, &json!({"type": "message", "topic": topic, "offset": offset, "previous": previous, "data": data}));
}

/// A message of the topic `t` in binary.
fn tell_bytes(peer: &mut Peer, offset: u8, payload: &[u8]) {
    let mut bytes = vec![2, 0, 1, 0, 0];
    bytes.extend([0, 0, 0, 0, 0, 0, 0, offset, 0, 0, 0, 0, 0, 0, 0, offset - 1, b't']);
    bytes.extend(payload);
    peer.send(BINARY, &bytes);
}

#[test]
fn a_topic_goes_on_over_a_break() {
    let address = serve(vec![
        Box::new(|mut peer: Peer| {
            peer.upgrade("Sec-WebSocket-Protocol: sockeye.topics.v1\r\n");
            let asked = request(&mut peer);
            let wanted = json!({"type": "subscribe", "id": 1, "topic": "news", "last": 5, "presence": true});
            assert_eq!(asked, wanted);
            subscribed(&mut peer, &asked, ("e", 1), None);
            say(&mut peer, &json!({"type": "presence", "topic": "news", "count": 3, "joined": 1, "left": 0}));
            tell(&mut peer, "news", 2, 1, "two");
            tell(&mut peer, "news", 2, 1, "two again");
            tell(&mut peer, "news", 5, 3, "five");
        }),
        Box::new(|mut peer: Peer| {
            peer.upgrade("Sec-WebSocket-Protocol: sockeye.topics.v1\r\n");
            let asked = request(&mut peer);
            assert_eq!(asked["since"], json!({"epoch": "e", "offset": 5}));
            subscribed(&mut peer, &asked, ("f", 9), Some(false));
            tell(&mut peer, "news", 10, 9, "ten");
            peer.until_closed();
        }),
    ]);
    let url = format!("ws://{address}/");
    let options = ["--topic", "news", "--last", "5", "--presence", "--count", "3"];
    let (code, out, err) = fed(&[&["connect", &url][..], &options].concat(), b"not read\n");
    assert_eq!((code, out.as_str()), (Some(0), "two\nfive\nten\n"), "{err}");
    for line in [
        "subscribed to news at e:1\n",
        "news: 3 subscribers, 1 came, 0 left\n",
        "news: messages behind e:2 up to e:3 may be missing\n",
        "trying again in ",
        "news: messages behind e:5 up to f:9 may be missing\n",
        "news: --since f:10 continues here\n",
    ] {
        assert!(err.contains(&format!("* {line}")), "{line}: {err}");
    }
}

#[test]
fn several_topics_are_named_and_a_gap_is_never_quiet() {
    let url = hub(|peer| {
        let [one, two] = [request(peer), request(peer)];
        assert_eq!((&one["topic"], &two["topic"]), (&json!("a"), &json!("t")));
        subscribed(peer, &one, ("e", 0), None);
        subscribed(peer, &two, ("e", 0), None);
        tell(peer, "a", 1, 0, "x");
        tell_bytes(peer, 1, b"\0\xff");
        say(peer, &json!({"type": "gap", "topic": "a", "epoch": "e", "offset": 7}));
        tell(peer, "a", 8, 7, "y");
        peer.until_closed();
    });
    let (code, out, err) = fed(&["connect", &url, "--topic", "t", "--topic", "a", "-n", "3", "-q"], b"");
    assert_eq!((code, out.as_str()), (Some(0), "[a] x\n[t] 00ff\n[a] y\n"));
    assert_eq!(err, "* a: messages behind e:1 up to e:7 may be missing\n");
}

#[test]
fn bytes_go_to_a_pipe_as_they_are() {
    let url = hub(|peer| {
        let asked = request(peer);
        subscribed(peer, &asked, ("e", 0), None);
        tell_bytes(peer, 1, b"\0\n");
        tell_bytes(peer, 2, b"\x01");
        peer.until_closed();
    });
    let (code, out, err) = fed(&["connect", &url, "--topic", "t", "-n", "2", "--binary", "raw"], b"");
    assert_eq!((code, out.as_str()), (Some(0), "\0\n\x01"), "{err}");
}

#[test]
fn events_are_objects() {
    let url = hub(|peer| {
        let asked = request(peer);
        assert_eq!(asked["since"], json!({"epoch": "e:x", "offset": 3}));
        subscribed(peer, &asked, ("e:x", 3), Some(true));
        say(peer, &json!({"type": "message", "topic": "t", "offset": 9, "previous": 4, "data": "x", "key": "k"}));
        peer.until_closed();
    });
    let (code, out, err) = fed(&["connect", &url, "--topic", "t", "--since", "e:x:3", "-n", "1", "--json"], b"");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| events.iter().find(|event| event["event"] == name).unwrap_or_else(|| panic!("{name}: {out}"));
    let subscribed = of("subscribed");
    assert_eq!((&subscribed["at"], &subscribed["recovered"]), (&json!("e:x:3"), &json!(true)));
    let gap = of("gap");
    assert_eq!((&gap["after"], &gap["until"]), (&json!("e:x:3"), &json!("e:x:4")));
    let message = of("message");
    assert_eq!(
        (&message["topic"], &message["at"], &message["key"], &message["data"]),
        (&json!("t"), &json!("e:x:9"), &json!("k"), &json!("x"))
    );
}

#[test]
fn what_was_refused_for_now_is_asked_for_again() {
    let url = hub(|peer| {
        let asked = request(peer);
        say(peer, &json!({"type": "error", "id": asked["id"], "code": "unavailable", "reason": "no broker"}));
        let asked = request(peer);
        assert_eq!(asked["topic"], "t");
        subscribed(peer, &asked, ("e", 0), None);
        tell(peer, "t", 1, 0, "x");
        peer.until_closed();
    });
    let (code, out, err) = fed(&["connect", &url, "--topic", "t", "-n", "1"], b"");
    assert_eq!((code, out.as_str()), (Some(0), "x\n"), "{err}");
    assert!(err.contains("* the hub refuses: t: unavailable: no broker\n"), "{err}");
}

#[test]
fn other_refusals_are_the_end() {
    let denied = hub(|peer| {
        let asked = request(peer);
        say(peer, &json!({"type": "error", "id": asked["id"], "code": "denied", "reason": "members only"}));
        peer.closed();
    });
    let ended = hub(|peer| {
        let asked = request(peer);
        subscribed(peer, &asked, ("e", 0), None);
        say(peer, &json!({"type": "unsubscribed", "topic": "t", "reason": "members only"}));
        peer.closed();
    });
    let broken = hub(|peer| {
        request(peer);
        say(peer, &json!({"type": "message"}));
        peer.closed();
    });
    let other = once(|mut peer| {
        peer.upgrade("");
        peer.until_closed();
    });
    for (url, code, word) in [
        (denied, 5, "t: denied: members only"),
        (ended, 5, "ended the subscription to t: members only"),
        (broken, 6, "does not speak sockeye.topics.v1"),
        (format!("ws://{other}/"), 6, "does not speak sockeye.topics.v1"),
        ("ws://127.0.0.1:1/".to_owned(), 3, "127.0.0.1:1"),
    ] {
        let (found, err) = failure(&["connect", &url, "--topic", "t"]);
        assert_eq!(found, Some(code), "{word}: {err}");
        assert!(err.contains(word), "{word}: {err}");
    }
}

#[test]
fn what_does_not_fit_together_is_2() {
    for (options, word) in [
        (&["--topic", ""][..], "1 to 65535 bytes"),
        (&["--topic", "a", "--topic", "a"], "subscribed to already"),
        (&["--topic", "a", "--topic", "b", "--since", "e:1"], "--since"),
        (&["--topic", "a", "--since", "1"], "EPOCH:OFFSET"),
        (&["--topic", "a", "--send", "x"], "cannot be used with"),
        (&["--last", "5"], "--topic"),
        (&["--token", "x"], "--token"),
        (&["--topic", "a", "--protocol", "x"], "--protocol x"),
    ] {
        let (code, err) = failure(&[&["connect", "ws://127.0.0.1:1/"], options].concat());
        assert_eq!(code, Some(2), "{options:?}: {err}");
        assert!(err.contains(word), "{options:?}: {err}");
    }
}

#[test]
fn an_interrupt_ends_it_by_the_signal() {
    let url = hub(|peer| {
        let asked = request(peer);
        subscribed(peer, &asked, ("e", 0), None);
        tell(peer, "t", 1, 0, "x");
        assert_eq!(peer.closed().0, 1001);
    });
    let running = Running::start(&["connect", &url, "--topic", "t"]);
    assert_eq!(running.line(), "x");
    running.signal(Signal::INT);
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(running.ended().signal(), Some(2));
}

/// A server of the command: the running process, its address, and the token that it has printed.
fn real(options: &[&str]) -> (Running, String, String) {
    let running = Running::start(&[&["serve", "--topics", "--port", "0"], options].concat());
    let address = running.address();
    let line = running.line();
    let token = line.strip_prefix("token for publishing: ").unwrap_or_else(|| panic!("{line}")).to_owned();
    (running, address, token)
}

#[test]
fn with_a_hub_of_the_command_everything_arrives() {
    for threads in ["1", "3"] {
        let (_running, address, token) = real(&["--threads", threads]);
        let url = format!("ws://{address}/");
        let watching = Running::start(&["connect", &url, "--topic", "news", "--topic", "t", "--json"]);
        for topic in ["news", "t"] {
            let event = loop {
                let event: Value = serde_json::from_str(&watching.line()).unwrap();
                if event["event"] == "subscribed" {
                    break event;
                }
            };
            assert_eq!(event["topic"], topic);
        }
        let mut publish = sockeye(&["publish", &url, "news", "one"]);
        let published = finished(publish.env("SOCKEYE_TOKEN", &token));
        let place = String::from_utf8(published.stderr).unwrap();
        let place = place.strip_prefix("* published at ").unwrap_or_else(|| panic!("{place}")).trim_end();
        let message: Value = serde_json::from_str(&watching.line()).unwrap();
        assert_eq!((&message["topic"], &message["data"]), (&json!("news"), &json!("one")));
        assert_eq!(message["at"], place);

        // By HTTP, and bytes.
        let fields = format!("Host: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close");
        let (head, _) = http(&address, &format!("POST /topics/t HTTP/1.1\r\n{fields}\r\nContent-Length: 3\r\n\r\ntwo"));
        assert!(head.starts_with("HTTP/1.1 20"), "{head}");
        let message: Value = serde_json::from_str(&watching.line()).unwrap();
        assert_eq!((&message["topic"], &message["bytes"]), (&json!("t"), &json!(3)));

        // Who comes later gets what is kept, and goes on from any place.
        let lines: String = (1..=50).map(|number| format!("{number}\n")).collect();
        let (code, _, err) = fed(&["publish", &url, "news", "--token", &token], lines.as_bytes());
        assert_eq!(code, Some(0), "{err}");
        assert!(err.ends_with("* 50 messages published\n"), "{err}");
        let (code, out, err) = fed(&["connect", &url, "--topic", "news", "--last", "20", "-n", "20"], b"");
        assert_eq!((code, out.lines().next(), out.lines().last()), (Some(0), Some("31"), Some("50")), "{err}");
        let (code, out, err) = fed(&["connect", &url, "--topic", "news", "--since", place, "-n", "50"], b"");
        assert_eq!((code, out.as_str()), (Some(0), lines.as_str()), "{err}");
        assert!(err.contains("nothing is missing") && !err.contains("may be missing"), "{err}");
        let (code, _, err) =
            fed(&["connect", &url, "--topic", "news", "--since", "x:1", "--last", "1", "-n", "1"], b"");
        assert!(code == Some(0) && err.contains("news: messages behind x:1 up to "), "{err}");
    }
}

#[test]
fn without_the_token_nothing_is_published() {
    let (_running, address, token) = real(&[]);
    let url = format!("ws://{address}/");
    for (options, word) in [(&[][..], "message"), (&["--token", "wrong"], "the hub refuses: denied")] {
        let (code, err) = failure(&[&["publish", &url, "news", "x"], options].concat());
        assert_eq!(code, Some(5), "{err}");
        assert!(err.contains(word) && err.contains("denied") && !err.contains(&token), "{err}");
    }
}
