//! Where a listener comes from: an address, a name, or a descriptor opened elsewhere.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use crate::error::{Error, ListenTarget};
use crate::sys::{Address, Handle, ListenOptions, Sys};

/// Where to listen: an address, or a text such as `127.0.0.1:7681`, `[::1]:0` or `localhost:80`,
/// where every address of the name is listened on, or `unix:/run/x.sock`, or `unix:@name` for an
/// abstract socket.
///
/// Or a listener that is already open: a [`TcpListener`], a [`UnixListener`], or the descriptor of
/// one, as passed by a service manager or a parent process. Building checks that it is a listener.
/// Of its [`ListenOptions`] only `keepalive` and `user_timeout` are applied; the rest is up to its
/// creator, as is the file of a Unix socket, which is not removed. The [`Threads`](crate::Threads)
/// of one program may share it: a new connection wakes all idle threads, and one gets it.
///
/// ```
/// use std::net::TcpListener;
///
/// use sockeye::{Service, messages};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let opened = TcpListener::bind("127.0.0.1:0")?;
/// let builder = Service::builder().protocol(messages::echo("echo")).listen("localhost:0").listen(opened);
/// println!("{:?}", builder.build()?.local_addresses());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ListenAddr(Target);

#[derive(Clone, Debug)]
enum Target {
    Source(Source),
    Text(String),
}

/// A [`ListenAddr`] after name resolution.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Address(Address),
    /// Already open. Each service has a duplicate, so that cloning needs no descriptor.
    Inherited(Arc<OwnedFd>),
}

impl ListenAddr {
    pub(crate) fn resolve(self) -> Result<Vec<Source>, Error> {
        let text = match self.0 {
            Target::Source(source) => return Ok(vec![source]),
            Target::Text(text) => text,
        };
        if let Some(name) = text.strip_prefix("unix:") {
            return match Address::unix(name) {
                Some(address) => Ok(vec![Source::Address(address)]),
                None => Err(Error::configuration(format!(
                    "{text}: `unix:` must be followed by a path, or by `@` and a name"
                ))),
            };
        }
        let found = text.to_socket_addrs().map_err(|error| Error::listen(ListenTarget::Name(text), error))?;
        Ok(found.map(|ip| Source::Address(Address::Ip(ip))).collect())
    }
}

impl Source {
    /// The text that an error names.
    pub(crate) fn target(&self) -> ListenTarget {
        match self {
            Self::Address(address) => ListenTarget::Address(address.clone()),
            Self::Inherited(listener) => ListenTarget::Descriptor(listener.as_raw_fd()),
        }
    }

    pub(crate) fn open(&self, sys: &mut dyn Sys, options: &ListenOptions) -> io::Result<(Handle, Address)> {
        match self {
            Self::Address(address) => sys.listen(address, options),
            Self::Inherited(listener) => sys.inherit(listener.try_clone()?, options),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target().fmt(f)
    }
}

impl From<Source> for ListenAddr {
    fn from(source: Source) -> Self {
        Self(Target::Source(source))
    }
}

impl From<Address> for ListenAddr {
    fn from(address: Address) -> Self {
        Source::Address(address).into()
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(address: SocketAddr) -> Self {
        Address::Ip(address).into()
    }
}

impl From<&str> for ListenAddr {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for ListenAddr {
    fn from(text: String) -> Self {
        Self(Target::Text(text))
    }
}

impl From<OwnedFd> for ListenAddr {
    fn from(listener: OwnedFd) -> Self {
        Source::Inherited(Arc::new(listener)).into()
    }
}

impl From<TcpListener> for ListenAddr {
    fn from(listener: TcpListener) -> Self {
        OwnedFd::from(listener).into()
    }
}

impl From<UnixListener> for ListenAddr {
    fn from(listener: UnixListener) -> Self {
        OwnedFd::from(listener).into()
    }
}
