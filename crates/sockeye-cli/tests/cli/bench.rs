//! `sockeye bench`: what it reports of servers that echo, and what it says of those that do not.

use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use serde_json::Value;
use sockeye::{CloseCode, Limits, Protocol, messages};

use crate::peer::{Peer, serve, upgraded};
use crate::support::{BINARY, CLOSE, PATIENCE, Running, failure, finished, output, program, service, sockeye};
use rustix::process::Signal;

/// Runs it against `sockeye echo` and reads its object.
fn measured(options: &[&str]) -> Value {
    let running = Running::start(&["echo", "--port", "0"]);
    let url = format!("ws://{}/", running.address());
    let output = output(&[&["bench", &url, "--json"], options].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_count_of_messages_is_answered_to_the_last() {
    for (options, messages, size) in [
        (&["--connections", "5", "--pipeline", "4", "-n", "1000", "--seed", "1"][..], 1000, 20),
        (&["--connections", "3", "-n", "500", "--text"], 500, 20),
        (&["--connections", "1", "--pipeline", "64", "-n", "1000", "-s", "0"], 1000, 0),
        (&["--connections", "2", "--pipeline", "2", "-n", "500", "-s", "126"], 500, 126),
        // More than waits for one socket at a time.
        (&["--connections", "2", "--pipeline", "3", "-n", "40", "-s", "70000", "--text"], 40, 70_000),
        (&["--connections", "3", "-n", "500", "--warm-up", "0.05"], 500, 20),
    ] {
        let report = measured(options);
        assert_eq!(report["messages"], messages, "{options:?}: {report}");
        assert_eq!(report["payload_bytes"], messages * size, "{options:?}: {report}");
        assert_eq!(report["errors"]["total"], 0, "{options:?}: {report}");
        assert!(report["rate"].as_f64().unwrap() > 0.0, "{report}");
        let latency = |name| report["latency_seconds"][name].as_f64().unwrap();
        let sorted = ["p50", "p90", "p99", "p99.9", "max"].map(latency);
        assert!(sorted[0] > 0.0 && sorted.is_sorted(), "{report}");
    }
}

#[test]
fn sizes_are_mixed_by_their_shares() {
    // The round has 4096 messages, and one connection goes round it twice: the shares are exact.
    let report =
        measured(&["--connections", "1", "--pipeline", "16", "-n", "8192", "-s", "0:25%,20:50%,100:25%", "--text"]);
    assert_eq!(report["payload_bytes"], 4096 * 20 + 2048 * 100, "{report}");
}

#[test]
fn a_fixed_rate_sends_what_is_due() {
    let report = measured(&["--connections", "7", "--rate", "5000", "-n", "500"]);
    assert_eq!(report["messages"], 500, "{report}");
    assert_eq!(report["errors"]["total"], 0, "{report}");
    assert!(report["late_seconds"]["p50"].is_number(), "{report}");
    // 500 messages at 5000 a second have 99.8 ms between the first and the last.
    assert!(report["seconds"].as_f64().unwrap() > 0.0998, "{report}");
}

#[test]
fn a_rate_that_cannot_be_reached_is_told() {
    let (code, error, _) = against(&["--connections", "2", "--rate", "1000000000", "-n", "2000"], || {
        messages::on("echo", |talk, message| talk.push(message).map_err(|_| CloseCode::INTERNAL.into()))
    });
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("1,000,000,000 messages a second were requested, but only "), "{error}");
}

#[test]
fn times_end_what_no_count_does() {
    let report = measured(&["--connections", "4", "-d", "0.2", "--warm-up", "0"]);
    assert!(report["seconds"].as_f64().unwrap() >= 0.2, "{report}");
    let report = measured(&["--connections", "4", "-d", "0.2", "--warm-up", "0.1", "--rate", "1000"]);
    assert_eq!(report["errors"]["total"], 0, "{report}");
    let messages = report["messages"].as_u64().unwrap();
    assert!(messages >= 200, "all that were due: {report}");
}

#[test]
fn handshakes_are_counted() {
    let report = measured(&["--mode", "handshake", "--connections", "5", "-n", "50"]);
    assert_eq!((&report["handshakes"], &report["errors"]["total"]), (&Value::from(50), &Value::from(0)), "{report}");
    assert_eq!(report["connections"]["opened"], 50, "{report}");
}

#[test]
fn held_connections_are_counted() {
    let report = measured(&["--mode", "idle", "--connections", "20", "-d", "0.1", "--ramp", "1000"]);
    assert_eq!(report["connections"]["opened"], 20, "{report}");
    assert_eq!(report["connections"]["lost"], 0, "{report}");
    // Twenty at a thousand a second: the last is asked for 19 ms after the first.
    assert!(report["handshake_seconds"]["p50"].as_f64().unwrap() > 0.0, "{report}");
}

#[test]
fn the_report_for_people_has_its_lines() {
    let running = Running::start(&["echo", "--port", "0"]);
    let url = format!("ws://user:secret@{}/", running.address());
    let output = output(&["bench", &url, "-n", "100", "--connections", "2", "--seed", "9"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "2 connections",
        "seed 9",
        "messages      100, ",
        "latency       p50 ",
        "2 opened, 0 failed",
        "errors        none",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("secret"), "{text}");
}

/// Runs it against a server that is not an echo.
fn against<P: Protocol>(
    options: &[&str],
    server: impl FnOnce() -> P + Send + 'static,
) -> (Option<i32>, String, Output) {
    let url = format!("ws://{}/", service(server));
    let output = finished(&mut sockeye(&[&["bench", &url], options].concat()));
    (output.status.code(), String::from_utf8(output.stderr.clone()).unwrap(), output)
}

#[test]
fn a_wrong_answer_is_no_figures() {
    // In the middle of a run, so that there would be something to show.
    let changed = || {
        let mut count = 0;
        messages::on("liar", move |talk, message| {
            count += 1;
            let mut bytes = message.as_bytes().to_vec();
            if count == 500 {
                bytes[7] ^= 0x20;
            }
            talk.push(bytes).map_err(|_| CloseCode::INTERNAL.into())
        })
    };
    let kind = || {
        messages::on("liar", |talk, message| {
            let text = String::from_utf8_lossy(message.as_bytes()).into_owned();
            talk.push(text).map_err(|_| CloseCode::INTERNAL.into())
        })
    };
    let short = || {
        messages::on("liar", |talk, message| {
            talk.push(message.as_bytes()[1..].to_vec()).map_err(|_| CloseCode::INTERNAL.into())
        })
    };
    let twice = || {
        messages::on("liar", |talk, message| {
            let bytes = message.as_bytes().to_vec();
            let _ = talk.push(bytes.clone());
            talk.push(bytes).map_err(|_| CloseCode::INTERNAL.into())
        })
    };
    let late = || {
        let mut held: Option<Vec<u8>> = None;
        messages::on("liar", move |talk, message| {
            // Every pair of messages in the other order.
            let bytes = message.as_bytes().to_vec();
            match held.take() {
                None => held = Some(bytes),
                Some(first) => {
                    let _ = talk.push(bytes);
                    let _ = talk.push(first);
                }
            }
            Ok(())
        })
    };
    let options = ["--connections", "1", "--pipeline", "4", "-d", "60s", "--warm-up", "0"];
    let all = [
        against(&options, changed),
        against(&options, kind),
        against(&options, short),
        against(&options, twice),
        against(&options, late),
    ];
    let words =
        ["byte 7 of answer 500", "is text, and what was sent is binary", "answer 1", "answer", "another message"];
    for ((code, error, output), word) in all.into_iter().zip(words) {
        assert_eq!(code, Some(6), "{error}");
        assert!(error.contains("wrong answer, so no figures are reported") && error.contains(word), "{word}: {error}");
        assert!(output.stdout.is_empty(), "{word}: figures all the same");
    }
}

#[test]
fn connections_that_end_are_errors_and_no_reason_to_stop() {
    let fickle = || {
        let mut count = 0;
        messages::on("fickle", move |talk, message| {
            count += 1;
            if count == 100 {
                return Err(CloseCode::INTERNAL.into());
            }
            talk.push(message).map_err(|_| CloseCode::INTERNAL.into())
        })
    };
    let (code, error, output) = against(&["--connections", "3", "-n", "1000", "--fail-if", "errors>0"], fickle);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(code, Some(7), "{error}{text}");
    assert!(text.contains("3 opened, 0 failed, 1 lost") && text.contains("closed with 1011"), "{text}");
    assert!(error.contains("errors>0"), "{error}");
}

#[test]
fn fewer_answers_than_asked_for_are_a_failure() {
    let tired = || {
        let mut count = 0;
        messages::on("tired", move |talk, message| {
            count += 1;
            if count > 10 {
                return Err(CloseCode::INTERNAL.into());
            }
            talk.push(message).map_err(|_| CloseCode::INTERNAL.into())
        })
    };
    let (code, error, output) = against(&["--connections", "1", "-n", "50"], tired);
    assert_eq!(code, Some(6), "{error}");
    assert!(error.contains("10 of 50 messages were answered: the server closed with 1011"), "{error}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("latency"), "what was measured is shown");
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let silent = || messages::on("silent", |_, _| Ok(()));
    let (code, error, output) = against(&["--connections", "2", "-n", "10", "--grace", "0.1"], silent);
    assert_eq!(code, Some(6), "{error}");
    assert!(error.contains("nothing was answered"), "{error}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("2 unanswered"));
}

#[test]
fn thresholds_decide_the_exit_code_after_the_report() {
    let running = Running::start(&["echo", "--port", "0"]);
    let url = format!("ws://{}/", running.address());
    let options = ["-n", "100", "--connections", "2", "--fail-if", "errors>0", "--fail-if", "max>1000s"];
    assert_eq!(output(&[&["bench", &url][..], &options].concat()).status.code(), Some(0));
    let output = output(&[&["bench", &url][..], &options, &["--fail-if", "rate<1000000000"]].concat());
    assert_eq!(output.status.code(), Some(7));
    assert!(String::from_utf8(output.stdout).unwrap().contains("latency"));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("rate<1000000000: rate is ") && !error.contains("errors>0"), "{error}");
}

#[test]
fn ctrl_c_ends_the_measuring_and_shows_it() {
    let (sender, receiver) = mpsc::channel();
    let address = service(move || {
        let mut count = 0;
        messages::on("echo", move |talk, message| {
            count += 1;
            if count == 1000 {
                sender.send(()).unwrap();
            }
            talk.push(message).map_err(|_| CloseCode::INTERNAL.into())
        })
    });
    let running = Running::start(&["bench", &format!("ws://{address}/"), "-d", "1h", "--warm-up", "0"]);
    receiver.recv_timeout(PATIENCE).unwrap();
    running.signal(Signal::INT);
    let lines: Vec<String> = (0..4).map(|_| running.line()).collect();
    assert!(lines[1].contains("interrupted") && lines[2].contains("messages"), "{lines:?}");
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn what_cannot_be_measured_has_its_exit_code() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for mode in ["echo", "handshake", "idle"] {
        let url = format!("ws://{nobody}/");
        let (code, error) = failure(&["bench", &url, "--mode", mode, "--connections", "3", "-d", "0.2s"]);
        assert_eq!(code, Some(3), "{mode}: {error}");
        assert!(error.contains(&nobody.to_string()), "{error}");
    }
    for (options, word) in [
        (&["--size", "20:50%"][..], "100 %"),
        (&["--fail-if", "p98>5ms"], "p99>5ms"),
        (&["--rate", "0"], "1000"),
        (&["--rate", "10", "--pipeline", "2"], "--pipeline"),
        (&["--count", "5", "--duration", "5"], "--count"),
        (&["--mode", "idle", "--rate", "5"], "--mode echo"),
        (&["--connections", "0"], "0"),
    ] {
        let (code, error) = failure(&[&["bench", "ws://127.0.0.1:1/"], options].concat());
        assert_eq!(code, Some(2), "{options:?}: {error}");
        assert!(error.contains(word), "{options:?}: {error}");
    }
}

/// The figures are of another load than the one that was asked for.
#[test]
fn a_connection_that_is_not_opened_decides_the_exit_code_behind_the_report() {
    let upgrade = |peer: &mut Peer| {
        peer.upgrade("");
        while let Some((opcode, payload)) = peer.frame() {
            peer.send(opcode, &payload);
            if opcode == CLOSE {
                break;
            }
        }
    };
    let refuse = |mut peer: Peer| {
        peer.head();
        peer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    };
    for options in [&["-n", "10"][..], &["-d", "0.1s", "--warm-up", "0"], &["--mode", "idle", "-d", "0.1s"]] {
        // The refused one is the first to be over: this server has one connection at a time.
        let url = format!("ws://{}/", serve(vec![Box::new(refuse), Box::new(move |mut peer| upgrade(&mut peer))]));
        let arguments = [&["bench", &url, "--connections", "2", "--ramp", "1000"], options].concat();
        let output = output(&arguments);
        let (text, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(5), "{options:?}: {text}{error}");
        assert!(error.contains("1 of 2 connections were not opened: the server answered 503"), "{error}");
        assert!(text.contains("1 opened, 1 failed, 0 lost"), "{text}");
    }
    // The limit of descriptors of this process.
    let running = Running::start(&["echo", "--port", "0"]);
    let url = format!("ws://{}/", running.address());
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\""]).arg(program()).args(["bench", &url]);
    command.args(["--connections", "100", "-n", "1000"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = finished(&mut command);
    let (text, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{text}{error}");
    assert!(error.contains("100 connections are more than the descriptor limit allows"), "{error}");
    assert!(error.contains("ulimit -n 164"), "{error}");
    assert_eq!(text, "", "nothing was begun");
}

/// Such a server is not waited for: not for the five seconds that a closing handshake has.
#[test]
fn a_wrong_answer_is_told_at_once() {
    let (sender, receiver) = mpsc::channel();
    let address = upgraded(move |peer| {
        peer.frame();
        peer.send(BINARY, b"something else");
        let lied = Instant::now();
        // It takes no notice of the Close frame, and ends nothing.
        peer.gone();
        sender.send(lied.elapsed()).unwrap();
    });
    let (code, error) =
        failure(&["bench", &format!("ws://{address}/"), "--connections", "1", "-d", "60s", "--warm-up", "0"]);
    assert_eq!(code, Some(6), "{error}");
    assert!(error.contains("wrong answer, so no figures are reported"), "{error}");
    let waited = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(waited < Limits::default().protocol.close_timeout, "it waited for {waited:?}");
}
