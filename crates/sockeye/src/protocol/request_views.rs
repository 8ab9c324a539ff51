//! Borrowed views of one HTTP request and one responder, and the contexts of a responder's callbacks.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::id::{Gone, RequestId};
use crate::limits::RequestLimits;
use crate::protocol::handle::ResponderHandle;
use crate::protocol::unknown::UnknownProtocol;
use crate::state::{Commands, End, EndpointIndex, EndpointKind};
use crate::sys::Address;

impl Commands {
    /// One HTTP request that has a session.
    ///
    /// # Errors
    /// [`Gone`] when the request has ended, though its connection may carry another one by now.
    pub fn request(&mut self, id: RequestId) -> Result<RequestMut<'_>, Gone> {
        if self.exchanges.contains(id) { Ok(RequestMut { commands: self, id }) } else { Err(Gone) }
    }

    /// A responder of the service, by the handle that [`Builder::add_responder`](crate::Builder::add_responder)
    /// returned.
    ///
    /// # Errors
    /// [`UnknownProtocol::Handle`] when the handle is from the builder of another service.
    pub fn responder<R>(&mut self, handle: ResponderHandle<R>) -> Result<ResponderMut<'_>, UnknownProtocol> {
        if handle.target.builder != self.builder {
            return Err(UnknownProtocol::Handle);
        }
        Ok(ResponderMut { commands: self, endpoint: handle.target.index })
    }

    /// The responder of that name.
    ///
    /// # Errors
    /// [`UnknownProtocol::Responder`] when the service has no responder of that name.
    pub fn responder_named(&mut self, name: &str) -> Result<ResponderMut<'_>, UnknownProtocol> {
        let endpoint = self.find_endpoint(name, |kind| kind == EndpointKind::Responder);
        let endpoint = endpoint.ok_or(UnknownProtocol::Responder)?;
        Ok(ResponderMut { commands: self, endpoint })
    }
}

/// One HTTP request with a session. [`Commands::request`] looks it up, and the context of each callback is one.
///
/// It dereferences to [`Commands`], so all commands to the service are available here.
///
/// ```
/// use sockeye::responder::RequestId;
/// use sockeye::{Commands, Gone};
///
/// fn result_is_ready(commands: &mut Commands, id: RequestId) -> Result<(), Gone> {
///     commands.request(id)?.request_writable();
///     Ok(())
/// }
/// ```
pub struct RequestMut<'a> {
    pub(crate) commands: &'a mut Commands,
    pub(crate) id: RequestId,
}

impl RequestMut<'_> {
    /// The request's id, which may be kept.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Requests the writable callback of the request: in this turn if its socket can take data, else when it can.
    pub fn request_writable(&mut self) {
        // One that has just ended is not written to.
        let _ = self.commands.want_write(self.id.connection());
    }

    /// Stops delivering the body, until [`resume_reading`](Self::resume_reading). At most one read is kept meanwhile;
    /// then the peer's sending stalls. A client that waits for 100 (Continue) gets it when reading goes on.
    pub fn pause_reading(&mut self) {
        self.commands.set_paused(self.id.connection(), true);
    }

    /// Delivers the body again.
    pub fn resume_reading(&mut self) {
        self.commands.set_paused(self.id.connection(), false);
    }

    /// Calls [`Responder::timer`](crate::responder::Responder::timer) once, after `delay`. It replaces the timer that was
    /// set before.
    pub fn set_timer(&mut self, delay: Duration) {
        let at = self.commands.now() + delay;
        self.commands.queue.push_timer(self.id.connection(), Some(at));
    }

    /// Clears the timer.
    pub fn clear_timer(&mut self) {
        self.commands.queue.push_timer(self.id.connection(), None);
    }

    /// Aborts the request: its connection is reset, even if a part of the answer was sent.
    pub fn abort(&mut self) {
        self.commands.push_end(self.id.connection(), End::Abort);
    }
}

impl Deref for RequestMut<'_> {
    type Target = Commands;

    fn deref(&self) -> &Commands {
        self.commands
    }
}

impl DerefMut for RequestMut<'_> {
    fn deref_mut(&mut self) -> &mut Commands {
        self.commands
    }
}

/// One [`Responder`](crate::responder::Responder) of the service, with all its requests. [`Commands::responder`] looks it
/// up by its handle, [`Commands::responder_named`] by its name, and [`RequestCx::own_responder`] is that of the callback.
///
/// It dereferences to [`Commands`].
///
/// ```
/// use sockeye::responder::{Responder, ResponderHandle};
/// use sockeye::{Commands, protocol::UnknownProtocol};
///
/// fn something_is_new<R: Responder>(commands: &mut Commands, events: ResponderHandle<R>) -> Result<(), UnknownProtocol> {
///     commands.responder(events)?.request_writable(); // every stream sends what it lacks
///     Ok(())
/// }
/// ```
pub struct ResponderMut<'a> {
    pub(crate) commands: &'a mut Commands,
    pub(crate) endpoint: EndpointIndex,
}

