//! The description of a connection.

mod handshake;

use std::env;
use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use sockeye_proto::handshake::ApiMisuse;
use sockeye_proto::handshake::client::UpgradeRequest;

use crate::client::credentials::{Credentials, CredentialsError};
use crate::client::proxy::{EnvironmentError, Proxy};
use crate::client::reconnect::Reconnect;
use crate::client::timeouts::Timeouts;
use crate::client::url::{Url, UrlError};
use crate::limits::{LimitError, table};
use crate::sys::{Address, ConnectOptions, TcpKeepalive};
use crate::tls::ClientTls;

/// Describes a connection to make: the server, the handshake, proxies, time limits. Each setter checks its argument, so a
/// `Connect` is always valid. [`ProtocolMut::connect`](crate::protocol::ProtocolMut::connect) takes it.
///
/// `Debug` shows no credentials, no field values and no query.
///
/// ```
/// use std::time::Duration;
///
/// use sockeye::client::Reconnect;
/// use sockeye::{Connect, Service, messages};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let feed = Connect::new("ws://example.com/feed")?
///     .subprotocol("feed.v2")?
///     .header("Cookie", "session=abc")?
///     .timeout(Duration::from_secs(5))?
///     .reconnect(Reconnect::default())?;
///
/// let mut builder = Service::builder();
/// let print = builder.add_protocol(messages::on("print", |_, message| {
///     println!("{message:?}");
///     Ok(())
/// }));
/// let mut service = builder.build()?;
/// let id = service.control().protocol(print)?.connect(feed);
/// # let _ = id;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Connect {
    url: Url,
    /// Empty: the host is looked up.
    pub(super) addresses: Vec<Address>,
    pub(crate) socket: ConnectOptions,
    origin: Option<String>,
    protocols: Vec<String>,
    pub(super) fields: Vec<(String, String)>,
    /// The only `Authorization`, from the URL or a setter.
    pub(super) authorization: Option<String>,
    proxy: Option<Proxy>,
    /// The environment chose the proxy for this URL; for another URL it must be chosen again.
    proxy_from_env: bool,
    pub(crate) timeout: Duration,
    pub(crate) timeouts: Timeouts,
    /// Redirects that may still be followed.
    pub(crate) redirects: u8,
    pub(crate) reconnect: Option<Reconnect>,
    pub(crate) reports_handshake: bool,
    tls: Option<ClientTls>,
    /// For the proxy itself.
    proxy_tls: Option<ClientTls>,
}

impl Connect {
    /// Describes a connection to `url`; see [`Url`]. User name and password in it become an `Authorization` field.
    ///
    /// # Errors
    /// `ConnectError::Url`: the URL is invalid.
    pub fn new(url: &str) -> Result<Self, ConnectError> {
        Ok(Self::from(Url::parse(url)?))
    }

