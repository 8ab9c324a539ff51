//! The limits of a service. Each has a finite default, except [`Limits::connections_per_address`] and
//! [`Limits::answer_timeout`], and a least and a most value in the [table].

mod keepalive;
mod limit;
mod service;
pub(crate) mod table;
#[cfg(test)]
mod tests;

pub use self::keepalive::Keepalive;
pub use self::limit::LimitError;
pub use self::service::{Limits, MessageLimits, RequestLimits};
