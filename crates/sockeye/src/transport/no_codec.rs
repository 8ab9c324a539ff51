//! Replaces the codec in a build without the feature `deflate`: compression is never negotiated, and these types have no values.

use sockeye_proto::deflate::{self, Inflated};

/// There is none.
pub(crate) enum Inflater {}

impl Inflater {
    pub(crate) const BYTES: usize = 0;

    pub(crate) fn new() -> Option<Self> {
        None
    }
}

impl deflate::Inflate for Inflater {
    fn begin(&mut self, _: [&[u8]; 2]) {
        match *self {}
    }

    fn inflate(&mut self, _: &[u8], _: &mut [u8]) -> Inflated {
        match *self {}
    }
}

/// There is none.
pub(crate) enum Deflater {}

impl Deflater {
    pub(crate) const BYTES: usize = 0;

    pub(crate) fn new(_level: u8, _window_bits: u8) -> Option<Self> {
        None
    }
}

impl deflate::Deflate for Deflater {
    fn begin(&mut self, _: [&[u8]; 2]) {
        match *self {}
    }

    fn deflate(&mut self, _: &[u8], _: &mut [u8]) -> Option<usize> {
        match *self {}
    }
}
