//! Servers that mean no good, against each command that connects: the rows of the abuse list that a client has to stand.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use crate::peer::{Peer, once, upgraded};
use crate::support::{PATIENCE, Running, failure, finished, output, sockeye};

/// Each command, so that it needs one connection.
const COMMANDS: [&[&str]; 5] = [
    &["connect", "--hold"],
    &["connect", "--topic", "t"],
    &["ping", "-c", "1"],
    &["bench", "--connections", "1", "-n", "1"],
    &["fraggle"],
];

/// What every command makes of such a server: the same exit code, the reason, and no word of a connection.
fn assert_refused(server: impl Fn() -> String, code: i32, word: &str) {
    assert_refused_by(&COMMANDS, server, code, word);
}

fn assert_refused_by(commands: &[&[&str]], server: impl Fn() -> String, code: i32, word: &str) {
    for command in commands {
        let url = format!("ws://{}/", server());
        let (found, err) = failure(&[*command, &[&url, "--connect-timeout", "1"]].concat());
        assert_eq!(found, Some(code), "{command:?}: {err}");
        assert!(err.contains(word) && !err.contains("connected to") && !err.contains("panicked"), "{command:?}: {err}");
        assert!(err.len() < 1024, "{command:?}: {} bytes", err.len());
    }
}

fn answering(answer: String) -> String {
    once(move |mut peer: Peer| {
        peer.head();
        peer.write(answer.as_bytes());
    })
}

const UPGRADE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n";

#[test]
fn cl01_answers_to_another_question_are_no_connection() {
    for (answer, word) in [
        (format!("{UPGRADE}Connection: Upgrade\r\n\r\n"), "Sec-WebSocket-Accept"),
        (
            format!("{UPGRADE}Connection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"),
            "Sec-WebSocket-Accept",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n".to_owned(), "Upgrade"),
        (format!("{UPGRADE}\r\n"), "Connection"),
    ] {
        assert_refused(|| answering(answer.clone()), 6, word);
    }
    let unoffered = || {
        once(|mut peer| {
            peer.upgrade("Sec-WebSocket-Protocol: evil\r\n");
        })
    };
    assert_refused(unoffered, 6, "subprotocol that was not offered");
}

#[test]
fn cl01_refusals_are_told_and_cut() {
    for (status, word) in [("200 OK", "200"), ("401 Unauthorized", "401"), ("503 Service Unavailable", "503")] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nsorry");
        assert_refused(|| answering(answer.clone()), 5, word);
        let body = "sorry ".repeat(1 << 18);
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_refused(|| answering(answer.clone()), 5, word);
    }
}

/// A server that answers with these extensions.
fn extended(value: &str) -> String {
    let field = format!("Sec-WebSocket-Extensions: {value}\r\n");
    once(move |mut peer| {
        peer.upgrade(&field);
    })
}

#[test]
fn cl02_extensions_that_were_not_offered_fail_the_handshake() {
    let unasked: Vec<_> =
        COMMANDS.map(|command| if command[0] == "connect" { &["connect", "--no-compress"] } else { command }).to_vec();
    for value in [
        "permessage-deflate",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; server_max_window_bits=99",
        "permessage-deflate; unknown=1",
        "x-evil",
    ] {
        assert_refused_by(&unasked, || extended(value), 6, "extension");
    }
}

/// Of what was offered a server may take part, and answer nothing else.
#[test]
fn cl02_answers_to_an_offer_of_compression_that_are_none_fail_the_handshake() {
    let asking: [&[&str]; 3] = [
        &["connect", "--hold"],
        &["bench", "--compress", "--connections", "1", "-n", "1"],
        &["ping", "--mirror", "--compress", "-c", "1"],
    ];
    for value in [
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; server_max_window_bits=99",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; unknown",
        "x-evil, permessage-deflate",
    ] {
        assert_refused_by(&asking, || extended(value), 6, "");
    }
}

