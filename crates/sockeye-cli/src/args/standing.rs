//! The options of a server that is to stay: in the background, as a user of its own.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Serve in the background; ends with 0 once it serves, else says why not
    ///
    /// The server gets a session of its own without a terminal, the folder / and a umask of at least 022, and none of the
    /// descriptors of whoever starts it.
    #[arg(long)]
    pub(crate) daemonize: bool,

    /// File for the number of the process, while it serves; a second server that is given the same file is refused
    ///
    /// The file is locked, so one that was left behind is taken over. No symbolic link is followed.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) pid_file: Option<PathBuf>,

    /// User to serve as, by name or number, once it listens (only root can)
    ///
    /// With the groups of that user, and with no way back. Unless all of that works, nothing is served.
    #[arg(long, value_name = "USER", value_hint = ValueHint::Username)]
    pub(crate) user: Option<String>,

    /// Group to serve as, by name or number [default: that of the user]
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
}
