//! Where a server listens: the sockets that it was started with, and the addresses of the command line.

use std::os::fd::{AsRawFd, OwnedFd};

use sockeye::daemon::systemd::Socket;
use sockeye::service::ListenAddr;
use sockeye::sys::{Address, ListenOptions};

use crate::failure::Failure;
use crate::options::listening::Listening;
use crate::options::server::Port;

/// All addrs, with their options. Sockets that are open already stand for the default address, and addresses that were
/// asked for are beside them.
///
/// # Errors
/// As [`Listening::addresses`]; an option that nothing here has a use for; a Unix socket for several threads. Exit code 2.
pub(super) fn listen_addrs(
    listening: &Listening,
    port: Port,
    sockets: Vec<Socket>,
    threads: usize,
) -> Result<Vec<(ListenAddr, ListenOptions)>, Failure> {
    let mut addrs = Vec::new();
    let has_sockets = !sockets.is_empty();
    for socket in sockets {
        tracing::info!(
            descriptor = socket.as_raw_fd(),
            name = socket.name(),
            "using a socket from the service manager"
        );
        addrs.push((ListenAddr::from(OwnedFd::from(socket)), listening.options()));
    }
    if has_sockets && listening.interfaces.is_empty() {
        for (option, is_given) in [
            ("--port", port.given.is_some()),
            ("--backlog", listening.backlog.is_some()),
            ("--unix-mode", listening.unix_mode.is_some()),
            ("--ipv6-only", listening.ipv6_only),
        ] {
            if is_given {
                let text = "the sockets that this was started with are open already; the socket unit says where \
                    and how (ListenStream=, Backlog=, SocketMode=, BindIPv6Only=)";
                return Err(Failure::usage(format!("{option}: {text}")));
            }
        }
        return Ok(addrs);
    }
    let addresses = listening.addresses(port.number())?;
    if !has_sockets && !addresses.iter().any(|(address, _)| matches!(address, Address::Ip(_))) {
        for (option, is_given) in [
            ("--tcp-keepalive", listening.keepalive.is_some()),
            ("--tcp-user-timeout", listening.user_timeout.is_some()),
        ] {
            if is_given {
                let text = "does not apply to Unix sockets, and every --interface is one";
                return Err(Failure::usage(format!("{option}: {text}")));
            }
        }
    }
    for (address, options) in addresses {
        if threads > 1 && !matches!(address, Address::Ip(_)) {
            return Err(Failure::usage(format!(
                "--interface {address}: a Unix socket cannot be shared by several threads; omit --threads"
            )));
        }
        addrs.push((address.into(), options));
    }
    Ok(addrs)
}
