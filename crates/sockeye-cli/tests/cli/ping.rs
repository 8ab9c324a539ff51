//! `ping` against servers that answer, and some that do not.

use rustix::process::Signal;

use crate::peer::{once, upgraded};
use crate::support::{PING, PONG, Running, fed};

fn ping(url: &str, options: &[&str]) -> (Option<i32>, String, String) {
    fed(&[&["ping", url][..], options].concat(), b"")
}

fn server(subcommand: &str) -> (Running, String) {
    let running = Running::start(&[subcommand, "--port", "0"]);
    let url = format!("ws://{}/", running.address());
    (running, url)
}

#[test]
fn the_output_is_that_of_ping() {
    let (_running, url) = server("echo");
    let address = url.trim_start_matches("ws://").trim_end_matches('/');
    let (code, out, err) = ping(&url, &["-c", "3", "-i", "0.01"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], format!("PING {url} ({address}) 64 bytes"));
    for (seq, line) in (1..=3).zip(&lines[1..4]) {
        let time = line.strip_prefix(&format!("64 bytes from {address}: seq={seq} time=")).unwrap();
        assert!(time.strip_suffix(" ms").unwrap().parse::<f64>().unwrap() > 0.0, "{line}");
    }
    assert_eq!(lines[4..6], ["", &format!("--- {url} websocket ping statistics ---")]);
    assert!(lines[6].starts_with("3 packets transmitted, 3 received, 0% packet loss, time "), "{out}");
    let rtt = lines[7].strip_prefix("rtt min/avg/max/mdev = ").and_then(|line| line.strip_suffix(" ms")).unwrap();
    let rtt: Vec<f64> = rtt.split('/').map(|part| part.parse().unwrap()).collect();
    assert!(rtt.len() == 4 && rtt[0] <= rtt[1] && rtt[1] <= rtt[2], "{out}");
    assert_eq!(lines.len(), 8);
}

#[test]
fn an_interrupt_shows_the_statistics() {
    let (_running, url) = server("echo");
    let running = Running::start(&["ping", &url]);
    running.line();
    assert!(running.line().contains("seq=1 "));
    running.signal(Signal::INT);
    assert_eq!(running.line(), "");
    assert_eq!(running.line(), format!("--- {url} websocket ping statistics ---"));
    assert!(running.line().starts_with("1 packets transmitted, 1 received, 0% packet loss"));
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn mirrors_and_echoes_are_pinged_by_messages() {
    for subcommand in ["serve", "echo"] {
        let (_running, url) = server(subcommand);
        let (code, out, err) = ping(&url, &["--mirror", "-s", "1000", "-c", "2", "-i", "0.01"]);
        assert_eq!(code, Some(0), "{subcommand}: {err}");
        assert!(out.contains("\n1000 bytes from 127.0.0.1:") && out.contains("2 received"), "{out}");
    }
}

/// The mirror sends each of them the pings of all.
#[test]
fn connections_know_their_own_pings() {
    let (_running, url) = server("serve");
    let (code, out, err) = ping(&url, &["--mirror", "--connections", "5", "-c", "4", "-i", "0.01"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("ping statistics using 5 connections ---\n20 packets transmitted, 20 received, 0%"), "{out}");
    assert!((1..=5).all(|number| out.contains(&format!("connection={number} seq=4 "))), "{out}");
}

#[test]
fn a_flood_draws_dots_and_takes_them_back() {
    let (_running, url) = server("echo");
    let (code, out, err) = ping(&url, &["-f", "-c", "500", "--connections", "3"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(out.matches("\x08 \x08").count(), 1500);
    assert!(out.contains("1500 packets transmitted, 1500 received"), "{out}");
}

#[test]
fn duplicates_are_marked() {
    let address = upgraded(|peer| {
        while let Some((opcode, payload)) = peer.frame() {
            if opcode == PING {
                peer.send(PONG, b"not asked for");
                peer.send(PONG, &payload);
                peer.send(PONG, &payload);
            } else {
                return peer.send(opcode, &payload);
            }
        }
    });
    let (code, out, err) = ping(&format!("ws://{address}/"), &["-c", "2", "-i", "0.01"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("seq=1 (DUP!)\n") && out.contains("2 received, +"), "{out}");
}

#[test]
fn no_reply_is_1() {
    let address = upgraded(|peer| {
        peer.closed();
    });
    let (code, out, _) = ping(&format!("ws://{address}/"), &["-c", "2", "-i", "0.01", "--timeout", "0.05"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("2 packets transmitted, 0 received, 100% packet loss") && !out.contains("rtt"), "{out}");
}

#[test]
fn other_failures_have_the_codes_of_connect() {
    let refuses = once(|mut peer| {
        peer.head();
        peer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    });
    let leaves = upgraded(|peer| {
        let (_, payload) = peer.frame().unwrap();
        peer.send(PONG, &payload);
    });
    for (url, options, code, word) in [
        ("ws://127.0.0.1:1/", &[][..], 3, "127.0.0.1:1"),
        (&format!("ws://{refuses}/"), &[], 5, "403"),
        (&format!("ws://{leaves}/"), &[], 6, "1006"),
        ("ws://a/", &["-s", "126"], 2, "at most 125 bytes"),
        ("ws://a/", &["-s", "15"], 2, "16 bytes"),
        ("ws://a/", &["-n", "0"], 2, "0"),
    ] {
        let (found, _, err) = ping(url, options);
        assert_eq!(found, Some(code), "{url} {options:?}: {err}");
        assert!(err.contains(word), "{err}");
    }
}

#[test]
fn as_json() {
    let (_running, url) = server("echo");
    let (code, out, err) = ping(&url, &["-c", "2", "-i", "0.01", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let objects: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 3, "{out}");
    assert_eq!((&objects[1]["event"], &objects[1]["seq"]), (&"reply".into(), &2.into()));
    let statistics = &objects[2];
    assert_eq!((&statistics["transmitted"], &statistics["received"]), (&2.into(), &2.into()));
    assert!(statistics["rtt_ms"]["avg"].is_number(), "{out}");
}

/// A pong has to be the whole of its ping (RFC 6455 section 5.5.3).
#[test]
fn a_reply_that_differs_is_none() {
    let address = upgraded(|peer| {
        while let Some((opcode, mut payload)) = peer.frame() {
            if opcode == PING {
                *payload.last_mut().unwrap() = b'x';
                peer.send(PONG, &payload);
            }
        }
    });
    let (code, out, err) = ping(&format!("ws://{address}/"), &["-c", "1", "--timeout", "0.3"]);
    assert!(code == Some(1) && out.contains("0 received") && err.contains("seq=1 differs"), "{out}{err}");
}
