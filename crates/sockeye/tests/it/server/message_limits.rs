//! The largest message of a protocol, and of a connection after its login.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::proto::conn::ControlPayload;
use sockeye::protocol::{Cx, Handshake, MessageLimits, Protocol, Tx};
use sockeye::sim::{Faults, Network, Peer, Turn};
use sockeye::{Close, CloseCode, ConnId, Fragment, Limits, Service, messages};
use sockeye_testing::server::upgrade;

/// A text of this length, masked with zeros.
fn text(len: u16) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 126];
    if len < 126 {
        frame = vec![0x81, 0x80 | len as u8];
    } else {
        frame.extend(len.to_be_bytes());
    }
    frame.extend([0; 4]);
    frame.resize(frame.len() + usize::from(len), b'x');
    frame
}

fn login() -> Vec<u8> {
    [&[0x81, 0x85, 0, 0, 0, 0][..], b"login"].concat()
}

struct Site {
    network: Network,
    service: Service,
    /// The connections that sent a message.
    ids: Rc<RefCell<Vec<ConnId>>>,
}

impl Site {
    fn new() -> Self {
        let network = Network::with_faults(1, Faults::none());
        // Says how long a message is.
        let ids: Rc<RefCell<Vec<ConnId>>> = Rc::default();
        let seen = Rc::clone(&ids);
        let length = move |cx: &mut messages::MessageCx<'_, '_>, message: messages::Message<'_>| {
            if message.as_text() == Some("login") {
                cx.set_message_bytes(1000).map_err(|_| CloseCode::INTERNAL)?;
            }
            seen.borrow_mut().push(cx.id());
            let said = format!("{} of {};", message.as_bytes().len(), cx.message_bytes());
            cx.push(said).map_err(|_| CloseCode::TRY_AGAIN.into())
        };
        let short = messages::on("short", length.clone()).message_bytes(200);
        let long = messages::on("long", length);
        let builder = Service::builder().protocol(short).protocol(long).listen("127.0.0.1:80");
        let service = builder.build_with(network.sys()).unwrap();
        Self { network, service, ids }
    }

    fn open(&mut self, protocol: &str) -> Peer {
        let peer = self.network.connect(&self.service.local_addresses()[0]).unwrap();
        peer.send(&upgrade(&format!("Sec-WebSocket-Protocol: {protocol}\r\n")));
        self.turns();
        assert!(peer.recv().starts_with(b"HTTP/1.1 101 "));
        peer
    }

    fn turns(&mut self) {
        let until = self.network.now() + Duration::from_secs(1);
        let (network, service) = (&self.network, &mut self.service);
        network.run(|| {
            service.run_once(Some(Duration::ZERO)).unwrap();
            if network.now() >= until { Turn::Done } else { Turn::Sleep(Some(until)) }
        });
    }

    /// The texts that come back, or the code of the close.
    fn answer(&mut self, peer: &Peer, input: &[u8]) -> String {
        peer.send(input);
        self.turns();
        let bytes = peer.recv();
        match bytes[..] {
            [0x88, _, high, low, ..] => format!("closed with {}", u16::from_be_bytes([high, low])),
            _ => bytes.iter().filter(|byte| (b' '..0x7f).contains(*byte)).map(|&byte| char::from(byte)).collect(),
        }
    }
}

#[test]
fn a_protocol_has_a_limit_of_its_own() {
    let mut site = Site::new();
    let (short, long) = (site.open("short"), site.open("long"));
    assert_eq!(site.answer(&short, &text(200)), "200 of 200;");
    assert_eq!(site.answer(&short, &text(201)), "closed with 1009");
    assert_eq!(site.answer(&long, &text(60_000)), "60000 of 16777216;");
}

#[test]
fn a_connection_has_a_limit_of_its_own_from_its_next_frame_on() {
    let mut site = Site::new();
    let (peer, other) = (site.open("short"), site.open("short"));
    // The long message is in the same read as what allows it.
    let input = [login(), text(1000), text(1000)].concat();
    assert_eq!(site.answer(&peer, &input), "5 of 200;1000 of 1000;1000 of 1000;");
    assert_eq!(site.answer(&other, &text(201)), "closed with 1009");
    // Halfway through a message that becomes too long.
    let mut half = vec![0x01, 0x80 | 50, 0, 0, 0, 0];
    half.resize(56, b'x');
    assert_eq!(site.answer(&peer, &half), "");
    site.ids.borrow().iter().for_each(|&id| {
        if let Ok(mut connection) = site.service.control().connection(id) {
            connection.set_message_bytes(10).unwrap();
        }
    });
    assert_eq!(site.answer(&peer, &[0x80, 0x80, 0, 0, 0, 0]), "50 of 10;");
    assert_eq!(site.answer(&peer, &text(11)), "closed with 1009");
}

