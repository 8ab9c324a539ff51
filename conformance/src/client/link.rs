//! One connection as a program of steps sees it: say this, wait for that. Between the steps the loop is turned, and no
//! longer than to the deadline of a wait.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use sockeye::client::Proxy;
use sockeye::proto::conn::ControlPayload;
use sockeye::proto::wire::MessageKind;
use sockeye::protocol::{Fragmented, ProtocolMut};
use sockeye::tls::{ClientTls, Provider};
use sockeye::{
    Close, Closed, ClosedCx, Compression, ConnId, Connect, Cx, Failure, Fragment, Handshake, Protocol, Service, Tx,
};

/// The longest wait for one step: 16 MiB through a proxy, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

static BEGUN: AtomicUsize = AtomicUsize::new(0);

/// How many connections were begun so far, those of redirects that were followed included.
pub(crate) fn begun() -> usize {
    BEGUN.load(Ordering::Relaxed)
}

static COMPRESSES: AtomicBool = AtomicBool::new(false);
static COMPRESSED: AtomicUsize = AtomicUsize::new(0);

/// From now on compression is offered.
pub(crate) fn compress() {
    COMPRESSES.store(true, Ordering::Relaxed);
}

/// How many connections agreed to it, if it is offered.
pub(crate) fn compressed() -> Option<usize> {
    COMPRESSES.load(Ordering::Relaxed).then(|| COMPRESSED.load(Ordering::Relaxed))
}

/// A connect that trusts the authorities of the system if the URL is one of `wss`: SSL_CERT_FILE names others.
pub(crate) fn connect(url: &str) -> Result<Connect, String> {
    let connect = Connect::new(url).map_err(|error| format!("{url}: {error}"))?;
    if url.starts_with("wss:") { Ok(connect.tls(tls()?)) } else { Ok(connect) }
}

/// One for all connections, so that sessions are resumed.
fn tls() -> Result<ClientTls, String> {
    static TLS: OnceLock<Result<ClientTls, String>> = OnceLock::new();
    let build = || ClientTls::builder(Provider::Ring).system_roots().build().map_err(|error| error.to_string());
    TLS.get_or_init(build).clone()
}

/// The way to the server.
pub(crate) enum Way {
    Direct,
    Through(Proxy),
    /// As the environment says.
    Environment,
}

impl Way {
    /// Through a proxy, or through what the environment says when that is `env`.
    pub(crate) fn through(proxy: &str) -> Result<Self, String> {
        match proxy {
            "env" => Ok(Self::Environment),
            url => Proxy::parse(url).map(Self::Through).map_err(|error| error.to_string()),
        }
    }

    pub(crate) fn connect(&self, url: &str) -> Result<Connect, String> {
        let connect = connect(url)?;
        match self {
            Self::Direct => Ok(connect),
            // For a proxy that speaks TLS itself.
            Self::Through(proxy) => Ok(connect.proxy(proxy.clone()).proxy_tls(tls()?)),
            Self::Environment => connect.proxy_from_env().map_err(|error| error.to_string()),
        }
    }
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// With the subprotocol that the server chose.
    Open(Option<String>),
    Message(Whole),
    Pong(Vec<u8>),
    Closed(Closed),
    Failed(Failure),
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) kind: MessageKind,
    pub(crate) bytes: Vec<u8>,
    /// Frames that had a payload, as far as can be told: one that ends inside a code point is not counted.
    pub(crate) frames: usize,
}

/// What is to be said.
pub(crate) enum Piece {
    Text(String),
    Binary(Vec<u8>),
    /// A fragment, the first or a later one, which is not the last.
    TextFragment(String),
    BinaryFragment(Vec<u8>),
    LastText(String),
    LastBinary(Vec<u8>),
    Ping(Vec<u8>),
}

/// A connection, and the loop that it is alone in.
pub(crate) struct Link {
    service: Service,
    shared: Rc<Shared>,
    id: ConnId,
    /// The subprotocol that the server chose.
    pub(crate) subprotocol: Option<String>,
}

