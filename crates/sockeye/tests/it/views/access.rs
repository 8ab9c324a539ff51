//! Objects and sessions from outside the loop, timers without a connection, and that callbacks come from the loop alone.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::protocol::{ProtocolMut, UnknownProtocol};
use sockeye::raw::{EndpointMut, Raw, RawClose, RawCx, RawWritable};
use sockeye::sim::{Faults, Network, Turn};
use sockeye::{Close, CloseCode, ConnId, Connect, Failure, Handshake, Service};

use super::World;

#[test]
fn an_object_and_a_session_are_reached_between_turns() {
    let mut world = World::new(2);
    let (handle, other_handle, id) = (world.server.handle, world.client.handle, world.server.notes.id(1));
    let foreign = world.client.notes.id(0);
    let notes = world.server.notes.clone();
    assert!(Rc::ptr_eq(&world.server.control().protocol_object(handle).unwrap().notes, &notes));
    assert_eq!(world.server.control().protocol_object(other_handle).err(), Some(UnknownProtocol::Handle));
    let mut control = world.server.control();
    let seen = control.with_session(handle, id, |object, cx, partial| {
        partial.push_str("begun ");
        cx.push("hello").unwrap();
        cx.set_timer(Duration::from_secs(1));
        cx.request_writable();
        (Rc::ptr_eq(&object.notes, &notes), cx.id(), cx.is_client())
    });
    assert_eq!(seen.ok(), Some((true, id, false)));
    for (handle, id) in [(handle, foreign), (other_handle, id), (handle, ConnId::default())] {
        assert!(control.with_session(handle, id, |_, _, _| unreachable!("it is gone")).is_err());
    }
    world.server.notes.on_writable(|_, tx| {
        tx.idle().unwrap().text("written");
        Ok(())
    });
    world.pass(Duration::from_millis(1));
    assert_eq!(world.client.notes.text(1), "hello written");
    World::go(&mut world.client, 1);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.server.notes.text(1), "begun go");
    // What it asks of its own connection is done, and nothing comes after that.
    world.server.control().with_session(handle, id, |_, cx, _| cx.close(CloseCode::POLICY)).unwrap();
    world.pass(Duration::from_millis(1));
    assert_eq!(world.closed_codes(1), [1008, 1008]);
    assert!(world.server.control().with_session(handle, id, |_, _, _| ()).is_err());
}

#[test]
fn a_job_of_another_thread_reaches_a_session() {
    let mut world = World::new(1);
    let (handle, id) = (world.server.handle, world.server.notes.id(0));
    let remote = world.server.service.remote();
    let job = move || {
        remote.run(move |control| {
            let pushed = control.with_session(handle, id, |_, cx, _| cx.push("answer"));
            assert!(matches!(pushed, Ok(Ok(()))));
        })
    };
    std::thread::spawn(job).join().unwrap().unwrap();
    world.pass(Duration::from_millis(1));
    assert_eq!(world.client.notes.text(0), "answer");
}

struct Counter(u32);

impl Handler for Counter {
    type State = u32;

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) -> u32 {
        self.0 += 1;
        self.0
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, _: &mut u32, _: Message<'_>) -> Result<(), Close> {
        Ok(())
    }
}

#[test]
fn a_handler_and_its_state_are_reached_through_the_message_layer() {
    let network = Network::with_faults(1, Faults::none());
    let mut builder = Service::builder();
    let counter = builder.add_fallback(messages::with("counter", Counter(10)));
    let mut service = builder.listen("10.0.0.1:80").build_with(network.host().sys()).unwrap();
    service.control().protocol_object(counter).unwrap().handler_mut().0 += 10;
    service.control().protocol(counter).unwrap().connect(Connect::new("ws://10.0.0.1/").unwrap());
    network.run(|| {
        service.run_once(Some(Duration::ZERO)).unwrap();
        let done = service.control().connection_ids().len() == 2;
        if done { Turn::Done } else { Turn::Sleep(service.next_deadline()) }
    });
    assert_eq!(service.control().protocol_object(counter).unwrap().handler().0, 22);
    let ids = service.control().connection_ids();
    let mut states: Vec<u32> = Vec::new();
    for id in ids {
        states.push(service.control().with_session(counter, id, |_, _, session| *session.state()).unwrap());
        service.control().with_session(counter, id, |_, _, session| *session.state_mut() = 0).unwrap();
    }
    states.sort_unstable();
    assert_eq!(states, [21, 22]);
}

