//! What a connection is called.

use std::error::Error;
use std::fmt;

use slotmap::{Key, KeyData, new_key_type};

new_key_type! {
    /// Names one connection of one service, for ever: slot and generation.
    ///
    /// When the connection is over the id is stale; whatever is asked of a stale id answers [`Gone`], and never
    /// touches the connection that took the slot since.
    pub struct ConnId;
}

impl ConnId {
    /// The id as a number, for logs and for tables keyed by numbers.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.data().as_ffi()
    }

    pub(crate) fn from_u64(token: u64) -> Self {
        KeyData::from_ffi(token).into()
    }

    /// The slot's index.
    pub(crate) fn slot(self) -> usize {
        (self.data().as_ffi() & 0xFFFF_FFFF) as usize
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ffi = self.data().as_ffi();
        write!(f, "{}.{}", ffi & 0xFFFF_FFFF, ffi >> 32)
    }
}

/// The connection is over: it ended before this was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is over")
    }
}

impl Error for Gone {}
