//! What arrives on a WebSocket: one read, into the loop's receive buffer. The rest of a long frame of binary data is received
//! where its message is collected, so that a message of 1 MiB is not copied.

use sockeye_proto::close::{Close, CloseCode};
use sockeye_proto::conn::{Connection, HEADROOM, Input};
use sockeye_proto::error::Violation;
use sockeye_proto::event::Event;
use sockeye_proto::time::Instant;

use crate::conn::call::Callbacks;
use crate::conn::control::control_event;
use crate::conn::websocket::WebSocket;
use crate::conn::wire::NEVER;
use crate::protocol::Outlet;
use crate::state::{FIRST_READ, RunningStep};
use crate::statistics::Culprit;
use crate::transport::{LONG_MASK, LoopIo, Read, Socket, SocketWriter, inflate, make_room};

/// With so many bytes missing a frame is long.
const LONG: u64 = 64 * 1024;

/// A read asks for so much more than the frame needs: one that ends before has taken all that the socket had, and needs no
/// other to find that out. It is less than [`LONG`], so the receive buffer has room for it wherever the share of a turn has.
const BEYOND: usize = 4 * 1024;

/// Room that is larger than what may be read is cleared before: so much at a time, since little may come.
const MOST_CLEARED: usize = 256 * 1024;

/// A read has room for so much, though less has arrived.
const LEAST_ROOM: usize = 64 * 1024;

impl WebSocket {
    /// One read, unless it has to wait. Returns how many bytes are to be delivered.
    #[inline(always)]
    pub(super) fn arrive<const WATCHED: bool>(
        &mut self,
        callbacks: &mut Callbacks<'_>,
        socket: &mut Socket,
        io: &mut LoopIo,
        rx: &mut [u8],
        armed: &mut Instant,
    ) -> usize {
        if self.is_paused(&callbacks.cx.running) {
            return 0;
        }
        if self.protocol.is_mid_frame() {
            if let Some(count) = self.arrive_mid_frame::<WATCHED>(callbacks, socket, io, rx, armed) {
                return count;
            }
        }
        self.read(&mut callbacks.cx.running, socket, io, rx)
    }

    /// In the middle of a frame: more of it where its message is, or what is left to inflate of it. `None`: a read as usual.
    #[cold]
    #[inline(never)]
    fn arrive_mid_frame<const WATCHED: bool>(
        &mut self,
        callbacks: &mut Callbacks<'_>,
        socket: &mut Socket,
        io: &mut LoopIo,
        rx: &mut [u8],
        armed: &mut Instant,
    ) -> Option<usize> {
        if self.protocol.has_more() {
            self.inflate::<WATCHED>(callbacks, socket, io, &mut Input::new(&mut [0; HEADROOM], HEADROOM));
            return (self.protocol.has_more() || self.is_paused(&callbacks.cx.running)).then_some(0);
        }
        if self.protocol.missing_in_place() < LONG {
            return None;
        }
        self.read_long::<WATCHED>(callbacks, socket, io, rx, armed)
    }

    /// The callbacks for what a read brought, which is behind the head room of `arrived`. Returns
    /// whether the deadline may have come forward.
    #[inline(always)]
    pub(super) fn deliver<const WATCHED: bool>(
        &mut self,
        callbacks: &mut Callbacks<'_>,
        socket: &mut Socket,
        io: &mut LoopIo,
        arrived: &mut [u8],
    ) -> bool {
        callbacks.cx.running.set_window(arrived);
        let mut input = Input::new(arrived, HEADROOM).with_mask(LONG_MASK);
        let mut may_answer = self.may_answer();
        while !input.is_empty() {
            let running = &mut callbacks.cx.running;
            if running.budget.frames == 0 || self.is_paused(running) {
                socket.keep_unread(&io.pool, input.into_rest());
                break;
            }
            running.budget.frames -= 1;
            let result = match self.protocol.receive_whole(&mut input) {
                Some(Ok(payload)) => {
                    io.meters.statistics.received.messages += 1;
                    let ws = &mut self.protocol;
                    callbacks.call::<WATCHED, _>(io, Culprit::Receive, |endpoint, cx, session, io| {
                        let outlet = may_answer.then(|| Outlet { ws, out: SocketWriter::new(io, socket), aside: None });
                        endpoint.receive(&mut cx.with_outlet(outlet), session, payload, None)
                    })
                }
                other => {
                    let violated = other.and_then(Result::err);
                    let result = self.deliver_other::<WATCHED>(callbacks, socket, io, &mut input, violated);
                    may_answer = self.may_answer();
                    match result {
                        Some(result) => result,
                        None => break,
                    }
                }
            };
            self.apply(&mut callbacks.cx, result);
        }
        self.protocol.receive_done(callbacks.cx.now())
    }

