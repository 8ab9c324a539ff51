//! Connections of our own over real sockets: a service that talks to itself, and to servers written by hand.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use sockeye::client::FailureCause;
use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::protocol::ProtocolMut;
use sockeye::service::ServiceState;
use sockeye::{Close, CloseCode, Closed, ClosedCx, ConnId, Connect, Failure, Handshake, Service};

/// What a client came to.
#[derive(Debug)]
enum Seen {
    Open(ConnId, Option<String>),
    Message(ConnId, Vec<u8>),
    Failed(ConnId, Failure),
    Closed(u16),
}

struct Client {
    seen: Rc<RefCell<Vec<Seen>>>,
    say: Vec<Vec<u8>>,
}

impl Handler for Client {
    type State = usize;

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, handshake: &Handshake<'_>) -> usize {
        assert!(cx.is_client());
        self.seen.borrow_mut().push(Seen::Open(cx.id(), handshake.subprotocol().map(str::to_owned)));
        for message in &self.say {
            cx.push(message.clone()).unwrap();
        }
        0
    }

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, count: &mut usize, message: Message<'_>) -> Result<(), Close> {
        self.seen.borrow_mut().push(Seen::Message(cx.id(), message.as_bytes().to_vec()));
        *count += 1;
        if *count == self.say.len() { Err(CloseCode::NORMAL.into()) } else { Ok(()) }
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, id: ConnId, failure: Failure) {
        self.seen.borrow_mut().push(Seen::Failed(id, failure));
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, _: usize, closed: Closed) {
        self.seen.borrow_mut().push(Seen::Closed(closed.code_seen()));
    }
}

fn service(say: Vec<Vec<u8>>) -> (Service, Rc<RefCell<Vec<Seen>>>) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let client = messages::with("client", Client { seen: seen.clone(), say });
    let echo = messages::echo("echo");
    let service = Service::builder().protocol(echo).protocol(client).listen("127.0.0.1:0").build().unwrap();
    (service, seen)
}

fn until(service: &mut Service, mut done: impl FnMut(&Service) -> bool) {
    while !done(service) {
        assert_eq!(service.run_once(Some(Duration::from_secs(30))).unwrap(), ServiceState::Running);
    }
}

#[test]
fn messages_of_every_size_come_back() {
    let sizes = [0, 1, 125, 126, 65_535, 65_536, 1 << 20];
    let say: Vec<Vec<u8>> = sizes.iter().map(|&size| (0..size).map(|index| (index % 251) as u8).collect()).collect();
    let (mut service, seen) = service(say.clone());
    let url = format!("ws://{}/", service.local_addresses()[0]);
    let id = service
        .control()
        .protocol_named("client")
        .unwrap()
        .connect(Connect::new(&url).unwrap().subprotocol("echo").unwrap());
    until(&mut service, |service| service.connections() == 0);
    let seen = seen.borrow();
    assert!(matches!(&seen[0], Seen::Open(open, Some(name)) if *open == id && name == "echo"));
    for (seen, said) in seen[1..].iter().zip(&say) {
        assert!(matches!(seen, Seen::Message(from, message) if *from == id && message == said));
    }
    assert_eq!(seen.len(), say.len() + 2);
    assert!(matches!(seen[say.len() + 1], Seen::Closed(1000)));
}

#[test]
fn what_the_server_answers_instead_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        socket.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nno!!!").unwrap();
        String::from_utf8(request).unwrap()
    });
    let (mut service, seen) = service(Vec::new());
    let connect = Connect::new(&url).unwrap().basic_auth("me", "secret").unwrap();
    let id = service.control().protocol_named("client").unwrap().connect(connect);
    until(&mut service, |_| !seen.borrow().is_empty());
    assert!(server.join().unwrap().contains("Authorization: Basic bWU6c2VjcmV0\r\n"));
    let seen = seen.borrow();
    let [Seen::Failed(failed, failure)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(*failed, id);
    let FailureCause::Refused(refusal) = &failure.cause else { panic!("{failure:?}") };
    assert_eq!((refusal.status(), refusal.body(), refusal.is_truncated()), (401, &b"no!!!"[..], false));
}

#[test]
fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    let (mut service, seen) = service(Vec::new());
    service.control().protocol_named("client").unwrap().connect(Connect::new(&url).unwrap());
    until(&mut service, |_| !seen.borrow().is_empty());
    let seen = seen.borrow();
    let [Seen::Failed(_, failure)] = &seen[..] else { panic!("{seen:?}") };
    assert!(failure.to_string().contains("efused"), "{failure}");
}

#[test]
fn a_connect_is_cancelled_before_it_begins_and_while_it_waits() {
    let (mut service, seen) = service(Vec::new());
    // A listener that never accepts: TCP stands, nothing is answered.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let connect = Connect::new(&url).unwrap();
    for turns in 0..4 {
        let id = service.control().protocol_named("client").unwrap().connect(connect.clone());
        for _ in 0..turns {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
        service.control().connection(id).unwrap().close(CloseCode::NORMAL);
        until(&mut service, |service| service.connections() == 0);
        let seen = seen.borrow_mut().drain(..).collect::<Vec<_>>();
        let [Seen::Failed(failed, Failure { cause: FailureCause::Cancelled, .. })] = &seen[..] else {
            panic!("{seen:?}")
        };
        assert_eq!(*failed, id);
        assert!(service.control().connection(id).is_err());
    }
}

/// Tries again at once, whatever the failure.
struct Stubborn;

impl Handler for Stubborn {
    type State = ();

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {}

    fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), _: Message<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn failed(&mut self, own: &mut ProtocolMut<'_>, _: ConnId, _: Failure) {
        own.connect(Connect::new("ws://127.0.0.1:1/").unwrap());
    }
}

#[test]
fn a_program_that_never_gives_up_does_not_keep_a_drain_from_ending() {
    let network = sockeye::sim::Network::new(1);
    let stubborn = messages::with("stubborn", Stubborn);
    let mut service = Service::builder().protocol(stubborn).build_with(network.sys()).unwrap();
    service.control().protocol_named("stubborn").unwrap().connect(Connect::new("ws://127.0.0.1:1/").unwrap());
    service.drain();
    let ended = network.run(|| match service.run_once(Some(Duration::ZERO)).unwrap() {
        ServiceState::Drained => sockeye::sim::Turn::Done,
        _ => sockeye::sim::Turn::Sleep(Some(network.now() + Duration::from_secs(1))),
    });
    assert_eq!((ended, service.connections()), (sockeye::sim::Outcome::Done, 0));
}
