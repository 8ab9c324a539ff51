//! Opening listeners, with errors that say which address and why.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, sockopt};

use super::address::{new_socket, unix_name};
use crate::sys::{Address, ListenOptions};

/// A listener that is open.
pub(super) struct Listener {
    pub(super) socket: OwnedFd,
    pub(super) local: Address,
    pub(super) path: Option<SocketPath>,
}

pub(super) fn open(address: &Address, options: &ListenOptions) -> io::Result<Listener> {
    let opened = match address {
        Address::Ip(ip) => open_ip(*ip, options),
        Address::Unix(path) => open_unix(path, options),
        Address::Unnamed => Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no address")),
    };
    opened.map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}")))
}

fn open_ip(address: SocketAddr, options: &ListenOptions) -> io::Result<Listener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = new_socket(family)?;
    // Lets a restarted server have its port while connections of the last one linger.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if options.reuse_port && !options.claim {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, options.ipv6_only)?;
    }
    net::bind(&socket, &address)?;
    if options.reuse_port && options.claim {
        // Bound without it, the address was nobody's; from here on others may bind it who share.
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    net::listen(&socket, backlog(options))?;
    let local = SocketAddr::try_from(net::getsockname(&socket)?)?;
    Ok(Listener { socket, local: Address::Ip(local), path: None })
}

fn open_unix(path: &Path, options: &ListenOptions) -> io::Result<Listener> {
    let name = unix_name(path)?;
    let socket = new_socket(AddressFamily::UNIX)?;
    match net::bind(&socket, &name) {
        Err(Errno::ADDRINUSE) if is_stale(path, &name)? => {
            fs::remove_file(path)?;
            net::bind(&socket, &name)?;
        }
        bound => bound?,
    }
    let file = SocketPath::new(path)?;
    net::listen(&socket, backlog(options))?;
    Ok(Listener { socket, local: Address::Unix(path.to_owned()), path: Some(file) })
}

/// Whether `path` is a socket that nobody listens on any more: what a server leaves behind that was killed.
fn is_stale(path: &Path, name: &SocketAddrUnix) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of this name that is no socket"));
    }
    // Non-blocking: a server whose queue is full answers `AGAIN`, and is alive.
    Ok(net::connect(new_socket(AddressFamily::UNIX)?, name) == Err(Errno::CONNREFUSED))
}

/// The file of a Unix listener, removed with it.
#[derive(Debug)]
pub(super) struct SocketPath {
    /// Absolute: a daemon changes its directory.
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketPath {
    fn new(path: &Path) -> io::Result<Self> {
        let file = fs::symlink_metadata(path)?;
        Ok(Self { path: std::path::absolute(path)?, device: file.dev(), inode: file.ino() })
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        // Another server may have taken the path since.
        let ours = |file: fs::Metadata| file.dev() == self.device && file.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn backlog(options: &ListenOptions) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}
