//! What must hold whatever a peer sends. Each module is one fuzz target: its `check` panics when a property is broken.
//!
//! The strongest property of a sans-IO protocol is the same one everywhere: how the input was cut must not matter. The
//! first byte of the input says how it is cut, the rest is the input.

#![forbid(unsafe_code)]

pub mod body;
pub mod close;
pub mod extensions;
pub mod frames;
pub mod head;
pub mod proxy;
pub mod proxy_protocol;
pub mod response;
pub mod target;
pub mod url;

/// The input, whole, and cut into pieces of so many bytes.
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
