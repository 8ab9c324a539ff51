//! A service with one responder, which does what the last segment of a request's path says, and notes what it is told.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::http::{HttpRequest, Response, Route, Routes};
use sockeye::responder::{
    RequestClosedCx, RequestCx, RequestEnd, RequestId, Responder, ResponderHandle, ResponderMut, ResponseTx,
};
use sockeye::sim::{Faults, Network, Outcome, Peer, Turn};
use sockeye::{CloseCode, Limits, Service, messages};

/// What the responder was told, in order.
#[derive(Clone, Default)]
pub(super) struct Notes {
    pub(super) lines: Rc<RefCell<Vec<String>>>,
    pub(super) ends: Rc<RefCell<Vec<RequestEnd>>>,
    pub(super) ids: Rc<RefCell<Vec<RequestId>>>,
    /// Bytes of bodies.
    pub(super) received: Rc<RefCell<usize>>,
    /// The tokens of timers without a request.
    pub(super) tokens: Rc<RefCell<Vec<u64>>>,
}

impl Notes {
    fn note(&self, line: String) {
        self.lines.borrow_mut().push(line);
    }
}

pub(super) struct Tester {
    pub(super) notes: Notes,
}

pub(super) struct Talk {
    how: String,
    pub(super) body: Vec<u8>,
    sent: usize,
    /// Once a late answer is due.
    is_ready: bool,
}

impl Responder for Tester {
    type Session = Talk;

    fn name(&self) -> &'static str {
        "tester"
    }

    fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<Talk, Response> {
        let how = request.path().rsplit('/').next().unwrap().to_owned();
        self.notes.note(format!("{} {}", request.method(), request.path()));
        self.notes.ids.borrow_mut().push(cx.id());
        assert!(request.body().is_empty());
        match &*how {
            "now" => return Err(Response::text("decided by the head")),
            "write" | "chunked" | "length" | "short" | "long" | "none" | "unchanged" => {}
            "begin" | "stream" => cx.request_writable(),
            "pause" => {
                cx.pause_reading();
                cx.set_timer(Duration::from_secs(30));
            }
            "timer" => cx.set_timer(Duration::from_secs(3)),
            "large" => cx.limits().body_bytes = 1 << 30,
            "patient" => cx.limits().answer_timeout = Some(Duration::from_secs(5)),
            "end" | "wait" | "early" | "twice" | "fill" | "abort" | "drop" | "close" => {}
            other => panic!("{other}"),
        }
        Ok(Talk { how, body: Vec::new(), sent: 0, is_ready: false })
    }

    fn body(&mut self, cx: &mut RequestCx<'_>, talk: &mut Talk, piece: &[u8]) -> Option<Response> {
        assert!(!piece.is_empty());
        *self.notes.received.borrow_mut() += piece.len();
        match &*talk.how {
            "early" => return Some(Response::error(409)),
            "abort" => cx.abort(),
            "drop" | "large" => return None,
            _ => {}
        }
        talk.body.extend_from_slice(piece);
        None
    }

    fn body_ended(&mut self, cx: &mut RequestCx<'_>, talk: &mut Talk) -> Option<Response> {
        self.notes.note(format!("ended {}", String::from_utf8_lossy(&talk.body)));
        match &*talk.how {
            "end" | "drop" | "large" | "pause" => {
                return Some(Response::text(String::from_utf8(talk.body.clone()).unwrap()));
            }
            "write" | "chunked" | "length" | "short" | "long" | "none" | "unchanged" | "fill" | "close" => {
                cx.request_writable();
            }
            "twice" => {
                cx.request_writable();
                cx.set_timer(Duration::from_secs(1));
            }
            _ => {}
        }
        talk.is_ready = true;
        None
    }

    fn writable(&mut self, cx: &mut RequestCx<'_>, talk: &mut Talk, tx: ResponseTx<'_>) {
        let length = talk.body.len() as u64;
        let mut permission = match tx {
            ResponseTx::Head(head) => {
                self.notes.note("head".to_owned());
                match &*talk.how {
                    "write" | "wait" | "patient" => {
                        return head.respond(Response::bytes("text/plain", talk.body.clone()));
                    }
                    "close" => {
                        head.respond(Response::bytes("text/plain", talk.body.clone()));
                        let id = cx.connection_ids()[0];
                        return cx.connection(id).unwrap().close(CloseCode::NORMAL);
                    }
                    "fill" => return head.respond(Response::bytes("text/plain", vec![b'-'; 1 << 20])),
                    "length" => head.stream(Response::new(200), Some(length)),
                    "short" => head.stream(Response::new(200), Some(length + 1)),
                    "long" => head.stream(Response::new(200), Some(length.saturating_sub(1))),
                    "none" => head.stream(Response::new(204), None),
                    "unchanged" => head.stream(Response::text("dropped").with_status(304), Some(7)),
                    _ => head.stream(Response::text("<"), None),
                }
                .more()
            }
            tx => tx.body(),
        };
        if matches!(&*talk.how, "stream" | "begin" | "twice") {
            if talk.how == "stream" {
                while let Some(body) = permission {
                    permission = body.write(&[b'.'; 1000]).more();
                }
                cx.request_writable();
            } else if let Some(body) = permission {
                let _ = body.write(b"one more\n").more();
            }
            return;
        }
        while let Some(body) = permission {
            let piece = &talk.body[talk.sent..talk.body.len().min(talk.sent + 3)];
            if piece.is_empty() {
                return body.end();
            }
            talk.sent += piece.len();
            permission = body.write(piece).more();
        }
        cx.request_writable();
    }

    fn timer(&mut self, cx: &mut RequestCx<'_>, talk: &mut Talk) -> Option<Response> {
        self.notes.note("timer".to_owned());
        if talk.how == "pause" {
            cx.resume_reading();
            return None;
        }
        Some(Response::new(200))
    }

    fn own_timer(&mut self, _: &mut ResponderMut<'_>, token: u64) {
        self.notes.tokens.borrow_mut().push(token);
    }

    fn draining(&mut self, cx: &mut RequestCx<'_>, talk: &mut Talk) {
        self.notes.note("draining".to_owned());
        if talk.is_ready && talk.how == "wait" {
            cx.request_writable();
        }
    }

    fn closed(&mut self, cx: &mut RequestClosedCx<'_>, _: Talk, end: RequestEnd) {
        self.notes.note(format!("closed {}", cx.id().to_string().rsplit('/').next().unwrap()));
        self.notes.ends.borrow_mut().push(end);
        let id = cx.id();
        assert!(cx.request(id).is_err(), "its id is stale");
    }
}

