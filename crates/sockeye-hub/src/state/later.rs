//! What could not be done since the queue of a thread was full, and is tried again by the next tick.

use sockeye::responder::RequestId;

use super::State;
use crate::outlet::{Outlet, Place};

pub(super) enum Later {
    Wake(Place),
    WakeRequest(usize, RequestId),
    Tell(Place, String),
}

/// With so much to be done nothing more is published that needs an answer.
const MOST: usize = 1 << 16;

impl State {
    /// Whether there is room for the answers of messages that the broker is sent.
    pub(super) fn is_behind(&self) -> bool {
        self.later.len() >= MOST
    }

    pub(super) fn wake(&mut self, place: Place, out: &mut dyn Outlet) {
        if out.wake(place).is_err() {
            self.later.push(Later::Wake(place));
        }
    }

    pub(super) fn wake_request(&mut self, thread: usize, id: RequestId, out: &mut dyn Outlet) {
        if out.wake_request(thread, id).is_err() {
            self.later.push(Later::WakeRequest(thread, id));
        }
    }

    pub(super) fn tell_client(&mut self, place: Place, text: String, out: &mut dyn Outlet) {
        if out.tell(place, &text).is_err() {
            self.later.push(Later::Tell(place, text));
        }
    }

    pub(super) fn try_again(&mut self, out: &mut dyn Outlet) {
        for what in std::mem::take(&mut self.later) {
            match what {
                Later::Wake(place) => self.wake(place, out),
                Later::WakeRequest(thread, id) => self.wake_request(thread, id, out),
                Later::Tell(place, text) => self.tell_client(place, text, out),
            }
        }
    }
}
