//! The listeners of a service. Those of raw endpoints are in the file above: their bound is shown by the compiler with the place
//! where it is.

use crate::id::ListenerHandle;
use crate::service::builder::Builder;
use crate::service::listen::ListenAddr;
use crate::service::listen_at::Listen;
use crate::sys::ListenOptions;

impl Builder {
    /// Adds a listener: an address, or a listener that is already open. May be called several
    /// times; port 0 picks a free port.
    #[must_use]
    pub fn listen(self, listen: impl Into<ListenAddr>) -> Self {
        self.listen_with(listen, ListenOptions::default())
    }

    /// As [`listen`](Self::listen), with options.
    #[must_use]
    pub fn listen_with(self, listen: impl Into<ListenAddr>, options: ListenOptions) -> Self {
        self.listener(Listen::new(listen).options(options))
    }

    /// Adds a listener with protocols, routes, origins or hosts of its own.
    #[must_use]
    pub fn listener(mut self, listen: Listen) -> Self {
        self.add_listener(listen);
        self
    }

    /// As [`listener`](Self::listener), and returns a handle: for
    /// [`Control::stop_listening`](crate::Control::stop_listening), and to compare with
    /// [`Request::listener`](crate::Request::listener).
    pub fn add_listener(&mut self, listen: Listen) -> ListenerHandle {
        let handle = ListenerHandle { builder: self.id, number: self.listeners.len() as u64 };
        self.listeners.push((handle, listen));
        handle
    }
}
