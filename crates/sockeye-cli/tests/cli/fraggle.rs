//! `sockeye fraggle`: what is on the wire, and what is said of it.

use sockeye::{Close, Cx, Fragment, Handshake, Protocol, Tx};

use crate::support::{CLOSE, Client, Running, failure, output, service};

/// What a decoder of its own makes of one message and its sum.
#[derive(Debug, Eq, PartialEq)]
struct Heard {
    fragments: usize,
    bytes: usize,
    sum: u32,
    /// Every frame: its first byte and its payload.
    frames: Vec<(u8, Vec<u8>)>,
}

fn hear(client: &mut Client) -> Heard {
    let mut frames = Vec::new();
    loop {
        let (first, payload) = client.any_frame();
        // BINARY begins, CONTINUATION goes on, FIN is on the last one only; nothing else comes between.
        assert_eq!(first & 0x7f, if frames.is_empty() { 0x02 } else { 0x00 });
        assert!((1..=2000).contains(&payload.len()), "{}", payload.len());
        frames.push((first, payload));
        if first & 0x80 != 0 {
            break;
        }
    }
    let payload: Vec<u8> = frames.iter().flat_map(|(_, payload)| payload.clone()).collect();
    let sum = payload.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    assert!(frames.len() <= 1024);
    let (opcode, said) = client.frame();
    assert_eq!(
        (opcode, said.as_slice()),
        (0x02, &sum.to_be_bytes()[..]),
        "a binary message of four bytes, network order"
    );
    Heard { fragments: frames.len(), bytes: payload.len(), sum, frames }
}

#[test]
fn the_wire_has_the_documented_format_and_a_seed_repeats_it() {
    let listen = |seed| {
        let running = Running::start(&["fraggle", "--port", "0", "--seed", seed, "--count", "4"]);
        let mut client = Client::speaking(&running.address(), "fraggle-protocol");
        let heard: Vec<Heard> = (0..4).map(|_| hear(&mut client)).collect();
        for (index, heard) in heard.iter().enumerate() {
            let line = running.line();
            let figures = format!("{} fragments, {} bytes, sum {:#010x}", heard.fragments, heard.bytes, heard.sum);
            assert_eq!(line, format!("connection 1: sent message {}: {figures}", index + 1));
        }
        assert_eq!(client.closed(), 1000);
        client.send(CLOSE, &1000_u16.to_be_bytes());
        assert_eq!(running.ended().code(), Some(0));
        heard
    };
    let (first, second) = (listen("7"), listen("7"));
    assert!(first == second, "byte for byte");
    assert!(first != listen("8"));
    // What a seed says is part of the interface: reports name it.
    assert_eq!((first[0].fragments, first[0].bytes, first[0].sum), SEVEN);
}

/// The first message of seed 7: fragments, bytes, sum. From another implementation of the generator.
const SEVEN: (usize, usize, u32) = (400, 391_782, 49_949_016);

#[test]
fn a_client_checks_what_a_server_says() {
    let running = Running::start(&["fraggle", "--port", "0", "--count", "30", "--seed", "1"]);
    let url = format!("ws://{}/", running.address());
    let output = output(&["fraggle", &url, "--count", "30"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(text.lines().count(), 31, "{text}");
    for (index, line) in text.lines().take(30).enumerate() {
        assert!(line.starts_with(&format!("message {}: ", index + 1)) && line.ends_with(" is right"), "{line}");
        // Both ends count the same.
        let sent = running.line();
        let sum = |line: &str| line[line.find("0x").unwrap()..][..10].to_owned();
        assert_eq!(sum(line), sum(&sent));
    }
    assert!(text.lines().last().unwrap().ends_with(" 0 errors"), "{text}");
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn a_server_that_says_too_little_is_told_of() {
    let running = Running::start(&["fraggle", "--port", "0", "--count", "2"]);
    let url = format!("ws://{}/", running.address());
    let (code, error) = failure(&["fraggle", &url, "-n", "5"]);
    assert_eq!(code, Some(7), "{error}");
    assert!(error.contains("after 2 of 5 messages"), "{error}");
}

#[test]
fn without_a_count_the_server_s_end_is_the_end() {
    let running = Running::start(&["fraggle", "--port", "0", "--count", "2"]);
    let output = output(&["fraggle", &format!("ws://{}/", running.address())]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("2 messages"));
}

/// Says what it is told to, frame by frame: each a whole message or a part of one.
struct Liar(&'static [&'static [u8]]);

impl Protocol for Liar {
    type Session = ();

    fn name(&self) -> &str {
        "fraggle-protocol"
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) {
        cx.request_writable();
    }

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), tx: Tx<'_>) -> Result<(), Close> {
        let mut permission = tx.idle();
        for message in self.0 {
            permission = permission.and_then(|permission| permission.binary(message).more());
        }
        Ok(())
    }
}

#[test]
fn a_wrong_sum_and_a_wrong_form_end_with_6_and_a_line() {
    const CASES: &[(&[&[u8]], &str)] = &[
        (&[&[1, 2, 3], &[0, 0, 0, 7]], "wrong sum: the server sent 0x00000007"),
        (&[&[1, 2, 3], &[6, 0, 0, 0]], "add up to 0x00000006"),
        (&[&[1, 2, 3], &[0, 0, 6]], "4 bytes"),
        (&[&[1, 2, 3], &[0, 0, 0, 6], &[1], &[0, 0, 0, 2]], "message 2"),
        (&[&[0; 2001]], "more than 2000 bytes"),
        (&[&[]], "empty"),
    ];
    for (says, word) in CASES {
        let address = service(move || Liar(says));
        let (code, error) = failure(&["fraggle", &format!("ws://{address}/")]);
        assert_eq!(code, Some(6), "{error}");
        assert!(error.contains(word) && error.lines().count() == 1, "{word}: {error}");
    }
}

#[test]
fn a_server_that_is_not_there_is_3_and_one_that_speaks_something_else_5() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, error) = failure(&["fraggle", &format!("ws://{nobody}/")]);
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains(&nobody.to_string()), "{error}");
    let running = Running::start(&["serve", "--port", "0"]);
    let (code, error) = failure(&["fraggle", &format!("ws://{}/", running.address())]);
    assert_eq!(code, Some(5), "{error}");
}
