//! EV04, the census of spinning: each state in which nothing happens is held for ten seconds, and the system calls are counted
//! meanwhile.
//!
//! All states of a loop are held side by side, each by a server of its own. `cargo test --release -p sockeye-release-tests --test abuse
//! ev04` prints the tables.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use super::support::{
    BINARY, CLOSE, Case, Credentials, FIN, GONE, Launch, PATIENCE, Peer, Process, Request, Server, Strace, TEXT, Tls,
    close_body, eventually, frame, isolated, pass, rows,
};

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Slow:
            ev04_no_state_of_the_internal_loop_spins.with_strace,
            ev04_no_state_of_tls_spins.with_strace,
            ev04_no_state_of_an_external_loop_spins.with_strace,
            ev04_no_state_of_a_client_spins.with_strace,
            ev04_peers_that_vanished_cost_no_calls_internal.with_root.with_strace,
            ev04_peers_that_vanished_cost_no_calls_external.with_root.with_strace;
    ]
}

/// The most system calls a second of a state in which nothing happens.
const CALLS_A_SECOND: u64 = 20;

/// How long a state is held.
const WINDOW: Duration = Duration::from_secs(10);

/// Which loop.
#[derive(Clone, Copy)]
enum Loop {
    /// That of `sockeye echo`.
    Internal,
    /// The same, with TLS.
    Secured,
    /// That of a program of one's own, which calls `poll`.
    External,
}

impl Loop {
    fn launch(self) -> Launch {
        match self {
            Self::Internal => Launch::echo(),
            Self::Secured => Launch::echo().secured(&Arc::new(Credentials::new())),
            Self::External => Launch::poll_loop(None),
        }
    }
}

/// A state: its name, how to get there, and whether the connections are still there at its end. What it returns is held.
struct State {
    name: &'static str,
    enter: fn(&Server) -> Vec<Peer>,
    stays: bool,
}

const STATES: &[State] = &[
    State { name: "idle, nobody is there", enter: |_| Vec::new(), stays: true },
    State {
        name: "idle, ten connections",
        enter: |server| (0..10).map(|_| Peer::upgraded(server)).collect(),
        stays: true,
    },
    // The deadline for a request comes within the window.
    State { name: "handshake, nothing sent", enter: |server| vec![Peer::connect(server)], stays: false },
    State {
        name: "handshake, half a head",
        enter: |server| vec![saying(server, b"GET / HTTP/1.1\r\nHost: a")],
        stays: false,
    },
    State {
        name: "half a frame",
        enter: |server| vec![after(server, &frame(FIN | TEXT, "half a frame")[..9])],
        stays: true,
    },
    State {
        name: "half-closed in the handshake",
        enter: |server| vec![finished(saying(server, b"GET / HTTP/1.1\r\nHost: a"))],
        stays: false,
    },
    State {
        name: "half-closed behind the request",
        enter: |server| vec![finished(saying(server, &server.upgrade.bytes()))],
        stays: false,
    },
    State {
        name: "half-closed after the upgrade",
        enter: |server| vec![finished(Peer::upgraded(server))],
        stays: false,
    },
    State {
        name: "half-closed in a message",
        enter: |server| vec![finished(after(server, &frame(FIN | TEXT, "half a frame")[..9]))],
        stays: false,
    },
    State { name: "output stuck, reading paused", enter: |server| vec![Peer::stuffed(server)], stays: true },
    State { name: "end of input, output pending", enter: |server| vec![finished(Peer::stuffed(server))], stays: true },
    // Not so much that reading is paused, but more than the socket takes. The server waits five seconds.
    State {
        name: "closing, output stuck",
        enter: |server| {
            let mut peer = Peer::connect_with_buffers(server, 4096);
            peer.upgrade(&server.upgrade);
            peer.send_frame(FIN | BINARY, vec![b'm'; 900 << 10]);
            peer.send_frame(FIN | CLOSE, close_body(1000, ""));
            vec![peer]
        },
        stays: false,
    },
];

