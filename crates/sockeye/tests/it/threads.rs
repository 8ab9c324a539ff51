//! Services in several threads, over real sockets: the system deals the connections out.
//!
//! A connection is one of the thread that it came to, which nobody can choose: the tests connect until they have one of
//! each.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity};
use sockeye::daemon::systemd::{Notify, Watchdog};
use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::raw::{Raw, RawClose, RawCx, RawWritable};
use sockeye::service::RemoteError;
use sockeye::statistics::Statistics;
use sockeye::sys::Address;
use sockeye::threads::{Group, RunningThreads, Worker};
use sockeye::{Builder, Close, Closed, ClosedCx, Compression, Handshake, Service, Threads};
use sockeye_testing::zlib;

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers with what it is asked, and tells which thread it is in.
struct Obedient {
    worker: Worker,
    closed: Arc<Mutex<Vec<usize>>>,
}

impl Handler for Obedient {
    type State = ();

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {}

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        match message.as_text().unwrap() {
            "who" => cx.push(self.worker.index().to_string()).unwrap(),
            "drain" => cx.drain(),
            "panic" => panic!("as it was told to"),
            text => self.worker.group().protocol("obedient").publish_text(text).unwrap(),
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), _: Closed) {
        self.closed.lock().unwrap().push(self.worker.index());
    }
}

fn start(count: usize) -> (RunningThreads, Arc<Mutex<Vec<usize>>>) {
    let closed = Arc::new(Mutex::new(Vec::new()));
    let log = closed.clone();
    let threads = Threads::new(count).listen("127.0.0.1:0").start(move |worker| {
        let handler = Obedient { worker: worker.clone(), closed: log.clone() };
        Ok(Service::builder().protocol(messages::with("obedient", handler)))
    });
    (threads.unwrap(), closed)
}

/// A client that is just good enough.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: &Address) -> Self {
        Self::offering(address, "").0
    }

    /// With more lines in the request; gives the extensions that were accepted, too.
    fn offering(address: &Address, lines: &str) -> (Self, String) {
        let Address::Ip(address) = address else { panic!("{address}") };
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head:?}");
        }
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let extensions = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        (Self(stream), extensions.unwrap_or_default().to_owned())
    }

    fn say(&mut self, text: &str) {
        self.send(0x81, text.as_bytes());
    }

    /// Masked with zeros.
    fn send(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend(payload);
        self.0.get_mut().write_all(&frame).unwrap();
    }

    fn hear(&mut self) -> String {
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, 1);
        String::from_utf8(payload).unwrap()
    }

    fn frame(&mut self) -> (u8, Vec<u8>) {
        let (first, payload) = self.whole_frame();
        (first & 0x0f, payload)
    }

    /// The first byte and the payload.
    fn whole_frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let mut payload = vec![0; usize::from(head[1])];
        self.0.read_exact(&mut payload).unwrap();
        (head[0], payload)
    }

    fn thread(&mut self) -> usize {
        self.say("who");
        self.hear().parse().unwrap()
    }

    fn close_code(&mut self) -> u16 {
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, 8);
        u16::from_be_bytes([payload[0], payload[1]])
    }
}

