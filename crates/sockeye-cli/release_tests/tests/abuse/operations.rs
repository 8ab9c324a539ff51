//! OP: signals, addresses, the life of the process.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::support::{
    BINARY, Case, FIN, GONE, Launch, PATIENCE, PING, PONG, Peer, Request, Row, Server, TempDir, eventually, frame,
    optimised, pass, rows, scaled, strict,
};

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Slow:
            op01_sigterm_closes_with_1001_and_exits_0,
            op02_a_minute_of_sigstop_times_nobody_out;
        Heavy:
            op02_a_thousand_signals_a_second_lose_no_byte,
            op02_writes_to_closed_peers_do_not_kill,
            op03_a_limit_of_descriptors_lowered_while_running_is_survived,
            op03_an_external_loop_survives_a_lowered_limit_of_descriptors;
        Quick:
            op01_a_second_sigterm_exits_at_once,
            op01_sigint_is_as_good,
            op01_sigusr1_and_sighup_are_answered_in_the_log,
            op02_sigpipe_is_nothing,
            op04_a_port_in_use_is_a_clear_error,
            op04_privileged_ports_and_bad_interfaces_are_clear_errors,
            op04_the_printed_address_is_the_real_one,
            op04_unix_sockets,
            op05_a_bind_that_fails_in_the_daemon_fails_the_starter,
            op05_only_intended_descriptors_are_open_in_the_daemon,
            op05_of_many_starts_at_once_one_has_the_pid_file,
            op05_a_pid_file_is_not_led_through_a_link;
    ]
}

fn op01_sigterm_closes_with_1001_and_exits_0() {
    let mut server = Server::echo();
    let mut active: Vec<Peer> = (0..1000).map(|_| Peer::upgraded(&server)).collect();
    active.iter_mut().for_each(Peer::echoes);
    let stalled: Vec<Peer> = thread::scope(|scope| {
        let server = &server;
        let threads: Vec<_> = (0..10).map(|_| scope.spawn(move || Peer::stuffed(server))).collect();
        threads.into_iter().map(|thread| thread.join().expect("stalled")).collect()
    });
    let started = Instant::now();
    server.signal(Signal::TERM);
    eventually("the listener is closed", PATIENCE, || TcpStream::connect(server.address()).is_err());
    let refused = started.elapsed();
    assert!(!strict() || refused <= Duration::from_millis(50), "still listening after {refused:?}");
    for peer in &mut active {
        assert_eq!(peer.close_code("SIGTERM"), 1001);
        peer.send_frame(FIN | super::support::CLOSE, super::support::close_body(1001, ""));
    }
    let status = server.exit(GONE);
    assert_eq!(status.code(), Some(0));
    for peer in &mut active {
        peer.gone("SIGTERM");
    }
    drop(stalled);
    judge_last_words(&server, started);
}

/// No panic on the way out.
fn judge_last_words(server: &Server, since: Instant) {
    let log = server.log_since(since);
    assert!(!log.iter().any(|(_, line)| line.contains("panicked")), "{log:?}");
    assert!(log.len() <= 20, "{} lines on the way out", log.len());
}

fn op01_a_second_sigterm_exits_at_once() {
    let mut server = Server::echo();
    // Answers no close, so that the drain would take five seconds.
    let mut peer = Peer::upgraded(&server);
    let started = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(peer.close_code("SIGTERM"), 1001);
    server.assert_alive();
    // Two at once would be one, as timeout(1) sends them.
    eventually("a second SIGTERM ends it", PATIENCE, || {
        server.signal(Signal::TERM);
        server.has_ended()
    });
    assert!(!strict() || started.elapsed() < Duration::from_secs(3), "at once took {:?}", started.elapsed());
    // The end of a drain is an exit.
    assert_eq!(server.exit(PATIENCE).signal(), Some(Signal::TERM.as_raw()));
    peer.gone("a second SIGTERM");
}

fn op01_sigint_is_as_good() {
    let folder = TempDir::new();
    folder.file("page.html", "<p>a page</p>");
    for mut server in [Server::echo(), Server::serve(folder.path())] {
        let mut peer = Peer::upgraded(&server);
        let started = Instant::now();
        server.signal(Signal::INT);
        assert_eq!(peer.close_code("SIGINT"), 1001);
        assert_eq!(server.exit(GONE).code(), Some(0));
        judge_last_words(&server, started);
    }
    // With nobody there, there is nothing to wait for.
    let mut server = Server::echo();
    server.signal(Signal::INT);
    assert_eq!(server.exit(PATIENCE).code(), Some(0));
}

