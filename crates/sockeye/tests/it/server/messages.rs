//! The callbacks of the whole-message layer beside `message`: what is pushed in each of them is sent, in order.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::messages::{self, Handler, Message, MessageCx, Messages};
use sockeye::proto::conn::ControlPayload;
use sockeye::proto::time::Instant;
use sockeye::protocol::{Keepalive, ProtocolMut};
use sockeye::sim::{Faults, Network, Turn};
use sockeye::sys::ListenOptions;
use sockeye::{Builder, Close, CloseCode, Closed, ClosedCx, Handshake, Limits, Service};
use sockeye_testing::server::{Client, Heard};

const MILLI: Duration = Duration::from_millis(1);

/// A service and its clients.
pub(super) struct World {
    network: Network,
    service: Service,
    pub(super) clients: Vec<Client>,
}

impl World {
    pub(super) fn new(faults: Faults, protocol: Messages<impl Handler>, clients: usize) -> Self {
        Self::with(faults, protocol, ListenOptions::default(), clients)
    }

    pub(super) fn with_limits(
        faults: Faults,
        protocol: Messages<impl Handler>,
        limits: Limits,
        clients: usize,
    ) -> Self {
        Self::of(faults, Service::builder().limits(limits).protocol(protocol), ListenOptions::default(), clients)
    }

    fn with(faults: Faults, protocol: Messages<impl Handler>, options: ListenOptions, clients: usize) -> Self {
        Self::of(faults, Service::builder().protocol(protocol), options, clients)
    }

    fn of(faults: Faults, builder: Builder, options: ListenOptions, clients: usize) -> Self {
        let network = Network::with_faults(1, faults);
        let builder = builder.listen_with("10.0.0.1:80", options);
        let service = builder.build_with(network.sys()).unwrap();
        let mut world = Self { network, service, clients: Vec::new() };
        for number in 0..clients {
            let address = &world.service.local_addresses()[0];
            let mut client = Client::connect(&world.network, address, number as u64).unwrap();
            client.handshake("/", "test");
            world.clients.push(client);
            world.until(|world| world.clients[number].is_open());
        }
        world
    }

    pub(super) fn until(&mut self, done: impl Fn(&Self) -> bool) {
        self.run(Duration::from_secs(60), &done);
        assert!(done(self), "it did not come");
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.run(time, &|_| false);
    }

    fn run(&mut self, time: Duration, done: &dyn Fn(&Self) -> bool) {
        let (network, end) = (self.network.clone(), self.network.now() + time);
        network.run(|| {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
            for client in &mut self.clients {
                client.pump(usize::MAX, network.now());
            }
            if done(self) || network.now() >= end {
                return Turn::Done;
            }
            Turn::Sleep(Some(self.service.next_deadline().unwrap_or(end).min(end)))
        });
    }

    pub(super) fn texts(&self, client: usize) -> Vec<&str> {
        let messages = self.clients[client].messages();
        messages.filter_map(|heard| if let Heard::Text(text) = heard { Some(&**text) } else { None }).collect()
    }
}

/// Pushes the name of each callback.
#[derive(Default)]
struct Names {
    log: Rc<RefCell<Vec<String>>>,
}

impl Names {
    fn push(&self, cx: &mut MessageCx<'_, '_>, what: &str) {
        self.log.borrow_mut().push(what.to_owned());
        cx.push(what).unwrap();
    }
}

