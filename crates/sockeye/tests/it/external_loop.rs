//! Services inside loops of the test's own, over real sockets.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use sockeye::client::Timeouts;
use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::poll::{Mode, PollHook, Ready};
use sockeye::protocol::ProtocolMut;
use sockeye::raw::{Raw, RawClose, RawClosed, RawClosedCx, RawCx, RawWritable};
use sockeye::service::ServiceState;
use sockeye::{Close, CloseCode, Closed, ClosedCx, ConnId, Connect, Cx, Failure, Handshake, Service};

#[derive(Clone, Default)]
struct Watched {
    table: Rc<RefCell<BTreeMap<RawFd, Mode>>>,
    /// It takes no more.
    is_full: Rc<Cell<bool>>,
}

impl PollHook for Watched {
    fn add(&mut self, fd: RawFd, mode: Mode) -> io::Result<()> {
        if self.is_full.get() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        assert!(self.table.borrow_mut().insert(fd, mode).is_none());
        Ok(())
    }

    fn remove(&mut self, fd: RawFd) {
        assert!(self.table.borrow_mut().remove(&fd).is_some());
    }

    fn set_mode(&mut self, fd: RawFd, mode: Mode) {
        *self.table.borrow_mut().get_mut(&fd).unwrap() |= mode;
    }

    fn clear_mode(&mut self, fd: RawFd, mode: Mode) {
        *self.table.borrow_mut().get_mut(&fd).unwrap() -= mode;
    }
}

/// poll(2) over what is watched.
fn look(fds: &[(RawFd, Mode)], timeout: Option<Duration>) -> Vec<(RawFd, Ready)> {
    let events =
        |mode: Mode| (if mode.readable { libc::POLLIN } else { 0 }) | (if mode.writable { libc::POLLOUT } else { 0 });
    let mut asked: Vec<_> =
        fds.iter().map(|&(fd, mode)| libc::pollfd { fd, events: events(mode), revents: 0 }).collect();
    // Rounded up: to come too early would only mean to come again.
    let timeout = timeout.map_or(-1, |timeout| i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap());
    // SAFETY: the pointer and the count are those of one vector, which lives until the call returns.
    let count = unsafe { libc::poll(asked.as_mut_ptr(), asked.len() as libc::nfds_t, timeout) };
    assert!(count >= 0, "{}", io::Error::last_os_error());
    let seen = asked.iter().map(|asked| (asked.fd, Ready::from_revents(asked.revents)));
    seen.filter(|(_, ready)| *ready != Ready::default()).collect()
}

impl Watched {
    fn fds(&self) -> Vec<(RawFd, Mode)> {
        self.table.borrow().iter().map(|(&fd, &mode)| (fd, mode)).collect()
    }

    /// One round of the loop outside.
    fn round(&self, service: &mut Service) -> ServiceState {
        for (fd, ready) in look(&self.fds(), service.next_timeout()) {
            match service.service_fd(fd, ready) {
                Err(error) if error.is_unknown_descriptor() => {}
                result => drop(result.unwrap()),
            }
        }
        service.run_once(None).unwrap()
    }
}

/// Says things and wants them back.
struct Client {
    say: Vec<Vec<u8>>,
    closed: Rc<Cell<Option<u16>>>,
}

impl Handler for Client {
    type State = usize;

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) -> usize {
        for message in &self.say {
            cx.push(message.clone()).unwrap();
        }
        0
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, count: &mut usize, message: Message<'_>) -> Result<(), Close> {
        assert!(message.as_bytes() == self.say[*count], "message {count} came back as another");
        *count += 1;
        if *count == self.say.len() { Err(CloseCode::NORMAL.into()) } else { Ok(()) }
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, _: usize, closed: Closed) {
        self.closed.set(Some(closed.code_seen()));
    }
}

fn messages_of_all_sizes() -> Vec<Vec<u8>> {
    [0, 1, 125, 65_536, 3 << 20].map(|size| (0..size).map(|index: usize| (index % 253) as u8).collect()).into()
}