/// Keeps what it is sent until a timer of its own comes, for all connections or none.
struct Keeper {
    tokens: Rc<RefCell<Vec<u64>>>,
    failures: Rc<Cell<u32>>,
}

impl Raw for Keeper {
    type Session = Vec<u8>;

    fn name(&self) -> &'static str {
        "keeper"
    }

    fn open(&mut self, _: &mut RawCx<'_>) -> Vec<u8> {
        Vec::new()
    }

    fn receive(&mut self, _: &mut RawCx<'_>, _: &mut Vec<u8>, _: &[u8]) -> Result<(), RawClose> {
        Ok(())
    }

    fn writable(&mut self, _: &mut RawCx<'_>, kept: &mut Vec<u8>, tx: RawWritable<'_>) -> Result<(), RawClose> {
        tx.write(kept);
        Ok(())
    }

    fn own_timer(&mut self, own: &mut EndpointMut<'_>, token: u64) {
        self.tokens.borrow_mut().push(token);
        // Another one that is due now is cleared by the first.
        own.clear_timer(token + 1);
        if token == 7 {
            own.set_timer(7, Duration::ZERO);
        }
    }

    fn adoption_failed(&mut self, _: &mut EndpointMut<'_>, _: ConnId, _: io::Error) {
        self.failures.set(self.failures.get() + 1);
    }
}

type Tokens = Rc<RefCell<Vec<u64>>>;
type Failures = Rc<Cell<u32>>;

fn keeper() -> (Keeper, Tokens, Failures) {
    let (tokens, failures) = (Rc::default(), Rc::default());
    (Keeper { tokens: Rc::clone(&tokens), failures: Rc::clone(&failures) }, tokens, failures)
}

#[test]
fn a_raw_session_is_reached_between_turns() {
    let mut builder = Service::builder();
    let handle = builder.add_raw(keeper().0);
    let mut service = builder.build().unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let id = service.control().endpoint(handle).unwrap().adopt(theirs);
    assert!(service.control().with_raw_session(handle, id, |_, _, _| ()).is_err(), "it is not open yet");
    service.run_once(Some(Duration::ZERO)).unwrap();
    let mut control = service.control();
    control.endpoint_object(handle).unwrap().tokens.borrow_mut().push(1);
    control
        .with_raw_session(handle, id, |keeper, cx, kept| {
            assert_eq!(*keeper.tokens.borrow(), [1]);
            kept.extend_from_slice(b"kept");
            cx.request_writable();
        })
        .unwrap();
    service.run_once(Some(Duration::ZERO)).unwrap();
    let mut got = [0; 4];
    ours.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"kept");
}