    /// The callback for anything but a message that arrived whole. `None`: the input is used up. It is apart, so that those have
    /// the registers for themselves.
    #[inline(never)]
    fn deliver_other<const WATCHED: bool>(
        &mut self,
        callbacks: &mut Callbacks<'_>,
        socket: &mut Socket,
        io: &mut LoopIo,
        input: &mut Input<'_>,
        violated: Option<Violation>,
    ) -> Option<Result<(), Box<Close>>> {
        let event = match violated {
            Some(violation) => Err(violation),
            None => self.protocol.receive(input),
        };
        match event {
            Ok(Some(Event::Fragment(ref fragment))) => {
                io.meters.statistics.received.piece(fragment.last, fragment.remaining);
                let may_answer = self.may_answer();
                let ws = &mut self.protocol;
                Some(callbacks.call::<WATCHED, _>(io, Culprit::Receive, |endpoint, cx, session, io| {
                    let outlet = may_answer.then(|| Outlet { ws, out: SocketWriter::new(io, socket), aside: None });
                    endpoint.receive(&mut cx.with_outlet(outlet), session, fragment.payload, Some(fragment))
                }))
            }
            Ok(None) => None,
            Ok(Some(Event::Compressed)) => {
                self.inflate::<WATCHED>(callbacks, socket, io, input);
                Some(Ok(()))
            }
            other => Some(control_event(&mut self.protocol, other, &mut SocketWriter::new(io, socket), callbacks)),
        }
    }

    /// Whether the answer to a message that was not compressed may be sent while that is delivered.
    #[inline(always)]
    fn may_answer(&self) -> bool {
        // What is compressed needs state, which is there for the answer to a compressed message, and in the writable callback.
        may_answer(&self.protocol) && self.protocol.deflate().is_none()
    }

    /// Whether something of a compressed message can be inflated though nothing more arrives.
    #[inline]
    pub(super) fn has_more(&self) -> bool {
        self.protocol.is_mid_frame() && self.protocol.has_more()
    }

    /// Inflates what has arrived of a compressed message, as far as the share of the turn goes, and delivers it.
    #[cold]
    #[inline(never)]
    pub(super) fn inflate<const WATCHED: bool>(
        &mut self,
        callbacks: &mut Callbacks<'_>,
        socket: &mut Socket,
        io: &mut LoopIo,
        input: &mut Input<'_>,
    ) {
        loop {
            let endpoint = callbacks.cx.endpoint.0;
            let Self { protocol, aside } = self;
            let (result, work) = inflate(protocol, aside, io, endpoint, input, |ws, aside, io, piece| match piece {
                Ok(Some(fragment)) => {
                    io.meters.statistics.received.piece(fragment.last, fragment.remaining);
                    callbacks.call::<WATCHED, _>(io, Culprit::Receive, |endpoint, cx, session, io| {
                        let aside = Some(aside);
                        let outlet = may_answer(ws).then(|| Outlet { ws, out: SocketWriter::new(io, socket), aside });
                        endpoint.receive(&mut cx.with_outlet(outlet), session, fragment.payload, Some(&fragment))
                    })
                }
                Ok(None) => Ok(()),
                Err(violation) => control_event(ws, Err(violation), &mut SocketWriter::new(io, socket), callbacks),
            });
            self.apply(&mut callbacks.cx, result);
            let running = &mut callbacks.cx.running;
            running.budget.frames = running.budget.frames.saturating_sub(1);
            running.budget.bytes = running.budget.bytes.saturating_sub(work);
            if running.budget.bytes == 0 {
                // The rest of what was read waits for the next turn.
                running.budget.frames = 0;
            }
            if running.budget.frames == 0 || !self.protocol.has_more() || self.is_paused(running) {
                return;
            }
        }
    }

    /// One read. Returns how many bytes came.
    #[inline(always)]
    fn read(&mut self, running: &mut RunningStep, socket: &mut Socket, io: &mut LoopIo, rx: &mut [u8]) -> usize {
        let most = running.budget.bytes.min(running.read_most);
        running.read_most = usize::MAX;
        match socket.read(io, rx, most) {
            Read::Bytes(count) => {
                running.budget.bytes = running.budget.bytes.saturating_sub(count);
                count
            }
            Read::Nothing => 0,
            other => self.no_input(&other, running),
        }
    }

    /// A read that brought nothing for the protocol.
    #[cold]
    fn no_input(&mut self, read: &Read, running: &mut RunningStep) -> usize {
        match *read {
            Read::Bytes(_) | Read::Nothing => {}
            Read::Sealed(cost) => running.spend(cost),
            Read::Failed(_) => self.protocol.handle_reset(),
            Read::End => self.protocol.handle_eof(),
        }
        0
    }

