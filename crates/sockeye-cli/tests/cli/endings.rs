//! The exit code of each way in which `connect` can end, against servers that do what it takes.

use std::net::TcpListener;

use crate::peer::{Peer, once, upgraded};
use crate::support::{Running, TEXT, fed};

/// The exit code, and what is told on standard error, of `connect` with these options.
fn ending(address: &str, options: &[&str]) -> (Option<i32>, String) {
    let url = format!("ws://{address}/");
    let (code, _, err) = fed(&[&["connect", &url][..], options].concat(), b"");
    assert!(!err.contains("panicked"), "{err}");
    (code, err)
}

fn assert_ending(address: &str, options: &[&str], expected: i32, word: &str) {
    let (code, err) = ending(address, options);
    assert_eq!(code, Some(expected), "{options:?}: {err}");
    assert!(err.contains(word), "{word}: {err}");
}

#[test]
fn ends_as_it_should_are_0() {
    for (code, told) in [(1000, "closed by the peer: 1000 bye"), (1001, "closed by the peer: 1001 bye")] {
        let address = upgraded(move |peer| {
            peer.close(code, "bye");
            peer.until_closed();
        });
        assert_ending(&address, &["--hold"], 0, told);
    }
    let empty = upgraded(|peer| {
        peer.send(8, b"");
        peer.until_closed();
    });
    assert_ending(&empty, &["--hold"], 0, "closed by the peer: no code");
}

#[test]
fn input_that_cannot_be_sent_is_1() {
    let echo = Running::start(&["echo", "--port", "0"]);
    let url = format!("ws://{}/", echo.address());
    for (options, input, word) in [
        (&[][..], &b"good\n\xff\n"[..], "line 2 of standard input is not UTF-8"),
        (&["--binary", "hex"], b"0g\n", "line 1 of standard input"),
        (&["--max-message", "3"], b"four\n", "--max-message"),
    ] {
        let (code, _, err) = fed(&[&["connect", &url][..], options].concat(), input);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(word), "{err}");
    }
}

#[test]
fn what_cannot_be_asked_for_is_2() {
    for (arguments, word) in [
        (&[][..], "URL"),
        (&["ws://a/", "--listen", "1"], "--listen"),
        (&["ftp://nowhere/"], "ws://"),
        (&["ws://a/", "--send", "x", "--binary", "hex"], "--send x"),
        (&["ws://a/", "--expect", "regex:("], "regular expression"),
        (&["ws://a/", "--expect", "json:{"], "JSON"),
        (&["ws://a/", "--strict"], "--expect"),
        (&["ws://a/", "--count", "0"], "0"),
        (&["ws://a/", "--timeout", "soon"], "250ms"),
        (&["ws://a/", "--header", "Host: b"], "--header"),
        (&["ws://a/", "--proxy", "ftp://b"], "--proxy"),
        (&["--listen", "0", "--interface", "192.0.2.1"], "192.0.2.1"),
    ] {
        let (code, _, err) = fed(&[&["connect"][..], arguments].concat(), b"");
        assert_eq!(code, Some(2), "{arguments:?}: {err}");
        assert!(err.contains(word), "{arguments:?}: {err}");
    }
}

#[test]
fn nobody_there_is_3() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert_ending(&refused, &[], 3, &refused);
    assert_ending("nosuch.invalid", &[], 3, "nosuch.invalid");
    assert_ending("example.com", &["--connect-to", "unix:/no/such/socket"], 3, "/no/such/socket");
}

fn answers(answer: &'static str) -> String {
    once(move |mut peer: Peer| {
        peer.head();
        peer.write(answer.as_bytes());
    })
}

#[test]
fn refusals_are_5_and_quoted() {
    let address = answers("HTTP/1.1 401 Unauthorized\r\nContent-Length: 22\r\n\r\nno entry \x1b[2J\r\nfor you\r\n");
    let (code, err) = ending(&address, &[]);
    assert_eq!(code, Some(5), "{err}");
    assert!(err.contains("401") && err.contains("no entry") && !err.contains('\x1b'), "{err}");
    let address = answers("HTTP/1.1 302 Found\r\nLocation: ws://example.com/\r\nContent-Length: 0\r\n\r\n");
    assert_ending(&address, &[], 5, "302");
    let address = answers("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>a</html>\n");
    let (code, err) = ending(&address, &[]);
    assert!(code == Some(5) && !err.contains("html"), "pages are not quoted: {err}");
}

