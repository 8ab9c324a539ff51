//! `serve` and `echo` behind a proxy that says whom it connects for.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::support::{PATIENCE, Running, failure, get, request};

const LINE: &str = "PROXY TCP4 192.0.2.7 203.0.113.1 56244 443\r\n";
const GET: &str = "GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A header of version 2 for the client 2001:db8::7, port 4660.
fn binary() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    header.extend("2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    header.extend([0; 16]);
    header.extend([0x12, 0x34, 0, 80]);
    header
}

/// What is answered to bytes that are no request.
fn request_of(address: &str, bytes: &[u8]) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // Input that was not read makes the end a reset.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_trusted_proxy_names_the_client_and_others_do_not() {
    for (subcommand, status) in [("serve", 404), ("echo", 426)] {
        let start = |trusted: &[&str]| {
            let arguments = [subcommand, "--port", "0", "--access-log"];
            let running = Running::start(&[&arguments, trusted].concat());
            let address = running.address();
            (running, address)
        };
        let (running, address) = start(&["--proxy-protocol", "10.0.0.0/8", "--proxy-protocol", "127.0.0.1"]);
        let (head, _) = request(&address, &format!("{LINE}{GET}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let line = running.log_line("answered");
        assert!(line.contains("peer=192.0.2.7:56244"), "{line}");
        // No header: no answer.
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(GET.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // Input that was not read makes the end a reset.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, b"");
        // It is the proxy that is set up wrongly: its operator has to learn of it without asking.
        let line = running.log_line("refused: a trusted proxy sent no usable PROXY header");
        assert!(line.contains("level=warn") && line.contains("error=\"no PROXY header of version 1 or 2"), "{line}");
        assert!(line.contains("peer=127.0.0.1:"), "{line}");
        // Nor the whole of one.
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.write_all(b"PROXY TCP4 192").unwrap();
        drop(stream);
        let line = running.log_line("refused: a trusted proxy sent no usable PROXY header");
        assert!(line.contains("level=warn") && line.contains("error=\"the header ended early\""), "{line}");

        let (running, address) = start(&["--proxy-protocol", "10.0.0.0/8", "--log-level", "info"]);
        for header in [LINE.as_bytes(), &binary()] {
            assert!(request_of(&address, &[header, GET.as_bytes()].concat()).starts_with("HTTP/1.1 400 "));
            let line = running.log_line("a PROXY header of a peer that is not trusted");
            assert!(line.contains("peer=127.0.0.1:") && line.contains("--proxy-protocol"), "{line}");
        }
        assert!(get(&address, "/nothing").0.starts_with(&format!("HTTP/1.1 {status} ")));
    }
}

#[test]
fn a_proxy_on_a_unix_socket_is_trusted_as_unix() {
    let path = std::env::temp_dir().join(format!("sockeye-proxied-{}", std::process::id()));
    let interface = format!("unix:{}", path.display());
    let arguments =
        ["echo", "--interface", &interface, "--proxy-protocol", "unix", "--access-log", "--log-level", "debug"];
    let running = Running::start(&arguments);
    running.line();
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[&binary(), GET.as_bytes()].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    let line = running.log_line("answered");
    assert!(line.contains("peer=[2001:db8::7]:4660"), "{line}");
    drop(running);
    let _ = std::fs::remove_file(path);
}

#[test]
fn what_is_no_network_is_refused_with_the_way_to_write_it() {
    for (network, hint) in
        [("10.0.0.1/8", "did you mean 10.0.0.0/8?"), ("proxy.example", "or `unix`"), ("::1/129", "0 to 128")]
    {
        let (code, text) = failure(&["serve", "--proxy-protocol", network]);
        assert_eq!(code, Some(2));
        assert!(text.contains("--proxy-protocol") && text.contains(hint), "{text}");
    }
}
