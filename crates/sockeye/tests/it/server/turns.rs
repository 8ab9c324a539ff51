//! What is asked of a service between its turns, and what must not take a turn for itself.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::time::Duration;

use sockeye::messages::{Handler, Message, MessageCx};
use sockeye::proto::close::Cause;
use sockeye::protocol::ProtocolMut;
use sockeye::service::ServiceState;
use sockeye::sim::{Faults, Network, Peer, Turn};
use sockeye::{
    Close, CloseCode, Closed, ClosedCx, ConnId, Cx, Fragment, Handshake, Limits, Protocol, Service, Tx, messages,
};
use sockeye_testing::server::{Bench, upgrade};

const MINUTE: Duration = Duration::from_secs(60);

/// Limits under which so many peers of one address may come in one turn.
fn crowd_limits(count: usize) -> Limits {
    let mut limits = Limits::default();
    (limits.turn_accepts, limits.connections_per_address) = (count, None);
    limits
}

/// An echo, and so many connections that ask to be upgraded: after `turns` more they are, and their answers wait to be read.
fn crowd(network: &Network, limits: Limits, count: usize, turns: usize) -> (Service, Vec<Peer>) {
    let builder = Service::builder().limits(limits).protocol(messages::echo("echo")).listen("127.0.0.1:80");
    let mut service = builder.build_with(network.sys()).unwrap();
    let crowd: Vec<Peer> = (0..count).map(|_| network.connect(&service.local_addresses()[0]).unwrap()).collect();
    crowd.iter().for_each(|peer| peer.send(&upgrade("")));
    for _ in 0..turns {
        service.run_once(Some(Duration::ZERO)).unwrap();
    }
    (service, crowd)
}

/// A service that sleeps in its poller is not asked what time it is; who asks something of it meanwhile means now.
#[test]
fn a_close_between_turns_has_its_whole_time() {
    let mut limits = Limits::default();
    limits.protocol_mut().ping_after = None;
    for drains in [false, true] {
        let mut bench = Bench::with(Faults::none().with_latency(Duration::from_millis(10)), limits.clone());
        let client = bench.open();
        bench.network.advance(MINUTE);
        if drains {
            bench.service.drain();
        } else {
            let (id, _) = bench.hub.open_ids()[0];
            bench.service.control().connection(id).unwrap().close(CloseCode::GOING_AWAY);
        }
        bench.until(|bench| bench.closed(client).is_some());
        assert_eq!(bench.closed(client).unwrap().cause, Cause::Handshake);
        assert_eq!(bench.clients[client].close_heard(), Some(Some(1001)));
        bench.until(|bench| bench.drained == drains);
        bench.finish();
    }
}

#[test]
fn a_drain_of_nobody_is_over_at_once() {
    let mut bench = Bench::new();
    let begin = bench.time();
    bench.service.drain();
    bench.service.run().unwrap();
    assert_eq!(bench.time(), begin);
    bench.drained = true;
    bench.finish();
}

#[test]
fn a_drain_that_a_callback_asks_for_does_not_spin() {
    let network = Network::with_faults(1, Faults::none());
    let drains = messages::on("drains", |cx, _| {
        cx.drain();
        Ok(())
    });
    let builder = Service::builder().protocol(drains).listen("127.0.0.1:80");
    let mut service = builder.build_with(network.sys()).unwrap();
    // It never answers the Close frame.
    let peer = open(&network, &mut service);
    peer.send(b"\x81\x82\0\0\0\0hi");
    let (started, mut turns) = (network.now(), 0);
    network.run(|| {
        turns += 1;
        assert!(turns < 100, "it spins");
        match service.run_once(Some(Duration::ZERO)).unwrap() {
            ServiceState::Drained => Turn::Done,
            _ => Turn::Sleep(service.next_deadline()),
        }
    });
    assert_eq!(network.now().saturating_duration_since(started), Duration::from_secs(5));
}

