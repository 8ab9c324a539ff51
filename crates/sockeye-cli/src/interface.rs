//! `--interface`: from what was written to addresses that can be listened on.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use sockeye::sys::Address;

/// One `--interface`, as it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Interface {
    Ip(IpAddr),
    /// `fe80::1%eth0`: an address that means something on one interface only.
    Scoped(Ipv6Addr, String),
    Unix(PathBuf),
    /// `unix:@name`.
    Abstract(Vec<u8>),
    /// The loopback addresses, under any interface name.
    Localhost,
    Name(String),
}

impl Interface {
    pub(crate) fn parse(text: &OsStr) -> Result<Self, &'static str> {
        if let Some(path) = text.as_bytes().strip_prefix(b"unix:") {
            return match Address::unix(OsStr::from_bytes(path)) {
                Some(Address::Unix(path)) => Ok(Self::Unix(path)),
                Some(Address::Abstract(name)) => Ok(Self::Abstract(name)),
                _ => Err(UNIX_NAME),
            };
        }
        let text = text.to_str().ok_or("it is not UTF-8")?;
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            // IPv4 written as IPv6 is IPv4, and cannot be had on a socket that leaves IPv4 out.
            return Ok(Self::Ip(ip.to_canonical()));
        }
        if let Some((address, scope)) = bare.split_once('%') {
            let address = address.parse().map_err(|_| "only an IPv6 address can have a zone (%)")?;
            return Ok(Self::Scoped(address, scope.to_owned()));
        }
        if bare.is_empty() {
            return Err("write an address, the name of an interface, unix:PATH or unix:@NAME");
        }
        // The kernel allows anything but these in a name; with one of them it is an address that went wrong.
        if bare.contains(['/', ':']) || bare.contains(char::is_whitespace) {
            return Err("it is neither an address nor the name of an interface (the port is a separate option)");
        }
        // RFC 6761 section 6.3: names of this kind stand for the loopback addresses, and need not be looked up.
        if text.eq_ignore_ascii_case("localhost") {
            return Ok(Self::Localhost);
        }
        Ok(Self::Name(text.to_owned()))
    }
}

/// An address that an interface of this machine has.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    name: String,
    ip: IpAddr,
    index: Option<u32>,
}

/// The addresses of this machine.
///
/// # Errors
///
/// When the system does not tell.
pub(crate) fn local() -> io::Result<Vec<Local>> {
    let interfaces = if_addrs::get_if_addrs()?;
    Ok(interfaces.into_iter().map(|one| Local { ip: one.ip(), name: one.name, index: one.index }).collect())
}

/// All addresses that `interfaces` stand for, each once, in the order given.
///
/// `local` is asked only when a name has to be looked up.
///
/// # Errors
///
/// When an interface does not exist or has no address.
pub(crate) fn resolve(
    interfaces: &[Interface],
    port: u16,
    local: impl Fn() -> io::Result<Vec<Local>>,
) -> Result<Vec<Address>, Unresolved> {
    let mut addresses = Vec::new();
    for interface in interfaces {
        let found = match interface {
            Interface::Ip(ip) => vec![Address::Ip(SocketAddr::new(*ip, port))],
            Interface::Unix(path) => vec![Address::Unix(path.clone())],
            Interface::Abstract(name) => vec![Address::Abstract(name.clone())],
            Interface::Scoped(ip, scope) => vec![scoped(*ip, scope, port, &local()?)?],
            Interface::Localhost => localhost(port, &local()?),
            Interface::Name(name) => named(name, port, &local()?)?,
        };
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}

fn named(name: &str, port: u16, local: &[Local]) -> Result<Vec<Address>, Unresolved> {
    let addresses: Vec<_> = local
        .iter()
        .filter(|one| one.name == name && !is_link_local(one.ip))
        .map(|one| Address::Ip(SocketAddr::new(one.ip, port)))
        .collect();
    if addresses.is_empty() { Err(Unresolved::unknown(name, local)) } else { Ok(addresses) }
}

/// Both loopback addresses, of which a machine without IPv6 has one only.
fn localhost(port: u16, local: &[Local]) -> Vec<Address> {
    let has_v6 = local.iter().any(|one| one.ip == Ipv6Addr::LOCALHOST);
    let mut addresses = vec![Address::Ip((Ipv4Addr::LOCALHOST, port).into())];
    if has_v6 {
        addresses.push(Address::Ip((Ipv6Addr::LOCALHOST, port).into()));
    }
    addresses
}

fn scoped(ip: Ipv6Addr, scope: &str, port: u16, local: &[Local]) -> Result<Address, Unresolved> {
    let by_name = || local.iter().find(|one| one.name == scope).and_then(|one| one.index);
    let index = scope.parse().ok().or_else(by_name).ok_or_else(|| Unresolved::unknown(scope, local))?;
    Ok(Address::Ip(SocketAddrV6::new(ip, port, 0, index).into()))
}

/// A link-local IPv6 address cannot be written in a URL that browsers take.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Why an interface gave no address. Its text says what there is instead.
#[derive(Debug)]
pub(crate) enum Unresolved {
    Unknown { name: String, known: Vec<String> },
    System(io::Error),
}

impl Unresolved {
    fn unknown(name: &str, local: &[Local]) -> Self {
        let mut known: Vec<_> = local.iter().map(|one| one.name.clone()).collect();
        known.sort();
        known.dedup();
        Self::Unknown { name: name.to_owned(), known }
    }
}

impl From<io::Error> for Unresolved {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, known } => {
                write!(f, "no interface called {name:?} has an address here; ")?;
                write!(f, "give an address such as 127.0.0.1, or one of: {}", known.join(", "))
            }
            Self::System(error) => write!(f, "cannot list the network interfaces: {error}"),
        }
    }
}

