//! One connection, described.

use std::env;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use sockeye_proto::handshake::ApiMisuse;
use sockeye_proto::handshake::client::{self, Accepted, UpgradeRequest};
use sockeye_proto::limits::ProtocolLimits;

use crate::client::credentials::{Credentials, CredentialsError};
use crate::client::proxy::{EnvironmentError, Proxy};
use crate::client::reconnect::Reconnect;
use crate::client::url::{Url, UrlError};
use crate::sys::{Address, ConnectOptions, TcpKeepalive};

/// What to connect to, and how. Each setter checks what it is given, so a description that exists can be carried out.
///
/// `Debug` shows no credentials, no values of fields, and no query.
#[derive(Clone)]
pub struct Connect {
    url: Url,
    /// Empty: those that the host resolves to.
    pub(super) addresses: Vec<Address>,
    pub(crate) socket: ConnectOptions,
    origin: Option<String>,
    protocols: Vec<String>,
    pub(super) fields: Vec<(String, String)>,
    /// The one `Authorization`, wherever it came from.
    pub(super) authorization: Option<String>,
    proxy: Option<Proxy>,
    /// The proxy is the environment's choice for this URL, and has to be chosen anew for another one.
    proxy_from_env: bool,
    pub(crate) timeout: Duration,
    pub(crate) timeouts: Timeouts,
    /// How many redirects may still be followed.
    pub(crate) redirects: u8,
    pub(crate) reconnect: Option<Reconnect>,
}

impl Connect {
    /// A connection to `url`, which [`Url`] describes. User and password in it become an `Authorization` field.
    ///
    /// # Errors
    /// `ConnectError::Url`.
    pub fn new(url: &str) -> Result<Self, ConnectError> {
        Ok(Self::from(Url::parse(url)?))
    }

    /// Offers a subprotocol, less wanted than those before it. Without one nothing is offered.
    ///
    /// # Errors
    /// `ConnectError::Handshake`: it is no token, or is offered already.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Result<Self, ConnectError> {
        self.protocols.push(name.into());
        self.checked()
    }

    /// Adds a header field to the handshake: cookies, tokens. An `Authorization` replaces the one before it.
    ///
    /// # Errors
    /// `ConnectError::Handshake`: the name is no token; the value has a control character; the field is written by the
    /// handshake itself or has a setter of its own.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> Result<Self, ConnectError> {
        let (name, value) = (name.into(), value.into());
        if name.eq_ignore_ascii_case("authorization") {
            self.authorization = Some(value);
        } else {
            self.fields.push((name, value));
        }
        self.checked()
    }

    /// Sets the `Origin`: `scheme://host[:port]` or `null`. Programs that are not browsers need none, unless the server
    /// insists.
    ///
    /// # Errors
    /// `ConnectError::Handshake`: it is none.
    pub fn origin(mut self, origin: impl Into<String>) -> Result<Self, ConnectError> {
        self.origin = Some(origin.into());
        self.checked()
    }

    /// Sends user and password by basic authentication (RFC 7617), in place of those in the URL. Over `ws` everybody on
    /// the way can read them.
    ///
    /// # Errors
    /// `ConnectError::Credentials`: a control character, or a colon in the user's name.
    pub fn basic_auth(mut self, user: &str, password: &str) -> Result<Self, ConnectError> {
        self.authorization = Some(Credentials::new(user, password)?.basic()?);
        Ok(self)
    }

    /// Goes through `proxy`.
    #[must_use]
    pub fn proxy(self, proxy: Proxy) -> Self {
        Self { proxy: Some(proxy), proxy_from_env: false, ..self }
    }

    /// Goes through the proxy that the environment names for this URL, if it names one: see [`Proxy::from_env`]. The
    /// environment is read now, and again when a redirect leads to another server.
    ///
    /// # Errors
    /// `ConnectError::Environment`: a variable does not name a proxy.
    pub fn proxy_from_env(mut self) -> Result<Self, ConnectError> {
        self.proxy_from_env = true;
        self.choose_proxy()?;
        Ok(self)
    }

    /// Goes through no proxy, which is the default.
    #[must_use]
    pub fn no_proxy(self) -> Self {
        Self { proxy: None, proxy_from_env: false, ..self }
    }

    /// Connects to these addresses, whatever the URL's host resolves to, and through no proxy: a Unix socket, a host that
    /// has no name yet. They are tried in this order. The request still names the URL's host. None at all means the
    /// default: the host is looked up.
    #[must_use]
    pub fn to(self, addresses: impl IntoIterator<Item = Address>) -> Self {
        Self { addresses: addresses.into_iter().collect(), ..self }
    }

    /// Has the system look whether a silent server is still there; see
    /// [`ListenOptions::keepalive`](crate::sys::ListenOptions::keepalive). Default off: the service pings.
    ///
    /// # Errors
    /// `ConnectError::Socket`: a value out of bounds, which [`TcpKeepalive`] has.
    pub fn keepalive(mut self, keepalive: TcpKeepalive) -> Result<Self, ConnectError> {
        self.socket.keepalive = Some(keepalive);
        self.socket_checked()
    }

    /// How long sent bytes may stay unacknowledged before the system gives the connection up; see
    /// [`ListenOptions::user_timeout`](crate::sys::ListenOptions::user_timeout). It bounds connecting, too. Only on Linux.
    ///
    /// # Errors
    /// `ConnectError::Socket`: less than 1 ms or more than 24 days, or a system that cannot.
    pub fn user_timeout(mut self, time: Duration) -> Result<Self, ConnectError> {
        self.socket.user_timeout = Some(time);
        self.socket_checked()
    }

    /// How long everything together may take, from the wish to the open connection. Default 30 s.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// How long each stage may take.
    #[must_use]
    pub fn timeouts(self, mut timeouts: Timeouts) -> Self {
        // RFC 8305 section 5: "a subsequent connection MUST NOT be started within 10 milliseconds of the previous
        // attempt."
        timeouts.head_start = timeouts.head_start.max(Duration::from_millis(10));
        Self { timeouts, ..self }
    }

    /// How many redirects (301, 302, 303, 307, 308) are followed. Default 0: they are reported like any refusal.
    ///
    /// To another origin goes the handshake without credentials and without the fields that [`field`](Self::field) added,
    /// since any of them may be a secret. From `wss` no redirect leads to `ws`.
    #[must_use]
    pub fn redirects(self, max: u8) -> Self {
        Self { redirects: max, ..self }
    }

    /// Connects again when the connection fails or is lost. Default: no.
    #[must_use]
    pub fn reconnect(self, policy: Reconnect) -> Self {
        Self { reconnect: Some(policy), ..self }
    }

    /// Where it leads.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The same, to `url`; what was for the old place only is left out if that is another one.
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
        // A value that is not Unicode names no host that could be looked up; replaced, it is refused with its name.
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
            request = request.field("Authorization", authorization)?;
        }
        for (name, value) in &self.fields {
            request = request.field(name, value)?;
        }
        Ok(request)
    }
}

