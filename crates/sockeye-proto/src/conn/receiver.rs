//! What receiving keeps between two calls, and text that is cut inside a code point.

use crate::buf::{Input, Tail};
use crate::error::Violation;
use crate::wire::mask::{self, LongMask};
use crate::wire::{MessageKind, OpCode, utf8};

/// What receiving keeps between two calls.
///
/// Where the bytes of unfinished things are between two inputs:
///
/// * an unfinished header or control frame: in `tail`, as received. It is put back before the next
///   input.
/// * an unfinished code point: in `carry`, unmasked. It is put right before the next text payload,
///   over the bytes there (at least two bytes of header, or as much room as the carry needs, see
///   [`Input::take_leaving`]).
/// * an unfinished data frame: nowhere. It is reported piece by piece.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    /// Payload bytes of the current data frame that have not arrived, and of a compressed message those that have not been
    /// inflated. Above 0 exactly if `stage` is `Payload`, unless the message is compressed: then its frame ends after what
    /// the codec makes of the last byte.
    pub(super) remaining: u64,
    /// Payload bytes that the headers of the unfinished message have announced so far;
    /// `message <= ProtocolLimits::message_bytes`, or a little more than that if it is compressed.
    pub(super) message: u64,
    pub(super) tail: Tail,
    /// The masking key of the current data frame, rotated so that its lowest byte applies to the
    /// next payload byte.
    pub(super) key: u32,
    /// Tiny fragments of the unfinished message; `tiny <= ProtocolLimits::tiny_fragments`.
    pub(super) tiny: u32,
    /// The unmasked beginning of a code point: `carry[..carry_len]`; `carry_len <= 3`.
    carry: [u8; 3],
    pub(super) carry_len: u8,
    pub(super) stage: Stage,
    /// The kind of the message in progress.
    pub(super) kind: Option<MessageKind>,
    /// No piece of the message in progress has been reported.
    pub(super) first: bool,
    /// The current data frame is the last of its message.
    pub(super) fin: bool,
    /// Our Close frame is queued, so data is checked and dropped.
    pub(super) ignores_data: bool,
    /// The message in progress is compressed.
    pub(super) is_compressed: bool,
    /// More of what has arrived of it may be inflated without further bytes.
    pub(super) has_more: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Stage {
    /// A header is next, there is no unfinished message, our Close frame is not queued, and pieces may have any length: the
    /// fast path may run.
    #[default]
    Idle,
    /// As `Idle`, but a piece may not be longer than [`ProtocolLimits::piece_bytes`](crate::limits::ProtocolLimits::piece_bytes):
    /// the fast path is for messages that are one piece.
    IdleInPieces,
    /// A header is next.
    Header,
    /// A header or control frame is next, and its beginning is in `tail`.
    Tail,
    /// The payload of a data frame is next.
    Payload,
    /// All input is discarded.
    Discard,
}

impl Receiver {
    /// `piece_bytes`: [`ProtocolLimits::piece_bytes`](crate::limits::ProtocolLimits::piece_bytes).
    pub(super) fn new(piece_bytes: Option<usize>) -> Self {
        let mut new = Self::default();
        new.between_frames(piece_bytes);
        new
    }

    /// The longest piece that is reported is another from now on.
    pub(super) fn pieces_change(&mut self, piece_bytes: Option<usize>) {
        if matches!(self.stage, Stage::Idle | Stage::IdleInPieces | Stage::Header) {
            self.between_frames(piece_bytes);
        }
    }

    /// How many bytes may be taken for the next piece. A carry is reported with them; it is shorter than the least limit.
    pub(super) fn most(&self, piece_bytes: Option<usize>) -> usize {
        piece_bytes.map_or(usize::MAX, |most| most.max(LONGEST_CODE_POINT) - usize::from(self.carry_len))
    }

    /// Data is checked and dropped from now on.
    pub(super) fn ignore_data(&mut self) {
        self.ignores_data = true;
        self.has_more = false;
        if matches!(self.stage, Stage::Idle | Stage::IdleInPieces) {
            self.stage = Stage::Header;
        }
    }

    /// All input is discarded from now on.
    pub(super) fn discard(&mut self) {
        self.stage = Stage::Discard;
        self.tail.clear();
    }

    /// Unmasks the next payload bytes of the current frame, and counts them.
    #[inline]
    pub(super) fn unmask(&mut self, bytes: &mut [u8], long: LongMask) {
        mask::xor(bytes, self.key, long);
        self.key = mask::rotate(self.key, bytes.len());
        self.remaining -= bytes.len() as u64;
    }

