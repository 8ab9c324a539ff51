//! An accepted connection before anything of it was read, and its end.

use std::os::fd::BorrowedFd;

use crate::id::{ConnId, ListenerHandle};
use crate::sys::Address;

/// A connection that was accepted, for [`Builder::filter`](crate::Builder::filter). It lives for the call.
///
/// ```
/// use sockeye::service::{AcceptedConnection, PeerSet};
///
/// fn is_wanted(accepted: &AcceptedConnection<'_>, inner: &PeerSet) -> bool {
///     println!("{} from {} at {}", accepted.id(), accepted.peer(), accepted.local_address());
///     inner.contains(accepted.peer())
/// }
/// ```
#[derive(Debug)]
pub struct AcceptedConnection<'a> {
    pub(crate) id: ConnId,
    pub(crate) peer: &'a Address,
    pub(crate) proxy: Option<&'a Address>,
    pub(crate) local: &'a Address,
    pub(crate) listener: Option<ListenerHandle>,
    pub(crate) descriptor: Option<BorrowedFd<'a>>,
}

impl<'a> AcceptedConnection<'a> {
    /// The id of the connection, the same in everything that follows.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.id
    }

    /// The address of the peer; of a trusted proxy's connection the client that its PROXY header names.
    #[must_use]
    pub const fn peer(&self) -> &'a Address {
        self.peer
    }

    /// The address of the trusted proxy that the connection came through
    /// ([`Builder::proxy_protocol`](crate::Builder::proxy_protocol)), if there is one.
    #[must_use]
    pub const fn proxy(&self) -> Option<&'a Address> {
        self.proxy
    }

    /// The address of this end: where the peer, or the proxy, connected to. It is [`Address::Unnamed`] if the system does
    /// not say.
    #[must_use]
    pub const fn local_address(&self) -> &'a Address {
        self.local
    }

    /// The listener that accepted it; `None` if it was accepted elsewhere
    /// ([`Control::serve`](crate::Control::serve)).
    #[must_use]
    pub const fn listener(&self) -> Option<ListenerHandle> {
        self.listener
    }

    /// The socket, to set or ask its options, such as the credentials of a peer on a Unix socket. Do not read, write or close
    /// it, and leave it non-blocking. `None` on a system without descriptors, such as the simulated one.
    #[must_use]
    pub const fn descriptor(&self) -> Option<BorrowedFd<'a>> {
        self.descriptor
    }
}

/// How an accepted connection ended, for [`Builder::on_end`](crate::Builder::on_end).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ended {
    /// It was opened, and its protocol's `closed` has said why it ended.
    Opened,
    /// It ended without having been opened: it was for plain HTTP, its handshake was refused, or it never sent one.
    Unopened,
}
