//! TLS on raw connections: from the first byte, and begun later, as by STARTTLS.

use std::cell::{Cell, RefCell};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use sockeye::client::{FailureCause, RawConnect};
use sockeye::raw::{EndpointHandle, EndpointMut, Raw, RawClose, RawClosed, RawClosedCx, RawCx, RawWritable};
use sockeye::service::Listen;
use sockeye::sim::{Faults, Network, Turn};
use sockeye::sys::Address;
use sockeye::tls::{TlsAgreement, TlsFailure, TlsRole, TlsVersion};
use sockeye::{ConnId, Failure, Limits, Service};

use super::scripted::Scripted;
use super::{Certified, VERSIONS, certified};

type Log = Rc<RefCell<Vec<String>>>;

/// A small protocol of lines. The server answers `STARTTLS` with `go`, after which both begin TLS, and any other line with
/// `ok` and the line. The client says `hello` once it is secure, and ends after the answer.
struct Lines {
    name: &'static str,
    log: Log,
    role: TlsRole,
    begins: Begins,
    /// So many bytes are said before `go`.
    ballast: usize,
    /// The connection that opened last.
    opened: Rc<Cell<ConnId>>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Begins {
    /// The connection has TLS already when it opens.
    Before,
    AtOpen,
    AtCommand,
}

#[derive(Default)]
struct Dialog {
    heard: Vec<u8>,
    out: Vec<u8>,
    /// What was heard behind the command.
    rest: Option<Vec<u8>>,
    is_secure: bool,
}

impl Lines {
    fn note(&self, what: &str) {
        self.log.borrow_mut().push(format!("{} {what}", self.name));
    }

    fn is_server(&self) -> bool {
        self.name == "server"
    }

    fn is_secure(&self, cx: &mut RawCx<'_>, dialog: &mut Dialog, tls: TlsAgreement<'_>) {
        assert_eq!(tls.server_name(), Some("localhost"));
        assert_eq!(tls.peer_identity().is_some(), !self.is_server());
        self.note(&format!("secured {:?}", tls.version()));
        assert!(dialog.heard.is_empty());
        *dialog = Dialog { is_secure: true, ..Dialog::default() };
        if !self.is_server() {
            dialog.out.extend_from_slice(b"hello\n");
            cx.request_writable();
        }
    }
}

impl Raw for Lines {
    type Session = Dialog;

    fn name(&self) -> &str {
        self.name
    }

    fn open(&mut self, cx: &mut RawCx<'_>) -> Dialog {
        self.opened.set(cx.id());
        let mut dialog = Dialog::default();
        match self.begins {
            Begins::Before => {
                let tls = cx.tls().unwrap();
                self.is_secure(cx, &mut dialog, tls);
            }
            Begins::AtOpen => cx.start_tls(self.role.clone(), &[]),
            Begins::AtCommand if !self.is_server() => {
                assert!(cx.tls().is_none());
                dialog.out.extend_from_slice(b"STARTTLS\n");
                cx.request_writable();
            }
            Begins::AtCommand => {}
        }
        dialog
    }

    fn receive(&mut self, cx: &mut RawCx<'_>, dialog: &mut Dialog, bytes: &[u8]) -> Result<(), RawClose> {
        dialog.heard.extend_from_slice(bytes);
        while let Some(end) = dialog.heard.iter().position(|&byte| byte == b'\n') {
            let rest = dialog.heard.split_off(end + 1);
            let line = std::mem::replace(&mut dialog.heard, rest);
            let line = line.trim_ascii_end();
            match (line, self.is_server()) {
                (b"STARTTLS", true) => {
                    dialog.out.extend(vec![b'.'; self.ballast]);
                    dialog.out.extend_from_slice(b"go\n");
                    dialog.rest = Some(std::mem::take(&mut dialog.heard));
                    cx.request_writable();
                }
                (line, false) if line.ends_with(b"go") => {
                    cx.start_tls(self.role.clone(), &dialog.heard);
                    dialog.heard.clear();
                }
                (line, is_server) => {
                    let line = String::from_utf8_lossy(line);
                    self.note(&format!("heard {line} {}", if dialog.is_secure { "sealed" } else { "plain" }));
                    if !is_server {
                        return Err(RawClose::Normal);
                    }
                    dialog.out.extend(format!("ok {line}\n").into_bytes());
                    cx.request_writable();
                }
            }
        }
        Ok(())
    }

