//! Descriptors that the program gives to the loop.

use std::io;
use std::os::fd::OwnedFd;

use crate::conn::raw::Raw;
use crate::conn::{Conn, Phase};
use crate::protocol::{ConnId, EndpointMut};
use crate::service::Service;
use crate::shared::{Adoption, EndpointKind, Live};
use crate::statistics::{Culprit, Whose};
use crate::sys::{AdoptOptions, Adopted, CloseHow, DescriptorKind};

impl Service {
    /// Carries out the adoptions that were wished for. Those that a callback of one of these wishes for wait for the next time.
    pub(crate) fn start_adoptions(&mut self) {
        let adoptions = std::mem::take(&mut self.stage.shared.adoptions);
        self.adopting = adoptions.len();
        for Adoption { id, fd } in adoptions {
            self.adopting -= 1;
            if !self.stage.shared.live.get(id).is_some_and(|live| live.is_connecting()) {
                continue;
            }
            if let Err(error) = self.adopt(id, fd) {
                self.adoption_failed(id, error);
            }
        }
    }

    fn adopt(&mut self, id: ConnId, fd: OwnedFd) -> io::Result<()> {
        self.may_begin()?;
        if !self.has_room() {
            return Err(no_room(self.max_connections));
        }
        let endpoint = self.stage.shared.live.get(id).map(|live| live.endpoint).ok_or_else(ending)?;
        let adopted = self.stage.outlet.sys.adopt(fd, &AdoptOptions::default())?;
        let is_watched = self.stage.shared.kind(endpoint) == EndpointKind::Watcher;
        if adopted.kind == DescriptorKind::Listener && !is_watched {
            self.stage.outlet.sys.close(adopted.handle, CloseHow::Normal);
            let text = "it is a listener, which has nothing to read: Builder::listen_raw serves its connections, and a Watcher accepts them";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let raw = Raw::adopted(adopted.readable, adopted.writable);
        let raw = if is_watched { raw.watched() } else { raw };
        self.begin(id, adopted, Phase::Raw(Box::new(raw)))?;
        self.open_raw(id, endpoint);
        Ok(())
    }

    /// Registers an adopted descriptor and gives it its slot.
    fn begin(&mut self, id: ConnId, adopted: Adopted, phase: Phase) -> io::Result<()> {
        let Adopted { handle, kind, peer, .. } = adopted;
        if let Err(error) = self.stage.outlet.sys.register(handle, id.as_u64()) {
            self.stage.outlet.sys.close(handle, CloseHow::Normal);
            return Err(error);
        }
        tracing::debug!(%id, %peer, ?kind, "adopted");
        let mut conn = Conn::new(handle, peer, phase);
        conn.link.set_kind(kind);
        self.install(id, conn);
        Ok(())
    }

    /// Serves a connection that was accepted elsewhere.
    pub(crate) fn serve(&mut self, fd: OwnedFd) -> io::Result<ConnId> {
        self.may_begin()?;
        if self.stage.shared.live.len() >= self.max_connections {
            return Err(no_room(self.max_connections));
        }
        let options = AdoptOptions { nodelay: true };
        let adopted = self.stage.outlet.sys.adopt(fd, &options)?;
        if adopted.kind != DescriptorKind::Stream {
            self.stage.outlet.sys.close(adopted.handle, CloseHow::Normal);
            let text = "it is no connected TCP or Unix stream socket, so nothing can be served on it";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let (handle, peer) = (adopted.handle, adopted.peer.clone());
        let Some(phase) = self.first_phase(&peer, None) else {
            self.stage.outlet.sys.close(handle, CloseHow::Reset);
            let text = format!("{peer} may not connect (Builder::filter, Limits::connections_per_address)");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        };
        let is_counted = !matches!(phase, Phase::Proxied(_));
        let id = self.stage.shared.live.insert(Live::new());
        if let Err(error) = self.begin(id, adopted, phase) {
            self.stage.shared.live.remove(id);
            if is_counted {
                self.accepting.left(&peer);
            }
            return Err(error);
        }
        Ok(id)
    }

    fn may_begin(&self) -> io::Result<()> {
        if self.stage.policy.draining || self.is_draining() { Err(ending()) } else { Ok(()) }
    }

    /// Takes an adoption back that was not carried out. Says whether there was one.
    pub(crate) fn cancel_adoption(&mut self, id: ConnId) -> bool {
        let adoptions = &mut self.stage.shared.adoptions;
        let Some(index) = adoptions.iter().position(|adoption| adoption.id == id) else { return false };
        drop(adoptions.remove(index).fd);
        let error = self.may_begin().err();
        let error = error.unwrap_or_else(|| io::Error::other("it was closed before it began"));
        self.adoption_failed(id, error);
        true
    }

    fn adoption_failed(&mut self, id: ConnId, error: io::Error) {
        let Some(live) = self.stage.shared.live.get_mut(id).filter(|live| live.is_connecting()) else { return };
        live.set_connected();
        let endpoint = live.endpoint;
        tracing::debug!(%id, %error, "not adopted");
        self.dead.push(id);
        let stage = &mut self.stage;
        let Some(callee) = stage.endpoints.get_mut(endpoint.get()).and_then(|endpoint| endpoint.plain()) else {
            return;
        };
        stage.outlet.steps_over(0);
        callee.failed(&mut EndpointMut { commands: &mut stage.shared, endpoint }, id, error);
        stage.outlet.lap(Culprit::Failed, Whose::of(endpoint.0, id));
    }
}

fn ending() -> io::Error {
    io::Error::other("the service is ending")
}

fn no_room(limit: usize) -> io::Error {
    io::Error::other(format!(
        "the service has its {limit} connections already (Limits::connections, and what the descriptor limit allows)"
    ))
}