impl Handler for Names {
    type State = bool;

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) -> bool {
        self.push(cx, "open");
        false
    }

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, asked: &mut bool, message: Message<'_>) -> Result<(), Close> {
        match message.as_text() {
            Some("timer") => cx.set_timer(MILLI),
            Some("keepalive") => cx.set_keepalive(Keepalive::new(2 * MILLI, 1000 * MILLI).unwrap()),
            Some("writable") => {
                *asked = true;
                cx.request_writable();
            }
            _ => {}
        }
        self.push(cx, "message");
        Ok(())
    }

    fn writable(&mut self, cx: &mut MessageCx<'_, '_>, asked: &mut bool) -> Result<(), Close> {
        assert!(cx.outbox().is_empty());
        if std::mem::take(asked) {
            self.push(cx, "writable");
        }
        Ok(())
    }

    fn ping(&mut self, cx: &mut MessageCx<'_, '_>, _: &mut bool, payload: &[u8]) -> Result<(), Close> {
        self.push(cx, &format!("ping {}", payload.len()));
        Ok(())
    }

    fn pong(&mut self, cx: &mut MessageCx<'_, '_>, _: &mut bool, payload: &[u8]) -> Result<(), Close> {
        self.push(cx, &format!("pong {}", payload.len()));
        if payload == b"bye" { Err(CloseCode::GOING_AWAY.into()) } else { Ok(()) }
    }

    fn ping_due(&mut self, cx: &mut MessageCx<'_, '_>, _: &mut bool) -> Option<ControlPayload> {
        self.push(cx, "due");
        cx.set_keepalive(Keepalive::OFF);
        Some(ControlPayload::new(b"silence").unwrap())
    }

    fn timer(&mut self, cx: &mut MessageCx<'_, '_>, asked: &mut bool) -> Result<(), Close> {
        self.push(cx, "timer");
        *asked = true;
        Ok(())
    }

    fn closing(&mut self, cx: &mut MessageCx<'_, '_>, _: &mut bool, received: &Close) {
        self.push(cx, &format!("closing {:?} {:?}", received.code().map(CloseCode::get), received.reason()));
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, _: bool, closed: Closed) {
        self.log.borrow_mut().push(format!("closed {}", closed.code_seen()));
    }
}

#[test]
fn what_any_callback_pushes_is_sent_in_order() {
    // All at once, and byte by byte to a peer that takes as little.
    for faults in [Faults::none(), Faults::none().with_segment(1).with_buffers(64, 64)] {
        let names = Names::default();
        let log = names.log.clone();
        let mut world = World::new(faults, messages::with("test", names), 2);
        world.clients[0].text("one");
        world.clients[0].ping(b"12");
        world.clients[0].raw(b"\x8A\x83\0\0\0\x00123");
        world.clients[0].text("timer");
        world.until(|world| world.texts(0).last() == Some(&"writable"));
        world.clients[0].text("writable");
        world.until(|world| world.texts(0).iter().filter(|text| **text == "writable").count() == 2);
        world.clients[0].raw(b"\x88\x86\0\0\0\0\x03\xE8done");
        world.until(|world| world.clients[0].end().is_some());
        let mut expected = vec!["open", "message", "ping 2", "pong 3", "message", "timer", "writable", "message"];
        expected.extend(["writable", "closing Some(1000) \"done\""]);
        assert_eq!(world.texts(0), expected);
        assert_eq!(world.texts(1), ["open"], "nothing went to another connection");
        assert_eq!(world.clients[0].close_heard(), Some(Some(1000)));
        assert_eq!(*log.borrow().last().unwrap(), "closed 1000");
        assert_eq!(log.borrow().iter().filter(|what| what.starts_with("closing")).count(), 1);
    }
}

#[test]
fn a_close_that_a_callback_returns_is_sent_behind_what_it_pushed() {
    let names = Names::default();
    let mut world = World::new(Faults::none(), messages::with("test", names), 1);
    world.clients[0].raw(b"\x8A\x83\0\0\0\0bye\x89\x80\0\0\0\0");
    world.until(|world| world.clients[0].end().is_some());
    // The ping after it is not reported, and the Close frame that answers ours is no `closing`.
    assert_eq!(world.texts(0), ["open", "pong 3"]);
    assert_eq!(world.clients[0].close_heard(), Some(Some(1001)));
}

#[test]
fn what_is_pushed_when_a_ping_is_due_is_sent() {
    let mut world = World::new(Faults::none(), messages::with("test", Names::default()), 1);
    world.clients[0].text("keepalive");
    world.pass(100 * MILLI);
    let heard = [Heard::Text("due".to_owned()), Heard::Ping(b"silence".to_vec()), Heard::Text("pong 7".to_owned())];
    let all = &world.clients[0].heard[2..];
    assert!(all.len() == 3 && heard.iter().all(|one| all.contains(one)), "{all:?}");
}

/// A feed of a value that changes every millisecond.
struct Feed {
    value: u64,
    most_waiting: Rc<RefCell<usize>>,
}

impl Handler for Feed {
    type State = u64;

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) -> u64 {
        0
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, _: &mut u64, _: Message<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, cx: &mut MessageCx<'_, '_>, last: &mut u64) -> Result<(), Close> {
        if *last != self.value {
            *last = self.value;
            cx.push(format!("{:>100}", self.value)).map_err(|_| CloseCode::TRY_AGAIN)?;
        }
        let most = &mut self.most_waiting.borrow_mut();
        **most = cx.outbox().bytes().max(**most);
        Ok(())
    }

    fn interval(&self) -> Option<Duration> {
        Some(MILLI)
    }

    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        self.value += 1;
        own.request_writable();
    }
}