fn op02_writes_to_closed_peers_do_not_kill() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let message = frame(FIN | BINARY, vec![b'm'; 1 << 20]);
    for round in 0..scaled(300) {
        let mut peer = Peer::upgraded(&server);
        peer.send(&message);
        // The first bytes of the answer are here; the rest is written to nobody.
        peer.read_exactly(1 + round % 1000);
        if round % 2 == 0 { peer.reset() } else { drop(peer) }
    }
    row.end(&mut server);
}

fn op02_a_thousand_signals_a_second_lose_no_byte() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let mut peer = Peer::upgraded(&server);
    let message = frame(FIN | BINARY, vec![b'm'; 200_000]);
    let until = Instant::now() + Duration::from_secs(5);
    let (mut signals, mut messages) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while Instant::now() < until {
                // Stopping and continuing interrupts system calls even where no handler is installed.
                server.signal(Signal::STOP);
                server.signal(Signal::CONT);
                server.signal(Signal::WINCH);
                signals += 3;
                pass(Duration::from_millis(2));
            }
        });
        while Instant::now() < until {
            peer.send(&message);
            peer.expect(BINARY, vec![b'm'; 200_000]);
            messages += 1;
        }
    });
    println!("{signals} signals, {messages} messages");
    drop(peer);
    row.end(&mut server);
}

fn op02_a_minute_of_sigstop_times_nobody_out() {
    let server = Server::echo();
    let mut peers: Vec<Peer> = (0..20).map(|_| Peer::upgraded(&server)).collect();
    peers.iter_mut().for_each(Peer::echoes);
    server.signal(Signal::STOP);
    // What comes meanwhile is answered afterwards.
    peers[..10].iter_mut().for_each(|peer| peer.send_frame(FIN | BINARY, "in your sleep"));
    pass(Duration::from_secs(60));
    server.signal(Signal::CONT);
    for (n, peer) in peers.iter_mut().enumerate() {
        // Those who were silent are asked first, and have their twenty seconds.
        loop {
            let frame = peer.frame().unwrap_or_else(|end| panic!("peer {n}: {end:?}"));
            if frame.opcode() == PING {
                peer.send_frame(FIN | PONG, frame.payload);
                if n >= 10 {
                    break;
                }
            } else {
                assert_eq!(frame.payload, b"in your sleep", "peer {n}: opcode {}", frame.opcode());
                break;
            }
        }
    }
    for peer in &mut peers {
        peer.send_frame(FIN | BINARY, "awake");
        loop {
            let frame = peer.frame().expect("nobody was timed out");
            match frame.opcode() {
                PING => peer.send_frame(FIN | PONG, frame.payload),
                _ => break assert_eq!(frame.payload, b"awake"),
            }
        }
    }
}

fn op01_sigusr1_and_sighup_are_answered_in_the_log() {
    // Not a row with canaries: what is asked for may be more lines than a peer may cause.
    let mut server = Server::echo();
    let mut peer = Peer::upgraded(&server);
    let started = Instant::now();
    let logged = |text: &str| server.log_since(started).iter().filter(|(_, line)| line.contains(text)).count();
    server.signal(Signal::USR1);
    eventually("SIGUSR1 is answered", PATIENCE, || logged("msg=statistics") + logged("msg=\"statistics") == 1);
    server.signal(Signal::HUP);
    eventually("SIGHUP is answered", PATIENCE, || logged("reload") == 1);
    peer.echoes();
    server.assert_alive();
}

fn op02_sigpipe_is_nothing() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    for _ in 0..100 {
        server.signal(Signal::PIPE);
    }
    Peer::upgraded(&server).echoes();
    row.end(&mut server);
}

fn op03_a_limit_of_descriptors_lowered_while_running_is_survived() {
    lowered(Server::echo(), true);
}

fn op03_an_external_loop_survives_a_lowered_limit_of_descriptors() {
    lowered(Launch::poll_loop(None).start(), false);
}