    /// Offers a subprotocol (RFC 6455 section 1.9). The first one offered is preferred. Default: none.
    ///
    /// # Errors
    /// `ConnectError::Handshake`: it is not a token, or was offered before.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Result<Self, ConnectError> {
        self.protocols.push(name.into());
        self.checked()
    }

    /// Adds a header field to the handshake, such as a cookie or a token. An `Authorization` replaces the previous one.
    ///
    /// # Errors
    /// `ConnectError::Handshake`: the name is not a token; the value has a control character; the handshake writes this
    /// field itself, or it has its own setter.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Result<Self, ConnectError> {
        let (name, value) = (name.into(), value.into());
        if name.eq_ignore_ascii_case("authorization") {
            self.authorization = Some(value);
        } else {
            self.fields.push((name, value));
        }
        self.checked()
    }

    /// Sets the `Origin`: `scheme://host[:port]` or `null`. Default: none. Only browsers need one, unless the server
    /// insists.
    ///
    /// # Errors
    /// `ConnectError::Handshake`: it is not an origin.
    pub fn origin(mut self, origin: impl Into<String>) -> Result<Self, ConnectError> {
        self.origin = Some(origin.into());
        self.checked()
    }

    /// Sends user name and password by basic authentication (RFC 7617), instead of those in the URL. Over `ws` anyone
    /// on the path can read them.
    ///
    /// # Errors
    /// `ConnectError::Credentials`: a control character, or a colon in the user name.
    pub fn basic_auth(mut self, user: &str, password: &str) -> Result<Self, ConnectError> {
        self.authorization = Some(Credentials::new(user, password)?.basic()?);
        Ok(self)
    }

    /// Connects through `proxy`.
    #[must_use]
    pub fn proxy(self, proxy: Proxy) -> Self {
        Self { proxy: Some(proxy), proxy_from_env: false, ..self }
    }

    /// Connects through the proxy that the environment names for this URL, if any: see [`Proxy::from_env`]. The
    /// environment is read now, and again when a redirect leads to another server.
    ///
    /// # Errors
    /// `ConnectError::Environment`: the value of a variable is not a valid proxy.
    pub fn proxy_from_env(mut self) -> Result<Self, ConnectError> {
        self.proxy_from_env = true;
        self.choose_proxy()?;
        Ok(self)
    }

    /// Connects without a proxy, which is the default.
    #[must_use]
    pub fn no_proxy(self) -> Self {
        Self { proxy: None, proxy_from_env: false, ..self }
    }

    /// Connects to these addresses, in this order, instead of looking the URL's host up, and without a proxy: a Unix
    /// socket, or a host that has no name yet. The request still names the URL's host. An empty list restores the
    /// default: the host is looked up.
    #[must_use]
    pub fn to(self, addresses: impl IntoIterator<Item = Address>) -> Self {
        Self { addresses: addresses.into_iter().collect(), ..self }
    }

    /// Enables TCP keepalive; see [`ListenOptions::keepalive`](crate::sys::ListenOptions::keepalive). Default off: the
    /// service sends WebSocket pings.
    ///
    /// # Errors
    /// `ConnectError::Socket`: a value out of the limits of [`TcpKeepalive`].
    pub fn keepalive(mut self, keepalive: TcpKeepalive) -> Result<Self, ConnectError> {
        self.socket.keepalive = Some(keepalive);
        self.socket_checked()
    }

    /// Sets how long sent bytes may stay unacknowledged before the system drops the connection; see
    /// [`ListenOptions::user_timeout`](crate::sys::ListenOptions::user_timeout). It also limits connecting. Only on
    /// Linux.
    ///
    /// # Errors
    /// `ConnectError::Socket`: less than 1 ms, more than 24 days, or not supported by the system.
    pub fn user_timeout(mut self, time: Duration) -> Result<Self, ConnectError> {
        self.socket.user_timeout = Some(time);
        self.socket_checked()
    }

    /// Sets how many bytes of output the system keeps until the server acknowledges them; see
    /// [`ListenOptions::send_buffer_bytes`](crate::sys::ListenOptions::send_buffer_bytes).
    ///
    /// # Errors
    /// `ConnectError::Socket`: less than 2 KiB or more than 1 GiB.
    pub fn send_buffer_bytes(mut self, bytes: u32) -> Result<Self, ConnectError> {
        self.socket.send_buffer_bytes = Some(bytes);
        self.socket_checked()
    }

    /// The socket takes output while fewer bytes than this have not been sent, so that the newest value does not wait
    /// behind many old ones; see [`ListenOptions::unsent_bytes`](crate::sys::ListenOptions::unsent_bytes). Only on
    /// Linux.
    ///
    /// # Errors
    /// `ConnectError::Socket`: 0, more than 1 GiB, or not supported by the system.
    pub fn unsent_bytes(mut self, bytes: u32) -> Result<Self, ConnectError> {
        self.socket.unsent_bytes = Some(bytes);
        self.socket_checked()
    }

    /// Connects from this address of the host, for hosts that have several. With a proxy it is the connection to the
    /// proxy that comes from it. Default: the system picks one. Addresses of the other family are not reached, and an
    /// address that is not the host's own fails with [`FailureCause::Connect`](crate::client::FailureCause::Connect).
    ///
    /// ```
    /// use sockeye::Connect;
    ///
    /// # fn main() -> Result<(), sockeye::client::ConnectError> {
    /// let connect = Connect::new("ws://localhost/")?.source([127, 0, 0, 2].into());
    /// # let _ = connect;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn source(mut self, address: IpAddr) -> Self {
        self.socket.source = Some(address);
        self
    }

    /// Sets the time limit of a whole attempt, from its start to the open connection, redirects included. Default 30 s.
    ///
    /// Each stage has a limit of its own, 10 s by default: who waits longer raises [`timeouts`](Self::timeouts), too.
    ///
    /// # Errors
    /// `ConnectError::Limit`: less than 1 ms or more than 365 days.
    pub fn timeout(self, timeout: Duration) -> Result<Self, ConnectError> {
        table::CONNECT_TIMEOUT.check_time(timeout)?;
        Ok(Self { timeout, ..self })
    }

    /// Sets the time limit of each stage.
    ///
    /// # Errors
    /// `ConnectError::Limit`: one of them is less than 1 ms, or 10 ms for `head_start`, or more than 365 days.
    pub fn timeouts(self, timeouts: Timeouts) -> Result<Self, ConnectError> {
        timeouts.check()?;
        Ok(Self { timeouts, ..self })
    }

    /// Sets the maximum number of redirects (301, 302, 303, 307, 308) to follow. Default 0: a redirect is reported like any
    /// refusal.
    ///
    /// To another origin the handshake is sent without credentials and without the fields that [`header`](Self::header)
    /// added, as any of them may be a secret. A redirect from `wss` to `ws` is never followed.
    #[must_use]
    pub fn redirects(self, max: u8) -> Self {
        Self { redirects: max, ..self }
    }

    /// Reconnects when the connection fails or is lost. Default: no.
    ///
    /// # Errors
    /// `ConnectError::Limit`: a value of the policy is out of its range.
    pub fn reconnect(self, policy: Reconnect) -> Result<Self, ConnectError> {
        policy.check()?;
        Ok(Self { reconnect: Some(policy), ..self })
    }

    /// Has [`Protocol::handshake_head`](crate::Protocol::handshake_head) called with each head of the opening handshake, those
    /// sent and those received, also of attempts that fail, of proxies, and of redirects. Default: no.
    ///
    /// ```
    /// use sockeye::client::HandshakeHead;
    /// use sockeye::protocol::ProtocolMut;
    /// use sockeye::{Close, ConnId, Connect, Cx, Fragment, Handshake, Protocol, Tx};
    ///
    /// struct Curious;
    ///
    /// impl Protocol for Curious {
    ///     type Session = ();
    ///
    ///     fn name(&self) -> &str {
    ///         "curious"
    ///     }
    ///
    ///     fn handshake_head(&mut self, _: &mut ProtocolMut<'_>, id: ConnId, head: HandshakeHead<'_>) {
    ///         println!("{id}: {}", head.bytes().escape_ascii());
    ///     }
    ///     # fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) {}
    ///     # fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
    ///     #     Ok(())
    ///     # }
    ///     # fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
    ///     #     Ok(())
    ///     # }
    /// }
    ///
    /// let connect = Connect::new("ws://example.com/")?.report_handshake();
    /// # let _ = connect;
    /// # Ok::<(), sockeye::client::ConnectError>(())
    /// ```
    #[must_use]
    pub fn report_handshake(self) -> Self {
        Self { reports_handshake: true, ..self }
    }

    /// Whom to trust, and what to show, if the URL is one of `wss`. Without it such a connect fails with
    /// [`FailureCause::Unsupported`](crate::client::FailureCause::Unsupported). The certificate must be for the host of the URL, also
    /// through a proxy, and with [`to`](Self::to). It holds for redirects too.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))))]
    #[must_use]
    pub fn tls(self, tls: ClientTls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Whom to trust as the proxy, and what to show it, if it speaks TLS itself: one of `https`, given or from the environment.
    /// Without it a connect through such a proxy fails with [`FailureCause::Unsupported`](crate::client::FailureCause::Unsupported).
    /// Nothing of [`tls`](Self::tls) holds for the proxy, and nothing of this for the server: roots, pins and certificates are
    /// each side's own. The certificate must be for the host of the proxy.
    ///
    /// ```no_run
    /// # #[cfg(feature = "tls-ring")] {
    /// use sockeye::Connect;
    /// use sockeye::client::Proxy;
    /// use sockeye::tls::{ClientTls, Pem, Provider};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (public, own) = (ClientTls::builder(Provider::Ring), ClientTls::builder(Provider::Ring));
    /// let connect = Connect::new("wss://example.com/feed")?
    ///     .tls(public.build()?)
    ///     .proxy(Proxy::parse("https://joe:secret@proxy.internal:3129")?)
    ///     .proxy_tls(own.roots(Pem::file("our-own-ca.pem")).build()?);
    /// # let _ = connect;
    /// # Ok(()) }
    /// # }
    /// ```
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))))]
    #[must_use]
    pub fn proxy_tls(self, tls: ClientTls) -> Self {
        Self { proxy_tls: Some(tls), ..self }
    }

    /// As [`tls`](Self::tls), for what is not a WebSocket: it is over TLS, whatever the URL said.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    pub(super) fn over_tls(self, tls: ClientTls) -> Self {
        Self { url: self.url.secured(), tls: Some(tls), ..self }
    }

    /// What was given to [`tls`](Self::tls).
    pub(crate) const fn client_tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }

    /// What was given to [`proxy_tls`](Self::proxy_tls).
    pub(crate) const fn tls_of_proxy(&self) -> Option<&ClientTls> {
        self.proxy_tls.as_ref()
    }

    /// The URL to connect to.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The proxy that the connection goes through, given or from the environment. `None` with addresses of its own
    /// ([`to`](Self::to)).
    #[must_use]
    pub fn via(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| self.addresses.is_empty())
    }

    /// The same description for `url`. If its origin differs, credentials, fields and addresses are dropped.
    pub(super) fn with_url(&self, url: Url) -> Result<Self, ConnectError> {
        let mut moved = self.clone();
        if !url.is_same_origin(&self.url) {
            moved.fields.clear();
            moved.authorization = None;
            moved.addresses.clear();
        }
        moved.url = url;
        if moved.proxy_from_env {
            moved.choose_proxy()?;
        }
        moved.checked()
    }

    fn choose_proxy(&mut self) -> Result<(), EnvironmentError> {
        // A value that is not UTF-8 cannot name a host. With replacement characters it is rejected, and the error names
        // the variable.
        let read = |name: &str| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        self.proxy = Proxy::from_env(&self.url, &read)?;
        Ok(())
    }

    fn socket_checked(self) -> Result<Self, ConnectError> {
        self.socket.check().map_err(|_| ConnectError::Socket(self.socket))?;
        Ok(self)
    }

    fn checked(self) -> Result<Self, ConnectError> {
        self.build(&self.url.authority())?;
        Ok(self)
    }

    fn build<'a>(&'a self, authority: &'a str) -> Result<UpgradeRequest<'a>, ApiMisuse> {
        let mut request = UpgradeRequest::new(authority, self.url.target())?;
        if let Some(origin) = &self.origin {
            request = request.origin(origin)?;
        }
        for protocol in &self.protocols {
            request = request.protocol(protocol)?;
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization)?;
        }
        for (name, value) in &self.fields {
            request = request.header(name, value)?;
        }
        Ok(request)
    }
}