/// One connection of each thread, and any number of others.
fn one_of_each(threads: &RunningThreads) -> Vec<Client> {
    let mut found: Vec<Option<Client>> = (0..threads.threads()).map(|_| None).collect();
    // That one thread of three gets none of 200 is a chance of 2^-116.
    for _ in 0..200 {
        let mut client = Client::connect(&threads.local_addresses()[0]);
        let thread = client.thread();
        found[thread] = Some(client);
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found.into_iter().map(|client| client.expect("every thread gets connections")).collect()
}

#[test]
fn every_thread_gets_connections_and_what_is_published_reaches_all() {
    let (threads, _) = start(3);
    assert_eq!((threads.threads(), threads.local_addresses().len()), (3, 1), "one port for all");
    let mut clients = one_of_each(&threads);
    clients[1].say("hello");
    for client in &mut clients {
        assert_eq!(client.hear(), "hello");
    }
    threads.group().protocol("obedient").publish_binary(b"from outside").unwrap();
    for client in &mut clients {
        assert_eq!(client.frame(), (2, b"from outside".to_vec()));
    }
    threads.drain();
    for client in &mut clients {
        assert_eq!(client.close_code(), 1001);
    }
    drop(clients);
    threads.join().unwrap();
}

#[test]
fn nothing_is_accepted_before_they_serve() {
    let built = Threads::new(2).listen("127.0.0.1:0").build(|_| Ok(plain())).unwrap();
    let Address::Ip(address) = built.local_addresses()[0] else { panic!("an IP address was given") };
    let mut early = TcpStream::connect(address).unwrap();
    drop(built);
    let ended = early.read(&mut [0]);
    assert!(matches!(&ended, Err(error) if error.kind() == ErrorKind::ConnectionReset), "{ended:?}");
    // The address is free again; this time somebody answers who was there early.
    let built = Threads::new(2).listen(address).build(|_| Ok(plain())).unwrap();
    let mut early = TcpStream::connect(address).unwrap();
    early.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let threads = built.serve();
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    threads.join_drained();
}

#[test]
fn two_that_publish_at_the_same_time_are_heard_in_one_order() {
    const EACH: usize = 500;
    let (threads, _) = start(2);
    let mut clients = one_of_each(&threads);
    let both = Arc::new(Barrier::new(2));
    let writers: Vec<_> = ["a", "b"]
        .into_iter()
        .map(|name| {
            let (group, both) = (threads.group().clone(), both.clone());
            thread::spawn(move || {
                both.wait();
                for number in 0..EACH {
                    group.protocol("obedient").publish_text(&format!("{name}{number}")).unwrap();
                }
            })
        })
        .collect();
    let heard: Vec<Vec<String>> =
        clients.iter_mut().map(|client| (0..2 * EACH).map(|_| client.hear()).collect()).collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(heard[0], heard[1]);
    for name in ["a", "b"] {
        let own: Vec<_> = heard[0].iter().filter(|text| text.starts_with(name)).collect();
        assert!(own.iter().enumerate().all(|(number, text)| **text == format!("{name}{number}")), "{own:?}");
    }
}

/// What a thread counted stays when it is over; what it had is gone.
#[test]
fn what_all_have_counted_can_be_asked_for_meanwhile() {
    let (threads, _) = start(2);
    let clients = one_of_each(&threads);
    let begin = Instant::now();
    // It is there within a second, from threads that have nothing else to do.
    while threads.statistics().websockets_now != clients.len() as u64 {
        assert!(begin.elapsed() < PATIENCE, "{}", threads.statistics());
        thread::yield_now();
    }
    let all = threads.statistics();
    assert_eq!(all.websockets.opened_by_peers, all.responses[&101]);
    let mut sum = Statistics::default();
    threads.drain();
    drop(clients);
    threads.join_each(|_, statistics| sum += statistics).unwrap();
    assert!(sum.websockets.opened_by_peers >= all.websockets.opened_by_peers);
    assert_eq!((sum.websockets_now, sum.connections_now), (0, 0));
}

/// What was compressed in several threads: one compression in each for what is published, and all of it in the sum.
#[test]
fn what_all_have_compressed_is_summed() {
    let threads = Threads::new(2).listen("127.0.0.1:0").start(|worker| {
        let handler = Obedient { worker: worker.clone(), closed: Arc::default() };
        Ok(Service::builder().compression(Compression::new()).protocol(messages::with("obedient", handler)))
    });
    let threads = threads.unwrap();
    let mut clients = Vec::new();
    let mut of_each = [0; 2];
    while of_each.contains(&0) || clients.len() < 4 {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let (mut client, answer) = Client::offering(&threads.local_addresses()[0], offer);
        of_each[client.thread()] += 1;
        let (send, receive) = zlib::agreed(answer.as_bytes()).unwrap();
        clients.push((client, zlib::Packer::new(send), zlib::Plain::new(receive)));
    }
    let count = clients.len();
    let text = "what is said is said to all, and said again; ".repeat(3);
    for (number, (client, packer, _)) in clients.iter_mut().enumerate() {
        let packed = packer.message(format!("{text}{number}").as_bytes());
        client.send(0xC1, &packed);
    }
    for (client, _, plain) in &mut clients {
        let mut heard = BTreeSet::new();
        while heard.len() < count {
            let (first, payload) = client.whole_frame();
            let frame = [&[first, u8::try_from(payload.len()).unwrap()][..], &payload].concat();
            // A length in 16 bits.
            heard.insert(String::from_utf8(plain.frames(&frame)[4..].to_vec()).unwrap());
        }
        assert_eq!((plain.packed, &plain.failed), (count, &None));
        assert_eq!(heard, (0..count).map(|number| format!("{text}{number}")).collect());
    }
    let all = |sum: &Statistics| {
        let compression = &sum.compression;
        [compression.received, compression.sent, compression.deflated].map(|count| count as usize)
    };
    let wanted = [count, count * count, 2 * count];
    let begin = Instant::now();
    while all(&threads.statistics()) != wanted {
        assert!(begin.elapsed() < PATIENCE, "{}", threads.statistics());
        thread::yield_now();
    }
    threads.drain();
    drop(clients);
    let (mut sum, mut parts) = (Statistics::default(), Vec::new());
    let each = |index: usize, statistics: &Statistics| {
        sum += statistics;
        parts.push((index, all(statistics)));
    };
    threads.join_each(each).unwrap();
    assert_eq!(all(&sum), wanted);
    for (index, part) in parts {
        assert_eq!(part, [of_each[index], of_each[index] * count, count], "thread {index}");
    }
}

#[test]
fn a_callback_that_drains_ends_all() {
    let (threads, closed) = start(2);
    let mut clients = one_of_each(&threads);
    clients[0].say("drain");
    for client in &mut clients {
        assert_eq!(client.close_code(), 1001);
    }
    drop(clients);
    let mut counted = BTreeMap::new();
    threads.join_each(|index, statistics| _ = counted.insert(index, statistics.websockets.closed)).unwrap();
    assert!(counted.keys().eq(&[0, 1]) && counted.values().all(|count| *count > 0), "{counted:?}");
    let closed: BTreeSet<_> = closed.lock().unwrap().iter().copied().collect();
    assert_eq!(closed, BTreeSet::from([0, 1]));
}

#[test]
fn a_panic_in_one_thread_is_reported_and_ends_all() {
    let (threads, closed) = start(2);
    let group = threads.group().clone();
    let mut clients = one_of_each(&threads);
    clients[1].say("panic");
    assert_eq!(clients[0].close_code(), 1001, "the others are told");
    let mut rest = Vec::new();
    match clients[1].0.read_to_end(&mut rest) {
        Ok(_) => assert_eq!(rest, b"", "its own connections just end"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    drop(clients);
    let error = threads.join().unwrap_err();
    assert_eq!((error.thread(), error.is_panic()), (Some(1), true));
    assert_eq!(error.to_string(), "thread 1: it panicked: as it was told to");
    let closed: BTreeSet<_> = closed.lock().unwrap().iter().copied().collect();
    assert_eq!(closed, BTreeSet::from([0, 1]), "and each open connection had its end");
    assert_eq!(group.protocol("obedient").publish_text("too late"), Err(RemoteError::Gone));
}

/// `closed` is called while the service of the thread that panicked is dropped.
#[test]
fn a_panic_after_a_panic_ends_the_thread_and_not_the_process() {
    struct Twice;
    impl Handler for Twice {
        type State = ();
        fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {}
        fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), _: Message<'_>) -> Result<(), Close> {
            panic!("first")
        }
        fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), _: Closed) {
            panic!("second")
        }
    }
    let threads = Threads::new(2).listen("127.0.0.1:0");
    let threads = threads.start(|_| Ok(Service::builder().protocol(messages::with("twice", Twice)))).unwrap();
    let mut client = Client::connect(&threads.local_addresses()[0]);
    client.say("go");
    let error = threads.join().unwrap_err();
    assert!(error.to_string().ends_with("it panicked: first"), "{error}");
}

