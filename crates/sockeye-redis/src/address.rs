//! Where the server is and who we are: `redis://user:password@host:6379/0`.

use std::error::Error;
use std::fmt;

use sockeye_hub::backplane::{Place, Security};

/// Why a [`Redis`](crate::Redis) cannot be made. The text says what to write instead, and shows no password.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// It begins neither with `redis://` nor with `rediss://`.
    Scheme,
    /// There is a query or a fragment.
    Query,
    /// A name without a password, which some take for a password without a name.
    Credentials,
    /// A `%` in the name or the password that two hexadecimal digits do not follow.
    Percent,
    /// No host.
    Host,
    /// The port is not a number from 1 to 65,535.
    Port,
    /// What follows the host is not the number of a database.
    Database,
    /// The prefix has a brace.
    Prefix,
    /// A history of no messages, of too many, or of no time.
    History,
    /// The system has no random bytes.
    Entropy(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the URL of a Redis server begins with redis:// or, for TLS, rediss://",
            Self::Query => "the URL of a Redis server ends with the number of the database, without ? or #; in a password write them as %3F and %23",
            Self::Credentials => "write redis://user:password@host, or redis://:password@host if the server asks for a password alone",
            Self::Percent => "a % in the user's name or the password is written %25",
            Self::Host => "the URL of a Redis server has a host, such as redis://127.0.0.1:6379; an IPv6 address stands in brackets",
            Self::Port => "the port of a Redis server is a number from 1 to 65535",
            Self::Database => "behind the host there may be the number of a database and nothing else, such as redis://127.0.0.1/2",
            Self::Prefix => "the prefix of names in Redis has no { and no }",
            Self::History => "a history has 1 to 100000 messages, an age of at least 1 ms and 1 KiB to 24 MiB to load",
            Self::Entropy(why) => return write!(f, "the system has no random bytes: {why}"),
        })
    }
}

impl Error for ConfigError {}

/// A parsed URL.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) place: Place,
    /// A name, which may be `default`, and a password.
    pub(crate) credentials: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) database: u32,
}

/// Without the password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.credentials.as_ref().map(|(user, _)| String::from_utf8_lossy(user));
        f.debug_struct("Address")
            .field("place", &self.place)
            .field("user", &user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, ConfigError> {
        let (scheme, rest) = url.split_once("://").ok_or(ConfigError::Scheme)?;
        let security = match scheme.to_ascii_lowercase().as_str() {
            "redis" => Security::Plain,
            "rediss" => Security::Tls,
            _ => return Err(ConfigError::Scheme),
        };
        // Passwords are often not escaped. So the host is cut off from the right, whatever they hold.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        if rest.contains(['?', '#']) {
            return Err(ConfigError::Query);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = host_and_port(authority)?;
        let credentials = credentials.map(parse_credentials).transpose()?;
        let database = if path.is_empty() { 0 } else { number(path).ok_or(ConfigError::Database)? };
        Ok(Self { place: Place { host, port, security }, credentials, database })
    }
}

fn host_and_port(authority: &str) -> Result<(String, u16), ConfigError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(ConfigError::Host)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| ConfigError::Host)?;
        (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(ConfigError::Host)?) })
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let is_host = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '[' | ']' | '@'));
    if !is_host {
        return Err(ConfigError::Host);
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(digits) => number(digits).filter(|port| *port > 0).ok_or(ConfigError::Port)?,
    };
    Ok((host.to_owned(), port))
}

fn parse_credentials(text: &str) -> Result<(Vec<u8>, Vec<u8>), ConfigError> {
    let (user, password) = text.split_once(':').ok_or(ConfigError::Credentials)?;
    let user = unescape(user)?;
    Ok((if user.is_empty() { b"default".to_vec() } else { user }, unescape(password)?))
}

/// Digits and nothing else.
fn number<T: std::str::FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn unescape(text: &str) -> Result<Vec<u8>, ConfigError> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(ConfigError::Percent);
        let value = digit()? * 16 + digit()?;
        out.push(u8::try_from(value).map_err(|_| ConfigError::Percent)?);
    }
    Ok(out)
}

const DEFAULT_PORT: u16 = 6379;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (String, u16, Security, String, u32) {
        let address = Address::parse(url).expect(url);
        let credentials = address.credentials.map_or_else(String::new, |(user, password)| {
            format!("{} {}", user.escape_ascii(), password.escape_ascii())
        });
        (address.place.host, address.place.port, address.place.security, credentials, address.database)
    }

    #[test]
    fn urls_of_all_forms_are_read() {
        let (plain, tls) = (Security::Plain, Security::Tls);
        for (url, host, port, security, credentials, database) in [
            ("redis://localhost", "localhost", 6379, plain, "", 0),
            ("redis://localhost/", "localhost", 6379, plain, "", 0),
            ("REDIS://10.0.0.1:7000/3", "10.0.0.1", 7000, plain, "", 3),
            ("rediss://cache.example:6380", "cache.example", 6380, tls, "", 0),
            ("redis://[::1]:7000/15", "::1", 7000, plain, "", 15),
            ("redis://[::1]", "::1", 6379, plain, "", 0),
            ("redis://:secret@h", "h", 6379, plain, "default secret", 0),
            ("redis://ann:se%3acr%65t%2F@h:1/2", "h", 1, plain, "ann se:cret/", 2),
            ("redis://ann:a@b/c:d?e#f@h", "h", 6379, plain, "ann a@b/c:d?e#f", 0),
            ("redis://ann:@h", "h", 6379, plain, "ann ", 0),
        ] {
            assert_eq!(parsed(url), (host.to_owned(), port, security, credentials.to_owned(), database), "{url}");
        }
    }

    #[test]
    fn errors_say_what_to_write() {
        for (url, error) in [
            ("localhost:6379", ConfigError::Scheme),
            ("http://localhost", ConfigError::Scheme),
            ("redis:/localhost", ConfigError::Scheme),
            ("", ConfigError::Scheme),
            ("redis://", ConfigError::Host),
            ("redis:///0", ConfigError::Host),
            ("redis://:6379", ConfigError::Host),
            ("redis://::1", ConfigError::Host),
            ("redis://[::1", ConfigError::Host),
            ("redis://[fe]:1", ConfigError::Host),
            ("redis://[::1]x", ConfigError::Host),
            ("redis://a b", ConfigError::Host),
            ("redis://h:0", ConfigError::Port),
            ("redis://h:65536", ConfigError::Port),
            ("redis://h:+1", ConfigError::Port),
            ("redis://h:", ConfigError::Port),
            ("redis://h/x", ConfigError::Database),
            ("redis://h/1/", ConfigError::Database),
            ("redis://h/-1", ConfigError::Database),
            ("redis://h?db=1", ConfigError::Query),
            ("redis://h#1", ConfigError::Query),
            ("redis://secret@h", ConfigError::Credentials),
            ("redis://:100%@h", ConfigError::Percent),
            ("redis://:%zz@h", ConfigError::Percent),
        ] {
            let found = Address::parse(url).expect_err(url);
            assert_eq!(found, error, "{url}");
            assert!(!found.to_string().contains("secret"));
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let shown = format!("{:?}", Address::parse("redis://ann:secret@h").expect("a URL"));
        assert!(shown.contains("ann") && !shown.contains("secret"), "{shown}");
    }
}
