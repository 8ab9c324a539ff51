//! The limits of a service. Each has a finite default, except [`Limits::connections_per_address`], and a least and a most
//! value in the [table].

mod limit;
mod service;
pub(crate) mod table;
#[cfg(test)]
mod tests;

pub use self::limit::LimitError;
pub use self::service::{Limits, MessageLimits};
