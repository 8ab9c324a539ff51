//! A client's connection once it is open: messages, masks, silence, and its end.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye::proto::close::{Cause, Initiator, Timeout};
use sockeye::proto::time::Instant;
use sockeye::proto::wire::MessageKind;
use sockeye::sim::{Faults, PeerEnd};
use sockeye::sys::{
    Address, Clock, CloseHow, ConnectOptions, Descriptors, ForeignDescriptors, Handle, ListenOptions, Names, Poller,
    Random, Readiness, Resolved, Sockets, Sys, TcpKeepalive, Wake,
};
use sockeye::{CloseCode, ConnId, Limits};
use sockeye_testing::client::{Bench, MILLI, NAME, SECOND, Say, Seen, Server, frame, to};

const SIZES: [usize; 7] = [0, 125, 126, 65_535, 65_536, 1 << 20, 16 << 20];

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index % 251) as u8).collect()
}

/// The server takes what it is sent in small pieces and with pauses.
fn slowly(server: &mut Server, most: usize) {
    server.peer.set_window(most);
    let bytes = server.peer.recv_at_most(most);
    server.input.extend_from_slice(&bytes);
}

#[test]
fn messages_of_every_size_go_out_to_slow_readers() {
    for size in SIZES {
        for (owned, faults) in [(false, Faults::none()), (true, Faults::none()), (true, Faults::usual())] {
            if size > 1 << 20 && owned {
                continue;
            }
            let mut bench =
                Bench::with(1, faults.with_buffers(16 << 10, 16 << 10).with_segment(64 << 10), Limits::default());
            let listener = bench.listen("10.0.0.1:80");
            let (id, mut server) = bench.open(&to("ws://10.0.0.1/"), &listener);
            let payload = pattern(size);
            let say = |payload| {
                if owned {
                    Say::Owned(MessageKind::Binary, payload)
                } else {
                    Say::Message(MessageKind::Binary, payload)
                }
            };
            bench.say(id, say(payload.clone()));
            bench.say(id, say(b"behind it".to_vec()));
            let head = if size > 65_535 {
                14
            } else if size > 125 {
                8
            } else {
                6
            };
            let piece = (size / 50).max(7);
            bench.until(|_| {
                slowly(&mut server, piece);
                server.input.len() == head + size + 6 + 9
            });
            server.pump();
            assert_eq!(server.messages(), [payload, b"behind it".to_vec()]);
            assert_eq!(server.frames.len(), 2, "whole messages in one frame each");
            drop(server);
            bench.finish();
        }
    }
}

#[test]
fn messages_of_every_size_come_in() {
    for size in SIZES {
        let mut bench = Bench::with(1, Faults::usual().with_segment(64 << 10), Limits::default());
        let listener = bench.listen("10.0.0.1:80");
        let (id, server) = bench.open(&to("ws://10.0.0.1/"), &listener);
        let payload = pattern(size);
        server.send(frame(0x82, &payload));
        server.send(frame(0x81, b"behind it"));
        bench.until(|bench| bench.notes.messages(id).len() == 2);
        let messages = bench.notes.messages(id);
        assert_eq!(messages, [(MessageKind::Binary, payload), (MessageKind::Text, b"behind it".to_vec())]);
        drop(server);
        bench.finish();
    }
    // One byte more than may be.
    let mut bench = Bench::new();
    let listener = bench.listen("10.0.0.1:80");
    let (id, mut server) = bench.open(&to("ws://10.0.0.1/"), &listener);
    server.send(&frame(0x82, &pattern((16 << 20) + 1))[..20]);
    bench.until(|bench| bench.notes.is_over(id));
    server.pump();
    assert_eq!(&server.closes()[0][..2], &1009_u16.to_be_bytes());
    drop(server);
    bench.finish();
}

