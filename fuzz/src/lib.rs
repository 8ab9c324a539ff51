//! Properties that hold whatever a peer sends. Each module is one fuzz target: its `check` panics
//! if a property is violated.
//!
//! The strongest property of a sans-IO protocol is the same everywhere: the result must not depend
//! on how the input was cut. The first byte of the fuzzer's data determines the cuts, and the rest
//! is the input.

#![forbid(unsafe_code)]

pub mod body;
pub mod close;
pub mod extensions;
pub mod frames;
pub mod head;
pub mod inflate;
pub mod proxy;
pub mod proxy_protocol;
pub mod response;
pub mod target;
pub mod url;

/// The input, and the size of the pieces to cut it into.
struct Cut<'d> {
    data: &'d [u8],
    step: usize,
}

impl<'d> Cut<'d> {
    fn new(data: &'d [u8]) -> Self {
        match data.split_first() {
            Some((step, data)) => Self { data, step: usize::from(step % 32) + 1 },
            None => Self { data, step: 1 },
        }
    }

    fn pieces(&self) -> impl Iterator<Item = &'d [u8]> {
        self.data.chunks(self.step)
    }
}
