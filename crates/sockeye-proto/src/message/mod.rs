//! Whole messages, for programs that use this crate without a loop.

mod assemble;
pub mod encode;

pub use self::assemble::Assembler;