#[test]
fn fragments_and_pings_among_them() {
    for seed in 0..20 {
        let mut bench = Bench::with(seed, Faults::usual(), Limits::default());
        let listener = bench.listen("10.0.0.1:80");
        let (id, mut server) = bench.open(&to("ws://10.0.0.1/"), &listener);
        let pieces: VecDeque<Vec<u8>> = ["sé", "ve", "", "ral"].map(|piece| piece.as_bytes().to_vec()).into();
        bench.say(id, Say::Ping(b"first".to_vec()));
        bench.say(id, Say::Fragments(MessageKind::Text, pieces.clone()));
        bench.say(id, Say::Fragments(MessageKind::Binary, pieces.clone()));
        bench.say(id, Say::Message(MessageKind::Text, b"whole".to_vec()));
        server.send([frame(0x01, b"a"), frame(0x89, b"mid"), frame(0x00, b"b"), frame(0x80, b"c")].concat());
        bench.until(|bench| {
            server.pump();
            if let Some(at) = server.frames.iter().position(|frame| frame.opcode == 9) {
                let ping = server.frames.remove(at);
                server.send(frame(0x8A, &ping.payload));
            }
            server.messages().len() == 3 && server.frames.len() == 10 && bench.notes.seen.borrow().len() == 3
        });
        let whole = "séveral".as_bytes().to_vec();
        assert_eq!(server.messages(), [whole.clone(), whole, b"whole".to_vec()]);
        let data: Vec<(u8, bool)> =
            server.frames.iter().filter(|f| f.opcode < 8).map(|frame| (frame.opcode, frame.last)).collect();
        let message = |opcode| [(opcode, false), (0, false), (0, false), (0, true)];
        assert_eq!(data, [&message(1)[..], &message(2)[..], &[(1, true)]].concat());
        assert!(server.frames.iter().any(|frame| frame.opcode == 10 && frame.payload == b"mid"));
        assert!(server.frames.iter().all(|frame| frame.key.is_some()));
        assert_eq!(bench.notes.messages(id), [(MessageKind::Text, b"abc".to_vec())]);
        assert!(bench.notes.seen.borrow().iter().any(|seen| matches!(&seen.2, Seen::Pong(p) if p == b"first")));
        drop(server);
        bench.finish();
    }
}

fn several(bench: &mut Bench, count: usize) -> Vec<(ConnId, Server)> {
    let listener = bench.listen("10.0.0.1:80");
    (0..count).map(|_| bench.open(&to("ws://10.0.0.1/"), &listener)).collect()
}

/// What is published goes to clients under a key of its own for each frame of each.
#[test]
fn published_messages_are_masked_each_with_its_own_key() {
    for faults in [Faults::none(), Faults::none().with_buffers(1000, 1000), Faults::usual()] {
        let mut bench = Bench::with(5, faults, Limits::default());
        let mut clients = several(&mut bench, 5);
        let large = "é".repeat(40_000);
        let pieces: VecDeque<Vec<u8>> = (0..50).map(|_| vec![b'x'; 300]).collect();
        bench.say(clients[0].0, Say::Fragments(MessageKind::Text, pieces));
        for number in 0..20 {
            bench.service.control().protocol_named(NAME).unwrap().publish_text(&format!("news {number}"));
            bench.service.control().protocol_named(NAME).unwrap().publish_binary(&[number; 200]);
        }
        bench.service.control().protocol_named(NAME).unwrap().publish_text(&large);
        let mut keys = HashMap::new();
        for (index, (_, server)) in clients.iter_mut().enumerate() {
            let own = usize::from(index == 0);
            bench.until(|_| {
                server.pump();
                let data = server.frames.iter().rfind(|frame| frame.opcode < 8);
                server.messages().len() == 41 + own && data.is_some_and(|frame| frame.last)
            });
            let mut messages = server.messages();
            messages.retain(|message| *message != vec![b'x'; 15_000]);
            assert_eq!(messages.len(), 41);
            for number in 0..20_u8 {
                let at = usize::from(number) * 2;
                assert_eq!(messages[at], format!("news {number}").as_bytes());
                assert_eq!(messages[at + 1], [number; 200]);
            }
            assert_eq!(messages[40], large.as_bytes());
            server.frames.iter().for_each(|frame| *keys.entry(frame.key.unwrap()).or_insert(0) += 1);
        }
        assert!(keys.values().all(|count| *count == 1));
        drop(clients);
        bench.finish();
    }
}