#[test]
fn a_limit_out_of_range_is_refused() {
    let short = messages::echo("echo").message_bytes(0);
    let error = Service::builder().protocol(short).build().unwrap_err();
    assert_eq!(error.to_string(), "ProtocolLimits::message_bytes is 0 bytes, and the least is 1 byte");
}

/// Answers with the lengths of the pieces that it is given.
struct Pieces(Option<usize>);

impl Protocol for Pieces {
    type Session = String;

    fn name(&self) -> &str {
        "pieces"
    }

    fn limits(&self) -> MessageLimits {
        let mut limits = MessageLimits::default();
        limits.piece_bytes = self.0;
        limits
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) -> String {
        String::new()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, lengths: &mut String, fragment: Fragment<'_>) -> Result<(), Close> {
        lengths.push_str(&format!("{} ", fragment.payload.as_bytes().len()));
        if fragment.last {
            cx.push(std::mem::take(lengths).as_str()).map_err(|_| CloseCode::TRY_AGAIN)?;
        }
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, _: &mut String, _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }
}

#[test]
fn a_protocol_receives_pieces_that_are_no_longer_than_it_asks_for() {
    // What is asked for, by the protocol and for the service, and the pieces of 10 bytes.
    for (own, service, expected) in [
        (None, None, "10 "),
        (Some(4), None, "4 4 2 "),
        (None, Some(6), "6 4 "),
        (Some(9), Some(6), "9 1 "),
        (Some(1 << 30), Some(6), "10 "),
    ] {
        let network = Network::with_faults(1, Faults::none());
        let mut limits = Limits::default();
        limits.protocol_mut().piece_bytes = service;
        let builder = Service::builder().limits(limits).protocol(Pieces(own)).listen("127.0.0.1:80");
        let mut service = builder.build_with(network.sys()).unwrap();
        let peer = network.connect(&service.local_addresses()[0]).unwrap();
        peer.send(&[upgrade("Sec-WebSocket-Protocol: pieces\r\n"), text(10), text(10)].concat());
        for _ in 0..10 {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
        let said = peer.recv();
        let said = &said[said.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4..];
        let frame = [&[0x81, expected.len() as u8][..], expected.as_bytes()].concat();
        assert_eq!(said, [&frame[..], &frame[..]].concat(), "{own:?}, {expected}");
    }
    // Shorter ones could not hold every code point.
    for wrong in [0, 3, (1 << 30) + 1] {
        let network = Network::with_faults(1, Faults::none());
        let error = Service::builder().protocol(Pieces(Some(wrong))).build_with(network.sys()).unwrap_err();
        assert_eq!(error.as_limit().unwrap().name(), "ProtocolLimits::piece_bytes");
    }
}

/// Notes what a connection may receive when a ping is due, beside what its protocol says.
struct Told {
    own: u64,
    ids: Rc<RefCell<Vec<ConnId>>>,
    told: Rc<RefCell<Vec<(u64, u64)>>>,
}

impl Protocol for Told {
    type Session = ();

    fn name(&self) -> &'static str {
        if self.own == 100 { "short" } else { "long" }
    }

    fn limits(&self) -> MessageLimits {
        let mut limits = MessageLimits::default();
        limits.message_bytes = Some(self.own);
        limits
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) {
        self.ids.borrow_mut().push(cx.id());
    }

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn ping_due(&mut self, cx: &mut Cx<'_>, (): &mut ()) -> Option<ControlPayload> {
        self.told.borrow_mut().push((self.own, cx.message_bytes()));
        None
    }
}

/// The last step was that of another connection.
#[test]
fn the_limit_of_the_connection_is_known_outside_of_its_steps() {
    let network = Network::with_faults(1, Faults::none());
    let (ids, told) = (Rc::default(), Rc::default());
    let of = |own| Told { own, ids: Rc::clone(&ids), told: Rc::clone(&told) };
    let mut builder = Service::builder().protocol(of(5000)).listen("127.0.0.1:80");
    let short = builder.add_protocol(of(100));
    let service = builder.build_with(network.sys()).unwrap();
    let mut site = Site { network, service, ids: Rc::clone(&ids) };
    let _peers = ["short", "long"].map(|protocol| site.open(protocol));
    let id = ids.borrow()[0];
    let seen = site.service.control().with_session(short, id, |_, cx, ()| cx.message_bytes());
    assert_eq!(seen, Ok(100));
    (0..60).for_each(|_| site.turns());
    let told = told.borrow();
    assert!(told.len() >= 2 && told.iter().all(|(own, seen)| own == seen), "{told:?}");
}
