//! What a program writes: to the socket if it may be written to now, else into a queue that the loop sends from.

use std::sync::atomic::Ordering;

use sockeye::proto::conn::ControlPayload;
use sockeye::proto::wire::MessageKind;
use sockeye::{Commands, Tx};

use crate::context::Context;
use crate::log;
use crate::wsi::{Phase, Wsi};

/// The most that may wait for one peer; a program that writes more without looking has its connection closed.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// What a program asks to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A message, or its beginning.
    Message(MessageKind),
    /// The next fragment of a message that has begun.
    Continuation,
    Ping,
    Pong,
}

/// A frame that waits.
pub(crate) struct Frame {
    kind: Kind,
    is_last: bool,
    payload: Vec<u8>,
}

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
pub(crate) fn write(wsi: &'static Wsi, kind: Kind, is_last: bool, payload: &[u8]) -> Result<(), WriteError> {
    let context = wsi.context.get().ok_or(WriteError::NotOpen)?;
    if !wsi.is(Phase::Open) || wsi.is_closing.load(Ordering::Relaxed) {
        return Err(WriteError::NotOpen);
    }
    match kind {
        Kind::Ping | Kind::Pong => return control(context, wsi, kind, payload),
        Kind::Message(_) if wsi.is_mid_message.load(Ordering::Relaxed) => return Err(WriteError::OutOfOrder),
        Kind::Continuation if !wsi.is_mid_message.load(Ordering::Relaxed) => return Err(WriteError::OutOfOrder),
        Kind::Message(_) | Kind::Continuation => {}
    }
    let is_sent = wsi.queued.load(Ordering::Relaxed) == 0
        && context.door.with_port(wsi, |tx| send(tx, kind, is_last, payload)).unwrap_or(false);
    if !is_sent {
        queue(context, wsi, Frame { kind, is_last, payload: payload.to_vec() })?;
    }
    wsi.is_mid_message.store(!is_last, Ordering::Relaxed);
    Ok(())
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

fn queue(context: &'static Context, wsi: &'static Wsi, frame: Frame) -> Result<(), WriteError> {
    let mut rest = wsi.rest();
    let queued = wsi.queued.load(Ordering::Relaxed);
    if queued > 0 && queued.saturating_add(frame.payload.len()) > QUEUE_BYTES {
        drop(rest);
        log::err!("{}: more than {QUEUE_BYTES} bytes wait for the peer; the connection is closed", wsi.id());
        context.abort(wsi);
        return Err(WriteError::Full);
    }
    // One more than its bytes, so that an empty frame counts.
    wsi.queued.fetch_add(frame.payload.len() + 1, Ordering::Relaxed);
    rest.frames.push_back(frame);
    drop(rest);
    context.ask_for_room(wsi);
    Ok(())
}

/// Sends what waits as far as the permission goes. Returns what is left of that.
pub(crate) fn send_queued<'t>(wsi: &Wsi, tx: Tx<'t>) -> Option<Tx<'t>> {
    let mut tx = Some(tx);
    if wsi.queued.load(Ordering::Relaxed) == 0 {
        return tx;
    }
    let mut rest = wsi.rest();
    while tx.is_some() {
        let Some(frame) = rest.frames.pop_front() else { break };
        wsi.queued.fetch_sub(frame.payload.len() + 1, Ordering::Relaxed);
        // The frames are in order, as `write` has seen to it.
        let is_sent = send(&mut tx, frame.kind, frame.is_last, &frame.payload);
        debug_assert!(is_sent, "a frame is out of order");
    }
    tx
}

fn control(context: &'static Context, wsi: &'static Wsi, kind: Kind, payload: &[u8]) -> Result<(), WriteError> {
    // RFC 6455 section 5.5: "All control frames MUST have a payload length of 125 bytes or less".
    let payload = ControlPayload::new(payload).map_err(|_| WriteError::TooLong)?;
    let id = wsi.id();
    let sent = context.act(move |commands: &mut Commands| {
        if let Ok(mut connection) = commands.connection(id) {
            match kind {
                Kind::Ping => connection.ping(payload),
                _ => connection.pong(payload),
            }
        }
    });
    sent.then_some(()).ok_or(WriteError::NotOpen)
}