/// CL05: 10,000 keys of two services, as they are on the wire. Of n keys there are n² / 2³³ pairs that are alike by chance.
#[test]
fn cl05_no_key_comes_twice() {
    let mut keys = Vec::new();
    for seed in [1, 2] {
        let mut bench = Bench::with(seed, Faults::none(), Limits::default());
        let mut clients = several(&mut bench, 2);
        for round in 0..2500 {
            for (id, _) in &clients {
                bench.say(*id, Say::Message(MessageKind::Text, format!("{round}").into_bytes()));
            }
        }
        for (_, server) in &mut clients {
            bench.until(|_| {
                server.pump();
                server.frames.len() == 2500
            });
            keys.extend(server.frames.iter().map(|frame| u32::from_be_bytes(frame.key.unwrap())));
        }
        drop(clients);
        bench.finish();
    }
    assert_eq!(keys.len(), 10_000);
    // Every bit is set about half of the times: 5000, give or take six times the deviation of 50.
    for bit in 0..32 {
        let count = keys.iter().filter(|key| *key >> bit & 1 == 1).count();
        assert!((4700..=5300).contains(&count), "bit {bit}: {count}");
    }
    keys.sort_unstable();
    keys.dedup();
    assert!(keys.len() >= 9_998, "{} different keys", keys.len());
}

/// A system whose random source can fail, and whose sending; and which notes what is asked of its sockets.
struct Dry {
    inner: Box<dyn Sys>,
    switches: Switches,
}

#[derive(Clone, Default)]
struct Switches {
    dry: Rc<Cell<bool>>,
    /// The call of the random source that fails, counted from the next; 0: none does.
    fails_at: Rc<Cell<usize>>,
    stuck: Rc<Cell<bool>>,
    asked: Rc<Cell<ConnectOptions>>,
}

impl Clock for Dry {
    fn now(&mut self) -> Instant {
        self.inner.now()
    }

    fn wall_clock(&mut self) -> u64 {
        self.inner.wall_clock()
    }
}

impl Random for Dry {
    fn random(&mut self, out: &mut [u8]) -> io::Result<()> {
        let fails_at = self.switches.fails_at.get();
        self.switches.fails_at.set(fails_at.saturating_sub(1));
        let fails = self.switches.dry.get() || fails_at == 1;
        if fails { Err(io::ErrorKind::Other.into()) } else { self.inner.random(out) }
    }
}

impl Poller for Dry {
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        self.inner.wait(timeout, ready)
    }

    fn waker(&mut self) -> Arc<dyn Wake> {
        self.inner.waker()
    }

    fn register(&mut self, handle: Handle, token: u64) -> io::Result<()> {
        self.inner.register(handle, token)
    }

    fn reregister(&mut self, handle: Handle, token: u64) -> io::Result<()> {
        self.inner.reregister(handle, token)
    }

    fn readiness(&mut self, handle: Handle) -> io::Result<Readiness> {
        self.inner.readiness(handle)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inner.descriptor()
    }
}

impl Sockets for Dry {
    fn listen(&mut self, address: &Address, options: &ListenOptions) -> io::Result<(Handle, Address)> {
        self.inner.listen(address, options)
    }

    fn accept(&mut self, listener: Handle) -> io::Result<(Handle, Address)> {
        self.inner.accept(listener)
    }

    fn connect(&mut self, address: &Address, options: &ConnectOptions) -> io::Result<Handle> {
        self.switches.asked.set(*options);
        self.inner.connect(address, options)
    }

    fn connected(&mut self, handle: Handle) -> io::Result<bool> {
        self.inner.connected(handle)
    }

    fn local_address(&mut self, handle: Handle) -> io::Result<Address> {
        self.inner.local_address(handle)
    }

    fn recv(&mut self, handle: Handle, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.recv(handle, buffer)
    }

