//! Records as they are on the wire: where they begin and end, and where they are collected before they leave.

/// The most plaintext of one record (RFC 8446 section 5.1).
pub(crate) const RECORD: usize = 16 * 1024;
/// The most bytes of one record on the wire: with the expansion that TLS 1.2 allows (RFC 5246 section 6.2.3).
pub(crate) const SEALED_RECORD: usize = HEADER + RECORD + 2048;
/// Type, version and length in front of each record.
pub(crate) const HEADER: usize = 5;

/// What the front of received bytes is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Front {
    /// A part of a record: so many bytes are missing at least.
    Partial(usize),
    /// A record of this length.
    Record(usize),
    /// Something else.
    Wrong,
}

impl Front {
    /// Looks at the header of a record.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        // Change cipher spec, alert, handshake, application data (RFC 8446 section 5.1).
        if bytes.first().is_some_and(|kind| !(20..=23).contains(kind)) || bytes.get(1).is_some_and(|major| *major != 3)
        {
            return Self::Wrong;
        }
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Self::Partial(HEADER - bytes.len()) };
        let length = HEADER + usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length > SEALED_RECORD {
            return Self::Wrong;
        }
        if bytes.len() < length { Self::Partial(length - bytes.len()) } else { Self::Record(length) }
    }
}

/// Whether the bytes are one record of application data (23), all of it. So [`Front::of`] finds a record of their length, in more steps.
#[inline(always)]
pub(super) fn is_one_of_data(bytes: &[u8]) -> bool {
    let Some([23, 3, _, high, low]) = bytes.first_chunk::<HEADER>() else { return false };
    bytes.len() <= SEALED_RECORD && usize::from(u16::from_be_bytes([*high, *low])) == bytes.len() - HEADER
}

/// Sealed bytes that are to leave. Its memory stays initialised, so that sealing clears nothing.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    bytes: Vec<u8>,
    filled: usize,
}

impl Sealed {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    pub(super) fn len(&self) -> usize {
        self.filled
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Room for `bytes` more.
    #[inline]
    pub(super) fn make_room(&mut self, bytes: usize) -> &mut [u8] {
        let needed = self.filled.saturating_add(bytes);
        if self.bytes.len() < needed {
            self.grow(needed);
        }
        &mut self.bytes[self.filled..]
    }

    /// So many bytes were sealed into the room.
    #[inline]
    pub(super) fn add(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        self.bytes.resize(needed, 0);
    }
}