/// Those that only TLS has.
const STATES_OF_TLS: &[State] = &[
    // The deadline for a handshake comes within the window.
    State { name: "TLS: nothing sent", enter: |server| vec![Peer::connect_bare(server)], stays: false },
    State {
        name: "TLS: half a hello",
        enter: |server| {
            let hello = Tls::new(server.tls.as_ref().expect("it speaks TLS")).sealed();
            let mut peer = Peer::connect_bare(server);
            peer.send_bare(&hello[..hello.len() / 2]);
            vec![peer]
        },
        stays: false,
    },
    State {
        name: "TLS: a hello, no more",
        enter: |server| {
            let mut peer = Peer::connect_bare(server);
            peer.begin_tls(server.tls.as_ref().expect("it speaks TLS"));
            vec![peer]
        },
        stays: false,
    },
    State {
        name: "TLS: half a record",
        enter: |server| {
            let mut peer = Peer::upgraded(server);
            let record = peer.tls().seal(&frame(FIN | TEXT, "half a record"));
            peer.send_bare(&record[..record.len() / 2]);
            vec![peer]
        },
        stays: true,
    },
    State {
        name: "TLS: close_notify, output stuck",
        enter: |server| {
            let mut peer = Peer::connect_with_buffers(server, 4096);
            peer.upgrade(&server.upgrade);
            peer.send_frame(FIN | BINARY, vec![b'm'; 900 << 10]);
            let notice = peer.tls().close_notify();
            peer.send_bare(notice);
            vec![peer]
        },
        stays: false,
    },
];

fn saying(server: &Server, bytes: &[u8]) -> Peer {
    let mut peer = Peer::connect(server);
    peer.send(bytes);
    peer
}

fn after(server: &Server, bytes: &[u8]) -> Peer {
    let mut peer = Peer::upgraded(server);
    peer.send(bytes);
    peer
}

fn finished(peer: Peer) -> Peer {
    peer.finish();
    peer
}

/// What was counted in a state.
struct Count {
    state: String,
    calls: u64,
    held: Duration,
}

impl Count {
    fn a_second(&self) -> f64 {
        self.calls as f64 / self.held.as_secs_f64()
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.held.as_secs_f64();
        write!(f, "{:34} {:5} in {seconds:4.1} s  {:6.1} a second", self.state, self.calls, self.a_second())
    }
}

/// Prints what was counted, and judges it.
fn judge(title: &str, counts: Vec<Count>) {
    let lines = counts.iter().map(|count| format!("  {count}\n")).collect::<String>();
    print!("{title}: system calls while nothing happens\n{lines}");
    for count in &counts {
        assert!(
            count.a_second() <= CALLS_A_SECOND as f64,
            "{}: {} calls in {:?}",
            count.state,
            count.calls,
            count.held
        );
    }
}

/// What a counter sends while its calls are counted.
const NUMBERS: u64 = 100;

fn ev04_no_state_of_the_internal_loop_spins() {
    let serve = || Launch::new("serve").with("--port").with("0").start();
    let threads = || Launch::echo().with("--threads").with("2").start();
    let full = || Launch::echo().with("--max-connections").with("8").start();
    let mut more: Vec<Box<dyn FnOnce() -> Count + Send>> = vec![
        Box::new(move || idle("serve, nobody is there", serve())),
        Box::new(move || idle("two threads, nobody is there", threads())),
        Box::new(move || crowded("at most connections, more wait", full(), 8, 30)),
    ];
    more.extend(common(Loop::Internal));
    // The counting itself is tried too: a connection of the counter is sent twenty numbers a second, each by a call.
    more.push(Box::new(move || {
        let server = serve();
        let request = Request::upgrade("/").add("Sec-WebSocket-Protocol", "dumb-increment-protocol");
        let (strace, started) = (Strace::count(server.process()), Instant::now());
        let mut peer = Peer::upgraded_by(&server, &request);
        for number in 0..NUMBERS {
            peer.message().unwrap_or_else(|error| panic!("number {number}: {error:?}"));
        }
        let held = started.elapsed();
        Count { state: format!("{NUMBERS} numbers, to compare"), calls: strace.total(), held }
    }));
    let mut counts = side_by_side(more);
    let busy = counts.pop().expect("just pushed");
    judge("internal loop", counts);
    println!("  {busy}");
    assert!(busy.calls >= NUMBERS, "{NUMBERS} messages are {} calls", busy.calls);
}