#[test]
fn answers_that_are_none_are_6() {
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    assert_ending(&answers(wrong), &[], 6, "Sec-WebSocket-Accept");
    assert_ending(&answers("SSH-2.0-OpenSSH_9.9\r\n"), &[], 6, "sockeye: ");
    assert_ending(&answers(""), &[], 6, "closed the connection");
}

#[test]
fn ends_as_they_should_not_be_are_6() {
    for (code, told) in [(4000, "closed by the peer: 4000 \\u{1b}oops"), (1011, "1011")] {
        let address = upgraded(move |peer| {
            peer.close(code, "\x1boops");
            peer.until_closed();
        });
        assert_ending(&address, &["--hold"], 6, told);
    }
    assert_ending(&upgraded(|_| ()), &["--hold"], 6, "1006");
    for garbage in [&b"\x83\x00"[..], b"\x81\x01\xff", b"\x81\x80abcd", b"GET / HTTP/1.1\r\n\r\n"] {
        let address = upgraded(move |peer| {
            peer.write(garbage);
            peer.until_closed();
        });
        assert_ending(&address, &["--hold"], 6, "the peer broke a rule");
    }
    let address = upgraded(|peer| {
        peer.send(TEXT, b"12345");
        peer.until_closed();
    });
    assert_ending(&address, &["--hold", "--max-message", "4"], 6, "1009");
}

#[test]
fn what_was_expected_and_did_not_come_is_7() {
    let talks = || {
        upgraded(|peer| {
            peer.send(TEXT, b"one");
            peer.send(TEXT, b"two");
            peer.close(1000, "");
            peer.until_closed();
        })
    };
    assert_ending(&talks(), &["--expect", "two", "--expect", "three"], 7, "expectation 2 of 2, three");
    assert_ending(&talks(), &["--expect", "two", "--strict"], 7, "message 1");
    assert_ending(&talks(), &["--expect", "three", "--count", "2"], 7, "received 2 messages");
    assert_ending(&talks(), &["--count", "3"], 7, "2 of 3 messages");
}

#[test]
fn what_takes_too_long_is_124() {
    let silent = |peer: &mut Peer| peer.gone();
    assert_ending(&upgraded(silent), &["--expect", "x", "--timeout", "0.1"], 124, "x did not arrive within 100ms");
    assert_ending(&upgraded(silent), &["--hold", "--timeout", "0.1"], 124, "100ms");
    let stalls = || {
        once(|mut peer| {
            peer.head();
            peer.gone();
        })
    };
    assert_ending(&stalls(), &["--connect-timeout", "0.1"], 124, "100ms");
    assert_ending(&stalls(), &["--timeout", "0.1"], 124, "100ms");
}

/// The cause is told, whatever was asked for.
#[test]
fn what_the_server_said_is_told_with_what_is_missing() {
    let expired = || {
        upgraded(|peer| {
            peer.close(1008, "token expired");
            peer.until_closed();
        })
    };
    for option in [["--expect", "x"], ["--count", "3"]] {
        assert_ending(&expired(), &option, 7, "1008 token expired");
    }
}

/// Such as axum's usual handler.
#[test]
fn a_server_that_does_not_answer_our_close_did_what_was_asked_of_it() {
    let ends = || {
        upgraded(|peer| {
            peer.send(TEXT, b"x");
            peer.until_closed();
        })
    };
    let (code, err) = ending(&ends(), &["--expect", "x"]);
    assert!(code == Some(0) && err.contains("without answering our close"), "{code:?} {err}");
}

#[test]
fn a_rule_that_was_broken_is_told_though_time_is_over() {
    let address = upgraded(|peer| {
        peer.write(b"\xff\xff");
        peer.gone();
    });
    assert_ending(&address, &["--hold", "--timeout", "0.3"], 6, "the peer broke a rule");
}
