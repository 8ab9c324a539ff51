//! The views of connections and protocols: what they are asked, and in which order it is done. Two services on one simulated
//! network, one a server and one its clients, do what each test scripts, and note what happens to them.

mod access;
mod addresses;
mod ids;
mod order;
mod push;
mod topics;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use sockeye::protocol::ProtocolHandle;
use sockeye::sim::{Faults, Network, Turn};
use sockeye::{
    Close, Closed, ClosedCx, ConnId, Connect, Control, Cx, Failure, Fragment, Handshake, Limits, Protocol, Service, Tx,
};

type Receive = Box<dyn FnOnce(&mut Cx<'_>) -> Result<(), Close>>;
type Write = Box<dyn FnOnce(&mut Cx<'_>, Tx<'_>) -> Result<(), Close>>;

/// What a service is to do, and what happened in it.
#[derive(Default)]
pub(crate) struct Notes {
    /// What the next message makes the service do that received it.
    pub(crate) on_message: RefCell<VecDeque<Receive>>,
    pub(crate) on_writable: RefCell<VecDeque<Write>>,
    /// Open connections, in the order in which they opened.
    pub(crate) open: RefCell<Vec<ConnId>>,
    pub(crate) received: RefCell<BTreeMap<ConnId, Vec<String>>>,
    pub(crate) closed: RefCell<BTreeMap<ConnId, Closed>>,
    /// Whose queued bytes have become few.
    pub(crate) low: RefCell<Vec<ConnId>>,
    pub(crate) failed: RefCell<Vec<(ConnId, String)>>,
}

impl Notes {
    pub(crate) fn on_message(&self, call: impl FnOnce(&mut Cx<'_>) -> Result<(), Close> + 'static) {
        self.on_message.borrow_mut().push_back(Box::new(call));
    }

    pub(crate) fn on_writable(&self, call: impl FnOnce(&mut Cx<'_>, Tx<'_>) -> Result<(), Close> + 'static) {
        self.on_writable.borrow_mut().push_back(Box::new(call));
    }

    pub(crate) fn id(&self, index: usize) -> ConnId {
        self.open.borrow()[index]
    }

    /// What the connection received, one message after another, with spaces between.
    pub(crate) fn text(&self, index: usize) -> String {
        self.received.borrow().get(&self.id(index)).map(|messages| messages.join(" ")).unwrap_or_default()
    }

    pub(crate) fn closed(&self, index: usize) -> Option<Closed> {
        self.closed.borrow().get(&self.id(index)).cloned()
    }
}

/// The protocol of both.
pub(crate) struct Scripted {
    pub(crate) notes: Rc<Notes>,
}

impl Protocol for Scripted {
    type Session = String;

    fn name(&self) -> &'static str {
        "scripted"
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) -> String {
        self.notes.open.borrow_mut().push(cx.id());
        String::new()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, partial: &mut String, fragment: Fragment<'_>) -> Result<(), Close> {
        partial.push_str(std::str::from_utf8(fragment.payload.as_bytes()).unwrap());
        if !fragment.last {
            return Ok(());
        }
        self.notes.received.borrow_mut().entry(cx.id()).or_default().push(std::mem::take(partial));
        let call = self.notes.on_message.borrow_mut().pop_front();
        call.map_or(Ok(()), |call| call(cx))
    }

    fn writable(&mut self, cx: &mut Cx<'_>, _: &mut String, tx: Tx<'_>) -> Result<(), Close> {
        let call = self.notes.on_writable.borrow_mut().pop_front();
        call.map_or(Ok(()), |call| call(cx, tx))
    }

    fn low_water(&mut self, cx: &mut Cx<'_>, _: &mut String) -> Result<(), Close> {
        self.notes.low.borrow_mut().push(cx.id());
        Ok(())
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, _: String, closed: Closed) {
        self.notes.closed.borrow_mut().insert(cx.id(), closed);
    }

    fn failed(&mut self, _: &mut sockeye::protocol::ProtocolMut<'_>, id: ConnId, failure: Failure) {
        self.notes.failed.borrow_mut().push((id, failure.to_string()));
    }
}

/// A service and what it noted.
pub(crate) struct Side {
    pub(crate) service: Service,
    pub(crate) handle: ProtocolHandle<Scripted>,
    pub(crate) notes: Rc<Notes>,
}

impl Side {
    fn new(network: &Network, limits: Limits, listens: bool) -> Self {
        let notes = Rc::new(Notes::default());
        let mut builder = Service::builder().limits(limits);
        let handle = builder.add_fallback(Scripted { notes: notes.clone() });
        if listens {
            builder = builder.listen("10.0.0.1:80");
        }
        Self { service: builder.build_with(network.host().sys()).unwrap(), handle, notes }
    }

    pub(crate) fn control(&mut self) -> Control<'_> {
        self.service.control()
    }
}