/// Somebody lowers the limit below what is open already, and raises it again. The example does not log.
fn lowered(mut server: Server, logs: bool) {
    let row = Row::begin(&server);
    let pid = Pid::from_raw(server.process().0 as i32).expect("a number");
    let mut held: Vec<Peer> = (0..30).map(|_| Peer::upgraded(&server)).collect();
    let lower = Rlimit { current: Some(20), maximum: getrlimit(Resource::Nofile).maximum };
    let before = prlimit(Some(pid), Resource::Nofile, lower).expect("own child");
    let mut waiting = Peer::connect(&server);
    waiting.send(server.upgrade.bytes());
    eventually("it is said", PATIENCE, || {
        !logs || server.log_since(Instant::now() - PATIENCE).iter().any(|(_, line)| line.contains("accepting pauses"))
    });
    // Those who are there notice nothing, and nothing spins.
    held.iter_mut().for_each(Peer::echoes);
    let (spent, ()) = row.cpu_of(&server, || pass(Duration::from_secs(2)));
    assert!(!optimised() || spent < Duration::from_millis(100), "{spent:?} of CPU in 2 s without descriptors");
    row.canaries_sing();
    let early = waiting.patience(Duration::from_millis(2)).reply();
    assert!(early.is_err(), "there is no descriptor for it: {early:?}");
    // With 30 less there is still nothing free under the limit, but with the limit raised there is.
    held.truncate(10);
    prlimit(Some(pid), Resource::Nofile, before).expect("own child");
    assert_eq!(waiting.patience(PATIENCE).reply().expect("an answer").status, 101);
    held.iter_mut().for_each(Peer::echoes);
    drop((held, waiting));
    row.end(&mut server);
}

/// The command fails with exit code 2 and says what it could not have.
fn usage_error(launch: &Launch, names: &str) {
    let (code, text) = launch.fails();
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains(names), "it names {names:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
}

fn op04_a_port_in_use_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    usage_error(&Launch::new("echo").with("--port").with(&port), &port);
    let folder = TempDir::new();
    usage_error(&Launch::new("serve").with(folder.path()).with("--port").with(&port), &port);
}

fn op04_privileged_ports_and_bad_interfaces_are_clear_errors() {
    if TcpListener::bind("127.0.0.1:81").is_ok() {
        println!("this user may have privileged ports");
    } else {
        usage_error(&Launch::new("echo").with("--port").with("81"), "81");
    }
    for interface in ["nosuchdevice0", "192.0.2.77", "2001:db8::77", "300.1.1.1", ""] {
        usage_error(&Launch::echo().with("--interface").with(interface), interface);
    }
    for port in ["65536", "-1", "http"] {
        usage_error(&Launch::new("echo").with(format!("--port={port}")), port);
    }
    usage_error(&Launch::new("serve").with("/no/such/folder").with("--port").with("0"), "/no/such/folder");
}

fn op04_the_printed_address_is_the_real_one() {
    let server = Server::echo();
    assert_ne!(server.address().port(), 0);
    assert!(server.address().is_ipv4() && server.address().ip().is_loopback());
    Peer::upgraded(&server).echoes();
    let by_name = Launch::echo().with("--interface").with("lo").start();
    assert!(by_name.address().ip().is_loopback());
    Peer::upgraded(&by_name).echoes();
    if TcpListener::bind("[::1]:0").is_ok() {
        let six = Launch::echo().with("--interface").with("::1").start();
        assert!(six.authority.starts_with("[::1]:"), "{}", six.authority);
        Peer::upgraded(&six).echoes();
        // IPv6 only: the same port of IPv4 is not taken.
        let port = six.address().port();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "an IPv6 address that listens on IPv4 too");
    }
}

fn op04_unix_sockets() {
    let folder = TempDir::new();
    let path = folder.path().join("socket");
    let interface = format!("unix:{}", path.display());
    let launch = || Launch::new("echo").with("--interface").with(&interface);

    let server = launch().start();
    assert!(server.authority.contains("socket"), "{}", server.authority);
    assert!(UnixStream::connect(&path).is_ok());
    // In use by somebody who lives.
    usage_error(&launch(), "socket");
    assert!(UnixStream::connect(&path).is_ok(), "the living one still has it");
    drop(server);

    // Stale: nobody listens any more. Either it is taken over, or that is said.
    let _ = fs::remove_file(&path);
    drop(UnixListener::bind(&path).expect("own folder"));
    assert!(UnixStream::connect(&path).is_err());
    let server = launch().start();
    assert!(UnixStream::connect(&path).is_ok());
    drop(server);

    // Not a socket: it stays what it is.
    let file = folder.file("precious", "do not delete");
    usage_error(&Launch::new("echo").with("--interface").with(format!("unix:{}", file.display())), "precious");
    assert_eq!(fs::read_to_string(&file).expect("it is still there"), "do not delete");

    let long = folder.path().join("x".repeat(108 - folder.path().as_os_str().len() - 1));
    assert_eq!(long.as_os_str().len(), 108);
    usage_error(&Launch::new("echo").with("--interface").with(format!("unix:{}", long.display())), "xxx");
}

