//! A layer of the test's own, with what layers are given: ranges of the input until it is released, buffers of the loop,
//! and a pause of reading beside the program's.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use sockeye::proto::wire::MessageKind;
use sockeye::sim::{Faults, Network, Peer, Turn};
use sockeye::{Close, CloseCode, Closed, ClosedCx, ConnId, Cx, Fragment, Handshake, Limits, Protocol, Service, Tx};
use sockeye_testing::server::{Client, Heard, upgrade};

/// Reading pauses from so many bytes on.
const MARK: usize = 4000;

/// So many messages are more than the loop sends in one go.
const MANY: usize = 2000;

/// Sends each fragment back as a message: out of the input while that is there, else out of a buffer of the loop's.
#[derive(Clone, Default)]
struct Reflect {
    seen: Rc<RefCell<Seen>>,
}

#[derive(Default)]
struct Seen {
    id: Option<ConnId>,
    /// Messages that were sent where they had arrived, and those that had to be copied.
    in_place: usize,
    copied: usize,
    most_waiting: usize,
    /// Payload bytes.
    received: usize,
    closed: usize,
    /// Memory that spare buffers brought along.
    spare: usize,
}

/// What waits to be sent. All ranges came after all copies, unless the copies came with them.
#[derive(Default)]
struct Waiting {
    copies: VecDeque<(MessageKind, Vec<u8>)>,
    ranges: VecDeque<(MessageKind, Range<usize>)>,
    bytes: usize,
}

impl Protocol for Reflect {
    type Session = Waiting;

    fn name(&self) -> &'static str {
        "reflect"
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> Waiting {
        assert_eq!(handshake.subprotocol(), Some("reflect"));
        assert!(cx.input().is_empty() && cx.input_range(b"elsewhere").is_none());
        // There is no input to keep yet, so nothing is released.
        cx.keep_input(true);
        self.seen.borrow_mut().id = Some(cx.id());
        Waiting::default()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, waiting: &mut Waiting, fragment: Fragment<'_>) -> Result<(), Close> {
        let bytes = fragment.payload.as_bytes();
        assert!(cx.input_range(b"elsewhere").is_none());
        self.seen.borrow_mut().received += bytes.len();
        if bytes == b"bye" {
            return Err(CloseCode::NORMAL.into());
        }
        let range = cx.input_range(bytes).expect("it is a part of the input");
        waiting.ranges.push_back((fragment.kind, range));
        waiting.bytes += bytes.len();
        cx.keep_input(true);
        cx.set_back_pressure(waiting.bytes >= MARK);
        cx.request_writable();
        let most = &mut self.seen.borrow_mut().most_waiting;
        *most = (*most).max(waiting.bytes);
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, waiting: &mut Waiting, tx: Tx<'_>) -> Result<(), Close> {
        let mut permission = tx.idle();
        while let Some(writable) = permission {
            permission = if let Some((kind, copy)) = waiting.copies.pop_front() {
                waiting.bytes -= copy.len();
                self.seen.borrow_mut().copied += 1;
                writable.send_owned(kind, copy).more_or_last()
            } else if let Some((kind, range)) = waiting.ranges.pop_front() {
                waiting.bytes -= range.len();
                self.seen.borrow_mut().in_place += 1;
                writable.send(kind, &cx.input()[range]).more_or_last()
            } else {
                break;
            };
        }
        cx.keep_input(!waiting.ranges.is_empty());
        cx.set_back_pressure(waiting.bytes >= MARK);
        if waiting.bytes > 0 {
            cx.request_writable();
        }
        Ok(())
    }

    fn release_input(&mut self, cx: &mut Cx<'_>, waiting: &mut Waiting) {
        assert!(!waiting.ranges.is_empty(), "it was not asked for");
        for (kind, range) in waiting.ranges.drain(..) {
            let mut copy = cx.take_buffer();
            assert!(copy.is_empty());
            let seen = &mut *self.seen.borrow_mut();
            seen.spare = seen.spare.max(copy.capacity());
            copy.extend_from_slice(&cx.input()[range]);
            waiting.copies.push_back((kind, copy));
        }
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, waiting: Waiting, _: Closed) {
        self.seen.borrow_mut().closed += 1;
        waiting.copies.into_iter().for_each(|(_, copy)| cx.give_buffer(copy));
    }
}

