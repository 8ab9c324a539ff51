//! Proxies.

use std::error::Error;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::client::credentials::{Credentials, CredentialsError};
use crate::client::no_proxy::NoProxy;
use crate::client::url::{Place, Url, UrlError, check_text, host_and_port};

/// An HTTP proxy (`CONNECT`), with or without TLS on the way to it, or a SOCKS 5 proxy. The proxy looks host names up. `Display` and `Debug` show no
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
    variable: Variable,
}

/// The environment variable that names the proxy. Of no matter to what the proxy is.
#[derive(Clone, Copy)]
struct Variable(Option<&'static str>);

impl PartialEq for Variable {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Variable {}

impl Hash for Variable {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum ProxyKind {
    Http,
    /// The same over TLS.
    Https,
    Socks,
}

impl Proxy {
    /// Parses `[scheme://][user:password@]host[:port]`, with or without a slash at the end. The scheme is `http` (the
    /// default; port 80), `https` (port 443: the proxy itself speaks TLS, see [`Connect::proxy_tls`](crate::client::Connect)),
    /// `socks5` or `socks5h` (port 1080; both mean the same here).
    ///
    /// # Errors
    /// The rule that the text breaks. The error does not repeat the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        check_text(text).map_err(ProxyError::Place)?;
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let is = |known: &str| scheme.eq_ignore_ascii_case(known);
        let kind = if is("http") {
            ProxyKind::Http
        } else if is("https") {
            ProxyKind::Https
        } else if is("socks5") || is("socks5h") {
            ProxyKind::Socks
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
        let port = port.unwrap_or_else(|| kind.default_port());
        Ok(Self { kind, host, port, credentials, variable: Variable(None) })
    }

    /// The proxy that the environment names for `url`: `http_proxy` for `ws`, `https_proxy` for `wss`, otherwise
    /// `all_proxy`; each in lower case first, then in upper case. An empty variable counts as unset. `env` reads one
    /// variable.
    ///
    /// `HTTP_PROXY` is ignored if `REQUEST_METHOD` is set: in a CGI program it is the client's `Proxy` header field.
    ///
    /// `no_proxy` lists hosts to reach directly, separated by commas or spaces: `*` for all; a name, with or without a
    /// leading dot, which includes all names below it; an address; a network such as `10.0.0.0/8`. Each may end with
    /// `:port` to cover that port only. No host is in the list by default, not even `localhost`.
    ///
    /// # Errors
    /// The variable whose value is not a valid proxy. Variables that do not apply are not checked.
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
        let proxy = Self::parse(value.trim()).map_err(|error| EnvironmentError { variable, error })?;
        Ok(Some(Self { variable: Variable(Some(variable)), ..proxy }))
    }

    /// The host, in the form of [`Url::host`].
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether the proxy itself speaks TLS: `https`. Of no matter to what is said through it.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        matches!(self.kind, ProxyKind::Https)
    }

    /// The environment variable that names it, if it is [from the environment](Self::from_env).
    #[must_use]
    pub const fn variable(&self) -> Option<&'static str> {
        self.variable.0
    }
}

impl ProxyKind {
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            // RFC 1928 section 3: "The SOCKS service is conventionally located on TCP port 1080."
            Self::Socks => 1080,
        }
    }

    /// Checks that these credentials can be sent to this kind of proxy.
    fn check(self, credentials: &Credentials) -> Result<(), CredentialsError> {
        match self {
            Self::Http | Self::Https => credentials.basic().map(|_| ()),
            // RFC 1929 section 2: user name and password have 1 to 255 bytes. An empty password is sent nevertheless:
            // tokens are given as user names, and proxies accept it.
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
            ProxyKind::Https => "https",
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

/// Why a text is not a valid proxy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ProxyError {
    /// A scheme other than `http`, `https`, `socks5` and `socks5h`.
    Scheme,
    /// A path or a query.
    Path,
    /// An invalid host, port or character.
    Place(UrlError),
    /// Credentials that cannot be sent to this kind of proxy.
    Credentials(CredentialsError),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("the proxy must begin with http://, https://, socks5:// or socks5h://"),
            Self::Path => f.write_str("a proxy is a host and a port, without a path"),
            Self::Place(error) => write!(f, "the proxy is invalid: {error}"),
            Self::Credentials(error) => write!(f, "the proxy's credentials cannot be sent: {error}"),
        }
    }
}

impl Error for ProxyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Place(error) => Some(error),
            Self::Credentials(error) => Some(error),
            Self::Scheme | Self::Path => None,
        }
    }
}

/// An environment variable whose value is not a valid proxy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct EnvironmentError {
    /// The name of the variable.
    pub variable: &'static str,
    /// The rule that its value breaks.
    pub error: ProxyError,
}

impl fmt::Display for EnvironmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a valid proxy: {}", self.variable, self.error)
    }
}

impl Error for EnvironmentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests;
