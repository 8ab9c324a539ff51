//! What compressing messages (permessage-deflate, RFC 7692) asks of a codec, and what it keeps between messages.
//!
//! DEFLATE itself is the caller's: anything that implements [`Inflate`] and [`Deflate`]. A codec with its tables and window
//! takes hundreds of kilobytes, so it is not kept for a connection. A [`History`] is: the last bytes of what was sent or
//! received, with which any codec continues where another one stopped.
//!
//! [`Inflation`](crate::conn::Inflation) and [`Deflation`](crate::conn::Deflation) use them for the messages of a connection,
//! and [`ext::deflate`](crate::ext::deflate) negotiates. The example
//! [`proto_deflate`](https://github.com/sockeye-ws/sockeye/blob/main/crates/sockeye-proto/examples/proto_deflate.rs) has both
//! traits for zlib-rs.

mod history;

pub use self::history::History;

/// Decompresses raw DEFLATE data (RFC 1951) of any window.
pub trait Inflate {
    /// Forgets everything, and begins a new stream that may refer to `history`, at most 32 KiB: its second part follows upon the
    /// first, and each may be empty.
    fn begin(&mut self, history: [&[u8]; 2]);

    /// Decompresses as much of `input` as fits into `output`, and no more than one final block.
    ///
    /// All that `input` decides is to be reported by the call, as long as there is room for it.
    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Inflated;
}

/// What [`Inflate::inflate`] did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "codecs make it")]
pub struct Inflated {
    /// How many bytes of the input it used.
    pub consumed: usize,
    /// How many bytes of the output it filled, those before corrupt data included.
    pub produced: usize,
    /// How it stopped.
    pub stop: Stop,
}

/// Why [`Inflate::inflate`] stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "codecs make it")]
pub enum Stop {
    /// The input is used up, or the output is full.
    Waiting,
    /// A block that is marked as the final one has ended.
    Final,
    /// The data is not DEFLATE, or refers to what is before the history.
    Corrupt,
}

/// Compresses into raw DEFLATE data (RFC 1951).
///
/// It refers back by no more than the window that was agreed on for what is sent
/// ([`Direction::window`](crate::ext::deflate::Direction::window)): use one that was made for that window or for a smaller one.
/// zlib's kind has none of 256 bytes; what it makes with one of 512 is as good.
pub trait Deflate {
    /// Forgets everything, and begins a new stream that may refer to `history`, which has two parts as in [`Inflate::begin`].
    ///
    /// A codec's own reset may do less. That of zlib-rs 0.6 keeps output that had no room in a call before, and a block that
    /// is still open: both would be in the next message. Take them out before [`deflate`](Self::deflate) returns `None`: compress
    /// nothing, with a flush, until there is room left in the output. The example does so.
    fn begin(&mut self, history: [&[u8]; 2]);

    /// Compresses `input` and flushes, so that the output ends with the bytes `00 00 ff ff` of an empty block without
    /// compression (zlib calls it a sync flush). Returns the length; `None` if `output` has no room for it, after which the
    /// next call is [`begin`](Self::begin).
    ///
    /// zlib has flushed everything only if it left room in the output. [`Deflation`](crate::conn::Deflation) gives a byte more
    /// than it takes, and takes an output that is filled to the last byte for one that was too short.
    fn deflate(&mut self, input: &[u8], output: &mut [u8]) -> Option<usize>;
}
