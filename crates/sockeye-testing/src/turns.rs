//! Turns of a service on a simulated network, whose clock jumps to what is due next.

use std::time::Duration;

use sockeye::Service;
use sockeye::proto::time::Instant;
use sockeye::sim::{Network, Turn};

/// A service that a test turns.
pub trait Turns {
    fn network(&self) -> &Network;

    /// One turn of the service, and of those who talk to it.
    fn turn(&mut self);

    /// When the service has work without an event.
    fn next_deadline(&self) -> Option<Instant>;

    /// Takes turns until `done`, or for this virtual time at most. Says whether it was done, and how long it took.
    fn turn_until(&mut self, most: Duration, mut done: impl FnMut(&mut Self) -> bool) -> (bool, Duration) {
        let (begin, network) = (self.network().now(), self.network().clone());
        let limit = begin + most;
        let mut is_done = false;
        network.run(|| {
            self.turn();
            is_done = done(self);
            if is_done || network.now() >= limit {
                return Turn::Done;
            }
            Turn::Sleep(Some(self.next_deadline().unwrap_or(limit).min(limit)))
        });
        (is_done, network.now().saturating_duration_since(begin))
    }

    /// Takes turns for this virtual time.
    fn turn_for(&mut self, time: Duration) {
        self.turn_until(time, |_| false);
    }
}

/// Services in one simulated network, which are turned together.
pub struct Together<const N: usize> {
    pub network: Network,
    pub services: [Service; N],
}

impl<const N: usize> Turns for Together<N> {
    fn network(&self) -> &Network {
        &self.network
    }

    fn turn(&mut self) {
        for service in &mut self.services {
            service.run_once(Some(Duration::ZERO)).expect("the simulated poller does not fail");
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.services.iter().filter_map(Service::next_deadline).min()
    }
}
