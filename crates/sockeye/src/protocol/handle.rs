//! Handles of protocols and endpoints that the builder returns: typed, copyable, and valid for one
//! service only.

use std::fmt;
use std::marker::PhantomData;

use crate::http::ResponderTarget;
use crate::id::BuilderId;
use crate::state::EndpointIndex;

/// A [`Protocol`](crate::Protocol) of a service: what [`Builder::add_protocol`](crate::Builder::add_protocol) returns.
///
/// [`Commands::protocol`](crate::Commands::protocol) takes it, in any callback of the service and
/// from [`Control`](crate::Control). It is `Copy`, `Send` and `Sync`. For a handle of another
/// service the lookup returns
/// [`UnknownProtocol::Handle`](crate::protocol::UnknownProtocol::Handle); it never reaches another
/// protocol.
///
/// ```
/// use sockeye::{Service, messages};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut builder = Service::builder();
/// let chat = builder.add_protocol(messages::echo("chat"));
/// let mut service = builder.build()?;
/// service.control().protocol(chat)?.publish_text("the service has started");
/// # Ok(()) }
/// ```
pub struct ProtocolHandle<P> {
    pub(crate) target: HandleTarget,
    of: PhantomData<fn() -> P>,
}

/// A [`Raw`](crate::raw::Raw) or [`Watcher`](crate::raw::Watcher) endpoint of a service: what
/// [`Builder::add_raw`](crate::Builder::add_raw) and [`Builder::add_watcher`](crate::Builder::add_watcher) return.
///
/// [`Commands::endpoint`](crate::Commands::endpoint) and [`Builder::listen_raw`](crate::Builder::listen_raw) take it. It is `Copy`, `Send` and `Sync`, and
/// valid for the service of its builder only, like a [`ProtocolHandle`].
pub struct EndpointHandle<E> {
    pub(crate) target: HandleTarget,
    of: PhantomData<fn() -> E>,
}

/// A [`Responder`](crate::responder::Responder) of a service: what
/// [`Builder::add_responder`](crate::Builder::add_responder) returns.
///
/// [`Routes::responder`](crate::http::Routes::responder) and [`Commands::responder`](crate::Commands::responder) take it.
/// It is `Copy`, `Send` and `Sync`, and valid for the service of its builder only, like a [`ProtocolHandle`].
pub struct ResponderHandle<R> {
    pub(crate) target: HandleTarget,
    of: PhantomData<fn() -> R>,
}

/// The target of a handle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct HandleTarget {
    pub(crate) builder: BuilderId,
    pub(crate) index: EndpointIndex,
}

impl<P> ProtocolHandle<P> {
    pub(crate) fn new(target: HandleTarget) -> Self {
        Self { target, of: PhantomData }
    }
}

impl<E> EndpointHandle<E> {
    pub(crate) fn new(target: HandleTarget) -> Self {
        Self { target, of: PhantomData }
    }
}

impl<R> ResponderHandle<R> {
    pub(crate) fn new(target: HandleTarget) -> Self {
        Self { target, of: PhantomData }
    }
}

impl<R> From<ResponderHandle<R>> for ResponderTarget {
    fn from(handle: ResponderHandle<R>) -> Self {
        Self { builder: handle.target.builder.as_u64(), endpoint: handle.target.index.0 }
    }
}

// Derived implementations would require the same of the user's type.

impl<P> Clone for ProtocolHandle<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for ProtocolHandle<P> {}

impl<P> PartialEq for ProtocolHandle<P> {
    fn eq(&self, other: &Self) -> bool {
        self.target == other.target
    }
}

impl<P> Eq for ProtocolHandle<P> {}

impl<P> fmt::Debug for ProtocolHandle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProtocolHandle({})", self.target.index.0)
    }
}

impl<E> Clone for EndpointHandle<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for EndpointHandle<E> {}

impl<E> PartialEq for EndpointHandle<E> {
    fn eq(&self, other: &Self) -> bool {
        self.target == other.target
    }
}

impl<E> Eq for EndpointHandle<E> {}

impl<E> fmt::Debug for EndpointHandle<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointHandle({})", self.target.index.0)
    }
}

impl<R> Clone for ResponderHandle<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for ResponderHandle<R> {}

impl<R> PartialEq for ResponderHandle<R> {
    fn eq(&self, other: &Self) -> bool {
        self.target == other.target
    }
}

impl<R> Eq for ResponderHandle<R> {}

impl<R> fmt::Debug for ResponderHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResponderHandle({})", self.target.index.0)
    }
}
