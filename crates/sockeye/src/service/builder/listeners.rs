//! The listeners of a service.

use crate::id::ListenerHandle;
use crate::protocol::{EndpointHandle, Raw};
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

    /// Adds a listener for a raw endpoint, with the handle that [`add_raw`](Self::add_raw) of this builder returned: each
    /// accepted connection belongs to it at once, without HTTP or WebSocket. The service's filters, limits and turn
    /// shares apply to these too. [`Service::local_addresses`](crate::Service::local_addresses) lists them after those of
    /// [`listen`](Self::listen). For a listener shared by all [`Threads`](crate::Threads) use
    /// [`Threads::listen_raw`](crate::Threads::listen_raw).
    #[must_use]
    pub fn listen_raw<R: Raw>(self, listen: impl Into<ListenAddr>, endpoint: EndpointHandle<R>) -> Self {
        self.listen_raw_with(listen, ListenOptions::default(), endpoint)
    }

    /// As [`listen_raw`](Self::listen_raw), with options.
    #[must_use]
    pub fn listen_raw_with<R: Raw>(
        self,
        listen: impl Into<ListenAddr>,
        options: ListenOptions,
        endpoint: EndpointHandle<R>,
    ) -> Self {
        self.listener(Listen::new(listen).options(options).raw(endpoint))
    }
}