    /// Reads more of a long frame right behind what its message has, if the endpoint lends a buffer. Returns how many bytes came
    /// behind the frame, which are at `rx[HEADROOM..]`; `None`: the frame is to be read as everything else.
    #[cold]
    #[inline(never)]
    fn read_long<const WATCHED: bool>(
        &mut self,
        callbacks: &mut Callbacks<'_>,
        socket: &mut Socket,
        io: &mut LoopIo,
        rx: &mut [u8],
        armed: &mut Instant,
    ) -> Option<usize> {
        if socket.has_kept() || !socket.has_input() {
            return None;
        }
        let missing = self.protocol.missing_in_place();
        let lent = callbacks.call::<WATCHED, _>(io, Culprit::Receive, |endpoint, cx, session, _| {
            endpoint.lend_buffer(cx, session, missing)
        });
        self.apply(&mut callbacks.cx, Ok(()));
        let mut buffer = lent?;
        // The callback may have closed the connection, or paused it.
        let may_read = self.protocol.missing_in_place() == missing && !self.is_paused(&callbacks.cx.running);
        let running = &mut callbacks.cx.running;
        let (held, missing) = (buffer.len(), usize::try_from(missing).unwrap_or(usize::MAX));
        let rest = missing.saturating_add(BEYOND);
        let most = rest.min(running.budget.bytes);
        // An announced length alone costs no memory: the buffer grows with what has arrived, twofold at most. Nor is there more
        // room than the share of the turn: it would have to be cleared.
        let has_room = buffer.capacity() - held >= most.min(LEAST_ROOM);
        let more = if has_room { 0 } else { most.min(held.max(LEAST_ROOM)) };
        let room = if may_read { make_room(&mut buffer, more, held.saturating_add(most)) } else { Ok(()) };
        let room_bytes = buffer.capacity() - held;
        let wanted = if room_bytes <= most { room_bytes } else { most.min(MOST_CLEARED) };
        let may_read = may_read && room.is_ok();
        let read = if may_read { socket.read_behind(io, &mut buffer, wanted, rx) } else { Read::Nothing };
        running.budget.bytes = running.budget.bytes.saturating_sub(buffer.len() - held);
        let beyond = take_beyond(&mut buffer, held.saturating_add(missing), rx);
        let start = held.min(buffer.len());
        let piece = self.protocol.receive_in_place(Input::new(&mut buffer, start).with_mask(LONG_MASK));
        if piece.bytes > 0 {
            running.budget.frames = running.budget.frames.saturating_sub(1);
            running.read_most = FIRST_READ;
            running.set_window(&[]);
            io.meters.statistics.received.piece(piece.last, piece.remaining);
        }
        let result = callbacks.call::<WATCHED, _>(io, Culprit::Receive, |endpoint, cx, session, _| {
            endpoint.take_back(cx, session, buffer)
        });
        self.apply(&mut callbacks.cx, result);
        if let Some(end) = piece.end().filter(|_| self.is_open()) {
            let may_answer = self.may_answer();
            let ws = &mut self.protocol;
            let result = callbacks.call::<WATCHED, _>(io, Culprit::Receive, |endpoint, cx, session, io| {
                let outlet = may_answer.then(|| Outlet { ws, out: SocketWriter::new(io, socket), aside: None });
                endpoint.receive(&mut cx.with_outlet(outlet), session, end.payload, Some(&end))
            });
            self.apply(&mut callbacks.cx, result);
        }
        match read {
            Read::Bytes(_) => {
                if self.protocol.receive_done(callbacks.cx.now()) {
                    // The deadline came forward.
                    *armed = NEVER;
                }
            }
            other => _ = self.no_input(&other, &mut callbacks.cx.running),
        }
        if let Err(error) = room {
            tracing::warn!(id = %callbacks.cx.id(), peer = %callbacks.cx.peer(), %error, "no memory for a message; the connection is closed");
            // As where pieces are collected.
            self.apply(&mut callbacks.cx, Err(Box::new(CloseCode::INTERNAL.into())));
        }
        Some(beyond)
    }
}

/// Whether an answer may go before anything else: pings, pongs and the rest of a fragmented message go before more data.
#[inline(always)]
fn may_answer(ws: &Connection) -> bool {
    ws.is_quiet() && ws.mid_message().is_none()
}

/// Moves what is behind the first `end` bytes of the buffer to `rx[HEADROOM..]`, and returns how many bytes it is.
fn take_beyond(buffer: &mut Vec<u8>, end: usize, rx: &mut [u8]) -> usize {
    let Some(beyond) = buffer.get(end..) else { return 0 };
    let count = beyond.len();
    rx[HEADROOM..HEADROOM + count].copy_from_slice(beyond);
    buffer.truncate(end);
    count
}
