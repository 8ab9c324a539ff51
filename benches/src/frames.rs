//! Client frames turned into server frames, with the least work: for the floor.

/// Bytes that are filled from the front, in place that is paid for once.
#[derive(Debug, Default)]
pub struct Cork {
    place: Vec<u8>,
    len: usize,
}

impl Cork {
    /// Empty, with room for `size` bytes.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { place: vec![0; size], len: 0 }
    }

    /// What it is filled with.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.place[..self.len]
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    fn reserve(&mut self, more: usize) {
        if self.place.len() < self.len + more {
            self.place.resize(self.len + more, 0);
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.place[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends `masked` without its mask, 16 bytes at a time as far as they go.
    fn append_unmasked(&mut self, masked: &[u8], mask: [u8; 4]) {
        let to = &mut self.place[self.len..self.len + masked.len()];
        let wide: [u8; 16] = std::array::from_fn(|at| mask[at % 4]);
        let (mut places, blocks) = (to.chunks_exact_mut(16), masked.chunks_exact(16));
        let rest = blocks.remainder();
        for (place, block) in places.by_ref().zip(blocks) {
            for at in 0..16 {
                place[at] = block[at] ^ wide[at];
            }
        }
        for ((place, byte), mask) in places.into_remainder().iter_mut().zip(rest).zip(wide) {
            *place = byte ^ mask;
        }
        self.len += masked.len();
    }
}

/// Where in a client's stream of frames its bytes are.
#[derive(Debug, Default)]
pub struct Frames {
    /// The beginning of a header that is not complete: `head_len` bytes.
    head: [u8; HEAD],
    head_len: usize,
    /// Bytes of payload that are to come.
    left: usize,
    /// The mask, turned so that it begins with the byte for the next one.
    mask: [u8; 4],
    /// A frame that did not come with one read, if frames are to be whole.
    held: Cork,
}

impl Frames {
    /// Appends to `reply` what `input` says, as a server says it. Frames that shall be `whole` wait for their end in
    /// [`Self::held`], which goes out before `reply`. The reply is never longer than the input and one header.
    ///
    /// Returns false when the client closes or breaks the protocol.
    pub fn turn(&mut self, mut input: &[u8], whole: bool, reply: &mut Cork) -> bool {
        loop {
            let len = self.left.min(input.len());
            let (payload, rest) = input.split_at(len);
            let to = if self.held.len > 0 { &mut self.held } else { &mut *reply };
            to.append_unmasked(payload, self.mask);
            self.mask.rotate_left(len % 4);
            self.left -= len;
            input = rest;
            if self.left > 0 || input.is_empty() {
                return true;
            }
            let len = match self.header(&mut input) {
                Head::Complete(len) => len,
                Head::Incomplete => return true,
                Head::Refused => return false,
            };
            let header = self.reply_header();
            let to = if whole && len > input.len() { &mut self.held } else { &mut *reply };
            if whole && len > input.len() {
                to.reserve(HEAD + len);
            }
            to.append(&header.0[..header.1]);
            self.left = len;
        }
    }

    /// A whole frame that is to go out now.
    pub fn held(&mut self) -> Option<&mut Cork> {
        (self.held.len > 0 && self.left == 0).then_some(&mut self.held)
    }

    /// Takes a header, or what there is of it, from `input`.
    fn header(&mut self, input: &mut &[u8]) -> Head {
        for _ in 0..2 {
            let wanted = match self.head[1] & 0x7f {
                _ if self.head_len < 2 => 2,
                126 => 8,
                127 => 14,
                _ => 6,
            };
            let len = (wanted - self.head_len).min(input.len());
            let (bytes, rest) = input.split_at(len);
            self.head[self.head_len..self.head_len + len].copy_from_slice(bytes);
            self.head_len += len;
            *input = rest;
            if self.head_len < wanted {
                return Head::Incomplete;
            }
            if wanted > 2 {
                break;
            }
        }
        let [kind, first, a, b, c, d, e, f, g, h, ..] = self.head;
        let (len, at) = match first & 0x7f {
            126 => (u64::from(u16::from_be_bytes([a, b])), 4),
            127 => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10),
            small => (u64::from(small), 2),
        };
        self.mask.copy_from_slice(&self.head[at..at + 4]);
        self.head_len = 0;
        match usize::try_from(len) {
            Ok(len) if len <= MOST && first & 0x80 != 0 && kind & 0x0f <= 2 => Head::Complete(len),
            _ => Head::Refused,
        }
    }

    /// The header just read without mask, and how long it is.
    fn reply_header(&self) -> ([u8; HEAD], usize) {
        let mut header = self.head;
        header[1] &= 0x7f;
        let len = match header[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        (header, len)
    }
}

enum Head {
    Complete(usize),
    Incomplete,
    Refused,
}

/// The longest header.
pub const HEAD: usize = 14;

/// The longest payload: this is no server for strangers, but it shall not be one that takes all memory either.
const MOST: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    /// Every cut of a stream of frames gives the same replies, held back or not.
    #[test]
    fn frames_are_turned_however_they_are_cut() {
        let payloads = [0, 1, 20, 126, 300, 70_000].map(|size| wire::payload(size, false, b'x'));
        let stream: Vec<u8> = payloads.iter().flat_map(|payload| wire::masked_frame(payload, false)).collect();
        let expected: Vec<u8> = payloads.iter().flat_map(|payload| wire::plain_frame(payload, false)).collect();
        for whole in [false, true] {
            for piece in [1, 2, 3, 7, 64, 1000, stream.len()] {
                let mut frames = Frames::default();
                let mut got = Vec::new();
                for input in stream.chunks(piece) {
                    let mut reply = Cork::new(piece + HEAD);
                    assert!(frames.turn(input, whole, &mut reply));
                    if let Some(held) = frames.held() {
                        got.extend_from_slice(held.bytes());
                        held.clear();
                    }
                    got.extend_from_slice(reply.bytes());
                }
                assert!(got == expected, "pieces of {piece}, whole: {whole}");
            }
        }
    }

    #[test]
    fn a_close_is_refused() {
        let mut reply = Cork::new(64);
        assert!(!Frames::default().turn(&[0x88, 0x80, 1, 2, 3, 4], false, &mut reply));
    }
}
