//! `publish` to hubs that do what a script says.

use std::io::Write as _;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::peer::{Peer, once};
use crate::support::{BINARY, Folder, Running, TEXT, failure, fed, finished, sockeye};

const HUB: &str = "Sec-WebSocket-Protocol: sockeye.topics.v1\r\n";

/// A hub for one connection; the URL.
pub(crate) fn hub(script: impl FnOnce(&mut Peer) + Send + 'static) -> String {
    let address = once(move |mut peer| {
        let head = peer.upgrade(HUB);
        assert!(head.contains("Sec-WebSocket-Protocol: sockeye.topics.v1\r\n"), "{head}");
        script(&mut peer);
    });
    format!("ws://{address}/")
}

/// The next request.
pub(crate) fn request(peer: &mut Peer) -> Value {
    let (opcode, payload) = peer.frame().expect("a request");
    assert_eq!(opcode, TEXT);
    serde_json::from_slice(&payload).unwrap()
}

pub(crate) fn say(peer: &mut Peer, message: &Value) {
    peer.send(TEXT, message.to_string().as_bytes());
}

fn published(peer: &mut Peer, request: &Value) {
    say(peer, &json!({"type": "published", "id": request["id"]}));
}

#[test]
fn a_message_is_published_when_the_hub_says_so() {
    let url = hub(|peer| {
        let mut asked = request(peer);
        say(peer, &json!({"type": "published", "id": asked["id"], "epoch": "e", "offset": 42}));
        asked["id"] = json!(0);
        assert_eq!(asked, json!({"type": "publish", "id": 0, "topic": "news", "data": "-it \"rains\"", "key": "k"}));
        assert_eq!(peer.closed().0, 1000);
    });
    let (code, out, err) = fed(&["publish", &url, "news", "-it \"rains\"", "--message-key", "k"], b"");
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", "* published at e:42\n"));
}

/// Neither an epoch nor a reason can be what a terminal obeys.
#[test]
fn a_hub_does_not_write_to_the_terminal() {
    for options in [&[][..], &["--json"]] {
        let url = hub(|peer| {
            let asked = request(peer);
            say(peer, &json!({"type": "published", "id": asked["id"], "epoch": "\u{1b}[2J\u{9b}J", "offset": 1}));
            peer.closed();
        });
        let (code, out, err) = fed(&[&["publish", &url, "news", "x"], options].concat(), b"");
        assert_eq!(code, Some(0));
        let shown = out + &err;
        assert!(!shown.contains(['\u{1b}', '\u{9b}']) && shown.contains("[2J"), "{shown:?}");
    }
}

#[test]
fn each_line_is_a_message() {
    let url = hub(|peer| {
        for line in ["one", "", "three"] {
            let asked = request(peer);
            assert_eq!(asked["data"], line);
            published(peer, &asked);
        }
        peer.closed();
    });
    let (code, out, err) = fed(&["publish", &url, "news"], b"one\n\nthree");
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", "* 3 messages published\n"));
    let silent = hub(|peer| {
        peer.closed();
    });
    assert_eq!(fed(&["publish", &silent, "news", "-q"], b""), (Some(0), String::new(), String::new()));
}

/// No more are under way than have answers soon, and no line is lost for it.
#[test]
fn many_lines_wait_for_answers() {
    let url = hub(|peer| {
        for round in 0..10 {
            let asked: Vec<Value> = (0..256).map(|_| request(peer)).collect();
            asked.iter().zip(round * 256..).for_each(|(asked, number)| assert_eq!(asked["data"], number.to_string()));
            asked.iter().for_each(|asked| published(peer, asked));
        }
        peer.closed();
    });
    let lines: String = (0..2560).map(|number| format!("{number}\n")).collect();
    let (code, _, err) = fed(&["publish", &url, "news"], lines.as_bytes());
    assert_eq!((code, err.as_str()), (Some(0), "* 2560 messages published\n"));
}

#[test]
fn bytes_of_a_file_are_one_message() {
    let folder = Folder::new("publish");
    let path = folder.path("picture");
    std::fs::write(&path, b"\0\n\xff").unwrap();
    let url = hub(|peer| {
        let (opcode, frame) = peer.frame().unwrap();
        let id = u64::from_be_bytes(frame[5..13].try_into().unwrap());
        assert_eq!((opcode, &frame[..5], &frame[13..]), (BINARY, &[1, 0, 1, 0, 0][..], &b"t\0\n\xff"[..]));
        say(peer, &json!({"type": "published", "id": id}));
        peer.closed();
    });
    let (code, _, err) = fed(&["publish", &url, "t", "--file", &path, "--binary", "raw"], b"");
    assert_eq!((code, err.as_str()), (Some(0), "* 1 message published\n"));
    let (code, err) = failure(&["publish", "ws://127.0.0.1:1/", "t", "--file", &path]);
    assert!(code == Some(2) && err.contains("--binary raw"), "{err}");
}

#[test]
fn a_token_comes_first_from_wherever_it_is() {
    let folder = Folder::new("token");
    let path = folder.path("token");
    std::fs::write(&path, "secret\nmore\n").unwrap();
    for (options, variable) in [(&["--token", "secret"][..], ""), (&["--token-file", &path], "other"), (&[], "secret")]
    {
        let url = hub(|peer| {
            let asked = request(peer);
            assert_eq!((&asked["type"], &asked["token"]), (&json!("authorize"), &json!("secret")));
            say(peer, &json!({"type": "authorized", "id": asked["id"]}));
            let asked = request(peer);
            published(peer, &asked);
            peer.closed();
        });
        let mut command = sockeye(&[&["publish", &url, "news", "x", "-q"], options].concat());
        let output = finished(command.env("SOCKEYE_TOKEN", variable));
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{options:?}");
    }
    std::fs::write(&path, "\n").unwrap();
    let (code, err) = failure(&["publish", "ws://127.0.0.1:1/", "t", "x", "--token-file", &path]);
    assert!(code == Some(2) && err.contains("first line is empty"), "{err}");
}