fn ev04_no_state_of_tls_spins() {
    let states = STATES.iter().chain(STATES_OF_TLS);
    let holding = states.map(|state| Box::new(move || hold(Loop::Secured, state)) as Box<dyn FnOnce() -> Count + Send>);
    judge("internal loop, TLS", side_by_side(holding.collect()));
}

fn ev04_no_state_of_an_external_loop_spins() {
    judge("external loop", side_by_side(common(Loop::External)));
}

/// The states that both loops have.
fn common(which: Loop) -> Vec<Box<dyn FnOnce() -> Count + Send>> {
    let mut all: Vec<Box<dyn FnOnce() -> Count + Send>> = vec![
        Box::new(move || draining(which)),
        Box::new(move || crowded("no descriptors left, more wait", which.launch().open_files(64).start(), 20, 200)),
    ];
    for state in STATES {
        all.push(Box::new(move || hold(which, state)));
    }
    all
}

fn side_by_side(all: Vec<Box<dyn FnOnce() -> Count + Send>>) -> Vec<Count> {
    thread::scope(|scope| {
        let threads: Vec<_> = all.into_iter().map(|count| scope.spawn(count)).collect();
        threads.into_iter().map(|thread| thread.join().expect("the state is reached and held")).collect()
    })
}

fn hold(which: Loop, state: &State) -> Count {
    let mut server = which.launch().start();
    let before = server.process().sockets();
    let peers = (state.enter)(&server);
    if state.stays {
        eventually(state.name, PATIENCE, || server.process().sockets() >= before + peers.len());
    }
    let count = count(state.name, server.process());
    let left = server.process().sockets();
    assert!(!state.stays || left >= before + peers.len(), "{}: the connection is gone", state.name);
    server.assert_alive();
    Peer::upgraded(&server).echoes();
    count
}

fn count(state: &str, process: Process) -> Count {
    let (strace, started) = (Strace::count(process), Instant::now());
    pass(WINDOW);
    let held = started.elapsed();
    Count { state: state.to_owned(), calls: strace.total(), held }
}

fn idle(state: &str, mut server: Server) -> Count {
    let count = count(state, server.process());
    server.assert_alive();
    count
}

/// More peers than there is room for: at least `room` are inside.
fn crowded(state: &str, mut server: Server, room: usize, peers: usize) -> Count {
    let (request, before) = (server.upgrade.bytes(), server.process().sockets());
    let peers: Vec<Peer> = (0..peers).map(|_| saying(&server, &request)).collect();
    eventually(state, PATIENCE, || server.process().sockets() >= before + room);
    let count = count(state, server.process());
    server.assert_alive();
    drop(peers);
    count
}

/// After SIGTERM, while a peer neither takes its close nor answers it: nearly the five seconds that the server waits for it.
fn draining(which: Loop) -> Count {
    let mut server = which.launch().start();
    let (stuck, mut silent) = (Peer::stuffed(&server), Peer::upgraded(&server));
    let signalled = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(silent.close_code("SIGTERM"), 1001);
    let (strace, started) = (Strace::count(server.process()), Instant::now());
    pass(Duration::from_secs(4).saturating_sub(signalled.elapsed()));
    let held = started.elapsed();
    let count = Count { state: "draining, two do not answer".to_owned(), calls: strace.total(), held };
    assert_eq!(server.exit(GONE).code(), Some(0));
    assert!(signalled.elapsed() >= Duration::from_millis(4500), "it did not wait: {:?}", signalled.elapsed());
    drop((stuck, silent));
    count
}

