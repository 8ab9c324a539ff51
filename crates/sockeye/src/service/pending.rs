//! Connections that have no outcome yet: connects and adoptions that were requested.

use crate::client::FailureCause;
use crate::service::core::Service;
use crate::service::places::Share;

impl Service {
    /// Whether the number of connections is within the limit, and that of all services in its group.
    pub(in crate::service) fn has_room(&mut self) -> bool {
        self.settle_places();
        self.begun() <= self.max_connections && self.places.as_ref().is_none_or(Share::is_within)
    }

    /// Whether there is room for a connection that is not in the registry yet. A place in the group is taken for it.
    pub(in crate::service) fn takes_place(&mut self) -> bool {
        if self.env.state.registry.len() >= self.max_connections || self.env.state.registry.is_full() {
            return false;
        }
        self.settle_places();
        self.places.as_mut().is_none_or(Share::take)
    }

    /// Tells the group how many connections this service has.
    pub(in crate::service) fn settle_places(&mut self) {
        if self.places.is_some() {
            let begun = self.begun();
            if let Some(places) = &mut self.places {
                places.settle(begun);
            }
        }
    }

    /// The number of connections. Those that ended in this turn keep their slots until its end and do not count, nor do later
    /// requests.
    fn begun(&self) -> usize {
        let state = &self.env.state;
        let connects = self.connecting.unstarted() + state.connects.planned_ids().len();
        let others = self.dead.len() + connects + self.adopting + state.queue.adoptions.len();
        state.registry.len().saturating_sub(others)
    }

    /// In a drain connects fail at once. When nothing else is left, or the time of the drain is over, further requests of
    /// callbacks have no outcome: otherwise the drain would never end.
    pub(crate) fn end_drain_of_connects(&mut self) {
        let state = &self.env.state;
        if !state.lifecycle.is_ending() || (!state.connects.has_planned() && state.queue.adoptions.is_empty()) {
            return;
        }
        let others = state.registry.iter().filter(|(_, entry)| !entry.is_connecting()).count();
        // Those that ended in this turn have their slots until its end.
        if others == self.dead.len() {
            self.abandon_connects();
        }
    }

    /// Cancels all attempts, and drops what their callbacks request.
    pub(crate) fn abandon_connects(&mut self) {
        self.cancel_all();
        self.env.state.connects.clear_planned();
        self.env.state.queue.adoptions.clear();
        self.env.state.queue.settle();
        self.env.state.registry.remove_connecting();
    }

    /// Cancels all attempts: the service ends.
    pub(crate) fn cancel_all(&mut self) {
        // A callback may request more meanwhile; a draining service refuses it.
        let planned = self.env.state.connects.planned_ids();
        let opening = self.env.state.registry.iter().filter(|(_, entry)| entry.is_connecting()).map(|(id, _)| id);
        let ids: Vec<_> = planned.chain(opening).collect();
        for id in ids {
            self.cancel(id, FailureCause::Dropped);
        }
    }
}
