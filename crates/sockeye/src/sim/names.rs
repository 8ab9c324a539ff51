//! Names, and looking them up.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;

use super::faults::Fault;
use super::state::{Event, State};
use crate::sys::{QUESTIONS, Resolved};

/// What there is to know of names, which are compared without case.
#[derive(Debug)]
pub(super) struct Names(BTreeMap<String, Name>);

#[derive(Clone, Debug)]
pub(super) enum Name {
    Known(Vec<IpAddr>),
    /// Whoever would know is out of order.
    Fails,
    /// Whoever would know does not answer.
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
    fn look_up(&self, host: &str) -> Option<io::Result<Vec<IpAddr>>> {
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

fn temporary_failure() -> io::Error {
    failed(io::ErrorKind::Other, "Temporary failure in name resolution")
}

fn failed(kind: io::ErrorKind, why: &str) -> io::Error {
    io::Error::new(kind, format!("failed to lookup address information: {why}"))
}

impl State {
    pub(super) fn resolve(&mut self, host: usize, ticket: u64, name: &str, port: u16) -> io::Result<()> {
        if self.hosts[host].questions >= QUESTIONS {
            let text = format!("{QUESTIONS} names are being looked up already");
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        self.hosts[host].questions += 1;
        let Some(mut found) = self.names.look_up(name) else { return Ok(()) };
        if self.plant(Fault::ResolveFailed) {
            found = Err(temporary_failure());
        }
        let addresses = found.map(|ips| ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
        let (life, answer) = (self.hosts[host].life, Resolved::new(ticket, addresses));
        let event = Event::Answer { host, life, answer };
        if self.plant(Fault::Delayed) {
            self.schedule_late(event)
        } else {
            self.schedule(event)
        }
        Ok(())
    }

    pub(super) fn answered(&mut self, host: usize, life: u64, answer: Resolved) {
        let host = &mut self.hosts[host];
        if host.life == life {
            host.answers.push_back(answer);
            host.waker.0.store(true, Ordering::Release);
        }
    }
}
