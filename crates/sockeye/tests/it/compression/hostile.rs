//! Peers that break compression, or wear it out.

use std::time::Duration;

use sockeye::proto::close::{Cause, Timeout};
use sockeye::{CloseCode, Compression, Limits};
use sockeye_testing::server::Heard;
use sockeye_testing::turns::Turns;
use sockeye_testing::zlib::bomb;

use super::peers::{CHROME, FIREFOX, Room, masked, noise};

fn limits(message_bytes: u64) -> Limits {
    let mut limits = Limits::default();
    std::sync::Arc::make_mut(&mut limits.protocol).message_bytes = message_bytes;
    limits
}

/// A message that inflates to a thousand times its length is refused where it exceeds the limit; until then others are served
/// in between, and nothing of it is kept but what the program keeps.
#[test]
fn a_bomb_is_refused_at_the_limit_and_holds_nobody_up() {
    const LIMIT: usize = 8 << 20;
    let packed = bomb(64 << 20);
    assert!(packed.len() < 70_000);
    for frames in [1, 7] {
        let mut room = Room::new(Compression::new(), limits(LIMIT as u64));
        let (hostile, other) = (room.connect(Some(CHROME)), room.connect(Some(FIREFOX)));
        room.noted.echoes.set(true);
        for (index, piece) in packed.chunks(packed.len() / frames + 1).enumerate() {
            let last = u8::from(index + 1 == frames) << 7;
            room.frame(hostile, last | if index == 0 { 0x42 } else { 0 }, piece);
        }
        let id = room.noted.ids.borrow()[hostile];
        let (mut asked, mut most) = (0, 0);
        while room.noted.closed.borrow().is_empty() && room.clients[hostile].end().is_none() {
            let before =
                room.noted.pieces.borrow().iter().filter(|piece| piece.0 == id).map(|piece| piece.1).sum::<usize>();
            if room.count(other) == asked {
                room.clients[other].binary(b"in between");
                asked += 1;
            }
            room.turn();
            room.network.advance(Duration::from_micros(10));
            let after =
                room.noted.pieces.borrow().iter().filter(|piece| piece.0 == id).map(|piece| piece.1).sum::<usize>();
            most = most.max(after - before);
        }
        room.until(|room| room.clients[hostile].end().is_some());
        let inflated: usize =
            room.noted.pieces.borrow().iter().filter(|piece| piece.0 == id).map(|piece| piece.1).sum();
        assert_eq!(room.clients[hostile].close_heard(), Some(Some(1009)));
        assert!(inflated <= LIMIT && inflated > LIMIT - 70_000, "{inflated}");
        assert!(asked > 5, "the other was served {asked} times in {} turns", room.turns);
        // A turn's share, and a piece.
        assert!(most <= Limits::default().turn_bytes + 65_536, "{most} bytes in one turn");
        let held = room.service.statistics().held_bytes_most;
        assert!(held < 800_000, "{held} bytes were held");
    }
}

/// Blocks without content make nothing of everything.
#[test]
fn empty_blocks_cost_their_share_of_a_turn() {
    let blocks = [0, 0, 0, 0xff, 0xff].repeat(1 << 18);
    let mut room = Room::new(Compression::new(), Limits::default());
    let (hostile, other) = (room.connect(Some(CHROME)), room.connect(None));
    room.noted.echoes.set(true);
    room.frame(hostile, 0xC2, &blocks[..blocks.len() - 4]);
    let mut asked = 0;
    while room.noted.messages.borrow().iter().all(|message| !message.is_empty()) {
        if room.count(other) == asked {
            room.clients[other].binary(b"in between");
            asked += 1;
        }
        room.turn();
        room.network.advance(Duration::from_micros(10));
        assert!(room.turns < 10_000, "{}", room.service.statistics());
    }
    assert!(asked > 5, "{asked} in {} turns", room.turns);
    // More of them than a message may have is refused by the header of the frame.
    room.frame(hostile, 0x42, &blocks);
    for _ in 0..20 {
        room.frame(hostile, 0, &blocks);
    }
    room.until(|room| room.clients[hostile].end().is_some());
    assert_eq!(room.clients[hostile].close_heard(), Some(Some(1009)));
}