#[test]
fn dropping_them_drains_them() {
    let (threads, _) = start(2);
    let mut clients = one_of_each(&threads);
    let dropped = thread::spawn(move || drop(threads));
    for client in &mut clients {
        assert_eq!(client.close_code(), 1001);
    }
    drop(clients);
    dropped.join().unwrap();
}

#[test]
fn the_group_is_there_from_the_first_callback_on() {
    let early = Arc::new(Mutex::new(Vec::new()));
    let log = early.clone();
    let threads = Threads::new(2).listen("127.0.0.1:0").start(move |worker| {
        log.lock().unwrap().push((
            worker.index(),
            worker.threads(),
            worker.group().protocol("any").publish_text("early"),
        ));
        Ok(plain())
    });
    threads.unwrap().join_drained();
    let mut early = early.lock().unwrap().clone();
    early.sort_by_key(|(index, ..)| *index);
    assert_eq!(early, [(0, 2, Err(RemoteError::Starting)), (1, 2, Err(RemoteError::Starting))]);
}

trait Drained {
    fn join_drained(self);
}

impl Drained for RunningThreads {
    fn join_drained(self) {
        self.drain();
        self.join().unwrap();
    }
}

fn plain() -> Builder {
    Service::builder().protocol(messages::echo("echo"))
}