#[derive(Default)]
struct Shared {
    events: RefCell<VecDeque<Event>>,
    outgoing: RefCell<VecDeque<Piece>>,
}

impl Link {
    /// Opens a connection, or says why it cannot be opened.
    pub(crate) fn open(connect: Connect) -> Result<Self, String> {
        let mut link = Self::begin(connect)?;
        match link.next()? {
            Event::Open(subprotocol) => {
                link.subprotocol = subprotocol;
                Ok(link)
            }
            Event::Failed(failure) => Err(failure.to_string()),
            other => Err(format!("{other:?} before it was open")),
        }
    }

    /// Opens a connection that `redirects` lead to, one after the other.
    pub(crate) fn open_behind(redirects: u8, connect: Connect) -> Result<Self, String> {
        BEGUN.fetch_add(usize::from(redirects), Ordering::Relaxed);
        Self::open(connect.redirects(redirects))
    }

    /// Connecting has to fail; this is how it did.
    pub(crate) fn failure(connect: Connect) -> Result<Failure, String> {
        match Self::begin(connect)?.next()? {
            Event::Failed(failure) => Ok(failure),
            other => Err(format!("{other:?}, not a failure")),
        }
    }

    fn begin(connect: Connect) -> Result<Self, String> {
        BEGUN.fetch_add(1, Ordering::Relaxed);
        let shared = Rc::<Shared>::default();
        let script = Script { shared: shared.clone() };
        let mut service = Service::builder().protocol(script).build().map_err(|error| error.to_string())?;
        let id = service
            .control()
            .protocol_named(NAME)
            .map(|mut protocol| protocol.connect(connect))
            .map_err(|error| error.to_string())?;
        Ok(Self { service, shared, id, subprotocol: None })
    }

    pub(crate) fn say(&mut self, piece: Piece) {
        self.shared.outgoing.borrow_mut().push_back(piece);
        // Gone: then the next wait tells how it ended.
        if let Ok(mut connection) = self.service.control().connection(self.id) {
            connection.request_writable();
        }
    }

    /// Begins the closing handshake, behind what was said before.
    pub(crate) fn close(&mut self, close: Close) -> Result<(), String> {
        self.service
            .control()
            .connection(self.id)
            .map(|mut connection| connection.close(close))
            .map_err(|error| error.to_string())
    }

    /// The next thing that happens.
    pub(crate) fn next(&mut self) -> Result<Event, String> {
        self.poll(LIMIT)?.ok_or_else(|| format!("nothing came within {LIMIT:?}"))
    }