#[test]
fn a_service_in_a_poll_loop_is_server_and_client() {
    let watched = Watched::default();
    let closed = Rc::new(Cell::new(None));
    let client = messages::with("client", Client { say: messages_of_all_sizes(), closed: closed.clone() });
    let builder = Service::builder().protocol(messages::echo("echo")).protocol(client).listen("127.0.0.1:0");
    let mut service = builder.build_external(watched.clone()).unwrap();
    assert_eq!(watched.fds().len(), 2, "the listener, and what wakes the loop");
    let url = format!("ws://localhost:{}/", port(&service));
    // A name, so that the resolver's thread has to wake the loop outside.
    service.control().protocol_named("client").unwrap().connect(Connect::new(&url).unwrap());
    while closed.get().is_none() || service.connections() > 0 {
        watched.round(&mut service);
    }
    assert_eq!(closed.get(), Some(1000));
    assert_eq!(watched.fds().len(), 2, "nothing else is left");
    // Another thread ends it.
    let remote = service.remote();
    std::thread::spawn(move || remote.run(|control| control.drain()).unwrap());
    while watched.round(&mut service) != ServiceState::Drained {}
    drop(service);
    assert_eq!(watched.fds(), []);
}

/// As at the limit of epoll's watches.
#[test]
fn what_the_outer_poller_does_not_take_ends_alone() {
    use std::io::Read;
    let watched = Watched::default();
    let builder = || Service::builder().protocol(messages::echo("echo")).listen("127.0.0.1:0");
    let mut service = builder().build_external(watched.clone()).unwrap();
    let mut refused = std::net::TcpStream::connect(("127.0.0.1", port(&service))).unwrap();
    watched.is_full.set(true);
    while service.statistics().refusals.unwatched == 0 {
        watched.round(&mut service);
    }
    assert!(matches!(refused.read(&mut [0]), Ok(0) | Err(_)), "it is closed");
    assert_eq!((service.connections(), watched.fds().len()), (0, 2));
    watched.is_full.set(false);
    let _next = std::net::TcpStream::connect(("127.0.0.1", port(&service))).unwrap();
    while service.connections() == 0 {
        watched.round(&mut service);
    }
    watched.is_full.set(true);
    let error = builder().build_external(watched.clone()).unwrap_err();
    assert_eq!(error.kind(), sockeye::error::ErrorKind::System);
}

#[test]
fn a_listener_that_is_open_already_is_watched_like_any_other() {
    let watched = Watched::default();
    let closed = Rc::new(Cell::new(None));
    let client = messages::with("client", Client { say: vec![b"x".to_vec()], closed: closed.clone() });
    let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let builder = Service::builder().protocol(messages::echo("echo")).protocol(client);
    let mut service = builder.listen(theirs.try_clone().unwrap()).build_external(watched.clone()).unwrap();
    assert_eq!(watched.fds().len(), 2);
    let url = format!("ws://127.0.0.1:{}/", port(&service));
    service.control().protocol_named("client").unwrap().connect(Connect::new(&url).unwrap());
    while closed.get().is_none() || service.connections() > 0 {
        watched.round(&mut service);
    }
    drop(service);
    assert_eq!(watched.fds(), []);
    // It is still whose it was.
    let _stream = std::net::TcpStream::connect(theirs.local_addr().unwrap()).unwrap();
    look(&[(theirs.as_raw_fd(), Mode::READ)], None);
    assert!(theirs.accept().is_ok());
}