/// Used by the loop.
impl Connect {
    /// The addresses to connect to; if empty, [`first_host`](Self::first_host) is looked up.
    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The same handshake, on a connection that exists: no proxy, no redirect, no attempt after it.
    pub(crate) fn once(self) -> Self {
        Self { redirects: 0, reconnect: None, ..self.no_proxy() }
    }

    /// The host and port of the first connection: the proxy's, or the URL's.
    pub(crate) fn first_host(&self) -> (&str, u16) {
        match self.via() {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => (self.url.host(), self.url.port()),
        }
    }
}

impl From<Url> for Connect {
    fn from(url: Url) -> Self {
        // A `Url` has only credentials that can be sent.
        let authorization = url.credentials().and_then(|credentials| credentials.basic().ok());
        Self {
            url,
            addresses: Vec::new(),
            socket: ConnectOptions::default(),
            origin: None,
            protocols: Vec::new(),
            fields: Vec::new(),
            authorization,
            proxy: None,
            proxy_from_env: false,
            timeout: table::CONNECT_TIMEOUT.default_time(),
            timeouts: Timeouts::default(),
            redirects: 0,
            reconnect: None,
            reports_handshake: false,
            tls: None,
            proxy_tls: None,
        }
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Connect")
            .field("url", &self.url)
            .field("addresses", &self.addresses)
            .field("socket", &self.socket)
            .field("origin", &self.origin)
            .field("protocols", &self.protocols)
            .field("fields", &names)
            .field("authorization", &self.authorization.as_ref().map(|_| format_args!("..")))
            .field("proxy", &self.proxy)
            .field("timeout", &self.timeout)
            .field("timeouts", &self.timeouts)
            .field("redirects", &self.redirects)
            .field("reconnect", &self.reconnect)
            .finish()
    }
}