#[test]
fn what_is_no_deflate_is_refused() {
    let wrong: [(&str, &[u8], u16); 9] = [
        ("a reserved block", &[0x07], 1007),
        ("a stored block with a wrong length", &[0, 5, 0, 5, 0, 1, 2, 3, 4, 5], 1007),
        ("a stored block that is cut", &[0, 5, 0, 0xfa, 0xff, 1, 2], 1007),
        ("a reference before the beginning", &[0x4b, 0x04, 0x12, 0x00], 1007),
        ("codes for more than there are", &[0x04, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1007),
        ("text that is not UTF-8", &[0, 1, 0, 0xfe, 0xff, 0xff, 0], 1007),
        ("noise", &[0xa5, 0x5a, 0x3c, 0xc3, 0x99, 0x66, 0xf0, 0x0f], 1007),
        ("half a tree", &[0x05, 0xc0, 0x81], 1007),
        ("nothing but ones", &[0xff; 30], 1007),
    ];
    for (what, payload, code) in wrong {
        for cut in 0..=payload.len() {
            let mut room = Room::new(Compression::new(), Limits::default());
            let client = room.connect(Some(CHROME));
            room.frame(client, 0x41, &payload[..cut]);
            room.frame(client, 0x80, &payload[cut..]);
            room.until(|room| room.clients[client].end().is_some());
            assert_eq!(room.clients[client].close_heard(), Some(Some(code)), "{what}, cut at {cut}");
            assert!(matches!(room.noted.closed.borrow()[0].cause, Cause::Violation(_)), "{what}");
            room.pass_and_be_empty();
        }
    }
}

#[test]
fn the_bit_is_refused_where_it_does_not_belong() {
    let frames: [(&[&[u8]], Option<&str>); 5] = [
        (&[&[0x42], &[0xC0]], Some(CHROME)),
        (&[&[0x02], &[0xC0]], Some(CHROME)),
        (&[&[0xC9]], Some(CHROME)),
        (&[&[0xC8]], Some(FIREFOX)),
        (&[&[0xC2]], None),
    ];
    for (frames, offer) in frames {
        let mut room = Room::new(Compression::new(), Limits::default());
        let client = room.connect(offer);
        for frame in frames {
            room.frame(client, frame[0], &[]);
        }
        room.until(|room| room.clients[client].end().is_some());
        assert_eq!(room.clients[client].close_heard(), Some(Some(1002)), "{frames:?}");
    }
}

/// A peer that stops inside a message keeps a decompressor, which is counted; those beyond what may be held are ended.
#[test]
fn decompressors_that_are_kept_waiting_are_counted() {
    let mut limits = Limits::default();
    limits.total_bytes = Some(2 << 20);
    let mut room = Room::new(Compression::new(), limits);
    let before = room.held_bytes();
    let first = room.connect(Some(CHROME));
    room.frame(first, 0x42, &[0x4b, 0x04]);
    room.turn_for(Duration::from_millis(50));
    assert!(room.held_bytes() >= before + 48 * 1024, "{}", room.held_bytes());
    for _ in 0..60 {
        let next = room.connect(Some(CHROME));
        room.frame(next, 0x42, &[0x4b, 0x04]);
        room.turn_for(Duration::from_millis(10));
        assert!(room.held_bytes() <= (2 << 20) + 64 * 1024, "{}", room.held_bytes());
    }
    let ended = room.noted.closed.borrow().len();
    assert!((15..60).contains(&ended), "{ended} were ended");
    for client in &mut room.clients {
        client.peer = None;
    }
    room.until(|room| room.service.connections() == 0);
    room.turn_for(Duration::from_secs(200));
    assert_eq!(room.held_bytes(), before);
}

/// What was read is inflated to its end after reading was paused in its middle, though nothing more arrives.
#[test]
fn a_message_is_paused_in_its_middle_and_goes_on() {
    let packed = bomb(1 << 20);
    for at in [1, 2, 5] {
        let mut room = Room::new(Compression::new(), Limits::default());
        let client = room.connect(Some(CHROME));
        for _ in 1..at {
            room.noted.on_piece.borrow_mut().push_back(Box::new(|_| ()));
        }
        room.noted.on_piece.borrow_mut().push_back(Box::new(|cx| cx.pause_reading()));
        room.frame(client, 0xC2, &packed);
        room.clients[client].ping(b"behind");
        room.turn_for(Duration::from_millis(100));
        assert_eq!(room.noted.pieces.borrow().len(), at);
        let steps = room.service.statistics().work.steps;
        room.turn_for(Duration::from_secs(5));
        assert!(room.service.statistics().work.steps <= steps + 2, "a paused connection is stepped for nothing");
        let id = room.noted.ids.borrow()[client];
        room.service.control().connection(id).unwrap().resume_reading();
        room.until(|room| !room.noted.messages.borrow().is_empty());
        assert_eq!(room.noted.messages.borrow()[0].len(), 1 << 20);
        room.until(|room| room.clients[client].heard.contains(&Heard::Pong(b"behind".to_vec())));
    }
}

/// The rest of a message is of no use after a close, and the peer's Close frame behind it is found at once.
#[test]
fn a_close_in_the_middle_of_a_message_ends_at_once() {
    let packed = bomb(4 << 20);
    for at in [1, 2, 30] {
        let mut room = Room::new(Compression::new(), Limits::default());
        let client = room.connect(Some(CHROME));
        for _ in 1..at {
            room.noted.on_piece.borrow_mut().push_back(Box::new(|_| ()));
        }
        room.noted.on_piece.borrow_mut().push_back(Box::new(|cx| cx.close(CloseCode::GOING_AWAY)));
        room.frame(client, 0xC2, &packed);
        let before = room.network.now();
        room.until(|room| !room.noted.closed.borrow().is_empty());
        let closed = room.noted.closed.borrow()[0].clone();
        assert_eq!(closed.cause, Cause::Handshake, "{closed:?}");
        assert!(room.network.now() < before + Duration::from_secs(1));
        assert_eq!(room.noted.pieces.borrow().len(), at);
        assert!(room.turns < 300, "{} turns", room.turns);
        room.pass_and_be_empty();
    }
}

/// The same at every place of a message that has arrived whole.
#[test]
fn a_close_at_any_piece_ends_at_once() {
    let packed = bomb(20_000);
    for at in 1..=20 {
        let mut limits = limits(1 << 20);
        std::sync::Arc::make_mut(&mut limits.protocol).piece_bytes = Some(1000);
        let mut room = Room::new(Compression::new(), limits);
        let client = room.connect(Some(CHROME));
        for _ in 1..at {
            room.noted.on_piece.borrow_mut().push_back(Box::new(|_| ()));
        }
        room.noted.on_piece.borrow_mut().push_back(Box::new(|cx| cx.close(CloseCode::GOING_AWAY)));
        room.frame(client, 0xC2, &packed);
        room.until(|room| !room.noted.closed.borrow().is_empty());
        assert_eq!(room.noted.closed.borrow()[0].cause, Cause::Handshake, "closed at piece {at}");
        assert_eq!(room.noted.pieces.borrow().len(), at);
        assert!(room.turns < 100, "{} turns, closed at piece {at}", room.turns);
    }
}

/// The same where the peer does not answer: nothing is done until the time is up.
#[test]
fn a_close_in_the_middle_waits_without_work() {
    let mut room = Room::new(Compression::new(), Limits::default());
    let client = room.connect(Some(CHROME));
    room.clients[client].answers = false;
    room.noted.on_piece.borrow_mut().push_back(Box::new(|cx| cx.close(CloseCode::GOING_AWAY)));
    room.frame(client, 0xC2, &bomb(4 << 20));
    room.until(|room| !room.noted.closed.borrow().is_empty());
    assert_eq!(room.noted.closed.borrow()[0].cause, Cause::Timeout(Timeout::Close));
    assert!(room.service.statistics().work.steps < 100, "{}", room.service.statistics());
}

/// The end of TCP in the middle of a message.
#[test]
fn an_end_in_the_middle_frees_everything() {
    for (reset, paused) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut room = Room::new(Compression::new(), Limits::default());
        let client = room.connect(Some(CHROME));
        if paused {
            room.noted.on_piece.borrow_mut().push_back(Box::new(|cx| cx.pause_reading()));
        }
        let packed = bomb(1 << 20);
        room.frame(client, 0x42, &packed[..packed.len() - 2]);
        room.turn_for(Duration::from_millis(10));
        if reset {
            room.clients[client].reset()
        } else {
            room.clients[client].shutdown()
        }
        room.turn_for(Duration::from_secs(100));
        if paused && room.noted.closed.borrow().is_empty() {
            let id = room.noted.ids.borrow()[client];
            room.service.control().connection(id).unwrap().resume_reading();
        }
        room.until(|room| room.service.connections() == 0);
        room.pass_and_be_empty();
    }
}

