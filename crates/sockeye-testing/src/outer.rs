//! A loop outside, as a program would write it and worse: it watches levels, looks at descriptors in any order, misses
//! some, makes others up, and tells things twice.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use sockeye::Service;
use sockeye::poll::{Mode, PollHook, Ready};
use sockeye::service::ServiceState;
use sockeye::sim::Host;

use crate::rng::Rng;

/// What is watched. Holds the service to the hook's promises.
#[derive(Clone, Default)]
pub struct Table(Rc<RefCell<BTreeMap<RawFd, Mode>>>);

impl PollHook for Table {
    fn add(&mut self, fd: RawFd, mode: Mode) -> io::Result<()> {
        assert!(self.0.borrow_mut().insert(fd, mode).is_none(), "{fd} was added twice");
        Ok(())
    }

    fn remove(&mut self, fd: RawFd) {
        assert!(self.0.borrow_mut().remove(&fd).is_some(), "{fd} was removed and not there");
    }

    fn set_mode(&mut self, fd: RawFd, mode: Mode) {
        let mut table = self.0.borrow_mut();
        let watched = table.get_mut(&fd).expect("a mode is set of what is watched");
        assert!(!mode.is_none() && mode - *watched == mode, "{fd} is watched for {watched:?}, and {mode:?} is set");
        *watched |= mode;
    }

    fn clear_mode(&mut self, fd: RawFd, mode: Mode) {
        let mut table = self.0.borrow_mut();
        let watched = table.get_mut(&fd).expect("a mode is cleared of what is watched");
        assert!(
            !mode.is_none() && (mode - *watched).is_none(),
            "{fd} is watched for {watched:?}, and {mode:?} is cleared"
        );
        *watched -= mode;
    }
}

impl Table {
    fn watched(&self) -> Vec<(RawFd, Mode)> {
        self.0.borrow().iter().map(|(&fd, &mode)| (fd, mode)).collect()
    }

    fn mode(&self, fd: RawFd) -> Option<Mode> {
        self.0.borrow().get(&fd).copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

pub struct Outer {
    table: Table,
    rng: Rng,
}

/// What a turn of the loop outside came to.
pub struct Turned {
    pub drained: bool,
    /// There is something that was missed, or came meanwhile: it must look again at once.
    pub again: bool,
}

impl Outer {
    pub fn new(table: Table, seed: u64) -> Self {
        Self { table, rng: Rng::new(seed) }
    }

    /// `next` is called before each turn of the service.
    pub fn turn(&mut self, service: &mut Service, host: &Host, next: &dyn Fn()) -> Result<Turned, String> {
        let mut batch: Vec<_> = self.table.watched().into_iter().map(|(fd, mode)| (fd, seen(host, fd, mode))).collect();
        for last in (1..batch.len()).rev() {
            batch.swap(last, self.rng.of(0..last + 1));
        }
        for (fd, mut ready) in batch {
            if self.rng.percent(10) {
                continue;
            }
            if self.rng.percent(5) {
                ready.readable |= self.rng.percent(50);
                ready.writable |= self.rng.percent(50);
                ready.ended |= self.rng.percent(50);
            }
            while ready != Ready::default() {
                // One before it in the batch may have ended it: the number is nobody's, or somebody else's.
                let is_known = self.table.mode(fd).is_some();
                next();
                match service.service_fd(fd, ready) {
                    Ok(_) if is_known => {}
                    Err(error) if error.is_unknown_descriptor() && !is_known => {}
                    other => return Err(format!("descriptor {fd}, known: {is_known}: {other:?}")),
                }
                if !self.rng.percent(5) {
                    break;
                }
            }
        }
        if self.rng.percent(2) && service.service_fd(60_000, Ready::READ).is_ok() {
            return Err("a descriptor that nobody has was served".to_owned());
        }
        next();
        let progress = service.run_once(None).map_err(|error| error.to_string())?;
        let again = self.table.watched().into_iter().any(|(fd, mode)| seen(host, fd, mode) != Ready::default());
        Ok(Turned { drained: progress == ServiceState::Drained, again })
    }
}

/// What poll(2) would report.
fn seen(host: &Host, fd: RawFd, mode: Mode) -> Ready {
    let all = host.look(fd);
    Ready { readable: all.readable && mode.readable, writable: all.writable && mode.writable, ended: all.ended }
}
