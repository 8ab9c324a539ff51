//! Two services in one simulated network, a server and a client of it, whose protocols note what they are called for.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::proto::conn::ControlPayload;
use sockeye::service::ServiceState;
use sockeye::sim::{Faults, Host, Network, Turn};
use sockeye::{
    Builder, Close, CloseCode, Closed, ClosedCx, ConnId, Connect, Cx, Fragment, Handshake, Limits, Protocol, Service,
    Tx,
};
use sockeye_proto::time::Instant;

use crate::outer::{Outer, Table};

pub const NAME: &str = "script";

/// What one side was called for, and when.
pub type Log = Rc<RefCell<Vec<(Instant, String)>>>;

type Hook = Box<dyn FnMut(&mut Cx<'_>, &mut Session, &str) -> Result<(), Close>>;

/// A protocol that notes each callback, and does in it what the test's hook does.
pub struct Script {
    log: Log,
    hook: Hook,
}

/// What waits to be sent, as text messages.
#[derive(Default)]
pub struct Session {
    pub queue: Vec<String>,
    /// The payload of keepalive pings, unless none are to be sent.
    pub payload: Vec<u8>,
    pub skips_pings: bool,
}

impl Script {
    /// Only notes.
    pub fn new() -> Self {
        Self::with(|_, _, _| Ok(()))
    }

    /// Calls `hook` in each callback but `closed`, with what was noted.
    pub fn with(hook: impl FnMut(&mut Cx<'_>, &mut Session, &str) -> Result<(), Close> + 'static) -> Self {
        Self { log: Log::default(), hook: Box::new(hook) }
    }

    /// What it notes.
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    fn call(&mut self, cx: &mut Cx<'_>, session: &mut Session, what: String) -> Result<(), Close> {
        self.log.borrow_mut().push((cx.now(), what.clone()));
        let result = (self.hook)(cx, session, &what);
        if !session.queue.is_empty() {
            cx.request_writable();
        }
        result
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Protocol for Script {
    type Session = Session;

    fn name(&self) -> &str {
        NAME
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) -> Session {
        let mut session = Session::default();
        if let Err(close) = self.call(cx, &mut session, "open".to_owned()) {
            cx.close(close);
        }
        session
    }

    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Session, fragment: Fragment<'_>) -> Result<(), Close> {
        let text = String::from_utf8_lossy(fragment.payload.as_bytes()).into_owned();
        self.call(cx, session, format!("receive {text}"))
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Session, tx: Tx<'_>) -> Result<(), Close> {
        let mut permission = tx.idle();
        for text in std::mem::take(&mut session.queue) {
            permission = permission.and_then(|writable| writable.text(&text).more_or_last());
        }
        self.call(cx, session, "writable".to_owned())
    }

    fn ping(&mut self, cx: &mut Cx<'_>, session: &mut Session, payload: &[u8]) -> Result<(), Close> {
        self.call(cx, session, format!("ping {}", String::from_utf8_lossy(payload)))
    }

    fn pong(&mut self, cx: &mut Cx<'_>, session: &mut Session, payload: &[u8]) -> Result<(), Close> {
        self.call(cx, session, format!("pong {}", String::from_utf8_lossy(payload)))
    }

    fn ping_due(&mut self, cx: &mut Cx<'_>, session: &mut Session) -> Option<ControlPayload> {
        if let Err(close) = self.call(cx, session, "due".to_owned()) {
            cx.close(close);
        }
        (!session.skips_pings).then(|| ControlPayload::new(&session.payload).expect("it is short"))
    }

    fn timer(&mut self, cx: &mut Cx<'_>, session: &mut Session) -> Result<(), Close> {
        self.call(cx, session, "timer".to_owned())
    }

    fn closing(&mut self, cx: &mut Cx<'_>, session: &mut Session, received: &Close) {
        let code = received.code().map(CloseCode::get);
        let result = self.call(cx, session, format!("closing {code:?} {}", received.reason()));
        result.expect("a close is on its way already");
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, _: Session, closed: Closed) {
        let codes =
            [&closed.sent, &closed.received].map(|close| close.as_ref().and_then(Close::code).map(CloseCode::get));
        let line = format!("closed {:?} {:?} {codes:?}", closed.cause, closed.initiator);
        self.log.borrow_mut().push((cx.now(), line));
    }
}

/// One of the two services.
pub struct Side {
    pub service: Service,
    pub host: Host,
    log: Log,
    outer: Option<Outer>,
    drained: bool,
}

pub struct Pair {
    pub network: Network,
    pub server: Side,
    pub client: Side,
    /// The client's connection.
    pub id: ConnId,
}

impl Pair {
    /// A client that has connected to a server; not more than that has happened.
    pub fn new(faults: Faults, server: (Script, Limits), client: (Script, Limits), outside: bool) -> Self {
        let network = Network::with_faults(1, faults);
        let server = Side::new(&network, server, outside, |builder| builder.listen("10.0.0.1:80"));
        let mut client = Side::new(&network, client, outside, |builder| builder);
        let connect = Connect::new("ws://10.0.0.1/").expect("a URL").subprotocol(NAME).expect("a name");
        let id = client.service.control().protocol_named(NAME).expect("it is there").connect(connect);
        Self { network, server, client, id }
    }

    /// Takes turns until `done`, for ten virtual minutes at most.
    pub fn until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let network = self.network.clone();
        let limit = network.now() + Duration::from_secs(600);
        network.run(|| {
            let again = self.server.turn() | self.client.turn();
            if done(self) || network.now() >= limit { Turn::Done } else { self.sleep(again, limit) }
        });
        assert!(done(self), "it did not come: {:?} {:?}", self.server.log.borrow(), self.client.log.borrow());
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let network = self.network.clone();
        let end = network.now() + time;
        network.run(|| {
            let again = self.server.turn() | self.client.turn();
            if network.now() >= end { Turn::Done } else { self.sleep(again, end) }
        });
    }

    /// Until one of them has work, or until `limit`.
    fn sleep(&self, again: bool, limit: Instant) -> Turn {
        let again = again.then(|| self.network.now());
        let sides = [&self.server, &self.client].map(|side| side.service.next_deadline().filter(|_| !side.drained));
        Turn::Sleep(sides.into_iter().chain([again, Some(limit)]).flatten().min())
    }
}

impl Side {
    fn new(
        network: &Network,
        (script, limits): (Script, Limits),
        outside: bool,
        listen: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let host = network.host();
        let log = script.log.clone();
        let table = Table::default();
        let builder = listen(Service::builder().limits(limits).protocol(script));
        let service = if outside {
            builder.build_external_with(host.sys(), table.clone())
        } else {
            builder.build_with(host.sys())
        };
        let outer = outside.then(|| Outer::new(table, 1));
        Self { service: service.expect("it can be built"), host, log, outer, drained: false }
    }

    /// Whether another turn must follow at once.
    fn turn(&mut self) -> bool {
        if self.drained {
            return false;
        }
        if let Some(outer) = &mut self.outer {
            let turned = outer.turn(&mut self.service, &self.host, &|| ()).expect("the loop keeps its promises");
            self.drained = turned.drained;
            return turned.again;
        }
        self.drained = self.service.run_once(Some(Duration::ZERO)).expect("the poller works") == ServiceState::Drained;
        false
    }

    /// What it was called for.
    pub fn log(&self) -> Vec<String> {
        self.log.borrow().iter().map(|(_, line)| line.clone()).collect()
    }

    /// When it was called for what begins like this.
    pub fn times(&self, what: &str) -> Vec<Instant> {
        self.log.borrow().iter().filter(|(_, line)| line.starts_with(what)).map(|(at, _)| *at).collect()
    }

    pub fn has(&self, what: &str) -> bool {
        !self.times(what).is_empty()
    }
}