#[test]
fn a_timer_without_a_connection_comes_exactly_then_and_once() {
    let network = Network::with_faults(1, Faults::none());
    let (keeper, tokens, _) = keeper();
    let mut builder = Service::builder();
    let handle = builder.add_raw(keeper);
    let mut service = builder.build_with(network.host().sys()).unwrap();
    assert_eq!(service.next_deadline(), None);
    let begin = network.now();
    let mut control = service.control();
    let mut own = control.endpoint(handle).unwrap();
    own.set_timer(1, Duration::from_secs(9));
    own.set_timer(1, Duration::from_secs(3));
    own.set_timer(2, Duration::from_secs(3));
    own.set_timer(4, Duration::from_secs(2));
    own.set_timer(9, Duration::from_secs(1));
    own.clear_timer(9);
    let mut seen = Vec::new();
    network.run(|| {
        service.run_once(Some(Duration::ZERO)).unwrap();
        let elapsed = network.now().saturating_duration_since(begin).as_millis();
        seen.extend(tokens.borrow_mut().drain(..).map(|token| (elapsed, token)));
        service.next_deadline().map_or(Turn::Done, |at| Turn::Sleep(Some(at)))
    });
    assert_eq!(seen, [(2000, 4), (3000, 1)], "2 was cleared by 1");
    // One that is set for now by its own callback comes once a turn and does not stop the loop.
    service.control().endpoint(handle).unwrap().set_timer(7, Duration::ZERO);
    for turns in 1..=3 {
        service.run_once(Some(Duration::ZERO)).unwrap();
        assert_eq!(tokens.borrow().len(), turns);
        assert!(service.next_deadline().is_some_and(|at| at <= network.now()));
    }
    // A drained service does not wait for it.
    service.drain();
    service.run_once(None).unwrap();
    assert_eq!(service.next_deadline(), None);
}

/// A handler whose callbacks say that they were called while the program held the service.
struct Witness {
    inside: Rc<Cell<bool>>,
    failed: Rc<Cell<u32>>,
}

impl Handler for Witness {
    type State = ();

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {}

    fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), _: Message<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, _: Failure) {
        assert!(!self.inside.get(), "it was called before the loop went on");
        self.failed.set(self.failed.get() + 1);
    }

    fn own_timer(&mut self, _: &mut ProtocolMut<'_>, _: u64) {
        assert!(!self.inside.get(), "it was called before the loop went on");
    }
}

#[test]
fn callbacks_come_from_the_loop_alone() {
    type Act = fn(&mut Service, ConnId);
    let acts: [Act; 5] = [
        |service, id| service.control().connection(id).unwrap().close(CloseCode::NORMAL),
        |service, id| service.control().connection(id).unwrap().abort(),
        |service, _| service.control().drain(),
        |service, _| service.drain(),
        |service, _| service.remote().run(|control| control.drain()).unwrap(),
    ];
    // Before the connect has begun, and while it is under way.
    for begun in [false, true] {
        for act in acts {
            let network = Network::with_faults(1, Faults::none());
            network.silence(&"10.0.0.9:80".parse::<std::net::SocketAddr>().unwrap().into());
            let (inside, failed) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
            let mut builder = Service::builder();
            let witness = Witness { inside: inside.clone(), failed: failed.clone() };
            let handle = builder.add_protocol(messages::with("witness", witness));
            let mut service = builder.build_with(network.host().sys()).unwrap();
            let connect = Connect::new("ws://10.0.0.9/").unwrap();
            let id = service.control().protocol(handle).unwrap().connect(connect);
            service.control().protocol(handle).unwrap().set_timer(1, Duration::ZERO);
            if begun {
                service.run_once(Some(Duration::ZERO)).unwrap();
            }
            inside.set(true);
            act(&mut service, id);
            inside.set(false);
            assert_eq!(failed.get(), 0);
            service.run_once(Some(Duration::ZERO)).unwrap();
            service.run_once(Some(Duration::ZERO)).unwrap();
            assert_eq!(failed.get(), 1);
        }
    }
}

#[test]
fn an_adoption_fails_from_the_loop_alone() {
    let (keeper, _, failures) = keeper();
    let mut builder = Service::builder();
    let handle = builder.add_raw(keeper);
    let mut service = builder.build().unwrap();
    // A regular file cannot be polled.
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    service.control().endpoint(handle).unwrap().adopt(file);
    assert_eq!(failures.get(), 0);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let id = service.control().endpoint(handle).unwrap().adopt(theirs);
    service.control().connection(id).unwrap().close(CloseCode::NORMAL);
    assert_eq!(failures.get(), 0);
    service.run_once(Some(Duration::ZERO)).unwrap();
    assert_eq!(failures.get(), 2);
    drop(ours);
}
