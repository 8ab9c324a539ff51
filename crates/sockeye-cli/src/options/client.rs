//! What the commands that connect have in common: the options for the address and the handshake, and the [`Connect`] made of them.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueHint};
use sockeye::Connect;
use sockeye::client::{Proxy, Timeouts};
use sockeye::sys::Address;
use sockeye::tls::ClientTls;
use sockeye_hub::SUBPROTOCOL;

use crate::failure::Failure;
use crate::interface::{self, Interface, UNIX_NAME};
use crate::options::logging::LogLevel;
use crate::options::tls::{ClientTlsArgs, ProxyTlsArgs};
use crate::units::{parse_some_time, whole};

/// Options beside the URL.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ClientArgs {
    /// Header field to send, as `Name: value` (repeatable)
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,

    /// Subprotocol to offer (repeatable, or comma-separated; the preferred one first)
    #[arg(long = "protocol", value_name = "NAME", value_delimiter = ',', value_parser = trimmed)]
    pub(crate) protocols: Vec<String>,

    /// Web origin to send, as a browser does for the page it shows
    ///
    /// When this is the server (`connect --listen`, `fraggle` without a URL), the origin whose pages may connect.
    #[arg(long, value_name = "ORIGIN", value_hint = ValueHint::Url)]
    pub(crate) origin: Option<String>,

    /// User and password; visible in the process list
    #[arg(long, value_name = "USER:PASSWORD", conflicts_with = "auth_file")]
    pub(crate) auth: Option<String>,

    /// File whose first line is USER:PASSWORD
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) auth_file: Option<PathBuf>,

    /// Proxy to use, or `none` [default: from http_proxy, https_proxy, all_proxy, no_proxy]
    ///
    /// `http://[USER:PASSWORD@]HOST:PORT` for CONNECT, `https://[USER:PASSWORD@]HOST:PORT` for the same over TLS,
    /// `socks5://[USER:PASSWORD@]HOST:PORT` for SOCKS5. From the environment, as for curl, http_proxy is for ws:// URLs, https_proxy
    /// for wss:// ones, and all_proxy for both.
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,

    /// Connect to this address instead of the URL's host: ADDRESS:PORT, unix:PATH or unix:@NAME (repeatable)
    #[arg(long = "connect-to", value_name = "ADDRESS", value_parser = parse_address)]
    pub(crate) addresses: Vec<Address>,

    /// Time limit for resolving, connecting and the handshake together [default: 30s, at most 10s for each]
    #[arg(long, value_name = "TIME", value_parser = parse_some_time)]
    pub(crate) connect_timeout: Option<Duration>,

    /// Redirects to follow, to ws:// and wss:// URLs; credentials are only sent to their origin
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u8>(0..=255))]
    pub(crate) redirects: u8,

    #[command(flatten)]
    pub(crate) tls: ClientTlsArgs,

    #[command(flatten)]
    pub(crate) proxy_tls: ProxyTlsArgs,

    /// Least severe messages to log
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub(crate) log_level: LogLevel,
}

impl ClientArgs {
    /// What to ask the library for.
    ///
    /// # Errors
    /// The URL or an option that cannot be used: exit code 2.
    pub(crate) fn connect(&self, url: &str) -> Result<Connect, Failure> {
        Ok(self.connect_and_tls(url)?.0)
    }

    /// The same for a hub, whose subprotocol is the only one.
    pub(crate) fn connect_to_hub(&self, url: &str) -> Result<Connect, Failure> {
        let connect = self.connect(url)?;
        if let Some(other) = self.protocols.first() {
            return Err(Failure::usage(format!("--protocol {other}: a hub speaks {SUBPROTOCOL}, which is offered")));
        }
        connect.subprotocol(SUBPROTOCOL).map_err(|error| Failure::usage(error.to_string()))
    }

