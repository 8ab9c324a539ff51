//! Where sockets are.

use std::ffi::OsStr;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Where to listen, where a listener is, or where a connection comes from.
///
/// ```
/// use sockeye::sys::Address;
///
/// let address: Address = "127.0.0.1:7681".parse::<std::net::SocketAddr>()?.into();
/// assert_eq!(address.to_string(), "127.0.0.1:7681");
/// assert_eq!(Address::unix("/run/chat.sock").unwrap().to_string(), "unix:/run/chat.sock");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Address {
    /// An IPv4 or IPv6 address and port. Of a peer it is never an IPv4 address written as IPv6.
    Ip(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// A Unix socket without a file: any 1 to 107 bytes are a name, which is free again once the socket is closed. Every process
    /// in its network namespace may connect to it. Only on Linux.
    Abstract(Vec<u8>),
    /// No address: the usual peer of a Unix socket.
    Unnamed,
}

impl Address {
    /// The Unix socket that is written `unix:NAME`: a path, or an abstract name behind an `@`. `None` when it is empty.
    /// (The path of a file whose name begins with `@` is written `./@name`.)
    #[must_use]
    pub fn unix(name: impl AsRef<OsStr>) -> Option<Self> {
        let name = name.as_ref();
        match name.as_bytes() {
            [] | [b'@'] => None,
            [b'@', name @ ..] => Some(Self::Abstract(name.to_vec())),
            _ => Some(Self::Unix(name.into())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{}", String::from_utf8_lossy(name)),
            Self::Unnamed => f.write_str("unnamed"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}
