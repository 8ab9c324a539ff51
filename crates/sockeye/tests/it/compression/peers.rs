//! A service whose peers are scripted and compress by zlib themselves, as browsers do.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use sockeye::sim::{Faults, Host, Network};
use sockeye::{Builder, Close, Closed, ClosedCx, Compression, ConnId, Cx, Fragment, Handshake, Limits, Protocol};
use sockeye::{Service, Tx};
use sockeye_testing::server::{Client, Heard};
use sockeye_testing::turns::Turns;

/// What a callback is to do.
type Act = Box<dyn FnOnce(&mut Cx<'_>)>;
type Send = Box<dyn FnOnce(Tx<'_>)>;

/// What the protocol was called for.
#[derive(Default)]
pub(super) struct Noted {
    pub(super) ids: RefCell<Vec<ConnId>>,
    /// The pieces that came: how long they are, and whether the message ended.
    pub(super) pieces: RefCell<Vec<(ConnId, usize, bool)>>,
    pub(super) messages: RefCell<Vec<Vec<u8>>>,
    pub(super) closed: RefCell<Vec<Closed>>,
    pub(super) agreed: RefCell<Vec<bool>>,
    /// For the next pieces.
    pub(super) on_piece: RefCell<VecDeque<Act>>,
    /// For the next writable callbacks.
    pub(super) sends: RefCell<VecDeque<(ConnId, Send)>>,
    /// Messages are sent back, those that begin with `-` as they are.
    pub(super) echoes: Cell<bool>,
}

struct Noter(Rc<Noted>);

#[derive(Default)]
struct Session {
    partial: Vec<u8>,
    echo: VecDeque<Vec<u8>>,
}

impl Protocol for Noter {
    type Session = Session;

    fn name(&self) -> &str {
        NAME
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> Session {
        self.0.ids.borrow_mut().push(cx.id());
        self.0.agreed.borrow_mut().push(handshake.compression().is_some());
        Session::default()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Session, fragment: Fragment<'_>) -> Result<(), Close> {
        let payload = fragment.payload.as_bytes();
        self.0.pieces.borrow_mut().push((cx.id(), payload.len(), fragment.last));
        session.partial.extend_from_slice(payload);
        let act = self.0.on_piece.borrow_mut().pop_front();
        act.into_iter().for_each(|act| act(cx));
        if fragment.last {
            let message = std::mem::take(&mut session.partial);
            if self.0.echoes.get() {
                session.echo.push_back(message.clone());
                cx.request_writable();
            }
            self.0.messages.borrow_mut().push(message);
        }
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Session, tx: Tx<'_>) -> Result<(), Close> {
        let own = |(id, _): &(ConnId, Send)| *id == cx.id();
        let at = self.0.sends.borrow().iter().position(own);
        if let Some((_, send)) = at.and_then(|at| self.0.sends.borrow_mut().remove(at)) {
            send(tx);
        } else if let (Some(message), Some(writable)) = (session.echo.pop_front(), tx.idle()) {
            let writable = if message.starts_with(b"-") { writable.uncompressed() } else { writable };
            writable.binary(&message);
        }
        if !session.echo.is_empty() || self.0.sends.borrow().iter().any(own) {
            cx.request_writable();
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, _: Session, closed: Closed) {
        self.0.closed.borrow_mut().push(closed);
    }
}

pub(super) const NAME: &str = "noter";
/// As Chrome offers it.
pub(super) const CHROME: &str = "permessage-deflate; client_max_window_bits";
/// As Firefox and Safari do.
pub(super) const FIREFOX: &str = "permessage-deflate";

pub(super) struct Room {
    pub(super) network: Network,
    pub(super) host: Host,
    pub(super) service: Service,
    pub(super) noted: Rc<Noted>,
    pub(super) clients: Vec<Client>,
    /// Clients that leave what arrives.
    pub(super) deaf: Vec<usize>,
    pub(super) turns: usize,
}

impl Room {
    pub(super) fn new(compression: Compression, limits: Limits) -> Self {
        Self::with(Faults::none(), limits, |builder| builder.compression(compression))
    }

    pub(super) fn with(faults: Faults, limits: Limits, more: impl FnOnce(Builder) -> Builder) -> Self {
        let network = Network::with_faults(1, faults);
        let host = network.host();
        let noted = Rc::<Noted>::default();
        let builder = more(Service::builder().limits(limits).listen("127.0.0.1:80"));
        let service = builder.protocol(Noter(Rc::clone(&noted))).build_with(host.sys()).unwrap();
        Self { network, host, service, noted, clients: Vec::new(), deaf: Vec::new(), turns: 0 }
    }

    pub(super) fn connect(&mut self, offer: Option<&str>) -> usize {
        self.connect_with(offer, "")
    }

    /// With more lines in the request.
    pub(super) fn connect_with(&mut self, offer: Option<&str>, lines: &str) -> usize {
        let number = self.clients.len();
        let address = self.service.local_addresses()[0].clone();
        let mut client = Client::connect(&self.network, &address, number as u64).unwrap();
        offer.into_iter().for_each(|offer| client.offer(offer));
        let mut head = client.handshake_bytes("/", NAME);
        head.splice(head.len() - 2..head.len() - 2, lines.bytes());
        client.raw(&head);
        self.clients.push(client);
        self.until(|room| room.clients[number].is_open());
        number
    }

    pub(super) fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let (is_done, _) = self.turn_until(Duration::from_secs(60), |room| done(room));
        assert!(is_done, "it does not come: {}", self.service.statistics());
    }

    /// The messages that a client heard.
    pub(super) fn heard(&self, client: usize) -> Vec<Vec<u8>> {
        let bytes = |heard: &Heard| match heard {
            Heard::Text(text) => text.clone().into_bytes(),
            Heard::Binary(bytes) => bytes.clone(),
            other => panic!("{other:?} is no message"),
        };
        self.clients[client].messages().map(bytes).collect()
    }

    /// How many messages a client heard.
    pub(super) fn count(&self, client: usize) -> usize {
        self.clients[client].messages().count()
    }

    /// What was not as it should be.
    pub(super) fn failed(&self, client: usize) -> Option<&Heard> {
        self.clients[client].heard.iter().find(|heard| matches!(heard, Heard::Failed(_)))
    }

    /// A masked frame with this payload, whatever it is.
    pub(super) fn frame(&self, client: usize, first: u8, payload: &[u8]) {
        self.clients[client].raw(&masked(first, payload));
    }

    /// Sends this in the next writable callback of a client's connection.
    pub(super) fn send(&mut self, client: usize, send: impl FnOnce(Tx<'_>) + 'static) {
        let id = self.noted.ids.borrow()[client];
        self.noted.sends.borrow_mut().push_back((id, Box::new(send)));
        self.service.control().connection(id).unwrap().request_writable();
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.service.statistics().held_bytes
    }
}

impl Turns for Room {
    fn network(&self) -> &Network {
        &self.network
    }

    fn turn(&mut self) {
        self.turns += 1;
        self.service.run_once(Some(Duration::ZERO)).unwrap();
        let now = self.network.now();
        for (number, client) in self.clients.iter_mut().enumerate() {
            if !self.deaf.contains(&number) {
                client.pump(usize::MAX, now);
                client.pump(usize::MAX, now);
            }
        }
    }

    fn next_deadline(&self) -> Option<sockeye::proto::time::Instant> {
        self.service.next_deadline()
    }
}

/// A client's frame; the key is zero.
pub(super) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = sockeye_testing::client::frame(first, payload);
    let head = frame.len() - payload.len();
    frame[1] |= 0x80;
    frame.splice(head..head, [0; 4]);
    frame
}

/// Bytes that no compressor shortens.
pub(super) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = sockeye_testing::rng::Rng::new(seed);
    (0..len).map(|_| rng.draw() as u8).collect()
}
