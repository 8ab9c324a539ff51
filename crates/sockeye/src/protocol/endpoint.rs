//! A protocol with its sessions, behind one object type, so that a service can have several.

use sockeye_proto::close::{Close, Closed};
use sockeye_proto::event::Fragment;

use crate::client::Failure;
use crate::protocol::plain::Plain;
use crate::protocol::{ClosedCx, ConnId, Cx, Decision, Handshake, Protocol, ProtocolMut, Request, Tx};
use crate::shared::{Commands, EndpointIndex, EndpointKind};

/// What all endpoints of a service have, and the callbacks of those that are protocols, whose sessions are named by number. An
/// endpoint that is [`Plain`] has no WebSockets, so nobody calls the callbacks that it does not define.
pub(crate) trait Endpoint {
    fn name(&self) -> &str;
    fn kind(&self) -> EndpointKind;
    fn tick(&mut self, commands: &mut Commands, own: EndpointIndex);
    fn sessions(&self) -> usize;

    /// Itself, when its connections are no WebSockets.
    fn plain(&mut self) -> Option<&mut dyn Plain> {
        None
    }

    fn filter(&mut self, _: &Request<'_>) -> Decision {
        Decision::refuse(500, "")
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, _: Failure) {}

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) -> u32 {
        u32::MAX
    }

    fn receive(&mut self, _: &mut Cx<'_>, _: u32, _: &Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, _: u32, _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn release_input(&mut self, _: &mut Cx<'_>, _: u32) {}

    fn ping(&mut self, _: &mut Cx<'_>, _: u32, _: &[u8]) -> Result<(), Close> {
        Ok(())
    }

    fn pong(&mut self, _: &mut Cx<'_>, _: u32, _: &[u8]) -> Result<(), Close> {
        Ok(())
    }

    fn timer(&mut self, _: &mut Cx<'_>, _: u32) -> Result<(), Close> {
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, _: u32, _: Closed) {}
}

/// A protocol and a table of its sessions, without an allocation for each.
pub(crate) struct Adapter<P: Protocol> {
    protocol: P,
    sessions: Sessions<P::Session>,
}

impl<P: Protocol> Adapter<P> {
    pub(crate) fn new(protocol: P) -> Self {
        Self { protocol, sessions: Sessions::new() }
    }
}

impl<P: Protocol> Endpoint for Adapter<P> {
    fn name(&self) -> &str {
        self.protocol.name()
    }

    fn kind(&self) -> EndpointKind {
        EndpointKind::WebSocket
    }

    fn filter(&mut self, request: &Request<'_>) -> Decision {
        self.protocol.filter(request)
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> u32 {
        let session = self.protocol.open(cx, handshake);
        self.sessions.insert(session)
    }

    #[inline]
    fn receive(&mut self, cx: &mut Cx<'_>, session: u32, fragment: &Fragment<'_>) -> Result<(), Close> {
        match self.sessions.get_mut(session) {
            Some(session) => self.protocol.receive(cx, session, *fragment),
            None => Ok(()),
        }
    }

    #[inline]
    fn writable(&mut self, cx: &mut Cx<'_>, session: u32, tx: Tx<'_>) -> Result<(), Close> {
        match self.sessions.get_mut(session) {
            Some(session) => self.protocol.writable(cx, session, tx),
            None => Ok(()),
        }
    }

    #[cold]
    fn release_input(&mut self, cx: &mut Cx<'_>, session: u32) {
        if let Some(session) = self.sessions.get_mut(session) {
            self.protocol.release_input(cx, session);
        }
    }

    fn ping(&mut self, cx: &mut Cx<'_>, session: u32, payload: &[u8]) -> Result<(), Close> {
        match self.sessions.get_mut(session) {
            Some(session) => self.protocol.ping(cx, session, payload),
            None => Ok(()),
        }
    }

    fn pong(&mut self, cx: &mut Cx<'_>, session: u32, payload: &[u8]) -> Result<(), Close> {
        match self.sessions.get_mut(session) {
            Some(session) => self.protocol.pong(cx, session, payload),
            None => Ok(()),
        }
    }

    fn timer(&mut self, cx: &mut Cx<'_>, session: u32) -> Result<(), Close> {
        match self.sessions.get_mut(session) {
            Some(session) => self.protocol.timer(cx, session),
            None => Ok(()),
        }
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, session: u32, closed: Closed) {
        if let Some(session) = self.sessions.remove(session) {
            self.protocol.closed(cx, session, closed);
        }
    }

    fn failed(&mut self, own: &mut ProtocolMut<'_>, id: ConnId, failure: Failure) {
        self.protocol.failed(own, id, failure);
    }

    fn tick(&mut self, commands: &mut Commands, own: EndpointIndex) {
        self.protocol.tick(&mut ProtocolMut { commands, endpoint: own });
    }

    fn sessions(&self) -> usize {
        self.sessions.len
    }
}

pub(crate) struct Sessions<S> {
    entries: Vec<Entry<S>>,
    /// The first free entry, or `u32::MAX`.
    free: u32,
    len: usize,
}

enum Entry<S> {
    Used(S),
    Free(u32),
}

impl<S> Sessions<S> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), free: u32::MAX, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, session: S) -> u32 {
        self.len += 1;
        if let Some(entry) = self.entries.get_mut(self.free as usize) {
            let index = self.free;
            if let Entry::Free(next) = *entry {
                self.free = next;
                *entry = Entry::Used(session);
                return index;
            }
        }
        self.entries.push(Entry::Used(session));
        // Connections are bounded by the descriptor limit, which is far below 2^32.
        (self.entries.len() - 1) as u32
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut S> {
        match self.entries.get_mut(index as usize) {
            Some(Entry::Used(session)) => Some(session),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<S> {
        let entry = self.entries.get_mut(index as usize)?;
        if matches!(entry, Entry::Free(_)) {
            return None;
        }
        let Entry::Used(session) = std::mem::replace(entry, Entry::Free(self.free)) else { return None };
        self.free = index;
        self.len -= 1;
        Some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_number_is_used_again_and_a_stale_one_is_nothing() {
        let mut sessions = Sessions::new();
        let a = sessions.insert("a");
        let b = sessions.insert("b");
        assert_eq!(sessions.remove(a), Some("a"));
        assert_eq!(sessions.remove(a), None);
        assert!(sessions.get_mut(a).is_none());
        let c = sessions.insert("c");
        assert_eq!((c, sessions.get_mut(b).copied(), sessions.len), (a, Some("b"), 2));
    }
}