#[test]
fn pinned_threads_have_a_core_each() {
    let cores = Arc::new(Mutex::new(Vec::new()));
    let log = cores.clone();
    let allowed = own_cores();
    let threads = Threads::new(allowed.len() + 1).pin(true).start(move |worker| {
        log.lock().unwrap().push((worker.index(), own_cores()));
        Ok(plain())
    });
    threads.unwrap().join_drained();
    let mut cores = cores.lock().unwrap().clone();
    cores.sort_unstable();
    for (index, cores) in cores.iter() {
        assert_eq!(*cores, [allowed[index % allowed.len()]], "{index}");
    }
    assert_eq!(own_cores(), allowed, "the one that started them may run everywhere");
}

fn own_cores() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect()
}

#[test]
fn an_address_that_others_share_is_not_joined_unawares() {
    let (threads, _) = start(2);
    let address = threads.local_addresses()[0].clone();
    let error = Threads::new(2).listen(address.clone()).start(|_| Ok(plain())).unwrap_err();
    assert!(error.as_listen().is_some());
    assert_eq!((error.io_error().unwrap().kind(), error.thread()), (ErrorKind::AddrInUse, Some(0)));
    // And the address is free again with the end of the first ones, at once.
    threads.join_drained();
    Threads::new(2).listen(address).start(|_| Ok(plain())).unwrap().join_drained();
}

#[test]
fn a_unix_socket_is_for_one_thread() {
    let path = std::env::temp_dir().join(format!("sockeye-threads-{}", std::process::id()));
    let address = Address::Unix(path.clone());
    let error = Threads::new(2).listen(address.clone()).start(|_| Ok(plain())).unwrap_err();
    assert!(error.to_string().contains("come to one thread only"), "{error}");
    assert!(!path.exists());
    Threads::new(1).listen(address.clone()).start(|_| Ok(plain())).unwrap().join_drained();
    // The first of several may have one of its own.
    let own = address.clone();
    let threads = Threads::new(2)
        .listen("127.0.0.1:0")
        .start(move |worker| Ok(if worker.index() == 0 { plain().listen(own.clone()) } else { plain() }));
    let threads = threads.unwrap();
    assert_eq!(threads.local_addresses().len(), 2);
    assert_eq!(threads.local_addresses()[1], address);
    threads.join_drained();
    assert!(!path.exists());
}

/// A connection comes to whichever thread has nothing to do: with all but one of them held, to that one.
#[test]
fn a_listener_that_is_open_already_is_served_by_all_threads() {
    const COUNT: usize = 3;
    let path = std::env::temp_dir().join(format!("sockeye-threads-open-{}", std::process::id()));
    let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&path).unwrap());
    let address = Address::Ip(tcp.local_addr().unwrap());
    let gate = Arc::new(Mutex::new(()));
    let shut = gate.lock().unwrap();
    let (held, holding) = mpsc::channel();
    let (theirs, sender) = (gate.clone(), Mutex::new(held));
    let threads = Threads::new(COUNT).listen(tcp).listen(unix).start(move |worker| {
        let (index, gate, held) = (worker.index(), theirs.clone(), sender.lock().unwrap().clone());
        Ok(Service::builder().fallback(messages::on("hold", move |_, _| {
            held.send(index).unwrap();
            drop(gate.lock());
            Ok(())
        })))
    });
    let threads = threads.unwrap();
    assert_eq!(threads.local_addresses(), [address.clone(), Address::Unix(path.clone())]);
    let mut clients = Vec::new();
    let mut seen = BTreeSet::new();
    for _ in 0..COUNT {
        let mut client = Client::connect(&address);
        client.say("");
        assert!(seen.insert(holding.recv_timeout(PATIENCE).unwrap()));
        clients.push(client);
    }
    drop((shut, clients));
    threads.join_drained();
    // The program that opened it removes it.
    std::fs::remove_file(path).unwrap();
}

