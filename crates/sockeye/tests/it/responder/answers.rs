//! Answers now, later and from elsewhere; methods and paths.

use std::fs::File;
use std::time::Duration;

use sockeye::Service;
use sockeye::http::{HttpRequest, Response, Route, Routes};
use sockeye::protocol::UnknownProtocol;
use sockeye::responder::{RequestCx, RequestEnd, Responder};
use sockeye::sim::Network;

use super::bench::{Site, ask};

const CLOSE: &str = "Connection: close\r\n\r\n";

#[test]
fn a_late_answer_comes_from_a_job_and_for_its_own_request_only() {
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&ask("POST /wait", "Content-Length: 5\r\n\r\nfirst"));
    site.settle();
    let first = site.last_id();
    assert_eq!(peer.recv(), b"");
    let job = move |control: &mut sockeye::Control<'_>| {
        control.request(first).unwrap().request_writable();
    };
    site.service.remote().run(job).unwrap();
    let mut received = Vec::new();
    site.until(|_| {
        received.extend(peer.recv());
        received.ends_with(b"first")
    });
    assert_eq!(site.end(), RequestEnd::Answered);

    // The same connection, and another request: the id of the first reaches nothing.
    peer.send(&ask("POST /wait", "Content-Length: 6\r\n\r\nsecond"));
    site.settle();
    let second = site.last_id();
    assert_ne!(first, second);
    assert!(site.service.control().request(first).is_err());
    site.settle();
    assert_eq!(peer.recv(), b"");
    site.service.control().request(second).unwrap().request_writable();
    site.settle();
    assert!(peer.recv().ends_with(b"second"));
    assert!(site.service.control().request(second).is_err());
}

#[test]
fn pipelined_requests_wait_for_the_one_before() {
    let mut site = Site::new();
    let peer = site.connect();
    let wait = |body: &str| ask("POST /wait", &format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    peer.send(&[wait("a"), wait("b"), ask("GET /page", "\r\n"), wait("c")].concat());
    let mut texts = Vec::new();
    for (count, body) in ["a", "b", "c"].into_iter().enumerate() {
        site.settle();
        assert_eq!(site.notes.ids.borrow().len(), count + 1, "one request at a time");
        let id = site.last_id();
        site.service.control().request(id).unwrap().request_writable();
        site.settle();
        texts.push(String::from_utf8(peer.recv()).unwrap());
        assert!(texts[count].contains(&format!("\r\n\r\n{body}")), "{texts:?}");
    }
    assert!(texts[1].ends_with("a page"), "{texts:?}");
}

#[test]
fn a_timer_may_answer() {
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&ask("GET /timer", CLOSE));
    assert_eq!(site.until(|_| !peer.recv().is_empty()), Duration::from_secs(3));
    assert_eq!(site.end(), RequestEnd::Answered);
}

#[test]
fn all_requests_of_a_responder_can_be_asked_to_write() {
    let mut site = Site::new();
    let peers: Vec<_> = (0..10).map(|_| site.connect()).collect();
    for peer in &peers {
        peer.send(&ask("POST /wait", "Content-Length: 1\r\n\r\nx"));
    }
    site.settle();
    let handle = site.handle;
    site.service.control().responder(handle).unwrap().request_writable();
    site.settle();
    assert!(peers.iter().all(|peer| peer.recv().ends_with(b"x")));
    let mut control = site.service.control();
    assert_eq!(control.responder_named("tester").unwrap().name(), "tester");
    assert_eq!(control.responder_named("echo").err(), Some(UnknownProtocol::Responder));
    assert_eq!(control.endpoint_named("tester").err(), Some(UnknownProtocol::Endpoint));
    let foreign = Service::builder().add_responder(Named("other"));
    assert_eq!(control.responder(foreign).err(), Some(UnknownProtocol::Handle));
}