/// Asks for the writable callback in each writable callback, and sends nothing, or an empty message each time.
struct Eager {
    sends: bool,
    calls: Rc<Cell<usize>>,
}

impl Protocol for Eager {
    type Session = ();

    fn name(&self) -> &'static str {
        "eager"
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) {
        cx.request_writable();
    }

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, (): &mut (), tx: Tx<'_>) -> Result<(), Close> {
        let mut permission = tx.idle().filter(|_| self.sends);
        while let Some(writable) = permission {
            self.count();
            permission = writable.text("").more();
        }
        self.count();
        cx.request_writable();
        Ok(())
    }
}

impl Eager {
    fn count(&self) {
        self.calls.set(self.calls.get() + 1);
        assert!(self.calls.get() < 100_000, "the others never had their turn");
    }
}

#[test]
fn who_always_asks_to_write_does_not_keep_the_loop() {
    let mut small = Limits::default();
    small.turn_bytes = 1000;
    for (sends, limits) in [(false, Limits::default()), (true, Limits::default()), (true, small)] {
        let calls = Rc::new(Cell::new(0));
        let network = Network::with_faults(1, Faults::none().with_buffers(1 << 20, 1 << 20));
        let eager = Eager { sends, calls: calls.clone() };
        let builder = Service::builder().limits(limits).protocol(eager).protocol(messages::echo("echo"));
        let mut service = builder.listen("127.0.0.1:80").build_with(network.sys()).unwrap();
        let busy = open(&network, &mut service);
        let other = network.connect(&service.local_addresses()[0]).unwrap();
        other.send(&upgrade("Sec-WebSocket-Protocol: echo\r\n"));
        other.send(b"\x81\x82\0\0\0\0hi");
        let mut heard = Vec::new();
        for _ in 0..10 {
            service.run_once(Some(Duration::ZERO)).unwrap();
            heard.extend(other.recv());
            let _ = busy.recv();
        }
        assert!(heard.ends_with(b"\x81\x02hi"));
        assert!(calls.get() > 10);
    }
}

fn open(network: &Network, service: &mut Service) -> Peer {
    let peer = network.connect(&service.local_addresses()[0]).unwrap();
    peer.send(&upgrade(""));
    for _ in 0..5 {
        service.run_once(Some(Duration::ZERO)).unwrap();
    }
    assert!(peer.recv().starts_with(b"HTTP/1.1 101 "));
    peer
}

/// Panics in the second `open`; a session is the id that it was opened with.
struct Brittle {
    opened: usize,
    closed: Rc<RefCell<Vec<(ConnId, ConnId)>>>,
}

impl Protocol for Brittle {
    type Session = ConnId;

    fn name(&self) -> &'static str {
        "brittle"
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) -> ConnId {
        self.opened += 1;
        assert!(self.opened < 2, "the second is one too many");
        cx.id()
    }

    fn receive(&mut self, _: &mut Cx<'_>, _: &mut ConnId, _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, _: &mut ConnId, _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, session: ConnId, _: Closed) {
        self.closed.borrow_mut().push((cx.id(), session));
    }
}

#[test]
fn an_open_that_panics_takes_nobody_elses_session() {
    let closed = Rc::new(RefCell::new(Vec::new()));
    let network = Network::with_faults(1, Faults::none());
    let brittle = Brittle { opened: 0, closed: closed.clone() };
    let mut service = Service::builder().protocol(brittle).listen("127.0.0.1:80").build_with(network.sys()).unwrap();
    // It is there first, and opens last.
    let first = network.connect(&service.local_addresses()[0]).unwrap();
    service.run_once(Some(Duration::ZERO)).unwrap();
    let _second = open(&network, &mut service);
    first.send(&upgrade(""));
    let turns = panic::catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..5 {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
    }));
    assert!(turns.is_err());
    drop(service);
    let closed = closed.borrow();
    assert!(closed.len() == 1 && closed[0].0 == closed[0].1, "{closed:?}");
}

