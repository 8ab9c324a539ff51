//! The methods of [`Control`] beyond those of [`Commands`].

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;

use crate::conn::{Conn, Env};
use crate::id::RequestId;
use crate::protocol::{
    ConnId, Cx, EndpointHandle, Gone, HandleTarget, Protocol, ProtocolHandle, Raw, RawCx, RequestCx, Responder,
    ResponderHandle, UnknownProtocol, Watcher,
};
use crate::service::core::{Control, Service};
use crate::state::{Commands, Entry, ReadBudget};
use crate::statistics::Statistics;
use crate::sys::Address;

impl Control<'_> {
    /// Serves a connection accepted elsewhere, for example by a parent process, as if a listener of
    /// this service had accepted it: HTTP, and WebSocket from there. It must be a connected TCP or
    /// Unix stream socket. The service closes this descriptor in the end; duplicates stay open.
    ///
    /// # Errors
    /// An error of the system, or one that explains that the descriptor is of another kind, that
    /// its peer may not connect, that the limit of connections is reached, or that the service is
    /// ending. The descriptor is closed.
    pub fn serve(&mut self, fd: impl Into<OwnedFd>) -> io::Result<ConnId> {
        self.service.serve(fd.into())
    }

    /// The program's own object behind a WebSocket protocol. Callbacks borrow their objects, so it can be reached from
    /// here only: between turns, and in the jobs of a [`Remote`](crate::Remote).
    ///
    /// ```
    /// use sockeye::messages::{self, Handler, Message, MessageCx};
    /// use sockeye::{Close, Handshake, Service};
    ///
    /// struct Room {
    ///     motto: String,
    /// }
    ///
    /// impl Handler for Room {
    ///     type State = ();
    ///
    ///     fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
    ///         let _ = cx.push(self.motto.as_str());
    ///     }
    ///
    ///     fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), _: Message<'_>) -> Result<(), Close> {
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut builder = Service::builder();
    /// let room = builder.add_protocol(messages::with("room", Room { motto: "be kind".to_owned() }));
    /// let mut service = builder.build()?;
    /// service.control().protocol_object(room)?.handler_mut().motto = "be brief".to_owned();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`UnknownProtocol::Handle`] when the handle is from the builder of another service.
    pub fn protocol_object<P: Protocol>(&mut self, handle: ProtocolHandle<P>) -> Result<&mut P, UnknownProtocol> {
        let env = &mut self.service.env;
        let own = handle.target.builder == env.state.builder;
        let object = if own { env.endpoints.protocol_object(handle.target.index) } else { None };
        object.ok_or(UnknownProtocol::Handle)
    }

    /// The program's own object behind a raw or watcher endpoint; see [`protocol_object`](Self::protocol_object).
    ///
    /// # Errors
    /// [`UnknownProtocol::Handle`] when the handle is from the builder of another service.
    pub fn endpoint_object<E: 'static>(&mut self, handle: EndpointHandle<E>) -> Result<&mut E, UnknownProtocol> {
        let env = &mut self.service.env;
        let own = handle.target.builder == env.state.builder;
        let object = if own { env.endpoints.endpoint_object(handle.target.index) } else { None };
        object.ok_or(UnknownProtocol::Handle)
    }

    /// The program's own object behind a responder; see [`protocol_object`](Self::protocol_object).
    ///
    /// # Errors
    /// [`UnknownProtocol::Handle`] when the handle is from the builder of another service.
    pub fn responder_object<R: Responder>(&mut self, handle: ResponderHandle<R>) -> Result<&mut R, UnknownProtocol> {
        let env = &mut self.service.env;
        let own = handle.target.builder == env.state.builder;
        let object = if own { env.endpoints.responder_object(handle.target.index) } else { None };
        object.ok_or(UnknownProtocol::Handle)
    }

    /// The address of the peer of any connection: a client, the server that this service connected to, or what a trusted
    /// proxy named. [`Address::Unnamed`] if it has none, and while a connect has none yet.
    ///
    /// A callback has that of its own connection in its context.
    ///
    /// ```
    /// use sockeye::{ConnId, Remote};
    ///
    /// /// From any thread.
    /// fn print(remote: &Remote, id: ConnId) {
    ///     let _ = remote.run(move |control| match control.local_address(id) {
    ///         Ok(local) => println!("{id}: {} at {local}", control.peer(id).map_or(String::new(), ToString::to_string)),
    ///         Err(gone) => println!("{id}: {gone}"),
    ///     });
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Gone`] when the connection has ended, and for every id that this service never gave out.
    pub fn peer(&self, id: ConnId) -> Result<&Address, Gone> {
        let registry = &self.service.env.state.registry;
        registry.get(id).filter(|entry| entry.is_alive()).ok_or(Gone)?;
        Ok(self.service.connections.get(registry, id).map_or(&Address::Unnamed, Conn::peer))
    }

    /// The address of our end of any connection: the one at which it was accepted, or from which it was made; with a
    /// trusted proxy, that of the connection with the proxy. [`Address::Unnamed`] as for [`peer`](Self::peer). It costs a
    /// system call.
    ///
    /// # Errors
    /// As [`peer`](Self::peer).
    pub fn local_address(&mut self, id: ConnId) -> Result<Address, Gone> {
        let Service { env, connections, .. } = &mut *self.service;
        env.state.registry.get(id).filter(|entry| entry.is_alive()).ok_or(Gone)?;
        let conn = connections.get(&env.state.registry, id);
        Ok(conn.map_or(Address::Unnamed, |conn| conn.local_address(&mut env.io)))
    }

    /// Calls `call` with the session of an open connection, its protocol's object and a context, as a callback is
    /// called. What it asks for is done when the loop goes on.
    ///
    /// ```
    /// use sockeye::messages::{Handler, Messages};
    /// use sockeye::protocol::ProtocolHandle;
    /// use sockeye::{CloseCode, ConnId, Gone, Service};
    ///
    /// fn log_in<H: Handler<State = Option<String>>>(
    ///     service: &mut Service,
    ///     handle: ProtocolHandle<Messages<H>>,
    ///     id: ConnId,
    ///     name: Option<String>,
    /// ) -> Result<(), Gone> {
    ///     service.control().with_session(handle, id, |_, cx, session| match name {
    ///         Some(name) => *session.state_mut() = Some(name),
    ///         None => cx.close(CloseCode::POLICY),
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Gone`] when no open connection of that protocol has the id; `call` is not called then.
    ///
    /// # Panics
    /// As `call` does. The service cannot go on then, as after a callback that panicked ([`Service::run`]).
    pub fn with_session<P: Protocol, R>(
        &mut self,
        handle: ProtocolHandle<P>,
        id: ConnId,
        call: impl FnOnce(&mut P, &mut Cx<'_>, &mut P::Session) -> R,
    ) -> Result<R, Gone> {
        let entry = self.open_entry(handle.target, id)?;
        let Service { env: Env { state, endpoints, .. }, connections, is_in_turn, .. } = &mut *self.service;
        let conn = connections.in_slot(id).ok_or(Gone)?;
        let (object, session) = endpoints.protocol_session::<P>(entry.endpoint, entry.session).ok_or(Gone)?;
        state.enter(id, entry, ReadBudget::default());
        state.running.message_bytes = conn.message_bytes();
        let was_in_turn = std::mem::replace(is_in_turn, true);
        let result = call(object, &mut Cx::new(state, entry.endpoint, id, conn.peer()), session);
        *is_in_turn = was_in_turn;
        state.leave();
        // A step does what it asked for itself.
        state.registry.enqueue(id);
        Ok(result)
    }

    /// As [`with_session`](Self::with_session), for a connection of a raw endpoint.
    ///
    /// # Errors
    /// [`Gone`] when no open connection of that endpoint has the id; `call` is not called then.
    pub fn with_raw_session<E: Raw, R>(
        &mut self,
        handle: EndpointHandle<E>,
        id: ConnId,
        call: impl FnOnce(&mut E, &mut RawCx<'_>, &mut E::Session) -> R,
    ) -> Result<R, Gone> {
        let entry = self.open_entry(handle.target, id)?;
        let Service { env: Env { state, endpoints, .. }, connections, is_in_turn, .. } = &mut *self.service;
        let conn = connections.in_slot(id).ok_or(Gone)?;
        let (object, session) = endpoints.raw_session::<E>(entry.endpoint, entry.session).ok_or(Gone)?;
        state.enter(id, entry, ReadBudget::default());
        let was_in_turn = std::mem::replace(is_in_turn, true);
        let result = call(object, &mut RawCx::new(state, entry.endpoint, id, conn.peer()), session);
        *is_in_turn = was_in_turn;
        state.leave();
        state.registry.enqueue(id);
        Ok(result)
    }

    /// As [`with_session`](Self::with_session), for a descriptor of a watcher.
    ///
    /// # Errors
    /// [`Gone`] when no open connection of that endpoint has the id; `call` is not called then.
    pub fn with_watcher_session<W: Watcher, R>(
        &mut self,
        handle: EndpointHandle<W>,
        id: ConnId,
        call: impl FnOnce(&mut W, &mut RawCx<'_>, &mut W::Session) -> R,
    ) -> Result<R, Gone> {
        let entry = self.open_entry(handle.target, id)?;
        let Service { env: Env { state, endpoints, .. }, connections, is_in_turn, .. } = &mut *self.service;
        let conn = connections.in_slot(id).ok_or(Gone)?;
        let (object, session) = endpoints.watcher_session::<W>(entry.endpoint, entry.session).ok_or(Gone)?;
        state.enter(id, entry, ReadBudget::default());
        let was_in_turn = std::mem::replace(is_in_turn, true);
        let result = call(object, &mut RawCx::new(state, entry.endpoint, id, conn.peer()), session);
        *is_in_turn = was_in_turn;
        state.leave();
        state.registry.enqueue(id);
        Ok(result)
    }

    /// As [`with_session`](Self::with_session), for an HTTP request that is not answered yet. To answer it, leave the answer
    /// in the session and ask for the writable callback.
    ///
    /// ```
    /// use sockeye::Remote;
    /// use sockeye::http::{HttpRequest, Response};
    /// use sockeye::responder::{RequestCx, RequestId, Responder, ResponderHandle, ResponseTx};
    ///
    /// struct Reports;
    ///
    /// impl Responder for Reports {
    ///     /// The report, once a worker thread has written it.
    ///     type Session = Option<String>;
    ///
    ///     fn name(&self) -> &str {
    ///         "reports"
    ///     }
    ///
    ///     fn request(&mut self, _: &mut RequestCx<'_>, _: &HttpRequest<'_>) -> Result<Option<String>, Response> {
    ///         Ok(None)
    ///     }
    ///
    ///     fn writable(&mut self, _: &mut RequestCx<'_>, report: &mut Option<String>, tx: ResponseTx<'_>) {
    ///         if let (Some(report), Some(head)) = (report.take(), tx.head()) {
    ///             head.respond(Response::text(report));
    ///         }
    ///     }
    /// }
    ///
    /// /// On the worker thread.
    /// fn is_written(remote: &Remote, handle: ResponderHandle<Reports>, id: RequestId, text: String) {
    ///     let _ = remote.run(move |control| {
    ///         let _ = control.with_request_session(handle, id, |_, cx, report| {
    ///             *report = Some(text);
    ///             cx.request_writable();
    ///         });
    ///     });
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Gone`] when no request of that responder has the id, or its answer is complete; `call` is not called then.
    pub fn with_request_session<P: Responder, R>(
        &mut self,
        handle: ResponderHandle<P>,
        id: RequestId,
        call: impl FnOnce(&mut P, &mut RequestCx<'_>, &mut P::Session) -> R,
    ) -> Result<R, Gone> {
        let connection = id.connection();
        let entry = self.open_entry(handle.target, connection)?;
        let Service { env: Env { state, endpoints, .. }, connections, is_in_turn, .. } = &mut *self.service;
        if !state.exchanges.contains(id) {
            return Err(Gone);
        }
        let (peer, limits) = connections.in_slot(connection).and_then(Conn::request).ok_or(Gone)?;
        let (object, session) = endpoints.request_session::<P>(entry.endpoint, entry.session).ok_or(Gone)?;
        state.enter(connection, entry, ReadBudget::default());
        let was_in_turn = std::mem::replace(is_in_turn, true);
        let result = call(object, &mut RequestCx::new(state, entry.endpoint, id, peer, limits), session);
        *is_in_turn = was_in_turn;
        state.leave();
        state.registry.enqueue(connection);
        Ok(result)
    }

    /// The entry of an open connection of an endpoint.
    fn open_entry(&self, target: HandleTarget, id: ConnId) -> Result<Entry, Gone> {
        let state = &self.service.env.state;
        let entry = state.registry.get(id).filter(|entry| entry.is_open() && entry.endpoint == target.index);
        entry.filter(|_| target.builder == state.builder).ok_or(Gone)
    }

    /// What the service has counted since it was built.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        self.service.statistics()
    }
}

impl Deref for Control<'_> {
    type Target = Commands;

    fn deref(&self) -> &Commands {
        &self.service.env.state
    }
}

impl DerefMut for Control<'_> {
    fn deref_mut(&mut self) -> &mut Commands {
        &mut self.service.env.state
    }
}
