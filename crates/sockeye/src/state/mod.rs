//! The state that callbacks may access while the loop holds a connection, by subject.
//!
//! Connections themselves are in a table of the service, so that a callback can ask about any id
//! while the loop works on one of them.

#[cfg(feature = "client")]
mod attempts;
mod commands;
#[cfg(feature = "client")]
mod connects;
#[cfg(not(feature = "client"))]
#[path = "no_connects.rs"]
mod connects;
mod endpoints;
mod exchanges;
mod holdings;
mod lifecycle;
mod message_limits;
mod own_timers;
mod queue;
mod registry;
mod running;
mod topic_counts;
mod topics;
mod undecided;

pub use self::commands::Commands;
#[cfg(feature = "client")]
pub(crate) use self::connects::Planned;
pub(crate) use self::endpoints::{EndpointIndex, EndpointInfo, EndpointKind};
pub(crate) use self::lifecycle::Lifecycle;
pub(crate) use self::message_limits::MessageLimitSets;
pub(crate) use self::queue::{Adoption, ControlRequest, End, TlsStart};
pub(crate) use self::registry::{Entry, Registry};
pub(crate) use self::running::{FIRST_READ, MOST_READ, ReadBudget, RunningStep};
pub(crate) use self::topic_counts::TopicLimits;
pub(crate) use self::topics::ToTopic;
