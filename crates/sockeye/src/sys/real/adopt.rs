//! Descriptors that the program opened: what they are, and how they are read and written.

use std::io::{self, IsTerminal};
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd, ioctl_fionbio};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketType, sockopt};

use crate::sys::real::address;
use crate::sys::{Address, AdoptOptions, DescriptorKind};

/// What was found.
pub(super) struct Found {
    pub(super) kind: DescriptorKind,
    pub(super) peer: Address,
    pub(super) readable: bool,
    pub(super) writable: bool,
}

/// Makes it one as the loop needs it: non-blocking, and ending with `exec`.
pub(super) fn adapt(fd: BorrowedFd<'_>, options: &AdoptOptions) -> io::Result<Found> {
    let kind = kind(fd)?;
    let peer = if kind == DescriptorKind::Stream { Some(net::getpeername(fd)) } else { None };
    if options.must_be_connected && !matches!(peer, Some(Ok(_))) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a connected TCP or Unix stream socket"));
    }
    let access = fcntl_getfl(fd)? & OFlags::ACCMODE;
    ioctl_fionbio(fd, true)?;
    fcntl_setfd(fd, fcntl_getfd(fd)? | FdFlags::CLOEXEC)?;
    let peer = peer.and_then(Result::ok).flatten().map_or(Address::Unnamed, address::read);
    if options.nodelay && matches!(peer, Address::Ip(_)) {
        // Failing means that the peer is gone already: reading will tell.
        let _ = sockopt::set_tcp_nodelay(fd, true);
    }
    Ok(Found { kind, peer, readable: access != OFlags::WRONLY, writable: access != OFlags::RDONLY })
}

fn kind(fd: BorrowedFd<'_>) -> io::Result<DescriptorKind> {
    let kind = match sockopt::socket_type(fd) {
        Err(Errno::NOTSOCK) => return file(fd),
        kind => kind?,
    };
    Ok(match kind {
        SocketType::STREAM if is_listener(fd)? => DescriptorKind::Listener,
        // That a short read means drained is known of these only.
        SocketType::STREAM => match net::getsockname(fd)?.address_family() {
            AddressFamily::INET | AddressFamily::INET6 | AddressFamily::UNIX => DescriptorKind::Stream,
            _ => DescriptorKind::Packets,
        },
        SocketType::SEQPACKET => DescriptorKind::Packets,
        _ => DescriptorKind::Datagrams,
    })
}

#[cfg(not(target_vendor = "apple"))]
fn is_listener(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_acceptconn(socket)?)
}

/// Those systems do not tell: reading will.
#[cfg(target_vendor = "apple")]
fn is_listener(_: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(false)
}

fn file(fd: BorrowedFd<'_>) -> io::Result<DescriptorKind> {
    let what = match FileType::from_raw_mode(fstat(fd)?.st_mode) {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::BlockDevice => "a block device",
        _ => return Ok(DescriptorKind::Other),
    };
    Err(always_ready(what))
}

/// What is never waited for.
pub(super) fn always_ready(what: &str) -> io::Error {
    let text = format!(
        "{what} is always ready; it cannot be watched: read it, or have a thread or a process read it into a pipe"
    );
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

pub(super) fn read(fd: BorrowedFd<'_>, kind: DescriptorKind, buffer: &mut [u8]) -> io::Result<usize> {
    if kind == DescriptorKind::Other {
        keep_from_blocking(fd)?;
        return match rustix::io::read(fd, buffer) {
            // A terminal reports by this that its other end is closed.
            Err(Errno::IO) if fd.is_terminal() => Ok(0),
            result => Ok(result?),
        };
    }
    match net::recv(fd, buffer, RecvFlags::DONTWAIT) {
        Err(error) if kind == DescriptorKind::Datagrams && concerns_one(error) => {
            tracing::debug!(%error, "a datagram was lost");
            forget_errors(fd);
            Err(io::ErrorKind::Interrupted.into())
        }
        // What a datagram has beyond the buffer is lost; the first number is what was kept.
        result => Ok(result?.0),
    }
}

pub(super) fn write(fd: BorrowedFd<'_>, kind: DescriptorKind, bytes: &[u8]) -> io::Result<usize> {
    if kind == DescriptorKind::Other {
        keep_from_blocking(fd)?;
        return Ok(rustix::io::write(fd, bytes)?);
    }
    match net::send(fd, bytes, SEND) {
        Err(error) if kind == DescriptorKind::Datagrams && concerns_one(error) => {
            tracing::debug!(%error, "a datagram was lost");
            Ok(bytes.len())
        }
        result => Ok(result?),
    }
}

/// What is not a socket has no call that never waits, and whether it blocks is a matter of all who have it.
fn keep_from_blocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(ioctl_fionbio(fd, true)?)
}

/// Clears the pending error of a datagram socket, and those that it keeps.
pub(super) fn clear_errors(fd: BorrowedFd<'_>) {
    forget_errors(fd);
    // Reading it clears it.
    let _ = sockopt::socket_error(fd);
}

/// Takes away the errors that a UDP socket keeps if it was asked to (`IP_RECVERR`): a loop that watches levels sees them
/// until they are read. On sockets of other families Linux would read a datagram by this call.
#[cfg(target_os = "linux")]
fn forget_errors(fd: BorrowedFd<'_>) {
    let family = net::getsockname(fd).map(|name| name.address_family());
    if !matches!(family, Ok(AddressFamily::INET | AddressFamily::INET6)) {
        return;
    }
    for _ in 0..ERRORS {
        if net::recv(fd, &mut [0; 1], RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT).is_err() {
            return;
        }
    }
}

/// Other systems keep none.
#[cfg(not(target_os = "linux"))]
fn forget_errors(_: BorrowedFd<'_>) {}

/// Sockets do not block. Those that others have too may have been made to block again; sending must not wait even then.
pub(super) const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// More than a socket has room for by default. What is left is taken away with the next error.
#[cfg(target_os = "linux")]
const ERRORS: u32 = 1024;

/// Errors of one datagram, of this call or of an earlier one: the socket is as good as before.
fn concerns_one(error: Errno) -> bool {
    matches!(
        error,
        Errno::CONNREFUSED
            | Errno::CONNRESET
            | Errno::HOSTUNREACH
            | Errno::HOSTDOWN
            | Errno::NETUNREACH
            | Errno::NETDOWN
            | Errno::MSGSIZE
            | Errno::NOBUFS
            | Errno::PERM
            | Errno::ACCESS
    )
}

#[cfg(test)]
mod tests;
