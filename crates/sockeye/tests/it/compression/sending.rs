//! What a service sends compressed: in order, whatever waits for what, and what it keeps for that.

use std::time::Duration;

use sockeye::proto::wire::MessageKind;
use sockeye::{Compression, Limits, Payload};
use sockeye_testing::rng::Rng;
use sockeye_testing::server::Heard;
use sockeye_testing::turns::Turns;

use super::peers::{CHROME, FIREFOX, NAME, Room, noise};

/// Many lines, of which those of one number are alike.
fn lines(number: usize) -> String {
    format!("line {number} and the rest of it; ").repeat(number % 9 + 3)
}

/// What is sent to several clients in all ways, and what each of them is to hear.
struct Order {
    room: Room,
    sent: Vec<Vec<Vec<u8>>>,
    /// A message of which parts were sent: whose, what it has, and what goes behind it.
    open: Option<(usize, Vec<u8>, Vec<Vec<u8>>)>,
}

impl Order {
    fn note(&mut self, client: usize, message: Vec<u8>) {
        match &mut self.open {
            Some((fragmented, _, behind)) if *fragmented == client => behind.push(message),
            _ => self.sent[client].push(message),
        }
    }

    fn publish(&mut self, text: &str) {
        self.room.service.control().protocol_named(NAME).unwrap().publish_text(text);
        (0..self.sent.len()).for_each(|client| self.note(client, text.as_bytes().to_vec()));
    }

    fn push(&mut self, client: usize, text: &str) {
        let id = self.room.noted.ids.borrow()[client];
        self.room.service.control().connection(id).unwrap().push(Payload::Text(text)).unwrap();
        self.note(client, text.as_bytes().to_vec());
    }

    fn begin(&mut self, client: usize, first: Vec<u8>) {
        let piece = first.clone();
        self.room.send(client, move |tx| _ = tx.idle().unwrap().begin_binary(&piece));
        self.room.until(|room| room.noted.sends.borrow().is_empty());
        self.open = Some((client, first, Vec::new()));
    }

    fn finish(&mut self, last: Vec<u8>) {
        let Some((client, mut message, behind)) = self.open.take() else { return };
        message.extend_from_slice(&last);
        self.room.send(client, move |tx| match tx {
            sockeye::Tx::Mid(sockeye::protocol::Fragmented::Binary(rest)) => _ = rest.finish(&last),
            other => panic!("{other:?}"),
        });
        self.room.until(|room| room.noted.sends.borrow().is_empty());
        self.sent[client].push(message);
        self.sent[client].extend(behind);
    }

    /// Something, by chance.
    fn act(&mut self, rng: &mut Rng, number: usize) {
        let (text, client) = (lines(number), rng.of(0..self.sent.len()));
        let part = if rng.percent(30) { Vec::new() } else { text.clone().into_bytes() };
        let is_deaf = self.room.deaf.contains(&client);
        let is_open = self.open.as_ref().is_some_and(|(fragmented, ..)| *fragmented == client);
        match rng.of(0..10) {
            0..=3 => self.publish(&text),
            4..=6 => self.push(client, &text),
            7 if self.open.is_none() && !is_deaf => self.begin(client, part),
            7 | 8 => self.finish(part),
            _ if is_deaf => self.room.deaf.retain(|deaf| *deaf != client),
            _ if !is_open => self.room.deaf.push(client),
            _ => {}
        }
        if rng.percent(40) {
            self.room.turn_for(Duration::from_micros(rng.of(0..3000) as u64));
        }
    }
}

/// What is published, pushed and sent in fragments comes in the order of the calls, to readers that are slow or not there.
#[test]
fn published_pushed_and_own_messages_keep_their_order() {
    let settings = [
        Compression::new(),
        Compression::new().fragments(),
        Compression::new().history_bytes(0).fragments(),
        Compression::new().history_bytes(32_768).level(6).fragments(),
    ];
    for (seed, compression) in settings.into_iter().cycle().take(12).enumerate() {
        let mut rng = Rng::new(seed as u64);
        let mut room = Room::new(compression, Limits::default());
        let offers =
            [Some(CHROME), None, Some(FIREFOX), Some("permessage-deflate; server_max_window_bits=8"), Some(CHROME)];
        let clients = offers.map(|offer| room.connect(offer));
        let mut order = Order { room, sent: vec![Vec::new(); clients.len()], open: None };
        (0..150).for_each(|number| order.act(&mut rng, number));
        order.finish(Vec::new());
        order.room.deaf.clear();
        order.room.turn_for(Duration::from_secs(1));
        for client in clients {
            assert_eq!(order.room.failed(client), None, "seed {seed}, client {client}");
            let (heard, sent) = (order.room.heard(client), &order.sent[client]);
            let wrong = heard.iter().zip(sent).position(|(heard, sent)| heard != sent);
            assert_eq!((wrong, heard.len()), (None, sent.len()), "seed {seed}, client {client}");
        }
    }
}