    fn writable(&mut self, cx: &mut RawCx<'_>, dialog: &mut Dialog, tx: RawWritable<'_>) -> Result<(), RawClose> {
        if let Some(rest) = dialog.rest.take() {
            cx.start_tls(self.role.clone(), &rest);
        }
        tx.write(&std::mem::take(&mut dialog.out));
        Ok(())
    }

    fn secured(&mut self, cx: &mut RawCx<'_>, dialog: &mut Dialog) -> Result<(), RawClose> {
        let tls = cx.tls().unwrap();
        self.is_secure(cx, dialog, tls);
        Ok(())
    }

    fn tls_failed(&mut self, _: &mut RawCx<'_>, _: &mut Dialog, failure: &TlsFailure) {
        self.note(&format!("tls_failed {:?}", failure.kind()));
    }

    fn closed(&mut self, _: &mut RawClosedCx<'_>, _: Dialog, closed: RawClosed) {
        self.note(&format!("closed {closed:?}"));
    }

    fn failed(&mut self, _: &mut EndpointMut<'_>, _: ConnId, failure: Failure) {
        let cause = match &failure.cause {
            FailureCause::Tls(cause) => format!("{:?}", cause.kind()),
            other => format!("{other:?}"),
        };
        self.note(&format!("failed {:?} {cause}", failure.stage));
    }
}

struct Bench {
    network: Network,
    server: Service,
    client: Service,
    mails: EndpointHandle<Lines>,
    readers: EndpointHandle<Lines>,
    /// The connection of the server that opened last.
    opened: Rc<Cell<ConnId>>,
    log: Log,
}

const SECURE: &str = "127.0.0.1:465";
const PLAIN: &str = "127.0.0.1:25";

struct Setup {
    faults: Faults,
    limits: Limits,
    ballast: usize,
    begins: Begins,
}

impl Setup {
    fn new(begins: Begins) -> Self {
        Self { faults: Faults::none(), limits: Limits::default(), ballast: 0, begins }
    }

    fn bench(self, certified: &Certified) -> Bench {
        let network = Network::with_faults(1, self.faults);
        let log = Log::default();
        let opened = Rc::default();
        let lines = |name, role: TlsRole| {
            let (log, opened) = (Rc::clone(&log), if name == "server" { Rc::clone(&opened) } else { Rc::default() });
            Lines { name, log, role, begins: self.begins, ballast: self.ballast, opened }
        };
        let mut builder = Service::builder().limits(self.limits);
        let mails = builder.add_raw(lines("server", TlsRole::server(certified.server.clone())));
        let secure = Listen::new(SECURE).raw(mails).tls(certified.server.clone());
        let server = builder.listener(secure).listen_raw(PLAIN, mails).build_with(network.sys()).unwrap();
        let mut builder = Service::builder();
        let readers = builder.add_raw(lines("client", TlsRole::client(certified.own.clone(), "localhost")));
        let client = builder.build_with(network.sys()).unwrap();
        Bench { network, server, client, mails, readers, opened, log }
    }
}

fn to(place: &str, address: &str) -> RawConnect {
    RawConnect::new(place).unwrap().to([Address::Ip(address.parse().unwrap())])
}

impl Bench {
    fn connect(&mut self, connect: RawConnect) -> ConnId {
        self.client.control().endpoint(self.readers).unwrap().connect(connect)
    }

