//! A service that a program moves from thread to thread, as the documentation of `Service` allows under its conditions.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::{Close, Closed, ClosedCx, Connect, Handshake, Service};

/// What is not there after this does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service, and what its connections report.
struct Moved {
    service: Service,
    events: Receiver<String>,
}

// SAFETY: the tests use it on one thread at a time, in the order of spawning and joining. What they give to the service has no
// `Rc` that stays behind.
#[expect(unsafe_code, reason = "this promise is what is tested")]
unsafe impl Send for Moved {}

impl Moved {
    /// Calls `act` on a new thread. Returns the service to this one.
    fn on_a_thread(self, act: impl FnOnce(&mut Service, &Receiver<String>) + Send + 'static) -> Self {
        let call = move || {
            let mut moved = self;
            act(&mut moved.service, &moved.events);
            moved
        };
        thread::spawn(call).join().unwrap()
    }

    /// Drops the service on a new thread.
    fn drop_on_a_thread(self) -> Receiver<String> {
        let call = move || {
            let moved = self;
            drop(moved.service);
            moved.events
        };
        thread::spawn(call).join().unwrap()
    }
}

struct Visitor {
    events: Sender<String>,
}

impl Handler for Visitor {
    type State = ();

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
        self.events.send("open".to_owned()).unwrap();
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        self.events.send(message.as_text().unwrap().to_owned()).unwrap();
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), closed: Closed) {
        self.events.send(closed.cause.to_string()).unwrap();
    }
}

/// Runs the service until the next event.
fn next(service: &mut Service, events: &Receiver<String>) -> String {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        service.run_once(Some(Duration::from_secs(1))).unwrap();
        if let Ok(event) = events.try_recv() {
            return event;
        }
    }
    panic!("no event came");
}

#[test]
fn a_service_with_connections_goes_from_thread_to_thread() {
    let (sender, events) = channel();
    let mut builder = Service::builder().listen("127.0.0.1:0");
    let visitor = builder.add_protocol(messages::with("visitor", Visitor { events: sender }));
    let mut service = builder.protocol(messages::echo("echo")).build().unwrap();
    let address = service.local_addresses()[0].to_string();
    let url = format!("ws://localhost:{}/", address.rsplit(':').next().unwrap());
    let connect = Connect::new(&url).unwrap().subprotocol("echo").unwrap();
    let id = service.control().protocol(visitor).unwrap().connect(connect);
    let remote = service.remote();

    // The name was not looked up yet, and nothing is connected.
    let moved = Moved { service, events }.on_a_thread(|service, events| assert_eq!(next(service, events), "open"));
    let moved = moved.on_a_thread(move |service, events| {
        service.control().connection(id).unwrap().push("from the second thread").unwrap();
        assert_eq!(next(service, events), "from the second thread");
    });
    // A job wakes the loop wherever it waits.
    let moved = moved.on_a_thread(move |service, events| {
        let push = move || remote.run(move |control| control.connection(id).unwrap().push("from a job").unwrap());
        let job = thread::spawn(push);
        assert_eq!(next(service, events), "from a job");
        job.join().unwrap().unwrap();
    });
    let events = moved.drop_on_a_thread();
    assert_eq!(events.recv().unwrap(), "the connection was dropped");
}
