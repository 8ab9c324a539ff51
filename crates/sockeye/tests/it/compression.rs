//! Compressed messages (permessage-deflate) between a server and clients of the same service.

mod flow;
mod hostile;
mod peers;
mod sending;
mod servers;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::protocol::ProtocolHandle;
use sockeye::sim::{Faults, Network};
use sockeye::statistics::Statistics;
use sockeye::{Close, Compression, ConnId, Connect, Handshake, Limits, Payload, Service};

/// What clients were sent, and how many of them are open.
#[derive(Default)]
struct Log {
    open: Cell<usize>,
    heard: RefCell<Vec<(ConnId, bool, Vec<u8>)>>,
}

struct Caller(Rc<Log>);

impl Handler for Caller {
    type State = ();

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
        self.0.open.set(self.0.open.get() + 1);
    }

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        let heard = (cx.id(), message.as_text().is_some(), message.as_bytes().to_vec());
        self.0.heard.borrow_mut().push(heard);
        Ok(())
    }
}

/// A service that is its own client.
struct Pair {
    service: Service,
    network: Network,
    caller: ProtocolHandle<messages::Messages<Caller>>,
    clients: Vec<ConnId>,
    log: Rc<Log>,
}

impl Pair {
    fn new(clients: usize, server: Compression, client: Compression, faults: Faults, limits: Limits) -> Self {
        let network = Network::with_faults(1, faults);
        let log = Rc::<Log>::default();
        let mut builder = Service::builder().limits(limits).listen("127.0.0.1:80");
        builder.add_protocol(messages::echo("echo").compression(server));
        let caller = builder.add_protocol(messages::with("caller", Caller(Rc::clone(&log))).compression(client));
        let mut service = builder.build_with(network.host().sys()).unwrap();
        let mut ids = Vec::new();
        for _ in 0..clients {
            let connect = Connect::new("ws://127.0.0.1/").unwrap().subprotocol("echo").unwrap();
            ids.push(service.control().protocol(caller).unwrap().connect(connect));
        }
        let mut pair = Self { service, network, caller, clients: ids, log };
        pair.until(|pair| pair.log.open.get() == clients);
        pair
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..200_000 {
            if done(self) {
                return;
            }
            self.service.run_once(Some(Duration::ZERO)).unwrap();
            self.network.advance(Duration::from_micros(100));
        }
        panic!("it takes too long: {}", self.service.statistics());
    }

    fn push(&mut self, client: usize, payload: Payload<'_>) {
        let id = self.clients[client];
        self.service.control().connection(id).unwrap().push(payload).unwrap();
    }

    fn statistics(&self) -> &Statistics {
        self.service.statistics()
    }
}

fn quote(number: u32) -> String {
    let price = number.wrapping_mul(2_654_435_761) % 90_000 + 10_000;
    format!(r#"{{"type":"quote","symbol":"ABC","bid":{price},"ask":{},"sequence":{number},"venue":"XAMS"}}"#, price + 3)
}

/// All ways in which both sides may want it.
fn wishes() -> [Compression; 5] {
    let new = Compression::new();
    [
        new,
        new.history_bytes(0),
        new.history_bytes(32_768).level(6),
        new.history_bytes(256).fragments(),
        new.threshold_bytes(0),
    ]
}

#[test]
fn messages_come_back_compressed_whatever_both_sides_want() {
    for (server, client) in wishes().into_iter().flat_map(|one| wishes().map(|other| (one, other))) {
        for faults in [Faults::none(), Faults::usual()] {
            let mut pair = Pair::new(2, server, client, faults, Limits::default());
            let mut sent = Vec::new();
            for number in 0..60 {
                let text = if number % 7 == 0 { quote(number).repeat(40) } else { quote(number) };
                pair.push(number as usize % 2, Payload::Text(&text));
                sent.push((pair.clients[number as usize % 2], true, text.into_bytes()));
                if number % 3 == 0 {
                    let heard = sent.len();
                    pair.until(|pair| pair.log.heard.borrow().len() == heard);
                }
            }
            pair.until(|pair| pair.log.heard.borrow().len() == sent.len());
            for client in pair.clients.clone() {
                let of = |all: &[(ConnId, bool, Vec<u8>)]| -> Vec<_> {
                    all.iter().filter(|one| one.0 == client).cloned().collect()
                };
                assert_eq!(of(&pair.log.heard.borrow()), of(&sent), "{server:?} {client:?}");
            }
            let compression = &pair.statistics().compression;
            assert!(
                compression.sent >= 18 && compression.received == compression.sent,
                "{compression:?} {server:?} {client:?}"
            );
            assert!(compression.sent_bytes * 2 < compression.sent_plain_bytes, "{compression:?}");
            assert_eq!(compression.sent_bytes, compression.received_bytes);
        }
    }
}

#[test]
fn it_is_off_where_one_side_does_not_want_it() {
    for (server, client) in [(Compression::off(), Compression::new()), (Compression::new(), Compression::off())] {
        let mut pair = Pair::new(1, server, client, Faults::none(), Limits::default());
        pair.push(0, Payload::Text(&quote(1)));
        pair.until(|pair| pair.log.heard.borrow().len() == 1);
        assert_eq!(pair.statistics().compression, Default::default());
    }
}

/// What the loop has for all connections, among it the buffer with the message that was last handed over.
#[test]
fn what_the_loop_has_for_compression_is_counted() {
    // Nothing is kept for a connection, so one compressor serves both sides.
    let new = Compression::new().history_bytes(0);
    let mut pair = Pair::new(1, new, new, Faults::none(), Limits::default());
    let before = pair.statistics().held_bytes;
    pair.push(0, Payload::Text(&quote(1).repeat(3)));
    pair.until(|pair| pair.log.heard.borrow().len() == 1);
    assert_eq!(pair.statistics().compression.received, 2);
    // A compressor, a decompressor, and what it inflates into.
    let (held, codecs) = (pair.statistics().held_bytes - before, (384 + 48 + 64) * 1024);
    assert!((codecs..codecs + 8192).contains(&held), "{held} bytes are held");
}

#[test]
fn a_message_that_is_published_is_compressed_once() {
    let new = Compression::new();
    let mut pair = Pair::new(30, new, new, Faults::none(), Limits::default());
    let mut sent = 0;
    for number in 0..20 {
        pair.service.control().protocol_named("echo").unwrap().publish_text(&quote(number).repeat(9));
        sent += 30;
        pair.until(|pair| pair.log.heard.borrow().len() == sent);
        // Between them each sends and hears something of its own, which refers to what was published.
        pair.push(number as usize % 30, Payload::Text(&quote(number)));
        sent += 1;
        pair.until(|pair| pair.log.heard.borrow().len() == sent);
        let last = pair.log.heard.borrow().last().cloned().unwrap();
        assert_eq!(last.2, quote(number).into_bytes());
    }
    for (index, (_, _, heard)) in pair.log.heard.borrow().iter().enumerate().filter(|(index, _)| index % 31 < 30) {
        assert_eq!(heard, &quote(index as u32 / 31).repeat(9).into_bytes());
    }
    assert_eq!(pair.statistics().compression.deflated, 20);
    let _ = pair.caller;
}
