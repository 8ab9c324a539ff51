//! Connects with TLS: to a service of the same kind, to what is something else, and through a proxy.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::client::{FailureCause, HandshakeHead, Stage};
use sockeye::protocol::ProtocolMut;
use sockeye::service::Listen;
use sockeye::sim::{Faults, Network, Turn};
use sockeye::sys::Address;
use sockeye::tls::{TlsFailureKind, TlsVersion};
use sockeye::{
    Close, CloseCode, Closed, ClosedCx, ConnId, Connect, Cx, Failure, Fragment, Handshake, Protocol, Service, Tx,
    messages,
};

use super::{Certified, VERSIONS, certified};

const LENGTHS: [usize; 8] = [0, 1, 125, 126, 16_384, 65_535, 65_536, 1 << 20];

/// What happened, in order.
pub(super) type Log = Rc<RefCell<Vec<String>>>;

/// Sends messages of several lengths, each when the one before has come back, and closes.
pub(super) struct Probe(Log);

#[derive(Default)]
pub(super) struct Round {
    number: usize,
    got: Vec<u8>,
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7) as u8).collect()
}

impl Protocol for Probe {
    type Session = Round;

    fn name(&self) -> &str {
        "probe"
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> Round {
        let tls = handshake.tls().unwrap();
        assert_eq!((tls.version(), tls.server_name()), (TlsVersion::Tls13, Some("localhost")));
        let server = tls.peer_identity().unwrap();
        assert_eq!(server.certificate().names()[0].to_string(), "localhost");
        self.0.borrow_mut().push("open".to_owned());
        cx.request_writable();
        Round::default()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, round: &mut Round, fragment: Fragment<'_>) -> Result<(), Close> {
        round.got.extend_from_slice(fragment.payload.as_bytes());
        if !fragment.last {
            return Ok(());
        }
        assert!(std::mem::take(&mut round.got) == payload(LENGTHS[round.number]), "message {}", round.number);
        round.number += 1;
        if round.number == LENGTHS.len() {
            return Err(CloseCode::NORMAL.into());
        }
        cx.request_writable();
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, round: &mut Round, tx: Tx<'_>) -> Result<(), Close> {
        if let Some(permission) = tx.idle() {
            permission.binary(&payload(LENGTHS[round.number]));
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, _: Round, closed: Closed) {
        self.0.borrow_mut().push(format!("closed {:?}", closed.cause));
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, failure: Failure) {
        let cause = match &failure.cause {
            FailureCause::Tls(cause) => format!("{:?}", cause.kind()),
            other => format!("{other:?}"),
        };
        self.0.borrow_mut().push(format!("failed {:?} {cause}", failure.stage));
    }

    fn handshake_head(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, head: HandshakeHead<'_>) {
        let bytes = String::from_utf8_lossy(head.bytes());
        let shown = match head {
            HandshakeHead::Secured(tls) => format!("{} {}", tls.version(), tls.cipher()),
            _ => bytes.lines().next().unwrap().to_owned(),
        };
        assert_eq!(bytes.is_empty(), matches!(head, HandshakeHead::Secured(_)));
        self.0.borrow_mut().push(shown);
    }
}

pub(super) struct Bench {
    pub(super) network: Network,
    pub(super) server: Service,
    pub(super) client: Service,
    pub(super) log: Log,
}

impl Bench {
    pub(super) fn new(certified: &Certified, faults: Faults, seed: u64) -> Self {
        let network = Network::with_faults(seed, faults);
        let listen = Listen::new("127.0.0.1:443").tls(certified.server.clone());
        let server = Service::builder().protocol(messages::echo("echo")).listener(listen).listen("127.0.0.1:80");
        let server = server.build_with(network.sys()).unwrap();
        let log = Log::default();
        let client = Service::builder().protocol(Probe(Rc::clone(&log))).build_with(network.sys()).unwrap();
        Self { network, server, client, log }
    }

    pub(super) fn connect(&mut self, connect: Connect) {
        self.client.control().protocol_named("probe").unwrap().connect(connect);
    }

    /// Turns of both services, until the connect has an end.
    pub(super) fn until_over(&mut self, mut between: impl FnMut()) -> Vec<String> {
        let Self { network, server, client, log } = self;
        let mut turns = 0;
        network.run(|| {
            between();
            server.run_once(Some(Duration::ZERO)).unwrap();
            client.run_once(Some(Duration::ZERO)).unwrap();
            turns += 1;
            assert!(turns < 1_000_000, "no end");
            let is_end = |last: &String| last.starts_with("closed") || last.starts_with("failed");
            let is_over = log.borrow().last().is_some_and(is_end);
            let next = [server.next_deadline(), client.next_deadline()].into_iter().flatten().min();
            if is_over { Turn::Done } else { Turn::Sleep(next) }
        });
        std::mem::take(&mut *self.log.borrow_mut())
    }
}

pub(super) fn to(url: &str, address: &str, certified: &Certified) -> Connect {
    let address = Address::Ip(address.parse().unwrap());
    Connect::new(url).unwrap().subprotocol("echo").unwrap().to([address]).tls(certified.own.clone())
}

#[test]
fn messages_of_every_size_go_both_ways() {
    let certified = certified(VERSIONS[0]);
    for (seed, faults) in [(1, Faults::none()), (2, Faults::none().with_segment(1000))] {
        let mut bench = Bench::new(&certified, faults, seed);
        bench.connect(to("wss://localhost/", "127.0.0.1:443", &certified));
        assert_eq!(bench.until_over(|| {}), ["open", "closed Handshake"]);
        let statistics = bench.client.statistics();
        assert_eq!((statistics.held_bytes, statistics.closes.handshake), (0, 1));
        // The second one resumes the session of the first: the configurations are the same.
        let tls = bench.server.statistics().tls;
        assert_eq!(tls.full + tls.resumed, 1);
    }
}

/// Who shows the handshake shows what TLS agreed on where it happened.
#[test]
fn what_was_agreed_on_is_reported_before_the_request() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(&certified, Faults::none(), 1);
    let connect = to("wss://localhost/", "127.0.0.1:443", &certified);
    bench.connect(connect.clone().report_handshake());
    let all = bench.until_over(|| {});
    let agreed = "TLS 1.3 TLS13_AES_256_GCM_SHA384";
    let (request, accepted) = ("GET / HTTP/1.1", "HTTP/1.1 101 Switching Protocols");
    assert_eq!(all, [agreed, request, accepted, "open", "closed Handshake"]);
    bench.connect(connect.subprotocol("other").unwrap());
    assert_eq!(bench.until_over(|| {}), ["open", "closed Handshake"], "those who did not ask");
}

/// Tickets of the first connection resume the second.
#[test]
fn a_second_connection_resumes_the_session() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(&certified, Faults::none(), 1);
    for _ in 0..2 {
        bench.connect(to("wss://localhost/", "127.0.0.1:443", &certified));
        assert_eq!(bench.until_over(|| {}), ["open", "closed Handshake"]);
    }
    let tls = bench.server.statistics().tls;
    assert_eq!((tls.started, tls.full, tls.resumed), (2, 1, 1));
}

