//! What a program says about the broker: where it is, who we are, what is kept.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::names;

/// Who a hub is to the broker. Its secrets are in no `Debug` output.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum Credentials {
    /// A name and a password.
    Password {
        /// The user.
        user: String,
        /// Its password.
        password: String,
    },
    /// A token.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => f.debug_struct("Password").field("user", user).finish_non_exhaustive(),
            Self::Token(_) => f.write_str("Token(..)"),
        }
    }
}

/// What the broker keeps: a stream of JetStream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct History {
    stream: Option<String>,
    messages: u32,
    age: Option<Duration>,
    replicas: u8,
}

impl History {
    /// The last `messages` messages of each topic, without an end in time.
    #[must_use]
    pub fn new(messages: u32) -> Self {
        Self { stream: None, messages, age: None, replicas: 1 }
    }

    /// Nothing is kept for longer than this.
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// What the stream is called. Otherwise that is the prefix in capitals, with `_` for dots.
    #[must_use]
    pub fn stream(mut self, name: &str) -> Self {
        self.stream = Some(name.to_owned());
        self
    }

    /// On how many servers of a cluster it is kept, 1 to 5; 1 unless this is called. It counts when the stream is made.
    #[must_use]
    pub fn replicas(mut self, replicas: u8) -> Self {
        self.replicas = replicas;
        self
    }

    pub(crate) fn check(&self) -> Result<(), NatsError> {
        let age_is_kept = self.age.is_none_or(|age| (MIN_AGE..=MAX_AGE).contains(&age));
        if !(1..=MAX_MESSAGES).contains(&self.messages) || !age_is_kept || !(1..=5).contains(&self.replicas) {
            return Err(NatsError::History);
        }
        match &self.stream {
            Some(name) if name.len() > MAX_STREAM_BYTES || !names::is_token(name) => Err(NatsError::Stream),
            _ => Ok(()),
        }
    }

    pub(crate) fn stream_name(&self, prefix: &str) -> String {
        self.stream.clone().unwrap_or_else(|| prefix.to_ascii_uppercase().replace('.', "_"))
    }

    pub(crate) fn messages(&self) -> usize {
        usize::try_from(self.messages).unwrap_or(usize::MAX)
    }

    /// In nanoseconds, as JetStream says it; 0 for no end.
    pub(crate) fn age_nanos(&self) -> u64 {
        self.age.map_or(0, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn replica_count(&self) -> u8 {
        self.replicas
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) is_tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) prefix: String,
    pub(crate) history: Option<History>,
    /// The longest payload that is sent or taken.
    pub(crate) message_bytes: usize,
    /// What the inboxes of this process are called. It is random, so that others do not have the same.
    pub(crate) inbox: String,
}

/// What a URL says.
pub(crate) struct Url {
    pub(crate) is_tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) credentials: Option<Credentials>,
}

impl Url {
    pub(crate) fn parse(url: &str) -> Result<Self, NatsError> {
        let (scheme, rest) = url.split_once("://").ok_or(NatsError::Scheme)?;
        let is_tls = match scheme {
            "nats" => false,
            "tls" => true,
            _ => return Err(NatsError::Scheme),
        };
        let (credentials, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(credentials(user)?), address),
            None => (None, rest),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        let (host, port) = match address.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(NatsError::Host)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| NatsError::Host)?;
                (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(NatsError::Port)?) })
            }
            None => match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || host.len() > 255 || !host.bytes().all(is_name) {
            return Err(NatsError::Host);
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(NatsError::Port)?,
        };
        Ok(Self { is_tls, host: host.to_owned(), port, credentials })
    }
}

/// Checks what is before each topic in its subject.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), NatsError> {
    let fits =
        prefix.len() <= MAX_PREFIX_BYTES && prefix.split('.').all(names::is_token) && !prefix.starts_with("_INBOX");
    if fits { Ok(()) } else { Err(NatsError::Prefix) }
}

/// Why a [`Nats`](crate::Nats) cannot be made.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NatsError {
    /// The URL begins with neither `nats://` nor `tls://`.
    Scheme,
    /// The URL has no host, or one that cannot be.
    Host,
    /// The URL's port is not a number from 1 to 65535.
    Port,
    /// The URL's user, password or token has a `%` without two hexadecimal digits, or is not UTF-8.
    Credentials,
    /// The prefix of subjects cannot be one.
    Prefix,
    /// The name of the stream cannot be one.
    Stream,
    /// A number of the history is out of bounds.
    History,
    /// The system gives no random bytes.
    Random,
}