    /// Turns of both services, until so many lines of the log begin with these words; in the order of each side.
    fn until(&mut self, ends: &[&str], mut between: impl FnMut()) -> [Vec<String>; 2] {
        let Self { network, server, client, log, .. } = self;
        let mut turns = 0;
        network.run(|| {
            between();
            server.run_once(Some(Duration::ZERO)).unwrap();
            client.run_once(Some(Duration::ZERO)).unwrap();
            turns += 1;
            assert!(turns < 100_000, "no end: {:?}", log.borrow());
            let log = log.borrow();
            let is_over = ends.iter().all(|end| log.iter().any(|line| line.starts_with(end)));
            let next = [server.next_deadline(), client.next_deadline()].into_iter().flatten().min();
            if is_over { Turn::Done } else { Turn::Sleep(next) }
        });
        ["client ", "server "].map(|name| {
            let log = log.borrow();
            log.iter().filter_map(|line| line.strip_prefix(name)).map(str::to_owned).collect()
        })
    }
}

const BOTH: [&str; 2] = ["client closed", "server closed"];

fn expected(version: TlsVersion) -> [Vec<String>; 2] {
    let secured = format!("secured {version:?}");
    let client = [&*secured, "heard ok hello sealed", "closed Local"].map(str::to_owned).to_vec();
    let server = [&*secured, "heard hello sealed", "closed Peer"].map(str::to_owned).to_vec();
    [client, server]
}

/// Accepted and made: `open` comes behind the handshake.
#[test]
fn tls_from_the_first_byte() {
    let certified = certified(VERSIONS[0]);
    for segment in [0, 1, 1000] {
        let mut setup = Setup::new(Begins::Before);
        if segment > 0 {
            setup.faults = Faults::none().with_segment(segment);
        }
        let mut bench = setup.bench(&certified);
        bench.connect(to("localhost:465", SECURE).tls(certified.own.clone()));
        assert_eq!(bench.until(&BOTH, || {}), expected(TlsVersion::Tls13));
        let tls = bench.server.statistics().tls;
        assert_eq!((tls.started, tls.full + tls.resumed), (1, 1));
        assert_eq!((bench.server.statistics().held_bytes, bench.client.statistics().held_bytes), (0, 0));
    }
}

#[test]
fn a_connect_with_tls_fails_with_the_rule_that_broke() {
    let (certified, other) = (certified(VERSIONS[0]), certified(VERSIONS[0]));
    for (place, address, tls, failure) in [
        ("elsewhere:465", SECURE, &certified, "failed Tls WrongName"),
        ("localhost:465", SECURE, &other, "failed Tls UnknownIssuer"),
        // A server that waits for a line, until the time is over.
        ("localhost:25", PLAIN, &certified, "failed Tls Timeout { after: 10s }"),
        ("localhost:26", "127.0.0.1:26", &certified, "failed Connect Connect"),
    ] {
        let mut bench = Setup::new(Begins::Before).bench(&certified);
        // The plain listener belongs to an endpoint that would not understand.
        let plain = (address == PLAIN).then(|| bench.network.listen(&Address::Ip("127.0.0.1:27".parse().unwrap())));
        let address = if plain.is_some() { "127.0.0.1:27" } else { address };
        bench.connect(to(place, address).tls(tls.own.clone()));
        let mut peers = Vec::new();
        let [client, server] = bench.until(&["client failed"], || {
            peers.extend(plain.as_ref().and_then(|listener| listener.accept()));
        });
        assert!(client.len() == 1 && client[0].starts_with(failure), "{client:?}");
        assert_eq!(server, [""; 0]);
    }
}

/// Begun by a command, by both roles.
#[test]
fn tls_begins_on_an_open_connection() {
    let certified = certified(VERSIONS[0]);
    for segment in [0, 1, 100] {
        let mut setup = Setup::new(Begins::AtCommand);
        if segment > 0 {
            setup.faults = Faults::none().with_segment(segment);
        }
        let mut bench = setup.bench(&certified);
        bench.connect(to("localhost:25", PLAIN));
        assert_eq!(bench.until(&BOTH, || {}), expected(TlsVersion::Tls13));
        let tls = bench.server.statistics().tls;
        assert_eq!((tls.started, tls.full + tls.resumed), (1, 1));
    }
}

/// Descriptors that the program has connected: TLS begins in `open`.
#[test]
fn tls_on_adopted_descriptors() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Setup::new(Begins::AtOpen).bench(&certified);
    let (near, far) = bench.network.pair();
    bench.client.control().endpoint(bench.readers).unwrap().adopt(near);
    bench.server.control().endpoint(bench.mails).unwrap().adopt(far);
    assert_eq!(bench.until(&BOTH, || {}), expected(TlsVersion::Tls13));
}

