//! The names that the network knows.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What there is to know of names, which are compared without case.
#[derive(Debug)]
pub(super) struct Names(BTreeMap<String, Name>);

#[derive(Clone, Debug)]
pub(super) enum Name {
    Known(Vec<IpAddr>),
    /// The name server fails.
    Fails,
    /// The name server does not answer.
    Stalls,
}

impl Default for Names {
    fn default() -> Self {
        let mut names = Self(BTreeMap::new());
        names.set("localhost", Name::Known(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]));
        names
    }
}

impl Names {
    pub(super) fn set(&mut self, name: &str, what: Name) {
        self.0.insert(name.to_ascii_lowercase(), what);
    }

    /// None: there is never an answer.
    pub(super) fn look_up(&self, host: &str) -> Option<io::Result<Vec<IpAddr>>> {
        if let Ok(ip) = host.parse() {
            return Some(Ok(vec![ip]));
        }
        match self.0.get(&host.to_ascii_lowercase()) {
            Some(Name::Known(addresses)) => Some(Ok(addresses.clone())),
            Some(Name::Fails) => Some(Err(temporary_failure())),
            Some(Name::Stalls) => None,
            None => Some(Err(failed(io::ErrorKind::NotFound, "Name or service not known"))),
        }
    }
}

pub(super) fn temporary_failure() -> io::Error {
    failed(io::ErrorKind::Other, "Temporary failure in name resolution")
}

fn failed(kind: io::ErrorKind, why: &str) -> io::Error {
    io::Error::new(kind, format!("failed to lookup address information: {why}"))
}