/// What `unix:` alone is answered.
pub(crate) const UNIX_NAME: &str = "a path must follow unix:, or @ and a name";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Interface, &'static str> {
        Interface::parse(text.as_ref())
    }

    fn machine() -> io::Result<Vec<Local>> {
        let entry =
            |name: &str, ip: &str, index| Local { name: name.into(), ip: ip.parse().unwrap(), index: Some(index) };
        Ok(vec![
            entry("lo", "127.0.0.1", 1),
            entry("lo", "::1", 1),
            entry("eth0", "192.0.2.7", 2),
            entry("eth0", "fe80::7", 2),
            entry("eth1", "fe80::8", 3),
        ])
    }

    fn resolved(interfaces: &[&str]) -> Result<Vec<String>, String> {
        let interfaces: Vec<_> = interfaces.iter().map(|text| parse(text).unwrap()).collect();
        let addresses = resolve(&interfaces, 80, machine).map_err(|e| e.to_string())?;
        Ok(addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_can_be_written() {
        assert_eq!(parse("127.0.0.1"), Ok(Interface::Ip([127, 0, 0, 1].into())));
        assert_eq!(parse("::1"), parse("[::1]"));
        assert_eq!(parse("::ffff:127.0.0.1"), parse("127.0.0.1"));
        assert_eq!(parse("unix:/run/x"), Ok(Interface::Unix("/run/x".into())));
        assert_eq!(parse("unix:@x"), Ok(Interface::Abstract(b"x".to_vec())));
        assert_eq!(parse("eth0.7"), Ok(Interface::Name("eth0.7".into())));
        assert_eq!(parse("fe80::1%eth0"), Ok(Interface::Scoped("fe80::1".parse().unwrap(), "eth0".into())));
        for text in ["", "unix:", "unix:@", "127.0.0.1:80", "[::1]:80", "/run/x", "127.0.0.1%lo", "two words", "::g"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(Interface::parse(OsStr::from_bytes(b"\xff")).is_err());
        assert!(Interface::parse(OsStr::from_bytes(b"unix:\xff")).is_ok());
    }

    #[test]
    fn a_name_stands_for_its_addresses() {
        assert_eq!(resolved(&["lo"]).unwrap(), ["127.0.0.1:80", "[::1]:80"]);
        assert_eq!(resolved(&["eth0"]).unwrap(), ["192.0.2.7:80"]);
        assert_eq!(resolved(&["::1", "lo", "unix:x"]).unwrap(), ["[::1]:80", "127.0.0.1:80", "unix:x"]);
    }

    #[test]
    fn localhost_is_both_loopback_addresses() {
        assert_eq!(resolved(&["localhost"]).unwrap(), ["127.0.0.1:80", "[::1]:80"]);
        assert_eq!(resolved(&["LocalHost", "lo"]).unwrap(), ["127.0.0.1:80", "[::1]:80"]);
        assert_eq!(localhost(80, &[]), [Address::Ip(([127, 0, 0, 1], 80).into())], "a machine without IPv6");
    }

    #[test]
    fn a_scope_is_a_name_or_a_number() {
        assert_eq!(resolved(&["fe80::7%eth0"]).unwrap(), ["[fe80::7%2]:80"]);
        assert_eq!(resolved(&["fe80::7%9"]).unwrap(), ["[fe80::7%9]:80"]);
        assert!(resolved(&["fe80::7%eth9"]).is_err());
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let error = resolved(&["eth9"]).unwrap_err();
        assert!(error.contains("\"eth9\"") && error.contains("eth0, eth1, lo"), "{error}");
        assert!(resolved(&["eth1"]).is_err(), "only link-local");
    }

    #[test]
    fn this_machine_has_a_loopback() {
        assert!(local().unwrap().iter().any(|one| one.ip.is_loopback()));
    }
}