/// What is queued leaves first, in plain, however long the peer takes.
#[test]
fn what_is_queued_leaves_before_tls() {
    const BALLAST: usize = 3_000_000;
    let certified = certified(VERSIONS[0]);
    let mut setup = Setup::new(Begins::AtCommand);
    setup.ballast = BALLAST;
    let mut bench = setup.bench(&certified);
    let peer = bench.network.connect(&Address::Ip(PLAIN.parse().unwrap())).unwrap();
    peer.send(b"STARTTLS\n");
    let mut heard = 0;
    bench.network.run(|| {
        bench.server.run_once(Some(Duration::ZERO)).unwrap();
        let bytes = peer.recv_at_most(50_000);
        // Nothing but what was written: no record is between.
        let is_last = heard + bytes.len() == BALLAST + 3;
        assert!(bytes.iter().all(|&byte| byte == b'.') || is_last && bytes.ends_with(b"go\n"), "{heard}");
        heard += bytes.len();
        if is_last { Turn::Done } else { Turn::Sleep(bench.server.next_deadline()) }
    });
    // A client that goes on.
    let mut setup = Setup::new(Begins::AtCommand);
    setup.ballast = BALLAST;
    let mut bench = setup.bench(&certified);
    bench.connect(to("localhost:25", PLAIN));
    assert_eq!(bench.until(&BOTH, || {}), expected(TlsVersion::Tls13));
    assert!(bench.server.statistics().work.queues > 0);
}

/// CVE-2011-0411: a command that came in plain behind STARTTLS was carried out as if it had come inside.
#[test]
fn plaintext_behind_the_command_is_never_taken_for_what_came_inside() {
    let certified = certified(VERSIONS[0]);
    for pieces in [&[&b"STARTTLS\nEVIL\n"[..]][..], &[b"STARTTLS\n", b"EVIL\n"], &[b"STARTTLS\nEV", b"IL\n"]] {
        let mut bench = Setup::new(Begins::AtCommand).bench(&certified);
        let peer = bench.network.connect(&Address::Ip(PLAIN.parse().unwrap())).unwrap();
        let mut pieces = pieces.iter();
        let mut turns = 0;
        let [_, server] = bench.until(&["server closed"], || {
            turns += 1;
            if turns % 3 == 1 {
                if let Some(piece) = pieces.next() {
                    peer.send(piece);
                }
            }
        });
        assert_eq!(server, ["tls_failed NotTls", "closed Broken(Some(InvalidData))"]);
        let tls = bench.server.statistics().tls;
        assert_eq!((tls.started, tls.refused, tls.full), (1, 1, 0));
    }
}

/// The same from the side of the server: an answer in plain behind `go`.
#[test]
fn plaintext_behind_the_answer_is_never_taken_for_what_came_inside() {
    let certified = certified(VERSIONS[0]);
    for answer in [&b"go\nEVIL\n"[..], b"go\n250 EVIL\n"] {
        let mut bench = Setup::new(Begins::AtCommand).bench(&certified);
        let listener = bench.network.listen(&Address::Ip(([127, 0, 0, 1], 26).into()));
        bench.connect(to("localhost:26", "127.0.0.1:26"));
        let mut peers = Vec::new();
        let [client, _] = bench.until(&["client closed"], || {
            if let Some(peer) = listener.accept() {
                peer.send(answer);
                peers.push(peer);
            }
        });
        assert_eq!(client, ["tls_failed NotTls", "closed Broken(Some(InvalidData))"]);
    }
}

