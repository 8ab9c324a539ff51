//! The handshake as programs see it: what a filter learns and decides, what `open` is handed, and what the client is told.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::client::{Failure, FailureCause};
use sockeye::http::{Response, Routes};
use sockeye::protocol::ProtocolMut;
use sockeye::service::Origins;
use sockeye::sim::{Faults, Network, Peer};
use sockeye::{
    Builder, Close, ConnId, Connect, Cx, Decision, Fragment, Handshake, Protocol, Request, Service, Tx, messages,
};
use sockeye_testing::server::upgrade;

/// What was called, in order.
pub(super) type Notes = Rc<RefCell<Vec<String>>>;

/// A protocol whose filter is a closure, and which notes what it is handed.
pub(super) struct Door<F> {
    pub(super) name: &'static str,
    pub(super) notes: Notes,
    pub(super) filter: F,
}

impl<F: FnMut(&Request<'_>) -> Decision + 'static> Protocol for Door<F> {
    type Session = ();

    fn name(&self) -> &'static str {
        self.name
    }

    fn filter(&mut self, request: &Request<'_>) -> Decision {
        (self.filter)(request)
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) {
        let mut notes = self.notes.borrow_mut();
        notes.push(format!("open {:?}", handshake.subprotocol()));
        if let Some(number) = handshake.take::<u32>() {
            assert_eq!(handshake.take::<u32>(), None, "it was taken");
            notes.push(format!("number {number}"));
        }
        if let Some(text) = handshake.take::<String>() {
            notes.push(format!("text {text}"));
        }
        if let Some(request) = handshake.request() {
            assert_eq!(request.id(), cx.id());
            notes.push(facts(request));
        }
        for (name, value) in handshake.response_headers() {
            if name.starts_with("X-") {
                assert_eq!(handshake.response_header(&name.to_lowercase()), Some(value));
                assert_eq!(handshake.response_header_str(name), std::str::from_utf8(value).ok());
                notes.push(format!("{name}: {}", String::from_utf8_lossy(value)));
            }
        }
    }

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), fragment: Fragment<'_>) -> Result<(), Close> {
        self.notes.borrow_mut().push(format!("receive {:?}", fragment.payload.as_bytes()));
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, failure: Failure) {
        let FailureCause::Refused(refusal) = &failure.cause else { panic!("{failure}") };
        let mut notes = self.notes.borrow_mut();
        notes.push(format!("refused {}", refusal.status()));
        for name in ["WWW-Authenticate", "Location", "Retry-After", "X-Why"] {
            if let Some(value) = refusal.header(name) {
                notes.push(format!("{name}: {}", String::from_utf8_lossy(value)));
            }
        }
        notes.push(String::from_utf8_lossy(refusal.body()).into_owned());
    }
}

fn facts(request: &Request<'_>) -> String {
    for (name, _) in request.headers() {
        let first = request.header(name).unwrap();
        assert_eq!(request.header_str(&name.to_uppercase()), std::str::from_utf8(first).ok());
    }
    assert_eq!(request.header_str("X-None"), None);
    format!(
        "{} {} {:?} {:?} {:?} {:?} {:?} {:?}",
        request.path(),
        request.target(),
        request.query(),
        request.query_value("room"),
        request.cookie("session"),
        request.header("x-a").map(String::from_utf8_lossy),
        request.header_values("X-A").count(),
        request.protocols().collect::<Vec<_>>(),
    )
}

pub(super) struct World {
    pub(super) network: Network,
    pub(super) service: Service,
    notes: Notes,
}

impl World {
    pub(super) fn new(filter: impl FnMut(&Request<'_>) -> Decision + 'static) -> Self {
        Self::with(filter, |builder| builder)
    }

    pub(super) fn with(
        filter: impl FnMut(&Request<'_>) -> Decision + 'static,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let network = Network::with_faults(1, Faults::none());
        let notes = Notes::default();
        let door = Door { name: "door", notes: Rc::clone(&notes), filter };
        let builder = change(Service::builder().protocol(door).listen("127.0.0.1:80"));
        let service = builder.build_with(network.sys()).unwrap();
        Self { network, service, notes }
    }

    pub(super) fn connect(&self) -> Peer {
        self.network.connect(&self.service.local_addresses()[0]).unwrap()
    }

    pub(super) fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
        }
    }

    /// What a new peer is answered at once.
    pub(super) fn answer(&mut self, request: impl AsRef<[u8]>) -> String {
        let peer = self.connect();
        peer.send(request.as_ref());
        self.turns(5);
        String::from_utf8(peer.recv()).unwrap()
    }