    /// The same, and how it speaks TLS if it does.
    pub(crate) fn connect_and_tls(&self, url: &str) -> Result<(Connect, Option<ClientTls>), Failure> {
        // As curl takes it, and as people type it.
        let whole =
            if url.contains("://") || url.starts_with("unix:") { url.to_owned() } else { format!("ws://{url}") };
        let mut connect = Connect::new(&whole).map_err(|error| {
            // The `@` of an abstract name does not follow a password.
            let is_unix = url.starts_with("unix:");
            let url = if is_unix { url.to_owned() } else { shown(url) };
            let hint = if is_unix {
                format!("; for a Unix socket, --connect-to {url} beside the URL that it is asked for, such as ws://localhost/")
            } else {
                String::new()
            };
            Failure::usage(format!("{url}: {error}{hint}"))
        })?;
        for name in &self.protocols {
            connect = connect
                .subprotocol(name.as_str())
                .map_err(|error| Failure::usage(format!("--protocol {name}: {error}")))?;
        }
        for header in &self.headers {
            connect = with_header(connect, header)?;
        }
        if let Some(origin) = &self.origin {
            connect = connect
                .origin(origin.as_str())
                .map_err(|error| Failure::usage(format!("--origin {origin}: {error}")))?;
        }
        if let Some((user, password)) = self.credentials()? {
            connect =
                connect.basic_auth(&user, &password).map_err(|error| Failure::usage(format!("--auth: {error}")))?;
        }
        connect = match self.proxy.as_deref() {
            None => connect.proxy_from_env().map_err(|error| Failure::usage(format!("proxy: {error}")))?,
            Some("none" | "") => connect.no_proxy(),
            // Its text may have a password in it.
            Some(proxy) => {
                connect.proxy(Proxy::parse(proxy).map_err(|error| Failure::usage(format!("--proxy: {error}")))?)
            }
        };
        if !self.addresses.is_empty() {
            connect = connect.to(self.addresses.iter().cloned());
        }
        let tls = self.tls_for(&connect)?;
        if let Some(tls) = &tls {
            connect = connect.tls(tls.clone());
        }
        if let Some(tls) = self.proxy_tls_for(&connect)? {
            connect = connect.proxy_tls(tls);
        }
        connect = connect.redirects(self.redirects);
        if let Some(time) = self.connect_timeout {
            // Who asks for a minute waits so long for each stage, too.
            connect = connect
                .timeout(time)
                .and_then(|connect| connect.timeouts(Timeouts::each(time)))
                .map_err(|error| Failure::usage(format!("--connect-timeout: {error}")))?;
        }
        Ok((connect, tls))
    }

    /// Reads certificates and roots, if they may be needed.
    fn tls_for(&self, connect: &Connect) -> Result<Option<ClientTls>, Failure> {
        let is_needed = connect.url().is_secure();
        match self.tls.given() {
            // It would seem to protect what it does not.
            Some(option) if !is_needed && self.redirects == 0 => {
                Err(Failure::usage(format!("{option}: {} is not encrypted; for TLS write wss://", connect.url())))
            }
            None if !is_needed && self.redirects == 0 => Ok(None),
            // A redirect may lead to wss, and need not: a system without roots can do without them.
            None if !is_needed => Ok(self.tls.load().ok()),
            _ => self.tls.load().map(Some),
        }
    }

    /// The same for a proxy.
    fn proxy_tls_for(&self, connect: &Connect) -> Result<Option<ClientTls>, Failure> {
        let is_needed = connect.via().is_some_and(Proxy::is_secure);
        // For another URL the environment may name another proxy.
        let may_be_needed = is_needed || (self.redirects > 0 && self.proxy.is_none());
        match self.proxy_tls.given() {
            Some(option) if !may_be_needed => {
                Err(Failure::usage(format!("{option}: the connection does not go through a proxy of https://")))
            }
            None if !may_be_needed => Ok(None),
            None if !is_needed => Ok(self.proxy_tls.load().ok()),
            _ => self.proxy_tls.load().map(Some),
        }
    }

    fn credentials(&self) -> Result<Option<(String, String)>, Failure> {
        if let Some(auth) = &self.auth {
            tracing::warn!("--auth makes the password visible in the process list; --auth-file does not");
            return split_auth("--auth", auth).map(Some);
        }
        let Some(path) = &self.auth_file else { return Ok(None) };
        let text =
            read_first(path).map_err(|error| Failure::usage(format!("--auth-file {}: {error}", path.display())))?;
        split_auth("--auth-file", text.lines().next().unwrap_or_default()).map(Some)
    }
}

