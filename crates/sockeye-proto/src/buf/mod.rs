//! Received bytes: the caller's input, and the part of it that a connection keeps for the next one.

mod input;
mod tail;

pub use self::input::{HEADROOM, Input};
pub(crate) use self::tail::Tail;
