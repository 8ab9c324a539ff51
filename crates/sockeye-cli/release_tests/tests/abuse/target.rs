//! A service of responders to be abused: this program, started with [`VARIABLE`] set.
//!
//! What a request is answered with says the first segment of its path; most take a body in pieces before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sockeye::http::{HttpRequest, Response, Route, Routes};
use sockeye::protocol::MessageLimits;
use sockeye::responder::{RequestClosedCx, RequestCx, RequestEnd, Responder, ResponseTx};
use sockeye::{Close, Compression, Cx, Fragment, Handshake, Protocol, Service, Tx, messages};

pub(crate) const VARIABLE: &str = "SOCKEYE_ABUSE_TARGET";

/// How many sessions began, and how many ended in which way.
#[derive(Default)]
struct Sessions {
    begun: u64,
    ended: BTreeMap<String, u64>,
}

struct Target {
    sessions: Rc<RefCell<Sessions>>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum How {
    /// Answered with its own body.
    Echo,
    /// Answered with the length of its body, which may be large.
    Count,
    /// As `Echo`, after a while.
    Later,
    /// Never answered.
    Wait,
    /// Answered by a stream in chunks that begins at once, and ends with so many bytes.
    Stream(usize),
    /// As `Echo`, but by a stream of known length.
    Length,
    /// Its body is not read for a while.
    Paused,
    /// Answered at the first piece of its body.
    Early,
    Status(u16),
}

struct Talk {
    how: How,
    body: Vec<u8>,
    received: u64,
    sent: usize,
}

impl Responder for Target {
    type Session = Talk;

    fn name(&self) -> &'static str {
        "target"
    }

    fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<Talk, Response> {
        let mut segments = request.path().split('/').skip(1);
        let (what, number) = (segments.next().unwrap_or_default(), segments.next());
        let number = number.and_then(|number| number.parse::<usize>().ok());
        let how = match what {
            "hello" => return Err(Response::text("still singing\n")),
            "sessions" => {
                let sessions = self.sessions.borrow();
                let ended: u64 = sessions.ended.values().sum();
                return Err(Response::text(format!("{} {:?}", sessions.begun - ended, sessions.ended)));
            }
            "now" => return Err(Response::text("decided by the head")),
            "echo" => How::Echo,
            "count" => How::Count,
            "later" => How::Later,
            "wait" => How::Wait,
            "stream" => How::Stream(number.unwrap_or(usize::MAX)),
            "length" => How::Length,
            "paused" => How::Paused,
            "early" => How::Early,
            "status" => How::Status(number.and_then(|status| status.try_into().ok()).unwrap_or(500)),
            _ => return Err(Response::error(404)),
        };
        match how {
            How::Stream(_) => cx.request_writable(),
            How::Count => cx.limits().body_bytes = u64::MAX,
            How::Paused => {
                cx.pause_reading();
                cx.set_timer(Duration::from_millis(300));
            }
            _ => {}
        }
        self.sessions.borrow_mut().begun += 1;
        Ok(Talk { how, body: Vec::new(), received: 0, sent: 0 })
    }

    fn body(&mut self, _: &mut RequestCx<'_>, talk: &mut Talk, piece: &[u8]) -> Option<Response> {
        talk.received += piece.len() as u64;
        match talk.how {
            How::Count => return None,
            How::Early => return Some(Response::error(409)),
            _ => talk.body.extend_from_slice(piece), // at most `body_bytes`
        }
        None
    }

    fn body_ended(&mut self, cx: &mut RequestCx<'_>, talk: &mut Talk) -> Option<Response> {
        match talk.how {
            How::Echo | How::Paused | How::Early => {
                return Some(Response::bytes("application/octet-stream", std::mem::take(&mut talk.body)));
            }
            How::Count => return Some(Response::text(talk.received.to_string())),
            How::Status(status) => return Some(Response::new(status)),
            How::Later => cx.set_timer(Duration::from_millis(100)),
            How::Length => cx.request_writable(),
            How::Wait | How::Stream(_) => {}
        }
        None
    }

    fn writable(&mut self, cx: &mut RequestCx<'_>, talk: &mut Talk, tx: ResponseTx<'_>) {
        let length = match talk.how {
            How::Length => talk.body.len(),
            How::Stream(length) => length,
            _ => return,
        };
        let mut permission = match tx {
            ResponseTx::Head(head) => {
                let known = (talk.how == How::Length).then_some(length as u64);
                head.stream(Response::new(200), known).more()
            }
            tx => tx.body(),
        };
        while let Some(body) = permission {
            let most = (length - talk.sent).min(PIECE.len());
            if most == 0 {
                return body.end();
            }
            let piece = if talk.how == How::Length { &talk.body[talk.sent..][..most] } else { &PIECE[..most] };
            talk.sent += most;
            permission = body.write(piece).more();
        }
        cx.request_writable();
    }

    fn timer(&mut self, cx: &mut RequestCx<'_>, talk: &mut Talk) -> Option<Response> {
        if talk.how == How::Paused {
            cx.resume_reading();
            return None;
        }
        Some(Response::bytes("application/octet-stream", std::mem::take(&mut talk.body)))
    }

    fn closed(&mut self, _: &mut RequestClosedCx<'_>, _: Talk, end: RequestEnd) {
        *self.sessions.borrow_mut().ended.entry(end.to_string()).or_default() += 1;
    }
}

const PIECE: [u8; 1000] = [b'.'; 1000];

/// Says how many bytes a message had, of any length, and keeps none of it.
struct Count;

impl Protocol for Count {
    type Session = u64;

    fn name(&self) -> &'static str {
        "count"
    }

    fn limits(&self) -> MessageLimits {
        let mut limits = MessageLimits::default();
        limits.message_bytes = Some(1 << 40);
        limits
    }

    fn compression(&self) -> Option<Compression> {
        Some(Compression::new())
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) -> u64 {
        0
    }

    fn receive(&mut self, cx: &mut Cx<'_>, count: &mut u64, fragment: Fragment<'_>) -> Result<(), Close> {
        *count += fragment.payload.as_bytes().len() as u64;
        if fragment.last {
            cx.request_writable();
        }
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, count: &mut u64, tx: Tx<'_>) -> Result<(), Close> {
        if let Some(writable) = tx.idle() {
            writable.text(&std::mem::take(count).to_string());
        }
        Ok(())
    }
}

/// Serves until it is killed.
pub(crate) fn serve() -> ! {
    let mut builder = Service::builder().protocol(messages::echo("echo")).protocol(Count);
    let target = builder.add_responder(Target { sessions: Rc::default() });
    let routes = Routes::new().responder(Route::below("/"), target);
    let mut service = builder.routes(routes).listen("127.0.0.1:0").build().expect("a service");
    println!("listening on {}", service.local_addresses()[0]);
    service.run().expect("it runs until it is killed");
    unreachable!("nothing drains it")
}