/// A reader that takes nothing for some time: what waits for it is compressed when it is put, and comes in order.
#[test]
fn a_slow_reader_hears_everything_in_order() {
    let mut room = Room::with(sockeye::sim::Faults::none().with_buffers(2000, 2000), Limits::default(), |builder| {
        builder.compression(Compression::new())
    });
    let (slow, quick) = (room.connect(Some(CHROME)), room.connect(Some(FIREFOX)));
    room.deaf.push(slow);
    for number in 0..300 {
        let mut message = noise(100 + number, number as u64);
        message.extend_from_slice(lines(number).as_bytes());
        room.service.control().protocol_named(NAME).unwrap().publish_binary(&message);
        let id = room.noted.ids.borrow()[slow];
        room.service.control().connection(id).unwrap().push(Payload::Text(&lines(number))).unwrap();
        room.turn_for(Duration::from_micros(50));
    }
    room.until(|room| room.count(quick) == 300);
    room.deaf.clear();
    room.until(|room| room.count(slow) == 600);
    let heard = room.heard(slow);
    for number in 0..300 {
        assert!(heard[2 * number].ends_with(lines(number).as_bytes()));
        assert_eq!(heard[2 * number + 1], lines(number).as_bytes());
    }
    assert_eq!((room.failed(slow), room.failed(quick)), (None, None));
}

/// What was sent is forgotten after half a minute of silence, and what comes after that is understood.
#[test]
fn the_history_of_what_was_sent_is_forgotten_after_a_silence() {
    for is_published in [false, true] {
        let mut limits = Limits::default();
        std::sync::Arc::make_mut(&mut limits.protocol).ping_after = None;
        let mut room = Room::new(Compression::new(), limits);
        let clients = [CHROME, FIREFOX].map(|offer| room.connect(Some(offer)));
        let send = |room: &mut Room, number: usize| {
            let text = lines(number);
            if is_published {
                room.service.control().protocol_named(NAME).unwrap().publish_text(&text);
            } else {
                for client in clients {
                    let text = text.clone();
                    room.send(client, move |tx| _ = tx.idle().unwrap().text(&text));
                }
            }
            room.turn_for(Duration::from_millis(10));
        };
        for number in 0..20 {
            send(&mut room, number);
        }
        let held = room.held_bytes();
        assert!(held > 4096, "{held}");
        // What was published is kept once, and for as long as the compressors.
        let forgotten = if is_published { 1 } else { 4096 };
        room.turn_for(Duration::from_secs(25));
        assert_eq!(room.held_bytes(), held, "published: {is_published}");
        room.turn_for(Duration::from_secs(6));
        assert!(room.held_bytes() <= held - forgotten, "{} of {held}, published: {is_published}", room.held_bytes());
        room.turn_for(Duration::from_secs(60));
        send(&mut room, 7);
        room.turn_for(Duration::from_secs(1));
        // The first message after a silence is remembered as any other.
        let kept = room.held_bytes();
        room.turn_for(Duration::from_secs(20));
        assert_eq!(room.held_bytes(), kept);
        send(&mut room, 7);
        for client in clients {
            assert_eq!((room.failed(client), room.count(client)), (None, 22));
            let plain = room.clients[client].plain.as_ref().unwrap();
            assert_eq!(plain.packed, 22);
        }
        room.turn_for(Duration::from_secs(200));
        assert_eq!(room.held_bytes(), 0, "published: {is_published}");
    }
}