/// Says which thread it is in, and hangs up.
struct Says(usize);

impl Raw for Says {
    type Session = ();

    fn name(&self) -> &str {
        "says"
    }

    fn open(&mut self, cx: &mut RawCx<'_>) {
        cx.request_writable();
    }

    fn receive(&mut self, _: &mut RawCx<'_>, (): &mut (), _: &[u8]) -> Result<(), RawClose> {
        Ok(())
    }

    fn writable(&mut self, _: &mut RawCx<'_>, (): &mut (), tx: RawWritable<'_>) -> Result<(), RawClose> {
        tx.write(self.0.to_string().as_bytes());
        Err(RawClose::Normal)
    }
}

#[test]
fn a_raw_listener_is_served_by_all_threads() {
    const COUNT: usize = 3;
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    let own_address = Address::Ip(own.local_addr().unwrap());
    let own = Mutex::new(Some(own));
    let threads = Threads::new(COUNT).listen_raw("127.0.0.1:0", "says").listen("127.0.0.1:0").start(move |worker| {
        let builder = plain().raw(Says(worker.index()));
        let own = own.lock().unwrap().take();
        Ok(match own {
            Some(own) => builder.listen(own),
            None => builder,
        })
    });
    let threads = threads.unwrap();
    let [Address::Ip(raw), web, last] = threads.local_addresses() else { panic!("{:?}", threads.local_addresses()) };
    assert_eq!(last, &own_address);
    drop(Client::connect(web));
    let mut seen = BTreeSet::new();
    for _ in 0..1000 {
        let mut said = String::new();
        let mut stream = TcpStream::connect(raw).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_to_string(&mut said).unwrap();
        seen.insert(said);
        if seen.len() == COUNT {
            break;
        }
    }
    assert_eq!(Vec::from_iter(seen), ["0", "1", "2"]);
    threads.join_drained();
    let missing = Threads::new(2).listen_raw("127.0.0.1:0", "says").start(|_| Ok(plain())).unwrap_err();
    let text = "thread 0: listen_raw: the service has no raw endpoint \"says\"; add it with Builder::raw";
    assert_eq!(missing.to_string(), text);
    let wrong = Threads::new(2).listen_raw("127.0.0.1:0", "echo").start(|_| Ok(plain())).unwrap_err();
    assert_eq!(wrong.to_string(), "thread 0: listen_raw: \"echo\" is a WebSocket protocol; use Builder::listen");
}

