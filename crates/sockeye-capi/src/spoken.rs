//! All WebSocket connections of a context: the callbacks of the loop, told to the program.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sockeye::proto::conn::ControlPayload;
use sockeye::proto::wire::MessageKind;
use sockeye::protocol::{Keepalive, MessageLimits, ProtocolMut};
use sockeye::{
    Close, CloseCode, Closed, ClosedCx, Compression, ConnId, Cx, Decision, Failure, Fragment, Handshake, Protocol,
    Request, Tx,
};

use crate::callbacks::{With, call, call_of};
use crate::context::Context;
use crate::face::Face;
use crate::lock::lock;
use crate::protocol::CProtocol;
use crate::reason::Reason;
use crate::write::{CLOSE_BEHIND, send_queued};
use crate::wsi::{Phase, Silence, Wsi};

/// The longest piece of a message that a program gets at once, in bytes.
pub(crate) const PIECE_BYTES: usize = 4096;

/// The name of the service's protocol, which no peer sees.
pub(crate) const NAME: &str = "sockeye-capi";

/// Room before a piece, which programs may write to.
const ROOM: usize = 32;

/// The one protocol of the service: what the program's protocols are is known here only.
pub(crate) struct Spoken {
    context: &'static Context,
    face: &'static dyn Face,
    /// [`Face::gathers`].
    gathers: bool,
    /// Room, a piece, and a byte for a NUL behind it.
    scratch: Vec<u8>,
}

/// The part of a message that one call tells.
struct Piece<'p> {
    bytes: &'p [u8],
    is_first: bool,
    is_last: bool,
    /// Bytes of the frame behind it.
    remaining: u64,
    is_binary: bool,
}

impl<'p> Piece<'p> {
    /// A part of what has arrived; `behind` more bytes of that follow.
    fn of(fragment: &Fragment<'_>, bytes: &'p [u8], is_first: bool, behind: usize) -> Self {
        Self {
            bytes,
            is_first,
            is_last: fragment.last,
            remaining: fragment.remaining + behind as u64,
            is_binary: fragment.kind == MessageKind::Binary,
        }
    }
}

impl Spoken {
    pub(crate) fn new(context: &'static Context, face: &'static dyn Face) -> Self {
        Self { context, face, gathers: face.gathers(), scratch: vec![0; ROOM + piece_bytes(context) + 1] }
    }

    /// Tells the program, if its context is not ending: then it hears of ends only.
    fn tell(&self, cx: &mut Cx<'_>, wsi: &'static Wsi, reason: Reason, with: With) -> Result<(), Close> {
        let Some(protocol) = wsi.protocol.get().filter(|_| !self.context.is_ending.load(Ordering::Relaxed)) else {
            return Ok(());
        };
        let wants_end =
            self.context.door.lend_cx(wsi, cx, || call_of(Some(self.context), protocol, Some(wsi), reason, with)) != 0;
        if wants_end { end(cx, wsi) } else { Ok(()) }
    }

    /// Compiled in place for the message that is one piece; see [`next_piece`](Self::next_piece).
    #[inline(always)]
    fn piece(&mut self, cx: &mut Cx<'_>, wsi: &'static Wsi, piece: &Piece<'_>) -> Result<(), Close> {
        let len = piece.bytes.len();
        self.scratch[ROOM..ROOM + len].copy_from_slice(piece.bytes);
        self.scratch[ROOM + len] = 0;
        let input = self.scratch[ROOM..].as_mut_ptr().cast();
        wsi.is_first.store(piece.is_first, Ordering::Relaxed);
        wsi.is_final.store(piece.is_last && piece.remaining == 0, Ordering::Relaxed);
        wsi.is_binary.store(piece.is_binary, Ordering::Relaxed);
        wsi.remaining.store(usize::try_from(piece.remaining).unwrap_or(usize::MAX), Ordering::Relaxed);
        let client = wsi.is_client.load(Ordering::Relaxed);
        let reason = if client { Reason::ClientReceive } else { Reason::Receive };
        self.tell(cx, wsi, reason, With::user_of(wsi).input(input, len))
    }

