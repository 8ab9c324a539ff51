//! The size of an LZ77 window.

use core::fmt;

/// The base-2 logarithm of the size of an LZ77 window: 8 to 15, for 256 bytes to 32 KiB (RFC 7692
/// section 7.1.2). It is checked when it is made, so no number of a peer goes further than here.
///
/// 8 is legal, although zlib and those after it refuse to compress a raw stream with a window of 256
/// bytes. Compress with 9 for it: zlib reaches back by at most the window less 262 bytes, which is
/// 250 of 512. To decompress, any window as large as the sender's or larger will do.
///
/// ```
/// use sockeye_proto::ext::deflate::WindowBits;
///
/// assert_eq!(WindowBits::try_from(11)?.bytes(), 2048);
/// assert!(WindowBits::try_from(16).is_err());
/// assert_eq!(WindowBits::within(3000).map(WindowBits::get), Some(11));
/// # Ok::<(), sockeye_proto::ext::deflate::InvalidWindowBits>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WindowBits(
    /// `8 <= bits <= 15`
    u8,
);

impl WindowBits {
    /// 256 bytes.
    pub const MIN: Self = Self(8);

    /// What a server lets its clients take over by [default](super::Settings::server).
    pub const TWO_KIB: Self = Self(11);

    /// 32 KiB, which is what holds where nothing is said.
    pub const MAX: Self = Self(15);

    /// The largest window that fits into `bytes`. `None`: even the smallest does not.
    #[must_use]
    pub const fn within(bytes: usize) -> Option<Self> {
        match bytes.checked_ilog2() {
            Some(bits @ 8..=15) => Some(Self(bits as u8)),
            Some(16..) => Some(Self::MAX),
            _ => None,
        }
    }

    /// The logarithm: 8 to 15.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The size of the window: 256 to 32,768 bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        1 << self.0
    }
}

impl TryFrom<u8> for WindowBits {
    type Error = InvalidWindowBits;

    fn try_from(bits: u8) -> Result<Self, InvalidWindowBits> {
        if (8..=15).contains(&bits) { Ok(Self(bits)) } else { Err(InvalidWindowBits) }
    }
}

/// The number is not 8 to 15.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct InvalidWindowBits;

impl fmt::Display for InvalidWindowBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bits of a window must be 8 to 15 (RFC 7692 section 7.1.2)")
    }
}

impl core::error::Error for InvalidWindowBits {}