impl fmt::Display for NatsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the URL of a NATS server begins with nats:// or, for TLS, tls://, as in nats://localhost:4222",
            Self::Host => "the URL of a NATS server names one host, as in nats://localhost:4222 or nats://[::1]:4222",
            Self::Port => "the port of a NATS server is a number from 1 to 65535, as in nats://localhost:4222",
            Self::Credentials => {
                "user, password and token of a NATS server are UTF-8, with % and two hexadecimal digits for : / @ and %, as in \
                 nats://user:p%40ss@localhost"
            }
            Self::Prefix => {
                "the prefix of subjects has letters, digits, - and _, in parts between dots, 64 bytes at most, as in chat.production, \
                 and does not begin with _INBOX"
            }
            Self::Stream => "the name of a stream has letters, digits, - and _, 128 bytes at most, as in CHAT",
            Self::History => {
                "a history has 1 to 100000 messages a topic, an age of 100 ms to 100 years, and 1 to 5 replicas"
            }
            Self::Random => "the system gives no random bytes, which the names of inboxes are made of",
        })
    }
}

impl Error for NatsError {}

fn credentials(text: &str) -> Result<Credentials, NatsError> {
    Ok(match text.split_once(':') {
        Some((user, password)) => Credentials::Password { user: unescaped(user)?, password: unescaped(password)? },
        None => Credentials::Token(unescaped(text)?),
    })
}

fn unescaped(text: &str) -> Result<String, NatsError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(NatsError::Credentials);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).map_err(|_| NatsError::Credentials)?);
    }
    String::from_utf8(bytes).map_err(|_| NatsError::Credentials)
}

const DEFAULT_PORT: u16 = 4222;
const MAX_PREFIX_BYTES: usize = 64;
const MAX_STREAM_BYTES: usize = 128;
const MAX_MESSAGES: u32 = 100_000;

/// The least that nats-server accepts.
const MIN_AGE: Duration = Duration::from_millis(100);
const MAX_AGE: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let read = |url| Url::parse(url).map(|url| (url.is_tls, url.host, url.port, url.credentials));
        let password = |user: &str, password: &str| {
            Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
        };
        let ok = |is_tls, host: &str, port, credentials| Ok((is_tls, host.to_owned(), port, credentials));
        assert_eq!(read("nats://localhost"), ok(false, "localhost", 4222, None));
        assert_eq!(read("tls://10.0.0.1:1/"), ok(true, "10.0.0.1", 1, None));
        assert_eq!(read("nats://[::1]"), ok(false, "::1", 4222, None));
        assert_eq!(read("nats://[::1]:7"), ok(false, "::1", 7, None));
        assert_eq!(read("nats://t%40ken@h"), ok(false, "h", 4222, Some(Credentials::Token("t@ken".to_owned()))));
        assert_eq!(read("nats://a:b@c:d%25@h:9"), ok(false, "h", 9, password("a", "b@c:d%")));
        for (url, error) in [
            ("localhost", NatsError::Scheme),
            ("http://localhost", NatsError::Scheme),
            ("nats://", NatsError::Host),
            ("nats://:4222", NatsError::Host),
            ("nats://a,b", NatsError::Host),
            ("nats://a/b", NatsError::Host),
            ("nats://[::1", NatsError::Host),
            ("nats://[a]:1", NatsError::Host),
            ("nats://[::1]1", NatsError::Port),
            ("nats://a:0", NatsError::Port),
            ("nats://a:65536", NatsError::Port),
            ("nats://a:", NatsError::Port),
            ("nats://u:%4@h", NatsError::Credentials),
            ("nats://u:%zz@h", NatsError::Credentials),
            ("nats://%ff@h", NatsError::Credentials),
        ] {
            assert_eq!(read(url).map(|_| ()), Err(error), "{url}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for url in ["nats://user:hunter2@h", "nats://hunter2@h"] {
            let shown = format!("{:?}", Url::parse(url).unwrap().credentials);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn prefixes_and_streams_are_checked() {
        for prefix in ["sockeye", "a.b-c._d"] {
            assert_eq!(check_prefix(prefix), Ok(()), "{prefix}");
        }
        for prefix in ["", ".", "a.", "a..b", "a.*", ">", "a b", "é", "$JS", "_INBOX", &"a".repeat(65)] {
            assert_eq!(check_prefix(prefix), Err(NatsError::Prefix), "{prefix}");
        }
        assert_eq!(History::new(10).stream_name("a.b"), "A_B");
        assert_eq!(History::new(10).stream("X").stream_name("a.b"), "X");
        for stream in ["", "a.b", "a b", "*", &"a".repeat(129)] {
            assert_eq!(History::new(1).stream(stream).check(), Err(NatsError::Stream), "{stream}");
        }
        for history in [
            History::new(0),
            History::new(100_001),
            History::new(1).age(Duration::ZERO),
            History::new(1).age(Duration::MAX),
            History::new(1).replicas(0),
            History::new(1).replicas(6),
        ] {
            assert_eq!(history.check(), Err(NatsError::History), "{history:?}");
        }
        assert_eq!(History::new(1).age(MIN_AGE).check(), Ok(()));
    }
}