#[test]
fn a_refusal_is_5_and_the_rest_is_not_sent() {
    let url = hub(|peer| {
        let asked = request(peer);
        published(peer, &asked);
        let asked = request(peer);
        say(peer, &json!({"type": "error", "id": asked["id"], "code": "too-large", "reason": "too long"}));
        let rest = request(peer);
        published(peer, &rest);
        assert_eq!(peer.closed().0, 1000);
    });
    let (code, out, err) = fed(&["publish", &url, "news", "--json"], b"1\n2\n3\n");
    assert_eq!(code, Some(5), "{err}");
    assert_eq!(err, "sockeye: message 2 was refused: too-large: too long\n");
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = [
        json!({"event": "published", "message": 1, "epoch": null, "offset": null}),
        json!({"event": "refused", "message": 2, "code": "too-large", "reason": "too long"}),
        json!({"event": "published", "message": 3, "epoch": null, "offset": null}),
    ];
    assert_eq!(events, expected);

    let url = hub(|peer| {
        let asked = request(peer);
        say(peer, &json!({"type": "error", "id": asked["id"], "code": "denied", "reason": "an old token"}));
        let asked = request(peer);
        say(peer, &json!({"type": "error", "id": asked["id"], "code": "denied", "reason": "no token"}));
        peer.closed();
    });
    let mut command = sockeye(&["publish", &url, "news", "x"]);
    let output = finished(command.env("SOCKEYE_TOKEN", "t"));
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{err}");
    assert!(err.contains("the hub refuses: denied: an old token"), "{err}");
}

#[test]
fn what_is_unknown_is_6() {
    let lost = hub(|peer| {
        request(peer);
    });
    let told = hub(|peer| {
        let asked = request(peer);
        say(peer, &json!({"type": "unknown", "id": asked["id"], "reason": "no broker"}));
        peer.closed();
    });
    for (url, word) in [(lost, "1006"), (told, "no broker")] {
        let (code, err) = failure(&["publish", &url, "news", "x"]);
        assert_eq!(code, Some(6), "{err}");
        assert!(
            err.contains("the message may have reached all subscribers, some or none") && err.contains(word),
            "{err}"
        );
    }
}

#[test]
fn a_server_that_is_no_hub_is_6() {
    let other = once(|mut peer| {
        peer.upgrade("");
        peer.until_closed();
    });
    let broken = hub(|peer| {
        request(peer);
        say(peer, &json!({"type": "published", "id": "x"}));
        assert_eq!(peer.closed().0, 1002);
    });
    for url in [format!("ws://{other}/"), broken] {
        let (code, err) = failure(&["publish", &url, "news", "x"]);
        assert_eq!(code, Some(6), "{err}");
        assert!(err.contains("does not speak sockeye.topics.v1"), "{err}");
    }
}

#[test]
fn a_hub_that_does_not_answer_is_124() {
    let url = hub(|peer| {
        request(peer);
        peer.gone();
    });
    let (code, err) = failure(&["publish", &url, "news", "x", "--timeout", "0.2"]);
    assert!(code == Some(124) && err.contains("no answer within 200ms"), "{err}");
}

#[test]
fn a_hub_that_is_not_there_and_what_cannot_be_published() {
    for (arguments, code, word) in [
        (&["publish", "ws://127.0.0.1:1/", "t", "x"][..], 3, "127.0.0.1:1"),
        (&["publish", "ws://127.0.0.1:1/", "", "x"], 2, "1 to 65535 bytes"),
        (&["publish", "ws://127.0.0.1:1/", "t", "xyz", "-b", "hex"], 2, "not hexadecimal"),
        (&["publish", "ws://127.0.0.1:1/", "t", "--file", "/no/such/file"], 2, "/no/such/file"),
        (&["publish", "ws://127.0.0.1:1/", "t", "x", "--file", "y"], 2, "cannot be used with"),
        (&["publish", "ws://127.0.0.1:1/", "t", "x", "--protocol", "y"], 2, "--protocol y"),
        (&["publish", "ws://127.0.0.1:1/", "t", "x", "--token", "a", "--token-file", "b"], 2, "cannot be used with"),
        (&["publish", "ws://127.0.0.1:1/"], 2, "<TOPIC>"),
    ] {
        let (found, err) = failure(arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {err}");
        assert!(err.contains(word), "{arguments:?}: {err}");
    }
}

/// A pipe that stays open: what has come is published at once, and a signal ends it.
#[test]
fn an_interrupt_waits_for_answers_and_ends_it() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let url = hub(move |peer| {
        let asked = request(peer);
        sender.send(()).unwrap();
        published(peer, &asked);
        assert_eq!(peer.closed().0, 1000);
    });
    let mut command = sockeye(&["publish", &url, "news", "--json"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let running = Running::of(child);
    input.write_all(b"x\n").unwrap();
    receiver.recv_timeout(crate::support::PATIENCE).unwrap();
    assert!(running.line().contains("published"));
    running.signal(Signal::INT);
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(running.ended().signal(), Some(2));
}
