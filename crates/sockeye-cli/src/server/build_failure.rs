//! Why a server could not be built, and what the user can do about it.

use std::io::{self, ErrorKind};

use rustix::io::Errno;
use sockeye::Error;
use sockeye::error::{ListenError, ListenTarget};
use sockeye::sys::Address;

use crate::failure::Failure;

/// A listener that cannot be opened is for the command line to change: exit code 2, and how. `option` is the one that gave the
/// port.
pub(super) fn explain(error: &Error, option: &str) -> Failure {
    let system = error.io_error().and_then(io::Error::raw_os_error);
    let is_exhausted = system == Some(Errno::MFILE.raw_os_error());
    let remedy = match error.as_listen() {
        _ if is_exhausted => "; raise the descriptor limit (ulimit -n)".to_owned(),
        Some(listen) => remedy(listen, option),
        None => String::new(),
    };
    match error.as_listen() {
        // It does not matter which thread noticed first.
        Some(listen) => Failure::usage(format!("{listen}{remedy}")),
        None => Failure::general(format!("{error}{remedy}")),
    }
}

/// What to change on the command line, or in the socket unit.
fn remedy(error: &ListenError, option: &str) -> String {
    match (error.target(), error.io_error().kind()) {
        // The descriptor comes from `LISTEN_FDS`.
        (ListenTarget::Descriptor(_), _) => "; a socket unit has to use ListenStream= and Accept=no".to_owned(),
        (ListenTarget::Address(Address::Abstract(_)), ErrorKind::AddrInUse) => {
            "; another socket has this name: choose another".to_owned()
        }
        (ListenTarget::Address(Address::Unix(_)), ErrorKind::AddrInUse) => {
            "; another server listens there: choose another path".to_owned()
        }
        (_, ErrorKind::AddrInUse) => {
            format!("; another program listens there: choose another port with {option}, 0 picks a free one")
        }
        (ListenTarget::Address(Address::Ip(_)), ErrorKind::PermissionDenied) => {
            format!("; ports below 1024 require privileges: choose another port with {option}")
        }
        (_, ErrorKind::AddrNotAvailable) => {
            "; this machine does not have this address: choose another with --interface".to_owned()
        }
        _ => String::new(),
    }
}
