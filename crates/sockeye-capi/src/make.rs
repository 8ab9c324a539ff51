//! Making the service of a context, and its listeners.

use std::os::fd::AsRawFd;

use sockeye::http::{Route, Routes};
use sockeye::service::{Listen, ListenAddr};
use sockeye::{Error, Limits, Service};

use crate::context::{Context, Inner, Movable};
use crate::face::Face;
use crate::hook::Hook;
use crate::lock::lock;
use crate::poll::Poll;
use crate::spoken::Spoken;
use crate::vhost::Vhost;
use crate::wsi::{Phase, Wsi};

/// The limits of a service of C programs, which know their messages and peers themselves.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.stall = None;
    limits.turn_bytes = 64 * 1024;
    let protocol = limits.protocol_mut();
    // The programs of that time send what pings they want themselves.
    protocol.ping_after = None;
    protocol.message_bytes = 1 << 62;
    limits
}

impl Context {
    /// Makes the service, in whose `poll` table the descriptors are, if there is one. What it listens on is added later.
    pub(crate) fn make(
        &'static self,
        face: &'static dyn Face,
        limits: Limits,
        poll: Option<Poll>,
    ) -> Result<(), Error> {
        let mut builder = Service::builder()
            .limits(limits)
            .filter(move |accepted| {
                let Some(vhost) = self.vhost_of(accepted.listener()) else { return false };
                let Some(protocol) = vhost.first() else { return false };
                let wsi = Wsi::new(self, Phase::Accepted);
                wsi.protocol.set(Some(protocol));
                wsi.rest().peer = Some(accepted.peer().clone());
                let fd = accepted.descriptor().map_or(-1, |fd| fd.as_raw_fd());
                wsi.set_descriptor(fd);
                self.add(wsi, accepted.id());
                let is_wanted = face.accepted(wsi, protocol, fd);
                if !is_wanted {
                    self.forget(wsi);
                }
                is_wanted
            })
            .on_end(move |id, _| {
                if let Some(wsi) = self.of(id) {
                    wsi.set_phase(Phase::Closed);
                    face.ended(wsi);
                    self.forget(wsi);
                }
            });
        builder.add_fallback(Spoken::new(self, face));
        let requests = face.add_responder(self, &mut builder);
        let service = match poll {
            None => builder.build()?,
            Some(poll) => {
                *lock(&self.poll) = Some(poll);
                builder.build_external(Hook(self))?
            }
        };
        self.set_inner(Movable::new(Inner { service, requests }));
        Ok(())
    }

    /// Listens for a vhost.
    pub(crate) fn listen(
        &'static self,
        vhost: &'static Vhost,
        at: impl Into<ListenAddr>,
        adjust: impl FnOnce(Listen) -> Listen,
    ) -> Result<(), Error> {
        let mut guard = self.lock_inner();
        let Some(inner) = guard.as_mut() else { return Ok(()) };
        let _inside = self.door.enter();
        let routes = Routes::new().responder(Route::below("/"), inner.requests);
        let mut control = inner.service.control();
        let listener = control.listen(adjust(Listen::new(at).routes(routes)))?;
        let port = control.addresses_of(listener).into_iter().find_map(|address| match address {
            sockeye::sys::Address::Ip(address) => Some(address.port()),
            _ => None,
        });
        vhost.port.store(port.unwrap_or(0), std::sync::atomic::Ordering::Release);
        lock(&self.listeners).push((listener, vhost));
        Ok(())
    }
}