#[test]
fn a_paused_reader_and_a_full_socket_leave_the_loop_outside_asleep() {
    let watched = Watched::default();
    // It pauses at once and does not resume.
    struct Deaf;
    impl sockeye::Protocol for Deaf {
        type Session = ();
        fn name(&self) -> &str {
            "deaf"
        }
        fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) {
            cx.pause_reading();
        }
        fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), _: sockeye::Fragment<'_>) -> Result<(), Close> {
            panic!("it is paused");
        }
        fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: sockeye::Tx<'_>) -> Result<(), Close> {
            Ok(())
        }
    }
    let mut service = Service::builder().protocol(Deaf).listen("127.0.0.1:0").build_external(watched.clone()).unwrap();
    let mut peer = std::net::TcpStream::connect(("127.0.0.1", port(&service))).unwrap();
    use std::io::Write;
    peer.write_all(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .unwrap();
    let mut answer = [0; 12];
    peer.set_nonblocking(true).unwrap();
    while io::Read::read(&mut peer, &mut answer).is_err() {
        watched.round(&mut service);
    }
    assert_eq!(&answer, b"HTTP/1.1 101");
    peer.set_nonblocking(false).unwrap();
    peer.write_all(&[0x82, 0x81, 0, 0, 0, 0, b'x']).unwrap();
    // The bytes are there and nobody wants them: after what is under way, poll(2) has nothing to report.
    let mut rounds = 0;
    while !look(&watched.fds(), Some(Duration::ZERO)).is_empty() {
        watched.round(&mut service);
        rounds += 1;
        assert!(rounds < 20, "the loop outside spins: {:?}", look(&watched.fds(), Some(Duration::ZERO)));
    }
    assert_eq!(service.connections(), 1);
}

/// Takes descriptors, and is in no hurry with any.
struct Idle {
    /// It reads nothing at all; else all there is, and then it goes on though the other side has ended.
    pauses: bool,
    closed: Rc<Cell<usize>>,
}

impl Raw for Idle {
    type Session = ();

    fn name(&self) -> &str {
        "idle"
    }

    fn open(&mut self, cx: &mut RawCx<'_>) {
        if self.pauses {
            cx.pause_reading();
        }
    }

    fn receive(&mut self, _: &mut RawCx<'_>, (): &mut (), _: &[u8]) -> Result<(), RawClose> {
        assert!(!self.pauses, "it is paused");
        Ok(())
    }

    fn ended(&mut self, _: &mut RawCx<'_>, (): &mut ()) -> Result<(), RawClose> {
        Ok(())
    }

    fn writable(&mut self, _: &mut RawCx<'_>, (): &mut (), _: RawWritable<'_>) -> Result<(), RawClose> {
        Ok(())
    }

    fn closed(&mut self, _: &mut RawClosedCx<'_>, (): (), _: RawClosed) {
        self.closed.set(self.closed.get() + 1);
    }
}

/// poll(2) tells of a hang-up and of an error though nobody asked, again and again as long as the descriptor is there.
#[test]
fn descriptors_whose_other_side_went_leave_the_loop_outside_asleep() {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    let read_end = || -> OwnedFd {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"the last words").unwrap();
        reader.into()
    };
    let write_end = || -> OwnedFd { io::pipe().unwrap().1.into() };
    let socket = |how: Option<Shutdown>| -> (OwnedFd, Option<UnixStream>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"the last words").unwrap();
        if let Some(how) = how {
            theirs.shutdown(how).unwrap();
        }
        (ours.into(), how.map(|_| theirs))
    };
    for pauses in [true, false] {
        let (watched, closed) = (Watched::default(), Rc::new(Cell::new(0)));
        let builder = Service::builder().raw(Idle { pauses, closed: closed.clone() });
        let mut service = builder.build_external(watched.clone()).unwrap();
        let sockets = [None, Some(Shutdown::Write), Some(Shutdown::Read), Some(Shutdown::Both)].map(socket);
        let (fds, theirs): (Vec<_>, Vec<_>) = sockets.into_iter().unzip();
        for fd in fds.into_iter().chain([read_end(), write_end()]) {
            service.control().endpoint_named("idle").unwrap().adopt(fd);
        }
        service.run_once(None).unwrap();
        let mut rounds = 0;
        while !look(&watched.fds(), Some(Duration::ZERO)).is_empty() || service.has_pending_work() {
            watched.round(&mut service);
            rounds += 1;
            assert!(rounds < 40, "the loop outside spins: {:?}", look(&watched.fds(), Some(Duration::ZERO)));
        }
        assert_eq!(service.next_timeout(), None, "nothing is due, ever");
        assert_eq!(closed.get() + service.connections(), 6);
        println!("pauses {pauses}: {rounds} rounds, {} closed", closed.get());
        drop(theirs);
    }
}