/// What the panicked one had written would be sent to the next connection that has a step.
#[test]
fn a_service_whose_callback_panicked_does_not_go_on() {
    let network = Network::with_faults(1, Faults::none());
    let secret = messages::on("secret", |cx, message| {
        cx.push("a secret of this connection").map_err(|_| CloseCode::INTERNAL)?;
        assert_ne!(message.as_text(), Some("panic"), "it was told to");
        Ok(())
    });
    let mut service = Service::builder().protocol(secret).listen("127.0.0.1:80").build_with(network.sys()).unwrap();
    let (first, second) = (open(&network, &mut service), open(&network, &mut service));
    first.send(b"\x81\x85\0\0\0\0panic");
    let mut turns = || panic::catch_unwind(AssertUnwindSafe(|| service.run_once(Some(Duration::ZERO))));
    assert!((0..5).any(|_| turns().is_err()));
    second.send(b"\x81\x84\0\0\0\0next");
    for _ in 0..5 {
        let error = service.run_once(Some(Duration::ZERO)).unwrap_err();
        assert!(error.is_panic() && error.to_string().contains("an earlier turn"), "{error}");
    }
    assert_eq!(second.recv(), b"");
    drop(service);
    assert_eq!(second.recv(), b"");
}

/// The program's call with a session is as a callback is.
#[test]
fn a_service_does_not_go_on_after_a_panic_with_a_session() {
    let network = Network::with_faults(1, Faults::none());
    let mut builder = Service::builder().listen("127.0.0.1:80");
    let echo = builder.add_protocol(messages::echo("echo"));
    let mut service = builder.build_with(network.sys()).unwrap();
    let _peer = open(&network, &mut service);
    let id = service.control().connection_ids()[0];
    service.control().with_session(echo, id, |_, _, _| ()).unwrap();
    service.run_once(Some(Duration::ZERO)).unwrap();
    let call = panic::catch_unwind(AssertUnwindSafe(|| {
        service.control().with_session(echo, id, |_, _, _| panic!("it was told to"))
    }));
    assert!(call.is_err());
    assert!(service.run_once(Some(Duration::ZERO)).unwrap_err().is_panic());
}

/// An outbox that is well filled pauses reading, and goes on when it is emptier; the handler's own pause is another one.
#[test]
fn an_outbox_does_not_end_the_pause_of_its_handler() {
    let network = Network::with_faults(1, Faults::none().with_buffers(100_000, 100_000));
    let heard = Rc::new(RefCell::new(Vec::new()));
    let (noted, mut stopped) = (heard.clone(), None);
    let handler = messages::on("handler", move |cx, message| {
        let text = message.as_text().unwrap_or_default();
        noted.borrow_mut().push(text.to_owned());
        if text == "stop" {
            let id = cx.id();
            stopped = Some(id);
            cx.push(vec![0; 600_000]).map_err(|_| CloseCode::TRY_AGAIN)?;
            if let Ok(mut connection) = cx.connection(id) {
                connection.pause_reading();
            }
        } else if let Some(id) = stopped.filter(|_| text == "go") {
            if let Ok(mut connection) = cx.connection(id) {
                connection.resume_reading();
            }
        }
        Ok(())
    });
    let mut service = Service::builder().protocol(handler).listen("127.0.0.1:80").build_with(network.sys()).unwrap();
    let (peer, other) = (open(&network, &mut service), open(&network, &mut service));
    let mut received = 0;
    let mut turns = |service: &mut Service| {
        for _ in 0..50 {
            service.run_once(Some(Duration::ZERO)).unwrap();
            received += peer.recv().len();
        }
        received
    };
    peer.send(b"\x81\x84\0\0\0\0stop\x81\x84\0\0\0\0next");
    assert!(turns(&mut service) > 600_000);
    assert_eq!(*heard.borrow(), ["stop"]);
    other.send(b"\x81\x82\0\0\0\0go");
    turns(&mut service);
    assert_eq!(*heard.borrow(), ["stop", "go", "next"]);
}

