//! Requests without an upgrade, and what a program of 4.1.6 does about them.
//!
//! The program answers when and where it likes: in a callback, later, or on another thread. What it writes waits with the
//! connection ([`Reply`]), and leaves when there is room.

use std::sync::atomic::Ordering;
use std::time::Instant;

use sockeye::Close;
use sockeye::http::{HttpRequest, Response};
use sockeye::responder::{RequestClosedCx, RequestCx, RequestEnd, Responder, ResponseTx};

use crate::answer::Reply;
use crate::callbacks::{With, call};
use crate::context::Context;
use crate::heads::Head;
use crate::lock::lock;
use crate::mounts::{self, Mount, Origin};
use crate::protocol::CProtocol;
use crate::reason::Reason;
use crate::vhost::Vhost;
use crate::wsi::{Phase, Wsi};

/// The longest body of a request.
const BODY_BYTES: u64 = 1 << 62;

/// The one responder of the service.
pub(super) struct Exchange {
    context: &'static Context,
}

impl Exchange {
    pub(super) fn new(context: &'static Context) -> Self {
        Self { context }
    }

    /// Tells the program of a request. Returns what its callback does: not 0 ends the connection.
    fn ask(&self, wsi: &'static Wsi, vhost: &'static Vhost, first: &'static CProtocol) -> i32 {
        let mut path = wsi.rest().head.as_ref().map_or_else(Vec::new, |head| head.path.clone());
        let length = path.len();
        path.push(0);
        let start = path.as_mut_ptr();
        wsi.renew_session();
        let told = With::user_of(wsi).input(start.cast(), length);
        if call(first, wsi, Reason::FilterHttpConnection, told) != 0 {
            return -1;
        }
        let mounts = lock(&vhost.settings).mounts.clone();
        let mut protocol = first;
        if let Some((mount, rest)) = mounts::find(&mounts, &path[..length]) {
            match answer_of(mount, rest) {
                Some(response) => return i32::from(serve(wsi, response).is_err()),
                None => protocol = callback_of(vhost, mount).unwrap_or(first),
            }
        }
        if !std::ptr::eq(protocol, first) {
            wsi.protocol.set(Some(protocol));
            wsi.renew_session();
        }
        wsi.is_bound.store(true, Ordering::Relaxed);
        if call(protocol, wsi, Reason::HttpBindProtocol, With::user_of(wsi)) != 0 {
            return -1;
        }
        call(protocol, wsi, Reason::Http, With::user_of(wsi).input(start.cast(), length))
    }

    /// Tells the program. Returns whether it wants to hear more.
    fn tell(&self, cx: &mut RequestCx<'_>, wsi: &'static Wsi, reason: Reason, input: &mut [u8]) -> bool {
        let Some(protocol) = wsi.protocol.get().filter(|_| !self.context.is_ending.load(Ordering::Relaxed)) else {
            return false;
        };
        let with = match input {
            [] => With::user_of(wsi),
            // A byte for a NUL is behind it.
            input => With::user_of(wsi).input(input.as_mut_ptr().cast(), input.len() - 1),
        };
        let result = self.context.door.lend(cx, || call(protocol, wsi, reason, with));
        settle(cx, wsi, result);
        result == 0
    }
}

/// Goes on after a callback: sends what it has written, and ends the connection if it wants that.
fn settle(cx: &mut RequestCx<'_>, wsi: &'static Wsi, result: i32) {
    let mut rest = wsi.rest();
    let reply = &mut rest.reply;
    if result != 0 {
        reply.closes = true;
        if !reply.is_begun() {
            drop(rest);
            return cx.abort();
        }
        // The body ends with the connection. If more was announced, the loop says so.
        let _ = reply.end();
    }
    let waits = reply.waits();
    drop(rest);
    if waits || wsi.wish.load(Ordering::Relaxed) {
        cx.request_writable();
    }
}

/// What a mount answers by itself.
fn answer_of(mount: &Mount, rest: &[u8]) -> Option<(Response, bool)> {
    match &mount.origin {
        Origin::Folder(folder) => mount.file(folder, rest).map(|response| (response, true)),
        Origin::Redirect(url) => {
            let rest = std::str::from_utf8(rest).ok()?;
            let location = format!("{}{rest}", url.trim_end_matches('/'));
            Response::new(301).header("location", location).ok().map(|response| (response, false))
        }
        Origin::Callback(_) => None,
    }
}

fn serve(wsi: &Wsi, (response, is_file): (Response, bool)) -> Result<(), crate::answer::Misplaced> {
    let mut rest = wsi.rest();
    rest.reply.is_file = is_file;
    rest.reply.whole(response)
}

