//! Long frames of binary data, whose rest is received where the message is collected.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::messages;
use sockeye::proto::close::Cause;
use sockeye::sim::{Faults, Host, Network, Peer};
use sockeye::{Close, CloseCode, Closed, ClosedCx, Cx, Fragment, Handshake, Limits, Payload, Protocol, Service, Tx};
use sockeye_testing::server::machine::pattern;
use sockeye_testing::server::{Bench, Heard, upgrade};

const KIB: usize = 1024;

#[test]
fn long_frames_arrive_whole_however_they_are_cut() {
    for seed in sockeye::sim::seeds(6) {
        let faults = if seed % 2 == 0 { Faults::usual() } else { Faults::none().with_segment(1 + seed as usize * 997) };
        let mut bench = match seed % 3 {
            0 => Bench::scrambled(faults, Limits::default(), seed),
            _ => Bench::with(faults, Limits::default()),
        };
        let client = bench.open_echo();
        let lengths = [72 * KIB, 64 * KIB + 15, 200_001 + seed as usize];
        for (number, &length) in lengths.iter().enumerate() {
            let payload = pattern(length);
            // One frame, a few, and frames that are long in part.
            bench.clients[client].frame(Some(sockeye::proto::wire::MessageKind::Binary), false, &payload[..length / 9]);
            bench.clients[client].ping(b"between");
            bench.clients[client].frame(None, true, &payload[length / 9..]);
            bench.clients[client].text("behind");
            bench.clients[client].binary(&payload);
            bench.until(|bench| bench.count(client, |heard| matches!(heard, Heard::Binary(_))) == 2 * number + 2);
        }
        bench.until(|bench| bench.count(client, |heard| matches!(heard, Heard::Text(_))) == lengths.len());
        let binary: Vec<_> =
            bench.clients[client].messages().filter(|heard| matches!(heard, Heard::Binary(_))).collect();
        for (number, &length) in lengths.iter().enumerate() {
            assert_eq!(binary[2 * number..][..2], [&Heard::Binary(pattern(length)); 2], "{length} bytes, seed {seed}");
        }
        bench.close(client);
        bench.finish();
    }
}

/// A server and one peer with room for everything.
struct Site {
    network: Network,
    host: Host,
    service: Service,
    peer: Peer,
}

