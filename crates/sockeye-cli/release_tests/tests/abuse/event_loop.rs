//! EV: faults of the kernel, and work that must not be done.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::support::{
    Case, FIN, Launch, Noise, PATIENCE, Peer, Request, Row, Server, Strace, TEXT, TempDir, eventually, frame,
    optimised, pass, rows, scaled, strict,
};

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Slow:
            ev03_a_failing_accept_is_survived.with_strace;
        Heavy:
            ev06_reused_descriptors_are_new_connections,
            ev09_a_flood_of_messages_starves_nobody,
            ev09_a_flood_of_resets_starves_nobody;
        Quick:
            ev01_out_of_descriptors_accepting_pauses_and_recovers,
            ev01_out_of_descriptors_an_external_loop_pauses_and_recovers,
            ev02_a_failing_open_is_503_and_a_failing_registration_a_close.with_strace,
            ev09_at_max_connections_accepting_pauses_and_resumes;
    ]
}

/// Connects `count` peers, far more than fit, and returns those that were answered; the others wait or were closed.
fn crowd(server: &Server, count: usize) -> (Vec<Peer>, Vec<Peer>) {
    let upgrade = server.upgrade.bytes();
    let mut answered = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..count {
        if let Ok(stream) = TcpStream::connect_timeout(&server.address(), Duration::from_millis(500)) {
            let mut peer = Peer::over(stream);
            peer.send(&upgrade);
            waiting.push(peer);
        }
    }
    let deadline = Instant::now() + Duration::from_secs(3);
    waiting.retain_mut(|peer| {
        // Served in order: once one is silent for long, the others will be too.
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(2));
        let accepted = peer.patience(left).reply().is_ok_and(|reply| reply.status == 101);
        if accepted {
            let stream = peer.stream.try_clone().expect("own socket");
            answered.push(Peer::over(stream));
        }
        !accepted
    });
    (answered, waiting)
}

/// A crowd at a server that has room for fewer: those inside are served, nothing spins, and room is used at once when
/// there is some.
fn overfull(mut server: Server, room: usize) {
    let row = Row::begin(&server);
    let (mut answered, waiting) = crowd(&server, 200);
    assert!(!answered.is_empty() && answered.len() <= room, "{} accepted, room for {room}", answered.len());
    let inside = answered.len();
    answered.iter_mut().for_each(Peer::echoes);
    let hold = Duration::from_secs(10);
    let started = Instant::now();
    let (spent, ()) = row.cpu_of(&server, || pass(hold));
    assert!(!optimised() || spent < hold / 20, "{spent:?} of CPU in {hold:?} with a full house");
    let lines = server.log_since(started).len();
    assert!(lines <= 11, "{lines} log lines in {hold:?}");
    answered.iter_mut().for_each(Peer::echoes);
    drop((answered, waiting));
    let released = Instant::now();
    eventually("a new connection is served", PATIENCE, || {
        let mut peer = Peer::connect(&server);
        peer.send(server.upgrade.bytes());
        peer.patience(Duration::from_secs(1)).reply().is_ok_and(|reply| reply.status == 101)
    });
    let recovered = released.elapsed();
    assert!(!strict() || recovered < Duration::from_secs(1), "recovered after {recovered:?}");
    println!("full with {inside}: {spent:?} of CPU and {lines} log lines in {hold:?}, recovered after {recovered:?}");
    row.end(&mut server);
}

fn ev01_out_of_descriptors_accepting_pauses_and_recovers() {
    overfull(Launch::echo().open_files(64).start(), 64 - 20);
}

fn ev01_out_of_descriptors_an_external_loop_pauses_and_recovers() {
    overfull(Launch::poll_loop(None).open_files(64).start(), 64 - 20);
}

fn ev09_at_max_connections_accepting_pauses_and_resumes() {
    overfull(Launch::echo().with("--max-connections").with("30").start(), 10);
}