/// When our history is forgotten, that of the peer is moved, and is what it was. Nothing but time is needed for that, nor for the
/// compressors to go.
#[test]
fn the_history_of_a_peer_outlives_our_own() {
    let mut limits = Limits::default();
    std::sync::Arc::make_mut(&mut limits.protocol).ping_after = None;
    let mut room = Room::new(Compression::new(), limits);
    room.noted.echoes.set(true);
    let clients: Vec<usize> = (0..600).map(|_| room.connect(Some(CHROME))).collect();
    let mut round = |count: usize| {
        for &client in &clients {
            (0..count).for_each(|number| room.clients[client].binary(hex((client + number) as u64).as_bytes()));
            let heard = room.count(client);
            room.until(|room| room.count(client) == heard + count);
        }
        let held = room.held_bytes();
        room.turn_for(Duration::from_secs(28));
        assert_eq!(room.held_bytes(), held);
        room.turn_for(Duration::from_secs(4));
        let forgotten = held - room.held_bytes();
        assert!((600 * 2048..600 * 2300).contains(&forgotten), "{forgotten}");
        forgotten
    };
    // The messages of the second round refer to those of the first.
    round(4);
    round(1);
    room.turn_for(Duration::from_secs(60));
    let held = room.held_bytes();
    assert!((600 * 2048..600 * 2700).contains(&held), "{held}");
    assert!(clients.iter().all(|client| room.failed(*client).is_none() && room.count(*client) == 5));
}

/// Text whose second half is like the first, which becomes short only by what was sent before.
fn hex(number: u64) -> String {
    noise(200, number).iter().map(|byte| format!("{byte:02x}")).collect::<String>().repeat(2)
}

/// The bytes that are held now and were not, without those of compressors.
fn more_held(room: &Room, before: u64) -> u64 {
    (room.held_bytes() - before) % (384 * 1024)
}

/// What is published is compressed once and kept once, and is in the history of each that was sent it when it sends something
/// of its own.
#[test]
fn what_is_published_is_kept_once_until_a_connection_needs_it() {
    let mut room = Room::new(Compression::new(), Limits::default());
    let publish = |room: &mut Room, number: u64| {
        room.service.control().protocol_named(NAME).unwrap().publish_text(&hex(number));
        room.turn_for(Duration::from_millis(1));
    };
    let push = |room: &mut Room, client: usize, text: &str| -> u64 {
        let id = room.noted.ids.borrow()[client];
        let before = room.service.statistics().compression.sent_bytes;
        let count = room.count(client);
        room.service.control().connection(id).unwrap().push(Payload::Text(text)).unwrap();
        room.until(|room| room.count(client) > count);
        assert_eq!(room.heard(client).last().unwrap(), text.as_bytes());
        room.service.statistics().compression.sent_bytes - before
    };
    let mut clients: Vec<usize> = (0..40).map(|number| room.connect(Some([CHROME, FIREFOX][number % 2]))).collect();
    publish(&mut room, 0);
    let held = room.held_bytes();
    for number in 1..50 {
        publish(&mut room, number);
    }
    let statistics = room.service.statistics();
    assert_eq!((statistics.compression.deflated, statistics.compression.sent), (50, 50 * 40));
    // Neither one message more nor many are anything more for a connection.
    assert_eq!(room.held_bytes(), held);
    // One that came later was sent the last of them only.
    clients.push(room.connect(Some(CHROME)));
    publish(&mut room, 50);
    for &client in &clients {
        // Two messages of 800 bytes, the last of which begins where the history does.
        assert!(push(&mut room, client, &hex(50)) < 100, "client {client}");
        let is_new = client == 40;
        assert_eq!(push(&mut room, client, &hex(49)) > 300, is_new, "client {client}");
    }
    // A history each, and no more.
    let more = more_held(&room, held);
    assert!((40 * 2048..41 * 2500).contains(&more), "{more}");
    // Published between what they send themselves.
    for number in 51..60 {
        publish(&mut room, number);
        assert!(push(&mut room, number as usize % 41, &hex(number)) < 100);
        assert!(push(&mut room, (number as usize + 1) % 41, &hex(number - 1)) < 500);
    }
    assert_eq!(room.service.statistics().compression.deflated, 60);
    for client in clients {
        assert_eq!(room.failed(client), None);
    }
}

/// A message for one connection alone, which is kept until the end of its own, does not part the others from what they were sent.
#[test]
fn what_waits_for_one_connection_costs_the_others_nothing() {
    let mut room = Room::new(Compression::new(), Limits::default());
    let clients: Vec<usize> = (0..10).map(|_| room.connect(Some(CHROME))).collect();
    let publish = |room: &mut Room, number: u64| {
        room.service.control().protocol_named(NAME).unwrap().publish_text(&hex(number));
        room.turn_for(Duration::from_millis(1));
    };
    publish(&mut room, 0);
    let held = room.held_bytes();
    for number in 1..5 {
        room.send(0, |tx| _ = tx.idle().unwrap().begin_text("a part of a message"));
        room.until(|room| room.noted.sends.borrow().is_empty());
        let id = room.noted.ids.borrow()[0];
        room.service.control().connection(id).unwrap().push(Payload::Text(&hex(100 + number))).unwrap();
        publish(&mut room, number);
        room.send(0, |tx| match tx {
            sockeye::Tx::Mid(sockeye::protocol::Fragmented::Text(rest)) => _ = rest.finish("the rest"),
            other => panic!("{other:?}"),
        });
        room.until(|room| room.count(0) == 3 * number as usize + 1);
    }
    // The one has a history now.
    let more = more_held(&room, held);
    assert!(more < 2 * 2500, "{more}");
    for client in clients {
        let count = if client == 0 { 13 } else { 5 };
        assert_eq!((room.failed(client), room.count(client)), (None, count), "client {client}");
    }
}