/// Why a description is invalid. Nothing was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is invalid.
    Url(UrlError),
    /// The handshake request would be invalid.
    Handshake(ApiMisuse),
    /// The credentials cannot be sent.
    Credentials(CredentialsError),
    /// The environment's proxy is invalid.
    Environment(EnvironmentError),
    /// A time or a reconnect policy out of its range.
    Limit(LimitError),
    /// Invalid or unsupported socket options. `Display` names the first one.
    Socket(ConnectOptions),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::Handshake(error) => error.fmt(f),
            Self::Credentials(error) => error.fmt(f),
            Self::Environment(error) => error.fmt(f),
            Self::Limit(error) => error.fmt(f),
            Self::Socket(options) => match options.check() {
                Err(error) => error.fmt(f),
                Ok(()) => f.write_str("invalid socket options"),
            },
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Url(error) => Some(error),
            Self::Handshake(error) => Some(error),
            Self::Credentials(error) => Some(error),
            Self::Environment(error) => Some(error),
            Self::Limit(error) => Some(error),
            Self::Socket(_) => None,
        }
    }
}

impl From<UrlError> for ConnectError {
    fn from(error: UrlError) -> Self {
        Self::Url(error)
    }
}

impl From<LimitError> for ConnectError {
    fn from(error: LimitError) -> Self {
        Self::Limit(error)
    }
}

impl From<ApiMisuse> for ConnectError {
    fn from(error: ApiMisuse) -> Self {
        Self::Handshake(error)
    }
}

impl From<CredentialsError> for ConnectError {
    fn from(error: CredentialsError) -> Self {
        Self::Credentials(error)
    }
}

impl From<EnvironmentError> for ConnectError {
    fn from(error: EnvironmentError) -> Self {
        Self::Environment(error)
    }
}

#[cfg(test)]
mod tests;