#[test]
fn methods_that_a_route_does_not_list_are_answered_with_those_it_does() {
    for (request, status) in [
        ("GET /some/now", "HTTP/1.1 200 OK"),
        ("HEAD /some/now", "HTTP/1.1 200 OK"),
        ("PUT /some/now", "HTTP/1.1 200 OK"),
        ("DELETE /some/now", "HTTP/1.1 405 Method Not Allowed"),
        ("put /some/now", "HTTP/1.1 405 Method Not Allowed"),
        ("OPTIONS /some/now", "HTTP/1.1 204 No Content"),
        ("PUT /something/now", "HTTP/1.1 200 OK"),
        ("PROPFIND /now", "HTTP/1.1 200 OK"),
    ] {
        let answer = Site::new().answer(&ask(request, CLOSE));
        assert!(answer.starts_with(status), "{request}: {answer}");
        let has_list = answer.contains("Allow: GET, HEAD, PUT\r\n");
        assert_eq!(has_list, status.contains("405") || status.contains("204"), "{request}: {answer}");
    }
}

/// Answers with its name.
struct Named(&'static str);

impl Responder for Named {
    type Session = ();

    fn name(&self) -> &str {
        self.0
    }

    fn request(&mut self, _: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<(), Response> {
        if request.path() == "/file" {
            return Err(Response::file("text/plain", File::open("Cargo.toml").unwrap()).unwrap());
        }
        Err(Response::text(self.0))
    }
}

#[test]
fn an_exact_path_comes_before_a_longer_prefix_and_that_before_a_shorter_one() {
    let network = Network::new(1);
    let mut builder = Service::builder();
    let [exact, long, short, rest] = ["exact", "long", "short", "rest"].map(|name| builder.add_responder(Named(name)));
    let routes = Routes::new()
        .responder(Route::below("/"), rest)
        .responder(Route::below("/a"), short)
        .responder(Route::below("/a/b"), long)
        .responder("/a/b/c", exact)
        .responder("/both", exact)
        .post("/both", |_| Response::text("closure"));
    let mut service = builder.routes(routes).listen("127.0.0.1:80").build_with(network.sys()).unwrap();
    for (request, expected) in [
        ("GET /a/b/c", "exact"),
        ("GET /a/b/d", "long"),
        ("GET /a/b", "long"),
        ("GET /a/bc", "short"),
        ("GET /a", "short"),
        ("GET /ab", "rest"),
        ("GET /", "rest"),
        ("GET /a/x/../b/c", "exact"),
        ("GET /both", "exact"),
        ("POST /both", "closure"),
        ("GET /file", &std::fs::read_to_string("Cargo.toml").unwrap()),
    ] {
        let peer = network.connect(&service.local_addresses()[0]).unwrap();
        peer.send(&ask(request, CLOSE));
        let mut answer = Vec::new();
        while !peer.is_closed() {
            service.run_once(Some(Duration::from_secs(1))).unwrap();
            answer.extend(peer.recv());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.ends_with(&format!("\r\n\r\n{expected}")), "{request}: {answer}");
    }
}

#[test]
fn routes_that_cannot_work_are_refused() {
    let mut other = Service::builder();
    let foreign = other.add_responder(Named("other"));
    let build = |routes| Service::builder().routes(routes).build_with(Network::new(1).sys()).unwrap_err().to_string();
    let error = build(Routes::new().responder("/", foreign));
    assert!(error.contains("another service"), "{error}");
    let mut builder = Service::builder();
    let own = builder.add_responder(Named("own"));
    let routes = Routes::new().responder(Route::below("/").methods(["GET", "NO GOOD"]), own);
    let error = builder.routes(routes).build_with(Network::new(1).sys()).unwrap_err().to_string();
    assert!(error.contains("NO GOOD"), "{error}");
}

#[test]
fn only_a_regular_file_is_an_answer() {
    assert!(Response::file("text/plain", File::open("Cargo.toml").unwrap()).is_ok());
    let error = Response::file("text/plain", File::open(".").unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}
