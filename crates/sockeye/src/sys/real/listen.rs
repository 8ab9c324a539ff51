//! Opening listeners.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::fs::fstat;
use rustix::fs::{self as rfs, FlockOperation, Mode, OFlags, RawMode, fchmod, flock};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, sockopt};

use crate::sys::real::address::{new_socket, set_output, set_patience, unix_name};
use crate::sys::{Address, ListenOptions};

/// A listener that is open.
pub(super) struct Listener {
    pub(super) socket: OwnedFd,
    pub(super) local: Address,
    pub(super) path: Option<SocketPath>,
}

pub(super) fn open(address: &Address, options: &ListenOptions) -> io::Result<Listener> {
    let opened = options.check().and_then(|()| match address {
        Address::Ip(ip) => open_ip(*ip, options),
        Address::Unix(path) => open_unix(path, options),
        _ => open_abstract(address, options),
    });
    opened.map_err(|error| if lacks_zone(address) { with_hint(&error) } else { error })
}

/// Whether it is an address that every network has, without the interface that says which network (RFC 4007 section 11).
fn lacks_zone(address: &Address) -> bool {
    matches!(address, Address::Ip(SocketAddr::V6(ip)) if ip.ip().is_unicast_link_local() && ip.scope_id() == 0)
}

fn with_hint(error: &io::Error) -> io::Error {
    let text = format!("{error}; a link-local address needs its interface, such as fe80::1%eth0");
    io::Error::new(error.kind(), text)
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
    tune(socket.as_fd(), options)?;
    net::bind(&socket, &address)?;
    if options.reuse_port && options.claim {
        // It was bound without the option, so no other process had the address. From here on others may share it.
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    net::listen(&socket, backlog(options))?;
    let local = SocketAddr::try_from(net::getsockname(&socket)?)?;
    Ok(Listener { socket, local: Address::Ip(local), path: None })
}

/// Sets what connections are to have that are accepted from a TCP listener: Linux, like the systems of BSD, hands it down.
pub(super) fn tune(socket: BorrowedFd<'_>, options: &ListenOptions) -> io::Result<()> {
    // A frame should leave when it is written.
    sockopt::set_tcp_nodelay(socket, true)?;
    set_patience(socket, options.keepalive, options.user_timeout)?;
    set_output(socket, options.send_buffer_bytes, options.unsent_bytes)
}

/// Binding, and listening a moment later, are one step for all who take the lock: a socket that is bound and does not listen
/// yet looks as stale as one whose server was killed.
fn open_unix(path: &Path, options: &ListenOptions) -> io::Result<Listener> {
    let name = unix_name(&Address::Unix(path.to_owned()))?;
    let _lock = lock_folder(path);
    let socket = new_socket(AddressFamily::UNIX)?;
    if let Some(mode) = options.unix_mode {
        // Linux makes the file with the socket's own mode, as far as the umask lets it. Elsewhere it is wider for a
        // moment, in which connecting fails, since nothing listens.
        let _ = fchmod(&socket, Mode::from_raw_mode(mode as RawMode));
    }
    match net::bind(&socket, &name) {
        Err(Errno::ADDRINUSE) if is_stale(path, &name)? => {
            fs::remove_file(path)?;
            net::bind(&socket, &name)?;
        }
        bound => bound?,
    }
    // From here on it is removed if anything fails.
    let file = SocketPath::new(path)?;
    if let Some(mode) = options.unix_mode {
        file.set_mode(mode).map_err(|e| io::Error::new(e.kind(), format!("its mode cannot be set: {e}")))?;
    }
    net::listen(&socket, backlog(options))?;
    Ok(Listener { socket, local: Address::Unix(path.to_owned()), path: Some(file) })
}

fn open_abstract(address: &Address, options: &ListenOptions) -> io::Result<Listener> {
    let name = unix_name(address)?;
    if let Some(mode) = options.unix_mode {
        let text =
            format!("an abstract socket has no file, and so no mode such as {mode:#o}: every process may connect");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let socket = new_socket(AddressFamily::UNIX)?;
    net::bind(&socket, &name)?;
    net::listen(&socket, backlog(options))?;
    Ok(Listener { socket, local: address.clone(), path: None })
}

/// Keeps other servers of this library from listening in the same directory while it is held. Unlike a lock file it leaves nothing
/// behind. There is no lock without the right to read the directory, or when another program holds one for more than a second.
fn lock_folder(path: &Path) -> Option<OwnedFd> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    // A FIFO in its place would block, and is not a folder.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let folder = rfs::open(folder, flags, Mode::empty()).ok()?;
    for _ in 0..LOCK_ATTEMPTS {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(folder),
            Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(LOCK_PAUSE),
            Err(_) => break,
        }
    }
    None
}

/// Whether `path` is a socket without a listener: what a killed server leaves behind.
fn is_stale(path: &Path, name: &SocketAddrUnix) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file of this name exists that is not a socket"));
    }
    // Non-blocking: a server whose queue is full answers `AGAIN`, and is alive.
    Ok(net::connect(new_socket(AddressFamily::UNIX)?, name) == Err(Errno::CONNREFUSED))
}

/// The file of a Unix listener, removed with it by the process that made it, and not by a child that has a copy of the listener.
#[derive(Debug)]
pub(super) struct SocketPath {
    process: u32,
    /// Absolute: a daemon changes its directory.
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketPath {
    fn new(path: &Path) -> io::Result<Self> {
        let file = fs::symlink_metadata(path)?;
        let process = std::process::id();
        Ok(Self { process, path: std::path::absolute(path)?, device: file.dev(), inode: file.ino() })
    }

    /// Gives the file exactly this mode, of which the umask may have taken something.
    #[cfg(target_os = "linux")]
    fn set_mode(&self, mode: u32) -> io::Result<()> {
        // The file itself, not what another user of the directory may have put in its place, such as a link.
        let file = rfs::open(&self.path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let found = fstat(&file)?;
        if (found.st_dev, found.st_ino) != (self.device, self.inode) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the file was replaced meanwhile"));
        }
        fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), Permissions::from_mode(mode))
    }

    #[cfg(not(target_os = "linux"))]
    fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(&self.path, Permissions::from_mode(mode))
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
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

const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A second in all.
const LOCK_ATTEMPTS: u32 = 200;