/// Connects, and is told of the failure.
struct Hopeless(Rc<Cell<bool>>);

impl Handler for Hopeless {
    type State = ();

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
        panic!("nobody answers");
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), _: Message<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, failure: Failure) {
        assert!(failure.to_string().contains("within"), "{failure}");
        self.0.set(true);
    }
}

/// A listener of which nobody accepts. With a queue for nobody that is full what is sent to it is dropped, with a longer one the
/// system connects and nobody answers.
fn nobody(queue: i32) -> (socket2::Socket, Vec<std::net::TcpStream>) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(queue).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let knock = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
    let queued = if queue == 0 { std::iter::from_fn(knock).take(100).collect() } else { Vec::new() };
    (listener, queued)
}

#[test]
fn a_client_that_nobody_answers_leaves_the_loop_outside_asleep() {
    for queue in [0, 10] {
        let (watched, failed) = (Watched::default(), Rc::new(Cell::new(false)));
        let client = messages::with("hopeless", Hopeless(failed.clone()));
        let mut service = Service::builder().protocol(client).build_external(watched.clone()).unwrap();
        let (listener, _queued) = nobody(queue);
        let port = listener.local_addr().unwrap().as_socket().unwrap().port();
        let mut timeouts = Timeouts::default();
        (timeouts.connect, timeouts.handshake) = (Duration::from_secs(1), Duration::from_secs(1));
        let connect = Connect::new(&format!("ws://127.0.0.1:{port}/")).unwrap().timeouts(timeouts).unwrap();
        service.control().protocol_named("hopeless").unwrap().connect(connect);
        let mut rounds = 0;
        while !failed.get() {
            watched.round(&mut service);
            rounds += 1;
            assert!(rounds <= 20, "the loop outside spins: {:?}", watched.fds());
        }
    }
}