    /// As [`piece`](Self::piece), for one of several.
    #[inline(never)]
    fn next_piece(&mut self, cx: &mut Cx<'_>, wsi: &'static Wsi, piece: &Piece<'_>) -> Result<(), Close> {
        self.piece(cx, wsi, piece)
    }

    /// Puts what has arrived of a frame behind what was gathered of it, and tells the pieces that are whole. `None`: nothing was
    /// gathered, and nothing needs to be.
    #[inline(never)]
    fn gather(&mut self, cx: &mut Cx<'_>, wsi: &'static Wsi, fragment: &Fragment<'_>) -> Option<Result<(), Close>> {
        let bytes = fragment.payload.as_bytes();
        let mut gathered = std::mem::take(&mut wsi.rest().gathered);
        if gathered.is_empty() && (fragment.remaining == 0 || bytes.len() >= PIECE_BYTES) {
            return None;
        }
        // Whether the message begins with the piece is kept with its beginning.
        let is_first = fragment.first || (!gathered.is_empty() && wsi.is_first.load(Ordering::Relaxed));
        gathered.extend_from_slice(bytes);
        wsi.is_first.store(is_first, Ordering::Relaxed);
        let told = self.tell_gathered(cx, wsi, fragment, &mut gathered, is_first);
        wsi.is_gathering.store(!gathered.is_empty(), Ordering::Relaxed);
        if !gathered.is_empty() {
            wsi.rest().gathered = gathered;
        }
        Some(told)
    }

    /// Tells what has arrived in pieces of at most `most` bytes.
    #[inline(never)]
    fn in_pieces(
        &mut self,
        cx: &mut Cx<'_>,
        wsi: &'static Wsi,
        fragment: &Fragment<'_>,
        most: usize,
    ) -> Result<(), Close> {
        let (mut rest, mut is_first) = (fragment.payload.as_bytes(), fragment.first);
        loop {
            let (bytes, behind) = rest.split_at(most.min(rest.len()));
            self.next_piece(cx, wsi, &Piece::of(fragment, bytes, is_first, behind.len()))?;
            if behind.is_empty() || wsi.is_closing.load(Ordering::Relaxed) {
                return Ok(());
            }
            (rest, is_first) = (behind, false);
        }
    }

    /// Tells what was gathered of a frame, whole pieces or all of it. `remaining` bytes of the frame have not arrived.
    fn tell_gathered(
        &mut self,
        cx: &mut Cx<'_>,
        wsi: &'static Wsi,
        fragment: &Fragment<'_>,
        gathered: &mut Vec<u8>,
        is_first: bool,
    ) -> Result<(), Close> {
        let mut is_first = is_first;
        let mut told = 0;
        loop {
            let rest = gathered.len() - told;
            let len = rest.min(PIECE_BYTES);
            if len < PIECE_BYTES && fragment.remaining > 0 {
                break;
            }
            let remaining = fragment.remaining + (rest - len) as u64;
            let bytes = &gathered[told..told + len];
            let is_binary = fragment.kind == MessageKind::Binary;
            let piece = Piece { bytes, is_first, is_last: fragment.last && rest == len, remaining, is_binary };
            self.next_piece(cx, wsi, &piece)?;
            (told, is_first) = (told + len, false);
            if told == gathered.len() || wsi.is_closing.load(Ordering::Relaxed) {
                break;
            }
        }
        gathered.drain(..told);
        Ok(())
    }
}

/// What belongs to no protocol goes to the first of the vhost.
pub(crate) fn tell_destroyed(protocol: &'static CProtocol, wsi: &'static Wsi) {
    call(protocol.first_of_vhost(), wsi, Reason::WsiDestroy, With::user_of(wsi));
}

