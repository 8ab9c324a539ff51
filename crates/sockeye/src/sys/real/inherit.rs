//! Listeners that the program passes: checking what they are.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd, ioctl_fionbio};
#[cfg(target_os = "linux")]
use rustix::net::ipproto;
use rustix::net::{self, AddressFamily, SocketAddrAny, SocketType, sockopt};

use crate::sys::real::{address, listen};
use crate::sys::{Address, ListenOptions};

/// Checks that it is a listener, and makes it one as the loop needs it: non-blocking, and ending with `exec`. Whether it blocks
/// is a matter of the socket, and so of all who have it.
pub(super) fn adapt(listener: BorrowedFd<'_>, options: &ListenOptions) -> io::Result<Address> {
    options.check()?;
    let name = check(listener)?;
    ioctl_fionbio(listener, true)?;
    fcntl_setfd(listener, fcntl_getfd(listener)? | FdFlags::CLOEXEC)?;
    if name.address_family() != AddressFamily::UNIX {
        listen::tune(listener, options)?;
    }
    Ok(address::read(name))
}

/// Its address, if it is a stream socket that listens.
fn check(listener: BorrowedFd<'_>) -> io::Result<SocketAddrAny> {
    let kind = match sockopt::socket_type(listener) {
        Err(Errno::NOTSOCK) => return Err(wrong(file_kind(listener))),
        kind => kind?,
    };
    match kind {
        SocketType::STREAM => {}
        SocketType::DGRAM => return Err(wrong("a datagram socket (SOCK_DGRAM)")),
        SocketType::SEQPACKET => return Err(wrong("a socket of packets (SOCK_SEQPACKET)")),
        SocketType::RAW => return Err(wrong("a raw socket")),
        _ => return Err(wrong("a socket of another type")),
    }
    let name = net::getsockname(listener)?;
    match name.address_family() {
        AddressFamily::UNIX => {}
        AddressFamily::INET | AddressFamily::INET6 if is_tcp(listener)? => {}
        AddressFamily::INET | AddressFamily::INET6 => {
            return Err(wrong("a stream socket of another protocol than TCP"));
        }
        _ => return Err(wrong("a stream socket of another family than IPv4, IPv6 and Unix")),
    }
    if !listens(listener)? {
        let is_connected = net::getpeername(listener).is_ok_and(|peer| peer.is_some());
        return Err(wrong(if is_connected { "a connection" } else { "a stream socket that does not listen" }));
    }
    Ok(name)
}

#[cfg(target_os = "linux")]
fn is_tcp(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let protocol = sockopt::socket_protocol(socket)?;
    Ok(protocol.is_none_or(|protocol| protocol == ipproto::TCP || protocol == ipproto::MPTCP))
}

#[cfg(not(target_os = "linux"))]
fn is_tcp(_: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(true)
}

#[cfg(not(target_vendor = "apple"))]
fn listens(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_acceptconn(socket)?)
}

/// Those systems do not tell: the first `accept` will.
#[cfg(target_vendor = "apple")]
fn listens(_: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(true)
}

fn file_kind(file: BorrowedFd<'_>) -> &'static str {
    let kind = fstat(file).map(|found| FileType::from_raw_mode(found.st_mode));
    match kind {
        Ok(FileType::RegularFile) => "a regular file",
        Ok(FileType::Directory) => "a directory",
        Ok(FileType::Fifo) => "a pipe",
        Ok(FileType::CharacterDevice) => "a character device, such as a terminal",
        Ok(FileType::BlockDevice) => "a block device",
        _ => "not a socket",
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, and must be a listening stream socket"))
}