/// Closes the connections that were opened, and drains the service, in one callback.
struct LastOrders {
    opened: Vec<ConnId>,
}

impl Handler for LastOrders {
    type State = ();

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
        self.opened.push(cx.id());
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), _: Message<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn interval(&self) -> Option<Duration> {
        Some(MINUTE)
    }

    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        own.publish_text("bye");
        for id in &self.opened {
            own.connection(*id).unwrap().close(CloseCode::POLICY);
        }
        own.drain();
    }
}

#[test]
fn what_a_tick_closes_before_it_drains_has_the_code_of_its_own() {
    let network = Network::with_faults(1, Faults::none());
    let mut limits = Limits::default();
    limits.protocol_mut().ping_after = None;
    let handler = messages::with("last", LastOrders { opened: Vec::new() });
    let builder = Service::builder().protocol(handler).limits(limits).listen("127.0.0.1:80");
    let mut service = builder.build_with(network.sys()).unwrap();
    let peer = open(&network, &mut service);
    network.advance(MINUTE);
    let mut heard = Vec::new();
    for _ in 0..5 {
        service.run_once(Some(Duration::ZERO)).unwrap();
        heard.extend(peer.recv());
    }
    assert!(service.is_draining());
    assert_eq!(heard, b"\x81\x03bye\x88\x02\x03\xf0", "1008 is POLICY");
}

/// A tick of zero would keep the loop turning.
#[test]
fn an_interval_of_zero_is_refused() {
    struct Restless;

    impl Handler for Restless {
        type State = ();

        fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {}

        fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), _: Message<'_>) -> Result<(), Close> {
            Ok(())
        }

        fn interval(&self) -> Option<Duration> {
            Some(Duration::ZERO)
        }
    }

    let network = Network::with_faults(1, Faults::none());
    let builder = Service::builder().protocol(messages::with("restless", Restless)).listen("127.0.0.1:80");
    let error = builder.build_with(network.sys()).unwrap_err().to_string();
    assert!(error.contains("interval") && error.contains("restless"), "{error}");
}

/// The messages that a turn answers at most, however many peers send at once: the next one is soon there for the others.
#[test]
fn a_turn_stays_short_when_many_send_at_once() {
    let message: &[u8] = b"\x82\x82\0\0\0\0hi";
    for (peers, least) in [(4, 1024), (100, 25)] {
        let network = Network::with_faults(1, Faults::none());
        let builder = Service::builder().protocol(messages::echo("echo")).listen("127.0.0.1:80");
        let mut service = builder.build_with(network.sys()).unwrap();
        let peers: Vec<Peer> = (0..peers).map(|_| open(&network, &mut service)).collect();
        for peer in &peers {
            peer.send(&message.repeat(5000));
        }
        // All of it has arrived before the next turn.
        network.advance(Duration::from_secs(1));
        let before = service.statistics().received.messages;
        service.run_once(Some(Duration::ZERO)).unwrap();
        let answered = service.statistics().received.messages - before;
        assert!(answered >= peers.len() as u64 * least && answered <= 8 * 1024, "{} peers: {answered}", peers.len());
        // Nothing is lost, and the last is not behind the first.
        let mut got = vec![0; peers.len()];
        while got.iter().any(|&bytes| bytes < 4 * 5000) {
            service.run_once(Some(Duration::ZERO)).unwrap();
            network.advance(Duration::from_millis(1));
            for (got, peer) in got.iter_mut().zip(&peers) {
                *got += peer.recv().len();
            }
        }
    }
}