/// A connection of ours did not open.
fn tell_failed(protocol: &'static CProtocol, wsi: &'static Wsi, text: &str) {
    let len = text.len();
    let mut text = [text.as_bytes(), b"\0"].concat();
    let with = With::user_of(wsi).input(text.as_mut_ptr().cast(), len);
    call(protocol, wsi, Reason::ClientConnectionError, with);
    call(protocol, wsi, Reason::ClientHttpDropProtocol, With::dropped(wsi));
    tell_destroyed(protocol, wsi);
}

/// The longest piece that the loop gives.
fn piece_bytes(context: &Context) -> usize {
    match context.piece_bytes.load(Ordering::Relaxed) {
        0 => PIECE_BYTES,
        bytes => bytes,
    }
}

/// How long the peer may be silent, if that is set.
fn keepalive_of(context: &Context, wsi: &Wsi) -> Option<Keepalive> {
    let Silence { ping, hang_up } = wsi.rest().silence.unwrap_or_else(|| *lock(&context.silence));
    if ping == 0 {
        return None;
    }
    let timeout = hang_up.saturating_sub(ping).max(1);
    Keepalive::new(Duration::from_secs(ping.into()), Duration::from_secs(timeout.into())).ok()
}

/// The program's callback wants the end. The Close frame says what it set before, or nothing, and goes behind what it has written.
fn end(cx: &mut Cx<'_>, wsi: &Wsi) -> Result<(), Close> {
    wsi.is_closing.store(true, Ordering::Relaxed);
    let mut rest = wsi.rest();
    let close = rest.close.take().unwrap_or_else(Close::empty);
    if wsi.queued.load(Ordering::Relaxed) == 0 {
        return Err(close);
    }
    rest.close_behind = Some(close);
    cx.request_writable();
    cx.set_timer(CLOSE_BEHIND);
    Ok(())
}

