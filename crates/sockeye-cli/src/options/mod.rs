//! Options that several subcommands have in common. Nothing here knows a subcommand.

pub(crate) mod admission;
pub(crate) mod client;
pub(crate) mod compress;
pub(crate) mod daemon;
pub(crate) mod listening;
pub(crate) mod logging;
pub(crate) mod server;
pub(crate) mod tls;
pub(crate) mod token;
pub(crate) mod topics;
