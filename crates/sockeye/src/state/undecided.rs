//! Handshakes on which the program decides later.

use std::collections::HashMap;

use crate::admission::Decision;
use crate::id::{ConnId, Gone};

/// The handshakes that wait for their decision, or for the loop to carry it out.
#[derive(Debug, Default)]
pub(crate) struct Undecided(HashMap<ConnId, Option<Decision>>);

impl Undecided {
    /// A handshake waits from now on.
    pub(crate) fn insert(&mut self, id: ConnId) {
        self.0.insert(id, None);
    }

    /// Decides on a handshake, once.
    pub(crate) fn decide(&mut self, id: ConnId, decision: Decision) -> Result<(), Gone> {
        match self.0.get_mut(&id) {
            Some(place @ None) => {
                *place = Some(decision);
                Ok(())
            }
            Some(Some(_)) | None => Err(Gone),
        }
    }

    /// Takes the decision, if there is one. The handshake no longer waits then.
    pub(crate) fn take(&mut self, id: ConnId) -> Option<Decision> {
        let decision = self.0.get_mut(&id)?.take();
        if decision.is_some() {
            self.remove(id);
        }
        decision
    }

    /// A handshake no longer waits.
    pub(crate) fn remove(&mut self, id: ConnId) {
        self.0.remove(&id);
        if self.0.is_empty() {
            // A crowd must not leave its memory behind.
            self.0 = HashMap::new();
        }
    }
}