/// The Close frame of a status of the program's: none for what never is in a frame (RFC 6455 section 7.4.1).
pub(crate) fn close_with(status: u16, reason: &[u8]) -> Close {
    let Ok(code) = CloseCode::try_from(status) else { return Close::empty() };
    // RFC 6455 section 5.5.1: "the reason [...] MUST be valid UTF-8".
    let mut reason = String::from_utf8_lossy(reason).into_owned();
    let mut end = reason.len().min(Close::MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    Close::with_reason(code, reason).unwrap_or_else(|_| code.into())
}

impl Protocol for Spoken {
    type Session = &'static Wsi;

    fn name(&self) -> &str {
        NAME
    }

    fn limits(&self) -> MessageLimits {
        let mut limits = MessageLimits::default();
        // The program collects what it wants of a message, and gets pieces.
        limits.message_bytes = Some(1 << 62);
        limits.piece_bytes = Some(piece_bytes(self.context));
        limits
    }

    fn compression(&self) -> Option<Compression> {
        let compresses = self.context.compresses.load(Ordering::Relaxed);
        Some(if compresses { Compression::new() } else { Compression::off() })
    }

    fn filter(&mut self, request: &Request<'_>) -> Decision {
        let Some(wsi) = self.context.of(request.id()) else { return Decision::refuse(503, "not known") };
        let Some(vhost) = self.context.vhost_of(request.listener()) else {
            return Decision::refuse(503, "no protocol");
        };
        let mut offers_any = false;
        let named = request.protocols().find_map(|name| {
            offers_any = true;
            Some((name, vhost.named(name)?))
        });
        let (name, protocol) = match named {
            Some((name, protocol)) => (Some(name), Some(protocol)),
            // A client that names none gets the first.
            None if !offers_any => (None, vhost.first()),
            None => (None, None),
        };
        let Some(protocol) = protocol else {
            return Decision::refuse(400, "none of these subprotocols is spoken here");
        };
        wsi.protocol.set(Some(protocol));
        let fields = match self.face.asked(wsi, protocol, request) {
            Ok(fields) => fields,
            Err(decision) => return decision,
        };
        let mut decision = Decision::accept();
        if !vhost.compresses.load(Ordering::Relaxed) {
            decision = decision.uncompressed();
        }
        if let Some(name) = name {
            decision = decision.subprotocol(name);
        }
        for (name, value) in fields {
            decision = match decision.header(Cow::Owned(name), Cow::Owned(value)) {
                Ok(decision) => decision,
                Err(error) => {
                    crate::log::err!("a field for the answer to a handshake is left out: {error}");
                    return Decision::refuse(500, "a field of the answer is not valid");
                }
            };
        }
        decision
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> &'static Wsi {
        let id = cx.id();
        let wsi = self.context.of(id).unwrap_or_else(|| {
            let wsi = Wsi::new(self.context, Phase::Accepted);
            wsi.protocol.set(self.context.first_vhost().and_then(|vhost| vhost.first()));
            self.context.add(wsi, id);
            wsi
        });
        let is_ending = || self.context.is_ending.load(Ordering::Relaxed);
        if is_ending() {
            // The program does not hear of its beginning any more.
            cx.close(CloseCode::GOING_AWAY);
            return wsi;
        }
        if cx.is_client() {
            let is_wanted = self.context.door.lend(cx, || self.face.agreed(wsi, handshake.subprotocol()));
            if !is_wanted || is_ending() {
                cx.abort();
                return wsi;
            }
        }
        wsi.rest().peer.get_or_insert_with(|| cx.peer().clone());
        wsi.set_phase(Phase::Open);
        wsi.make_session();
        let reason = if cx.is_client() { Reason::ClientEstablished } else { Reason::Established };
        if let Some(keepalive) = keepalive_of(self.context, wsi) {
            cx.set_keepalive(keepalive);
        }
        let told = self.tell(cx, wsi, reason, With::user_of(wsi));
        // No program looks at it any later.
        wsi.rest().head = None;
        if let Err(close) = told {
            cx.close(close);
        } else if wsi.wish.load(Ordering::Acquire) {
            // A wish of before it was open.
            cx.request_writable();
        }
        wsi
    }

    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut &'static Wsi, fragment: Fragment<'_>) -> Result<(), Close> {
        let wsi = *session;
        let bytes = fragment.payload.as_bytes();
        if self.gathers && (fragment.remaining > 0 || wsi.is_gathering.load(Ordering::Relaxed)) {
            if let Some(told) = self.gather(cx, wsi, &fragment) {
                return told;
            }
        }
        // A program may want less than the loop gives.
        let most = wsi.protocol.get().map_or(0, |protocol| protocol.piece_bytes.load(Ordering::Relaxed));
        if most > 0 && bytes.len() > most {
            return self.in_pieces(cx, wsi, &fragment, most);
        }
        self.piece(cx, wsi, &Piece::of(&fragment, bytes, fragment.first, 0))
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut &'static Wsi, tx: Tx<'_>) -> Result<(), Close> {
        let wsi = *session;
        let Some(tx) = send_queued(cx, wsi, tx) else {
            // The rest of the queue, and the program's wish, when there is room again.
            cx.request_writable();
            return Ok(());
        };
        if wsi.is_closing.load(Ordering::Relaxed) {
            // What was written before the close has left.
            let close = wsi.rest().close_behind.take();
            return close.map_or(Ok(()), Err);
        }
        let Some(protocol) = wsi.protocol.get() else { return Ok(()) };
        if self.context.is_ending.load(Ordering::Relaxed) || !wsi.wish.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let client = wsi.is_client.load(Ordering::Relaxed);
        let reason = if client { Reason::ClientWriteable } else { Reason::ServerWriteable };
        let (_, result) =
            self.context.door.lend_port(wsi, cx, Some(tx), || call(protocol, wsi, reason, With::user_of(wsi)));
        if result != 0 {
            return end(cx, wsi);
        }
        if wsi.queued.load(Ordering::Relaxed) > 0 {
            cx.request_writable();
        }
        Ok(())
    }

    fn closing(&mut self, cx: &mut Cx<'_>, session: &mut &'static Wsi, received: &Close) {
        let wsi = *session;
        let mut text = received.code().map_or(Vec::new(), |code| code.get().to_be_bytes().to_vec());
        text.extend_from_slice(received.reason().as_bytes());
        let len = text.len();
        text.push(0);
        let with = With::user_of(wsi).input(text.as_mut_ptr().cast(), len);
        // The close is under way whatever it answers.
        let _ = self.tell(cx, wsi, Reason::WsPeerInitiatedClose, with);
    }

    fn pong(&mut self, cx: &mut Cx<'_>, session: &mut &'static Wsi, payload: &[u8]) -> Result<(), Close> {
        let wsi = *session;
        let len = payload.len().min(PIECE_BYTES);
        self.scratch[ROOM..ROOM + len].copy_from_slice(&payload[..len]);
        self.scratch[ROOM + len] = 0;
        let input = self.scratch[ROOM..].as_mut_ptr().cast();
        let client = wsi.is_client.load(Ordering::Relaxed);
        let reason = if client { Reason::ClientReceivePong } else { Reason::ReceivePong };
        self.tell(cx, wsi, reason, With::user_of(wsi).input(input, len))
    }

    fn timer(&mut self, cx: &mut Cx<'_>, session: &mut &'static Wsi) -> Result<(), Close> {
        let wsi = *session;
        if let Some(close) = wsi.rest().close_behind.take() {
            // It waits behind the queue no longer: the peer does not read.
            return Err(close);
        }
        let now = Instant::now();
        let [is_over, is_timed] = wsi.take_due(now);
        if is_over {
            cx.abort();
            return Ok(());
        }
        if is_timed {
            self.tell(cx, wsi, Reason::Timer, With::user_of(wsi))?;
        }
        if let Some(next) = wsi.next_deadline() {
            cx.set_timer(next.saturating_duration_since(now));
        }
        Ok(())
    }

    fn ping_due(&mut self, cx: &mut Cx<'_>, session: &mut &'static Wsi) -> Option<ControlPayload> {
        if self.face.asks_with_pings() {
            session.wish.store(true, Ordering::Release);
            cx.request_writable();
        }
        ControlPayload::new(b"").ok()
    }

    fn failed(&mut self, own: &mut ProtocolMut<'_>, id: ConnId, failure: Failure) {
        let Some(wsi) = self.context.of(id) else { return };
        if let Some(protocol) = wsi.protocol.get() {
            let text = self.face.words(&failure);
            wsi.set_phase(Phase::Closed);
            self.context.door.lend(own, || tell_failed(protocol, wsi, &text));
        }
        self.context.forget(wsi);
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, wsi: &'static Wsi, _: Closed) {
        let was_open = wsi.is(Phase::Open);
        wsi.set_phase(Phase::Closed);
        let client = wsi.is_client.load(Ordering::Relaxed);
        if let Some(protocol) = wsi.protocol.get() {
            self.context.door.lend(cx, || match (was_open, client) {
                // The handshake was its last, so it never opened.
                (false, false) => self.face.ended(wsi),
                (false, true) => tell_failed(protocol, wsi, "HS: Rejected by filter cb"),
                (true, _) => {
                    let (dropped, closed) = if client {
                        (Reason::WsClientDropProtocol, Reason::ClientClosed)
                    } else {
                        (Reason::WsServerDropProtocol, Reason::Closed)
                    };
                    call(protocol, wsi, dropped, With::dropped(wsi));
                    call(protocol, wsi, closed, With::user_of(wsi));
                    tell_destroyed(protocol, wsi);
                }
            });
        }
        self.context.forget(wsi);
    }
}
