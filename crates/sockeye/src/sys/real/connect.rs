//! Connecting without waiting.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, sockopt};

use crate::sys::real::address::{new_socket, set_output, set_patience, unix_name};
use crate::sys::{Address, ConnectOptions, check_family};

pub(super) fn begin(address: &Address, options: &ConnectOptions) -> io::Result<OwnedFd> {
    options.check()?;
    match address {
        Address::Ip(ip) => begin_ip(*ip, options),
        _ => begin_unix(&unix_name(address)?),
    }
}

fn begin_ip(address: SocketAddr, options: &ConnectOptions) -> io::Result<OwnedFd> {
    let socket = new_socket(if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 })?;
    // A frame should leave when it is written. A system that cannot do that still connects.
    let _ = sockopt::set_tcp_nodelay(&socket, true);
    // The program chose these, so failing to set them is an error.
    set_patience(socket.as_fd(), options.keepalive, options.user_timeout)?;
    set_output(socket.as_fd(), options.send_buffer_bytes, options.unsent_bytes)?;
    if let Some(source) = options.source {
        check_family(source, address.ip())?;
        net::bind(&socket, &SocketAddr::new(source, 0))?;
    }
    match net::connect(&socket, &address) {
        // POSIX: a connect that a signal interrupted goes on by itself, and starting it again would be an error.
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        // Linux means "no port is left" by it. It must not be taken for an attempt that goes on.
        Err(Errno::AGAIN) => Err(Errno::ADDRNOTAVAIL.into()),
        Err(error) => Err(error.into()),
    }
}

fn begin_unix(name: &SocketAddrUnix) -> io::Result<OwnedFd> {
    let socket = new_socket(AddressFamily::UNIX)?;
    match net::connect(&socket, name) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        // Nothing goes on after it, unlike with TCP: the attempt is over, and no report will ever come.
        Err(Errno::AGAIN) => Err(io::Error::new(io::ErrorKind::ResourceBusy, "the listener's queue is full")),
        Err(error) => Err(error.into()),
    }
}

/// Whether it is connected. The error is read first, which clears it.
pub(super) fn outcome(socket: BorrowedFd<'_>) -> io::Result<bool> {
    sockopt::socket_error(socket)??;
    let peer = match net::getpeername(socket) {
        // Some systems say `INVAL` of a connection that is over.
        Err(Errno::NOTCONN | Errno::INVAL) => return Ok(false),
        peer => peer?,
    };
    // The port that the system picked may be the very port without a listener: for TCP that is a connection of a program
    // with itself (RFC 9293 section 3.5, simultaneous open). A client that keeps retrying a server that is down gets there.
    let peer = peer.map(SocketAddr::try_from).and_then(Result::ok);
    let is_own = peer.is_some() && SocketAddr::try_from(net::getsockname(socket)?).ok() == peer;
    if is_own { Err(Errno::CONNREFUSED.into()) } else { Ok(true) }
}
