//! The client of the README: what it prints, and the exit code that a script sees.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread;

use sockeye::{CloseCode, Service, messages};

/// Runs it against a server that echoes, or closes with a code instead.
fn against(refusal: Option<CloseCode>) -> Output {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let protocol = messages::on("server", move |talk, message| match refusal {
            Some(code) => Err(code.into()),
            None => talk.push(message).map_err(|_| CloseCode::INTERNAL.into()),
        });
        let mut service = Service::builder().fallback(protocol).listen("127.0.0.1:0").build().unwrap();
        sender.send(service.local_addresses()[0].to_string()).unwrap();
        let _ = service.run();
    });
    client(&receiver.recv().unwrap())
}

fn client(address: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_example-client")).arg(format!("ws://{address}/")).output().unwrap()
}

#[test]
fn it_prints_the_answer() {
    let output = against(None);
    assert_eq!((output.status.code(), &output.stdout[..], &output.stderr[..]), (Some(0), &b"hello\n"[..], &b""[..]));
}

#[test]
fn it_ends_with_1_and_the_reason_when_something_is_wrong() {
    let output = against(Some(CloseCode::POLICY));
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(1), &b"closed with 1008\n"[..]));

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = client(&nobody);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error, format!("connecting to {nobody} failed: Connection refused\n"));

    // No URL: an error of `main`.
    assert_eq!(client("a b").status.code(), Some(1));
}
