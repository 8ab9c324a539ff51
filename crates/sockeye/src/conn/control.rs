//! The control frames of a WebSocket: their callbacks, and when their answers leave.

use sockeye_proto::close::Close;
use sockeye_proto::conn::{Connection, State};
use sockeye_proto::error::Violation;
use sockeye_proto::event::Event;

use crate::conn::call::Callbacks;
use crate::statistics::Culprit;
use crate::transport::{CORK, SocketWriter};

/// Pings, pongs, closes and violations.
#[cold]
pub(super) fn control_event(
    ws: &mut Connection,
    event: Result<Option<Event<'_>>, Violation>,
    out: &mut SocketWriter<'_>,
    callbacks: &mut Callbacks<'_>,
) -> Result<(), Box<Close>> {
    let received = &mut out.io.meters.statistics.received;
    match event {
        Ok(Some(Event::Ping(_))) => received.pings += 1,
        Ok(Some(Event::Pong(_))) => received.pongs += 1,
        Ok(Some(Event::Close(_))) => received.closes += 1,
        _ => {}
    }
    let result = match event {
        // Nothing is delivered after our own close.
        Ok(Some(Event::Pong(payload))) if ws.state() == State::Open => {
            callbacks.call_rarely(out.io, Culprit::Pong, |endpoint, cx, session, _| endpoint.pong(cx, session, payload))
        }
        Ok(Some(Event::Ping(payload))) if ws.state() == State::Open => {
            callbacks.call_rarely(out.io, Culprit::Ping, |endpoint, cx, session, _| endpoint.ping(cx, session, payload))
        }
        // Our own Close frame goes after this callback and a last writable one. If it has gone
        // already, this is the answer to it.
        Ok(Some(Event::Close(_))) if ws.can_send() => {
            let Some(close) = ws.close_received() else { return Ok(()) };
            callbacks
                .call_rarely(out.io, Culprit::Closing, |endpoint, cx, session, _| endpoint.closing(cx, session, close));
            Ok(())
        }
        Err(violation) => {
            let cx = &callbacks.cx;
            tracing::debug!(id = %cx.id(), peer = %cx.peer(), %violation, "protocol violation");
            Ok(())
        }
        Ok(_) => Ok(()),
    };
    // The pong is queued already. Each is sent now, so that every ping is answered while the socket
    // takes data; once it does not, the connection keeps the newest only. A Close frame waits for
    // the end of the step: answers to earlier messages go first.
    if ws.state() == State::Open {
        answer(ws, out);
    }
    result
}

/// Sends waiting control frames, if the socket takes data.
#[inline]
pub(super) fn answer(ws: &mut Connection, out: &mut SocketWriter<'_>) {
    if ws.wants_transmit() && out.socket.is_clear() {
        out.transmit(ws);
        if out.io.corked() >= CORK {
            out.flush();
        }
    }
}
