//! Inflating: bytes of a compressed message (RFC 7692) become fragments.

use super::connection::Connection;
use super::receiver::Stage;
use crate::buf::Input;
use crate::deflate::{History, Inflate, Stop};
use crate::error::Violation;
use crate::event::{Fragment, Payload};
use crate::ext::deflate::Direction;
use crate::wire::{MessageKind, mask};

/// What inflating keeps of a connection: its place within a message, and with context takeover the end of the messages before.
///
/// Between messages it may be dropped unless [`is_needed`](Self::is_needed) says that it is, and at any time once nothing is
/// inflated any more: after a violation, and after our own [`close`](Connection::close).
#[derive(Clone, Debug)]
pub struct Inflation {
    /// Empty without context takeover.
    history: History,
    /// Inflated bytes of the message in progress; `inflated <= ProtocolLimits::message_bytes`.
    inflated: u64,
    /// What callers have not been told of, see [`take_work`](Self::take_work).
    work: usize,
    /// The most input that the codec is given next.
    stride: usize,
    /// How much of [`TAIL`] the codec has seen; `tail <= TAIL.len()`.
    tail: u8,
    /// A message is in progress.
    is_within: bool,
}

impl Inflation {
    /// For what a connection receives, as [`Agreed::receive`](crate::ext::deflate::Agreed::receive) says. Allocates with the first
    /// message that has to be kept.
    #[must_use]
    pub fn new(receive: Direction) -> Self {
        // All of the window that was agreed on: the peer may refer to any of it.
        let most = receive.history_bytes() as u32;
        Self { history: History::new(most), inflated: 0, work: 0, stride: usize::MAX, tail: 0, is_within: false }
    }

    /// Whether a message is in progress. Until it has ended, only the codec that began it can go on.
    #[must_use]
    pub const fn is_within(&self) -> bool {
        self.is_within
    }

    /// Whether the next message needs what this has. If not, a new one serves as well.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.is_within || !self.history.is_empty()
    }

    /// How many bytes of memory it holds beside itself.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.history.held_bytes()
    }

    /// What inflating has cost since the last call, as bytes that were made, for callers that share time between connections:
    /// neither the input alone nor the output alone says it.
    pub fn take_work(&mut self) -> usize {
        core::mem::take(&mut self.work)
    }

    /// Begins a new stream, which may refer to what was received before.
    fn begin_stream(&mut self, codec: &mut dyn Inflate) {
        codec.begin(self.history.parts());
        self.work = self.work.saturating_add(STREAM_WORK + self.history.len());
    }

    /// The codec has seen a part of a payload, which was a final block or has none.
    fn note_end(&mut self, codec: &mut dyn Inflate, is_final: bool) {
        if is_final {
            // RFC 7692 section 7.2.3.5 has such a message: behind a final block another stream begins.
            self.begin_stream(codec);
            // A peer may send nothing but final blocks, of 2 bytes each. All that was unmasked here would be masked again.
            self.stride = LEAST_STRIDE;
        } else {
            self.stride = self.stride.saturating_mul(2);
        }
    }

    /// Inflates `from`, at most `room.len()` bytes. Returns how much of it was used and how much made.
    /// `had_more`: the codec had more to say than there was room for when it was called last.
    fn step(&mut self, codec: &mut dyn Inflate, from: &[u8], room: &mut [u8], had_more: bool) -> Step {
        let done = codec.inflate(from, room);
        let (consumed, produced) = (done.consumed.min(from.len()), done.produced.min(room.len()));
        self.history.add(&room[..produced]);
        // A byte of input costs as much as several of output: some make none.
        self.work = self.work.saturating_add(consumed.saturating_mul(INPUT_WORK).saturating_add(produced));
        let is_stuck = consumed == 0 && produced == 0 && !from.is_empty() && !room.is_empty();
        let stop = if is_stuck && !(had_more && done.stop == Stop::Final) { Stop::Corrupt } else { done.stop };
        // With room left over it has nothing more to say.
        let has_more = stop == Stop::Waiting && produced == room.len();
        Step { consumed, produced, stop, has_more, is_judged: false }
    }
}

struct Step {
    consumed: usize,
    produced: usize,
    stop: Stop,
    has_more: bool,
    /// The codec has seen of [`TAIL`], and what that means has been found.
    is_judged: bool,
}

impl Step {
    /// The codec has seen what is behind the message: did that end the stream where it should?
    fn judge(&mut self, is_used: bool, is_room_empty: bool) {
        self.is_judged = true;
        self.stop = match self.stop {
            Stop::Waiting if self.has_more || !is_used && is_room_empty => Stop::Waiting,
            Stop::Final if is_used => Stop::Final,
            // Either ends in the middle of a block.
            Stop::Waiting | Stop::Final | Stop::Corrupt => Stop::Corrupt,
        };
        // If the output was full, the codec may report the end of the stream in the next call.
        self.has_more = self.stop == Stop::Waiting;
    }
}

