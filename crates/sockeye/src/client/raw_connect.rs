//! The description of a connection that is not a WebSocket.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::client::connect::{Connect, ConnectError};
use crate::client::timeouts::Timeouts;
use crate::client::url::{Place, Url, UrlError, check_text};
use crate::sys::{Address, TcpKeepalive};
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
use crate::tls::ClientTls;

/// What to connect a [`Raw`](crate::raw::Raw) or [`Watcher`](crate::raw::Watcher) endpoint to, and how:
/// [`EndpointMut::connect`](crate::raw::EndpointMut::connect) takes it. Each setter validates its argument, so every
/// `RawConnect` can be carried out.
///
/// All addresses of a host are tried as for a WebSocket (RFC 8305), with the same deadlines. There is no proxy, and
/// nothing is repeated by itself. To reconnect, set a timer in `closed` and `failed`
/// ([`EndpointMut::set_timer`](crate::raw::EndpointMut::set_timer)), and connect again in `own_timer`: without a pause, a
/// server that is down is asked thousands of times a second.
///
/// ```
/// use std::time::Duration;
///
/// use sockeye::client::RawConnect;
/// use sockeye::raw::{EndpointMut, Raw, RawClose, RawClosed, RawClosedCx, RawCx};
/// use sockeye::{ConnId, Failure};
///
/// struct Ticker {
///     server: RawConnect,
/// }
///
/// const AGAIN: u64 = 0;
///
/// impl Raw for Ticker {
///     type Session = ();
///
///     fn name(&self) -> &str {
///         "ticker"
///     }
///
///     fn open(&mut self, _: &mut RawCx<'_>) {}
///
///     fn receive(&mut self, _: &mut RawCx<'_>, _: &mut (), bytes: &[u8]) -> Result<(), RawClose> {
///         println!("{}", bytes.escape_ascii());
///         Ok(())
///     }
///
///     fn closed(&mut self, cx: &mut RawClosedCx<'_>, _: (), _: RawClosed) {
///         cx.own_endpoint().set_timer(AGAIN, Duration::from_secs(1));
///     }
///
///     fn failed(&mut self, own: &mut EndpointMut<'_>, _: ConnId, failure: Failure) {
///         eprintln!("{failure}");
///         own.set_timer(AGAIN, Duration::from_secs(1));
///     }
///
///     fn own_timer(&mut self, own: &mut EndpointMut<'_>, _: u64) {
///         own.connect(self.server.clone());
///     }
/// }
/// # let server = RawConnect::new("localhost:9")?;
/// # let _ = sockeye::Service::builder().raw(Ticker { server });
/// # Ok::<(), sockeye::client::ConnectError>(())
/// ```
///
/// ```
/// use std::time::Duration;
///
/// use sockeye::client::RawConnect;
/// use sockeye::sys::Address;
///
/// # fn main() -> Result<(), sockeye::client::ConnectError> {
/// let database = RawConnect::new("db.example.com:5432")?.timeout(Duration::from_secs(3))?;
/// let local = RawConnect::from(Address::Unix("/run/postgresql/.s.PGSQL.5432".into()));
/// # let _ = (database, local);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RawConnect {
    /// The way to the first byte is that of a WebSocket. Of the URL only host and port are used.
    connect: Connect,
}

impl RawConnect {
    /// Describes a connection to `host:port`: a name, an IPv4 address, or an IPv6 address in brackets.
    ///
    /// # Errors
    /// `ConnectError::Url`: the host is invalid, or the port is missing or not a number from 1 to 65535.
    pub fn new(place: &str) -> Result<Self, ConnectError> {
        if place.contains(['@', '#']) {
            return Err(UrlError::Host.into());
        }
        check_text(place)?;
        let Place { host, port, .. } = Place::parse(place)?;
        Ok(Self { connect: Url::of_host(host, port.ok_or(UrlError::Port)?).into() })
    }

    /// Connects to these addresses, in this order, instead of looking the host up. An empty list restores the default:
    /// the host is looked up.
    #[must_use]
    pub fn to(self, addresses: impl IntoIterator<Item = Address>) -> Self {
        Self { connect: self.connect.to(addresses) }
    }

