//! A frame codec of the suite's own, so that the server's is not judged by itself.

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;
pub(crate) const FIN: u8 = 0x80;
/// Of a compressed message.
pub(crate) const RSV1: u8 = 0x40;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// How a payload length is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    /// In the fewest bytes.
    Minimal(u64),
    /// In 16 bits, however small.
    Two(u16),
    /// In 64 bits, however small or illegal.
    Eight(u64),
}

/// A masked header; `first` is the whole first byte.
pub(crate) fn header(first: u8, size: Size) -> Vec<u8> {
    let mut bytes = vec![first];
    match size {
        Size::Minimal(length @ 0..=125) => bytes.push(0x80 | length.to_le_bytes()[0]),
        Size::Minimal(length @ 126..=0xffff) => {
            return header(first, Size::Two(u16::try_from(length).expect("16 bits")));
        }
        Size::Two(length) => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        Size::Minimal(length) | Size::Eight(length) => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&KEY);
    bytes
}

/// A whole masked frame.
pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = header(first, Size::Minimal(u64::try_from(payload.len()).expect("a length")));
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    mask(&mut bytes[start..]);
    bytes
}

/// Masks the payload that follows a [`header`].
fn mask(payload: &mut [u8]) {
    let wide = u64::from_ne_bytes([KEY, KEY].concat().try_into().expect("8 bytes"));
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let value = u64::from_ne_bytes(<[u8; 8]>::try_from(&*word).expect("8 bytes")) ^ wide;
        word.copy_from_slice(&value.to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(KEY.iter().cycle()) {
        *byte ^= key;
    }
}

pub(crate) fn close_body(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_ref()].concat()
}

/// A frame from the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The frame at the front of `bytes` and its length. A server's frame must be unmasked, without RSV bits but the `allowed`
    /// ones, and of the shortest form.
    pub(crate) fn parse(bytes: &[u8], allowed: u8) -> Option<(Self, usize)> {
        let (start, end) = Self::extent(bytes, allowed)?;
        Some((Self { first: bytes[0], payload: bytes.get(start..end)?.to_vec() }, end))
    }

    /// Where the payload of the frame at the front begins and ends.
    pub(crate) fn extent(bytes: &[u8], allowed: u8) -> Option<(usize, usize)> {
        let [first, second, ..] = *bytes else { return None };
        assert_eq!(first & 0x70 & !allowed, 0, "RSV bits from the server: {first:#x}");
        assert_eq!(second & 0x80, 0, "a masked frame from the server");
        let (start, length) = match second {
            126 => {
                let length = u16::from_be_bytes(bytes.get(2..4)?.try_into().expect("2 bytes"));
                assert!(length > 125, "length {length} in 16 bits");
                (4, usize::from(length))
            }
            127 => {
                let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().expect("8 bytes"));
                assert!(length > 0xffff, "length {length} in 64 bits");
                (10, usize::try_from(length).expect("a sane length"))
            }
            short => (2, usize::from(short)),
        };
        assert!(first & 0x08 == 0 || (first & FIN != 0 && length <= 125), "an illegal control frame from the server");
        Some((start, start + length))
    }

    pub(crate) fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    /// The code of a close frame: 1005 for one without.
    pub(crate) fn code(&self) -> u16 {
        match *self.payload {
            [] => 1005,
            [high, low, ..] => u16::from_be_bytes([high, low]),
            [_] => panic!("a close frame with one byte from the server"),
        }
    }
}