impl Site {
    fn new(protocol: impl Protocol, limits: Limits) -> Self {
        let network = Network::with_faults(1, Faults::none().with_buffers(8 << 20, 8 << 20));
        let host = network.host();
        let builder = Service::builder().limits(limits).protocol(protocol).listen("127.0.0.1:80");
        let mut service = builder.build_with(host.sys()).unwrap();
        let peer = network.connect(&service.local_addresses()[0]).unwrap();
        peer.send(&upgrade(""));
        for _ in 0..3 {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
        assert!(peer.recv().starts_with(b"HTTP/1.1 101 "));
        Self { network, host, service, peer }
    }

    /// Sends, and takes so many turns.
    fn send(&mut self, bytes: &[u8], turns: usize) {
        self.peer.send(bytes);
        self.network.advance(Duration::from_millis(1));
        self.turns(turns);
    }

    fn turns(&mut self, turns: usize) {
        for _ in 0..turns {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
        }
    }
}

/// The header of a frame of `len` bytes, with a key that changes nothing.
fn header(first: u8, len: usize) -> Vec<u8> {
    [&[first, 0xff][..], &(len as u64).to_be_bytes(), &[0; 4]].concat()
}

/// A message of 1 MiB that has arrived is received by two reads: a short one that finds the header, and the rest.
#[test]
fn a_message_of_one_mib_takes_two_reads() {
    let mut site = Site::new(messages::echo("echo"), Limits::default());
    let message = [header(0x82, 1024 * KIB), pattern(1024 * KIB)].concat();
    // The first one teaches the pool how large a buffer is.
    site.send(&message, 4);
    assert_eq!(site.peer.recv().len(), 10 + 1024 * KIB);
    let before = site.host.calls();
    site.send(&message, 1);
    let calls = site.host.calls();
    assert_eq!(calls.recv - before.recv, 2, "one read would copy it, and more are for nothing");
    assert_eq!(site.peer.recv()[10..], pattern(1024 * KIB));
    site.turns(1);
    assert_eq!(site.host.calls().recv, calls.recv, "that nothing more is there was known");
}

/// What is behind a long frame in the same read is delivered after it, in order, and whole.
#[test]
fn what_is_behind_a_long_frame_comes_after_it() {
    for behind in [1, 2, 100, 1000, 5000] {
        let mut site = Site::new(messages::echo("echo"), Limits::default());
        let small: Vec<u8> = [0x82, 0x83, 0, 0, 0, 0, 1, 2, 3].repeat(behind);
        site.send(&[header(0x82, 200 * KIB), pattern(200 * KIB), small].concat(), 20);
        let got = site.peer.recv();
        let answers = [0x82, 3, 1, 2, 3].repeat(behind);
        assert_eq!(got.len(), 10 + 200 * KIB + answers.len());
        assert_eq!(got[10 + 200 * KIB..], answers);
    }
}

/// A pause, an end and a broken rule in the middle and right behind a long frame.
#[test]
fn a_long_frame_may_end_in_every_way() {
    let long = [header(0x82, 200 * KIB), pattern(200 * KIB)].concat();
    let mut site = Site::new(messages::echo("echo"), Limits::default());
    site.send(&long[..100 * KIB], 3);
    site.peer.shutdown();
    site.turns(3);
    assert_eq!(site.service.connections(), 0, "the peer ended inside the frame");

    let mut site = Site::new(messages::echo("echo"), Limits::default());
    site.send(&[&long[..], b"\xff\xff"].concat(), 5);
    let got = site.peer.recv();
    assert_eq!(got[10..][..200 * KIB], long[14..]);
    assert_eq!(got[10 + 200 * KIB..][..4], [0x88, got[10 + 200 * KIB + 1], 0x03, 0xea], "1002 comes behind the echo");

    // With a small share a turn receives little of it.
    let mut small = Limits::default();
    small.turn_bytes = 20_000;
    let mut site = Site::new(messages::echo("echo"), small);
    let before = site.service.statistics().received.bytes;
    site.send(&long, 1);
    assert!(site.service.statistics().received.bytes - before <= 20_000);
    site.turns(40);
    assert_eq!(site.peer.recv()[10..], long[14..]);
}

/// An announced length costs no memory.
#[test]
fn what_is_held_follows_what_has_arrived() {
    let mut site = Site::new(messages::echo("echo"), Limits::default());
    site.send(&header(0x82, 16 * 1024 * KIB), 2);
    let mut sent = 0;
    for more in [100, 1000, 63 * KIB, 1, 100_000, 1024 * KIB, 4096 * KIB] {
        site.send(&vec![0; more], 8);
        sent += more;
        let held = site.service.statistics().held_bytes as usize;
        assert!((sent.saturating_sub(1)..=4 * sent + 160 * KIB).contains(&held), "{held} bytes for {sent}");
    }
}

/// Lends a buffer with a mark in front, and notes what comes.
struct Lender {
    lends: bool,
    seen: Rc<RefCell<Seen>>,
}

#[derive(Default)]
struct Seen {
    buffer: Vec<u8>,
    pieces: usize,
    /// The length of the buffer when it was lent.
    lent: usize,
    /// How many bytes came behind it, each time.
    in_place: Vec<usize>,
    /// The length of the message at each piece that was the last.
    ended: Vec<usize>,
    closed: Option<Closed>,
    refuse: bool,
    close_when_asked: bool,
}

impl Protocol for Lender {
    type Session = ();