/// Row HS10, from the other side.
#[test]
fn hs10_odd_extensions_of_a_server_fail_the_handshake() {
    let many = "permessage-deflate,".repeat(500);
    for value in ["constructor, ,;,", "a; b=\"", "permessage-deflate; server_max_window_bits=\"\"", many.as_str()] {
        assert_refused(|| extended(value), 6, "");
    }
}

/// Row HS01, from the other side.
#[test]
fn hs01_odd_but_valid_answers_are_taken() {
    for (line, fields) in [
        ("HTTP/1.1 101", "UPGRADE: WebSocket\r\nconnection: upgrade\r\n"),
        ("HTTP/1.1 101 OK", "upgrade: websocket\r\nConnection: keep-alive\r\nConnection: , Upgrade\r\n"),
        ("HTTP/1.1 101 x", "Upgrade:websocket\r\nConnection:\tkeep-alive,upgrade \r\nX-A: \r\nServer: b\r\n"),
    ] {
        let address = once(move |mut peer| {
            let head = peer.head();
            let accept = Peer::accept(&head);
            peer.write(format!("{line}\r\n{fields}Sec-WebSocket-Accept:  {accept}\r\n\r\n").as_bytes());
            peer.close(1000, "");
            peer.until_closed();
        });
        let (code, err) = failure(&["connect", &format!("ws://{address}/"), "--hold"]);
        assert!(code == Some(0) && err.contains("closed by the peer: 1000"), "{line}: {err}");
    }
}

#[test]
fn cl03_endless_answers_end_at_a_limit() {
    for (first, piece) in
        [("HTTP/1.1 101 Switching Protocols\r\n", "X: y\r\n"), ("", "HTTP/1.1 100 Continue\r\n\r\n"), ("HTTP/", "1")]
    {
        let server = || {
            once(move |mut peer| {
                peer.head();
                peer.write(first.as_bytes());
                let pieces = piece.repeat(1000);
                // 100,000 of them, or until nobody takes more.
                for _ in 0..100 {
                    if peer.stream().write_all(pieces.as_bytes()).is_err() {
                        return;
                    }
                }
                peer.gone();
            })
        };
        assert_refused(server, 6, "too ");
    }
}

#[test]
fn cl03_slow_answers_end_at_the_deadline() {
    let server = || {
        once(|mut peer| {
            peer.head();
            for byte in b"HTTP/1.1 101 Switching Protocols\r\n".iter().cycle() {
                // A byte each twentieth of a second.
                let (_keep, never) = mpsc::channel::<()>();
                let _ = never.recv_timeout(Duration::from_millis(50));
                if peer.stream().write_all(&[*byte]).is_err() {
                    return;
                }
            }
        })
    };
    assert_refused(server, 124, "within 1s");
}

#[test]
fn cl06_nothing_is_sent_of_what_would_split_a_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let plain = url.as_str();
    let (path, space, host) = (format!("{url}a\r\nX: y"), format!("{url}a b"), format!("ws://a\r\nb@{}", &url[5..]));
    for arguments in [
        &[plain, "--header", "X: a\r\nY: b"][..],
        &[plain, "--header", "X: a\nb"],
        &[plain, "--header", "X\r\nY: a"],
        &[plain, "--header", "X Y: a"],
        &[plain, "--protocol", "a\r\nX: y"],
        &[plain, "--protocol", "a b"],
        &[plain, "--origin", "http://a\r\nX: y"],
        &[plain, "--origin", "http://a b"],
        &[plain, "--auth", "u:p\r\nX: y"],
        &[plain, "--proxy", "http://127.0.0.1\r\nX: y"],
        &[&path],
        &[&space],
        &[&host],
    ] {
        for command in COMMANDS {
            let (code, err) = failure(&[command, arguments].concat());
            assert_eq!(code, Some(2), "{command:?} {arguments:?}: {err}");
            assert!(!err.trim_end().contains('\r'), "{err:?}");
            let met = listener.accept().map_err(|error| error.kind());
            assert_eq!(met.err(), Some(ErrorKind::WouldBlock), "{command:?} {arguments:?}");
        }
    }
}

