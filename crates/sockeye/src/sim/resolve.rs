//! A host looks names up.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::sim::faults::Fault;
use crate::sim::names::temporary_failure;
use crate::sim::state::{Event, State};
use crate::sys::{QUESTIONS, Resolved};

impl State {
    pub(super) fn resolve(&mut self, host: usize, ticket: u64, name: &str, port: u16) -> io::Result<()> {
        if self.hosts[host].questions >= QUESTIONS {
            let text = format!("{QUESTIONS} names are being looked up already");
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        self.hosts[host].questions += 1;
        let Some(mut found) = self.names.look_up(name) else { return Ok(()) };
        if self.inject(Fault::ResolveFailed) {
            found = Err(temporary_failure());
        }
        let addresses = found.map(|ips| ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
        let (life, answer) = (self.hosts[host].life, Resolved::new(ticket, addresses));
        let event = Event::Answer { host, life, answer };
        if self.inject(Fault::Delayed) {
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