/// The beginning of a small file.
pub(crate) fn read_first(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(CREDENTIALS).read_to_string(&mut text)?;
    Ok(text)
}

fn split_auth(option: &str, text: &str) -> Result<(String, String), Failure> {
    match text.split_once(':') {
        Some((user, password)) => Ok((user.to_owned(), password.to_owned())),
        // What was written may be the password alone: it is not repeated.
        None => Err(Failure::usage(format!("{option}: write USER:PASSWORD, the password may be empty"))),
    }
}

fn split_header(header: &str) -> Result<(&str, &str), Failure> {
    match header.split_once(':') {
        Some((name, value)) => Ok((name, value.trim_matches([' ', '\t']))),
        None => Err(Failure::usage(format!("--header {}: write it as 'Name: value'", name_shown(header)))),
    }
}

/// Adds a field. Those that the handshake has for itself may come along when a request is copied from a browser.
fn with_header(mut connect: Connect, header: &str) -> Result<Connect, Failure> {
    let (name, value) = split_header(header)?;
    let is = |other: &str| other.eq_ignore_ascii_case(name);
    if WRITTEN.into_iter().any(is) {
        tracing::debug!(name, "--header: the handshake writes this field itself");
        return Ok(connect);
    }
    if is("host") {
        check_host(value, &connect.url().authority())?;
        return Ok(connect);
    }
    if is("origin") {
        return connect.origin(value).map_err(|error| Failure::usage(format!("--header Origin: {value}: {error}")));
    }
    if is("sec-websocket-protocol") {
        for protocol in value.split(',').map(str::trim) {
            connect = connect
                .subprotocol(protocol)
                .map_err(|error| Failure::usage(format!("--header {name}: {protocol}: {error}")))?;
        }
        return Ok(connect);
    }
    connect.header(name, value).map_err(|error| Failure::usage(format!("--header {}: {error}", name_shown(name))))
}

/// A `Host` that was pasted along with a request is that of the URL.
fn check_host(value: &str, authority: &str) -> Result<(), Failure> {
    if value.eq_ignore_ascii_case(authority) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--header Host: it is the host of the URL, {authority}; to ask one address for another host, write that host in the \
         URL, and --connect-to ADDRESS:PORT"
    )))
}

fn trimmed(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.trim().to_owned())
}

