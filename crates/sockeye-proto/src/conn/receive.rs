//! Receiving: frames to events, decoded in place. What is sent is of no concern here.
//!
//! [`Connection::receive`] has a fast way for a whole message in one frame that is all there, and a general way for everything.
//! The general way must give the same events for these too: the tests run every stream both ways.
//!
//! Where the bytes of an unfinished thing are between two calls:
//!
//! * an unfinished header or control frame: in `tail`, as received, and put back before the next input;
//! * an unfinished code point: in `carry`, decoded, and put right before the next text payload, over whatever stood there (at
//!   least two bytes of header or as much room as the carry itself, see [`Input::take_leaving`]);
//! * an unfinished data frame: nowhere, it was handed out piece by piece.

use super::closing::{check_body_start, parse_body};
use super::{Connection, ControlPayload, Input, State};
use crate::buf::Tail;
use crate::error::Violation;
use crate::event::{Event, Fragment, Payload};
use crate::wire::{FrameHeader, MAX_CONTROL_BYTES, MessageKind, OpCode, Parsed, WholeFrame, mask, utf8};

/// Reserved bits that extensions gave a meaning: none yet.
const ALLOWED_RSV: u8 = 0;

/// What receiving keeps between two calls.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    /// Payload bytes of the current data frame that have not arrived; above 0 exactly if `stage` is `Payload`.
    remaining: u64,
    /// Payload bytes of the unfinished message that its headers so far have announced: `message <= ProtocolLimits::message_bytes`.
    message: u64,
    tail: Tail,
    /// The masking key of the current data frame, turned so that its lowest byte meets the next payload byte.
    key: u32,
    /// Tiny fragments of the unfinished message: `tiny <= ProtocolLimits::tiny_fragments`.
    tiny: u32,
    /// The decoded beginning of a code point: `carry[..carry_len]`, `carry_len <= 3`.
    carry: [u8; 3],
    carry_len: u8,
    stage: Stage,
    /// The kind of the message in progress.
    kind: Option<MessageKind>,
    /// No piece of the message in progress was delivered yet.
    first: bool,
    /// The current data frame is the last of its message.
    fin: bool,
    /// Our Close frame is queued: data is checked and dropped.
    ignores_data: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    /// A header is next, and nothing is unusual: no unfinished message, no Close frame of ours.
    #[default]
    Idle,
    /// A header is next.
    Header,
    /// A header or control frame is next, and its beginning is in the tail.
    Tail,
    /// Payload of a data frame is next.
    Payload,
    /// Nothing is received any more.
    Discard,
}

impl Receiver {
    pub(super) fn ignore_data(&mut self) {
        self.ignores_data = true;
        if self.stage == Stage::Idle {
            self.stage = Stage::Header;
        }
    }

    pub(super) fn discard(&mut self) {
        self.stage = Stage::Discard;
        self.tail.clear();
    }
}