    pub(super) fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.borrow_mut())
    }
}

pub(super) fn ask(target: &str, fields: &str) -> Vec<u8> {
    String::from_utf8(upgrade(fields)).unwrap().replacen("GET / ", &format!("GET {target} "), 1).into_bytes()
}

#[test]
fn open_is_handed_what_the_filter_saw_and_made_however_the_request_is_cut() {
    let fields = "Sec-WebSocket-Protocol: door, other\r\nX-A: 1\r\nX-A: 2\r\nCookie: a=b; session=s1\r\n";
    let request = ask("/rooms/a%2Fb?room=x+y", fields);
    for cut in 0..request.len() {
        let seen = Rc::new(RefCell::new(String::new()));
        let mut world = World::new({
            let seen = Rc::clone(&seen);
            move |request| {
                *seen.borrow_mut() = facts(request);
                Decision::accept().with(42_u32)
            }
        });
        let peer = world.connect();
        peer.send(&request[..cut]);
        world.turns(3);
        assert!(seen.borrow().is_empty() && peer.recv().is_empty());
        // A frame right behind the request: "hi", masked with zeros.
        peer.send(&[&request[cut..], &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']].concat());
        world.turns(3);
        assert!(peer.recv().starts_with(b"HTTP/1.1 101 "));
        let facts = seen.borrow().clone();
        let expected = "/rooms/a/b /rooms/a%2Fb?room=x+y Some(\"room=x+y\") Some(\"x y\") Some(\"s1\") Some(\"1\") 2 [\"door\", \"other\"]";
        assert_eq!(facts, expected);
        let expected = ["open Some(\"door\")", "number 42", expected, "receive [104, 105]"];
        assert_eq!(world.notes(), expected, "cut at {cut}");
    }
}

#[test]
fn a_value_of_another_type_is_not_taken() {
    let mut world = World::new(|_| Decision::accept().with(1_u64));
    world.answer(upgrade(""));
    assert_eq!(world.notes().len(), 2, "neither a number nor a text");
    let mut world = World::new(|_| Decision::accept().with(7_u32).with("second".to_owned()));
    world.answer(upgrade(""));
    assert_eq!(world.notes()[1], "text second");
}

#[test]
fn a_decision_sets_fields_and_subprotocol_of_the_101() {
    let mut world = World::new(|request| {
        let chosen = request.protocols().last().unwrap_or("none").to_owned();
        Decision::accept().subprotocol(chosen).header("Set-Cookie", "a=1").unwrap().header("X-Node", "7").unwrap()
    });
    let answer = world.answer(upgrade("Sec-WebSocket-Protocol: door, b, c\r\n"));
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    for line in ["Sec-WebSocket-Protocol: c\r\n", "Set-Cookie: a=1\r\n", "X-Node: 7\r\n"] {
        assert_eq!(answer.matches(line).count(), 1, "{line} in {answer}");
    }
    // One that was not offered is not named.
    let answer = world.answer(upgrade(""));
    assert!(answer.starts_with("HTTP/1.1 101 ") && !answer.contains("Sec-WebSocket-Protocol"), "{answer}");
}

#[test]
fn refusals_have_fields_and_bodies() {
    type Case = (fn() -> Decision, &'static str, &'static [&'static str], &'static str);
    let cases: [Case; 7] = [
        (|| Decision::refuse(403, "no"), "403 Forbidden", &["Content-Type: text/plain; charset=utf-8"], "no\n"),
        (
            || Decision::refuse(401, ""),
            "401 Unauthorized",
            &["WWW-Authenticate: Bearer realm=\"service\""],
            "401 Unauthorized\n",
        ),
        (
            || Decision::refuse(401, "x").header("WWW-Authenticate", "Basic realm=\"a\"").unwrap(),
            "401 Unauthorized",
            &["WWW-Authenticate: Basic realm=\"a\""],
            "x\n",
        ),
        (
            || Decision::respond(Response::html("<p>").with_status(503).header("Retry-After", "9").unwrap()),
            "503 Service Unavailable",
            &["Retry-After: 9", "Content-Type: text/html; charset=utf-8", "Content-Length: 3"],
            "<p>",
        ),
        (|| Decision::refuse(405, "x"), "405 Method Not Allowed", &["Allow: GET"], "x\n"),
        (
            || Decision::refuse(426, "x"),
            "426 Upgrade Required",
            &["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Connection: close, Upgrade"],
            "x\n",
        ),
        (
            || Decision::redirect(308, "wss://b.example/x?y").unwrap(),
            "308 Permanent Redirect",
            &["Location: wss://b.example/x?y"],
            "Permanent Redirect\n",
        ),
    ];
    for (decide, status, fields, body) in cases {
        let mut world = World::new(move |_| decide());
        let answer = world.answer(upgrade(""));
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert_eq!(rest, body, "{answer}");
        for field in fields {
            assert_eq!(head.matches(&format!("\r\n{field}")).count(), 1, "{field} in {answer}");
        }
        for name in ["Connection:", "WWW-Authenticate:", "Content-Length:", "Date:"] {
            assert!(head.matches(name).count() <= 1, "{answer}");
        }
        assert!(head.contains("Connection: close"), "{answer}");
        assert_eq!(world.service.statistics().refusals.filter, 1);
        assert!(world.notes().is_empty(), "it did not open");
    }
}

/// A service that connects to itself: what its filter decides is what its client is told.
fn told(decide: fn() -> Decision) -> Vec<String> {
    let mut world = World::new(move |_| decide());
    let connect = Connect::new("ws://127.0.0.1/").unwrap();
    world.service.control().protocol_named("door").unwrap().connect(connect);
    let network = world.network.clone();
    let end = network.now() + Duration::from_secs(1);
    network.run(|| {
        world.service.run_once(Some(Duration::ZERO)).unwrap();
        if network.now() >= end {
            return sockeye::sim::Turn::Done;
        }
        sockeye::sim::Turn::Sleep(Some(world.service.next_deadline().unwrap_or(end).min(end)))
    });
    world.notes()
}

#[test]
fn a_client_sees_the_fields_of_the_101() {
    let notes = told(|| Decision::accept().header("X-Node", "7").unwrap().header("X-Zone", "a").unwrap());
    assert_eq!(notes.iter().filter(|note| note.starts_with("open ")).count(), 2, "{notes:?}");
    let fields: Vec<&String> = notes.iter().filter(|note| note.starts_with("X-")).collect();
    assert_eq!(fields, ["X-Node: 7", "X-Zone: a"]);
}

#[test]
fn a_client_sees_the_fields_and_the_body_of_a_refusal() {
    let notes = told(|| {
        let response = Response::text("too many\n").with_status(503).header("Retry-After", "30").unwrap();
        Decision::respond(response).header("X-Why", "full").unwrap()
    });
    assert_eq!(notes, ["refused 503", "Retry-After: 30", "X-Why: full", "too many\n"]);
    let notes = told(|| Decision::redirect(302, "/elsewhere").unwrap());
    assert_eq!(notes, ["refused 302", "Location: /elsewhere", "Found\n"]);
    let notes = told(|| Decision::refuse(401, "log in"));
    assert_eq!(notes, ["refused 401", "WWW-Authenticate: Bearer realm=\"service\"", "log in\n"]);
}

#[test]
fn handlers_and_protocols_take_any_path() {
    for (target, path) in [
        ("/room/a%2Fb", "/room/a/b"),
        ("/%00", "/\0"),
        ("/a%5Cb", "/a\\b"),
        ("/%ff", "/\u{fffd}"),
        ("/gr%C3%B6%C3%9Fe", "/größe"),
        ("http://localhost/x%2f?y", "/x/"),
    ] {
        let mut world = World::new(|_| Decision::accept());
        let answer = world.answer(ask(target, ""));
        assert!(answer.starts_with("HTTP/1.1 101 "), "{target}: {answer}");
        let notes = world.notes();
        assert!(notes[1].starts_with(&format!("{path} {target} ")), "{notes:?}");
    }
    for (target, status) in [("/100%", 400), ("/%zz", 400), ("/..", 400), ("x", 400)] {
        let answer = World::new(|_| Decision::accept()).answer(ask(target, ""));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
    }
}

#[test]
fn an_encoded_slash_does_not_reach_the_route_behind_it() {
    let routes = || {
        Routes::new()
            .get("/admin/x", |_| Response::text("in"))
            .get("/größe", |r| Response::text(r.target().to_owned()))
    };
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (target, status) in
        [("/admin/x", 200), ("/%61dmin/x", 200), ("/admin%2Fx", 404), ("/admin%2fx/", 404), ("/gr%C3%B6%C3%9Fe?%", 200)]
    {
        let mut world = World::with(|_| Decision::accept(), |builder| builder.routes(routes()));
        let answer = world.answer(get(target));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
    }
}

#[test]
fn methods_that_no_path_takes_are_not_called_malformed() {
    let routes = || Routes::new().get("/", |_| Response::text("x")).post("/p", |_| Response::text("x"));
    for (request, status, allow, allow_with_routes) in [
        ("OPTIONS *", "405 Method Not Allowed", "GET", "GET, HEAD, POST"),
        ("CONNECT a:80", "501 Not Implemented", "GET", "GET, HEAD, POST"),
        ("CONNECT [::1]:443", "501 Not Implemented", "GET", "GET, HEAD, POST"),
        ("CONNECT a", "400 Bad Request", "", ""),
        ("GET *", "400 Bad Request", "", ""),
        ("GET a:80", "400 Bad Request", "", ""),
        ("OPTIONS **", "400 Bad Request", "", ""),
    ] {
        for (with_routes, allow) in [(false, allow), (true, allow_with_routes)] {
            let mut world = World::with(
                |_| Decision::accept(),
                |builder| if with_routes { builder.routes(routes()) } else { builder },
            );
            let answer = world.answer(format!("{request} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
            assert_eq!(answer.contains(&format!("\r\nAllow: {allow}\r\n")), !allow.is_empty(), "{request}: {answer}");
        }
    }
}

#[test]
fn a_body_that_nobody_takes_is_refused_by_its_head() {
    let routes = || {
        Routes::new().get("/get", |_| Response::text("x")).post("/post", |r| Response::bytes("a/b", r.body().to_vec()))
    };
    for (request, with_routes, answers) in [
        ("PUT /get", true, "HTTP/1.1 405 "),
        ("POST /get", true, "HTTP/1.1 405 "),
        ("PUT /post", true, "HTTP/1.1 405 "),
        ("PUT /none", true, "HTTP/1.1 404 "),
        ("PUT /", false, "HTTP/1.1 426 "),
        ("POST /post", true, "HTTP/1.1 100 Continue\r\n\r\n"),
        ("GET /get", true, "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\nExpect: 100-continue\r\n\r\n");
            for cut in 0..head.len() {
                let mut world = World::with(
                    |_| Decision::accept(),
                    |builder| if with_routes { builder.routes(routes()) } else { builder },
                );
                let peer = world.connect();
                peer.send(&head.as_bytes()[..cut]);
                world.turns(2);
                assert_eq!(peer.recv(), b"");
                peer.send(&head.as_bytes()[cut..]);
                world.turns(3);
                let answer = String::from_utf8(peer.recv()).unwrap();
                assert!(answer.starts_with(answers), "{request}: {answer}");
                assert!(answers.contains("100") || answer.contains("Connection: close"), "{request}: {answer}");
            }
        }
    }
}

#[test]
fn origins_without_a_host_are_admitted_where_they_are_named() {
    for (allowed, origin, status) in [
        ("null", "null", 101),
        ("null", "file://", 403),
        ("file://", "file://", 101),
        ("file://", "null", 403),
        ("https://a.example", "null", 403),
        ("https://a.example", "file://", 403),
    ] {
        let mut world =
            World::with(|_| Decision::accept(), |builder| builder.origins(Origins::only([allowed]).unwrap()));
        let answer = world.answer(upgrade(&format!("Origin: {origin}\r\n")));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{allowed}, {origin}: {answer}");
    }
}

/// The same through the whole-message layer.
struct Greeter(Notes);

impl messages::Handler for Greeter {
    type State = ();

    fn filter(&mut self, request: &Request<'_>) -> Decision {
        Decision::accept().with(request.path().to_owned())
    }

    fn open(&mut self, _: &mut messages::MessageCx<'_, '_>, handshake: &Handshake<'_>) {
        let path = handshake.request().map(|request| request.path().to_owned());
        assert_eq!(handshake.take::<String>(), path);
        self.0.borrow_mut().extend(path);
    }

    fn message(
        &mut self,
        _: &mut messages::MessageCx<'_, '_>,
        (): &mut (),
        _: messages::Message<'_>,
    ) -> Result<(), Close> {
        Ok(())
    }
}

#[test]
fn a_handler_of_messages_is_handed_the_same() {
    let network = Network::with_faults(1, Faults::none());
    let notes = Notes::default();
    let builder = Service::builder().protocol(messages::with("greeter", Greeter(Rc::clone(&notes))));
    let mut service = builder.listen("127.0.0.1:80").build_with(network.sys()).unwrap();
    let peer = network.connect(&service.local_addresses()[0]).unwrap();
    peer.send(&ask("/who", ""));
    for _ in 0..3 {
        service.run_once(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(*notes.borrow(), ["/who"]);
}

/// A service with a protocol for each of these paths, and perhaps one without.
fn at_paths(paths: &[(&'static str, &'static str)], free: Option<&'static str>) -> (Network, Service, Notes) {
    let network = Network::with_faults(1, Faults::none());
    let notes = Notes::default();
    let door = |name: &'static str| {
        let own = Rc::clone(&notes);
        let filter = move |_: &Request<'_>| {
            own.borrow_mut().push(name.to_owned());
            Decision::accept()
        };
        Door { name, notes: Notes::default(), filter }
    };
    let mut builder = Service::builder();
    for &(path, name) in paths {
        builder = builder.protocol_at(path, door(name));
    }
    if let Some(name) = free {
        builder = builder.protocol(door(name));
    }
    let service = builder.listen("127.0.0.1:80").build_with(network.sys()).unwrap();
    (network, service, notes)
}

#[test]
fn a_protocol_is_chosen_by_path_and_else_by_subprotocol() {
    let paths = [("/chat", "chat"), ("/rooms/", "rooms"), ("/rooms/vip", "vip")];
    let one = |name: &'static str| Some(name);
    for (free, target, offered, chosen, named, status) in [
        (Some("free"), "/chat", "", one("chat"), None, 101),
        (Some("free"), "/chat?x", "chat", one("chat"), one("chat"), 101),
        (Some("free"), "/chat", "free", one("chat"), None, 101),
        (Some("free"), "/chat", "x, chat", one("chat"), one("chat"), 101),
        (Some("free"), "/rooms/a/b", "", one("rooms"), None, 101),
        (Some("free"), "/rooms/vip", "vip", one("vip"), one("vip"), 101),
        (Some("free"), "/rooms/a%2Fb", "", one("rooms"), None, 101),
        // Elsewhere a protocol that has a path cannot be reached, not even by its name.
        (Some("free"), "/", "chat", None, None, 400),
        (Some("free"), "/rooms", "rooms", None, None, 400),
        (Some("free"), "/rooms%2Fa", "rooms", None, None, 400),
        (Some("free"), "/", "", one("free"), None, 101),
        (Some("free"), "/chat/", "chat, free", one("free"), one("free"), 101),
        (None, "/", "", None, None, 404),
        (None, "/chat/", "chat", None, None, 404),
        (None, "/rooms/", "", one("rooms"), None, 101),
    ] {
        let (network, mut service, notes) = at_paths(&paths, free);
        let peer = network.connect(&service.local_addresses()[0]).unwrap();
        let offer = if offered.is_empty() { String::new() } else { format!("Sec-WebSocket-Protocol: {offered}\r\n") };
        peer.send(&ask(target, &offer));
        for _ in 0..3 {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
        let answer = String::from_utf8(peer.recv()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {offered}: {answer}");
        assert_eq!(notes.borrow().first().map(String::as_str), chosen, "{target} {offered}");
        let named = named.map(|name| format!("\r\nSec-WebSocket-Protocol: {name}\r\n"));
        assert_eq!(answer.contains("Sec-WebSocket-Protocol"), named.is_some(), "{target} {offered}: {answer}");
        assert!(named.is_none_or(|named| answer.contains(&named)), "{target} {offered}: {answer}");
        assert_eq!(service.statistics().refusals.path, u64::from(status == 404));
    }
}

#[test]
fn a_protocol_may_have_several_paths_and_each_path_one_protocol() {
    let build =
        |builder: Builder| builder.build_with(Network::new(1).sys()).map(drop).map_err(|error| error.to_string());
    let mut builder = Service::builder();
    let echo = builder.add_protocol_at("/a", messages::echo("echo"));
    builder.add_path("/b/", echo);
    build(builder).unwrap();
    for (path, wrong) in
        [("/a", "two protocols are at the path"), ("a", "can match no request"), ("/x/../y", "can match")]
    {
        let builder =
            Service::builder().protocol_at("/a", messages::echo("echo")).protocol_at(path, messages::echo("b"));
        let error = build(builder).unwrap_err();
        assert!(error.contains(wrong), "{path}: {error}");
    }
    let mut stranger = Service::builder();
    stranger.add_path("/a", echo);
    assert!(build(stranger).unwrap_err().contains("another service"));
}
