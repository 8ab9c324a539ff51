//! What `connect` sends and shows when it is a filter, a test, or a server for one client.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::Signal;

use crate::peer::{once, serve, upgraded};
use crate::support::{BINARY, Client, PATIENCE, PING, PONG, Running, TEXT, fed, finished, output, sockeye};

fn echo() -> (Running, String) {
    let running = Running::start(&["echo", "--port", "0"]);
    let url = format!("ws://{}/", running.address());
    (running, url)
}

#[test]
fn a_filter_sends_lines_and_writes_messages() {
    let (_running, url) = echo();
    let (code, out, err) = fed(&["connect", &url], b"one\n\ngr\xc3\xbc\xc3\x9f\r\nlast");
    assert_eq!((code, out.as_str()), (Some(0), "one\n\ngrüß\nlast\n"), "{err}");
    assert!(err.contains("connected to ws://") && err.contains("closed by us: 1000"), "{err}");
}

#[test]
fn the_end_of_input_closes_politely_behind_everything() {
    let address = upgraded(|peer| {
        assert_eq!(peer.frame(), Some((TEXT, b"a".to_vec())));
        assert_eq!(peer.frame(), Some((TEXT, b"b".to_vec())));
        let mut rounds = 0;
        let (code, _) = loop {
            match peer.frame().unwrap() {
                (PING, payload) => {
                    rounds += 1;
                    peer.send(PONG, &payload);
                    peer.send(TEXT, format!("answer {rounds}").as_bytes());
                }
                (_, payload) => {
                    peer.close(1000, "");
                    break (u16::from_be_bytes([payload[0], payload[1]]), rounds);
                }
            }
        };
        assert_eq!(code, 1000);
    });
    let (code, out, err) = fed(&["connect", &format!("ws://{address}/")], b"a\nb\n");
    assert_eq!(code, Some(0), "{err}");
    // The first answer came before the second pong; nothing is promised of the second.
    assert!(out.starts_with("answer 1\n"), "{out}");
}

#[test]
fn more_input_than_buffers_hold_arrives_whole() {
    let (_running, url) = echo();
    let lines: String = (0..20_000).map(|number| format!("{number} {}\n", "x".repeat(100))).collect();
    let (code, out, err) = fed(&["connect", &url], lines.as_bytes());
    assert_eq!(code, Some(0), "{err}");
    assert!(out == lines, "{} bytes of {}", out.len(), lines.len());
}

#[test]
fn options_reach_the_server() {
    let address = once(|mut peer| {
        let head = peer.upgrade("Sec-WebSocket-Protocol: two\r\n");
        for line in [
            "GET /path?x=1 HTTP/1.1",
            "Cookie: a=b",
            "Sec-WebSocket-Protocol: one, two",
            "Origin: https://example.com",
            "Authorization: Basic dXNlcjpwYXNz",
        ] {
            assert!(head.lines().any(|other| other == line), "{line}: {head}");
        }
        assert_eq!(peer.frame(), Some((TEXT, b"first".to_vec())));
        peer.send(TEXT, b"done");
        assert_eq!(peer.closed(), (1000, String::new()));
    });
    let url = format!("ws://{address}/path?x=1");
    let options = ["-H", "Cookie: a=b", "--protocol", "one", "--protocol", "two", "--origin", "https://example.com"];
    let rest = ["--auth", "user:pass", "--send", "first", "--count", "1"];
    let (code, out, err) = fed(&[&["connect", &url][..], &options, &rest].concat(), b"");
    assert_eq!((code, out.as_str()), (Some(0), "done\n"), "{err}");
    assert!(err.contains("--auth-file") && err.contains("subprotocol two"), "{err}");
}

#[test]
fn a_proxy_is_asked_first() {
    let address = once(|mut peer| {
        let head = peer.head();
        assert!(head.starts_with("CONNECT example.com:80 HTTP/1.1\r\n"), "{head}");
        peer.write(b"HTTP/1.1 200 OK\r\n\r\n");
        peer.upgrade("");
        peer.send(TEXT, b"through");
        peer.closed();
    });
    let proxy = format!("http://{address}");
    let line = ["connect", "ws://example.com/", "-n", "1"];
    let (code, out, err) = fed(&[&line[..], &["--proxy", &proxy]].concat(), b"");
    assert_eq!((code, out.as_str()), (Some(0), "through\n"), "{err}");
}