    fn send(&mut self, handle: Handle, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.switches.stuck.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.inner.send(handle, buffers)
    }

    fn shutdown_write(&mut self, handle: Handle) -> io::Result<()> {
        self.inner.shutdown_write(handle)
    }

    fn close(&mut self, handle: Handle, how: CloseHow) {
        self.inner.close(handle, how);
    }

    fn descriptors(&mut self) -> Descriptors {
        self.inner.descriptors()
    }
}

impl Names for Dry {
    fn resolve(&mut self, ticket: u64, host: &str, port: u16) -> io::Result<()> {
        self.inner.resolve(ticket, host, port)
    }

    fn resolved(&mut self) -> Option<Resolved> {
        self.inner.resolved()
    }
}

impl ForeignDescriptors for Dry {}

fn dry() -> (Bench, Switches) {
    let switches = Switches::default();
    let sys = switches.clone();
    let bench =
        Bench::on(1, Faults::none(), Limits::default(), |host| Box::new(Dry { inner: host.sys(), switches: sys }));
    (bench, switches)
}

/// What is to be asked of the socket reaches the system, through a redirect, too.
#[test]
fn options_of_the_socket_reach_the_system() {
    let (mut bench, switches) = dry();
    let listener = bench.listen("10.0.0.1:80");
    let keepalive = TcpKeepalive::new(7 * SECOND, 3 * SECOND, 2);
    let connect =
        to("ws://10.0.0.1/").redirects(1).keepalive(keepalive).and_then(|it| it.user_timeout(SECOND)).unwrap();
    bench.connect(&connect);
    bench.turn();
    bench.network.advance(MILLI);
    let server = Server::accept(&listener).unwrap();
    let asked = switches.asked.take();
    assert_eq!((asked.keepalive, asked.user_timeout), (Some(keepalive), Some(SECOND)));
    server.send("HTTP/1.1 307 x\r\nLocation: ws://10.0.0.2/\r\nContent-Length: 0\r\n\r\n");
    bench.until(|_| switches.asked.get() == asked);
    drop(server);
    let error = to("ws://a/").user_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "user_timeout is 0ns: 1 ms to 2147483647 ms (24 days)");
    let error = to("ws://a/").keepalive(TcpKeepalive::new(SECOND, SECOND, 0)).unwrap_err();
    assert_eq!(error.to_string(), "TcpKeepalive::probes is 0: 1 to 127");
}

/// A server that refuses without reading the request may end the connection before that could be sent.
#[test]
fn what_was_answered_is_read_though_nothing_can_be_sent() {
    for (answer, why) in [
        ("HTTP/1.1 403 x\r\nContent-Length: 3\r\n\r\nno!", "Handshake: refused 403 no!"),
        ("HTTP/1.1 403 x\r\nContent-Length: 9\r\n\r\nno!", "Handshake: refused 403 no! cut"),
        ("HTTP/1.1 403 x\r\n", "Handshake: io ConnectionReset"),
        ("", "Handshake: io ConnectionReset"),
    ] {
        let (mut bench, switches) = dry();
        let listener = bench.listen("10.0.0.1:80");
        switches.stuck.set(true);
        let id = bench.connect(&to("ws://10.0.0.1/"));
        bench.turn();
        bench.network.advance(MILLI);
        let server = Server::accept(&listener).unwrap();
        server.send(answer);
        bench.network.advance(MILLI);
        assert_eq!(bench.failed(id), (Duration::ZERO, why.to_owned()));
        drop(server);
        bench.finish();
    }
}