/// A daemon's pid file in a folder of its own.
struct Home {
    folder: TempDir,
    pid: PathBuf,
}

impl Home {
    fn new() -> Self {
        let folder = TempDir::new();
        let pid = folder.path().join("pid");
        Self { folder, pid }
    }

    fn launch(&self) -> Launch {
        self.daemon(Launch::echo())
    }

    fn daemon(&self, launch: Launch) -> Launch {
        launch.with("--daemonize").with("--pid-file").with(&self.pid)
    }

    /// The number in the pid file.
    fn number(&self) -> Option<i32> {
        fs::read_to_string(&self.pid).ok()?.strip_suffix('\n')?.parse().ok()
    }

    fn end(&self) {
        let number = self.number().expect("a daemon");
        kill_process(Pid::from_raw(number).expect("a number"), Signal::TERM).expect("it lives");
        eventually("the pid file is removed", PATIENCE, || !self.pid.exists());
    }
}

fn op05_a_bind_that_fails_in_the_daemon_fails_the_starter() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let home = Home::new();
    usage_error(&home.daemon(Launch::new("echo").with("--port").with(&port)), &port);
    assert!(!home.pid.exists(), "nothing is left of it");
    // One interface is free and the other is not: it is both or nothing.
    let both = Launch::new("echo")
        .with("--interface")
        .with("127.0.0.2")
        .with("--interface")
        .with("127.0.0.1")
        .with("--port")
        .with(&port);
    usage_error(&home.daemon(both), &port);
    TcpListener::bind(format!("127.0.0.2:{port}")).expect("nobody listens there");
}

fn op05_only_intended_descriptors_are_open_in_the_daemon() {
    let home = Home::new();
    let inherited: Vec<_> = (0..20).map(|_| home.folder.file("inherited", "")).map(fs::File::open).collect();
    for file in inherited.iter().flatten() {
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).expect("own descriptor");
    }
    let output = home.launch().command().output().expect("the command starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let number = home.number().expect("it serves");
    // What starting it needed is closed only once it serves, which may be after its starter has ended.
    let said = String::from_utf8(output.stdout).expect("text");
    let address = said.split_once("://").and_then(|(_, rest)| rest.strip_suffix("/\n")).expect("an address");
    let mut peer = Peer::over(TcpStream::connect(address).expect("it listens"));
    peer.upgrade(&Request::upgrade("/"));
    peer.echoes();
    for entry in fs::read_dir(format!("/proc/{number}/fd")).expect("it lives") {
        let target = fs::read_link(entry.expect("it lives").path()).expect("open");
        let target = target.to_str().expect("text");
        let intended = target == "/dev/null" || target.starts_with("anon_inode:") || target.starts_with("socket:");
        assert!(intended || Path::new(target) == home.pid, "{target}");
    }
    home.end();
}

fn op05_of_many_starts_at_once_one_has_the_pid_file() {
    let home = Home::new();
    for left in [None, Some("1\n")] {
        if let Some(left) = left {
            fs::write(&home.pid, left).expect("own folder");
        }
        let starts: Vec<_> = (0..8).map(|_| home.launch().command().spawn().expect("the command starts")).collect();
        let outputs = starts.into_iter().map(|start| start.wait_with_output().expect("own child"));
        let mut served = 0;
        for output in outputs {
            let text = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                Some(0) => served += 1,
                Some(2) => assert!(text.contains("already running as pid") || text.contains("just starting"), "{text}"),
                other => panic!("{other:?}: {text}"),
            }
        }
        assert_eq!(served, 1);
        home.end();
    }
}

fn op05_a_pid_file_is_not_led_through_a_link() {
    let home = Home::new();
    let precious = home.folder.file("precious", "4711\n");
    std::os::unix::fs::symlink(&precious, &home.pid).expect("own folder");
    usage_error(&home.launch(), "it is a symbolic link");
    fs::remove_file(&home.pid).expect("own folder");
    fs::hard_link(&precious, &home.pid).expect("own folder");
    usage_error(&home.launch(), "it has another name too");
    assert_eq!(fs::read_to_string(&precious).expect("it is there"), "4711\n");
}
