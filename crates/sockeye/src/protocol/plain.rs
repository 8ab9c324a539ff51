//! Endpoints that speak no WebSocket, behind one object type.

use std::io;
use std::os::fd::BorrowedFd;

use crate::protocol::endpoint::{Endpoint, Sessions};
use crate::protocol::{ConnId, EndpointMut, Raw, RawClose, RawClosed, RawClosedCx, RawCx, RawWritable, Watcher};
use crate::shared::{Commands, EndpointIndex, EndpointKind};

/// What [`Endpoint`] is for WebSockets: an endpoint of other connections, whose sessions are named by number.
pub(crate) trait Plain {
    fn open(&mut self, cx: &mut RawCx<'_>) -> u32;
    fn timer(&mut self, cx: &mut RawCx<'_>, session: u32) -> Result<(), RawClose>;
    fn closed(&mut self, cx: &mut RawClosedCx<'_>, session: u32, ended: RawClosed);
    fn failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, error: io::Error);

    /// Of what the loop reads and writes, as the next two.
    fn receive(&mut self, _: &mut RawCx<'_>, _: u32, _: &[u8]) -> Result<(), RawClose> {
        Ok(())
    }

    fn ended(&mut self, _: &mut RawCx<'_>, _: u32) -> Result<(), RawClose> {
        Ok(())
    }

    fn writable(&mut self, _: &mut RawCx<'_>, _: u32, _: RawWritable<'_>) -> Result<(), RawClose> {
        Ok(())
    }

    /// Of what the program reads and writes, as the next one.
    fn readable(&mut self, _: &mut RawCx<'_>, _: u32, _: BorrowedFd<'_>) -> Result<(), RawClose> {
        Ok(())
    }

    /// There is room to write.
    fn ready(&mut self, _: &mut RawCx<'_>, _: u32, _: BorrowedFd<'_>) -> Result<(), RawClose> {
        Ok(())
    }
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

    fn tick(&mut self, commands: &mut Commands, own: EndpointIndex) {
        self.raw.tick(&mut EndpointMut { commands, endpoint: own });
    }

    fn sessions(&self) -> usize {
        self.sessions.len()
    }
}

impl<R: Raw> Plain for RawAdapter<R> {
    fn open(&mut self, cx: &mut RawCx<'_>) -> u32 {
        let session = self.raw.open(cx);
        self.sessions.insert(session)
    }

    fn receive(&mut self, cx: &mut RawCx<'_>, session: u32, bytes: &[u8]) -> Result<(), RawClose> {
        match self.sessions.get_mut(session) {
            Some(session) => self.raw.receive(cx, session, bytes),
            None => Ok(()),
        }
    }

    fn ended(&mut self, cx: &mut RawCx<'_>, session: u32) -> Result<(), RawClose> {
        match self.sessions.get_mut(session) {
            Some(session) => self.raw.ended(cx, session),
            None => Ok(()),
        }
    }

    fn writable(&mut self, cx: &mut RawCx<'_>, session: u32, tx: RawWritable<'_>) -> Result<(), RawClose> {
        match self.sessions.get_mut(session) {
            Some(session) => self.raw.writable(cx, session, tx),
            None => Ok(()),
        }
    }

    fn timer(&mut self, cx: &mut RawCx<'_>, session: u32) -> Result<(), RawClose> {
        match self.sessions.get_mut(session) {
            Some(session) => self.raw.timer(cx, session),
            None => Ok(()),
        }
    }

    fn closed(&mut self, cx: &mut RawClosedCx<'_>, session: u32, ended: RawClosed) {
        if let Some(session) = self.sessions.remove(session) {
            self.raw.closed(cx, session, ended);
        }
    }

    fn failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, error: io::Error) {
        self.raw.failed(own, id, error);
    }
}

/// An endpoint of descriptors that the program moves itself, and a table of its sessions.
pub(crate) struct WatchAdapter<W: Watcher> {
    watch: W,
    sessions: Sessions<W::Session>,
}

impl<W: Watcher> WatchAdapter<W> {
    pub(crate) fn new(watch: W) -> Self {
        Self { watch, sessions: Sessions::new() }
    }
}

impl<W: Watcher> Endpoint for WatchAdapter<W> {
    fn name(&self) -> &str {
        self.watch.name()
    }

    fn kind(&self) -> EndpointKind {
        EndpointKind::Watcher
    }

    fn plain(&mut self) -> Option<&mut dyn Plain> {
        Some(self)
    }

    fn tick(&mut self, commands: &mut Commands, own: EndpointIndex) {
        self.watch.tick(&mut EndpointMut { commands, endpoint: own });
    }

    fn sessions(&self) -> usize {
        self.sessions.len()
    }
}

impl<W: Watcher> Plain for WatchAdapter<W> {
    fn open(&mut self, cx: &mut RawCx<'_>) -> u32 {
        let session = self.watch.open(cx);
        self.sessions.insert(session)
    }

    fn readable(&mut self, cx: &mut RawCx<'_>, session: u32, fd: BorrowedFd<'_>) -> Result<(), RawClose> {
        match self.sessions.get_mut(session) {
            Some(session) => self.watch.readable(cx, session, fd),
            None => Ok(()),
        }
    }

    fn ready(&mut self, cx: &mut RawCx<'_>, session: u32, fd: BorrowedFd<'_>) -> Result<(), RawClose> {
        match self.sessions.get_mut(session) {
            Some(session) => self.watch.writable(cx, session, fd),
            None => Ok(()),
        }
    }

    fn timer(&mut self, cx: &mut RawCx<'_>, session: u32) -> Result<(), RawClose> {
        match self.sessions.get_mut(session) {
            Some(session) => self.watch.timer(cx, session),
            None => Ok(()),
        }
    }

    fn closed(&mut self, cx: &mut RawClosedCx<'_>, session: u32, ended: RawClosed) {
        if let Some(session) = self.sessions.remove(session) {
            self.watch.closed(cx, session, ended);
        }
    }

    fn failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, error: io::Error) {
        self.watch.failed(own, id, error);
    }
}
