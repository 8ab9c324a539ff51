//! Attempts that have no socket yet, or more than one.

use std::collections::HashMap;

use sockeye_proto::time::Instant;

use crate::client::plan::Plan;
use crate::client::{Lookup, Resolution, Stage};
use crate::conn::NEVER;
use crate::id::ConnId;
use crate::service::connecting::race::Race;
use crate::state::Commands;
use crate::sys::Sys;

/// Tokens of sockets that are not connected yet: below the first generation, above all listeners.
const FIRST_TOKEN: u64 = 1 << 31;

/// What has no socket yet, or more than one.
#[derive(Default)]
pub(in crate::service) struct Connecting {
    /// The program's own; `None` while it is called.
    pub(super) resolver: Option<Resolver>,
    pub(super) attempts: HashMap<ConnId, Attempt>,
    /// The attempt that each token's socket belongs to.
    pub(super) racers: HashMap<u64, ConnId>,
    pub(super) last_token: u64,
    /// How many connects of the running batch have not begun yet.
    pub(super) next: usize,
}

/// The program's function that looks hosts up.
pub(super) type Resolver = Box<dyn FnMut(&mut Commands, &Lookup<'_>) -> Resolution>;

/// One attempt.
pub(super) struct Attempt {
    pub(super) plan: Box<Plan>,
    /// Its earliest entry in the loop's timers.
    pub(super) armed: Instant,
    pub(super) part: Part,
}

pub(super) enum Part {
    /// It begins at this time.
    Later(Instant),
    Resolving {
        until: Instant,
    },
    Racing(Race),
}

impl Attempt {
    pub(super) fn new(plan: Box<Plan>, part: Part) -> Self {
        Self { plan, armed: NEVER, part }
    }

    pub(super) fn deadline(&self) -> Instant {
        match &self.part {
            Part::Later(at) => *at,
            Part::Resolving { until } => self.plan.ends().min(*until),
            Part::Racing(race) => self.plan.ends().min(race.deadline()),
        }
    }

    pub(super) fn stage(&self) -> Stage {
        match self.part {
            Part::Later(_) | Part::Resolving { .. } => Stage::Resolve,
            Part::Racing(_) => Stage::Connect,
        }
    }
}

impl Connecting {
    /// How many connects of the running batch have not begun yet.
    pub(in crate::service) fn unstarted(&self) -> usize {
        self.next
    }

    /// Whether the loop's timers have the right entry for this attempt.
    pub(in crate::service) fn is_armed(&self, id: ConnId, at: Instant) -> bool {
        self.attempts.get(&id).is_some_and(|attempt| attempt.armed == at)
    }

    /// A token for one more socket.
    pub(super) fn token(&mut self, id: ConnId) -> u64 {
        loop {
            self.last_token = (self.last_token + 1) % FIRST_TOKEN;
            let token = FIRST_TOKEN + self.last_token;
            if let std::collections::hash_map::Entry::Vacant(entry) = self.racers.entry(token) {
                entry.insert(id);
                return token;
            }
        }
    }

    /// Takes an attempt out, with its sockets closed.
    pub(super) fn take(&mut self, sys: &mut dyn Sys, id: ConnId) -> Option<Attempt> {
        let mut attempt = self.attempts.remove(&id)?;
        if let Part::Racing(race) = &mut attempt.part {
            for token in race.close_all(sys) {
                self.racers.remove(&token);
            }
        }
        Some(attempt)
    }
}
