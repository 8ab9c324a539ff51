//! Receiving: turns frames into events, decoded in place. Independent of sending.
//!
//! [`Connection::receive`] has a fast path for an unfragmented message that has arrived whole, and
//! a general path for everything else. The general path must report the same events for such
//! messages too: the tests run every stream through both.

use super::close_handshake::{check_body_start, parse_body};
use super::connection::Connection;
use super::control::ControlPayload;
use super::receiver::Stage;
use super::state::State;
use crate::buf::Input;
use crate::error::Violation;
use crate::event::{Event, Fragment, Payload, PieceInPlace};
use crate::wire::{COMPRESSED, FrameHeader, MAX_CONTROL_BYTES, MessageKind, OpCode, Parsed, WholeFrame, mask, utf8};

impl Connection {
    /// The next event in `input`, or `None` when the input is used up.
    ///
    /// Call it with the same input until it returns `None`. The connection keeps an unfinished
    /// header, control frame or code point at the end of the input; everything else has been
    /// reported.
    ///
    /// # Errors
    /// The peer broke a rule or exceeded a limit. A Close frame with the matching code is queued.
    /// This input and all later input is discarded, and the error is reported once.
    ///
    /// # Panics
    /// The input has fewer than [`HEADROOM`](super::HEADROOM) free bytes before its data, and the
    /// connection needed them.
    // Always inlined, with everything on the fast path: otherwise a caller that uses it in two
    // places gets calls instead.
    #[inline(always)]
    pub fn receive<'b>(&mut self, input: &mut Input<'b>) -> Result<Option<Event<'b>>, Violation> {
        match self.receive_whole(input) {
            Some(payload) => Ok(Some(Event::Fragment(Fragment::whole(payload?)))),
            None => self.receive_other(input),
        }
    }

    /// The next message, if it is an unfragmented one that has arrived whole: [`receive`](Self::receive) in the usual case, for
    /// callers that deliver such messages in a way of their own. `None`: it is to be asked for the next event.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    #[inline(always)]
    pub fn receive_whole<'b>(&mut self, input: &mut Input<'b>) -> Option<Result<Payload<'b>, Violation>> {
        if self.receiver.stage != Stage::Idle {
            return None;
        }
        self.whole_within(input, self.limits.message_bytes)
    }

    /// What is not received by the fast path: a message that is one piece where pieces are limited, or anything else. Neither is
    /// in the fast path, so that where pieces may have any length nothing is asked about them.
    #[inline(never)]
    fn receive_other<'b>(&mut self, input: &mut Input<'b>) -> Result<Option<Event<'b>>, Violation> {
        if self.receiver.stage == Stage::IdleInPieces {
            let most = self.receiver.most(self.limits.piece_bytes);
            if let Some(payload) = self.whole_within(input, self.limits.message_bytes.min(most as u64)) {
                return Ok(Some(Event::Fragment(Fragment::whole(payload?))));
            }
        }
        self.receive_any(input)
    }

    #[inline(always)]
    fn whole_within<'b>(&mut self, input: &mut Input<'b>, most: u64) -> Option<Result<Payload<'b>, Violation>> {
        let whole = WholeFrame::of(input.data(), self.role)?;
        if whole.len as u64 > most {
            return None;
        }
        let bytes = input.take_after(whole.header_len, whole.len);
        mask::xor(bytes, whole.key, input.mask());
        Some(Ok(match whole.kind {
            MessageKind::Binary => Payload::Binary(bytes),
            MessageKind::Text => match utf8::check(bytes) {
                Ok(text) => Payload::Text(text),
                Err(_) => return Some(Err(self.violated(input, Violation::TextNotUtf8))),
            },
        }))
    }

    /// The general path: any frame, cut anywhere.
    #[inline(never)]
    pub(super) fn receive_any<'b>(&mut self, input: &mut Input<'b>) -> Result<Option<Event<'b>>, Violation> {
        loop {
            let step = match self.receiver.stage {
                Stage::Discard => {
                    input.clear();
                    return Ok(None);
                }
                Stage::Payload if self.receiver.is_compressed => match self.next_compressed(input) {
                    Some(event) => return Ok(Some(event)),
                    None if input.is_empty() => return Ok(None),
                    None => continue,
                },
                _ if input.is_empty() => return Ok(None),
                Stage::Tail => {
                    input.prepend(self.receiver.tail.bytes());
                    self.receiver.tail.clear();
                    self.receiver.between_frames(self.limits.piece_bytes);
                    continue;
                }
                Stage::Idle | Stage::IdleInPieces | Stage::Header => self.receive_frame(input),
                Stage::Payload => self.receive_piece(input),
            };
            match step {
                Ok(None) => {}
                Ok(event) => return Ok(event),
                Err(violation) => return Err(self.violated(input, violation)),
            }
        }
    }

    #[cold]
    fn violated(&mut self, input: &mut Input<'_>, violation: Violation) -> Violation {
        input.clear();
        self.fail(violation);
        violation
    }

    /// Receives a frame from its header on. `None`: it is incomplete, or there is nothing to
    /// report.
    fn receive_frame<'b>(&mut self, input: &mut Input<'b>) -> Result<Option<Event<'b>>, Violation> {
        let parsed = FrameHeader::parse(input.data(), self.role, self.allowed_rsv())
            .map_err(|found| self.first_violation(input, found))?;
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
                if self.receiver.is_compressed { Ok(self.next_compressed(input)) } else { self.receive_piece(input) }
            }
        }
    }

    /// The reserved bits that negotiated extensions define. RFC 7692 section 6: "This document allocates the RSV1 bit of the
    /// WebSocket header for PMCEs and calls the bit the "Per-Message Compressed" bit."
    fn allowed_rsv(&self) -> u8 {
        if self.deflate.is_some() { COMPRESSED } else { 0 }
    }

    /// What there is to do in a frame of a compressed message. `None`: its bytes have not arrived, or they are dropped since
    /// the application has closed.
    fn next_compressed(&mut self, input: &mut Input<'_>) -> Option<Event<'static>> {
        let receiver = &mut self.receiver;
        if receiver.ignores_data {
            let count = usize::try_from(receiver.remaining).map_or(input.len(), |remaining| remaining.min(input.len()));
            input.skip(count);
            receiver.remaining -= count as u64;
            receiver.end_piece(self.limits.piece_bytes);
            return None;
        }
        let is_possible = !input.is_empty() || receiver.has_more || receiver.remaining == 0;
        is_possible.then_some(Event::Compressed)
    }

    /// Whether the payload of a data frame has begun and not ended.
    #[must_use]
    #[inline]
    pub fn is_mid_frame(&self) -> bool {
        self.receiver.stage == Stage::Payload
    }

    /// Whether something of a compressed message can be inflated before more of it arrives: [`receive`](Self::receive) returns
    /// [`Event::Compressed`] for an empty input. For callers that stop in the middle and ask later whether to go on.
    #[must_use]
    pub fn has_more(&self) -> bool {
        let receiver = &self.receiver;
        receiver.stage == Stage::Payload
            && receiver.is_compressed
            && !receiver.ignores_data
            && (receiver.has_more || receiver.remaining == 0)
    }

    /// The violation to report for a header in which `found` is wrong. A frame out of order shows
    /// in its first byte, so it takes precedence over a violation in a later byte.
    #[cold]
    fn first_violation(&self, input: &Input<'_>, found: Violation) -> Violation {
        let start = input.data().get(..1).unwrap_or_default();
        match (FrameHeader::parse(start, self.role, self.allowed_rsv()), start.first()) {
            (Ok(_), Some(&first)) => {
                let order = OpCode::of_first_byte(first).map(|opcode| self.receiver.check_sequence(opcode));
                order.and_then(Result::err).unwrap_or(found)
            }
            _ => found,
        }
    }

    /// Keeps the rest of the input, an unfinished header or control frame, for the next one.
    fn keep_tail(&mut self, input: &mut Input<'_>) {
        self.receiver.tail.keep(input.data());
        self.receiver.stage = Stage::Tail;
        input.clear();
    }

    /// Starts a data frame. Refuses it by its header alone if it is out of order or exceeds a
    /// limit.
    fn begin_frame(&mut self, header: &FrameHeader) -> Result<(), Violation> {
        let receiver = &mut self.receiver;
        receiver.check_sequence(header.opcode)?;
        // RFC 6455 section 10.4: "Implementations that have implementation- and/or
        // platform-specific limitations regarding the frame size or total message size after
        // reassembly from multiple frames MUST protect themselves against exceeding those limits."
        // `message` is 0 for a new one. The limit may have become lower since the message began.
        let new = header.opcode != OpCode::Continuation;
        let is_compressed = if new { header.rsv & COMPRESSED != 0 } else { receiver.is_compressed };
        let message_bytes = self.limits.message_bytes;
        let most = if is_compressed { most_compressed(message_bytes) } else { message_bytes };
        if header.len > most.saturating_sub(receiver.message) {
            return Err(Violation::MessageTooBig);
        }
        if !(new && header.fin) && header.len < self.limits.tiny_fragment_bytes {
            if receiver.tiny >= self.limits.tiny_fragments {
                return Err(Violation::FragmentsTooTiny);
            }
            receiver.tiny += 1;
        }
        if new {
            receiver.kind = Some(if header.opcode == OpCode::Text { MessageKind::Text } else { MessageKind::Binary });
            receiver.first = true;
            receiver.is_compressed = is_compressed;
        }
        receiver.message += header.len;
        receiver.remaining = header.len;
        receiver.key = header.mask.map_or(0, u32::from_le_bytes);
        receiver.fin = header.fin;
        receiver.stage = Stage::Payload;
        Ok(())
    }

    /// Receives what has arrived of the current data frame, which is nothing if the frame is empty.
    fn receive_piece<'b>(&mut self, input: &mut Input<'b>) -> Result<Option<Event<'b>>, Violation> {
        let receiver = &mut self.receiver;
        let most = input.len().min(receiver.most(self.limits.piece_bytes));
        let count = usize::try_from(receiver.remaining).map_or(most, |remaining| remaining.min(most));
        if count == 0 && receiver.remaining > 0 {
            return Ok(None);
        }
        let long = input.mask();
        receiver.unmask(&mut input.data_mut()[..count], long);
        let remaining = receiver.remaining;
        let last = remaining == 0 && receiver.fin;
        let first = receiver.first;
        let payload = match receiver.kind {
            Some(MessageKind::Text) => Payload::Text(receiver.take_text(input, count, last)?),
            _ => Payload::Binary(input.take(count)),
        };
        let kind = payload.kind();
        receiver.end_piece(self.limits.piece_bytes);
        if !last && payload.as_bytes().is_empty() {
            return Ok(None);
        }
        receiver.first = false;
        // RFC 6455 section 1.4: "After sending a control frame indicating the connection should be
        // closed, a peer does not send any further data". The application has closed, so what still
        // arrives is not reported.
        if receiver.ignores_data {
            return Ok(None);
        }
        Ok(Some(Event::Fragment(Fragment { kind, first, last, remaining, payload })))
    }

    /// How many bytes of a frame of binary data have not arrived, if [`receive_in_place`](Self::receive_in_place) can receive
    /// them, and 0 if not: between frames, before the first piece of a message is reported, with a limit of
    /// [`piece_bytes`](crate::limits::ProtocolLimits::piece_bytes), once the application has closed, and for text, which is
    /// checked as it arrives.
    #[must_use]
    #[inline]
    pub fn missing_in_place(&self) -> u64 {
        let receiver = &self.receiver;
        let is_possible = receiver.stage == Stage::Payload
            && receiver.kind == Some(MessageKind::Binary)
            && !receiver.first
            && !receiver.is_compressed
            && !receiver.ignores_data
            && self.limits.piece_bytes.is_none();
        if is_possible { receiver.remaining } else { 0 }
    }

    /// Receives the next payload bytes of a frame of binary data where they are: a caller that collects a long message reads
    /// them to their final place. [`receive`](Self::receive) reports no event for them.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use sockeye_proto::conn::{Connection, HEADROOM, Input};
    /// use sockeye_proto::{limits::ProtocolLimits, time::Instant, wire::Role};
    ///
    /// let mut connection = Connection::new(Role::Client, Arc::new(ProtocolLimits::default()), Instant::from_nanos(0));
    /// let mut arrived = [&[0; HEADROOM][..], b"\x82\x0bhello"].concat();
    /// let mut input = Input::new(&mut arrived, HEADROOM);
    /// assert!(connection.receive(&mut input)?.is_some());
    ///
    /// let mut message = b"hello".to_vec();
    /// assert_eq!(connection.missing_in_place(), 6);
    /// message.extend_from_slice(b" world"); // from the socket
    /// let piece = connection.receive_in_place(Input::new(&mut message, 5));
    /// assert_eq!((piece.remaining, piece.last), (0, true));
    /// assert!(piece.end().is_some_and(|end| end.last && end.payload.as_bytes().is_empty()));
    /// # Ok::<(), sockeye_proto::error::Violation>(())
    /// ```
    ///
    /// # Panics
    /// There are more bytes than [`missing_in_place`](Self::missing_in_place) says.
    pub fn receive_in_place(&mut self, mut input: Input<'_>) -> PieceInPlace {
        let (missing, long) = (self.missing_in_place(), input.mask());
        let bytes = input.data_mut();
        assert!(bytes.len() as u64 <= missing, "bytes beyond the frame");
        if bytes.is_empty() {
            return PieceInPlace { bytes: 0, remaining: missing, last: false };
        }
        let receiver = &mut self.receiver;
        receiver.unmask(bytes, long);
        let (remaining, last) = (receiver.remaining, receiver.remaining == 0 && receiver.fin);
        receiver.end_piece(self.limits.piece_bytes);
        PieceInPlace { bytes: bytes.len(), remaining, last }
    }

    /// Receives a control frame. RFC 6455 section 5.4: "An endpoint MUST be capable of handling
    /// control frames in the middle of a fragmented message."
    fn receive_control<'b>(
        &mut self,
        input: &mut Input<'b>,
        header: &FrameHeader,
        header_len: usize,
    ) -> Result<Option<Event<'b>>, Violation> {
        // At most 125.
        let len = header.len as usize;
        // Section 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte
        // unsigned integer".
        if header.opcode == OpCode::Close && len == 1 {
            return Err(Violation::CloseCodeCut);
        }
        let key = header.mask.unwrap_or_default();
        if input.len() - header_len < len {
            if header.opcode == OpCode::Close {
                check_partial_close(&input.data()[header_len..], key)?;
            }
            self.keep_tail(input);
            return Ok(None);
        }
        input.skip(header_len);
        mask::apply(&mut input.data_mut()[..len], key, 0);
        let body: &'b [u8] = input.take_leaving(len, usize::from(self.receiver.carry_len));
        match header.opcode {
            OpCode::Close => {
                let frame = parse_body(body)?;
                self.take_close(frame);
                input.clear();
                Ok(Some(Event::Close(frame)))
            }
            OpCode::Ping => {
                self.answer_ping(body);
                Ok(Some(Event::Ping(body)))
            }
            // Section 5.5.3: "A Pong frame MAY be sent unsolicited. This serves as a unidirectional
            // heartbeat. A response to an unsolicited Pong frame is not expected."
            _ => Ok(Some(Event::Pong(body))),
        }
    }

    fn answer_ping(&mut self, payload: &[u8]) {
        // RFC 6455 section 5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame
        // in response, unless it already received a Close frame." Section 5.5.3: "A Pong frame sent
        // in response to a Ping frame must have identical "Application data" as found in the
        // message body of the Ping frame being replied to. If an endpoint receives a Ping frame and
        // has not yet sent Pong frame(s) in response to previous Ping frame(s), the endpoint MAY
        // elect to send a Pong frame for only the most recently processed Ping frame."
        debug_assert!(self.state < State::Draining);
        self.control.set_pong(ControlPayload::new(payload).unwrap_or_default());
    }
}

/// Refuses an unfinished Close frame at its first bad byte.
#[cold]
fn check_partial_close(masked: &[u8], key: [u8; 4]) -> Result<(), Violation> {
    let mut body = [0; MAX_CONTROL_BYTES];
    let body = &mut body[..masked.len()];
    body.copy_from_slice(masked);
    mask::apply(body, key, 0);
    check_body_start(body)
}

/// How many bytes of a compressed message may arrive: what its limit inflated is, and as much more as the fixed codes of
/// DEFLATE make of it at worst (9 bits a byte), since compressed data need not be shorter.
fn most_compressed(message_bytes: u64) -> u64 {
    message_bytes.saturating_add(message_bytes / 8).saturating_add(COMPRESSED_SLACK)
}

/// For the blocks of a short message.
const COMPRESSED_SLACK: u64 = 64;