/// A proxy's page or line says why, as a server's does.
#[test]
fn what_a_proxy_says_of_its_refusal_is_told() {
    let refuses = |body: &'static str| {
        once(move |mut peer| {
            peer.head();
            peer.write(format!("HTTP/1.1 403 No\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        })
    };
    let url = "ws://example.com/";
    let address = refuses("\npolicy 17: \x1b[2Jno WebSockets\nmore");
    let (code, _, err) = fed(&["connect", url, "--proxy", &address], b"");
    assert_eq!(code, Some(3), "{err}");
    assert!(err.contains("the proxy answered 403 Forbidden") && err.contains(&address), "{err}");
    assert!(err.contains(": policy 17: \\u{1b}[2Jno WebSockets\n"), "{err}");
    let (_, out, _) = fed(&["connect", url, "--proxy", &refuses("no"), "--json"], b"");
    assert!(out.contains(r#""stage":"proxy""#) && out.contains(r#""status":403"#), "{out}");
}

#[test]
fn the_environment_may_name_the_proxy() {
    let address = once(|mut peer| {
        assert!(peer.head().starts_with("CONNECT example.com:80 HTTP/1.1\r\n"));
        peer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    });
    let mut command = sockeye(&["connect", "ws://example.com/"]);
    let output = finished(command.env("http_proxy", &address));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && err.contains("407"), "{err}");
    let (_running, url) = echo();
    let mut command = sockeye(&["connect", &url, "--proxy", "none"]);
    assert_eq!(finished(command.env("http_proxy", &address)).status.code(), Some(0));
}

#[test]
fn redirects_are_followed_as_far_as_asked() {
    let (_running, url) = echo();
    let elsewhere = || {
        let url = url.clone();
        once(move |mut peer| {
            peer.head();
            peer.write(format!("HTTP/1.1 307 There\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        })
    };
    let (code, out, err) = fed(&["connect", &format!("ws://{}/", elsewhere()), "--redirects", "1"], b"there\n");
    assert_eq!((code, out.as_str()), (Some(0), "there\n"), "{err}");
    assert!(err.contains(&format!("connected to {url} (")), "the URL in use: {err}");
    let (code, _, err) = fed(&["connect", &format!("ws://{}/", elsewhere())], b"");
    assert!(code == Some(5) && err.contains("307"), "{err}");
    assert!(err.contains(&format!("redirects to {url}; --redirects follows")), "{err}");
}

#[test]
fn a_unix_socket_is_an_address_too() {
    let path = std::env::temp_dir().join(format!("sockeye-connect-{}", std::process::id()));
    let address = format!("unix:{}", path.display());
    let running = Running::start(&["echo", "--interface", &address]);
    running.line();
    let (code, out, err) = fed(&["connect", "ws://somewhere/", "--connect-to", &address], b"x\n");
    assert_eq!((code, out.as_str()), (Some(0), "x\n"), "{err}");
}

#[test]
fn credentials_may_come_from_a_file() {
    let path = std::env::temp_dir().join(format!("sockeye-auth-{}", std::process::id()));
    std::fs::write(&path, "user:pass\nmore\n").unwrap();
    let address = once(|mut peer| {
        assert!(peer.upgrade("").contains("\r\nAuthorization: Basic dXNlcjpwYXNz\r\n"));
        peer.close(1000, "");
        peer.until_closed();
    });
    let (code, _, err) =
        fed(&["connect", &format!("ws://{address}/"), "--auth-file", path.to_str().unwrap(), "--hold"], b"");
    assert!(code == Some(0) && !err.contains("WARN"), "{err}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn binary_goes_both_ways_in_each_encoding() {
    let (_running, url) = echo();
    for (encoding, input, shown) in
        [("hex", &b"00 FF\n\n"[..], "00ff\n\n"), ("base64", b"AP8=\n", "AP8=\n"), ("raw", b"a\nb\x00", "a\nb\0")]
    {
        let (code, out, err) = fed(&["connect", &url, "--binary", encoding], input);
        assert_eq!((code, out.as_str()), (Some(0), shown), "{encoding}: {err}");
    }
    let address = upgraded(|peer| {
        peer.send(BINARY, b"\x00\xff");
        peer.closed();
    });
    let (_, out, _) = fed(&["connect", &format!("ws://{address}/"), "-n", "1"], b"");
    assert_eq!(out, "00ff\n", "hex when nothing is said");
}

#[test]
fn expectations_are_met_in_order() {
    let (_running, url) = echo();
    let line = [
        "connect",
        &url,
        "--timeout",
        "20",
        "--send",
        "hello",
        "--send",
        "noise",
        "--send",
        r#"{"id":7,"x":[1]}"#,
        "--send",
        "end 1",
    ];
    let expected = ["-e", "hello", "-e", r#"json:{"id":7}"#, "-e", "regex:^end [0-9]$"];
    let (code, out, err) = fed(&[&line[..], &expected].concat(), b"");
    assert_eq!(code, Some(0), "{err}");
    assert!(out.ends_with("end 1\n"), "{out}");
}

#[test]
fn held_connections_stay_open() {
    let address = upgraded(|peer| {
        // The end of standard input is long past when this comes: a pong shows that it was read.
        for number in 0..3 {
            peer.send(PING, b"");
            assert_eq!(peer.frame(), Some((PONG, Vec::new())));
            peer.send(TEXT, format!("{number}").as_bytes());
        }
        peer.close(1000, "enough");
        peer.until_closed();
    });
    let (code, out, err) = fed(&["connect", &format!("ws://{address}/"), "--hold"], b"");
    assert_eq!((code, out.as_str()), (Some(0), "0\n1\n2\n"), "{err}");
    assert!(err.contains("closed by the peer: 1000 enough"), "{err}");
}

#[test]
fn a_hold_may_have_an_end() {
    let (_running, url) = echo();
    let (code, out, err) = fed(&["connect", &url, "--hold=0.05"], b"x\n");
    assert_eq!(code, Some(0), "{err}");
    assert!(out == "x\n" && err.contains("closed by us: 1000"), "{out} {err}");
}

#[test]
fn events_as_json() {
    let address = upgraded(|peer| {
        peer.send(TEXT, b"a\"b");
        peer.send(BINARY, b"\x01");
        let (_, payload) = peer.frame().unwrap();
        peer.send(PONG, &payload);
        peer.close(4000, "bye");
        peer.until_closed();
    });
    let url = format!("ws://{address}/");
    let (code, out, err) = fed(&["connect", &url, "--json", "--hold", "--ping-interval", "0.01"], b"");
    assert_eq!(code, Some(6), "{err}");
    let events: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let event =
        |name: &str| events.iter().find(|event| event["event"] == name).unwrap_or_else(|| panic!("{name}: {out}"));
    assert_eq!((&event("open")["url"], &event("open")["address"]), (&url.as_str().into(), &address.as_str().into()));
    assert_eq!(event("message")["data"], "a\"b");
    assert!(events.iter().any(|event| event["type"] == "binary" && event["data"] == "01"), "{out}");
    assert_eq!((&event("ping")["data"], &event("pong")["data"]), (&"".into(), &"".into()));
    let close = event("close");
    assert_eq!((&close["code"], &close["reason"], &close["by"]), (&4000.into(), &"bye".into(), &"peer".into()));
    assert!(events.iter().all(|event| event["time"].is_string() && event["elapsed"].is_number()), "{out}");
    assert!(!err.contains("* "), "the events say it: {err}");
}

#[test]
fn failures_as_json() {
    let address = once(|mut peer| {
        peer.head();
        peer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    });
    let (code, out, _) = fed(&["connect", &format!("ws://{address}/"), "--json"], b"");
    let event: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &event["event"], &event["status"]), (Some(5), &"failure".into(), &401.into()));
    assert_eq!(event["stage"], "handshake");
}

#[test]
fn pings_and_pongs_are_shown_when_asked_for() {
    let (_running, url) = echo();
    let (code, out, err) = fed(&["connect", &url, "--show-control"], b"x\n");
    assert_eq!((code, out.as_str()), (Some(0), "x\n"), "control frames are no messages");
    assert!(err.contains("> ping \"") && err.contains("< pong \""), "{err}");
}

#[test]
fn pings_of_the_peer_are_shown_too() {
    let pinging = || {
        serve(vec![Box::new(|mut peer| {
            peer.upgrade("");
            peer.send(PING, b"there?\x1b");
            peer.send(TEXT, b"x");
            assert_eq!(peer.closed().0, 1000);
        })])
    };
    let (code, out, err) = fed(&["connect", &format!("ws://{}/", pinging()), "--show-control", "--count", "1"], b"");
    assert_eq!((code, out.as_str()), (Some(0), "x\n"));
    assert!(err.contains("< ping \"there?\\u{1b}\""), "{err}");
    let (code, out, _) = fed(&["connect", &format!("ws://{}/", pinging()), "--json", "--count", "1"], b"");
    let events: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ping = events.iter().find(|event| event["event"] == "ping").unwrap();
    assert_eq!((code, &ping["by"], &ping["data"]), (Some(0), &"peer".into(), &"there?\u{1b}".into()));
}

#[test]
fn quiet_means_messages_only() {
    let (_running, url) = echo();
    assert_eq!(fed(&["connect", &url, "--quiet"], b"x\n"), (Some(0), "x\n".to_owned(), String::new()));
}

#[test]
fn it_connects_again_when_asked_to() {
    let address = serve(vec![
        Box::new(|_| ()),
        Box::new(|mut peer| {
            peer.upgrade("");
            peer.send(TEXT, b"one");
        }),
        Box::new(|mut peer| {
            peer.upgrade("");
            peer.send(TEXT, b"two");
            assert_eq!(peer.closed().0, 1000);
        }),
    ]);
    let (code, out, err) = fed(&["connect", &format!("ws://{address}/"), "--reconnect", "--count", "2"], b"");
    assert_eq!((code, out.as_str()), (Some(0), "one\ntwo\n"), "{err}");
    assert!(err.contains("trying again in"), "{err}");
}

#[test]
fn it_listens_for_one_client() {
    let running = Running::start(&["connect", "--listen", "127.0.0.1:0", "--send", "hi", "--count", "1"]);
    let line = running.log_line("listening on ws://");
    let (_, address) = line.split_once("ws://").unwrap();
    let address = address.trim_end_matches('/').to_owned();
    let mut client = Client::open(&address, "").unwrap();
    running.log_line(" is connected, GET /");
    client.expect("hi");
    assert!(Client::open(&address, "").err().unwrap().starts_with("HTTP/1.1 503 "));
    client.text("hello");
    assert_eq!(running.line(), "hello");
    assert_eq!(client.closed(), 1000);
    client.send(crate::support::CLOSE, &1000_u16.to_be_bytes());
    drop(client);
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn the_handshake_is_shown() {
    let address = once(|mut peer| {
        peer.upgrade("X-Evil: \x1b[2J\r\n");
        peer.send(TEXT, b"hi");
        peer.closed();
    });
    let url = format!("ws://{address}/a?b");
    let (code, out, err) = fed(&["connect", "-v", "-n1", &url, "-H", "X-Token: abc"], b"");
    // The terminal escape is a byte that a field cannot have: it is refused, and shown all the same.
    assert_eq!((code, &*out), (Some(6), ""), "{err}");
    let address = once(|mut peer| {
        peer.upgrade("X-Long: ok\r\n");
        peer.send(TEXT, b"hi");
        peer.closed();
    });
    let url = format!("ws://me:secret@{address}/a?b");
    let shown = fed(&["connect", "-v", "-n1", &url, "-H", "X-Token: abc"], b"");
    assert_eq!((shown.0, &*shown.1), (Some(0), "hi\n"), "{}", shown.2);
    assert!(err.contains("\n< X-Evil: \\u{1b}[2J\n"), "{err}");
    let lines: Vec<_> = shown.2.lines().collect();
    assert_eq!(lines[..2], ["> GET /a?b HTTP/1.1", &format!("> Host: {address}")]);
    for line in
        ["> Authorization: Basic bWU6c2VjcmV0", "> X-Token: abc", ">", "< Upgrade: websocket", "< X-Long: ok", "<"]
    {
        assert!(lines.contains(&line), "{line}: {lines:?}");
    }
    assert!(!shown.2.contains('\x1b'));
    // The heads come before what is said of the connection.
    let place = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap();
    assert!(place(">") < place("< HTTP/1.1 101 ") && place("< HTTP/1.1 101 ") < place("* connected"), "{lines:?}");
}

#[test]
fn the_handshake_of_a_refusal_is_shown() {
    let refusal = |mut peer: crate::peer::Peer| {
        peer.head();
        peer.write(b"HTTP/1.1 401 Nope\r\nWWW-Authenticate: Basic realm=\"\xff\"\r\nContent-Length: 0\r\n\r\n");
    };
    let (code, out, err) = fed(&["connect", "-v", &format!("ws://{}/", once(refusal))], b"");
    assert_eq!((code, &*out), (Some(5), ""), "{err}");
    assert!(err.starts_with("> GET / HTTP/1.1\n"), "{err}");
    assert!(err.contains("< HTTP/1.1 401 Nope\n< WWW-Authenticate: Basic realm=\"\\xff\"\n"), "{err}");
    // In colour, where that is asked for.
    let (_, _, err) = fed(&["connect", "-v", "--color=always", &format!("ws://{}/", once(refusal))], b"");
    assert!(err.starts_with("\x1b[32m> GET / HTTP/1.1\x1b[0m\n"), "{err:?}");
    let (_, out, err) = fed(&["connect", "-v", "--json", "--color=always", &format!("ws://{}/", once(refusal))], b"");
    let events: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> = events.iter().map(|event| (&event["event"], &event["by"], &event["encoding"])).collect();
    let [asked, answered, failed] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((*asked.0 == "handshake", *asked.1 == "us"), (true, true), "{out}");
    assert_eq!((*answered.0 == "handshake", *answered.1 == "peer", *answered.2 == "hex"), (true, true, true), "{out}");
    assert_eq!((*failed.0 == "failure", err.contains('>')), (true, false), "{out} {err}");
}

/// Standard error is not read, and the answer is as long as the limits allow, and not text.
#[test]
fn a_long_head_that_is_not_text_is_cut() {
    let flood = |mut peer: crate::peer::Peer| {
        peer.head();
        let head = [&b"HTTP/1.1 101 x\r\n"[..], &[b"A: ", &[0x9b; 2000][..], b"\r\n"].concat().repeat(100)].concat();
        peer.write(&head);
    };
    let (code, _, err) = fed(&["connect", "-v", &format!("ws://{}/", once(flood))], b"");
    assert_eq!(code, Some(6), "{err}");
    assert!(err.lines().all(|line| line.len() < 5000) && err.contains(".. (979 bytes more)\n"), "{}", err.len());
    assert!(err.len() < 200_000, "{}", err.len());
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let mut command = sockeye(&["connect", "-v", &format!("ws://{}/", once(flood))]);
    assert_eq!(finished(command.stderr(OwnedFd::from(writer))).status.code(), Some(6));
}

#[test]
fn a_client_that_is_listened_for_shows_its_request() {
    let running = Running::start(&["connect", "--listen", "127.0.0.1:0", "-v", "--hold=0", "--send", "x"]);
    let line = running.log_line("listening on ws://");
    let (_, address) = line.split_once("ws://").unwrap();
    let client = Client::open(address.trim_end_matches('/'), "X-Token: a\r\n").unwrap();
    running.log_line("< GET / HTTP/1.1");
    running.log_line("< X-Token: a");
    drop(client);
}

#[test]
fn shown_and_quiet_are_not_both_wanted() {
    let (code, _, err) = fed(&["connect", "-v", "-q", "ws://127.0.0.1:1/"], b"");
    assert_eq!(code, Some(2), "{err}");
    let (code, _, err) = fed(&["connect", "--color=blue", "ws://127.0.0.1:1/"], b"");
    assert!(code == Some(2) && err.contains("auto, always, never"), "{err}");
}

/// As before `head`: the reader has enough.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let server = Running::start(&["serve", "--port", "0"]);
    let url = format!("ws://{}/", server.address());
    let options = ["--protocol", "dumb-increment-protocol", "--hold"];
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let mut command = sockeye(&[&["connect", &url][..], &options].concat());
    let running = Running::of(command.stdout(OwnedFd::from(writer)).spawn().unwrap());
    drop(command);
    reader.read_exact(&mut [0; 2]).unwrap();
    drop(reader);
    running.log_line("closed by us: 1000");
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn nobody_reads_its_errors_either() {
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let status = sockeye(&["connect", "ws://127.0.0.1:1/"])
        .stderr(OwnedFd::from(writer))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(3));
}

#[test]
fn a_signal_closes_with_1001() {
    let address = upgraded(|peer| {
        peer.send(TEXT, b"here");
        assert_eq!(peer.closed(), (1001, String::new()));
    });
    let running = Running::start(&["connect", &format!("ws://{address}/"), "--hold"]);
    assert_eq!(running.line(), "here");
    running.signal(Signal::INT);
    // So that a shell ends its loop, too.
    assert_eq!(running.ended().signal(), Some(Signal::INT.as_raw()));
}

#[test]
fn help_says_how() {
    for (subcommand, words) in [
        (
            "connect",
            &["--send", "--expect", "--hold", "--proxy", "--reconnect", "--listen", "elapsed", "Exit status"][..],
        ),
        ("ping", &["--count", "--flood", "--mirror", "--size", "--connections", "rtt_ms", "Exit status"]),
    ] {
        let text = String::from_utf8(output(&[subcommand, "--help"]).stdout).unwrap();
        assert!(text.contains(&format!("Examples:\n  sockeye {subcommand}")), "{text}");
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}

/// Writes until nothing more is taken; how much was.
fn fill(mut writer: impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match writer.write(&bytes[written..]) {
            Ok(count) => written += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => panic!("{error}"),
        }
    }
    written
}

/// More than all buffers on the way hold, sockets included.
const FLOOD: usize = 32 << 20;
/// A reader that takes nothing for so long has stopped.
const STOPPED: Duration = Duration::from_millis(500);

#[test]
fn a_reader_that_stops_stops_the_peer_and_loses_nothing() {
    let (stopped, wait) = mpsc::channel();
    let address = upgraded(move |peer| {
        let payload = "x".repeat(1 << 16);
        let frame = [&[0x81, 127][..], &(payload.len() as u64).to_be_bytes(), payload.as_bytes()].concat();
        let all = frame.repeat(FLOOD / payload.len());
        peer.stream().set_write_timeout(Some(STOPPED)).unwrap();
        let written = fill(peer.stream(), &all);
        stopped.send(written < all.len()).unwrap();
        peer.stream().set_write_timeout(None).unwrap();
        peer.write(&all[written..]);
        peer.close(1000, "");
        peer.until_closed();
    });
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let mut command = sockeye(&["connect", &format!("ws://{address}/"), "--hold"]);
    let running = Running::of(command.stdout(OwnedFd::from(writer)).spawn().unwrap());
    drop(command);
    assert!(wait.recv().unwrap(), "the peer could send everything to nobody");
    let mut out = Vec::new();
    reader.read_to_end(&mut out).unwrap();
    let lines = FLOOD / (1 << 16);
    assert_eq!((out.len(), out.iter().filter(|byte| **byte == b'\n').count()), (FLOOD + lines, lines));
    assert_eq!(running.ended().code(), Some(0));
}

/// One signal is enough, though the thread that writes is stuck for good.
#[test]
fn a_signal_ends_it_though_nobody_reads() {
    for subcommand in [&["connect", "--hold"][..], &["ping", "--flood"]] {
        let (stuck, wait) = mpsc::channel();
        let address = upgraded(move |peer| {
            // More than a socket holds.
            (0..5_000).for_each(|_| peer.send(TEXT, &[b'x'; 100]));
            peer.send(PING, b"");
            let mut answered = 0;
            while let Some((opcode, payload)) = peer.frame() {
                match opcode {
                    PING => peer.send(PONG, &payload),
                    PONG => {}
                    opcode => return peer.send(opcode, &payload),
                }
                answered += 1;
                if answered == 10_000 || opcode == PONG {
                    let _ = stuck.send(opcode);
                }
            }
        });
        let (reader, writer) = UnixStream::pair().unwrap();
        let mut command = sockeye(&[subcommand, &[&format!("ws://{address}/")]].concat());
        let running = Running::of(command.stdout(OwnedFd::from(writer)).spawn().unwrap());
        drop(command);
        let awaited = if subcommand[0] == "ping" { PING } else { PONG };
        while wait.recv_timeout(PATIENCE).unwrap() != awaited {}
        running.signal(Signal::TERM);
        running.log_line("cannot write to standard output: its reader stopped reading");
        assert_eq!(running.ended().code(), Some(1), "{subcommand:?}");
        drop(reader);
    }
}

#[test]
fn a_peer_that_stops_stops_the_writer() {
    let (go_on, wait) = mpsc::channel::<()>();
    let address = upgraded(move |peer| {
        wait.recv().unwrap();
        let mut bytes = 0;
        while let Some((opcode, payload)) = peer.frame() {
            match opcode {
                TEXT => bytes += payload.len(),
                PING => {
                    peer.send(TEXT, bytes.to_string().as_bytes());
                    peer.send(PONG, &payload);
                }
                opcode => return peer.send(opcode, &payload),
            }
        }
    });
    let (writer, reader) = UnixStream::pair().unwrap();
    let mut command = sockeye(&["connect", &format!("ws://{address}/")]);
    let running = Running::of(command.stdin(OwnedFd::from(reader)).spawn().unwrap());
    drop(command);
    let input = format!("{}\n", "x".repeat((1 << 16) - 1)).repeat(FLOOD >> 16);
    writer.set_write_timeout(Some(STOPPED)).unwrap();
    let written = fill(&writer, input.as_bytes());
    assert!(written < input.len(), "it takes everything for a peer that takes nothing");
    go_on.send(()).unwrap();
    writer.set_write_timeout(None).unwrap();
    (&writer).write_all(&input.as_bytes()[written..]).unwrap();
    drop(writer);
    // A ping of the keepalive may come before.
    let all = (FLOOD - (FLOOD >> 16)).to_string();
    while running.line() != all {}
    assert_eq!(running.ended().code(), Some(0));
}

/// What a newcomer tries first, with a server that looks something up before it answers.
#[test]
fn a_late_answer_is_waited_for_a_moment() {
    let late = || {
        upgraded(|peer| {
            assert_eq!(peer.frame(), Some((TEXT, b"hi".to_vec())));
            for _ in 0..2 {
                let (opcode, payload) = peer.frame().unwrap();
                assert_eq!(opcode, PING);
                peer.send(PONG, &payload);
            }
            peer.send(TEXT, b"late");
            peer.closed();
        })
    };
    let (code, out, err) = fed(&["connect", &format!("ws://{}/", late())], b"hi\n");
    assert_eq!((code, out.as_str()), (Some(0), "late\n"), "{err}");
}

#[test]
fn a_file_is_one_message() {
    let (_running, url) = echo();
    let path = std::env::temp_dir().join(format!("sockeye-send-{}", std::process::id()));
    let text = "{\n  \"a\": 1\n}\n";
    std::fs::write(&path, text).unwrap();
    let file = format!("@{}", path.display());
    let (code, out, err) = fed(&["connect", &url, "--send", &file, "--send", "@@x", "--count", "2", "-0"], b"");
    assert_eq!((code, out), (Some(0), format!("{text}\0@x\0")), "{err}");
    let (code, out, err) = fed(&["connect", &url, "--framing", "all"], text.as_bytes());
    assert_eq!((code, out), (Some(0), format!("{text}\n")), "{err}");
    let (code, _, err) = fed(&["connect", &url, "--send", "@/no/such/file"], b"");
    assert!(code == Some(2) && err.contains("/no/such/file"), "{err}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_subprotocol_that_was_not_chosen_is_told() {
    let address = upgraded(|peer| {
        peer.closed();
    });
    let (code, _, err) = fed(&["connect", &address, "--protocol", "one , two", "--hold=0"], b"");
    assert!(code == Some(0) && err.contains("the server chose no subprotocol"), "{err}");
}