struct World {
    network: Network,
    service: Service,
    seen: Rc<RefCell<Seen>>,
    peer: Peer,
    heard: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let network = Network::with_faults(1, Faults::none().with_buffers(1000, 100_000));
        let reflect = Reflect::default();
        let seen = reflect.seen.clone();
        let mut limits = Limits::default();
        limits.output_low_water = 1000;
        let service = Service::builder()
            .limits(limits)
            .protocol(reflect)
            .listen("127.0.0.1:80")
            .build_with(network.sys())
            .unwrap();
        let peer = network.connect(&service.local_addresses()[0]).unwrap();
        peer.send(&upgrade("Sec-WebSocket-Protocol: reflect\r\n"));
        let mut world = Self { network, service, seen, peer, heard: Vec::new() };
        world.until(|world| world.heard.ends_with(b"\r\n\r\n"));
        assert!(world.heard.starts_with(b"HTTP/1.1 101"));
        world.heard.clear();
        world
    }

    fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let (network, limit) = (self.network.clone(), self.network.now() + Duration::from_secs(5));
        let mut came = false;
        network.run(|| {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
            self.heard.extend(self.peer.recv());
            came = done(self);
            if came || network.now() >= limit {
                return Turn::Done;
            }
            Turn::Sleep(Some(self.service.next_deadline().unwrap_or(limit).min(limit)))
        });
        assert!(came, "it did not come: {:?} heard {}", self.seen.borrow().received, self.heard.len());
    }

    fn pass(&mut self, time: Duration) {
        let until = self.network.now() + time;
        self.until(|world| world.network.now() >= until);
    }
}

/// A binary message of a client, whose key changes nothing.
fn sent(number: usize) -> Vec<u8> {
    let mut frame = vec![0x82, 0x80 | 100, 0, 0, 0, 0];
    frame.extend([number as u8; 100]);
    frame
}

/// The payload of the first so many of them.
fn payload(messages: usize) -> Vec<u8> {
    (0..messages).flat_map(|number| [number as u8; 100]).collect()
}

/// The payload of short messages of a server, of which the last may not have come whole.
fn heard(mut frames: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    while let [0x82, len, rest @ ..] = frames {
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        payload.extend_from_slice(piece);
        frames = rest;
    }
    payload
}

#[test]
fn what_leaves_in_the_same_step_is_sent_where_it_arrived() {
    let mut world = World::new();
    world.peer.send(&(0..8).flat_map(sent).collect::<Vec<_>>());
    world.until(|world| heard(&world.heard).len() == 800);
    assert!(heard(&world.heard) == payload(8), "in order");
    let seen = world.seen.borrow();
    assert_eq!((seen.in_place, seen.copied), (8, 0));
}

#[test]
fn what_waits_for_the_peer_is_copied_bounded_and_in_order() {
    let mut world = World::new();
    world.peer.set_window(0);
    world.peer.send(&(0..MANY).flat_map(sent).collect::<Vec<_>>());
    world.pass(Duration::from_secs(1));
    let (waiting, received) = (world.seen.borrow().most_waiting, world.seen.borrow().received);
    assert!((MARK..MARK + 200).contains(&waiting), "{waiting} bytes waited");
    assert!(received < MANY * 100, "reading went on");
    // The program's pause is another one: reading goes on when both have ended.
    let id = world.seen.borrow().id.unwrap();
    world.service.control().connection(id).unwrap().pause_reading();
    world.service.control().connection(id).unwrap().resume_reading();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.seen.borrow().received, received, "the layer's pause was ended by the program");
    world.service.control().connection(id).unwrap().pause_reading();
    world.peer.set_window(usize::MAX);
    world.until(|world| heard(&world.heard).len() == received);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.seen.borrow().received, received, "the program's pause was ended by the layer");
    world.service.control().connection(id).unwrap().resume_reading();
    world.until(|world| heard(&world.heard).len() == MANY * 100);
    assert!(heard(&world.heard) == payload(MANY), "in order");
    let seen = world.seen.borrow();
    assert!(seen.in_place > 0 && seen.copied > 0 && seen.spare > 0, "buffers of the loop come back to it");
}

#[test]
fn all_that_waits_is_sent_in_the_last_call_before_a_close_frame() {
    let mut world = World::new();
    world.peer.set_window(0);
    let mut bytes: Vec<u8> = (0..30).flat_map(sent).collect();
    bytes.extend(b"\x82\x83\0\0\0\0bye");
    world.peer.send(&bytes);
    world.until(|world| world.seen.borrow().received == 3003);
    world.peer.set_window(usize::MAX);
    world.until(|world| world.heard.ends_with(b"\x88\x02\x03\xe8"));
    assert!(heard(&world.heard) == payload(30), "all of it, in order");
}

#[test]
fn a_connection_that_ends_gives_its_buffers_back() {
    let mut world = World::new();
    world.peer.set_window(0);
    world.peer.send(&(0..MANY).flat_map(sent).collect::<Vec<_>>());
    world.pass(Duration::from_secs(1));
    world.peer.reset();
    world.until(|world| world.seen.borrow().closed == 1);
    let buffer = world.service.control().take_buffer();
    assert!(buffer.is_empty() && buffer.capacity() >= 100, "{}", buffer.capacity());
}

/// Numbers what it is asked for, and keeps its order with what is published.
#[derive(Default)]
struct Ordered {
    number: u32,
    answers: Rc<RefCell<u32>>,
}

impl Protocol for Ordered {
    type Session = VecDeque<String>;