impl ResponderMut<'_> {
    /// The name of the responder.
    #[must_use]
    pub fn name(&self) -> &str {
        self.commands.name_of(self.endpoint)
    }

    /// The requests of the responder that have a session. It walks all connections of the service, and takes 24 bytes for
    /// each of these; the ids can be looked up while it is walked over.
    ///
    /// ```
    /// use sockeye::responder::ResponderMut;
    ///
    /// fn give_all_up(own: &mut ResponderMut<'_>) {
    ///     for id in own.request_ids() {
    ///         if let Ok(mut request) = own.request(id) {
    ///             request.abort();
    ///         }
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn request_ids(&self) -> Vec<RequestId> {
        let connections = self.commands.registry.open_ids(|endpoint| endpoint == self.endpoint);
        connections.into_iter().filter_map(|connection| self.commands.exchanges.of(connection)).collect()
    }

    /// Sets a timer that belongs to no request: [`own_timer`](crate::responder::Responder::own_timer) is called once, with
    /// this token, after `delay`. It replaces the timer with the same token, if one is set; others are independent. It comes
    /// also while there is no request, other than [`tick`](crate::responder::Responder::tick), and keeps the service's
    /// [next deadline](crate::Service::next_deadline) exact. It does not keep a service that is drained from its end.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockeye::http::{HttpRequest, Response};
    /// use sockeye::responder::{RequestCx, Responder, ResponderMut};
    ///
    /// /// Reads what it serves again, a minute after the last request.
    /// struct Rates;
    ///
    /// const RENEW: u64 = 1;
    ///
    /// impl Responder for Rates {
    ///     type Session = ();
    ///
    ///     fn name(&self) -> &str {
    ///         "rates"
    ///     }
    ///
    ///     fn request(&mut self, cx: &mut RequestCx<'_>, _: &HttpRequest<'_>) -> Result<(), Response> {
    ///         cx.own_responder().set_timer(RENEW, Duration::from_secs(60));
    ///         Err(Response::text("1.08"))
    ///     }
    ///
    ///     fn own_timer(&mut self, _: &mut ResponderMut<'_>, _: u64) {
    ///         // read them
    ///     }
    /// }
    /// ```
    pub fn set_timer(&mut self, token: u64, delay: Duration) {
        let at = self.commands.now() + delay;
        self.commands.own_timers.set(self.endpoint, token, at);
    }

    /// Clears the timer with this token.
    pub fn clear_timer(&mut self, token: u64) {
        self.commands.own_timers.clear(self.endpoint, token);
    }

    /// Requests the writable callback of every request of the responder.
    pub fn request_writable(&mut self) {
        self.commands.want_write_all(self.endpoint);
    }
}

impl Deref for ResponderMut<'_> {
    type Target = Commands;

    fn deref(&self) -> &Commands {
        self.commands
    }
}

impl DerefMut for ResponderMut<'_> {
    fn deref_mut(&mut self) -> &mut Commands {
        self.commands
    }
}

/// The context of a callback of a [`Responder`](crate::responder::Responder): its request, and through it the service.
///
/// It dereferences to [`RequestMut`], and that to [`Commands`], as [`Cx`](crate::Cx) does.
pub struct RequestCx<'a> {
    request: RequestMut<'a>,
    pub(crate) endpoint: EndpointIndex,
    peer: &'a Address,
    limits: &'a mut RequestLimits,
}

impl<'a> RequestCx<'a> {
    pub(crate) fn new(
        commands: &'a mut Commands,
        endpoint: EndpointIndex,
        id: RequestId,
        peer: &'a Address,
        limits: &'a mut RequestLimits,
    ) -> Self {
        Self { request: RequestMut { commands, id }, endpoint, peer, limits }
    }

    /// The address of the peer.
    #[must_use]
    pub fn peer(&self) -> &'a Address {
        self.peer
    }

    /// The limits of this request, to be changed.
    pub fn limits(&mut self) -> &mut RequestLimits {
        self.limits
    }

    /// The responder whose callback this is.
    pub fn own_responder(&mut self) -> ResponderMut<'_> {
        ResponderMut { commands: self.request.commands, endpoint: self.endpoint }
    }
}

impl<'a> Deref for RequestCx<'a> {
    type Target = RequestMut<'a>;

    fn deref(&self) -> &Self::Target {
        &self.request
    }
}

impl DerefMut for RequestCx<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.request
    }
}

/// The context of [`Responder::closed`](crate::responder::Responder::closed): the request has ended, so nothing can be
/// asked for it.
///
/// It dereferences to [`Commands`].
pub struct RequestClosedCx<'a> {
    commands: &'a mut Commands,
    endpoint: EndpointIndex,
    id: RequestId,
    peer: &'a Address,
}

impl<'a> RequestClosedCx<'a> {
    pub(crate) fn new(commands: &'a mut Commands, endpoint: EndpointIndex, id: RequestId, peer: &'a Address) -> Self {
        Self { commands, endpoint, id, peer }
    }

    /// The id that the request had. No other request will have it.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// The address of the peer.
    #[must_use]
    pub fn peer(&self) -> &'a Address {
        self.peer
    }

    /// The responder whose callback this is.
    pub fn own_responder(&mut self) -> ResponderMut<'_> {
        ResponderMut { commands: self.commands, endpoint: self.endpoint }
    }
}

impl Deref for RequestClosedCx<'_> {
    type Target = Commands;

    fn deref(&self) -> &Commands {
        self.commands
    }
}

impl DerefMut for RequestClosedCx<'_> {
    fn deref_mut(&mut self) -> &mut Commands {
        self.commands
    }
}
