//! A proxy on the way.

use std::error::Error;
use std::fmt;

use crate::client::credentials::{Credentials, CredentialsError};
use crate::client::no_proxy::NoProxy;
use crate::client::url::{Place, Url, UrlError, check_text, host_and_port};

/// An HTTP proxy (`CONNECT`) or a SOCKS 5 proxy. Names are looked up by the proxy. `Display` and `Debug` show no
/// credentials.
///
/// ```
/// use sockeye::client::Proxy;
///
/// let proxy = Proxy::parse("socks5://joe:secret@proxy.example:1081")?;
/// assert_eq!(proxy.to_string(), "socks5://proxy.example:1081");
/// assert_eq!(Proxy::parse("proxy.example:3128")?.to_string(), "http://proxy.example:3128");
/// # Ok::<(), sockeye::client::ProxyError>(())
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Proxy {
    pub(super) kind: ProxyKind,
    host: String,
    port: u16,
    pub(super) credentials: Option<Credentials>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum ProxyKind {
    Http,
    Socks,
}

impl Proxy {
    /// Reads `[scheme://][user:password@]host[:port]`, with a slash behind it or not. The scheme is `http` (and port 80)
    /// if it is missing; else `http`, or `socks5` or `socks5h` (port 1080), which are the same here.
    ///
    /// # Errors
    /// What is wrong with it. The error does not repeat the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        check_text(text).map_err(ProxyError::Place)?;
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let is = |known: &str| scheme.eq_ignore_ascii_case(known);
        let kind = if is("http") {
            ProxyKind::Http
        } else if is("socks5") || is("socks5h") {
            ProxyKind::Socks
        } else if is("https") {
            return Err(ProxyError::Tls);
        } else {
            return Err(ProxyError::Scheme);
        };
        let place = rest.strip_suffix('/').unwrap_or(rest);
        if place.contains(['/', '?']) {
            return Err(ProxyError::Path);
        }
        let Place { credentials, host, port } = Place::parse(place).map_err(ProxyError::Place)?;
        if let Some(credentials) = &credentials {
            kind.check(credentials).map_err(ProxyError::Credentials)?;
        }
        Ok(Self { kind, host, port: port.unwrap_or_else(|| kind.default_port()), credentials })
    }

    /// The proxy that the environment names for `url`: `http_proxy` for `ws`, `https_proxy` for `wss`, else `all_proxy`;
    /// each in lower case first, then in upper case. An empty variable counts as none. `env` reads one variable.
    ///
    /// `HTTP_PROXY` is not read where `REQUEST_METHOD` is set: in a CGI program it is what the client sent as `Proxy`.
    ///
    /// `no_proxy` lists hosts that are reached directly, with commas or spaces between them: `*` for all; a name, which
    /// stands for all names below it too, with a dot before it or not; an address; a network as `10.0.0.0/8`; each with
    /// `:port` for that port only. Nothing is in the list by itself, `localhost` and the loopback addresses neither.
    ///
    /// # Errors
    /// The variable that does not name a proxy. One that is not asked for is not read.
    pub fn from_env(url: &Url, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, EnvironmentError> {
        let read = |name: &'static str| env(name).filter(|value| !value.trim().is_empty()).map(|value| (name, value));
        let either = |lower, upper| read(lower).or_else(|| read(upper));
        let own = if url.is_secure() {
            either("https_proxy", "HTTPS_PROXY")
        } else if env("REQUEST_METHOD").is_some() {
            read("http_proxy")
        } else {
            either("http_proxy", "HTTP_PROXY")
        };
        let Some((variable, value)) = own.or_else(|| either("all_proxy", "ALL_PROXY")) else { return Ok(None) };
        let direct = either("no_proxy", "NO_PROXY");
        if direct.is_some_and(|(_, list)| NoProxy::new(&list).covers(url.host(), url.port())) {
            return Ok(None);
        }
        Self::parse(value.trim()).map(Some).map_err(|error| EnvironmentError { variable, error })
    }

    /// Its host, as [`Url::host`] gives it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl ProxyKind {
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            // RFC 1928 section 3: "The SOCKS service is conventionally located on TCP port 1080."
            Self::Socks => 1080,
        }
    }

    /// Can these credentials be sent to such a proxy?
    fn check(self, credentials: &Credentials) -> Result<(), CredentialsError> {
        match self {
            Self::Http => credentials.basic().map(|_| ()),
            // RFC 1929 section 2: user and password have 1 to 255 bytes. An empty password is sent all the same: tokens
            // are given as users, and proxies take it.
            Self::Socks => {
                let (user, password) = (credentials.user().len(), credentials.password().len());
                if (1..=255).contains(&user) && password <= 255 { Ok(()) } else { Err(CredentialsError::Length) }
            }
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks => "socks5",
        };
        write!(f, "{scheme}://{}", host_and_port(&self.host, self.port))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// Why a text names no proxy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ProxyError {
    /// A scheme other than `http`, `socks5` and `socks5h`.
    Scheme,
    /// `https`: a proxy behind TLS, which is not supported yet.
    Tls,
    /// A path or a query.
    Path,
    /// A host, a port or a character that is none.
    Place(UrlError),
    /// Credentials that such a proxy cannot be sent.
    Credentials(CredentialsError),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("the proxy must begin with http://, socks5:// or socks5h://"),
            Self::Tls => f.write_str("a proxy behind TLS (https://) is not supported yet"),
            Self::Path => f.write_str("a proxy is a host and a port, without a path"),
            Self::Place(error) => write!(f, "the proxy is invalid: {error}"),
            Self::Credentials(error) => write!(f, "the proxy's credentials are invalid: {error}"),
        }
    }
}

impl Error for ProxyError {}

/// A variable of the environment that does not name a proxy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct EnvironmentError {
    /// Its name.
    pub variable: &'static str,
    /// What is wrong with its value.
    pub error: ProxyError,
}

impl fmt::Display for EnvironmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} names no proxy: {}", self.variable, self.error)
    }
}

impl Error for EnvironmentError {}

#[cfg(test)]
mod tests;
