//! Whole messages, for programs that use this crate alone: [`Assembler`] joins fragments,
//! [`encode`] sends.

mod assemble;
pub mod encode;

pub use self::assemble::Assembler;
