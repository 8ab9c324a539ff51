//! Addresses as the system has them, and sockets for them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::net::{self, AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType};

use crate::sys::Address;

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
    let unix = SocketAddrUnix::try_from(address).ok();
    let path = unix.as_ref().and_then(|unix| unix.path_bytes()).filter(|path| !path.is_empty());
    path.map_or(Address::Unnamed, |path| Address::Unix(std::ffi::OsString::from_vec(path.to_vec()).into()))
}

pub(super) fn unix_name(path: &Path) -> io::Result<SocketAddrUnix> {
    let length = path.as_os_str().as_bytes().len();
    if length == 0 || length > UNIX_PATH_BYTES {
        let text = format!("a socket's path has 1 to {UNIX_PATH_BYTES} bytes, this one has {length}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(SocketAddrUnix::new(path)?)
}

pub(super) fn new_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(net::socket_with(family, SocketType::STREAM, flags, None)?)
}

/// `sun_path` has 108 bytes, the last of which is a NUL.
const UNIX_PATH_BYTES: usize = 107;
