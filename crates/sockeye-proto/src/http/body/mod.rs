//! Message bodies: where they end ([`Length`]) and their bytes ([`Decoder`]).

mod decode;
mod error;
mod length;
#[cfg(test)]
mod tests;

pub use self::decode::Decoder;
pub use self::error::BodyError;
pub use self::length::Length;