/// The service and the network that it is on.
pub(super) struct Site {
    pub(super) network: Network,
    pub(super) service: Service,
    pub(super) notes: Notes,
    pub(super) handle: ResponderHandle<Tester>,
}

impl Site {
    pub(super) fn new() -> Self {
        Self::with(1, Faults::none(), Limits::default())
    }

    pub(super) fn with(seed: u64, faults: Faults, limits: Limits) -> Self {
        let network = Network::with_faults(seed, faults);
        let notes = Notes::default();
        let mut builder = Service::builder().limits(limits).protocol(messages::echo("echo"));
        let handle = builder.add_responder(Tester { notes: notes.clone() });
        let routes = Routes::new()
            .get("/page", |_| Response::text("a page"))
            .responder(Route::below("/some").methods(["GET", "PUT"]), handle)
            .responder(Route::below("/"), handle);
        let service = builder.routes(routes).listen("127.0.0.1:80").build_with(network.sys()).unwrap();
        Self { network, service, notes, handle }
    }

    pub(super) fn connect(&self) -> Peer {
        self.network.connect(&self.service.local_addresses()[0]).unwrap()
    }

    /// Takes turns until `done`, for ten virtual minutes at most. Returns how long it took.
    pub(super) fn until(&mut self, mut done: impl FnMut(&mut Service) -> bool) -> Duration {
        let begun = self.network.now();
        let limit = begun + Duration::from_secs(600);
        let outcome = self.network.run(|| {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
            assert!(self.network.now() < limit, "it did not come; notes: {:?}", self.notes.lines.borrow());
            if done(&mut self.service) {
                Turn::Done
            } else {
                Turn::Sleep(Some(self.service.next_deadline().unwrap_or(limit).min(limit)))
            }
        });
        assert_eq!(outcome, Outcome::Done);
        self.network.now().saturating_duration_since(begun)
    }

    /// Takes turns while the clock stands still.
    pub(super) fn settle(&mut self) {
        for _ in 0..20 {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
        }
    }

    /// What the peer is sent until the connection ends, without the Date fields.
    pub(super) fn rest(&mut self, peer: &Peer) -> String {
        let mut bytes = Vec::new();
        self.until(|_| {
            bytes.extend(peer.recv());
            peer.is_closed()
        });
        bytes.extend(peer.recv());
        undated(&bytes)
    }

    /// What a new peer that sends this is answered until the connection ends.
    pub(super) fn answer(&mut self, request: &[u8]) -> String {
        let peer = self.connect();
        peer.send(request);
        self.rest(&peer)
    }

    /// Runs until a request has ended, and says how.
    pub(super) fn end(&mut self) -> RequestEnd {
        let ends = Rc::clone(&self.notes.ends);
        self.until(|_| !ends.borrow().is_empty());
        assert_eq!(ends.borrow().len(), 1);
        ends.borrow_mut().remove(0)
    }

    pub(super) fn last_id(&self) -> RequestId {
        *self.notes.ids.borrow().last().unwrap()
    }
}

/// A text without its Date fields.
pub(super) fn undated(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect()
}

/// A request with a Host.
pub(super) fn ask(line: &str, rest: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{rest}").into_bytes()
}
