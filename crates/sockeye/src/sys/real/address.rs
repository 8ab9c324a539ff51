//! Addresses as the system has them, and sockets for them.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use rustix::net::{self, AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::sys::{Address, TcpKeepalive};

/// What the system says of a socket. An IPv4 address that is written as IPv6 becomes IPv4, scopes stay.
pub(super) fn read(address: SocketAddrAny) -> Address {
    if let Ok(ip) = SocketAddr::try_from(address.clone()) {
        return Address::Ip(match ip {
            SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
                SocketAddr::new(ip.ip().to_canonical(), ip.port())
            }
            ip => ip,
        });
    }
    let Ok(unix) = SocketAddrUnix::try_from(address) else { return Address::Unnamed };
    if let Some(name) = abstract_name(&unix) {
        return Address::Abstract(name.to_vec());
    }
    let path = unix.path_bytes().filter(|path| !path.is_empty());
    path.map_or(Address::Unnamed, |path| Address::Unix(OsString::from_vec(path.to_vec()).into()))
}

/// The system's name of a Unix socket.
///
/// # Errors
/// `InvalidInput` when it is too short or too long, or for an address of another kind; `Unsupported` where there are no abstract
/// names.
pub(super) fn unix_name(address: &Address) -> io::Result<SocketAddrUnix> {
    match address {
        Address::Unix(path) => {
            check_length("a socket's path", path.as_os_str().len())?;
            Ok(SocketAddrUnix::new(path)?)
        }
        Address::Abstract(name) => {
            check_length("an abstract socket's name", name.len())?;
            new_abstract(name)
        }
        Address::Ip(_) | Address::Unnamed => Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no address")),
    }
}

fn check_length(what: &str, length: usize) -> io::Result<()> {
    if length == 0 || length > UNIX_PATH_BYTES {
        let text = format!("{what} has 1 to {UNIX_PATH_BYTES} bytes, this one has {length}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn abstract_name(address: &SocketAddrUnix) -> Option<&[u8]> {
    // An empty one is not a name: some calls return it when there is none.
    address.abstract_name().filter(|name| !name.is_empty())
}

#[cfg(target_os = "linux")]
fn new_abstract(name: &[u8]) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn abstract_name(_: &SocketAddrUnix) -> Option<&[u8]> {
    None
}

#[cfg(not(target_os = "linux"))]
fn new_abstract(_: &[u8]) -> io::Result<SocketAddrUnix> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux has abstract sockets: give a path"))
}

pub(super) fn new_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(net::socket_with(family, SocketType::STREAM, flags, None)?)
}

/// Sets what has the system notice that a TCP peer is gone. The values were checked.
pub(super) fn set_patience(
    socket: BorrowedFd<'_>,
    keepalive: Option<TcpKeepalive>,
    user_timeout: Option<Duration>,
) -> io::Result<()> {
    if let Some(TcpKeepalive { idle, interval, probes }) = keepalive {
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, idle)?;
        sockopt::set_tcp_keepintvl(socket, interval)?;
        sockopt::set_tcp_keepcnt(socket, probes)?;
    }
    #[cfg(target_os = "linux")]
    if let Some(time) = user_timeout {
        sockopt::set_tcp_user_timeout(socket, u32::try_from(time.as_millis()).unwrap_or(u32::MAX))?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = user_timeout;
    Ok(())
}

/// Sets how much output the system keeps of a TCP socket. The values were checked.
pub(super) fn set_output(
    socket: BorrowedFd<'_>,
    send_buffer_bytes: Option<u32>,
    unsent_bytes: Option<u32>,
) -> io::Result<()> {
    if let Some(bytes) = send_buffer_bytes {
        sockopt::set_socket_send_buffer_size(socket, bytes as usize)?;
    }
    #[cfg(target_os = "linux")]
    if let Some(bytes) = unsent_bytes {
        socket2::SockRef::from(&socket).set_tcp_notsent_lowat(bytes)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = unsent_bytes;
    Ok(())
}

/// `sun_path` has 108 bytes, the last of which is a NUL.
const UNIX_PATH_BYTES: usize = 107;
