//! Endpoints that speak no WebSocket, behind one object type.

use std::io;

use crate::client::Failure;
use crate::protocol::endpoint::{Endpoint, Sessions};
use crate::protocol::{ConnId, Cx, End, Ended, Raw, RawWritable, Wishes};
use crate::shared::EndpointKind;

/// What [`Endpoint`] is for WebSockets: an endpoint of other connections, whose sessions are named by number.
pub(crate) trait Plain {
    fn open(&mut self, cx: &mut Cx<'_>) -> u32;
    fn receive(&mut self, cx: &mut Cx<'_>, session: u32, bytes: &[u8]) -> Result<(), End>;
    fn ended(&mut self, cx: &mut Cx<'_>, session: u32) -> Result<(), End>;
    fn writable(&mut self, cx: &mut Cx<'_>, session: u32, tx: RawWritable<'_>) -> Result<(), End>;
    fn timer(&mut self, cx: &mut Cx<'_>, session: u32) -> Result<(), End>;
    fn closed(&mut self, cx: &mut Cx<'_>, session: u32, ended: Ended);
    fn failed(&mut self, wishes: &mut Wishes<'_>, id: ConnId, error: io::Error);
}

/// An endpoint of raw connections and a table of its sessions.
pub(crate) struct RawAdapter<R: Raw> {
    raw: R,
    sessions: Sessions<R::Session>,
}

impl<R: Raw> RawAdapter<R> {
    pub(crate) fn new(raw: R) -> Self {
        Self { raw, sessions: Sessions::new() }
    }
}

impl<R: Raw> Endpoint for RawAdapter<R> {
    fn name(&self) -> &str {
        self.raw.name()
    }

    fn kind(&self) -> EndpointKind {
        EndpointKind::Raw
    }

    fn plain(&mut self) -> Option<&mut dyn Plain> {
        Some(self)
    }

    fn failed(&mut self, wishes: &mut Wishes<'_>, id: ConnId, failure: Failure) {
        self.raw.failed(wishes, id, io::Error::other(failure));
    }

    fn tick(&mut self, wishes: &mut Wishes<'_>) {
        self.raw.tick(wishes);
    }

    fn sessions(&self) -> usize {
        self.sessions.len()
    }
}

impl<R: Raw> Plain for RawAdapter<R> {
    fn open(&mut self, cx: &mut Cx<'_>) -> u32 {
        let session = self.raw.open(cx);
        self.sessions.insert(session)
    }

    fn receive(&mut self, cx: &mut Cx<'_>, session: u32, bytes: &[u8]) -> Result<(), End> {
        match self.sessions.get_mut(session) {
            Some(session) => self.raw.receive(cx, session, bytes),
            None => Ok(()),
        }
    }

    fn ended(&mut self, cx: &mut Cx<'_>, session: u32) -> Result<(), End> {
        match self.sessions.get_mut(session) {
            Some(session) => self.raw.ended(cx, session),
            None => Ok(()),
        }
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: u32, tx: RawWritable<'_>) -> Result<(), End> {
        match self.sessions.get_mut(session) {
            Some(session) => self.raw.writable(cx, session, tx),
            None => Ok(()),
        }
    }

    fn timer(&mut self, cx: &mut Cx<'_>, session: u32) -> Result<(), End> {
        match self.sessions.get_mut(session) {
            Some(session) => self.raw.timer(cx, session),
            None => Ok(()),
        }
    }

    fn closed(&mut self, cx: &mut Cx<'_>, session: u32, ended: Ended) {
        if let Some(session) = self.sessions.remove(session) {
            self.raw.closed(cx, session, ended);
        }
    }

    fn failed(&mut self, wishes: &mut Wishes<'_>, id: ConnId, error: io::Error) {
        self.raw.failed(wishes, id, error);
    }
}
