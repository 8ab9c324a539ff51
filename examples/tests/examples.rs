//! Runs every example as its first lines say, on a free port. Only `adopt` is left out: its ports are fixed.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use sockeye::{CloseCode, Service, messages};

/// What is not there after this does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// An example by its name. Cargo names the binaries of a package's tests, but not its examples.
fn example(name: &str) -> Command {
    let test = env::current_exe().unwrap();
    let program: PathBuf = test.parent().and_then(|deps| deps.parent()).unwrap().join("examples").join(name);
    assert!(program.exists(), "{program:?} is not built: cargo build --examples");
    Command::new(program)
}

/// A running example, killed when dropped.
struct Server {
    child: Child,
    lines: Receiver<String>,
}

impl Server {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = example(name);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// The address in the next line that it prints.
    fn address(&self) -> String {
        let line = self.lines.recv_timeout(PATIENCE).expect("it prints where it listens");
        let url = line.split_whitespace().find(|word| word.contains("://")).unwrap_or_else(|| panic!("{line}"));
        url.split('/').nth(2).unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A WebSocket connection: the handshake is done.
fn upgraded(address: &str, protocol: &str) -> TcpStream {
    upgraded_at("/", address, protocol)
}

fn upgraded_at(target: &str, address: &str, protocol: &str) -> TcpStream {
    let fields = if protocol.is_empty() { String::new() } else { format!("Sec-WebSocket-Protocol: {protocol}\r\n") };
    let (stream, head) = answered(target, address, &fields);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

/// Asks for a WebSocket with these fields. Returns the head of the answer, too.
fn answered(target: &str, address: &str, fields: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    (stream, String::from_utf8(head).unwrap())
}

/// Reads one unmasked text message, of at most 125 bytes.
fn read_text(stream: &mut TcpStream) -> String {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 0x81);
    let mut text = vec![0; usize::from(head[1])];
    stream.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn send_text(stream: &mut TcpStream, text: &str) {
    // Masked with zeros.
    let frame = [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat();
    stream.write_all(&frame).unwrap();
}

/// Reads one unmasked text frame of `text`.
fn expect_text(stream: &mut TcpStream, text: &str) {
    let mut frame = vec![0; 2 + text.len()];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame, [&[0x81, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat());
}

/// A text message of two bytes, masked with zeros.
const HI: &[u8] = b"\x81\x82\0\0\0\0hi";

#[test]
fn servers_that_echo() {
    for (name, protocol) in
        [("echo", ""), ("proto_alone", ""), ("in_tokio", ""), ("in_calloop", ""), ("poll_loop", "echo")]
    {
        let server = Server::start(name, &["127.0.0.1:0"]);
        let mut peer = upgraded(&server.address(), protocol);
        peer.write_all(HI).unwrap();
        expect_text(&mut peer, "hi");
    }
}

#[test]
fn servers_that_publish() {
    for name in ["site", "threads"] {
        let server = Server::start(name, &["127.0.0.1:0"]);
        let mut peer = upgraded(&server.address(), "chat");
        peer.write_all(HI).unwrap();
        expect_text(&mut peer, "hi");
    }
    let server = Server::start("chat", &["127.0.0.1:0"]);
    let mut peer = upgraded_at("/rooms/lobby?token=secret-of-ann", &server.address(), "chat");
    expect_text(&mut peer, "ann is here");
    peer.write_all(HI).unwrap();
    expect_text(&mut peer, "ann: hi");
}

#[test]
fn the_feed_sends_its_newest_price() {
    let server = Server::start("feed", &["127.0.0.1:0"]);
    let mut peer = upgraded(&server.address(), "feed");
    let mut last = 0;
    for _ in 0..3 {
        let text = read_text(&mut peer);
        let version: u64 = text.split(' ').next().unwrap().parse().unwrap();
        assert!(version > last, "{text} after {last}");
        last = version;
    }
}

/// Sends an HTTP request. Returns where its answer comes.
fn asked(address: &str, request: &str, body: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    BufReader::new(stream)
}

/// Reads lines until one is `wanted`.
fn expect_line(answer: &mut impl BufRead, wanted: &str) {
    let mut seen = String::new();
    while !seen.lines().any(|line| line == wanted) {
        assert!(answer.read_line(&mut seen).unwrap() > 0, "{wanted:?} is not in {seen}");
    }
}

#[test]
fn events_are_sent_beside_a_websocket() {
    let server = Server::start("events", &["127.0.0.1:0"]);
    let address = server.address();
    let mut events = asked(&address, "GET /events", "");
    expect_line(&mut events, "Content-Type: text/event-stream");
    expect_line(&mut events, "retry: 1000");
    let mut peer = upgraded(&address, "chat");
    peer.write_all(HI).unwrap();
    expect_text(&mut peer, "hi");
    expect_line(&mut events, "data: hi");
}

#[test]
fn a_long_poll_waits_for_a_note() {
    let server = Server::start("long_poll", &["127.0.0.1:0"]);
    let address = server.address();
    let mut waits = asked(&address, "GET /?after=0", "");
    expect_line(&mut asked(&address, "POST /", "a note\n"), "HTTP/1.1 204 No Content");
    expect_line(&mut waits, "X-Next: 1");
    expect_line(&mut waits, "a note");
    expect_line(&mut asked(&address, "DELETE /", ""), "HTTP/1.1 405 Method Not Allowed");
}

#[test]
fn an_upload_can_be_had_again() {
    let directory = env::temp_dir().join(format!("sockeye-upload-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let server = Server::start("upload", &[directory.to_str().unwrap(), "127.0.0.1:0"]);
    let address = server.address();
    expect_line(&mut asked(&address, "PUT /some.txt", "what was sent\n"), "HTTP/1.1 201 Created");
    expect_line(&mut asked(&address, "GET /some.txt", ""), "what was sent");
    expect_line(&mut asked(&address, "PUT /.hidden", "x"), "HTTP/1.1 403 Forbidden");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn the_counter_counts() {
    let server = Server::start("counter", &["127.0.0.1:0"]);
    let mut peer = upgraded(&server.address(), "counter");
    for number in ["0", "1", "2"] {
        expect_text(&mut peer, number);
    }
}

#[test]
fn a_line_from_another_thread_reaches_the_client() {
    let mut server = Server::start("remote", &["127.0.0.1:0"]);
    let mut peer = upgraded(&server.address(), "news");
    let mut input = server.child.stdin.take().unwrap();
    input.write_all(b"tea is ready\n").unwrap();
    expect_text(&mut peer, "tea is ready");
    drop(input);
    let mut close = [0; 4];
    peer.read_exact(&mut close).unwrap();
    assert_eq!(close, *b"\x88\x02\x03\xe9", "a Close frame with 1001");
    peer.write_all(b"\x88\x82\0\0\0\0\x03\xe9").unwrap();
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn the_second_of_two_services_ends_both() {
    let mut server = Server::start("two_services", &["127.0.0.1:0", "127.0.0.1:0"]);
    let (public, private) = (server.address(), server.address());
    let mut peer = upgraded(&public, "");
    peer.write_all(HI).unwrap();
    expect_text(&mut peer, "hi");
    drop(peer);
    upgraded(&private, "").write_all(b"\x81\x83\0\0\0\0end").unwrap();
    assert!(server.child.wait().unwrap().success());
}

/// A connection that sends lines and reads lines.
fn lines(address: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

#[test]
fn a_line_protocol_and_websockets_share_a_mio_loop() {
    let mut server = Server::start("in_mio", &["127.0.0.1:0", "127.0.0.1:0"]);
    let (websockets, plain) = (server.address(), server.address());
    let mut peer = upgraded(&websockets, "board");
    // One that sends many commands and one that reads no answers do not stop the others.
    let mut greedy = TcpStream::connect(&plain).unwrap();
    greedy.write_all(&b"last\n".repeat(1000)).unwrap();
    let mut speaker = lines(&plain);
    // A line may arrive in parts, and several at once.
    speaker.get_mut().write_all(b"say tea is").unwrap();
    speaker.get_mut().write_all(b" ready\nhum\n").unwrap();
    expect_text(&mut peer, "tea is ready");
    expect_line(&mut speaker, "sent to 1 connections");
    expect_line(&mut speaker, "unknown command");
    // Its ping behind it says that the message was read.
    peer.write_all(&[HI, b"\x89\x80\0\0\0\0"].concat()).unwrap();
    peer.read_exact(&mut [0; 2]).unwrap();
    speaker.get_mut().write_all(b"last\n").unwrap();
    expect_line(&mut speaker, "hi");
    let mut endless = lines(&plain);
    let _ = endless.get_mut().write_all(&[b'a'; 100_000]);
    assert!(matches!(endless.read(&mut [0]), Ok(0) | Err(_)), "a line without an end ends the connection");
    drop(peer);
    speaker.get_mut().write_all(b"stop\n").unwrap();
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn a_proxy_shows_the_lines_that_it_passes_on() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = upstream.local_addr().unwrap().to_string();
    let proxy = Server::start("line_proxy", &[&server, "127.0.0.1:0"]);
    let address = proxy.address();
    let mut near = lines(&address);
    near.get_mut().write_all(b"tea is").unwrap();
    near.get_mut().write_all(b" ready\nand cake\n").unwrap();
    let far = upstream.accept().unwrap().0;
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut far = BufReader::new(far);
    expect_line(&mut far, "tea is ready");
    expect_line(&mut far, "and cake");
    // The end of one side leaves the other open.
    near.get_mut().shutdown(Shutdown::Write).unwrap();
    assert_eq!(far.read(&mut [0]).unwrap(), 0);
    far.get_mut().write_all(b"thanks\n").unwrap();
    drop(far);
    expect_line(&mut near, "thanks");
    assert_eq!(near.read(&mut [0]).unwrap(), 0);
    for line in ["> tea is ready", "> and cake", "< thanks"] {
        assert_eq!(proxy.lines.recv_timeout(PATIENCE).unwrap(), line);
    }
    // A server that is not there ends the connection.
    drop(upstream);
    assert_eq!(lines(&address).read(&mut [0]).unwrap(), 0);
}

#[test]
fn listeners_serve_different_things_and_come_and_go() {
    let mut server = Server::start("listeners", &["127.0.0.1:0", "127.0.0.1:0"]);
    let (inner, public) = (server.address(), server.address());
    expect_line(&mut asked(&inner, "GET /metrics", ""), "HTTP/1.1 200 OK");
    expect_line(&mut asked(&public, "GET /metrics", ""), "HTTP/1.1 426 Upgrade Required");
    let (ours, other) = ("Origin: https://chat.example.com\r\n", "Origin: https://example.org\r\n");
    for (address, fields, status) in [(&public, other, 403), (&public, "", 403), (&inner, ours, 403)] {
        let (_, head) = answered("/", address, fields);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{address}, {fields:?}: {head}");
    }
    let mut admin = upgraded(&inner, "admin");
    let (mut member, _) = answered("/", &public, ours);
    send_text(&mut admin, "close");
    expect_text(&mut admin, "closed");
    assert!(TcpStream::connect(&public).is_err());
    send_text(&mut member, "still here");
    expect_text(&mut member, "still here");
    send_text(&mut admin, "open");
    let answer = read_text(&mut admin);
    let reopened = answer.strip_prefix("open at ws://").and_then(|rest| rest.strip_suffix('/')).expect(&answer);
    let (mut late, _) = answered("/", reopened, ours);
    send_text(&mut late, "hello");
    expect_text(&mut member, "hello");
    send_text(&mut admin, "quit");
    drop((admin, member, late));
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn no_held_connection_is_lost() {
    let server = Server::start("echo", &["127.0.0.1:0"]);
    let url = format!("ws://{}/", server.address());
    let output = example("hold").args([&url, "50", "0"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("held=50 lost=0 answered=50"), "{text}");
}

#[test]
fn a_server_that_ends_loses_all_that_were_held() {
    let server = Server::start("echo", &["127.0.0.1:0"]);
    let mut hold = Server::start("hold", &[&format!("ws://{}/", server.address()), "3", "600"]);
    assert_eq!(hold.lines.recv_timeout(PATIENCE).unwrap(), "all open");
    drop(server);
    assert_eq!(hold.lines.recv_timeout(PATIENCE).unwrap(), "held=3 lost=3 answered=0");
    assert_eq!(hold.child.wait().unwrap().code(), Some(1));
}

#[test]
fn the_protocol_passes_in_the_simulator() {
    let output = example("simulator").env("SOCKEYE_SEEDS", "0..5").output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"5 seeds passed\n"[..]));
}

#[test]
fn compressed_messages_are_shorter() {
    let output = example("proto_deflate").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<usize> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(matches!(numbers[..], [20, plain, sent] if sent < plain / 2), "{text}");
}

/// Runs the client against a server that echoes, or closes with a code instead.
fn client_against(refusal: Option<CloseCode>) -> Output {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let protocol = messages::on("server", move |cx, message| match refusal {
            Some(code) => Err(code.into()),
            None => cx.push(message).map_err(|_| CloseCode::INTERNAL.into()),
        });
        let mut service = Service::builder().fallback(protocol).listen("127.0.0.1:0").build().unwrap();
        sender.send(service.local_addresses()[0].to_string()).unwrap();
        let _ = service.run();
    });
    client(&receiver.recv_timeout(PATIENCE).unwrap())
}

fn client(address: &str) -> Output {
    example("client").arg(format!("ws://{address}/")).output().unwrap()
}

#[test]
fn the_client_prints_the_answer() {
    let output = client_against(None);
    assert_eq!((output.status.code(), &output.stdout[..], &output.stderr[..]), (Some(0), &b"hello\n"[..], &b""[..]));
}

#[test]
fn the_client_ends_with_1_and_the_reason_when_something_is_wrong() {
    let output = client_against(Some(CloseCode::POLICY));
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(1), &b"closed with 1008\n"[..]));

    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = client(&unused);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error, format!("connecting to {unused} failed: Connection refused\n"));

    // Not a URL: an error of `main`.
    assert_eq!(client("a b").status.code(), Some(1));
}