impl Connection {
    /// Inflates what comes next of a compressed message, after [`receive`](Self::receive) has returned
    /// [`Event::Compressed`](crate::event::Event::Compressed), and with the same input. Go on with `receive`, which returns that
    /// event again as long as there is more.
    ///
    /// `codec` is any, if [`Inflation::is_within`] is false, and else the one that the last call had. Pieces are parts of
    /// `output`, which has at least [`LEAST_OUTPUT`] bytes. A call uses at most as many bytes of the input as the output has.
    /// `None`: nothing to report yet.
    ///
    /// # Errors
    /// As [`receive`](Self::receive): the data is corrupt, not UTF-8, or exceeds
    /// [`message_bytes`](crate::limits::ProtocolLimits::message_bytes), which counts inflated bytes here.
    ///
    /// # Panics
    /// `output` is shorter than [`LEAST_OUTPUT`].
    pub fn inflate<'o>(
        &mut self,
        input: &mut Input<'_>,
        inflation: &mut Inflation,
        codec: &mut dyn Inflate,
        output: &'o mut [u8],
    ) -> Result<Option<Fragment<'o>>, Violation> {
        assert!(output.len() >= LEAST_OUTPUT, "an output must have at least {LEAST_OUTPUT} bytes");
        if self.receiver.stage != Stage::Payload || !self.receiver.is_compressed || self.receiver.ignores_data {
            return Ok(None);
        }
        if !inflation.is_within {
            (inflation.inflated, inflation.stride, inflation.tail, inflation.is_within) = (0, usize::MAX, 0, true);
            inflation.begin_stream(codec);
        }
        let result = self.inflate_piece(input, inflation, codec, output);
        if let Err(violation) = result {
            inflation.is_within = false;
            inflation.history.forget();
            input.clear();
            self.fail(violation);
        }
        result
    }

    fn inflate_piece<'o>(
        &mut self,
        input: &mut Input<'_>,
        inflation: &mut Inflation,
        codec: &mut dyn Inflate,
        output: &'o mut [u8],
    ) -> Result<Option<Fragment<'o>>, Violation> {
        let carry = self.receiver.put_carry(output);
        let most = self.receiver.most(self.limits.piece_bytes).min(output.len() - carry);
        let mut step = match self.whole(input, inflation, output.len()) {
            Some(count) => {
                let (room, copy) = output.split_at_mut(output.len() - count - TAIL.len());
                let most = most.min(room.len() - carry);
                self.step_whole(input, inflation, codec, &mut room[carry..carry + most], copy)
            }
            None => self.step_payload(input, inflation, codec, &mut output[carry..carry + most]),
        };
        let mut made = step.produced;
        let is_received = self.receiver.remaining == 0 && self.receiver.fin && !step.has_more;
        if is_received && !step.is_judged && step.stop != Stop::Corrupt {
            step = step_tail(inflation, codec, &mut output[carry + made..carry + most], self.receiver.has_more);
            made += step.produced;
        }
        self.receiver.has_more = step.has_more;
        // RFC 6455 section 10.4, of the message inflated. What is before the limit is judged first, so that the result does
        // not depend on how the data was cut.
        let allowed = self.limits.message_bytes.saturating_sub(inflation.inflated);
        let is_too_big = made as u64 > allowed;
        let kept = if is_too_big { allowed as usize } else { made };
        inflation.inflated += kept as u64;
        let is_corrupt = step.stop == Stop::Corrupt;
        let last = usize::from(inflation.tail) == TAIL.len() && step.stop == Stop::Final && !is_too_big;
        let payload = self.payload(&output[..carry + kept], carry, last)?;
        if is_too_big {
            return Err(Violation::MessageTooBig);
        }
        if is_corrupt {
            return Err(Violation::DeflateCorrupt);
        }
        Ok(self.end_inflated(inflation, payload, last))
    }

    /// Inflates what has arrived of the frame, or what the codec still has of it.
    fn step_payload(
        &mut self,
        input: &mut Input<'_>,
        inflation: &mut Inflation,
        codec: &mut dyn Inflate,
        room: &mut [u8],
    ) -> Step {
        let receiver = &mut self.receiver;
        let most = input.len().min(room.len()).min(inflation.stride);
        let count = usize::try_from(receiver.remaining).map_or(most, |remaining| remaining.min(most));
        if inflation.tail > 0 || count == 0 && !receiver.has_more {
            return Step { consumed: 0, produced: 0, stop: Stop::Waiting, has_more: false, is_judged: false };
        }
        let (key, long) = (receiver.key, input.mask());
        let arrived = &mut input.data_mut()[..count];
        mask::xor(arrived, key, long);
        let step = inflation.step(codec, arrived, room, receiver.has_more);
        // What is left comes again with the next call, masked as it was.
        receiver.key = mask::rotate(key, step.consumed);
        mask::xor(&mut arrived[step.consumed..], receiver.key, long);
        receiver.remaining -= step.consumed as u64;
        input.skip(step.consumed);
        inflation.note_end(codec, step.stop == Stop::Final);
        step
    }

    /// How long the payload is that is left, if it has arrived whole, is the end of its message, and is so short that it costs
    /// less to copy it than to call the codec once more for what follows it. `output_len` is how much room there is for all.
    fn whole(&self, input: &Input<'_>, inflation: &Inflation, output_len: usize) -> Option<usize> {
        let receiver = &self.receiver;
        let count = usize::try_from(receiver.remaining).ok()?;
        let most = input.len().min(inflation.stride).min(MOST_COPIED).min(output_len / 4);
        (receiver.fin && count > 0 && count <= most && inflation.tail == 0 && !receiver.has_more).then_some(count)
    }

    /// Inflates such a payload with what follows it behind it, for which `copy` has the room.
    fn step_whole(
        &mut self,
        input: &mut Input<'_>,
        inflation: &mut Inflation,
        codec: &mut dyn Inflate,
        room: &mut [u8],
        copy: &mut [u8],
    ) -> Step {
        let receiver = &mut self.receiver;
        let count = copy.len() - TAIL.len();
        let long = input.mask();
        let (payload, tail) = copy.split_at_mut(count);
        payload.copy_from_slice(&input.data_mut()[..count]);
        mask::xor(payload, receiver.key, long);
        tail.copy_from_slice(&TAIL);
        let mut step = inflation.step(codec, copy, room, false);
        let consumed = step.consumed.min(count);
        receiver.key = mask::rotate(receiver.key, consumed);
        receiver.remaining -= consumed as u64;
        input.skip(consumed);
        if step.consumed > count {
            // At most 6.
            inflation.tail = (step.consumed - count) as u8;
            step.judge(step.consumed == copy.len(), false);
        } else {
            inflation.note_end(codec, step.stop == Stop::Final);
        }
        step
    }

    /// `bytes`, the first `carry` of which are the carry, as a piece of the message in progress.
    fn payload<'o>(&mut self, bytes: &'o [u8], carry: usize, last: bool) -> Result<Payload<'o>, Violation> {
        Ok(match self.receiver.kind {
            Some(MessageKind::Text) if bytes.len() == carry && !last => Payload::Text(""),
            Some(MessageKind::Text) => Payload::Text(self.receiver.text_of(bytes, last)?),
            _ => Payload::Binary(bytes),
        })
    }

    /// Ends the frame or the message, if nothing more comes of it.
    fn end_inflated<'o>(
        &mut self,
        inflation: &mut Inflation,
        payload: Payload<'o>,
        last: bool,
    ) -> Option<Fragment<'o>> {
        let receiver = &mut self.receiver;
        let first = receiver.first;
        if last {
            inflation.is_within = false;
        }
        if last || receiver.remaining == 0 && !receiver.fin && !receiver.has_more {
            receiver.end_piece(self.limits.piece_bytes);
        }
        if !last && payload.as_bytes().is_empty() {
            return None;
        }
        receiver.first = false;
        Some(Fragment { kind: payload.kind(), first, last, remaining: 0, payload })
    }
}