/// A crowd that floods does not make a turn long: what it may cost is bounded, a short message among the flood is answered
/// in the turn that sees it, and everybody's turn comes.
#[test]
fn a_crowd_does_not_make_a_turn_long() {
    const CROWD: usize = 300;
    const MESSAGE: usize = 60_000;
    let network = Network::with_faults(1, Faults::none().with_buffers(1 << 20, 1 << 20));
    let (mut service, crowd) = crowd(&network, crowd_limits(CROWD), CROWD, 0);
    let quiet = open(&network, &mut service);
    for _ in 0..10 {
        service.run_once(Some(Duration::ZERO)).unwrap();
    }
    let mut flood = [&b"\x82\xfe"[..], &u16::try_from(MESSAGE).unwrap().to_be_bytes(), &[0; 4]].concat();
    flood.resize(8 + MESSAGE, 0);
    for peer in &crowd {
        assert!(peer.recv().starts_with(b"HTTP/1.1 101 "));
        peer.send(&flood);
    }
    // It is the last of the batch.
    quiet.send(b"\x81\x82\0\0\0\0hi");
    let (mut heard, mut turns) = (vec![0; CROWD], 0);
    while heard.iter().any(|&bytes| bytes < 4 + MESSAGE) {
        let before = service.statistics().clone();
        service.run_once(Some(Duration::ZERO)).unwrap();
        let done = service.statistics().since(&before);
        let bytes = done.received.bytes + done.sent.bytes;
        assert!(bytes < 7 << 20, "{bytes} bytes in turn {turns}");
        if turns == 0 {
            assert!(bytes > 2 << 20, "a turn that is worth its system calls: {bytes} bytes");
            assert_eq!(quiet.recv(), b"\x81\x02hi");
        }
        heard.iter_mut().zip(&crowd).for_each(|(bytes, peer)| *bytes += peer.recv().len());
        turns += 1;
        assert!(turns < 100, "everybody's turn comes");
    }
}