/// For the loop.
impl Connect {
    /// The addresses to connect to; empty: those that [`first_host`](Self::first_host) resolves to.
    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The host and port of the first connection: the proxy's, else the URL's.
    pub(crate) fn first_host(&self) -> (&str, u16) {
        match self.via() {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => (self.url.host(), self.url.port()),
        }
    }

    /// The proxy on the way.
    pub(crate) fn via(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| self.addresses.is_empty())
    }

    /// Appends the request of the handshake.
    ///
    /// # Errors
    /// None in fact: whatever changes a part of it ends in `checked`, which builds the same, also where a peer redirects to;
    /// and a new one has only what a `Url` guarantees and what `Credentials::basic` encodes. If one of them forgot a rule, this
    /// connect fails, and not the loop.
    pub(crate) fn request(&self, nonce: [u8; 16], out: &mut Vec<u8>) -> Result<(), ApiMisuse> {
        self.build(&self.url.authority())?.write(out, nonce);
        Ok(())
    }

    /// Checks the head of the response to [`request`](Self::request).
    pub(crate) fn check<'b>(
        &self,
        head: &'b [u8],
        nonce: [u8; 16],
        limits: &ProtocolLimits,
    ) -> Result<Accepted<'b>, client::HandshakeError> {
        let offered: Vec<&str> = self.protocols.iter().map(String::as_str).collect();
        client::check(head, nonce, &offered, limits)
    }
}

impl From<Url> for Connect {
    fn from(url: Url) -> Self {
        // A `Url` has no credentials that could not be sent.
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
            timeout: Duration::from_secs(30),
            timeouts: Timeouts::default(),
            redirects: 0,
            reconnect: None,
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

/// How long each stage of connecting may take. Change single fields of [`Timeouts::default`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Looking the host up. Default 10 s.
    pub resolve: Duration,
    /// Connecting, all addresses together. Default 10 s.
    pub connect: Duration,
    /// What one address has before the next is tried beside it; 10 ms at least. Default 250 ms: RFC 8305 section 5, "One
    /// recommended value for a default delay is 250 milliseconds."
    pub head_start: Duration,
    /// Negotiating with a proxy. Default 10 s.
    pub proxy: Duration,
    /// From the request to the end of the response. Default 10 s.
    pub handshake: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let stage = Duration::from_secs(10);
        Self { resolve: stage, connect: stage, head_start: Duration::from_millis(250), proxy: stage, handshake: stage }
    }
}

/// Why a connection cannot be described so. Nothing was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is none.
    Url(UrlError),
    /// The handshake must not say this.
    Handshake(ApiMisuse),
    /// The credentials cannot be sent.
    Credentials(CredentialsError),
    /// The environment names a proxy that is none.
    Environment(EnvironmentError),
    /// The system cannot be asked for these, of which the text names the first.
    Socket(ConnectOptions),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::Handshake(error) => error.fmt(f),
            Self::Credentials(error) => error.fmt(f),
            Self::Environment(error) => error.fmt(f),
            Self::Socket(options) => match options.check() {
                Err(error) => error.fmt(f),
                Ok(()) => f.write_str("options of the socket"),
            },
        }
    }
}

impl Error for ConnectError {}

impl From<UrlError> for ConnectError {
    fn from(error: UrlError) -> Self {
        Self::Url(error)
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
