//! Bytes between the wire and the events: the caller's input, and the little of it that a connection keeps.

mod input;
mod tail;

pub use self::input::{HEADROOM, Input};
pub(crate) use self::tail::Tail;