/// Nothing leaves unmasked or under a key that anybody could foretell.
#[test]
fn without_randomness_nothing_is_sent() {
    let (mut bench, switches) = dry();
    switches.dry.set(true);
    let listener = bench.listen("10.0.0.1:80");
    let id = bench.connect(&to("ws://10.0.0.1/"));
    assert_eq!(bench.failed(id).1, "Handshake: io Other");
    let mut server = bench.accepted(&listener);
    server.pump();
    assert_eq!((server.input.len(), server.end()), (0, Some(PeerEnd::Finished)));
    switches.dry.set(false);
    for say in [Some(Say::Message(MessageKind::Text, b"secret".to_vec())), Some(Say::Ping(b"secret".to_vec())), None] {
        let (id, mut server) = bench.open(&to("ws://10.0.0.1/"), &listener);
        switches.dry.set(true);
        match say {
            Some(say) => bench.say(id, say),
            None => bench.service.control().protocol_named(NAME).unwrap().publish_text("secret"),
        }
        bench.until(|bench| bench.notes.is_over(id));
        assert_eq!(bench.notes.closed(id).unwrap().0.cause, Cause::Reset);
        server.pump();
        assert_eq!((server.input.len(), server.frames.len()), (0, 0));
        switches.dry.set(false);
    }
    bench.finish();
}

/// Of what was published for a connection that breaks midway nothing reaches the next one.
#[test]
fn randomness_that_fails_between_published_messages_ends_one_connection_only() {
    let (mut bench, switches) = dry();
    let listener = bench.listen("10.0.0.1:80");
    let (first, _broken) = bench.open(&to("ws://10.0.0.1/"), &listener);
    let (second, mut server) = bench.open(&to("ws://10.0.0.1/"), &listener);
    for text in ["one", "two"] {
        bench.service.control().protocol_named(NAME).unwrap().publish_text(text);
    }
    switches.fails_at.set(2);
    bench.until(|bench| bench.notes.is_over(first));
    assert_eq!(bench.notes.closed(first).unwrap().0.cause, Cause::Reset);
    bench.until(|_| {
        server.pump();
        server.frames.len() >= 2
    });
    assert_eq!((server.frames.len(), bench.notes.is_over(second)), (2, false));
    drop(server);
    bench.until(|bench| bench.notes.is_over(second));
    bench.finish();
}

/// A program that sends for as long as it may comes to an end, and goes on with no message that was not begun.
#[test]
fn without_randomness_there_is_no_permission_for_another_message_or_fragment() {
    let (mut bench, switches) = dry();
    let listener = bench.listen("10.0.0.1:80");
    let (id, _server) = bench.open(&to("ws://10.0.0.1/"), &listener);
    switches.fails_at.set(1);
    let pieces: VecDeque<Vec<u8>> = (0..3).map(|_| b"piece".to_vec()).collect();
    bench.say(id, Say::Fragments(MessageKind::Text, pieces));
    bench.until(|bench| bench.notes.is_over(id));
    assert_eq!(bench.notes.closed(id).unwrap().0.cause, Cause::Reset);

    let (id, _server) = bench.open(&to("ws://10.0.0.1/"), &listener);
    switches.dry.set(true);
    let waiting = (0..100).map(|_| Say::Message(MessageKind::Text, b"secret".to_vec()));
    bench.notes.queues.borrow_mut().entry(id).or_default().extend(waiting);
    bench.say(id, Say::Message(MessageKind::Text, b"secret".to_vec()));
    bench.until(|bench| bench.notes.is_over(id));
    assert_eq!(bench.notes.queues.borrow()[&id].len(), 100, "one was tried");
    switches.dry.set(false);
    bench.finish();
}

