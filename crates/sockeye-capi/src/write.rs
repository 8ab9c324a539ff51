//! What a program writes: to the socket if it may be written to now, else into a queue that the loop sends from.

use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sockeye::proto::conn::ControlPayload;
use sockeye::proto::wire::{MessageKind, utf8};
use sockeye::{Close, Commands, ConnId, Cx, Tx};

use crate::context::Context;
use crate::frame::{Frame, Kind, QUEUE_BYTES};
use crate::log;
use crate::wsi::{Phase, Rest, Wsi};

/// How long a close waits for frames that were written before it.
pub(crate) const CLOSE_BEHIND: Duration = Duration::from_secs(5);

/// Why nothing was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WriteError {
    /// There is no open connection.
    NotOpen,
    /// A continuation without a message, or a message inside another.
    OutOfOrder,
    /// A ping or a pong with more than 125 bytes.
    TooLong,
    /// Too much waits already.
    Full,
}

/// Writes a frame of the program. All of it is accepted, or nothing.
#[inline]
pub(crate) fn write(wsi: &'static Wsi, kind: Kind, is_last: bool, payload: &[u8]) -> Result<(), WriteError> {
    match kind {
        Kind::Message(kind) if is_last && answers(wsi, kind, payload) => Ok(()),
        _ => write_any(wsi, kind, is_last, payload),
    }
}

/// The usual answer: a short message, inside the callback that tells of another, with nothing before it. Returns whether it was
/// sent. All that can be otherwise is asked in [`write_any`].
#[inline]
fn answers(wsi: &'static Wsi, kind: MessageKind, payload: &[u8]) -> bool {
    if payload.len() >= SHORT || !is_writable(wsi) || wsi.queued.load(Ordering::Relaxed) > 0 {
        return false;
    }
    // Only this thread sends. What another thread writes from now on is queued behind this message.
    if wsi.is_mid_message.load(Ordering::Relaxed) || (kind == MessageKind::Text && utf8::check(payload).is_err()) {
        return false;
    }
    let Some(context) = wsi.context() else { return false };
    context.door.with_cx(wsi, |cx| cx.answer_short(kind, payload)) == Some(true)
}

/// Longer answers are not among the short ones of the core ([`Cx::answer_short`]).
const SHORT: usize = 126;

#[inline(never)]
fn write_any(wsi: &'static Wsi, kind: Kind, is_last: bool, payload: &[u8]) -> Result<(), WriteError> {
    let context = wsi.context().ok_or(WriteError::NotOpen)?;
    let id = wsi.id();
    if !is_writable(wsi) {
        // What is not sent is not looked at.
        return Err(WriteError::NotOpen);
    }
    if matches!(kind, Kind::Ping | Kind::Pong) {
        return control(context, wsi, kind, payload);
    }
    let kind = if is_last { kind_of(kind, payload) } else { kind };
    let way = way_now(context, wsi, kind, is_last);
    let is_whole = is_last && matches!(kind, Kind::Message(_));
    let waits = || wsi.queued.load(Ordering::Relaxed) > 0;
    if is_whole && way != Way::Queue && !waits() && !wsi.is_mid_message.load(Ordering::Relaxed) {
        // Only this thread sends. What another thread writes from now on is queued behind this message.
        send_now(context, wsi, way, kind, is_last, payload);
        return Ok(());
    }
    // Threads that write at once: whose frame is next, and where it goes, is one decision.
    let mut rest = open_rest(wsi, id)?;
    let continues = kind == Kind::Continuation;
    if wsi.is_mid_message.load(Ordering::Relaxed) != continues {
        return Err(WriteError::OutOfOrder);
    }
    if way == Way::Queue || waits() {
        let is_pushed = push(wsi, &mut rest, Frame { kind, is_last, payload: payload.to_vec() });
        if is_pushed {
            wsi.is_mid_message.store(!is_last, Ordering::Relaxed);
        }
        drop(rest);
        return pushed(context, wsi, id, is_pushed);
    }
    wsi.is_mid_message.store(!is_last, Ordering::Relaxed);
    drop(rest);
    send_now(context, wsi, way, kind, is_last, payload);
    Ok(())
}

