//! A service that nothing can give work any more does not wait for it.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sockeye::client::Reconnect;
use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::protocol::ProtocolMut;
use sockeye::service::{Listen, ServiceState};
use sockeye::{Close, CloseCode, Closed, ClosedCx, ConnId, Connect, Failure, Handshake, Service};
use sockeye_testing::client::{Bench, to};

/// Says hello, and closes when that is answered. Notes what it is called for.
#[derive(Clone, Default)]
struct Greeter(Rc<RefCell<Vec<&'static str>>>);

impl Handler for Greeter {
    type State = ();

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
        cx.push("hello").unwrap();
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        assert_eq!(message.as_text(), Some("hello"));
        Err(CloseCode::NORMAL.into())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), _: Closed) {
        self.0.borrow_mut().push("closed");
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, _: Failure) {
        self.0.borrow_mut().push("failed");
    }

    fn own_timer(&mut self, _: &mut ProtocolMut<'_>, _: u64) {
        self.0.borrow_mut().push("timer");
    }
}

fn greeter() -> (Service, Rc<RefCell<Vec<&'static str>>>) {
    let greeter = Greeter::default();
    let notes = Rc::clone(&greeter.0);
    (Service::builder().protocol(messages::with("greeter", greeter)).build().unwrap(), notes)
}

fn connect(service: &mut Service, url: &str) {
    service.control().protocol_named("greeter").unwrap().connect(Connect::new(url).unwrap());
    assert!(!service.is_idle());
}

#[test]
fn without_anything_it_returns_at_once() {
    let (mut service, _) = greeter();
    assert!(service.is_idle());
    service.run().unwrap();
    // A publish without connections is one request, which is done at once.
    service.control().protocol_named("greeter").unwrap().publish_text("x");
    assert!(!service.is_idle());
    service.run().unwrap();
    assert!(service.is_idle() && !service.is_draining());
    // One that was drained says so once, as ever.
    service.drain();
    assert!(!service.is_idle());
    service.run().unwrap();
    assert_eq!(service.run_once(None).unwrap(), ServiceState::Drained);
}

#[test]
fn a_client_ends_with_its_connections() {
    let mut server = Service::builder().fallback(messages::echo("echo")).listen("127.0.0.1:0").build().unwrap();
    let address = server.local_addresses()[0].to_string();
    let (mut client, notes) = greeter();
    let ends = server.remote();
    thread::scope(|scope| {
        let client = scope.spawn({
            let address = address.clone();
            move || {
                let (mut client, notes) = greeter();
                connect(&mut client, &format!("ws://{address}/"));
                client.run().unwrap();
                let seen = notes.borrow().clone();
                assert!(client.is_idle());
                ends.run(|control| control.drain()).unwrap();
                seen
            }
        });
        server.run().unwrap();
        assert_eq!(client.join().unwrap(), ["closed"]);
    });
    // The listener is closed now.
    connect(&mut client, &format!("ws://{address}/"));
    client.run().unwrap();
    assert_eq!(*notes.borrow(), ["failed"]);
}

#[test]
fn a_timer_is_waited_for() {
    let (mut service, notes) = greeter();
    service.control().protocol_named("greeter").unwrap().set_timer(1, Duration::from_millis(1));
    assert!(!service.is_idle());
    service.run().unwrap();
    assert_eq!(*notes.borrow(), ["timer"]);
    service.control().protocol_named("greeter").unwrap().set_timer(1, Duration::from_secs(100_000));
    service.control().protocol_named("greeter").unwrap().clear_timer(1);
    service.run().unwrap();
    assert_eq!(notes.borrow().len(), 1);
}

#[test]
fn a_listener_keeps_it_running() {
    let (mut service, _) = greeter();
    let listener = service.control().listen(Listen::new("127.0.0.1:0")).unwrap();
    assert!(!service.is_idle());
    assert!(service.control().stop_listening(listener));
    service.run().unwrap();
}

/// What another thread gives is done, also what it gives last; its end is noticed while the loop waits.
#[test]
fn a_remote_keeps_it_running() {
    for round in 0..100 {
        let (mut service, _) = greeter();
        let done = Arc::new(AtomicBool::new(false));
        let (remote, theirs) = (service.remote(), Arc::clone(&done));
        assert!(!service.is_idle());
        let other = thread::spawn(move || {
            let second = remote.clone();
            drop(remote);
            if round % 2 == 0 {
                thread::yield_now();
            }
            second.run(move |_| theirs.store(true, Ordering::Relaxed)).unwrap();
        });
        service.run().unwrap();
        assert!(done.load(Ordering::Relaxed) && service.is_idle());
        other.join().unwrap();
    }
}

#[test]
fn a_remote_that_outlives_the_service_does_no_harm() {
    let (service, _) = greeter();
    let remote = service.remote();
    drop(service);
    assert!(remote.clone().run(|_| ()).is_err());
}

/// What waits for its next attempt is not over.
#[test]
fn a_reconnect_keeps_it_running() {
    let mut bench = Bench::new();
    assert!(bench.service.is_idle());
    let id = bench.connect(&to("ws://10.0.0.1/").reconnect(Reconnect::new()).unwrap());
    bench.until(|bench| bench.notes.is_over(id));
    bench.turn();
    assert!(!bench.service.is_idle() && bench.service.connections() == 1);
    let next = bench.notes.retry(id).unwrap().id;
    bench.service.control().connection(next).unwrap().close(CloseCode::NORMAL);
    bench.until(|bench| bench.notes.is_over(next));
    bench.until(|bench| bench.service.is_idle());
    bench.finish();
}

#[test]
fn one_that_panicked_says_so() {
    let panics = Rc::new(Cell::new(true));
    let (mut service, _) = greeter();
    let remote = service.remote();
    remote.run(|_| panic!("a test")).unwrap();
    drop(remote);
    assert!(catch_unwind(AssertUnwindSafe(|| service.run())).is_err());
    assert!(panics.take() && service.run().unwrap_err().is_panic() && !service.is_idle());
}