impl Connection {
    /// The next event in `input`, or `None` when it is used up.
    ///
    /// Call it with the same input until it says `None`. An unfinished header, control frame or code point at the end of the
    /// input is kept by the connection; anything else has been handed out.
    ///
    /// # Errors
    /// The peer broke a rule, or a limit. The Close frame that says so is queued, and this and all further input is discarded;
    /// the error is reported once.
    ///
    /// # Panics
    /// The input has fewer than [`HEADROOM`](super::HEADROOM) free bytes before its data, and they were needed.
    // Always, with what the fast way is made of: a caller that has it in two places would else call it, and each of these.
    #[inline(always)]
    pub fn receive<'b>(&mut self, input: &mut Input<'b>) -> Result<Option<Event<'b>>, Violation> {
        if self.receiver.stage == Stage::Idle {
            if let Some(whole) = WholeFrame::of(input.data(), self.role) {
                if whole.len as u64 <= self.limits.message_bytes {
                    return self.receive_whole(input, &whole);
                }
            }
        }
        self.receive_any(input)
    }

    /// An unfragmented message that is all there. Leaves no trace in the connection.
    #[inline(always)]
    fn receive_whole<'b>(&mut self, input: &mut Input<'b>, whole: &WholeFrame) -> Result<Option<Event<'b>>, Violation> {
        let bytes = input.take_after(whole.header_len, whole.len);
        mask::xor(bytes, whole.key);
        let payload = match whole.kind {
            MessageKind::Binary => Payload::Binary(bytes),
            MessageKind::Text => match utf8::check(bytes) {
                Ok(text) => Payload::Text(text),
                Err(_) => return self.violated(input, Violation::TextNotUtf8),
            },
        };
        Ok(Some(Event::Fragment(Fragment { kind: whole.kind, first: true, last: true, remaining: 0, payload })))
    }

    /// The general way: anything, cut anywhere.
    #[inline(never)]
    pub(super) fn receive_any<'b>(&mut self, input: &mut Input<'b>) -> Result<Option<Event<'b>>, Violation> {
        loop {
            let step = match self.receiver.stage {
                Stage::Discard => {
                    input.clear();
                    return Ok(None);
                }
                _ if input.is_empty() => return Ok(None),
                Stage::Tail => {
                    input.prepend(self.receiver.tail.bytes());
                    self.receiver.tail.clear();
                    self.receiver.between_frames();
                    continue;
                }
                Stage::Idle | Stage::Header => self.receive_frame(input),
                Stage::Payload => self.receive_piece(input),
            };
            match step {
                Ok(None) => {}
                Ok(event) => return Ok(event),
                Err(violation) => return self.violated(input, violation),
            }
        }
    }

    #[cold]
    fn violated<'b>(&mut self, input: &mut Input<'b>, violation: Violation) -> Result<Option<Event<'b>>, Violation> {
        input.clear();
        self.fail(violation);
        Err(violation)
    }

    /// A frame from its header on. Without an event: it was not complete, or has nothing to tell.
    fn receive_frame<'b>(&mut self, input: &mut Input<'b>) -> Result<Option<Event<'b>>, Violation> {
        let parsed =
            FrameHeader::parse(input.data(), self.role, ALLOWED_RSV).map_err(|found| self.earlier(input, found))?;
        match parsed {
            Parsed::NeedMore(_) => {
                if let Some(opcode) = input.data().first().and_then(|&first| OpCode::of_first_byte(first)) {
                    self.receiver.check_sequence(opcode)?;
                }
                self.keep_tail(input);
                Ok(None)
            }
            Parsed::Complete(header, header_len) if header.opcode.is_control() => {
                self.receive_control(input, &header, header_len)
            }
            Parsed::Complete(header, header_len) => {
                self.begin_frame(&header)?;
                input.skip(header_len);
                self.receive_piece(input)
            }
        }
    }

    /// The order of frames is judged by the first byte alone, so that it comes before what is wrong with later bytes.
    #[cold]
    fn earlier(&self, input: &Input<'_>, found: Violation) -> Violation {
        let start = input.data().get(..1).unwrap_or_default();
        match (FrameHeader::parse(start, self.role, ALLOWED_RSV), start.first()) {
            (Ok(_), Some(&first)) => {
                let order = OpCode::of_first_byte(first).map(|opcode| self.receiver.check_sequence(opcode));
                order.and_then(Result::err).unwrap_or(found)
            }
            _ => found,
        }
    }

    fn keep_tail(&mut self, input: &mut Input<'_>) {
        self.receiver.tail.keep(input.data());
        self.receiver.stage = Stage::Tail;
        input.clear();
    }

    /// Takes note of a data frame, and refuses it by its header alone if it is out of order or over a limit.
    fn begin_frame(&mut self, header: &FrameHeader) -> Result<(), Violation> {
        let receiver = &mut self.receiver;
        receiver.check_sequence(header.opcode)?;
        // RFC 6455 section 10.4: "Implementations that have implementation- and/or platform-specific limitations
        // regarding the frame size or total message size after reassembly from multiple frames MUST protect themselves
        // against exceeding those limits." `message` is at most `message_bytes` and 0 for a new one.
        if header.len > self.limits.message_bytes - receiver.message {
            return Err(Violation::MessageTooBig);
        }
        let new = header.opcode != OpCode::Continuation;
        if !(new && header.fin) && header.len < self.limits.tiny_fragment_bytes {
            if receiver.tiny >= self.limits.tiny_fragments {
                return Err(Violation::FragmentsTooTiny);
            }
            receiver.tiny += 1;
        }
        if new {
            receiver.kind = Some(if header.opcode == OpCode::Text { MessageKind::Text } else { MessageKind::Binary });
            receiver.first = true;
        }
        receiver.message += header.len;
        receiver.remaining = header.len;
        receiver.key = header.mask.map_or(0, u32::from_le_bytes);
        receiver.fin = header.fin;
        receiver.stage = Stage::Payload;
        Ok(())
    }

    /// What is there of the current data frame, which may be nothing if the frame is empty.
    fn receive_piece<'b>(&mut self, input: &mut Input<'b>) -> Result<Option<Event<'b>>, Violation> {
        let receiver = &mut self.receiver;
        let count = usize::try_from(receiver.remaining).map_or(input.len(), |remaining| remaining.min(input.len()));
        if count == 0 && receiver.remaining > 0 {
            return Ok(None);
        }
        mask::xor(&mut input.data_mut()[..count], receiver.key);
        receiver.key = mask::rotate(receiver.key, count);
        receiver.remaining -= count as u64;
        let remaining = receiver.remaining;
        let last = remaining == 0 && receiver.fin;
        let first = receiver.first;
        let payload = match receiver.kind {
            Some(MessageKind::Text) => Payload::Text(receiver.take_text(input, count, last)?),
            _ => Payload::Binary(input.take(count)),
        };
        let kind = payload.kind();
        if last {
            receiver.kind = None;
            receiver.message = 0;
            receiver.tiny = 0;
        }
        if remaining == 0 {
            receiver.between_frames();
        }
        if !last && payload.as_bytes().is_empty() {
            return Ok(None);
        }
        receiver.first = false;
        // RFC 6455 section 1.4: "After sending a control frame indicating the connection should be closed, a peer does
        // not send any further data"; what still arrives has nobody to go to.
        if receiver.ignores_data {
            return Ok(None);
        }
        Ok(Some(Event::Fragment(Fragment { kind, first, last, remaining, payload })))
    }

    /// A control frame. RFC 6455 section 5.4: "An endpoint MUST be capable of handling control frames in the middle of
    /// a fragmented message."
    fn receive_control<'b>(
        &mut self,
        input: &mut Input<'b>,
        header: &FrameHeader,
        header_len: usize,
    ) -> Result<Option<Event<'b>>, Violation> {
        // At most 125.
        let len = header.len as usize;
        // Section 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer".
        if header.opcode == OpCode::Close && len == 1 {
            return Err(Violation::CloseCodeCut);
        }
        let key = header.mask.map_or(0, u32::from_le_bytes);
        if input.len() - header_len < len {
            if header.opcode == OpCode::Close {
                check_partial_close(&input.data()[header_len..], key)?;
            }
            self.keep_tail(input);
            return Ok(None);
        }
        input.skip(header_len);
        mask::xor(&mut input.data_mut()[..len], key);
        let body: &'b [u8] = input.take_leaving(len, usize::from(self.receiver.carry_len));
        match header.opcode {
            OpCode::Close => {
                let frame = parse_body(body)?;
                self.close_received(frame);
                input.clear();
                Ok(Some(Event::Close(frame)))
            }
            OpCode::Ping => {
                self.answer_ping(body);
                Ok(Some(Event::Ping(body)))
            }
            // Section 5.5.3: "A Pong frame MAY be sent unsolicited. This serves as a unidirectional heartbeat. A response to an
            // unsolicited Pong frame is not expected."
            _ => Ok(Some(Event::Pong(body))),
        }
    }

    fn answer_ping(&mut self, payload: &[u8]) {
        // RFC 6455 section 5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response, unless
        // it already received a Close frame." Section 5.5.3: "A Pong frame sent in response to a Ping frame must have
        // identical "Application data" as found in the message body of the Ping frame being replied to. If an endpoint
        // receives a Ping frame and has not yet sent Pong frame(s) in response to previous Ping frame(s), the endpoint
        // MAY elect to send a Pong frame for only the most recently processed Ping frame."
        debug_assert!(self.state < State::Draining);
        self.control.pong.set(ControlPayload::new(payload).unwrap_or_default());
    }
}