#[test]
fn a_failure_says_which_rule_broke() {
    let (certified, other) = (certified(VERSIONS[0]), certified(VERSIONS[0]));
    let mut bench = Bench::new(&certified, Faults::none(), 1);
    let failed = |kind: TlsFailureKind| format!("failed {:?} {kind:?}", Stage::Tls);
    for (connect, kind) in [
        (to("wss://127.0.0.1/", "127.0.0.1:443", &certified), TlsFailureKind::WrongName),
        (to("wss://elsewhere/", "127.0.0.1:443", &certified), TlsFailureKind::WrongName),
        (to("wss://localhost/", "127.0.0.1:443", &other), TlsFailureKind::UnknownIssuer),
        // The port of plain HTTP answers 400.
        (to("wss://localhost/", "127.0.0.1:80", &certified), TlsFailureKind::NotTls),
    ] {
        bench.connect(connect);
        assert_eq!(bench.until_over(|| {}), [failed(kind)]);
    }
    assert_eq!((bench.client.statistics().failures.tls, bench.server.statistics().tls.refused), (4, 3));
    // Without a configuration nothing is sent.
    bench.connect(Connect::new("wss://127.0.0.1/").unwrap());
    assert!(bench.until_over(|| {})[0].starts_with("failed Connect Unsupported"));
}

#[test]
fn a_server_that_is_silent_or_goes_away_in_the_handshake_is_given_up() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(&certified, Faults::none(), 1);
    let listener = bench.network.listen(&Address::Ip(([127, 0, 0, 1], 444).into()));
    let begun = bench.network.now();
    bench.connect(to("wss://localhost/", "127.0.0.1:444", &certified));
    let mut peers = Vec::new();
    let log = bench.until_over(|| peers.extend(listener.accept()));
    assert_eq!(log, ["failed Tls Timeout { after: 10s }"]);
    assert_eq!(bench.network.now().saturating_duration_since(begun), Duration::from_secs(10));
    peers.clear();
    bench.connect(to("wss://localhost/", "127.0.0.1:444", &certified));
    let log = bench.until_over(|| {
        if let Some(peer) = listener.accept() {
            peer.shutdown();
            peers.push(peer);
        }
    });
    assert_eq!(log, ["failed Tls ClosedInHandshake"]);
}