/// Sends in a way that is there.
fn send_now(context: &'static Context, wsi: &'static Wsi, way: Way, kind: Kind, is_last: bool, payload: &[u8]) {
    let is_sent = match way {
        Way::Port => context.door.with_port(wsi, |tx| send(tx, kind, is_last, payload)),
        _ => context.door.with_cx(wsi, |cx| answer(cx, kind, payload)),
    };
    debug_assert_eq!(is_sent, Some(true), "what was there is there still");
}

/// How a frame of the program can leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// With the permission of the writeable callback that runs.
    Port,
    /// As the answer to what another callback tells.
    Answer,
    Queue,
}

fn way_now(context: &'static Context, wsi: &'static Wsi, kind: Kind, is_last: bool) -> Way {
    match context.door.with_port(wsi, |tx| fits(tx.as_ref(), kind)) {
        Some(true) => Way::Port,
        Some(false) => Way::Queue,
        None if is_last && matches!(kind, Kind::Message(_)) => {
            let can_answer = context.door.with_cx(wsi, |cx| cx.can_answer()).unwrap_or(false);
            if can_answer { Way::Answer } else { Way::Queue }
        }
        None => Way::Queue,
    }
}

/// What is behind the lock of the connection with this id, if it is open and may be written to.
fn open_rest(wsi: &'static Wsi, id: ConnId) -> Result<MutexGuard<'static, Rest>, WriteError> {
    wsi.rest_of(id).filter(|_| is_writable(wsi)).ok_or(WriteError::NotOpen)
}

fn is_writable(wsi: &Wsi) -> bool {
    wsi.is(Phase::Open) && !wsi.is_closing.load(Ordering::Relaxed)
}

/// What a whole message is sent as. RFC 6455 section 8.1: an endpoint that finds text that "is not, in fact, a valid UTF-8 stream [...]
/// MUST _Fail the WebSocket Connection_". The libraries of old sent what they were given, so programs send bytes as text, and do not look
/// at the kind where they receive them: bytes reach them as what they are.
fn kind_of(kind: Kind, payload: &[u8]) -> Kind {
    let is_text = kind != Kind::Message(MessageKind::Text) || utf8::check(payload).is_ok();
    if is_text {
        return kind;
    }
    // Once for the process: who echoes what it gets has its peers decide how often.
    static IS_TOLD: AtomicBool = AtomicBool::new(false);
    if !IS_TOLD.swap(true, Ordering::Relaxed) {
        log::warning!("a text message that is not UTF-8 is sent as binary; it is said once");
    }
    Kind::Message(MessageKind::Binary)
}

/// Whether a permission is there, and is for such a frame.
fn fits(tx: Option<&Tx<'_>>, kind: Kind) -> bool {
    matches!((tx, kind), (Some(Tx::Idle(_)), Kind::Message(_)) | (Some(Tx::Mid(_)), Kind::Continuation))
}

/// Sends a frame, if there is a permission for it. What is left of the permission stays in `tx`.
fn send(tx: &mut Option<Tx<'_>>, kind: Kind, is_last: bool, payload: &[u8]) -> bool {
    let Some(permission) = tx.take() else { return false };
    *tx = match (permission, kind) {
        (Tx::Idle(writable), Kind::Message(kind)) if is_last => writable.send(kind, payload).more().map(Tx::Idle),
        (Tx::Idle(writable), Kind::Message(kind)) => writable.begin(kind, payload).more().map(Tx::Mid),
        (Tx::Mid(fragments), Kind::Continuation) if is_last => fragments.finish(payload).more().map(Tx::Idle),
        (Tx::Mid(fragments), Kind::Continuation) => fragments.fragment(payload).more().map(Tx::Mid),
        (permission, _) => {
            *tx = Some(permission);
            return false;
        }
    };
    true
}

/// Sends a whole message from another callback than the writeable one.
fn answer(cx: &mut Cx<'_>, kind: Kind, payload: &[u8]) -> bool {
    let Kind::Message(kind) = kind else { return false };
    cx.answer(|writable| _ = writable.send(kind, payload));
    true
}

/// Puts a frame behind those that wait. Returns whether there was room for it.
fn push(wsi: &Wsi, rest: &mut Rest, frame: Frame) -> bool {
    let queued = wsi.queued.load(Ordering::Relaxed);
    if queued > 0 && queued.saturating_add(frame.cost()) > QUEUE_BYTES {
        return false;
    }
    wsi.queued.fetch_add(frame.cost(), Ordering::Relaxed);
    rest.frames.push_back(frame);
    true
}

/// Has the loop send what waits, or end a connection for which too much does.
fn pushed(context: &'static Context, wsi: &'static Wsi, id: ConnId, is_pushed: bool) -> Result<(), WriteError> {
    if !is_pushed {
        log::err!("{id}: more than {QUEUE_BYTES} bytes wait for the peer; the connection is closed");
        context.abort(wsi);
        return Err(WriteError::Full);
    }
    context.act(move |commands| {
        if let Ok(mut connection) = commands.connection(id) {
            // A crowd of peers that do not read is bounded by the service's `total_bytes`.
            connection.set_held_bytes(wsi.queued.load(Ordering::Relaxed));
            connection.request_writable();
        }
    });
    Ok(())
}

/// Sends what waits as far as the permission goes. Returns what is left of that.
pub(crate) fn send_queued<'t>(cx: &mut Cx<'_>, wsi: &Wsi, tx: Tx<'t>) -> Option<Tx<'t>> {
    let mut tx = Some(tx);
    if wsi.queued.load(Ordering::Relaxed) == 0 {
        return tx;
    }
    let mut rest = wsi.rest();
    while tx.is_some() {
        let Some(frame) = rest.frames.pop_front() else { break };
        wsi.queued.fetch_sub(frame.cost(), Ordering::Relaxed);
        match (frame.kind, ControlPayload::new(&frame.payload)) {
            (Kind::Ping, Ok(payload)) => ping(&mut tx, payload),
            (Kind::Pong, Ok(payload)) => cx.pong(payload),
            (kind, _) => {
                // The frames are in order, as `write` has seen to it.
                let is_sent = send(&mut tx, kind, frame.is_last, &frame.payload);
                debug_assert!(is_sent, "a frame is out of order");
            }
        }
    }
    drop(rest);
    cx.set_held_bytes(wsi.queued.load(Ordering::Relaxed));
    tx
}

/// Sends a ping behind what was sent with this permission.
fn ping(tx: &mut Option<Tx<'_>>, payload: ControlPayload) {
    match tx {
        Some(Tx::Idle(writable)) => writable.ping(payload),
        Some(Tx::Mid(fragments)) => fragments.ping(payload),
        _ => {}
    }
}

/// Pings and pongs keep their place among frames that wait, and a ping in a writeable callback. Else they go after the callback, and so
/// behind what it writes: RFC 6455 section 5.4 allows control frames between any others.
fn control(context: &'static Context, wsi: &'static Wsi, kind: Kind, payload: &[u8]) -> Result<(), WriteError> {
    // RFC 6455 section 5.5: "All control frames MUST have a payload length of 125 bytes or less".
    let control = ControlPayload::new(payload).map_err(|_| WriteError::TooLong)?;
    let id = wsi.id();
    let mut rest = open_rest(wsi, id)?;
    if wsi.queued.load(Ordering::Relaxed) > 0 {
        let is_pushed = push(wsi, &mut rest, Frame { kind, is_last: true, payload: payload.to_vec() });
        drop(rest);
        return pushed(context, wsi, id, is_pushed);
    }
    drop(rest);
    if kind == Kind::Ping
        && context.door.with_port(wsi, |tx| tx.is_some().then(|| ping(tx, control)).is_some()) == Some(true)
    {
        return Ok(());
    }
    let is_sent = context.act(move |commands: &mut Commands| {
        if let Ok(mut connection) = commands.connection(id) {
            match kind {
                Kind::Ping => connection.ping(control),
                _ => connection.pong(control),
            }
        }
    });
    is_sent.then_some(()).ok_or(WriteError::NotOpen)
}

/// Starts the closing handshake behind what the program has written. Returns whether it will be.
pub(crate) fn close(context: &'static Context, wsi: &'static Wsi, close: Close) -> bool {
    let id = wsi.id();
    let waits = match wsi.rest_of(id) {
        None => return false,
        Some(mut rest) => {
            wsi.is_closing.store(true, Ordering::Release);
            let waits = wsi.queued.load(Ordering::Relaxed) > 0;
            if waits {
                rest.close_behind = Some(close.clone());
            }
            waits
        }
    };
    context.act(move |commands| {
        let Ok(mut connection) = commands.connection(id) else { return };
        if waits {
            connection.request_writable();
            connection.set_timer(CLOSE_BEHIND);
        } else {
            connection.close(close);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::{c_int, c_void};
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::ptr;
    use std::sync::atomic::{AtomicPtr, Ordering};

    use super::{Kind, MessageKind, write};
    use crate::context::Context;
    use crate::face13::calls;
    use crate::wsi::Wsi;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

    static OPEN: AtomicPtr<Wsi> = AtomicPtr::new(ptr::null_mut());

    extern "C" fn callback(
        _: *mut Context,
        wsi: *mut Wsi,
        reason: c_int,
        _: *mut c_void,
        _: *mut c_void,
        _: usize,
    ) -> c_int {
        if reason == 0 {
            OPEN.store(wsi, Ordering::Relaxed);
        }
        0
    }

    /// Turns until it is true.
    fn until(context: &'static Context, mut is_so: impl FnMut() -> bool) {
        for _ in 0..1_000_000 {
            if is_so() {
                return;
            }
            assert_eq!(context.turn(crate::turn::Work::Any), crate::turn::Turn::Done);
        }
        panic!("it did not come in a million turns");
    }

    #[test]
    fn what_waits_for_a_peer_that_does_not_read_counts_towards_the_limit_of_the_service() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Two entries of a table: a callback, and the end.
        let mut table = [0_usize; 12];
        table[1] = (callback as *const c_void).expose_provenance();
        let (null, none) = (ptr::null(), ptr::null_mut());
        // SAFETY: a table of the header, which stays as long as the context.
        let context = unsafe {
            let table = table.as_mut_ptr().cast();
            calls::create_context(port.into(), null, table, ptr::null_mut(), null, null, null, -1, -1, 0, none)
        };
        let context = Context::find(context).expect("a context");
        let mut peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
        peer.write_all(REQUEST).unwrap();
        until(context, || !OPEN.load(Ordering::Relaxed).is_null());
        assert!(peer.read(&mut [0; 1024]).unwrap() > 0);

        let wsi = Wsi::find(OPEN.load(Ordering::Relaxed)).expect("a connection");
        let message = vec![0; 1 << 20];
        for _ in 0..32 {
            write(wsi, Kind::Message(MessageKind::Binary), true, &message).unwrap();
        }
        let held = || context.lock_inner().as_ref().unwrap().service.statistics().held_bytes;
        until(context, || held() >= 16 << 20);
        assert!(held() >= wsi.queued.load(Ordering::Relaxed) as u64);
        // It reads again, and nothing is held.
        peer.set_nonblocking(true).unwrap();
        let mut room = vec![0; 1 << 20];
        until(context, || {
            while peer.read(&mut room).is_ok_and(|count| count > 0) {}
            wsi.queued.load(Ordering::Relaxed) == 0 && held() < 1 << 20
        });
        context.end();
    }
}