#[test]
fn two_services_share_a_loop_by_one_descriptor_each() {
    let closed = Rc::new(Cell::new(None));
    let client = messages::with("client", Client { say: messages_of_all_sizes(), closed: closed.clone() });
    let mut server = Service::builder().fallback(messages::echo("echo")).listen("127.0.0.1:0").build().unwrap();
    let mut other = Service::builder().protocol(client).build().unwrap();
    let url = format!("ws://127.0.0.1:{}/", port(&server));
    other.control().protocol_named("client").unwrap().connect(Connect::new(&url).unwrap());
    while closed.get().is_none() {
        let raw = |fd: Option<BorrowedFd<'_>>| (fd.unwrap().as_raw_fd(), Mode::READ);
        let fds = [raw(server.descriptor()), raw(other.descriptor())];
        let timeout = [server.next_timeout(), other.next_timeout()].into_iter().flatten().min();
        look(&fds, timeout);
        for service in [&mut server, &mut other] {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
    }
    assert_eq!(closed.get(), Some(1000));
}

#[test]
fn a_drained_service_does_not_keep_the_loop_of_another_awake() {
    let watched = Watched::default();
    let builder = || Service::builder().fallback(messages::echo("echo")).listen("127.0.0.1:0");
    for mut drained in [builder().build().unwrap(), builder().build_external(watched.clone()).unwrap()] {
        let mut other = builder().build().unwrap();
        while drained.has_pending_work() {
            drained.run_once(None).unwrap();
        }
        drained.drain();
        assert!(drained.has_pending_work(), "to say that it is over");
        assert_eq!(drained.run_once(None).unwrap(), ServiceState::Drained);
        assert_eq!([drained.next_timeout(), other.next_timeout()], [None, None], "both may sleep");
        // The next request is answered at once.
        assert_eq!(drained.run_once(None).unwrap(), ServiceState::Drained);
        drained.run().unwrap();
        // Nor does a thread that comes late.
        assert!(drained.remote().run(|_| ()).is_err() || drained.run_once(None).unwrap() == ServiceState::Drained);
        assert_eq!(other.run_once(Some(Duration::ZERO)).unwrap(), ServiceState::Running);
        assert_eq!(drained.next_timeout(), None);
    }
}

#[test]
fn descriptors_of_others_are_errors_and_do_no_harm() {
    let watched = Watched::default();
    let mut service = Service::builder()
        .fallback(messages::echo("echo"))
        .listen("127.0.0.1:0")
        .build_external(watched.clone())
        .unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for fd in [-1, 0, RawFd::MAX, other.as_raw_fd()] {
        let all = Ready { readable: true, writable: true, ended: true };
        let error = service.service_fd(fd, all).unwrap_err();
        assert!(error.is_unknown_descriptor(), "{error}");
    }
    // The listener is well, whatever is said of it.
    let listener = watched.fds()[0].0.max(watched.fds()[1].0);
    for _ in 0..3 {
        service.service_fd(listener, Ready { readable: true, writable: true, ended: true }).unwrap();
    }
    assert_eq!(watched.fds().len(), 2);
    let mut inside = Service::builder().build().unwrap();
    assert!(inside.service_fd(listener, Ready::READ).unwrap_err().is_unknown_descriptor());
    assert!(service.descriptor().is_some());
}

fn port(service: &Service) -> u16 {
    match &service.local_addresses()[0] {
        sockeye::sys::Address::Ip(address) => address.port(),
        other => panic!("{other}"),
    }
}

/// A hook that takes every second descriptor, for listeners, connections and connects.
#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn a_hook_that_refuses_every_second_descriptor() {
    #[derive(Clone, Default)]
    struct Half {
        watched: Watched,
        count: Rc<Cell<usize>>,
        active: Rc<Cell<bool>>,
    }

    impl PollHook for Half {
        fn add(&mut self, fd: RawFd, mode: Mode) -> io::Result<()> {
            self.count.set(self.count.get() + 1);
            if self.active.get() && self.count.get() % 2 == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.watched.add(fd, mode)
        }

        fn remove(&mut self, fd: RawFd) {
            self.watched.remove(fd);
        }

        fn set_mode(&mut self, fd: RawFd, mode: Mode) {
            self.watched.set_mode(fd, mode);
        }

        fn clear_mode(&mut self, fd: RawFd, mode: Mode) {
            self.watched.clear_mode(fd, mode);
        }
    }

    #[derive(Default)]
    struct Counts {
        opened: Rc<Cell<usize>>,
        over: Rc<Cell<usize>>,
    }

    impl Handler for Counts {
        type State = ();

        fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
            self.opened.set(self.opened.get() + 1);
            cx.push("hello").unwrap();
        }

        fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), _: Message<'_>) -> Result<(), Close> {
            Err(CloseCode::NORMAL.into())
        }

        fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), _: Closed) {
            self.over.set(self.over.get() + 1);
        }

        fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, _: Failure) {
            self.over.set(self.over.get() + 1);
        }
    }

    for offset in 0..2 {
        let half = Half::default();
        let counts = Counts::default();
        let (opened, over) = (counts.opened.clone(), counts.over.clone());
        let builder = Service::builder().protocol(messages::echo("echo")).protocol(messages::with("client", counts));
        let mut service = builder.listen("127.0.0.1:0").build_external(half.clone()).unwrap();
        half.count.set(offset);
        half.active.set(true);
        // Two addresses of one host race.
        let url = format!("ws://localhost:{}/", port(&service));
        for _ in 0..30 {
            service.control().protocol_named("client").unwrap().connect(Connect::new(&url).unwrap());
        }
        let mut rounds = 0;
        while over.get() < 30 || service.connections() > 0 {
            half.watched.round(&mut service);
            rounds += 1;
            assert!(rounds < 5000, "it spins: {} over, {} connections", over.get(), service.connections());
        }
        eprintln!("{} opened, {} over, {rounds} rounds", opened.get(), over.get());
        assert_eq!(half.watched.fds().len(), 2, "nothing else is left");
        drop(service);
        assert_eq!(half.watched.fds(), []);
        // The waker is taken, the listener is not; or the other way round.
        half.count.set(offset);
        let result =
            Service::builder().protocol(messages::echo("echo")).listen("127.0.0.1:0").build_external(half.clone());
        assert!(result.is_err());
        assert_eq!(half.watched.fds(), [], "what was added is removed");
    }
}