/// A ready list longer than a turn may do, at the moment the drain gives up on everybody.
#[test]
fn a_drained_service_has_no_work_left() {
    const CROWD: usize = 1000;
    let network = Network::with_faults(1, Faults::none().with_buffers(1 << 20, 1 << 20));
    let mut limits = Limits::default();
    (limits.turn_accepts, limits.connections_per_address, limits.turn_bytes) = (CROWD, None, 64 * 1024);
    limits.protocol_mut().ping_after = None;
    let builder = Service::builder().limits(limits).protocol(messages::echo("echo")).listen("127.0.0.1:80");
    let mut service = builder.build_with(network.sys()).unwrap();
    let crowd: Vec<Peer> = (0..CROWD).map(|_| network.connect(&service.local_addresses()[0]).unwrap()).collect();
    crowd.iter().for_each(|peer| peer.send(&upgrade("")));
    for _ in 0..40 {
        service.run_once(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(service.connections(), CROWD);
    service.drain();
    for _ in 0..40 {
        service.run_once(Some(Duration::ZERO)).unwrap();
    }
    for peer in &crowd {
        peer.send(&b"\x82\xfe\xe0\x00\0\0\0\0".iter().copied().chain([0; 0xe000]).collect::<Vec<_>>());
    }
    network.advance(Duration::from_secs(6));
    let mut turns = 0;
    while service.run_once(Some(Duration::ZERO)).unwrap() != ServiceState::Drained {
        turns += 1;
        assert!(turns < 100);
    }
    assert_eq!(service.connections(), 0);
    assert_eq!(service.next_deadline(), None, "after {turns} turns");
}

/// What arrived before a deadline is delivered before the deadline's callback, however much arrived with it.
#[test]
fn a_message_that_came_in_time_is_before_the_timer() {
    struct Waits(Rc<RefCell<Vec<&'static str>>>);

    impl Handler for Waits {
        type State = ();

        fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {}

        fn message(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
            match message.as_text() {
                Some("wait") => cx.set_timer(Duration::from_secs(5)),
                Some("here") => self.0.borrow_mut().push("here"),
                _ => {}
            }
            Ok(())
        }

        fn timer(&mut self, _: &mut MessageCx<'_, '_>, (): &mut ()) -> Result<(), Close> {
            self.0.borrow_mut().push("timer");
            Ok(())
        }
    }

    const CROWD: usize = 900;
    let network = Network::with_faults(1, Faults::none().with_buffers(1 << 20, 1 << 20));
    let mut limits = Limits::default();
    (limits.turn_accepts, limits.connections_per_address) = (CROWD, None);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let handler = messages::with("waits", Waits(seen.clone()));
    let builder = Service::builder().limits(limits).protocol(handler).listen("127.0.0.1:80");
    let mut service = builder.build_with(network.sys()).unwrap();
    let crowd: Vec<Peer> = (0..CROWD).map(|_| network.connect(&service.local_addresses()[0]).unwrap()).collect();
    crowd.iter().for_each(|peer| peer.send(&upgrade("")));
    for _ in 0..20 {
        service.run_once(Some(Duration::ZERO)).unwrap();
    }
    let quiet = open(&network, &mut service);
    quiet.send(b"\x81\x84\0\0\0\0wait");
    service.run_once(Some(Duration::ZERO)).unwrap();
    network.advance(Duration::from_secs(4));
    for peer in &crowd {
        peer.send(&b"\x82\xfe\xe0\x00\0\0\0\0".iter().copied().chain([0; 0xe000]).collect::<Vec<_>>());
    }
    quiet.send(b"\x81\x84\0\0\0\0here");
    network.advance(Duration::from_secs(1));
    for _ in 0..50 {
        service.run_once(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(*seen.borrow(), ["here", "timer"]);
}

/// HTTP behind a crowd that never stops flooding.
#[test]
fn a_request_and_a_new_client_have_their_turn_beside_an_endless_flood() {
    const CROWD: usize = 300;
    let network = Network::with_faults(1, Faults::none().with_buffers(1 << 18, 1 << 18));
    let (mut service, crowd) = crowd(&network, crowd_limits(CROWD), CROWD, 10);
    let message: Vec<u8> = b"\x82\xfe\xe0\x00\0\0\0\0".iter().copied().chain([0; 0xe000]).collect();
    let mut got = vec![0; CROWD];
    let mut late = None;
    for turn in 0..60 {
        for (peer, got) in crowd.iter().zip(&mut got) {
            *got += peer.recv().len();
            peer.send(&message);
        }
        if turn == 20 {
            let peer = network.connect(&service.local_addresses()[0]).unwrap();
            peer.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
            late = Some((peer, network.connect(&service.local_addresses()[0]).unwrap()));
            late.as_ref().unwrap().1.send(&upgrade(""));
        }
        service.run_once(Some(Duration::ZERO)).unwrap();
        if let Some((http, client)) = &late {
            let (http, client) = (http.recv(), client.recv());
            if !http.is_empty() || !client.is_empty() {
                got.extend([http.len(), client.len()].into_iter().filter(|&bytes| bytes > 0));
            }
        }
    }
    assert_eq!(got.len(), CROWD + 2, "both were answered");
    let (least, most) = (got[..CROWD].iter().min().unwrap(), got[..CROWD].iter().max().unwrap());
    assert!(*least * 4 > *most, "{least}..{most}");
}

/// A loop that was held up does not end peers that sent enough meanwhile.
#[test]
fn a_crowd_that_sent_in_time_is_not_slow_when_the_loop_was_held_up() {
    const CROWD: usize = 900;
    let network = Network::with_faults(1, Faults::none().with_buffers(1 << 20, 1 << 20));
    let mut limits = crowd_limits(CROWD);
    limits.protocol_mut().ping_after = None;
    let (window, least) = (limits.slow_sender_window, limits.slow_sender_bytes);
    let (mut service, crowd) = crowd(&network, limits, CROWD, 20);
    // A message of 4 MB in fragments: the first one is held.
    let fragment = |first: bool, bytes: usize| -> Vec<u8> {
        let head = [u8::from(first) * 2, 0xfe, (bytes >> 8) as u8, bytes as u8, 0, 0, 0, 0];
        head.into_iter().chain(std::iter::repeat_n(0, bytes)).collect()
    };
    crowd.iter().for_each(|peer| peer.send(&fragment(true, 200)));
    for _ in 0..20 {
        service.run_once(Some(Duration::ZERO)).unwrap();
    }
    assert!(least < 10_000);
    for is_held_up in [false, true, false] {
        // They send steadily.
        crowd.iter().for_each(|peer| peer.send(&fragment(false, 10_000)));
        for _ in 0..if is_held_up { 0 } else { 300 } {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
        network.advance(window + Duration::from_millis(1));
        for _ in 0..300 {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
    }
    let ended = service.statistics().limits.slow_sender_bytes;
    assert_eq!((ended, service.connections()), (0, CROWD));
}

/// What is published in a later turn than that of a close is not for who was closed, however many were.
#[test]
fn who_was_closed_in_an_earlier_turn_hears_nothing_more() {
    const CROWD: usize = 700;
    let network = Network::with_faults(1, Faults::none());
    let mut limits = crowd_limits(CROWD);
    limits.turn_bytes = 64 * 1024;
    limits.protocol_mut().ping_after = None;
    let (mut service, crowd) = crowd(&network, limits, CROWD, 40);
    assert!(crowd.iter().all(|peer| peer.recv().starts_with(b"HTTP/1.1 101 ")));
    for id in service.control().connection_ids() {
        service.control().connection(id).unwrap().close(CloseCode::POLICY);
    }
    service.run_once(Some(Duration::ZERO)).unwrap();
    service.control().protocol_named("echo").unwrap().publish_text("secret");
    for _ in 0..10 {
        service.run_once(Some(Duration::ZERO)).unwrap();
    }
    let heard: Vec<Vec<u8>> = crowd.iter().map(Peer::recv).collect();
    let secrets = heard.iter().filter(|bytes| bytes.starts_with(b"\x81\x06secret")).count();
    assert!(heard.iter().all(|bytes| bytes.ends_with(b"\x88\x02\x03\xf0")));
    assert_eq!(secrets, 0, "peers that were closed before it was published");
}

/// Jobs, ticks, and a drain have their turn beside a flood that never ends, and the drain's end is in time.
#[test]
fn jobs_and_a_drain_have_their_turn_beside_an_endless_flood() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    const CROWD: usize = 300;
    let network = Network::with_faults(1, Faults::none().with_buffers(1 << 18, 1 << 18));
    let (mut service, crowd) = crowd(&network, crowd_limits(CROWD), CROWD, 10);
    let message: Vec<u8> = b"\x82\xfe\xe0\x00\0\0\0\0".iter().copied().chain([0; 0xe000]).collect();
    let jobs = Arc::new(AtomicUsize::new(0));
    let remote = service.remote();
    let mut drained = None;
    let mut tails = vec![Vec::new(); CROWD];
    for turn in 0..400 {
        for (peer, tail) in crowd.iter().zip(&mut tails) {
            let bytes = peer.recv();
            if !bytes.is_empty() {
                *tail = bytes[bytes.len().saturating_sub(4)..].to_vec();
            }
            peer.send(&message);
        }
        if turn < 20 {
            let count = jobs.clone();
            remote.run(move |_| _ = count.fetch_add(1, Ordering::SeqCst)).unwrap();
        }
        if turn == 21 {
            assert_eq!(jobs.load(Ordering::SeqCst), 20);
            service.drain();
        }
        if turn > 21 {
            network.advance(Duration::from_millis(100));
        }
        if service.run_once(Some(Duration::ZERO)).unwrap() == ServiceState::Drained {
            drained = Some(turn);
            break;
        }
    }
    eprintln!("drained in turn {drained:?}");
    let told = tails.iter().filter(|tail| tail[..] == *b"\x88\x02\x03\xe9").count();
    assert_eq!(told, CROWD);
    // Five seconds.
    assert!(drained.is_some_and(|turn| turn < 21 + 60), "{drained:?}");
}