/// Without takeover nothing is kept once a message is over.
#[test]
fn without_takeover_nothing_is_kept() {
    let mut room = Room::new(Compression::new().history_bytes(0), Limits::default());
    room.noted.echoes.set(true);
    let clients: Vec<usize> = (0..10).map(|number| room.connect(Some([CHROME, FIREFOX][number % 2]))).collect();
    for &client in &clients {
        room.clients[client].binary(lines(8).as_bytes());
        room.until(|room| room.count(client) == 1);
    }
    room.service.control().protocol_named(NAME).unwrap().publish_text(&lines(8));
    room.until(|room| clients.iter().all(|client| room.count(*client) == 2));
    // The machines of the loop, and nothing for the connections.
    let held = room.held_bytes();
    for &client in &clients {
        room.clients[client].peer = None;
    }
    room.until(|room| room.service.connections() == 0);
    assert_eq!(room.held_bytes(), held);
    let other = room.connect(None);
    room.turn_for(Duration::from_secs(100));
    room.clients[other].binary(b"a turn");
    room.turn_for(Duration::from_secs(1));
    assert_eq!(room.held_bytes(), 0);
}

#[test]
fn a_message_goes_as_it_is_if_that_is_asked_for() {
    let mut room = Room::new(Compression::new(), Limits::default());
    room.noted.echoes.set(true);
    let client = room.connect(Some(CHROME));
    for (number, start) in ["-", "x", "-", "-", "x", "x"].into_iter().enumerate() {
        room.clients[client].binary(format!("{start}{}", lines(8)).as_bytes());
        room.until(|room| room.count(client) == number + 1);
    }
    assert_eq!(room.failed(client), None);
    assert_eq!(room.clients[client].plain.as_ref().unwrap().packed, 3);
    // All parts of a fragmented message, and the next message not.
    room.send(client, |tx| _ = tx.idle().unwrap().uncompressed().begin_text("some text, some text, some text, "));
    room.send(client, |tx| match tx {
        sockeye::Tx::Mid(sockeye::protocol::Fragmented::Text(rest)) => _ = rest.finish(&"some text, ".repeat(9)),
        other => panic!("{other:?}"),
    });
    room.send(client, |tx| _ = tx.idle().unwrap().text(&lines(8)));
    room.until(|room| room.count(client) == 8);
    assert_eq!(room.clients[client].plain.as_ref().unwrap().packed, 4);
}

/// Safari 15.0 to 15.3 offers what it does not read.
#[test]
fn some_browsers_are_answered_without_compression() {
    let agent = |version: &str| {
        format!(
            "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/{version} Safari/605.1.15\r\n"
        )
    };
    let lines = [
        (agent("15.0"), false),
        (agent("15.1"), false),
        (agent("15.2.1"), false),
        (agent("15.3 Mobile/15E148"), false),
        (agent("15.4"), true),
        (agent("15.10"), true),
        (agent("15.30"), true),
        (agent("16.0"), true),
        (agent("14.1.2"), true),
        ("User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n".to_owned(), true),
        (String::new(), true),
    ];
    for (line, is_compressed) in lines {
        let mut room = Room::new(Compression::new(), Limits::default());
        room.connect_with(Some(FIREFOX), &line);
        assert_eq!(room.noted.agreed.borrow()[..], [is_compressed], "{line}");
        assert_eq!(room.clients[0].plain.is_some(), is_compressed, "{line}");
    }
}