/// Messages that do not become shorter, of all lengths, between ones that do, on several connections in turn.
#[test]
fn messages_that_cannot_be_compressed_harm_none_of_the_others() {
    for compression in [Compression::new(), Compression::new().level(6)] {
        let mut room = Room::new(compression, Limits::default());
        room.noted.echoes.set(true);
        let offers = [CHROME, FIREFOX, "permessage-deflate; server_max_window_bits=9", CHROME, CHROME];
        let clients = offers.map(|offer| room.connect(Some(offer)));
        let mut sent = vec![Vec::new(); clients.len()];
        let mut count = 0;
        for round in 0..12 {
            for client in clients {
                let len = [70, 300, 5000, 66_000, 90_000][(round + client) % 5];
                let mut message = noise(len, (round * 7 + client) as u64);
                match (round + client * 3) % 4 {
                    0 => message.extend_from_slice(&b"the same again, ".repeat(len / 5)),
                    1 => message = b"words and words and more ".repeat(len / 20),
                    // What a flush looks like, at the place where the output may end.
                    2 => message.splice(len - 6..len - 2, [0, 0, 0xff, 0xff]).for_each(|_| ()),
                    _ => message[0] = b'-',
                }
                room.clients[client].binary(&message);
                sent[client].push(message);
                count += 1;
            }
            room.until(|room| clients.iter().map(|client| room.count(*client)).sum::<usize>() == count);
        }
        for client in clients {
            assert_eq!(room.failed(client), None);
            assert!(room.heard(client) == sent[client], "{compression:?}: client {client}");
        }
    }
}

