//! The loop: one thread, many connections, written when they can take it.

mod accept;
mod accepting;
mod adopt;
mod builder;
mod carry_out;
#[cfg(feature = "client")]
mod connecting;
#[cfg(not(feature = "client"))]
#[path = "no_connecting.rs"]
mod connecting;
mod connections;
mod control;
mod core;
mod external;
mod jobs;
mod listen;
mod listen_at;
mod paths;
mod pending;
pub(crate) mod places;
mod publish;
mod raw;
mod remote;
mod shedding;
mod stalls;
#[cfg(test)]
mod tests;
mod timers;
mod turn;

pub use self::builder::Builder;
pub use self::core::{Control, Service, ServiceState};
pub(crate) use self::core::{Job, Jobs};
pub use self::jobs::RemoteError;
pub(crate) use self::jobs::put_all;
pub use self::listen::ListenAddr;
pub(crate) use self::listen::Source;
pub use self::listen_at::Listen;
pub(crate) use self::listen_at::Purpose;
pub use self::remote::Remote;
pub use crate::admission::{AcceptedConnection, Ended, Hosts, InvalidPeerSet, Origins, PeerSet};
pub use crate::id::ListenerHandle;