/// A server and its clients.
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) server: Side,
    pub(crate) client: Side,
}

impl World {
    pub(crate) fn new(clients: usize) -> Self {
        Self::with(Faults::none(), Limits::default(), clients)
    }

    pub(crate) fn with(faults: Faults, limits: Limits, clients: usize) -> Self {
        let network = Network::with_faults(1, faults);
        let server = Side::new(&network, limits.clone(), true);
        let client = Side::new(&network, limits, false);
        let mut world = Self { network, server, client };
        for index in 0..clients {
            let connect = Connect::new("ws://10.0.0.1/").unwrap();
            world.client.service.control().protocol(world.client.handle).unwrap().connect(connect);
            world.until(|world| world.server.notes.open.borrow().len() > index);
            world.until(|world| world.client.notes.open.borrow().len() > index);
        }
        world
    }

    /// The notes of the side that acts, and of the other.
    pub(crate) fn actor(&self, of_client: bool) -> (Rc<Notes>, Rc<Notes>) {
        let (server, client) = (self.server.notes.clone(), self.client.notes.clone());
        if of_client { (client, server) } else { (server, client) }
    }

    pub(crate) fn control_of(&mut self, of_client: bool) -> Control<'_> {
        if of_client { self.client.control() } else { self.server.control() }
    }

    /// The codes that both sides saw at the end of a connection.
    pub(crate) fn closed_codes(&self, index: usize) -> [u16; 2] {
        [&self.server, &self.client].map(|side| side.notes.closed(index).expect("it has ended").code_seen())
    }

    /// Takes turns until `done`.
    pub(crate) fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let (network, limit) = (self.network.clone(), self.network.now() + Duration::from_secs(600));
        network.run(|| {
            self.server.service.run_once(Some(Duration::ZERO)).unwrap();
            self.client.service.run_once(Some(Duration::ZERO)).unwrap();
            if done(self) || network.now() >= limit {
                return Turn::Done;
            }
            let next = [self.server.service.next_deadline(), self.client.service.next_deadline()];
            Turn::Sleep(Some(next.into_iter().flatten().min().unwrap_or(limit).min(limit)))
        });
        assert!(done(self), "it did not come");
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.network.now() + time;
        let network = self.network.clone();
        network.run(|| {
            self.server.service.run_once(Some(Duration::ZERO)).unwrap();
            self.client.service.run_once(Some(Duration::ZERO)).unwrap();
            if network.now() >= end {
                return Turn::Done;
            }
            let next = [self.server.service.next_deadline(), self.client.service.next_deadline()];
            Turn::Sleep(Some(next.into_iter().flatten().min().unwrap_or(end).min(end)))
        });
    }

    /// Has one side's connection send "go", which makes the other do the next of its script.
    pub(crate) fn go(from: &mut Side, index: usize) {
        from.notes.on_writable(|_, tx| {
            tx.idle().unwrap().text("go");
            Ok(())
        });
        let id = from.notes.id(index);
        from.control().connection(id).unwrap().request_writable();
    }
}