    fn name(&self) -> &str {
        "lender"
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) {}

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), fragment: Fragment<'_>) -> Result<(), Close> {
        let mut seen = self.seen.borrow_mut();
        seen.pieces += 1;
        if let Payload::Binary(bytes) = fragment.payload {
            seen.buffer.extend_from_slice(bytes);
        }
        if fragment.last {
            let length = seen.buffer.len();
            seen.ended.push(length);
        }
        Ok(())
    }

    fn lend_buffer(&mut self, cx: &mut Cx<'_>, (): &mut (), missing: u64) -> Option<Vec<u8>> {
        assert!(missing >= 64 * 1024);
        if self.seen.borrow().close_when_asked {
            cx.close(CloseCode::POLICY);
        }
        let mut seen = self.seen.borrow_mut();
        seen.lent = seen.buffer.len();
        self.lends.then(|| std::mem::take(&mut seen.buffer))
    }

    fn take_back(&mut self, _: &mut Cx<'_>, (): &mut (), buffer: Vec<u8>) -> Result<(), Close> {
        let mut seen = self.seen.borrow_mut();
        let bytes = buffer.len() - seen.lent;
        seen.buffer = buffer;
        seen.in_place.push(bytes);
        if seen.refuse { Err(CloseCode::POLICY.into()) } else { Ok(()) }
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), closed: Closed) {
        self.seen.borrow_mut().closed = Some(closed);
    }
}

#[test]
fn a_protocol_of_its_own_lends_or_does_not() {
    let payload = pattern(400 * KIB);
    let frame = [header(0x82, payload.len()), payload.clone()].concat();
    for lends in [true, false] {
        let seen = Rc::new(RefCell::new(Seen::default()));
        let mut site = Site::new(Lender { lends, seen: seen.clone() }, Limits::default());
        site.send(&frame, 5);
        let all = seen.borrow();
        assert_eq!(all.buffer, payload);
        let in_place: usize = all.in_place.iter().sum();
        assert_eq!(in_place, if lends { payload.len() - (64 * KIB - 14) } else { 0 });
        assert_eq!(all.ended, [payload.len()], "the end is reported once, as a piece");
        assert_eq!(site.service.statistics().received.messages, 1);
    }
    // The close that it asks for starts, and the rest is dropped.
    let seen = Rc::new(RefCell::new(Seen { refuse: true, ..Seen::default() }));
    let mut site = Site::new(Lender { lends: true, seen: seen.clone() }, Limits::default());
    site.send(&frame[..200 * KIB], 3);
    site.send(&[&frame[200 * KIB..], &b"\x88\x82\0\0\0\0\x03\xf0"[..]].concat(), 5);
    assert_eq!(site.peer.recv(), b"\x88\x02\x03\xf0");
    let all = seen.borrow();
    assert_eq!((all.in_place.len(), all.pieces), (1, 1));
    assert_eq!(all.closed.as_ref().unwrap().cause, Cause::Handshake);
    // The end of a message that is refused with its last bytes is not reported.
    let seen = Rc::new(RefCell::new(Seen { refuse: true, ..Seen::default() }));
    let mut site = Site::new(Lender { lends: true, seen: seen.clone() }, Limits::default());
    site.send(&frame[..200 * KIB], 1);
    site.send(&frame[200 * KIB..], 5);
    assert_eq!((site.peer.recv(), &seen.borrow().ended[..]), (b"\x88\x02\x03\xf0".to_vec(), &[][..]));
    // So does one that it asks for when it is asked for the buffer: nothing is received after it.
    for lends in [true, false] {
        let seen = Rc::new(RefCell::new(Seen { close_when_asked: true, ..Seen::default() }));
        let mut site = Site::new(Lender { lends, seen: seen.clone() }, Limits::default());
        site.send(&[&frame[..], &b"\x88\x82\0\0\0\0\x03\xf0"[..]].concat(), 5);
        assert_eq!(site.peer.recv(), b"\x88\x02\x03\xf0");
        let all = seen.borrow();
        assert_eq!((&all.in_place[..], all.pieces), (if lends { &[0][..] } else { &[] }, 1));
        assert_eq!(all.closed.as_ref().unwrap().cause, Cause::Handshake);
    }
}