impl Receiver {
    fn between_frames(&mut self) {
        self.stage = if self.kind.is_none() && !self.ignores_data { Stage::Idle } else { Stage::Header };
    }

    #[inline]
    fn check_sequence(&self, opcode: OpCode) -> Result<(), Violation> {
        // RFC 6455 section 5.4: "A fragmented message consists of a single frame with the FIN bit clear and an opcode
        // other than 0, followed by zero or more frames with the FIN bit clear and the opcode set to 0, and terminated
        // by a single frame with the FIN bit set and an opcode of 0."
        match (opcode, self.kind) {
            (OpCode::Continuation, None) => Err(Violation::ContinuationUnexpected),
            (OpCode::Text | OpCode::Binary, Some(_)) => Err(Violation::MessageUnfinished),
            _ => Ok(()),
        }
    }

    /// The next `count` bytes, decoded already, as text: after the carry, and without an unfinished code point, the new carry.
    ///
    /// ```text
    ///  before  ├──room──┤├──────── count ────────┤├─rest─┤
    ///              ├carry┤                                    written into the room
    ///              ├──────── text ─────────┤├new─┤├─rest─┤    the new carry's bytes become room
    /// ```
    fn take_text<'b>(&mut self, input: &mut Input<'b>, count: usize, last: bool) -> Result<&'b str, Violation> {
        let old = usize::from(self.carry_len);
        if old > 0 {
            if count == 0 && !last {
                return Ok("");
            }
            input.prepend(&self.carry[..old]);
        }
        let bytes = &input.data()[..old + count];
        // RFC 6455 section 5.6: "Note that a particular text frame might include a partial UTF-8 sequence; however, the
        // whole message MUST contain valid UTF-8." So that nothing is set aside at its end.
        let new = if last { 0 } else { utf8::unfinished(bytes) };
        let text_len = bytes.len() - new;
        let start = &bytes[text_len..];
        utf8::check_start(start).map_err(|_| Violation::TextNotUtf8)?;
        self.carry[..new].copy_from_slice(start);
        // At most 3.
        self.carry_len = new as u8;
        let text = utf8::check(input.take(text_len)).map_err(|_| Violation::TextNotUtf8)?;
        input.skip(new);
        Ok(text)
    }
}

/// Fails an unfinished Close frame at its first bad byte.
#[cold]
fn check_partial_close(masked: &[u8], key: u32) -> Result<(), Violation> {
    let mut body = [0; MAX_CONTROL_BYTES];
    let body = &mut body[..masked.len()];
    body.copy_from_slice(masked);
    mask::xor(body, key);
    check_body_start(body)
}