/// Pings, pongs and keepalive between the frames of compressed messages.
#[test]
fn control_frames_come_between_compressed_ones() {
    let mut limits = Limits::default();
    let own = std::sync::Arc::make_mut(&mut limits.protocol);
    (own.ping_after, own.pong_within) = (Some(Duration::from_secs(1)), Duration::from_secs(1));
    let mut room = Room::new(Compression::new().fragments(), limits);
    room.noted.echoes.set(true);
    let client = room.connect(Some(CHROME));
    for number in 0..6 {
        let text = lines(number + 3);
        let (one, other) = text.as_bytes().split_at(text.len() / 2);
        room.clients[client].frame(Some(MessageKind::Binary), false, one);
        room.clients[client].ping(b"between");
        room.turn_for(Duration::from_secs(3));
        room.clients[client].frame(None, true, other);
        room.until(|room| room.count(client) == number + 1);
        assert_eq!(room.noted.messages.borrow()[number], text.as_bytes());
    }
    assert!(room.clients[client].heard.iter().filter(|heard| matches!(heard, Heard::Ping(_))).count() >= 6);
    assert_eq!(room.failed(client), None);
    // In the middle of a message it is silent, and that is noticed.
    room.clients[client].frame(Some(MessageKind::Binary), false, b"the beginning");
    room.clients[client].answers = false;
    room.until(|room| !room.noted.closed.borrow().is_empty());
    room.until(|room| room.service.connections() == 0);
}

/// More windows than there may be compressors, in turn.
#[test]
fn all_windows_at_once_are_served() {
    let mut room = Room::new(Compression::new(), Limits::default());
    room.noted.echoes.set(true);
    let clients: Vec<usize> = (8..=15)
        .map(|bits| room.connect(Some(&format!("permessage-deflate; server_max_window_bits={bits}"))))
        .collect();
    for round in 0..6 {
        for &client in &clients {
            room.clients[client].binary([lines(round), lines(8).repeat(20)].concat().as_bytes());
        }
        room.until(|room| clients.iter().all(|client| room.count(*client) == 2 * round + 1));
        room.service.control().protocol_named(NAME).unwrap().publish_text(&lines(round));
        room.until(|room| clients.iter().all(|client| room.count(*client) == 2 * round + 2));
    }
    for client in clients {
        assert_eq!(room.failed(client), None);
        assert_eq!(room.clients[client].plain.as_ref().unwrap().packed, 12);
    }
    assert_eq!(room.service.statistics().compression.deflated, 48);
}

/// A drain with compressed output that waits: it leaves, and the Close frame behind it.
#[test]
fn a_drain_waits_for_compressed_output() {
    let mut room = Room::with(sockeye::sim::Faults::none().with_buffers(1000, 1000), Limits::default(), |builder| {
        builder.compression(Compression::new())
    });
    let client = room.connect(Some(CHROME));
    room.deaf.push(client);
    for number in 0..40 {
        let text = [lines(number), String::from_utf8_lossy(&noise(400, number as u64)).into_owned()].concat();
        room.service.control().protocol_named(NAME).unwrap().publish_text(&text);
        room.turn_for(Duration::from_millis(1));
    }
    room.service.drain();
    room.turn_for(Duration::from_millis(1));
    room.deaf.clear();
    room.until(|room| room.clients[client].close_heard().is_some());
    assert_eq!((room.failed(client), room.count(client)), (None, 40));
    assert_eq!(room.clients[client].close_heard(), Some(Some(1001)));
}

/// The limit that a callback sets counts inflated bytes, and so do pieces.
#[test]
fn limits_count_inflated_bytes() {
    let mut limits = Limits::default();
    let own = std::sync::Arc::make_mut(&mut limits.protocol);
    (own.message_bytes, own.piece_bytes) = (10_000, Some(777));
    for (bytes, lowered, code) in
        [(10_000, None, None), (10_001, None, Some(1009)), (5001, Some(5000), Some(1009)), (5000, Some(5000), None)]
    {
        for frames in [1, 3, 50] {
            let mut room = Room::new(Compression::new(), limits.clone());
            let client = room.connect(Some(CHROME));
            if let Some(lowered) = lowered {
                let id = room.noted.ids.borrow()[client];
                room.service.control().connection(id).unwrap().set_message_bytes(lowered).unwrap();
                room.turn_for(Duration::from_millis(1));
            }
            room.clients[client].message(MessageKind::Binary, &vec![b'a'; bytes], frames);
            room.turn_for(Duration::from_millis(50));
            assert_eq!(room.clients[client].close_heard().flatten(), code, "{bytes} in {frames}");
            assert_eq!(room.noted.messages.borrow().len(), usize::from(code.is_none()), "{bytes} in {frames}");
            assert!(room.noted.pieces.borrow().iter().all(|piece| piece.1 <= 777));
        }
    }
}