    /// Speaks TLS from the first byte: [`open`](crate::raw::Raw::open) comes after the handshake, whose failure is one of the
    /// connect ([`FailureCause::Tls`](crate::client::FailureCause::Tls)). The certificate must be for the host, also with
    /// [`to`](Self::to); nothing is named by ALPN. To begin it later, see
    /// [`ConnectionMut::start_tls`](crate::protocol::ConnectionMut::start_tls). A [`Watcher`](crate::raw::Watcher) reads and
    /// writes for itself, so that it cannot have it.
    ///
    /// ```no_run
    /// # #[cfg(feature = "tls-ring")] {
    /// use sockeye::client::RawConnect;
    /// use sockeye::tls::{ClientTls, Provider};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mail = RawConnect::new("mail.example.com:465")?.tls(ClientTls::builder(Provider::Ring).build()?);
    /// # let _ = mail;
    /// # Ok(()) }
    /// # }
    /// ```
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))))]
    #[must_use]
    pub fn tls(self, tls: ClientTls) -> Self {
        Self { connect: self.connect.over_tls(tls) }
    }

    /// As [`Connect::source`].
    #[must_use]
    pub fn source(self, address: IpAddr) -> Self {
        Self { connect: self.connect.source(address) }
    }

    /// As [`Connect::keepalive`]: there are no WebSocket pings here.
    ///
    /// # Errors
    /// As [`Connect::keepalive`].
    pub fn keepalive(self, keepalive: TcpKeepalive) -> Result<Self, ConnectError> {
        Ok(Self { connect: self.connect.keepalive(keepalive)? })
    }

    /// As [`Connect::user_timeout`].
    ///
    /// # Errors
    /// As [`Connect::user_timeout`].
    pub fn user_timeout(self, time: Duration) -> Result<Self, ConnectError> {
        Ok(Self { connect: self.connect.user_timeout(time)? })
    }

    /// As [`Connect::send_buffer_bytes`].
    ///
    /// # Errors
    /// As [`Connect::send_buffer_bytes`].
    pub fn send_buffer_bytes(self, bytes: u32) -> Result<Self, ConnectError> {
        Ok(Self { connect: self.connect.send_buffer_bytes(bytes)? })
    }

    /// As [`Connect::unsent_bytes`].
    ///
    /// # Errors
    /// As [`Connect::unsent_bytes`].
    pub fn unsent_bytes(self, bytes: u32) -> Result<Self, ConnectError> {
        Ok(Self { connect: self.connect.unsent_bytes(bytes)? })
    }

    /// Time limit from the start to the open connection. Default 30 s.
    ///
    /// # Errors
    /// `ConnectError::Limit`: less than 1 ms or more than 365 days.
    pub fn timeout(self, timeout: Duration) -> Result<Self, ConnectError> {
        Ok(Self { connect: self.connect.timeout(timeout)? })
    }

    /// Time limits of the host lookup, of connecting and of TLS; the others are not used.
    ///
    /// # Errors
    /// As [`Connect::timeouts`].
    pub fn timeouts(self, timeouts: Timeouts) -> Result<Self, ConnectError> {
        Ok(Self { connect: self.connect.timeouts(timeouts)? })
    }

    /// What the loop carries out.
    pub(crate) fn into_connect(self) -> Connect {
        self.connect
    }
}

/// Connects to this address.
impl From<Address> for RawConnect {
    fn from(address: Address) -> Self {
        // A name that is never looked up, unless `to` takes the address back.
        let url = match &address {
            Address::Ip(ip) => Url::of_host(ip.ip().to_string(), ip.port()),
            _ => Url::of_host("localhost".to_owned(), 80),
        };
        Self { connect: Connect::from(url).to([address]) }
    }
}

impl fmt::Debug for RawConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connect { addresses, socket, timeout, timeouts, .. } = &self.connect;
        let (host, port) = self.connect.first_host();
        f.debug_struct("RawConnect")
            .field("host", &host)
            .field("port", &port)
            .field("addresses", addresses)
            .field("socket", socket)
            .field("timeout", timeout)
            .field("timeouts", timeouts)
            .field("is_secure", &self.connect.url().is_secure())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("DB.example.com:5432", "db.example.com", 5432),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:65535", "::1", 65535),
            ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ] {
            let raw = RawConnect::new(text).unwrap();
            assert_eq!(raw.connect.first_host(), (host, port), "{text}");
        }
        for (text, error) in [
            ("example.com", UrlError::Port),
            ("example.com:", UrlError::Port),
            ("example.com:0", UrlError::Port),
            ("example.com:65536", UrlError::Port),
            (":80", UrlError::HostMissing),
            ("", UrlError::HostMissing),
            ("::1:80", UrlError::HostMissing),
            ("joe@example.com:80", UrlError::Host),
            ("example.com:80/", UrlError::Port),
            ("tcp://example.com:80", UrlError::Port),
            ("a b:80", UrlError::Character { at: 1 }),
        ] {
            let found = RawConnect::new(text).unwrap_err();
            assert_eq!(found, ConnectError::Url(error), "{text}");
        }
    }
}