    fn name(&self) -> &'static str {
        "ordered"
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) -> Self::Session {
        assert!(!cx.can_answer() && !cx.has_waiting());
        cx.answer(|_| panic!("nothing is to be answered yet"));
        VecDeque::new()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, queue: &mut Self::Session, fragment: Fragment<'_>) -> Result<(), Close> {
        for &step in fragment.payload.as_bytes() {
            self.number += 1;
            let text = format!("{:>9000}", self.number);
            if step == b'P' {
                cx.own_protocol().publish_text(&text);
            } else if queue.is_empty() && cx.can_answer() {
                *self.answers.borrow_mut() += 1;
                cx.answer(|permission| _ = permission.text(&text));
            } else if cx.has_waiting() {
                cx.push(text.as_str()).map_err(|_| CloseCode::TRY_AGAIN)?;
            } else {
                queue.push_back(text);
                cx.request_writable();
            }
        }
        cx.hold_back(!queue.is_empty());
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, queue: &mut Self::Session, tx: Tx<'_>) -> Result<(), Close> {
        assert!(!cx.can_answer());
        let mut permission = tx.ahead_of_published().idle();
        while let (Some(writable), Some(text)) = (permission.take(), queue.pop_front()) {
            permission = writable.text_owned(text).more();
        }
        cx.hold_back(!queue.is_empty());
        if !queue.is_empty() {
            cx.request_writable();
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, _: Self::Session, _: Closed) {}
}

#[test]
fn a_layer_answers_at_once_and_keeps_the_order_of_all() {
    for (faults, is_slow) in
        [(Faults::none(), false), (Faults::none().with_buffers(5_000, 5_000).with_segment(700), true)]
    {
        let network = Network::with_faults(1, faults);
        let answers = Rc::default();
        let protocol = Ordered { number: 0, answers: Rc::clone(&answers) };
        let builder = Service::builder().protocol(protocol).listen("10.0.0.1:80");
        let mut service = builder.build_with(network.sys()).unwrap();
        let mut client = Client::connect(&network, &service.local_addresses()[0], 1).unwrap();
        client.handshake("/", "ordered");
        let mut scripts = vec!["ppPp", "PPp", "pPpppPp", "P", "p"];
        network.run(|| {
            service.run_once(Some(Duration::ZERO)).unwrap();
            client.pump(usize::MAX, network.now());
            if client.is_open() {
                scripts.drain(..).for_each(|script| client.text(script));
            }
            let is_done = client.messages().count() == 16;
            if is_done { Turn::Done } else { Turn::Sleep(service.next_deadline()) }
        });
        let texts = client.messages().map(|heard| if let Heard::Text(text) = heard { text.trim() } else { "" });
        let numbers: Vec<u32> = texts.map(|text| text.parse().unwrap()).collect();
        assert_eq!(numbers, (1..=16).collect::<Vec<_>>());
        assert!(if is_slow { *answers.borrow() < 10 } else { *answers.borrow() == 10 });
    }
}

/// Says that its messages wait, and gives them up when it is told to.
struct Fickle;

impl Protocol for Fickle {
    type Session = ();

    fn name(&self) -> &'static str {
        "fickle"
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) {
        cx.hold_back(true);
    }

    fn receive(&mut self, cx: &mut Cx<'_>, (): &mut (), fragment: Fragment<'_>) -> Result<(), Close> {
        match fragment.payload.as_bytes() {
            b"go" => cx.hold_back(false),
            b"later" => cx.set_timer(Duration::from_millis(1)),
            _ => {}
        }
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        panic!("nobody asked for it")
    }

    fn timer(&mut self, cx: &mut Cx<'_>, (): &mut ()) -> Result<(), Close> {
        cx.hold_back(false);
        Ok(())
    }
}

#[test]
fn what_waited_behind_messages_that_a_layer_gives_up_is_sent_first() {
    for how in [&b"\x82\x82\0\0\0\0go"[..], b"\x82\x85\0\0\0\0later"] {
        let network = Network::with_faults(1, Faults::none());
        let mut builder = Service::builder().listen("127.0.0.1:80");
        let fickle = builder.add_protocol(Fickle);
        let mut service = builder.build_with(network.sys()).unwrap();
        let peer = network.connect(&service.local_addresses()[0]).unwrap();
        peer.send(&upgrade("Sec-WebSocket-Protocol: fickle\r\n"));
        let turns = |service: &mut Service| {
            for _ in 0..5 {
                service.run_once(Some(Duration::ZERO)).unwrap();
                network.advance(Duration::from_millis(1));
            }
            peer.recv()
        };
        assert!(turns(&mut service).starts_with(b"HTTP/1.1 101 "));
        service.control().protocol(fickle).unwrap().publish_text("1");
        assert_eq!(turns(&mut service), b"", "it waits");
        peer.send(how);
        assert_eq!(turns(&mut service), b"\x81\x011");
        service.control().protocol(fickle).unwrap().publish_text("2");
        assert_eq!(turns(&mut service), b"\x81\x012");
    }
}
