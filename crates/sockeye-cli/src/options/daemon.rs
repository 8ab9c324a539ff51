//! The options of a server in the background: process, user and group.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct DaemonArgs {
    /// Run in the background; exits with 0 once the server is ready, or reports why it is not
    ///
    /// The server gets its own session without a terminal, the working directory / and a umask of at least 022, and inherits
    /// no descriptors.
    #[arg(long)]
    pub(crate) daemonize: bool,

    /// Write the process id to FILE while the server runs; a second server with the same file is refused
    ///
    /// The file is locked, so a stale file is taken over. Symbolic links are not followed.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) pid_file: Option<PathBuf>,

    /// User to run as, by name or number, once the server listens (requires root)
    ///
    /// Includes the groups of that user, and cannot be undone. If any part of it fails, the server does not start.
    #[arg(long, value_name = "USER", value_hint = ValueHint::Username)]
    pub(crate) user: Option<String>,

    /// Group to run as, by name or number [default: the user's group]
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
}