/// What was read with a PROXY header, and not delivered yet, is the beginning of the handshake.
#[test]
fn what_was_kept_unread_is_the_beginning_of_the_handshake() {
    let certified = certified(VERSIONS[0]);
    for (bytes, is_hello) in [(&b"EVIL\n"[..], false), (&[22, 3, 1, 1, 0, 1, 0, 0, 252], true)] {
        let network = Network::with_faults(1, Faults::none());
        let log = Log::default();
        let mut builder = Service::builder().proxy_protocol(["0.0.0.0/0".parse().unwrap()]);
        let mails = builder.add_raw(Lines {
            name: "server",
            log: Rc::clone(&log),
            role: TlsRole::server(certified.server.clone()),
            begins: Begins::AtOpen,
            ballast: 0,
            opened: Rc::default(),
        });
        let mut service = builder.listen_raw(PLAIN, mails).build_with(network.sys()).unwrap();
        let peer = network.connect(&Address::Ip(PLAIN.parse().unwrap())).unwrap();
        peer.send(&[b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", bytes].concat());
        network.run(|| {
            service.run_once(Some(Duration::ZERO)).unwrap();
            if log.borrow().len() == 1 { Turn::Done } else { Turn::Sleep(service.next_deadline()) }
        });
        // A hello that does not go on is awaited, until the time is over.
        let end = if is_hello { "server closed Timeout" } else { "server tls_failed NotTls" };
        assert_eq!(log.borrow()[0], end);
        assert_eq!(service.statistics().tls.started, 1);
    }
}

#[test]
fn a_handshake_that_fails_ends_the_connection_on_both_sides() {
    let (certified, other) = (certified(VERSIONS[0]), certified(VERSIONS[0]));
    let mut bench = Setup::new(Begins::AtCommand).bench(&Certified { own: other.own, ..certified });
    bench.connect(to("localhost:25", PLAIN));
    let [client, server] = bench.until(&BOTH, || {});
    assert_eq!(client, ["tls_failed UnknownIssuer", "closed Broken(Some(InvalidData))"]);
    assert_eq!(server[1], "closed Broken(Some(InvalidData))");
    assert!(server[0].starts_with("tls_failed "), "{server:?}");
}

#[test]
fn a_silent_peer_and_one_that_goes_away_are_given_up() {
    let certified = certified(VERSIONS[0]);
    let begin = |bench: &Bench| {
        let peer = bench.network.connect(&Address::Ip(PLAIN.parse().unwrap())).unwrap();
        peer.send(b"STARTTLS\n");
        peer
    };
    let mut bench = Setup::new(Begins::AtCommand).bench(&certified);
    let (peer, begun) = (begin(&bench), bench.network.now());
    let [_, server] = bench.until(&["server closed"], || {});
    assert_eq!(server, ["closed Timeout"]);
    assert!(bench.network.now().saturating_duration_since(begun) >= Duration::from_secs(10));
    drop(peer);
    // It has begun when it goes: a record of a hello whose rest does not come.
    let mut bench = Setup::new(Begins::AtCommand).bench(&certified);
    let peer = begin(&bench);
    let [_, server] = bench.until(&["server closed"], || {
        if peer.recv().ends_with(b"go\n") {
            peer.send(&[22, 3, 1, 1, 0, 1, 0, 0, 252]);
            peer.shutdown();
        }
    });
    assert_eq!(server, ["tls_failed ClosedInHandshake", "closed Broken(Some(UnexpectedEof))"]);
    assert_eq!(bench.server.statistics().tls.ended, 1);
}

/// However one ends, the next has its place.
#[test]
fn handshakes_that_begin_later_count_among_those_under_way() {
    let certified = certified(VERSIONS[0]);
    for end in ["close", "abort", "reset"] {
        let mut setup = Setup::new(Begins::AtCommand);
        setup.limits.tls_handshakes = 1;
        let mut bench = setup.bench(&certified);
        let first = bench.network.connect(&Address::Ip(PLAIN.parse().unwrap())).unwrap();
        first.send(b"STARTTLS\n");
        let (mut turns, mut is_begun) = (0, false);
        bench.network.run(|| {
            bench.server.run_once(Some(Duration::ZERO)).unwrap();
            if first.recv().ends_with(b"go\n") {
                first.send(&[22, 3, 1, 1, 0, 1, 0, 0, 252]);
            }
            is_begun = bench.server.statistics().tls.started == 1;
            turns += 1;
            assert!(turns < 1000);
            if is_begun { Turn::Done } else { Turn::Sleep(bench.server.next_deadline()) }
        });
        bench.connect(to("localhost:25", PLAIN));
        let mut control = None;
        let opened = bench.opened.get();
        let server = &mut bench.server;
        match end {
            "close" => control = Some(false),
            "abort" => control = Some(true),
            _ => first.reset(),
        }
        if let Some(is_abort) = control {
            let mut commands = server.control();
            let mut connection = commands.connection(opened).unwrap();
            if is_abort { connection.abort() } else { connection.close(sockeye::CloseCode::NORMAL) }
        }
        let [client, _] = bench.until(&["client closed"], || {});
        assert_eq!(client, expected(TlsVersion::Tls13)[0], "{end}");
    }
}

/// It is not ignored, since what follows would be said in plain.
#[test]
fn tls_that_cannot_begin_ends_the_connection() {
    let certified = certified(VERSIONS[0]);
    // A second time.
    struct Twice(TlsRole, Log);

    impl Raw for Twice {
        type Session = ();

        fn name(&self) -> &str {
            "twice"
        }

        fn open(&mut self, cx: &mut RawCx<'_>) {
            cx.start_tls(self.0.clone(), &[]);
        }

        fn receive(&mut self, _: &mut RawCx<'_>, (): &mut (), _: &[u8]) -> Result<(), RawClose> {
            Ok(())
        }

        fn tls_failed(&mut self, _: &mut RawCx<'_>, (): &mut (), failure: &TlsFailure) {
            self.1.borrow_mut().push(failure.to_string());
        }

        fn closed(&mut self, _: &mut RawClosedCx<'_>, (): (), closed: RawClosed) {
            self.1.borrow_mut().push(format!("{closed:?}"));
        }
    }

    let network = Network::with_faults(1, Faults::none());
    let log = Log::default();
    let mut builder = Service::builder();
    let twice = builder.add_raw(Twice(TlsRole::server(certified.server.clone()), Rc::clone(&log)));
    let listen = Listen::new(SECURE).raw(twice).tls(certified.server.clone());
    let mut service = builder.listener(listen).build_with(network.sys()).unwrap();
    let mut client = Service::builder();
    let readers = client.add_raw(Lines {
        name: "client",
        log: Log::default(),
        role: TlsRole::client(certified.own.clone(), "localhost"),
        begins: Begins::Before,
        ballast: 0,
        opened: Rc::default(),
    });
    let mut client = client.build_with(network.sys()).unwrap();
    let connect = to("localhost:465", SECURE).tls(certified.own.clone());
    client.control().endpoint(readers).unwrap().connect(connect);
    network.run(|| {
        service.run_once(Some(Duration::ZERO)).unwrap();
        client.run_once(Some(Duration::ZERO)).unwrap();
        if log.borrow().len() == 2 { Turn::Done } else { Turn::Sleep(service.next_deadline()) }
    });
    let said = "TLS cannot begin: the connection speaks TLS already: this is a fault of the program";
    assert_eq!(*log.borrow(), [said, "Broken(Some(InvalidData))"]);

    // On what is no stream.
    log.borrow_mut().clear();
    let mut builder = Service::builder();
    let twice = builder.add_raw(Twice(TlsRole::server(certified.server.clone()), Rc::clone(&log)));
    let mut service = builder.build().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    service.control().endpoint(twice).unwrap().adopt(reader);
    while log.borrow().len() < 2 {
        service.run_once(Some(Duration::from_secs(60))).unwrap();
    }
    drop(writer);
    let said = "TLS cannot begin: the descriptor is not a stream socket: this is a fault of the program";
    assert_eq!(*log.borrow(), [said, "Broken(Some(InvalidData))"]);
}

/// The input of a raw connection may have no end of its own: without close_notify it is cut.
#[test]
fn an_end_without_close_notify_is_not_an_end() {
    let certified = certified(VERSIONS[0]);
    for (politely, closed) in [(true, "closed Peer"), (false, "closed Broken(Some(UnexpectedEof))")] {
        let mut bench = Setup::new(Begins::Before).bench(&certified);
        let listener = bench.network.listen(&Address::Ip(([127, 0, 0, 1], 26).into()));
        bench.connect(to("localhost:26", "127.0.0.1:26").tls(certified.own.clone()));
        let mut server: Option<Scripted> = None;
        let mut is_over = false;
        let [client, _] = bench.until(&["client closed"], || {
            if let Some(peer) = listener.accept() {
                let mut accepted = Scripted::plain(peer);
                accepted.secure(&certified.server_of_rustls);
                server = Some(accepted);
            }
            if let Some(server) = server.as_mut().filter(|_| !is_over) {
                if server.recv() == b"hello\n" {
                    server.end(politely);
                    is_over = true;
                }
            }
        });
        assert_eq!(client, ["secured Tls13", closed]);
    }
}

/// Records that cannot be opened, behind the handshake, are told as what they are.
#[test]
fn a_damaged_record_is_told() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Setup::new(Begins::Before).bench(&certified);
    let listener = bench.network.listen(&Address::Ip(([127, 0, 0, 1], 26).into()));
    bench.connect(to("localhost:26", "127.0.0.1:26").tls(certified.own.clone()));
    let mut server: Option<Scripted> = None;
    let [client, _] = bench.until(&["client closed"], || {
        if let Some(peer) = listener.accept() {
            let mut accepted = Scripted::plain(peer);
            accepted.secure(&certified.server_of_rustls);
            server = Some(accepted);
        }
        if let Some(server) = &mut server {
            if server.recv() == b"hello\n" {
                server
                    .peer
                    .send(&[23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
            }
        }
    });
    assert_eq!(client, ["secured Tls13", "tls_failed Protocol", "closed Broken(Some(InvalidData))"]);
}

/// Over sockets of the system: a pair, both ends in one service.
#[test]
fn over_a_real_pair_of_sockets() {
    let certified = certified(VERSIONS[0]);
    let log = Log::default();
    let lines = |name, role| {
        let (log, opened) = (Rc::clone(&log), Rc::default());
        Lines { name, log, role, begins: Begins::AtOpen, ballast: 0, opened }
    };
    let mut builder = Service::builder();
    let mails = builder.add_raw(lines("server", TlsRole::server(certified.server.clone())));
    let readers = builder.add_raw(lines("client", TlsRole::client(certified.own.clone(), "localhost")));
    let mut service = builder.build().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    service.control().endpoint(readers).unwrap().adopt(near);
    service.control().endpoint(mails).unwrap().adopt(far);
    while log.borrow().iter().filter(|line| line.contains("closed")).count() < 2 {
        service.run_once(Some(Duration::from_secs(60))).unwrap();
    }
    assert!(log.borrow().iter().any(|line| line == "client heard ok hello sealed"), "{:?}", log.borrow());
}