fn callback_of(vhost: &Vhost, mount: &Mount) -> Option<&'static CProtocol> {
    match &mount.origin {
        Origin::Callback(name) => vhost.named(name),
        _ => None,
    }
}

impl Responder for Exchange {
    type Session = Asked;

    fn name(&self) -> &str {
        "sockeye-capi-http"
    }

    fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<Asked, Response> {
        let found = self.context.of(cx.id().connection()).filter(|_| !self.context.is_ending.load(Ordering::Relaxed));
        let vhost = found.and_then(|wsi| wsi.protocol.get()?.vhost());
        let (Some(wsi), Some(vhost), Some(first)) = (found, vhost, vhost.and_then(Vhost::first)) else {
            return Err(Response::error(503));
        };
        let limits = cx.limits();
        // The program answers when it likes.
        limits.answer_timeout = None;
        limits.body_bytes = BODY_BYTES;
        {
            let mut rest = wsi.rest();
            rest.head = Some(Box::new(Head::of_request(request)));
            rest.request = Some(cx.id());
            rest.reply = Reply::default();
        }
        wsi.protocol.set(Some(first));
        wsi.set_phase(Phase::Http);
        let has_body = request.header("content-length").is_some() || request.header("transfer-encoding").is_some();
        let result = self.context.door.lend(cx, || self.ask(wsi, vhost, first));
        settle(cx, wsi, result);
        Ok(Asked { wsi, has_body })
    }

    fn body(&mut self, cx: &mut RequestCx<'_>, asked: &mut Asked, piece: &[u8]) -> Option<Response> {
        for part in piece.chunks(crate::spoken::PIECE_BYTES) {
            let mut input = part.to_vec();
            input.push(0);
            if !self.tell(cx, asked.wsi, Reason::HttpBody, &mut input) {
                break;
            }
        }
        None
    }

    fn body_ended(&mut self, cx: &mut RequestCx<'_>, asked: &mut Asked) -> Option<Response> {
        if asked.has_body {
            self.tell(cx, asked.wsi, Reason::HttpBodyCompletion, &mut []);
        }
        None
    }

    fn writable(&mut self, cx: &mut RequestCx<'_>, asked: &mut Asked, tx: ResponseTx<'_>) {
        let wsi = asked.wsi;
        let (waits, is_ended) = {
            let mut rest = wsi.rest();
            rest.reply.send(tx);
            (rest.reply.waits(), rest.reply.is_ended())
        };
        if waits {
            return cx.request_writable();
        }
        if !is_ended && wsi.wish.swap(false, Ordering::AcqRel) {
            self.tell(cx, wsi, Reason::HttpWriteable, &mut []);
        }
    }

    fn timer(&mut self, cx: &mut RequestCx<'_>, asked: &mut Asked) -> Option<Response> {
        let now = Instant::now();
        let [is_over, is_timed] = asked.wsi.take_due(now);
        if is_over {
            cx.abort();
            return None;
        }
        if is_timed {
            self.tell(cx, asked.wsi, Reason::Timer, &mut []);
        }
        if let Some(next) = asked.wsi.next_deadline() {
            cx.set_timer(next.saturating_duration_since(now));
        }
        None
    }

    fn closed(&mut self, cx: &mut RequestClosedCx<'_>, asked: Asked, end: RequestEnd) {
        let wsi = asked.wsi;
        let reply = std::mem::take(&mut wsi.rest().reply);
        let mut closes = reply.closes;
        if let Some(protocol) = wsi.protocol.get() {
            self.context.door.lend(cx, || {
                if reply.is_file && end == RequestEnd::Answered {
                    closes |= call(protocol, wsi, Reason::HttpFileCompletion, With::user_of(wsi)) != 0;
                }
                if wsi.is_bound.swap(false, Ordering::Relaxed) {
                    call(protocol, wsi, Reason::HttpDropProtocol, With::dropped(wsi));
                }
            });
            wsi.protocol.set(Some(protocol.first_of_vhost()));
        }
        wsi.wish.store(false, Ordering::Relaxed);
        wsi.set_phase(Phase::Accepted);
        {
            let mut rest = wsi.rest();
            (rest.head, rest.request) = (None, None);
            // A deadline is that of the request which it was set in.
            rest.deadlines = [None; 2];
        }
        if closes && let Ok(mut connection) = cx.connection(wsi.id()) {
            connection.close(Close::empty());
        }
    }
}

/// A request.
pub(super) struct Asked {
    wsi: &'static Wsi,
    has_body: bool,
}