    /// The next thing that happens within `wait`.
    pub(crate) fn poll(&mut self, wait: Duration) -> Result<Option<Event>, String> {
        let deadline = Instant::now() + wait;
        loop {
            let event = self.shared.events.borrow_mut().pop_front();
            if event.is_some() {
                return Ok(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.service.run_once(Some(left)).map_err(|error| error.to_string())?;
        }
    }

    /// The next thing has to be a message.
    pub(crate) fn message(&mut self) -> Result<Whole, String> {
        match self.next()? {
            Event::Message(whole) => Ok(whole),
            other => Err(format!("{other:?}, not a message")),
        }
    }

    /// The next thing has to be a text.
    pub(crate) fn text(&mut self) -> Result<String, String> {
        match self.message()? {
            Whole { kind: MessageKind::Text, bytes, .. } => String::from_utf8(bytes).map_err(|error| error.to_string()),
            Whole { bytes, .. } => Err(format!("a binary message of {} bytes, not a text", bytes.len())),
        }
    }

    /// How many messages came compressed.
    pub(crate) fn compressed(&self) -> u64 {
        self.service.statistics().compression.received
    }

    /// The next thing has to be the end.
    pub(crate) fn closed(&mut self) -> Result<Closed, String> {
        match self.next()? {
            Event::Closed(closed) => Ok(closed),
            other => Err(format!("{other:?}, not the end")),
        }
    }
}

/// How the program calls the endpoint; it is not offered to the server.
const NAME: &str = "script";

struct Script {
    shared: Rc<Shared>,
}

impl Script {
    fn tell(&self, event: Event) {
        self.shared.events.borrow_mut().push_back(event);
    }
}

impl Protocol for Script {
    /// The message that is coming.
    type Session = Whole;

    fn name(&self) -> &str {
        NAME
    }

    fn compression(&self) -> Option<Compression> {
        COMPRESSES.load(Ordering::Relaxed).then(Compression::new)
    }

    fn open(&mut self, _: &mut Cx<'_>, handshake: &Handshake<'_>) -> Whole {
        COMPRESSED.fetch_add(usize::from(handshake.compression().is_some()), Ordering::Relaxed);
        self.tell(Event::Open(handshake.subprotocol().map(str::to_owned)));
        Whole { kind: MessageKind::Text, bytes: Vec::new(), frames: 0 }
    }

    fn receive(&mut self, _: &mut Cx<'_>, whole: &mut Whole, fragment: Fragment<'_>) -> Result<(), Close> {
        whole.kind = fragment.kind;
        whole.bytes.extend_from_slice(fragment.payload.as_bytes());
        whole.frames += usize::from(fragment.remaining == 0 && !fragment.payload.as_bytes().is_empty());
        if fragment.last {
            let next = Whole { kind: fragment.kind, bytes: Vec::new(), frames: 0 };
            self.tell(Event::Message(std::mem::replace(whole, next)));
        }
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, _: &mut Whole, tx: Tx<'_>) -> Result<(), Close> {
        let mut outgoing = self.shared.outgoing.borrow_mut();
        let mut tx = Some(tx);
        while !outgoing.is_empty() {
            let Some(permission) = tx.take() else { break };
            let Some(piece) = outgoing.pop_front() else { break };
            tx = send(permission, piece)?;
        }
        if !outgoing.is_empty() {
            cx.request_writable();
        }
        Ok(())
    }

    fn pong(&mut self, _: &mut Cx<'_>, _: &mut Whole, payload: &[u8]) -> Result<(), Close> {
        self.tell(Event::Pong(payload.to_vec()));
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, _: Whole, closed: Closed) {
        self.tell(Event::Closed(closed));
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, failure: Failure) {
        self.tell(Event::Failed(failure));
    }
}

/// Says one piece; what comes back is the permission to go on.
fn send<'t>(tx: Tx<'t>, piece: Piece) -> Result<Option<Tx<'t>>, Close> {
    use sockeye::CloseCode;
    let text = |fragments: Option<_>| fragments.map(|fragments| Tx::Mid(Fragmented::Text(fragments)));
    let binary = |fragments: Option<_>| fragments.map(|fragments| Tx::Mid(Fragmented::Binary(fragments)));
    Ok(match (tx, piece) {
        (Tx::Idle(idle), Piece::Text(message)) => idle.text(&message).more().map(Tx::Idle),
        (Tx::Idle(idle), Piece::Binary(message)) => idle.binary(&message).more().map(Tx::Idle),
        (Tx::Idle(idle), Piece::TextFragment(first)) => text(idle.begin_text(&first).more()),
        (Tx::Idle(idle), Piece::BinaryFragment(first)) => binary(idle.begin_binary(&first).more()),
        (Tx::Mid(Fragmented::Text(mid)), Piece::TextFragment(next)) => text(mid.fragment(&next).more()),
        (Tx::Mid(Fragmented::Binary(mid)), Piece::BinaryFragment(next)) => binary(mid.fragment(&next).more()),
        (Tx::Mid(Fragmented::Text(mid)), Piece::LastText(last)) => mid.finish(&last).more().map(Tx::Idle),
        (Tx::Mid(Fragmented::Binary(mid)), Piece::LastBinary(last)) => mid.finish(&last).more().map(Tx::Idle),
        (Tx::Idle(mut idle), Piece::Ping(payload)) => {
            idle.ping(ControlPayload::new(&payload).map_err(|_| CloseCode::INTERNAL)?);
            Some(Tx::Idle(idle))
        }
        // A script that begins a message and says something else is wrong itself.
        _ => return Err(CloseCode::INTERNAL.into()),
    })
}
