//! Adoption of descriptors that the program gives to the loop.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::conn::{Conn, Entrance};
use crate::id::ConnId;
use crate::protocol::EndpointMut;
use crate::protocol::endpoint::Endpoint;
use crate::service::core::Service;
use crate::state::{Adoption, EndpointKind};
use crate::statistics::Culprit;
use crate::sys::{AdoptOptions, Adopted, CloseHow, DescriptorKind};

impl Service {
    /// Carries out the requested adoptions. Those that their callbacks request wait for the next
    /// call.
    pub(crate) fn start_adoptions(&mut self) {
        let adoptions = std::mem::take(&mut self.env.state.queue.adoptions);
        self.adopting = adoptions.len();
        for Adoption { id, fd } in adoptions {
            self.adopting -= 1;
            if !self.env.state.registry.is_connecting(id) {
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
        let endpoint = self.env.state.registry.get(id).map(|entry| entry.endpoint).ok_or_else(ending)?;
        let adopted = self.env.io.sys.adopt(fd, &AdoptOptions::default())?;
        let is_watched = self.env.state.kind(endpoint) == EndpointKind::Watcher;
        if adopted.kind == DescriptorKind::Listener && !is_watched {
            self.env.io.sys.close(adopted.handle, CloseHow::Normal);
            let text = "it is a listener: serve its connections with Builder::listen_raw, or accept them in a Watcher";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.register_adopted(id, &adopted)?;
        self.install(id, Conn::adopted(adopted, endpoint, is_watched));
        self.begin(id);
        Ok(())
    }

    fn register_adopted(&mut self, id: ConnId, adopted: &Adopted) -> io::Result<()> {
        let Adopted { handle, kind, peer, .. } = adopted;
        if let Err(error) = self.env.io.sys.register(*handle, id.as_u64()) {
            self.env.io.sys.close(*handle, CloseHow::Normal);
            return Err(error);
        }
        tracing::debug!(%id, %peer, ?kind, "adopted");
        Ok(())
    }

    /// Serves a connection that was accepted elsewhere.
    pub(crate) fn serve(&mut self, fd: OwnedFd) -> io::Result<ConnId> {
        self.may_begin()?;
        if !self.takes_place() {
            return Err(no_room(self.max_connections));
        }
        let options = AdoptOptions { nodelay: true, must_be_connected: true };
        let adopted = self.env.io.sys.adopt(fd, &options)?;
        let (handle, peer) = (adopted.handle, adopted.peer.clone());
        let id = self.env.state.registry.insert_accepted();
        let entrance = Entrance::Http(Rc::clone(&self.env.site));
        let Some(conn) = Conn::accepted(&mut self.env, id, handle, peer.clone(), entrance) else {
            self.env.io.sys.close(handle, CloseHow::Reset);
            self.env.state.registry.remove(id);
            let text = format!("{peer} may not connect (Builder::filter, Limits::connections_per_address)");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        };
        if let Err(error) = self.env.io.sys.register(handle, id.as_u64()) {
            conn.close_socket(&mut self.env, id, CloseHow::Normal);
            self.env.state.registry.remove(id);
            return Err(error);
        }
        tracing::debug!(%id, %peer, "adopted");
        self.install(id, conn);
        Ok(id)
    }

    fn may_begin(&self) -> io::Result<()> {
        if self.is_draining() { Err(ending()) } else { Ok(()) }
    }

    /// Cancels an adoption that was not carried out. Returns whether there was one.
    pub(crate) fn cancel_adoption(&mut self, id: ConnId) -> bool {
        let Some(fd) = self.env.state.queue.take_adoption(id) else { return false };
        drop(fd);
        let error = self.may_begin().err();
        let error = error.unwrap_or_else(|| io::Error::other("it was closed before it began"));
        self.adoption_failed(id, error);
        true
    }

    fn adoption_failed(&mut self, id: ConnId, error: io::Error) {
        let Some(entry) = self.env.state.registry.get_mut(id).filter(|entry| entry.is_connecting()) else { return };
        entry.set_connected();
        let endpoint = entry.endpoint;
        tracing::debug!(%id, %error, "not adopted");
        self.dead.push(id);
        self.env.call_endpoint(endpoint, Some(id), Culprit::Failed, |object, commands| {
            let own = &mut EndpointMut { commands, endpoint };
            match object {
                Endpoint::Raw(raw) => raw.adoption_failed(own, id, error),
                Endpoint::Watcher(watcher) => watcher.adoption_failed(own, id, error),
                Endpoint::WebSocket(_) | Endpoint::Responder(_) => {}
            }
        });
    }
}

fn ending() -> io::Error {
    io::Error::other("the service is ending")
}

fn no_room(limit: usize) -> io::Error {
    io::Error::other(format!(
        "the service already has its maximum of {limit} connections (Limits::connections, or the descriptor limit)"
    ))
}
