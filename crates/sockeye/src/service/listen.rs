//! Where a listener comes from: an address, a name, or a descriptor opened elsewhere.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use crate::error::{Error, ListenTarget};
use crate::sys::{Address, CloseHow, Handle, ListenOptions, Sys};

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

    /// The same with this port, if any free one is asked for.
    fn with_port(&self, port: Option<u16>) -> Self {
        match (self, port) {
            (Self::Address(Address::Ip(address)), Some(port)) if address.port() == 0 => {
                Self::Address(Address::Ip(SocketAddr::new(address.ip(), port)))
            }
            _ => self.clone(),
        }
    }

    pub(crate) fn open(&self, sys: &mut dyn Sys, options: &ListenOptions) -> io::Result<(Handle, Address)> {
        match self {
            Self::Address(address) => sys.listen(address, options),
            Self::Inherited(listener) => sys.inherit(listener.try_clone()?, options),
        }
    }
}

/// Opens all addresses of one listener, which has several if it was named.
///
/// If a free port was asked for, all of them get the same one. An address that this machine does not have is left out if
/// there is another: `localhost` means `::1` too, also where there is no IPv6.
pub(crate) fn open_all(
    sys: &mut dyn Sys,
    sources: &[Source],
    options: &ListenOptions,
) -> Result<Vec<(Handle, Address)>, Error> {
    let mut attempt = 1;
    loop {
        let mut opened: Vec<(Handle, Address)> = Vec::new();
        let mut missing = None;
        let mut is_taken = false;
        for source in sources {
            let port = opened.first().and_then(|(_, address)| port_of(address));
            match source.with_port(port).open(sys, options) {
                Ok(listener) => opened.push(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && sources.len() > 1 => {
                    missing.get_or_insert_with(|| Error::listen(source.target(), error));
                }
                Err(error) => {
                    opened.drain(..).for_each(|(handle, _)| sys.close(handle, CloseHow::Normal));
                    // Somebody else has the port that the first one found free.
                    is_taken = port.is_some() && error.kind() == io::ErrorKind::AddrInUse && attempt < PORTS;
                    if !is_taken {
                        return Err(Error::listen(source.target(), error));
                    }
                    break;
                }
            }
        }
        match missing {
            _ if is_taken => attempt += 1,
            Some(error) if opened.is_empty() => return Err(error),
            _ => return Ok(opened),
        }
    }
}

fn port_of(address: &Address) -> Option<u16> {
    match address {
        Address::Ip(address) => Some(address.port()),
        _ => None,
    }
}

/// Free ports that are tried until one is free for all addresses of a name.
const PORTS: u32 = 16;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Real;

    fn opened(texts: &[&str]) -> Result<Vec<SocketAddr>, Error> {
        let source = |text: &&str| Source::Address(Address::Ip(text.parse().unwrap()));
        let sources: Vec<_> = texts.iter().map(source).collect();
        let opened = open_all(&mut Real::new().unwrap(), &sources, &ListenOptions::default())?;
        let ip = |(_, address)| match address {
            Address::Ip(address) => address,
            other => panic!("{other}"),
        };
        Ok(opened.into_iter().map(ip).collect())
    }

    #[test]
    fn all_addresses_of_a_name_have_one_port_and_one_that_is_not_there_is_left_out() {
        let found = opened(&["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"]).unwrap();
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|address| address.port() == found[0].port()), "{found:?}");
        // Networks for documentation (RFC 5737).
        assert_eq!(opened(&["198.51.100.1:0", "127.0.0.1:0"]).unwrap().len(), 1);
        assert!(opened(&["198.51.100.1:0"]).is_err());
        assert!(opened(&["198.51.100.1:0", "203.0.113.1:0"]).unwrap_err().to_string().contains("198.51.100.1"));
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        assert!(opened(&["127.0.0.2:0", &address]).is_err(), "a port that was asked for is not another one");
    }
}