    /// What follows a piece: more of its frame, or the next header.
    #[inline]
    pub(super) fn end_piece(&mut self, piece_bytes: Option<usize>) {
        if self.remaining == 0 {
            if self.fin {
                self.kind = None;
                self.is_compressed = false;
                self.message = 0;
                self.tiny = 0;
            }
            self.between_frames(piece_bytes);
        }
    }

    /// A frame has ended: sets the stage for the next header.
    pub(super) fn between_frames(&mut self, piece_bytes: Option<usize>) {
        let is_fast = self.kind.is_none() && !self.ignores_data;
        self.stage = match piece_bytes {
            None if is_fast => Stage::Idle,
            Some(_) if is_fast => Stage::IdleInPieces,
            _ => Stage::Header,
        };
    }

    /// Checks that a frame with `opcode` may come next.
    #[inline]
    pub(super) fn check_sequence(&self, opcode: OpCode) -> Result<(), Violation> {
        // RFC 6455 section 5.4: "A fragmented message consists of a single frame with the FIN bit
        // clear and an opcode other than 0, followed by zero or more frames with the FIN bit clear
        // and the opcode set to 0, and terminated by a single frame with the FIN bit set and an
        // opcode of 0."
        match (opcode, self.kind) {
            (OpCode::Continuation, None) => Err(Violation::ContinuationUnexpected),
            (OpCode::Text | OpCode::Binary, Some(_)) => Err(Violation::MessageUnfinished),
            _ => Ok(()),
        }
    }

    /// The next `count` bytes, already unmasked, as text. The carry goes before them; an unfinished
    /// code point at their end becomes the new carry.
    ///
    /// ```text
    ///  before  ├──room──┤├──────── count ────────┤├─rest─┤
    ///              ├carry┤                                    written into the room
    ///              ├──────── text ─────────┤├new─┤├─rest─┤    the new carry's bytes become room
    /// ```
    pub(super) fn take_text<'b>(
        &mut self,
        input: &mut Input<'b>,
        count: usize,
        last: bool,
    ) -> Result<&'b str, Violation> {
        let old = usize::from(self.carry_len);
        if old > 0 {
            if count == 0 && !last {
                return Ok("");
            }
            input.prepend(&self.carry[..old]);
        }
        let text_len = self.whole_code_points(&input.data()[..old + count], last)?;
        let text = utf8::check(input.take(text_len)).map_err(|_| Violation::TextNotUtf8)?;
        input.skip(old + count - text_len);
        Ok(text)
    }

    /// How many of `bytes`, which begin with the carry, are whole code points. The rest becomes the new carry.
    #[inline]
    fn whole_code_points(&mut self, bytes: &[u8], last: bool) -> Result<usize, Violation> {
        // RFC 6455 section 5.6: "Note that a particular text frame might include a partial UTF-8
        // sequence; however, the whole message MUST contain valid UTF-8." So nothing is carried
        // over the end of a message.
        let new = if last { 0 } else { utf8::unfinished(bytes) };
        if new == 0 {
            self.carry_len = 0;
            return Ok(bytes.len());
        }
        let text_len = bytes.len() - new;
        let start = &bytes[text_len..];
        utf8::check_start(start).map_err(|_| Violation::TextNotUtf8)?;
        self.carry[..new].copy_from_slice(start);
        // At most 3.
        self.carry_len = new as u8;
        Ok(text_len)
    }

    /// Puts the carry to the front of `output`, where inflated text follows it. Returns its length.
    #[inline]
    pub(super) fn put_carry(&self, output: &mut [u8]) -> usize {
        if self.carry_len == 0 {
            return 0;
        }
        let carry = &self.carry[..usize::from(self.carry_len)];
        output[..carry.len()].copy_from_slice(carry);
        carry.len()
    }

    /// `bytes` as text, which begin with the carry. An unfinished code point at their end becomes the new carry.
    pub(super) fn text_of<'o>(&mut self, bytes: &'o [u8], last: bool) -> Result<&'o str, Violation> {
        let text_len = self.whole_code_points(bytes, last)?;
        utf8::check(&bytes[..text_len]).map_err(|_| Violation::TextNotUtf8)
    }
}

/// In bytes of UTF-8.
const LONGEST_CODE_POINT: usize = 4;