/// Inflates what is behind the last frame of a message, all at once or as far as there is room.
fn step_tail(inflation: &mut Inflation, codec: &mut dyn Inflate, room: &mut [u8], had_more: bool) -> Step {
    let from = &TAIL[usize::from(inflation.tail)..];
    let mut step = inflation.step(codec, from, room, had_more);
    // At most 6.
    inflation.tail += step.consumed as u8;
    step.judge(step.consumed == from.len(), room.is_empty());
    step
}

/// What follows the payload of a message. RFC 7692 section 7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the
/// payload of the message." The last two bytes are a final block without content, which ends the stream there if the message
/// has ended between two blocks. If it ended in the middle of one, the six bytes are taken for a part of that. They do not end the
/// stream then, unless exactly four bytes of a block without compression were missing: to the letter of the section the appended
/// four are those, and every receiver takes them so.
const TAIL: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];

/// The least length of an output in bytes.
pub const LEAST_OUTPUT: usize = 16;

/// What a byte of input costs, as bytes of output.
const INPUT_WORK: usize = 4;

/// What the beginning of a stream costs, beside the copy of its history, as bytes of output.
const STREAM_WORK: usize = 256 + 2 * LEAST_STRIDE;

/// The longest end of a message that is copied: what is longer costs more than what the copy saves.
const MOST_COPIED: usize = 1024;

/// How much input the codec is given behind a final block. It doubles until there is another one.
const LEAST_STRIDE: usize = 64;