fn value(text: &str) -> u64 {
    text.trim().parse().unwrap()
}

#[test]
fn a_reader_that_stops_gets_the_newest_value_of_a_feed_when_it_reads_again() {
    let most_waiting = Rc::default();
    let feed = Feed { value: 0, most_waiting: Rc::clone(&most_waiting) };
    let mut world = World::new(Faults::none().with_buffers(1000, 1000), messages::with("test", feed), 2);
    world.clients[0].peer.as_ref().unwrap().set_window(0);
    world.pass(2000 * MILLI);
    // What the socket's buffer took, and nothing else.
    assert!(world.texts(0).len() <= 20, "{} values were sent to a peer that reads nothing", world.texts(0).len());
    assert!(*most_waiting.borrow() <= 100, "{} bytes waited", most_waiting.borrow());
    let others: Vec<u64> = world.texts(1).into_iter().map(value).collect();
    assert!(others.windows(2).all(|two| two[1] == two[0] + 1) && others.len() >= 1990, "the other got every value");
    let newest: u64 = value(world.texts(1).last().unwrap());
    world.clients[0].peer.as_ref().unwrap().set_window(1 << 20);
    world.pass(2 * MILLI);
    let values: Vec<u64> = world.texts(0).into_iter().map(value).collect();
    assert!(*values.last().unwrap() >= newest, "{values:?} and {newest}");
    assert!(values.len() <= 24, "{} values came, and only the newest was wanted", values.len());
}

/// The system takes a megabyte for a peer that reads nothing, unless it was asked to hold less.
#[test]
fn old_values_do_not_wait_in_the_system_if_it_holds_little() {
    let sent_to_who_stopped = |options: ListenOptions| {
        let feed = Feed { value: 0, most_waiting: Rc::default() };
        let faults = Faults::none().with_buffers(1 << 20, 1000);
        let mut world = World::with(faults, messages::with("test", feed), options, 1);
        world.pass(20 * MILLI);
        let before = world.texts(0).len();
        world.clients[0].peer.as_ref().unwrap().set_window(0);
        world.pass(1000 * MILLI);
        world.clients[0].peer.as_ref().unwrap().set_window(1 << 20);
        world.pass(MILLI);
        world.texts(0).len() - before
    };
    let mut options = ListenOptions::default();
    assert!(sent_to_who_stopped(options) >= 1000);
    options.unsent_bytes = Some(2000);
    assert!(sent_to_who_stopped(options) <= 22);
    options.unsent_bytes = None;
    options.send_buffer_bytes = Some(4000);
    assert!(sent_to_who_stopped(options) <= 42);
}

/// Keeps its outbox filled up to a mark.
struct Producer {
    sent: u64,
    calls: Rc<RefCell<Vec<(Instant, usize)>>>,
}

impl Handler for Producer {
    type State = ();

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
        cx.request_writable();
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), _: Message<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut ()) -> Result<(), Close> {
        self.calls.borrow_mut().push((cx.now(), cx.outbox().bytes()));
        while cx.outbox().bytes() < 100_000 && self.sent < 500 {
            let message = format!("{:>10000}", self.sent);
            self.sent += 1;
            cx.push(message).unwrap();
        }
        Ok(())
    }
}

#[test]
fn a_producer_is_called_when_its_outbox_has_fallen_to_the_mark() {
    let calls = Rc::default();
    let producer = Producer { sent: 0, calls: Rc::clone(&calls) };
    let protocol = messages::with("test", producer).outbox_low_water(50_000);
    let mut world = World::new(Faults::none().with_buffers(5_000, 5_000), protocol, 1);
    world.until(|world| world.texts(0).len() == 500);
    assert!(world.texts(0).iter().map(|text| value(text)).eq(0..500));
    let calls = calls.borrow();
    assert!(calls.iter().all(|(_, bytes)| *bytes <= 50_000), "called above the mark");
    assert!(calls.iter().any(|(_, bytes)| *bytes > 0), "called only when all had left");
    assert!(calls.len() > 10, "{} calls", calls.len());
}