#[test]
fn frames_no_server_may_send_end_each_command_with_the_rule() {
    // Masked, over-long, with a reserved bit, and bad text.
    for frame in [&b"\x81\x80abcd"[..], b"\x89\x7e\x00\x80", b"\xc1\x01x", b"\x81\x01\xff"] {
        for command in &COMMANDS[..3] {
            let address = upgraded(move |peer| {
                peer.write(frame);
                // It answers nothing, not even the close.
                peer.gone();
            });
            let (code, err) = failure(&[*command, &[&format!("ws://{address}/")]].concat());
            assert!(code == Some(6) && err.contains("RFC 6455"), "{command:?} {frame:02x?}: {code:?} {err}");
        }
    }
}

/// The peer takes nothing and the input has more: that is no reason to turn the loop.
#[test]
fn a_peer_that_takes_nothing_costs_no_time() {
    let (end, wait) = mpsc::channel::<()>();
    let address = upgraded(move |_| _ = wait.recv());
    let mut command = sockeye(&["connect", &format!("ws://{address}/")]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut writer = child.stdin.take().unwrap();
    let running = Running::of(child);
    let (written, progress) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = "abcdefghijklmnopqrstuvwxyz\n".repeat(1 << 12);
        while writer.write_all(lines.as_bytes()).is_ok() {
            let _ = written.send(());
        }
    });
    // Until nothing moves for a while.
    while progress.recv_timeout(Duration::from_secs(1)).is_ok() {}
    let before = running.ticks();
    assert!(progress.recv_timeout(Duration::from_secs(1)).is_err());
    let ticks = running.ticks() - before;
    assert!(ticks < 20, "{ticks} ticks of a hundred");
    drop((end, running));
}

#[test]
fn what_cannot_be_written_is_a_failure() {
    let echo = Running::start(&["echo", "--port", "0"]);
    let url = format!("ws://{}/", echo.address());
    for arguments in [
        &["connect", &url, "--send", "x", "--count", "1"][..],
        &["ping", &url, "-c", "1"],
        &["bench", &url, "--connections", "1", "-n", "10"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = finished(sockeye(arguments).stdout(full));
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {err}");
        assert!(err.contains("cannot write to standard output: No space left"), "{arguments:?}: {err}");
    }
}

#[test]
fn secrets_are_shown_nowhere() {
    let echo = Running::start(&["echo", "--port", "0"]);
    let good = format!("ws://user:hunter2@{}/", echo.address());
    let lines: [&[&str]; 12] = [
        &["connect", &good],
        &["connect", &good, "--json"],
        &["ping", &good, "-c", "1"],
        &["ping", &good, "-c", "1", "--json"],
        &["bench", &good, "--connections", "1", "-n", "1"],
        &["bench", &good, "--connections", "1", "-n", "1", "--json"],
        &["connect", "ws://user:hunter2@127.0.0.1:x/"],
        &["connect", "ws://user:hunter2/hunter2@127.0.0.1/"],
        &["connect", "user:hunter2@127.0.0.1"],
        &["connect", &good, "--header", "Authorization: Bearer hunter2\n"],
        &["connect", &good, "--header", "Authorization Bearer hunter2"],
        &["connect", &good, "--proxy", "http://user:hunter2@127.0.0.1:x"],
    ];
    for line in lines {
        let output = output(&[line, &["--log-level", "debug"]].concat());
        let all = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!all.contains("hunter2") && !all.is_empty(), "{line:?}: {all}");
    }
}

#[test]
fn a_server_that_never_answers_has_a_deadline() {
    let server = || {
        once(|mut peer| {
            peer.head();
            peer.gone();
        })
    };
    assert!(Duration::from_secs(1) < PATIENCE);
    assert_refused(server, 124, "within 1s");
}
