//! Compression of messages: what the command offers, accepts, and tells of it.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::peer::once;
use crate::support::{BINARY, Client, Running, failure, fed, output};

/// A server with these options, and its URL.
fn server(options: &[&str]) -> (Running, String) {
    let running = Running::start(&[options, &["--port", "0"]].concat());
    let url = format!("ws://{}/", running.address());
    (running, url)
}

/// What compresses well.
fn long() -> String {
    r#"{"symbol":"ABC","bid":100,"ask":101}"#.repeat(20)
}

fn talk(url: &str, options: &[&str]) -> (Option<i32>, String, String) {
    let long = long();
    fed(&[&["connect", url, "--send", &long, "--count", "1", "-t", "20"], options].concat(), b"")
}

/// The event of this name among those of `connect --json`.
fn event(lines: &str, name: &str) -> Option<Value> {
    lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|event| event["event"] == name)
}

#[test]
fn connect_offers_it_and_tells_what_was_agreed_and_how_well_it_did() {
    let (_running, url) = server(&["echo", "--compress"]);
    let (code, out, err) = talk(&url, &["-v"]);
    assert_eq!((code, out), (Some(0), long() + "\n"), "{err}");
    for part in [
        "> Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\n",
        "< Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=11\n",
        "* compression: sent messages may refer to 2 KiB before them, received ones to 32 KiB before them\n",
        "* compression: sent 720 bytes as ",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    let (code, out, err) = talk(&url, &["-v", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let agreed = json!({ "send_history": 2048, "receive_history": 32_768 });
    assert_eq!(event(&out, "open").unwrap()["compression"], agreed, "{out}");
    let compression = event(&out, "compression").unwrap();
    for direction in ["sent", "received"] {
        let told = &compression[direction];
        assert_eq!((&told["messages"], &told["plain_bytes"]), (&json!(1), &json!(720)), "{out}");
        assert!(told["bytes"].as_u64().unwrap() < 100 && told["ratio"].as_f64().unwrap() < 0.2, "{out}");
    }
    assert_eq!(event(&out, "message").unwrap()["data"], long().as_str());
}

#[test]
fn without_a_wish_for_details_there_are_none() {
    let (_running, url) = server(&["echo", "--compress"]);
    let (code, _, err) = talk(&url, &[]);
    assert!(code == Some(0) && !err.contains("compression"), "{err}");
}

#[test]
fn where_one_side_does_not_want_it_there_is_none() {
    for (server_options, options, told) in [
        (&["echo"][..], &[][..], Some("* no compression: the server did not accept it\n")),
        (&["echo", "--compress"], &["--no-compress"], None),
    ] {
        let (_running, url) = server(server_options);
        let (code, _, err) = talk(&url, &[options, &["-v"]].concat());
        assert_eq!(code, Some(0), "{err}");
        match told {
            Some(told) => assert!(err.contains(told) && !err.contains("* compression"), "{err}"),
            None => assert!(!err.contains("compression") && !err.contains("permessage"), "{err}"),
        }
        let (_, out, _) = talk(&url, &[options, &["-v", "--json"]].concat());
        assert_eq!(event(&out, "open").unwrap()["compression"], Value::Null, "{out}");
        assert_eq!(event(&out, "compression"), None, "{out}");
    }
}

#[test]
fn one_who_listens_says_what_the_client_offers() {
    let listening = Running::start(&["connect", "--listen", "0", "-v"]);
    let address = listening.log_line("listening on ");
    let address = address.split("://").nth(1).unwrap().trim_end_matches('/').to_owned();
    drop(Client::open(&address, "").unwrap());
    listening.log_line("* no compression: the client did not offer it");
    let listening = Running::start(&["connect", "--listen", "0", "-v"]);
    let address = listening.log_line("listening on ");
    let url = format!("ws{}", address.split("ws").nth(1).unwrap());
    let _client = Running::start(&["connect", &url, "--hold"]);
    listening
        .log_line("* compression: sent messages may refer to 32 KiB before them, received ones to 2 KiB before them");
}

#[test]
fn no_history_is_agreed_on_where_none_is_wanted() {
    let (_running, url) = server(&["echo", "--compress", "--compress-history", "0"]);
    let (_, out, err) = talk(&url, &["--json"]);
    let none = json!({ "send_history": 0, "receive_history": 0 });
    assert_eq!(event(&out, "open").unwrap()["compression"], none, "{out}{err}");
    let (_running, url) = server(&["echo", "--compress=9", "--compress-history", "16K"]);
    let (_, out, err) = talk(&url, &["--json"]);
    assert_eq!(event(&out, "open").unwrap()["compression"]["send_history"], 16_384, "{out}{err}");
}

/// RFC 6455 section 4.1: "If the response includes a |Sec-WebSocket-Extensions| header field and this header field indicates the
/// use of an extension that was not present in the client's handshake (the server has indicated an extension not requested by the
/// client), the client MUST _Fail the WebSocket Connection_."
#[test]
fn a_server_that_was_not_offered_it_must_not_agree_to_it() {
    let script = |mut peer: crate::peer::Peer| {
        peer.upgrade("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        peer.gone();
    };
    let (code, err) = failure(&["connect", &format!("ws://{}/", once(script)), "--no-compress"]);
    assert!(code == Some(6) && err.contains("extension"), "{code:?} {err}");
}

#[test]
fn a_broken_message_is_a_broken_rule() {
    let url = once(|mut peer| {
        peer.upgrade("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        // With RSV1, of a block of the kind that there is not.
        peer.write(&[0xc0 | BINARY, 2, 0x07, 0xff]);
        peer.until_closed();
    });
    let (code, err) = failure(&["connect", &format!("ws://{url}/"), "--hold", "-t", "20"]);
    assert_eq!(code, Some(6), "{err}");
}

#[test]
fn bench_compresses_in_both_directions() {
    let (_running, url) = server(&["echo", "--compress"]);
    for text in [&[][..], &["--text"]] {
        let arguments =
            [&["bench", &url, "--compress", "-n", "400", "--connections", "4", "--json", "--seed", "1"], text];
        let output = output(&arguments.concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&report["payload_bytes"], &report["compression"]["connections"]), (&json!(80_000), &json!(4)));
        for direction in ["sent", "received"] {
            let told = &report["compression"][direction];
            assert_eq!((&told["messages"], &told["plain_bytes"]), (&json!(400), &json!(80_000)), "{report}");
            let ratio = told["ratio"].as_f64().unwrap();
            assert!((0.1..0.6).contains(&ratio), "neither random nor always the same: {report}");
        }
    }
}

#[test]
fn a_server_that_compresses_nothing_is_a_failure_of_bench() {
    let (_running, url) = server(&["echo"]);
    let (code, err) = failure(&["bench", &url, "--compress", "-n", "10", "--connections", "2"]);
    assert_eq!(code, Some(6), "{err}");
    assert!(err.contains("the server agreed to compression on no connection"), "{err}");
}

#[test]
fn messages_of_ping_are_compressed_and_frames_are_not() {
    let (_running, url) = server(&["echo", "--compress"]);
    let ping = ["ping", &url, "-c", "1", "--compress", "-s", "100"];
    let (code, err) = failure(&ping);
    assert!(code == Some(2) && err.contains("--mirror"), "{err}");
    let (code, out, err) = fed(&[&ping[..], &["--mirror"]].concat(), b"");
    assert!(code == Some(0) && out.contains(" 100 bytes, with compression\n"), "{out}{err}");
    let (_running, url) = server(&["echo"]);
    let (_, out, err) = fed(&["ping", &url, "-c", "1", "--compress", "--mirror"], b"");
    assert!(out.contains(" 64 bytes, without compression: the server did not accept it\n"), "{out}{err}");
}

#[test]
fn fragments_of_fraggle_are_compressed_if_both_sides_want_it() {
    let (running, url) = server(&["fraggle", "--compress", "--seed", "2", "--log-level", "notice"]);
    for options in [&["--compress"][..], &[]] {
        let (code, out, err) = fed(&[&["fraggle", &url, "-n", "20"], options].concat(), b"");
        assert!(code == Some(0) && out.contains("20 messages, "), "{out}{err}");
        // Where it is inflated, a message is not seen to be in fragments.
        assert_eq!(out.contains(" fragments, and the sum "), options.is_empty(), "{out}");
    }
    running.signal(Signal::USR1);
    let line = running.log_line(" sent_plain_bytes=");
    let sent: u64 = line.split(" sent=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(sent >= 2, "{line}");
}

#[test]
fn the_log_of_a_server_tells_it_as_fields() {
    for options in [&["echo", "--compress"][..], &["serve", "--compress"]] {
        let (running, url) = server(options);
        let mirror = ["--protocol", "lws-mirror-protocol"];
        let (code, _, err) = talk(&url, if options[0] == "serve" { &mirror } else { &[] });
        assert_eq!(code, Some(0), "{err}");
        running.signal(Signal::USR1);
        let line = running.log_line("msg=compression ");
        for field in [" sent=1 sent_plain_bytes=720 ", " received=1 received_plain_bytes=720 "] {
            assert!(line.contains(field), "{field}: {line}");
        }
    }
}

#[test]
fn the_page_for_prometheus_counts_it() {
    let (_running, url) = server(&["echo", "--compress", "--metrics", "/metrics"]);
    let (code, _, err) = talk(&url, &[]);
    assert_eq!(code, Some(0), "{err}");
    let mut stream = TcpStream::connect(url.trim_start_matches("ws://").trim_end_matches('/')).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    for line in ["sent_compressed_plain_bytes_total 720", "received_compressed_messages_total 1"] {
        assert!(page.contains(&format!("\nsockeye_{line}\n")), "{line}: {page}");
    }
}

#[test]
fn the_access_log_tells_whose_messages_may_be_compressed() {
    let (running, url) = server(&["echo", "--compress", "--access-log"]);
    for (options, expected) in [(&[][..], true), (&["--no-compress"], false)] {
        let (code, _, err) = talk(&url, options);
        assert_eq!(code, Some(0), "{err}");
        let line = running.log_line("msg=answered ");
        assert!(line.contains(" status=101 "), "{line}");
        assert_eq!(line.contains(" compression=permessage-deflate "), expected, "{line}");
    }
}

/// That nothing was compressed is no fault of the server, and nothing that the figures tell.
#[test]
fn messages_that_are_too_short_for_it_are_a_warning() {
    let (_running, url) = server(&["echo", "--compress"]);
    let warning = " --compress: messages of less than 64 bytes are sent as they are (--size)\n";
    for (options, is_said) in [
        (&["bench", "--compress", "-n", "20", "-s", "10"][..], true),
        (&["bench", "--compress", "-n", "20", "-s", "63:50%,200:50%"], true),
        (&["bench", "--compress", "-n", "20"], false),
        (&["bench", "-n", "20", "-s", "10"], false),
        (&["ping", "--mirror", "--compress", "-c", "1", "-s", "40"], true),
        (&["ping", "--mirror", "--compress", "-c", "1"], false),
    ] {
        let (code, _, err) = fed(&[options, &[&url]].concat(), b"");
        assert_eq!((code, err.contains(warning)), (Some(0), is_said), "{options:?}: {err}");
    }
}

#[test]
fn wrong_values_are_named() {
    for (options, word) in [
        (&["echo", "--compress=0"][..], "from 1 to 9"),
        (&["serve", "--compress=fast"], "from 1 to 9"),
        (&["echo", "--compress-history", "4K"], "--compress"),
        (&["echo", "--compress", "--compress-history", "64K"], "from 0 to 32K"),
        (&["connect", "ws://127.0.0.1:1/", "--compress", "--no-compress"], "cannot be used with"),
        (&["bench", "ws://127.0.0.1:1/", "--compress", "--compress-history", "x"], "from 0 to 32K"),
    ] {
        let (code, err) = failure(options);
        assert!(code == Some(2) && err.contains(word), "{options:?}: {err}");
    }
}
