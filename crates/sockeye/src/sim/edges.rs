//! The edges of handles: when one is due, and when it is reported.

use std::sync::atomic::Ordering;

use crate::sim::faults::Fault;
use crate::sim::host::{Edges, What};
use crate::sim::pipe::{Fin, Owner, Place};
use crate::sim::state::{Event, State};
use crate::sys::{Handle, Readiness, WAKE};

impl State {
    /// Something changed at a handle. An end of input or an error is `certain` to be reported; mere bytes are an edge only
    /// if the caller had drained the handle, and otherwise an edge too many, as on Linux, half of the times.
    pub(super) fn edge(&mut self, owner: Owner, edges: Edges, certain: bool) {
        let Owner::Host(place) = owner else { return };
        let extra = self.random.chance(self.faults.rate(Fault::Spurious));
        let Some(slot) = self.hosts[place.host].slot_at(place) else { return };
        if !(certain || slot.drained || extra) {
            return;
        }
        if edges.has(Edges::READ) {
            slot.drained = false;
        }
        if self.inject(Fault::Delayed) {
            self.schedule_late(Event::Edge(place, edges));
        } else {
            self.mark(place, edges);
        }
    }

    /// Puts a handle on the list of those to report.
    pub(super) fn mark(&mut self, place: Place, edges: Edges) {
        let host = &mut self.hosts[place.host];
        let Some(slot) = host.slot_at(place).filter(|slot| slot.token.is_some()) else { return };
        let is_new = slot.pending == Edges::NONE;
        slot.pending = slot.pending | edges;
        if is_new {
            host.ready.push_back(place);
        }
    }

    /// Reports a handle for no reason.
    pub(super) fn report_falsely(&mut self, place: Place) {
        if let Some(slot) = self.hosts[place.host].slot_at(place) {
            slot.false_report = true;
            self.mark(place, Edges::WRITE);
        }
    }

    pub(super) fn unblock(&mut self, place: Place, edges: Edges) {
        if let Some(slot) = self.hosts[place.host].slot_at(place) {
            slot.blocked = slot.blocked.without(edges);
            self.mark(place, edges);
        }
    }

    /// Injects a `WouldBlock` at a handle: it lasts a while, and an edge ends it.
    pub(super) fn inject_block(&mut self, place: Place, edges: Edges) {
        if let Some(slot) = self.hosts[place.host].slot_at(place) {
            slot.blocked = slot.blocked | edges;
            if edges.has(Edges::READ) {
                slot.drained = true;
            }
            self.schedule_late(Event::Unblock(place, edges));
        }
    }

    /// Whether an injected `WouldBlock` holds at a handle, or begins now.
    pub(super) fn would_block(&mut self, place: Place, edges: Edges) -> bool {
        if self.hosts[place.host].slot_at(place).is_some_and(|slot| slot.blocked.has(edges)) {
            return true;
        }
        let begins = self.inject(Fault::WouldBlock);
        if begins {
            self.inject_block(place, edges);
        }
        begins
    }

    /// Takes what is to be reported to `host`.
    pub(super) fn collect(&mut self, host: usize, ready: &mut Vec<Readiness>) {
        if self.hosts[host].waker.0.swap(false, Ordering::AcqRel) {
            ready.push(Readiness { readable: true, ..Readiness::new(WAKE) });
        }
        let waiting = self.hosts[host].ready.len();
        let small = waiting > 1 && self.inject(Fault::SmallBatch);
        let batch = if small { self.random.size(waiting) } else { waiting };
        for _ in 0..batch {
            let Some(place) = self.hosts[host].ready.pop_front() else { break };
            ready.extend(self.report(place));
        }
        if !self.hosts[host].slots.is_empty() && self.inject(Fault::Spurious) {
            let at = self.random.index(self.hosts[host].slots.len());
            let token = self.hosts[host].slots[at].as_ref().and_then(|slot| slot.token);
            ready.extend(token.map(|token| Readiness { readable: true, writable: true, ..Readiness::new(token) }));
        }
        if self.faults.rate(Fault::Spurious) > 0 {
            // No order is promised.
            for i in (1..ready.len()).rev() {
                ready.swap(i, self.random.index(i + 1));
            }
        }
    }

    /// The report of a handle that is on the list; none if it was closed, or has nothing to show any more.
    fn report(&mut self, place: Place) -> Option<Readiness> {
        let terse = self.random.chance(self.faults.rate(Fault::Terse));
        let slot = self.hosts[place.host].slot_at(place)?;
        let token = slot.token?;
        let pending = std::mem::replace(&mut slot.pending, Edges::NONE);
        let false_report = std::mem::take(&mut slot.false_report);
        let (what, blocked) = (slot.what, slot.blocked);
        let mut report = self.readiness(token, what);
        if false_report {
            report.writable = true;
            return Some(report);
        }
        if let What::End(end) = what {
            if let Some(connection) = self.connections.get_mut(&end.connection).filter(|_| !report.writable) {
                // As on Linux: after a report of no room, room is reported.
                connection.ends[end.side].full = true;
            }
        }
        report.readable &= !blocked.has(Edges::READ);
        report.read_closed &= !blocked.has(Edges::READ);
        report.writable &= !blocked.has(Edges::WRITE);
        let full = report;
        if terse {
            report.readable &= pending.has(Edges::READ);
            report.read_closed &= pending.has(Edges::READ);
            report.writable &= pending.has(Edges::WRITE);
        }
        if report != full {
            self.counts.add(Fault::Terse);
        }
        let empty = !(report.readable || report.writable || report.read_closed || report.error);
        if empty { None } else { Some(report) }
    }

    /// What a program that watches levels would see of a handle.
    pub(super) fn level(&mut self, host: usize, handle: Handle) -> Readiness {
        let (place, what) = self.lookup(host, handle);
        let blocked = self.hosts[host].slot_at(place).map_or(Edges::NONE, |slot| slot.blocked);
        let mut report = self.readiness(0, what);
        if let What::End(end) = what {
            if let Some(connection) = self.connections.get_mut(&end.connection).filter(|_| !report.writable) {
                // After a report of no room, room is reported.
                connection.ends[end.side].full = true;
            }
        }
        report.readable &= !blocked.has(Edges::READ);
        report.read_closed &= !blocked.has(Edges::READ);
        report.writable &= !blocked.has(Edges::WRITE);
        report
    }

    /// What is true of a handle at this moment.
    pub(super) fn readiness(&self, token: u64, what: What) -> Readiness {
        let mut report = Readiness::new(token);
        match what {
            What::Listener(id) => report.readable = self.listeners.get(&id).is_some_and(|l| !l.queue.is_empty()),
            What::End(id) => {
                let Some(connection) = self.connections.get(&id.connection) else { return report };
                let (end, input, output) =
                    (&connection.ends[id.side], &connection.pipes[1 - id.side], &connection.pipes[id.side]);
                if end.connecting {
                    return report;
                }
                report.read_closed = end.reset || input.fin == Fin::Arrived;
                report.readable = report.read_closed || !input.arrived.is_empty();
                report.writable = end.reset || end.shut || output.has_room();
                report.error = end.reset || (end.shut && input.fin == Fin::Arrived);
            }
        }
        report
    }
}