/// A program of ours that connects; ended when dropped.
struct Client(Child);

impl Client {
    fn connect(to: SocketAddr) -> Self {
        let mut command = Command::new(sockeye_release_tests::command());
        // On a busy machine it takes a while until its calls are counted.
        command.args(["connect", "--connect-timeout", "300s"]).arg(format!("ws://{to}/")).stdin(Stdio::piped());
        // It says little: the pipe is not full before it is read.
        Self(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the command starts"))
    }

    /// For much less than its own deadlines.
    fn hold(mut self, state: &str) -> Count {
        let (strace, started) = (Strace::count(Process(self.0.id())), Instant::now());
        pass(Duration::from_secs(4));
        let held = started.elapsed();
        if let Some(status) = self.0.try_wait().expect("own child") {
            let errors = io::read_to_string(self.0.stderr.take().expect("piped")).expect("text");
            panic!("{state}: it has ended ({status}): {errors}");
        }
        Count { state: state.to_owned(), calls: strace.total(), held }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ev04_no_state_of_a_client_spins() {
    judge(
        "`sockeye connect`",
        side_by_side(vec![Box::new(black_hole), Box::new(silent_server), Box::new(idle_client)]),
    );
}

/// What it sends is dropped: the listener's queue is full.
fn black_hole() -> Count {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    listener.listen(0).expect("a listener");
    let address = listener.local_addr().expect("bound").as_socket().expect("IPv4");
    let full: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(500))).collect();
    assert!(full.iter().any(Result::is_err), "a queue for nobody takes four");
    let client = Client::connect(address);
    // In the kernel's table: the port in hexadecimal, and 02, which is SYN_SENT.
    let waits = format!(" 0100007F:{:04X} 02 ", address.port());
    eventually("it waits for an answer", PATIENCE, || {
        fs::read_to_string("/proc/net/tcp").expect("Linux").contains(&waits)
    });
    client.hold("connecting, no answer")
}

/// It takes the request, and says nothing.
fn silent_server() -> Count {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let client = Client::connect(listener.local_addr().expect("bound"));
    let (mut stream, _) = listener.accept().expect("it connects");
    assert!(stream.read(&mut [0; 4096]).expect("a request") > 0);
    let count = client.hold("handshake, no response");
    drop(stream);
    count
}

fn idle_client() -> Count {
    let server = Server::echo();
    let before = server.process().sockets();
    let client = Client::connect(server.address());
    eventually("it is connected", PATIENCE, || server.process().sockets() > before);
    client.hold("connected, nothing typed")
}

fn ev04_peers_that_vanished_cost_no_calls_internal() {
    vanished(Loop::Internal);
}

fn ev04_peers_that_vanished_cost_no_calls_external() {
    vanished(Loop::External);
}

/// Half-open: the network takes nothing any more, and the server has to find out. From the last that was heard to the end by the
/// keepalive, that is over forty-five seconds; one peer has the server's output stuck besides.
fn vanished(which: Loop) {
    isolated(move |link| {
        let mut server = which.launch().start();
        let before = server.process().sockets();
        let mut peers: Vec<Peer> = (0..9).map(|_| Peer::upgraded(&server)).collect();
        peers.push(Peer::stuffed(&server));
        let (strace, started) = (Strace::count(server.process()), Instant::now());
        link.down();
        eventually("keepalive ends them", Duration::from_secs(50) + PATIENCE, || {
            server.assert_alive();
            server.process().sockets() <= before
        });
        let held = started.elapsed();
        assert!(held >= Duration::from_secs(35), "ended after {held:?}");
        let count = Count { state: "half-open, ten peers vanished".to_owned(), calls: strace.total(), held };
        let title = match which {
            Loop::Internal => "internal loop",
            Loop::Secured => "internal loop, TLS",
            Loop::External => "external loop",
        };
        judge(title, vec![count]);
        drop(peers);
    });
}
