//! Flow control where messages are compressed: what waits, for whom, and how much of it.

use std::time::Duration;

use sockeye::protocol::Writable;
use sockeye::sim::{Faults, Network};
use sockeye::{Compression, Limits, Service, messages};
use sockeye_testing::server::{Client, Heard};
use sockeye_testing::turns::Turns;
use sockeye_testing::zlib::bomb;

use super::peers::{CHROME, Room, masked};

/// What is published and pushed while a layer says that its own messages wait goes behind them, compressed, and no earlier:
/// in the middle of a compressed message that arrives, and of one that leaves.
#[test]
fn what_is_held_back_within_a_message_waits_and_is_read_rightly() {
    for compression in [Compression::new(), Compression::new().fragments(), Compression::new().level(6).fragments()] {
        let mut room = Room::new(compression, Limits::default());
        let client = room.connect(Some(CHROME));
        let id = room.noted.ids.borrow()[client];
        let text = |number: usize| format!("message {number}, which is like the others, like the others; ").repeat(5);
        // Something to refer to.
        room.service.control().connection(id).unwrap().push(text(0).as_str()).unwrap();
        room.until(|room| room.count(client) == 1);
        // The first piece says that messages wait, the last that they do not.
        room.noted.on_piece.borrow_mut().push_back(Box::new(|cx| cx.hold_back(true)));
        room.noted.on_piece.borrow_mut().push_back(Box::new(|cx| cx.hold_back(false)));
        let [begin, end] = {
            let packer = room.clients[client].packer.as_mut().unwrap();
            [packer.part(text(8).as_bytes(), false), packer.part(text(9).as_bytes(), true)]
        };
        room.frame(client, 0x42, &begin);
        room.until(|room| room.noted.pieces.borrow().len() == 1);
        let first = text(1);
        room.send(client, move |tx| {
            let permission = tx.ahead_of_published().idle();
            let fragments = permission.map(|writable| writable.begin_text(&first));
            assert!(fragments.is_some_and(|fragments| fragments.more().is_some()));
        });
        room.turn_for(Duration::from_millis(10));
        for number in 2..6 {
            if number % 2 == 0 {
                room.service.control().protocol_named(super::peers::NAME).unwrap().publish_text(&text(number));
            } else {
                room.service.control().connection(id).unwrap().push(text(number).as_str()).unwrap();
            }
            room.turn_for(Duration::from_millis(10));
        }
        assert_eq!(room.count(client), 1, "they wait for the end of a message");
        let (last, own) = (text(6), text(7));
        room.send(client, move |tx| {
            let fragments = match tx.ahead_of_published() {
                sockeye::Tx::Mid(sockeye::protocol::Fragmented::Text(fragments)) => fragments,
                other => panic!("{other:?}"),
            };
            let then = fragments.finish(&last).more();
            assert!(then.is_some_and(|writable: Writable<'_>| writable.text(&own).more().is_some()));
        });
        room.turn_for(Duration::from_millis(10));
        let whole =
            |heard: Vec<Vec<u8>>| heard.into_iter().map(|text| String::from_utf8(text).unwrap()).collect::<Vec<_>>();
        assert_eq!(whole(room.heard(client))[1..], [text(1) + &text(6), text(7)]);
        // The message goes on, so nothing waits any more.
        room.frame(client, 0x80, &end);
        room.until(|room| room.count(client) == 7);
        assert_eq!(whole(room.heard(client))[3..], (2..6).map(text).collect::<Vec<_>>());
        assert_eq!((room.failed(client), &room.noted.messages.borrow()[0]), (None, &(text(8) + &text(9)).into_bytes()));
    }
}

/// A peer that does not read what comes back of messages that are a thousand times longer once they are inflated. Reading pauses,
/// in the middle of a message too, and goes on when it reads.
#[test]
fn an_echo_reads_no_more_than_its_peer_takes() {
    const COUNT: usize = 60;
    for buffers in [3000, 200_000] {
        let network = Network::with_faults(1, Faults::none().with_buffers(buffers, buffers));
        // Compression would make the echo short again.
        let builder = Service::builder().compression(Compression::new().threshold_bytes(u32::MAX));
        let mut service =
            builder.protocol(messages::echo("echo")).listen("127.0.0.1:80").build_with(network.sys()).unwrap();
        let mut client = Client::connect(&network, &service.local_addresses()[0], 1).unwrap();
        client.offer(CHROME);
        client.handshake("/", "echo");
        let turns = |service: &mut Service, client: &mut Client, count: usize, reads: bool| {
            for _ in 0..count {
                service.run_once(Some(Duration::ZERO)).unwrap();
                if reads {
                    client.pump(usize::MAX, network.now());
                }
                network.advance(Duration::from_micros(100));
            }
        };
        while !client.is_open() {
            turns(&mut service, &mut client, 1, true);
        }
        let packed = bomb(1 << 20);
        client.peer.as_ref().unwrap().set_window(0);
        client.raw(&masked(0xC2, &packed).repeat(COUNT));
        turns(&mut service, &mut client, 4000, false);
        let steps = service.statistics().work.steps;
        turns(&mut service, &mut client, 1000, false);
        assert!(service.statistics().work.steps <= steps + 2, "it is stepped for nothing");
        let most = service.statistics().held_bytes_most;
        assert!(most < 4 << 20, "{most} bytes were held");
        let inflated = service.statistics().compression.received_plain_bytes;
        assert!(inflated < 6 << 20, "{inflated} bytes were inflated for who does not read");
        client.peer.as_ref().unwrap().set_window(1 << 20);
        for _ in 0..200_000 {
            turns(&mut service, &mut client, 1, true);
            if client.messages().count() == COUNT {
                break;
            }
        }
        assert_eq!(client.messages().count(), COUNT, "{}", service.statistics());
        let is_whole = |heard: &Heard| matches!(heard, Heard::Binary(bytes) if bytes.len() == 1 << 20);
        assert!(client.messages().all(is_whole));
        assert_eq!(service.statistics().compression.received, COUNT as u64);
        assert!(service.statistics().held_bytes_most < 4 << 20);
    }
}