/// A thread that is stuck in a callback makes all of them silent, whatever the others do.
#[test]
fn a_stuck_thread_gives_no_sign_of_life() {
    let path = std::env::temp_dir().join(format!("sockeye-threads-watchdog-{}", std::process::id()));
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let gate = Arc::new(Mutex::new(()));
    let (held, holding) = mpsc::channel();
    let (theirs, sender) = (gate.clone(), Mutex::new(held));
    let threads = Threads::new(2).listen("127.0.0.1:0").start(move |worker| {
        let (index, gate, held) = (worker.index(), theirs.clone(), sender.lock().unwrap().clone());
        Ok(Service::builder().fallback(messages::on("hold", move |_, _| {
            held.send(index).unwrap();
            drop(gate.lock());
            Ok(())
        })))
    });
    let threads = threads.unwrap();
    let watchdog = Arc::new(Watchdog::new(Arc::new(Notify::to(path.as_os_str()).unwrap()), 2));
    let round = || {
        for index in (0..2).filter(|index| watchdog.ask(*index)) {
            let watchdog = watchdog.clone();
            threads.group().remote(index).unwrap().run(move |_| watchdog.alive(index)).unwrap();
        }
    };
    let beat = || {
        let mut heard = [0; 64];
        let count = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..count], b"WATCHDOG=1\n");
    };
    round();
    beat();
    let shut = gate.lock().unwrap();
    let mut client = Client::connect(&threads.local_addresses()[0]);
    client.say("");
    let free = 1 - holding.recv_timeout(PATIENCE).unwrap();
    for _ in 0..3 {
        round();
        // The free one has answered when it does what it was asked for later.
        let (done, waiting) = mpsc::channel();
        threads.group().remote(free).unwrap().run(move |_| done.send(()).unwrap()).unwrap();
        waiting.recv_timeout(PATIENCE).unwrap();
    }
    manager.set_nonblocking(true).unwrap();
    assert_eq!(manager.recv(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
    manager.set_nonblocking(false).unwrap();
    drop(shut);
    // The question of then is answered now, once.
    beat();
    drop(client);
    threads.join_drained();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_is_no_listener_ends_the_start_with_its_number() {
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let number = udp.as_raw_fd();
    let error = Threads::new(2).listen(OwnedFd::from(udp)).start(|_| Ok(plain())).unwrap_err();
    let what = "it is a datagram socket (SOCK_DGRAM), and must be a listening stream socket";
    assert_eq!(error.to_string(), format!("thread 0: cannot listen on descriptor {number}: {what}"));
    assert!(error.as_listen().is_some());
}

#[test]
fn what_the_closure_says_is_handed_back() {
    let error = Threads::new(3).start(|worker| match worker.index() {
        1 => Err("no such folder".into()),
        _ => Ok(plain()),
    });
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), "thread 1: no such folder");
    assert_eq!(error.build_error().unwrap().to_string(), "no such folder");
    let error = Threads::new(2).start(|_| Ok(plain().protocol(messages::echo("echo")))).unwrap_err();
    assert_eq!(error.to_string(), "thread 0: two endpoints have the name \"echo\"");
    let error = Threads::new(2).start(|_| -> Result<Builder, _> { panic!("in the closure") }).unwrap_err();
    assert!(error.is_panic(), "{error}");
    assert!(Threads::new(5000).start(|_| Ok(plain())).is_err());
}

#[test]
fn the_descriptor_limit_is_shared() {
    let one = Threads::new(1).start(|_| Ok(plain())).unwrap();
    let four = Threads::new(4).start(|_| Ok(plain())).unwrap();
    assert!(four.max_connections() <= one.max_connections(), "{} {}", four.max_connections(), one.max_connections());
    assert!(four.max_connections() > one.max_connections() / 2);
    let limited = Threads::new(2).start(|_| {
        let mut limits = sockeye::Limits::default();
        limits.connections = Some(5);
        Ok(plain().limits(limits))
    });
    assert_eq!(limited.unwrap().max_connections(), 5, "what is asked for is for all");
}

/// Wherever the system sends them: no thread keeps places for itself.
#[test]
fn the_limit_of_connections_is_that_of_all_threads() {
    let threads = Threads::new(4).listen("127.0.0.1:0").start(|_| {
        let mut limits = sockeye::Limits::default();
        limits.connections = Some(10);
        Ok(plain().limits(limits))
    });
    let threads = threads.unwrap();
    let address = threads.local_addresses()[0].clone();
    // Each has its handshake, whichever thread it came to.
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(&address)).collect();
    // One more waits until another leaves.
    thread::scope(|scope| {
        let late = scope.spawn(|| {
            let mut client = Client::connect(&address);
            client.say("hello");
            client.hear()
        });
        for client in &mut clients {
            client.say("here");
            assert_eq!(client.hear(), "here");
        }
        drop(clients.pop());
        assert_eq!(late.join().unwrap(), "hello");
    });
    assert_eq!(threads.max_connections(), 10);
}

#[test]
fn handles_cross_threads() {
    fn send<T: Clone + Send + Sync + 'static>() {}
    send::<Group>();
    send::<Worker>();
    fn only_send<T: Send>() {}
    only_send::<RunningThreads>();
}
