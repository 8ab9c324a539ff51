//! Clients whose servers are scripted: what they may answer, and what they send.

use std::time::Duration;

use sockeye::client::Reconnect;
use sockeye::proto::close::Cause;
use sockeye::proto::wire::MessageKind;
use sockeye::{Compression, ConnId};
use sockeye_testing::client::{Bench, Say, Server, frame, to};
use sockeye_testing::zlib::{Packer, Unpacker, agreed, bomb};

const URL: &str = "ws://10.0.0.1/";

fn client(compression: Compression) -> Bench {
    Bench::described(|builder| builder.compression(compression))
}

fn text(number: usize) -> Vec<u8> {
    format!("message {number}, which is like the others; ").repeat(4 + number % 3).into_bytes()
}

/// Sends and hears messages until it is sure that both sides refer to the same.
fn talk(bench: &mut Bench, id: ConnId, server: &mut Server, answer: &str) {
    let (mut unpacker, mut packer) = match agreed(answer.as_bytes()) {
        Some((send, receive)) => (Some(Unpacker::new(send)), Some(Packer::new(receive))),
        None => (None, None),
    };
    for number in 0..12 {
        let message = text(number);
        bench.say(id, Say::Message(MessageKind::Binary, message.clone()));
        let before = server.frames.len();
        bench.until(|_| {
            server.pump();
            server.frames.len() > before
        });
        let sent = &server.frames[before];
        assert_eq!((sent.last, sent.opcode, sent.rsv != 0), (true, 2, unpacker.is_some()), "{answer}");
        let heard = match &mut unpacker {
            Some(unpacker) => unpacker.part(&sent.payload, true).unwrap(),
            None => sent.payload.clone(),
        };
        assert_eq!(heard, message, "{answer}");
        match &mut packer {
            Some(packer) => server.send(frame(0xC2, &packer.message(&message))),
            None => server.send(frame(0x82, &message)),
        }
        bench.until(|bench| bench.notes.messages(id).len() == number + 1);
        assert_eq!(bench.notes.messages(id)[number].1, message, "{answer}");
    }
}

const ANSWERS: [&str; 7] = [
    "permessage-deflate",
    "",
    "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover; server_max_window_bits=12",
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; client_max_window_bits=8",
];

fn answer(server: &mut Server, answer: &str) {
    let line = if answer.is_empty() { String::new() } else { format!("Sec-WebSocket-Extensions: {answer}\r\n") };
    server.open(&line);
}

/// Every connection of a client that reconnects agrees anew, and knows nothing of the one before.
#[test]
fn each_connection_agrees_anew() {
    let mut bench = client(Compression::new());
    let listener = bench.listen("10.0.0.1:80");
    let connect = to(URL).reconnect(Reconnect::new().initial(Duration::from_millis(10))).unwrap();
    let mut id = bench.connect(&connect);
    for what in ANSWERS.into_iter().chain(ANSWERS) {
        let mut server = bench.asked(&listener);
        assert_eq!(server.field("sec-websocket-extensions"), Some("permessage-deflate; client_max_window_bits"));
        answer(&mut server, what);
        bench.until(|bench| bench.notes.is_open(id));
        talk(&mut bench, id, &mut server, what);
        server.peer.reset();
        bench.until(|bench| bench.notes.is_over(id));
        id = bench.notes.retry(id).unwrap().id;
    }
}

/// The same over a descriptor that the program opened.
#[test]
fn a_connection_over_a_descriptor_is_compressed() {
    for what in ANSWERS {
        let mut bench = client(Compression::new().level(6));
        let (fd, peer) = bench.network.descriptor();
        let mut server = Server::of(peer);
        let id = bench.connect_over(fd, &to(URL));
        bench.until(|_| server.heard_head());
        answer(&mut server, what);
        bench.until(|bench| bench.notes.is_open(id));
        talk(&mut bench, id, &mut server, what);
    }
}

/// What a server sends is no more trusted than what a client sends.
#[test]
fn a_hostile_server_is_closed() {
    let big = bomb(40 << 20);
    let sent: [(&[u8], u8, u16); 4] =
        [(&big, 0xC2, 1009), (&[0x07], 0xC1, 1007), (&[0x4b, 0x04, 0x12, 0x00], 0xC2, 1007), (&[], 0xC9, 1002)];
    for (payload, first, code) in sent {
        let mut bench = client(Compression::new());
        let listener = bench.listen("10.0.0.1:80");
        let id = bench.connect(&to(URL));
        let mut server = bench.asked(&listener);
        answer(&mut server, ANSWERS[0]);
        bench.until(|bench| bench.notes.is_open(id));
        server.send(frame(first, payload));
        bench.until(|_| {
            server.pump();
            !server.closes().is_empty()
        });
        assert_eq!(server.closes()[0][..2], code.to_be_bytes());
        server.peer.shutdown();
        bench.until(|bench| bench.notes.is_over(id));
        assert!(matches!(bench.notes.closed(id).unwrap().0.cause, Cause::Violation(_)));
        assert!(bench.service.statistics().held_bytes_most < 18 << 20, "{}", bench.service.statistics());
    }
}