/// A URL that cannot be used, without user and password: everything before the last `@` of its authority.
fn shown(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at(start);
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may have these, unescaped, too: then it is the last one of all.
    match rest[..authority].rfind('@').or_else(|| rest.rfind('@')) {
        Some(at) => format!("{scheme}{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

/// The name of a field as far as it is one. What follows may be a secret.
fn name_shown(header: &str) -> &str {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    &header[..header.bytes().position(|byte| !of_token(byte)).unwrap_or(header.len())]
}

fn parse_address(text: &str) -> Result<Address, String> {
    match text.strip_prefix("unix:") {
        Some(name) => Address::unix(name).ok_or_else(|| UNIX_NAME.to_owned()),
        None => text.parse::<SocketAddr>().map(Address::Ip).or_else(|_| scoped(text)).map_err(|()| {
            "write an address with its port, such as 127.0.0.1:7681 or [::1]:7681, or unix:PATH or unix:@NAME"
                .to_owned()
        }),
    }
}

/// Fields of a request copied from a browser that each handshake has for itself.
const WRITTEN: [&str; 5] =
    ["Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Extensions"];

/// `[fe80::1%eth0]:80`: the standard library reads numbers of interfaces only.
fn scoped(text: &str) -> Result<Address, ()> {
    let (place, port) = text.rsplit_once(':').ok_or(())?;
    let interface = Interface::parse(place.as_ref()).map_err(|_| ())?;
    if !matches!(interface, Interface::Scoped(..)) || !place.starts_with('[') {
        return Err(());
    }
    let found = interface::resolve(&[interface], port.parse().map_err(|_| ())?, interface::local).map_err(|_| ())?;
    found.into_iter().next().ok_or(())
}

/// Bytes of an --auth-file that are looked at.
const CREDENTIALS: u64 = 4096;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        client: ClientArgs,
    }

    fn connect(url: &str, options: &[&str]) -> Result<Connect, Failure> {
        // What the environment of the test says about proxies must not matter.
        let mut client = Line::try_parse_from(["x"].iter().chain(options)).unwrap().client;
        client.proxy.get_or_insert_with(|| "none".to_owned());
        client.connect(url)
    }

    #[test]
    fn everything_reaches_the_description() {
        let options = [
            "-H",
            "Cookie: a=b",
            "--protocol",
            "one,two",
            "--protocol",
            "three",
            "--origin",
            "https://example.com",
            "--auth",
            "user:pass:word",
            "--connect-to",
            "127.0.0.1:1",
            "--connect-to",
            "unix:/run/x",
            "--connect-timeout",
            "5",
            "--redirects",
            "3",
        ];
        let shown = format!("{:?}", connect("ws://example.com/", &options).unwrap());
        for part in
            ["Cookie", "one", "two", "three", "https://example.com", "127.0.0.1:1", "/run/x", "5s", "redirects: 3"]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("pass"), "{shown}");
    }

    /// A minute is one for the host lookup, for connecting and for the handshake alike.
    #[test]
    fn a_time_to_connect_is_that_of_each_stage() {
        let minute = format!("{:?}", connect("ws://example.com/", &["--connect-timeout", "60s"]).unwrap());
        assert_eq!((minute.matches(": 60s").count(), minute.matches(": 10s").count()), (6, 0), "{minute}");
        let usual = format!("{:?}", connect("ws://example.com/", &[]).unwrap());
        assert_eq!((usual.matches(": 30s").count(), usual.matches(": 10s").count()), (1, 5), "{usual}");
    }

    /// A request that was copied from a browser, or a URL as it is typed.
    #[test]
    fn what_is_pasted_is_taken() {
        let options = [
            "-H",
            "Host: a:81",
            "-H",
            "Origin: http://b",
            "-H",
            "Sec-WebSocket-Key: x",
            "-H",
            "Sec-WebSocket-Version: 13",
            "-H",
            "Sec-WebSocket-Extensions: permessage-deflate",
            "-H",
            "Connection: Upgrade",
            "-H",
            "Upgrade: websocket",
            "-H",
            "Sec-WebSocket-Protocol: one, two",
            "--protocol",
            "three , four",
        ];
        let shown = format!("{:?}", connect("A:81/x", &options).unwrap());
        for part in ["ws://a:81/x", "http://b", "\"one\"", "\"two\"", "\"three\"", "\"four\""] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (url, options, word) in [
            ("a b", &[][..], "a b"),
            ("ftp://example.com/", &[], "ftp"),
            ("ws://example.com/#x", &[], "#"),
            ("ws://a/", &["--header", "Cookie"], "Name: value"),
            ("ws://a/", &["--header", "Host: b"], "--connect-to"),
            ("ws://a/", &["--header", "Content-Length: 5"], "Content-Length"),
            ("ws://a/", &["--protocol", "a b"], "a b"),
            ("ws://a/", &["--origin", "a"], "--origin a"),
            ("ws://a/", &["--auth", "secret"], "USER:PASSWORD"),
            ("ws://a/", &["--auth-file", "/no/such/file"], "/no/such/file"),
            ("ws://a/", &["--proxy", "ftp://b"], "--proxy"),
        ] {
            let failure = connect(url, options).unwrap_err();
            assert_eq!(failure.code, 2, "{options:?}");
            assert!(failure.message.contains(word), "{options:?}: {}", failure.message);
            assert!(!failure.message.contains("secret"), "{}", failure.message);
        }
    }

    #[test]
    fn addresses_have_ports() {
        for good in ["127.0.0.1:80", "[::1]:80", "[fe80::1%1]:80", "[fe80::1%lo]:80", "unix:/run/x", "unix:@x"] {
            assert!(parse_address(good).is_ok(), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "::1:80",
            "localhost:80",
            "unix:",
            "unix:@",
            "",
            "fe80::1%lo:80",
            "[fe80::1%nosuch]:80",
            "[::]:x",
        ] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }
}