/// RFC 6455 section 7.1.1: the server closes TCP first.
#[test]
fn a_client_waits_for_the_server_to_end_tcp() {
    for ours in [true, false] {
        for ends in [Some(Duration::ZERO), Some(3 * SECOND), None] {
            let mut bench = Bench::new();
            let mut clients = several(&mut bench, 1);
            let (id, server) = &mut clients[0];
            let code = CloseCode::new(4000).unwrap();
            if ours {
                bench.service.control().connection(*id).unwrap().close(code);
                bench.until(|_| {
                    server.pump();
                    !server.closes().is_empty()
                });
            }
            server.send(frame(0x88, &4000_u16.to_be_bytes()));
            bench.pass(Duration::ZERO);
            server.pump();
            assert_eq!(server.closes(), [4000_u16.to_be_bytes()]);
            assert!(server.end().is_none() && !bench.notes.is_over(*id), "it waits");
            let begin = bench.time();
            if let Some(wait) = ends {
                bench.pass(wait);
                server.peer.shutdown();
            }
            bench.until(|bench| bench.notes.is_over(*id));
            assert_eq!(bench.time() - begin, ends.unwrap_or(5 * SECOND));
            let closed = bench.notes.closed(*id).unwrap().0;
            assert_eq!((closed.cause, closed.code_seen()), (Cause::Handshake, 4000));
            assert_eq!(closed.initiator, if ours { Initiator::Local } else { Initiator::Peer });
            bench.until(|_| server.end() == Some(PeerEnd::Finished));
            drop(clients);
            bench.finish();
        }
    }
}

#[test]
fn a_server_that_does_not_answer_a_close_is_left() {
    let mut bench = Bench::new();
    let mut clients = several(&mut bench, 1);
    let (id, server) = &mut clients[0];
    bench.service.control().connection(*id).unwrap().close(CloseCode::NORMAL);
    assert_eq!(bench.until(|bench| bench.notes.is_over(*id)), 5 * SECOND);
    assert_eq!(bench.notes.closed(*id).unwrap().0.cause, Cause::Timeout(Timeout::Close));
    bench.until(|_| server.end() == Some(PeerEnd::Reset));
    drop(clients);
    bench.finish();
}

#[test]
fn silence_is_answered_with_a_ping_and_then_with_the_end() {
    let mut bench = Bench::new();
    let mut clients = several(&mut bench, 1);
    let (id, server) = &mut clients[0];
    for round in 1..=3 {
        bench.pass(25 * SECOND - MILLI);
        server.pump();
        assert_eq!(server.frames.len(), round - 1);
        bench.pass(MILLI);
        server.pump();
        assert_eq!(server.frames.last().map(|frame| (frame.opcode, frame.key.is_some())), Some((9, true)));
        if round < 3 {
            server.send(frame(0x8A, b""));
            bench.pass(Duration::ZERO);
        }
    }
    assert_eq!(bench.until(|bench| bench.notes.is_over(*id)), 20 * SECOND);
    assert_eq!(bench.notes.closed(*id).unwrap().0.cause, Cause::Timeout(Timeout::Keepalive));
    drop(clients);
    bench.finish();
}

/// RFC 6455 section 5.1: "A client MUST close a connection if it detects a masked frame."
#[test]
fn masked_frames_of_a_server_end_the_connection() {
    let mut bench = Bench::new();
    let mut clients = several(&mut bench, 1);
    let (id, server) = &mut clients[0];
    server.send(b"\x81\x82\0\0\0\0hi");
    bench.until(|bench| bench.notes.is_over(*id));
    server.pump();
    assert_eq!(&server.closes()[0][..2], &1002_u16.to_be_bytes());
    assert!(
        matches!(bench.notes.closed(*id).unwrap().0.cause, Cause::Violation(_)) && bench.notes.messages(*id).is_empty()
    );
    drop(clients);
    bench.finish();
}

/// A drain closes clients with 1001 and waits for their servers.
#[test]
fn a_drain_closes_clients_in_good_order() {
    let mut bench = Bench::new();
    let mut clients = several(&mut bench, 3);
    let late = bench.connect(&to("ws://10.0.0.1/"));
    bench.service.drain();
    for (_, server) in &mut clients {
        bench.until(|_| {
            server.pump();
            !server.closes().is_empty()
        });
        assert_eq!(server.closes(), [1001_u16.to_be_bytes()]);
    }
    assert!(!bench.drained);
    assert_eq!(bench.why(late), "Resolve: dropped");
    for (_, server) in &clients {
        server.send(frame(0x88, &1001_u16.to_be_bytes()));
        server.peer.shutdown();
    }
    assert_eq!(bench.until(|bench| bench.drained), Duration::ZERO);
    drop(clients);
    bench.finish();
}