fn ev02_a_failing_open_is_503_and_a_failing_registration_a_close() {
    let folder = TempDir::new();
    folder.file("page.html", "<p>a page</p>");
    let mut server = Server::serve(folder.path());
    let row = Row::begin_serve(&server, folder.path());
    // The canaries read files too.
    row.cpu_of(&server, || {
        for error in ["EMFILE", "ENFILE", "ENOMEM"] {
            let trace = Strace::inject(&server, &format!("openat,openat2:error={error}"));
            let mut peer = Peer::connect(&server);
            peer.send(Request::get("/page.html").bytes());
            assert_eq!(peer.reply().expect("an answer").status, 503, "{error}");
            drop(trace);
            let mut peer = Peer::connect(&server);
            peer.send(Request::get("/page.html").bytes());
            assert_eq!(peer.reply().expect("an answer").status, 200, "after {error}");
        }
        for error in ["ENOMEM", "ENOSPC"] {
            let trace = Strace::inject(&server, &format!("epoll_ctl:error={error}:when=1"));
            let mut peer = Peer::connect(&server);
            peer.send(Request::get("/page.html").bytes());
            peer.gone(error);
            trace.injected(1);
            drop(trace);
            let mut peer = Peer::connect(&server);
            peer.send(Request::get("/page.html").bytes());
            assert_eq!(peer.reply().expect("an answer").status, 200, "after {error}");
        }
    });
    row.end(&mut server);
}

fn ev03_a_failing_accept_is_survived() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    for error in ["ECONNABORTED", "EPROTO", "EPERM", "ENOBUFS", "ENOMEM", "EINTR", "EMFILE", "ENFILE", "ENETDOWN"] {
        // Once: the one that waits is served, though nobody else comes to remind the server of it.
        let trace = Strace::inject(&server, &format!("accept4:error={error}:when=1"));
        Peer::upgraded(&server).echoes();
        trace.injected(1);
        drop(trace);
    }
    for error in ["ENOBUFS", "EMFILE"] {
        // For a while: it backs off, and the others do not notice.
        let trace = Strace::inject(&server, &format!("accept4:error={error}"));
        let mut peer = Peer::connect(&server);
        let started = Instant::now();
        trace.injected(1);
        row.canaries_sing();
        let (spent, ()) = row.cpu_of(&server, || pass(Duration::from_secs(3)));
        assert!(!optimised() || spent < Duration::from_millis(150), "{error}: {spent:?} of CPU in 3 s");
        let lines = server.log_since(started).len();
        assert!(lines <= 5, "{error}: {lines} log lines in 3 s");
        drop(trace);
        peer.upgrade(&Request::upgrade("/"));
        peer.echoes();
    }
    row.end(&mut server);
}

fn ev06_reused_descriptors_are_new_connections() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let mut noise = Noise::new(6);
    // Old ones end in every way, with their answers under way, in the same turn in which new ones take their numbers.
    for round in 0..scaled(500) {
        let mut old: Vec<Peer> = (0..10).map(|_| Peer::upgraded(&server)).collect();
        old.iter_mut().for_each(|peer| peer.send_frame(FIN | TEXT, format!("old {round}").repeat(100)));
        for mut peer in old {
            match noise.below(3) {
                0 => peer.reset(),
                1 => peer.send_frame(FIN | super::support::CLOSE, ""),
                _ => {}
            }
        }
        let mut new: Vec<Peer> = (0..10).map(|_| Peer::connect(&server)).collect();
        new.iter_mut().for_each(|peer| peer.send(Request::upgrade("/").bytes()));
        for (n, peer) in new.iter_mut().enumerate() {
            assert_eq!(peer.reply().expect("an answer").status, 101);
            peer.send_frame(FIN | TEXT, format!("new {round} {n}"));
            peer.expect(TEXT, format!("new {round} {n}"));
        }
    }
    row.end(&mut server);
}

fn ev09_a_flood_of_messages_starves_nobody() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let peer = Peer::upgraded(&server);
    let mut writer = Peer::over(peer.stream.try_clone().expect("own socket"));
    let until = Instant::now() + Duration::from_secs(5);
    thread::scope(|scope| {
        scope.spawn(move || {
            let flood = frame(FIN | TEXT, "twenty bytes of text").repeat(5000);
            while Instant::now() < until {
                writer.send(&flood);
            }
            writer.send_frame(FIN | TEXT, "the end");
        });
        scope.spawn(move || {
            let mut peer = peer;
            let mut over = false;
            while !over {
                peer.each_frame(|first, payload| {
                    assert_eq!(first, FIN | TEXT);
                    over = payload == b"the end";
                });
            }
        });
        while Instant::now() < until {
            row.canaries_sing();
        }
    });
    row.end(&mut server);
}

fn ev09_a_flood_of_resets_starves_nobody() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let count = scaled(60_000);
    let started = Instant::now();
    for n in 0..count {
        Peer::connect(&server).reset();
        if n % 1000 == 0 {
            row.canaries_sing();
        }
    }
    println!("{count} connects and resets in {:?}", started.elapsed());
    Peer::upgraded(&server).patience(PATIENCE).echoes();
    row.end(&mut server);
}