/// Frames that each hold one byte of a compressed message.
#[test]
fn a_message_byte_by_byte_comes_whole() {
    let mut room = Room::new(Compression::new(), Limits::default());
    let client = room.connect(Some(CHROME));
    let text = "héllo wörld, ".repeat(9);
    for number in 0..3 {
        let packed = room.clients[client].packer.as_mut().unwrap().message(text.as_bytes());
        let wire: Vec<u8> = packed
            .iter()
            .enumerate()
            .flat_map(|(at, byte)| {
                let first = if at == 0 { 0x41 } else { 0 } | if at + 1 == packed.len() { 0x80 } else { 0 };
                [masked(first, &[*byte]), masked(0x89, b"between")].concat()
            })
            .collect();
        for byte in wire {
            room.clients[client].raw(&[byte]);
            room.turn();
        }
        room.until(|room| room.noted.messages.borrow().len() == number + 1);
        assert_eq!(room.noted.messages.borrow()[number], text.as_bytes());
    }
}

impl Room {
    /// After some time without peers nothing is held.
    fn pass_and_be_empty(&mut self) {
        self.clients.iter_mut().for_each(|client| client.peer = None);
        self.until(|room| room.service.connections() == 0);
        self.turn_for(Duration::from_secs(200));
        assert_eq!(self.held_bytes(), 0, "{}", self.service.statistics());
        assert_eq!(self.host.open_handles(), 1);
    }
}
