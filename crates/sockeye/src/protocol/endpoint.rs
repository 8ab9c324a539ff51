//! The endpoints of a service, by kinds of connections: each has the program's object, and the sessions of its connections.

use std::any::Any;
use std::io;
use std::os::fd::BorrowedFd;

use sockeye_proto::close::{Close, Closed};
use sockeye_proto::conn::ControlPayload;
use sockeye_proto::event::{Fragment, Payload};

use crate::compression::Compression;
use crate::http::{HttpRequest, Response};
use crate::limits::MessageLimits;
use crate::protocol::sessions::{Sessions, WithSessions};
use crate::protocol::{
    ClosedCx, ConnId, Cx, Decision, EndpointMut, Handshake, Protocol, ProtocolMut, Raw, RawClose, RawClosed,
    RawClosedCx, RawCx, RawWritable, Request, RequestClosedCx, RequestCx, RequestEnd, Responder, ResponderMut,
    ResponseTx, Tx, Watcher,
};
use crate::state::{Commands, EndpointIndex, EndpointKind};

/// An endpoint, by the kind of its connections, so that callbacks of another kind cannot be called.
pub(crate) enum Endpoint {
    WebSocket(Box<dyn WebSocketEndpoint>),
    Raw(Box<dyn RawEndpoint>),
    Watcher(Box<dyn WatcherEndpoint>),
    Responder(Box<dyn ResponderEndpoint>),
}

impl Endpoint {
    pub(crate) fn protocol(protocol: impl Protocol) -> Self {
        Self::WebSocket(Box::new(WithSessions { object: protocol, sessions: Sessions::new() }))
    }

    pub(crate) fn raw(raw: impl Raw) -> Self {
        Self::Raw(Box::new(RawWithSessions(WithSessions { object: raw, sessions: Sessions::new() })))
    }

    pub(crate) fn watcher(watcher: impl Watcher) -> Self {
        Self::Watcher(Box::new(WatcherWithSessions(WithSessions { object: watcher, sessions: Sessions::new() })))
    }

    pub(crate) fn responder(responder: impl Responder) -> Self {
        Self::Responder(Box::new(WithSessions { object: responder, sessions: Sessions::new() }))
    }

    pub(crate) fn kind(&self) -> EndpointKind {
        match self {
            Self::WebSocket(_) => EndpointKind::WebSocket,
            Self::Raw(_) => EndpointKind::Raw,
            Self::Watcher(_) => EndpointKind::Watcher,
            Self::Responder(_) => EndpointKind::Responder,
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::WebSocket(endpoint) => endpoint.name(),
            Self::Raw(endpoint) => endpoint.name(),
            Self::Watcher(endpoint) => endpoint.name(),
            Self::Responder(endpoint) => endpoint.name(),
        }
    }

    /// The limits of its connections, where they differ from the service's.
    pub(crate) fn limits(&self) -> MessageLimits {
        match self {
            Self::WebSocket(endpoint) => endpoint.limits(),
            Self::Raw(_) | Self::Watcher(_) | Self::Responder(_) => MessageLimits::default(),
        }
    }

    /// How messages of its connections are compressed; `service`: if it does not say.
    pub(crate) fn compression(&self, service: Compression) -> Compression {
        match self {
            Self::WebSocket(endpoint) => endpoint.compression().unwrap_or(service),
            Self::Raw(_) | Self::Watcher(_) | Self::Responder(_) => Compression::off(),
        }
    }

    /// The number of its sessions.
    pub(crate) fn sessions(&self) -> usize {
        match self {
            Self::WebSocket(endpoint) => endpoint.sessions(),
            Self::Raw(endpoint) => endpoint.sessions(),
            Self::Watcher(endpoint) => endpoint.sessions(),
            Self::Responder(endpoint) => endpoint.sessions(),
        }
    }

    /// The callback of a timer without a connection.
    pub(crate) fn own_timer(&mut self, commands: &mut Commands, endpoint: EndpointIndex, token: u64) {
        match self {
            Self::WebSocket(object) => object.own_timer(&mut ProtocolMut { commands, endpoint }, token),
            Self::Raw(object) => object.own_timer(&mut EndpointMut { commands, endpoint }, token),
            Self::Watcher(object) => object.own_timer(&mut EndpointMut { commands, endpoint }, token),
            Self::Responder(object) => object.own_timer(&mut ResponderMut { commands, endpoint }, token),
        }
    }

    /// The regular callback.
    pub(crate) fn tick(&mut self, commands: &mut Commands, endpoint: EndpointIndex) {
        match self {
            Self::WebSocket(object) => object.tick(&mut ProtocolMut { commands, endpoint }),
            Self::Raw(object) => object.tick(&mut EndpointMut { commands, endpoint }),
            Self::Watcher(object) => object.tick(&mut EndpointMut { commands, endpoint }),
            Self::Responder(object) => object.tick(&mut ResponderMut { commands, endpoint }),
        }
    }
}

/// The endpoints of a service, by index.
pub(crate) struct Endpoints(Vec<Endpoint>);

impl Endpoints {
    pub(crate) fn new(endpoints: Vec<Endpoint>) -> Self {
        Self(endpoints)
    }

    pub(crate) fn get(&self, index: EndpointIndex) -> Option<&Endpoint> {
        self.0.get(index.get())
    }

    pub(crate) fn get_mut(&mut self, index: EndpointIndex) -> Option<&mut Endpoint> {
        self.0.get_mut(index.get())
    }

    #[inline]
    pub(crate) fn web_socket(&mut self, index: EndpointIndex) -> Option<&mut dyn WebSocketEndpoint> {
        match self.0.get_mut(index.get()) {
            Some(Endpoint::WebSocket(endpoint)) => Some(&mut **endpoint),
            _ => None,
        }
    }

    pub(crate) fn raw(&mut self, index: EndpointIndex) -> Option<&mut dyn RawEndpoint> {
        match self.0.get_mut(index.get()) {
            Some(Endpoint::Raw(endpoint)) => Some(&mut **endpoint),
            _ => None,
        }
    }

    pub(crate) fn watcher(&mut self, index: EndpointIndex) -> Option<&mut dyn WatcherEndpoint> {
        match self.0.get_mut(index.get()) {
            Some(Endpoint::Watcher(endpoint)) => Some(&mut **endpoint),
            _ => None,
        }
    }

    pub(crate) fn responder(&mut self, index: EndpointIndex) -> Option<&mut dyn ResponderEndpoint> {
        match self.0.get_mut(index.get()) {
            Some(Endpoint::Responder(endpoint)) => Some(&mut **endpoint),
            _ => None,
        }
    }

    /// The program's object behind a WebSocket protocol.
    pub(crate) fn protocol_object<P: Protocol>(&mut self, index: EndpointIndex) -> Option<&mut P> {
        let endpoint = self.web_socket(index)?.as_any().downcast_mut::<WithSessions<P, P::Session>>()?;
        Some(&mut endpoint.object)
    }

    /// The program's object behind a raw or watcher endpoint.
    pub(crate) fn endpoint_object<E: 'static>(&mut self, index: EndpointIndex) -> Option<&mut E> {
        self.descriptors(index)?.object().downcast_mut()
    }

    /// The program's object behind a responder.
    pub(crate) fn responder_object<R: Responder>(&mut self, index: EndpointIndex) -> Option<&mut R> {
        let endpoint = self.responder(index)?.as_any().downcast_mut::<WithSessions<R, R::Session>>()?;
        Some(&mut endpoint.object)
    }

    /// The program's object behind a WebSocket protocol, and one of its sessions.
    pub(crate) fn protocol_session<P: Protocol>(
        &mut self,
        index: EndpointIndex,
        session: u32,
    ) -> Option<(&mut P, &mut P::Session)> {
        let endpoint = self.web_socket(index)?.as_any().downcast_mut::<WithSessions<P, P::Session>>()?;
        Some((&mut endpoint.object, endpoint.sessions.get_mut(session)?))
    }

    /// The program's object behind a raw endpoint, and one of its sessions.
    pub(crate) fn raw_session<R: Raw>(
        &mut self,
        index: EndpointIndex,
        session: u32,
    ) -> Option<(&mut R, &mut R::Session)> {
        let RawWithSessions(endpoint) = self.descriptors(index)?.as_any().downcast_mut::<RawWithSessions<R>>()?;
        Some((&mut endpoint.object, endpoint.sessions.get_mut(session)?))
    }

    /// The program's object behind a watcher endpoint, and one of its sessions.
    pub(crate) fn watcher_session<W: Watcher>(
        &mut self,
        index: EndpointIndex,
        session: u32,
    ) -> Option<(&mut W, &mut W::Session)> {
        let WatcherWithSessions(endpoint) =
            self.descriptors(index)?.as_any().downcast_mut::<WatcherWithSessions<W>>()?;
        Some((&mut endpoint.object, endpoint.sessions.get_mut(session)?))
    }

    /// The program's object behind a responder, and the session of one of its requests.
    pub(crate) fn request_session<R: Responder>(
        &mut self,
        index: EndpointIndex,
        session: u32,
    ) -> Option<(&mut R, &mut R::Session)> {
        let endpoint = self.responder(index)?.as_any().downcast_mut::<WithSessions<R, R::Session>>()?;
        Some((&mut endpoint.object, endpoint.sessions.get_mut(session)?))
    }

    /// A raw or watcher endpoint.
    pub(crate) fn descriptors(&mut self, index: EndpointIndex) -> Option<&mut dyn DescriptorEndpoint> {
        match self.0.get_mut(index.get()) {
            Some(Endpoint::Raw(endpoint)) => Some(endpoint.as_descriptors()), // by `&mut **endpoint` from Rust 1.86 on
            Some(Endpoint::Watcher(endpoint)) => Some(endpoint.as_descriptors()),
            _ => None,
        }
    }
}

/// The callbacks of a [`Protocol`], with sessions by number.
pub(crate) trait WebSocketEndpoint {
    fn name(&self) -> &str;
    fn limits(&self) -> MessageLimits;
    fn compression(&self) -> Option<Compression>;
    fn sessions(&self) -> usize;
    /// Itself, to find the program's types again.
    fn as_any(&mut self) -> &mut dyn Any;
    fn tick(&mut self, own: &mut ProtocolMut<'_>);
    fn own_timer(&mut self, own: &mut ProtocolMut<'_>, token: u64);
    fn filter(&mut self, request: &Request<'_>) -> Decision;
    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> u32;
    /// A message, or the piece `part` of one, whose payload this is.
    fn receive(
        &mut self,
        cx: &mut Cx<'_>,
        session: u32,
        payload: Payload<'_>,
        part: Option<&Fragment<'_>>,
    ) -> Result<(), Box<Close>>;
    fn lend_buffer(&mut self, cx: &mut Cx<'_>, session: u32, missing: u64) -> Option<Vec<u8>>;
    fn take_back(&mut self, cx: &mut Cx<'_>, session: u32, buffer: Vec<u8>) -> Result<(), Box<Close>>;
    fn writable(&mut self, cx: &mut Cx<'_>, session: u32, tx: Tx<'_>) -> Result<(), Box<Close>>;
    fn release_input(&mut self, cx: &mut Cx<'_>, session: u32);
    fn low_water(&mut self, cx: &mut Cx<'_>, session: u32) -> Result<(), Box<Close>>;
    fn ping(&mut self, cx: &mut Cx<'_>, session: u32, payload: &[u8]) -> Result<(), Box<Close>>;
    fn pong(&mut self, cx: &mut Cx<'_>, session: u32, payload: &[u8]) -> Result<(), Box<Close>>;
    fn ping_due(&mut self, cx: &mut Cx<'_>, session: u32) -> Option<ControlPayload>;
    fn timer(&mut self, cx: &mut Cx<'_>, session: u32) -> Result<(), Box<Close>>;
    fn closing(&mut self, cx: &mut Cx<'_>, session: u32, received: &Close);
    fn closed(&mut self, cx: &mut ClosedCx<'_>, session: u32, closed: Closed);
    #[cfg(feature = "client")]
    fn failed(&mut self, own: &mut ProtocolMut<'_>, id: ConnId, failure: crate::client::Failure);
    #[cfg(feature = "client")]
    fn handshake_head(&mut self, own: &mut ProtocolMut<'_>, id: ConnId, head: crate::client::HandshakeHead<'_>);
}

/// The callbacks that [`Raw`] and [`Watcher`] have in common.
pub(crate) trait DescriptorEndpoint {
    fn name(&self) -> &str;
    fn sessions(&self) -> usize;
    fn object(&mut self) -> &mut dyn Any;
    fn as_any(&mut self) -> &mut dyn Any;
    fn as_descriptors(&mut self) -> &mut dyn DescriptorEndpoint;
    fn tick(&mut self, own: &mut EndpointMut<'_>);
    fn own_timer(&mut self, own: &mut EndpointMut<'_>, token: u64);
    fn open(&mut self, cx: &mut RawCx<'_>) -> u32;
    fn timer(&mut self, cx: &mut RawCx<'_>, session: u32) -> Result<(), RawClose>;
    fn closed(&mut self, cx: &mut RawClosedCx<'_>, session: u32, closed: RawClosed);
    fn adoption_failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, error: io::Error);
    #[cfg(feature = "client")]
    fn failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, failure: crate::client::Failure);
}

/// The callbacks of a [`Raw`] endpoint, whose connections the loop reads and writes.
pub(crate) trait RawEndpoint: DescriptorEndpoint {
    fn receive(&mut self, cx: &mut RawCx<'_>, session: u32, bytes: &[u8]) -> Result<(), RawClose>;
    fn ended(&mut self, cx: &mut RawCx<'_>, session: u32) -> Result<(), RawClose>;
    fn writable(&mut self, cx: &mut RawCx<'_>, session: u32, tx: RawWritable<'_>) -> Result<(), RawClose>;
    fn low_water(&mut self, cx: &mut RawCx<'_>, session: u32) -> Result<(), RawClose>;
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    fn secured(&mut self, cx: &mut RawCx<'_>, session: u32) -> Result<(), RawClose>;
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    fn tls_failed(&mut self, cx: &mut RawCx<'_>, session: u32, failure: &crate::tls::TlsFailure);
}

/// The callbacks of a [`Watcher`], whose descriptors the program reads and writes.
pub(crate) trait WatcherEndpoint: DescriptorEndpoint {
    fn readable(&mut self, cx: &mut RawCx<'_>, session: u32, fd: BorrowedFd<'_>) -> Result<(), RawClose>;
    fn writable(&mut self, cx: &mut RawCx<'_>, session: u32, fd: BorrowedFd<'_>) -> Result<(), RawClose>;
}

/// The callbacks of a [`Responder`], with sessions by number.
pub(crate) trait ResponderEndpoint {
    fn name(&self) -> &str;
    fn sessions(&self) -> usize;
    fn as_any(&mut self) -> &mut dyn Any;
    fn tick(&mut self, own: &mut ResponderMut<'_>);
    fn own_timer(&mut self, own: &mut ResponderMut<'_>, token: u64);
    fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<u32, Response>;
    fn body(&mut self, cx: &mut RequestCx<'_>, session: u32, piece: &[u8]) -> Option<Response>;
    fn body_ended(&mut self, cx: &mut RequestCx<'_>, session: u32) -> Option<Response>;
    fn writable(&mut self, cx: &mut RequestCx<'_>, session: u32, tx: ResponseTx<'_>);
    fn timer(&mut self, cx: &mut RequestCx<'_>, session: u32) -> Option<Response>;
    fn draining(&mut self, cx: &mut RequestCx<'_>, session: u32);
    fn closed(&mut self, cx: &mut RequestClosedCx<'_>, session: u32, end: RequestEnd);
}

impl<P: Protocol> WebSocketEndpoint for WithSessions<P, P::Session> {
    fn name(&self) -> &str {
        self.object.name()
    }

    fn limits(&self) -> MessageLimits {
        self.object.limits()
    }

    fn compression(&self) -> Option<Compression> {
        #[cfg(feature = "deflate")]
        return self.object.compression();
        #[cfg(not(feature = "deflate"))]
        None
    }

    fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn own_timer(&mut self, own: &mut ProtocolMut<'_>, token: u64) {
        self.object.own_timer(own, token);
    }

    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        self.object.tick(own);
    }

    fn filter(&mut self, request: &Request<'_>) -> Decision {
        self.object.filter(request)
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> u32 {
        let session = self.object.open(cx, handshake);
        self.sessions.insert(session)
    }

    #[inline]
    fn receive(
        &mut self,
        cx: &mut Cx<'_>,
        session: u32,
        payload: Payload<'_>,
        part: Option<&Fragment<'_>>,
    ) -> Result<(), Box<Close>> {
        // One call for both: what is called twice is not compiled in place.
        let fragment = part.copied().unwrap_or_else(|| Fragment::whole(payload));
        self.with_boxed(session, |protocol, session| protocol.receive(cx, session, fragment))
    }

    fn lend_buffer(&mut self, cx: &mut Cx<'_>, session: u32, missing: u64) -> Option<Vec<u8>> {
        let session = self.sessions.get_mut(session)?;
        self.object.lend_buffer(cx, session, missing)
    }

    fn take_back(&mut self, cx: &mut Cx<'_>, session: u32, buffer: Vec<u8>) -> Result<(), Box<Close>> {
        self.with_boxed(session, |protocol, session| protocol.take_back(cx, session, buffer))
    }

    #[inline]
    fn writable(&mut self, cx: &mut Cx<'_>, session: u32, tx: Tx<'_>) -> Result<(), Box<Close>> {
        self.with_boxed(session, |protocol, session| protocol.writable(cx, session, tx))
    }

    #[cold]
    fn release_input(&mut self, cx: &mut Cx<'_>, session: u32) {
        if let Some(session) = self.sessions.get_mut(session) {
            self.object.release_input(cx, session);
        }
    }

    fn ping(&mut self, cx: &mut Cx<'_>, session: u32, payload: &[u8]) -> Result<(), Box<Close>> {
        self.with_boxed(session, |protocol, session| protocol.ping(cx, session, payload))
    }

    fn pong(&mut self, cx: &mut Cx<'_>, session: u32, payload: &[u8]) -> Result<(), Box<Close>> {
        self.with_boxed(session, |protocol, session| protocol.pong(cx, session, payload))
    }

    fn timer(&mut self, cx: &mut Cx<'_>, session: u32) -> Result<(), Box<Close>> {
        self.with_boxed(session, |protocol, session| protocol.timer(cx, session))
    }

    fn ping_due(&mut self, cx: &mut Cx<'_>, session: u32) -> Option<ControlPayload> {
        let session = self.sessions.get_mut(session)?;
        self.object.ping_due(cx, session)
    }

    fn closing(&mut self, cx: &mut Cx<'_>, session: u32, received: &Close) {
        if let Some(session) = self.sessions.get_mut(session) {
            self.object.closing(cx, session, received);
        }
    }

    fn low_water(&mut self, cx: &mut Cx<'_>, session: u32) -> Result<(), Box<Close>> {
        self.with_boxed(session, |protocol, session| protocol.low_water(cx, session))
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, session: u32, closed: Closed) {
        if let Some(session) = self.sessions.remove(session) {
            self.object.closed(cx, session, closed);
        }
    }

    #[cfg(feature = "client")]
    fn failed(&mut self, own: &mut ProtocolMut<'_>, id: ConnId, failure: crate::client::Failure) {
        self.object.failed(own, id, failure);
    }

    #[cfg(feature = "client")]
    fn handshake_head(&mut self, own: &mut ProtocolMut<'_>, id: ConnId, head: crate::client::HandshakeHead<'_>) {
        self.object.handshake_head(own, id, head);
    }
}

/// A [`Raw`] and its sessions.
struct RawWithSessions<R: Raw>(WithSessions<R, R::Session>);

/// A [`Watcher`] and its sessions.
struct WatcherWithSessions<W: Watcher>(WithSessions<W, W::Session>);

/// [`Raw`] and [`Watcher`] repeat these callbacks, so that each trait can be read alone.
macro_rules! descriptor_endpoint {
    ($adapter:ident, $bound:ident) => {
        impl<T: $bound> DescriptorEndpoint for $adapter<T> {
            fn as_descriptors(&mut self) -> &mut dyn DescriptorEndpoint {
                self
            }

            fn name(&self) -> &str {
                self.0.object.name()
            }

            fn sessions(&self) -> usize {
                self.0.sessions.len()
            }

            fn object(&mut self) -> &mut dyn Any {
                &mut self.0.object
            }

            fn as_any(&mut self) -> &mut dyn Any {
                self
            }

            fn own_timer(&mut self, own: &mut EndpointMut<'_>, token: u64) {
                self.0.object.own_timer(own, token);
            }

            fn tick(&mut self, own: &mut EndpointMut<'_>) {
                self.0.object.tick(own);
            }

            fn open(&mut self, cx: &mut RawCx<'_>) -> u32 {
                let session = self.0.object.open(cx);
                self.0.sessions.insert(session)
            }

            fn timer(&mut self, cx: &mut RawCx<'_>, session: u32) -> Result<(), RawClose> {
                self.0.with(session, |object, session| object.timer(cx, session))
            }

            fn closed(&mut self, cx: &mut RawClosedCx<'_>, session: u32, closed: RawClosed) {
                if let Some(session) = self.0.sessions.remove(session) {
                    self.0.object.closed(cx, session, closed);
                }
            }

            fn adoption_failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, error: io::Error) {
                self.0.object.adoption_failed(own, id, error);
            }

            #[cfg(feature = "client")]
            fn failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, failure: crate::client::Failure) {
                self.0.object.failed(own, id, failure);
            }
        }
    };
}

descriptor_endpoint!(RawWithSessions, Raw);
descriptor_endpoint!(WatcherWithSessions, Watcher);

impl<R: Raw> RawEndpoint for RawWithSessions<R> {
    fn receive(&mut self, cx: &mut RawCx<'_>, session: u32, bytes: &[u8]) -> Result<(), RawClose> {
        self.0.with(session, |raw, session| raw.receive(cx, session, bytes))
    }

    fn ended(&mut self, cx: &mut RawCx<'_>, session: u32) -> Result<(), RawClose> {
        self.0.with(session, |raw, session| raw.ended(cx, session))
    }

    fn writable(&mut self, cx: &mut RawCx<'_>, session: u32, tx: RawWritable<'_>) -> Result<(), RawClose> {
        self.0.with(session, |raw, session| raw.writable(cx, session, tx))
    }

    fn low_water(&mut self, cx: &mut RawCx<'_>, session: u32) -> Result<(), RawClose> {
        self.0.with(session, |raw, session| raw.low_water(cx, session))
    }

    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    fn secured(&mut self, cx: &mut RawCx<'_>, session: u32) -> Result<(), RawClose> {
        self.0.with(session, |raw, session| raw.secured(cx, session))
    }

    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    fn tls_failed(&mut self, cx: &mut RawCx<'_>, session: u32, failure: &crate::tls::TlsFailure) {
        if let Some(session) = self.0.sessions.get_mut(session) {
            self.0.object.tls_failed(cx, session, failure);
        }
    }
}

impl<W: Watcher> WatcherEndpoint for WatcherWithSessions<W> {
    fn readable(&mut self, cx: &mut RawCx<'_>, session: u32, fd: BorrowedFd<'_>) -> Result<(), RawClose> {
        self.0.with(session, |watcher, session| watcher.readable(cx, session, fd))
    }

    fn writable(&mut self, cx: &mut RawCx<'_>, session: u32, fd: BorrowedFd<'_>) -> Result<(), RawClose> {
        self.0.with(session, |watcher, session| watcher.writable(cx, session, fd))
    }
}

impl<R: Responder> ResponderEndpoint for WithSessions<R, R::Session> {
    fn name(&self) -> &str {
        self.object.name()
    }

    fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn tick(&mut self, own: &mut ResponderMut<'_>) {
        self.object.tick(own);
    }

    fn own_timer(&mut self, own: &mut ResponderMut<'_>, token: u64) {
        self.object.own_timer(own, token);
    }

    fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<u32, Response> {
        let session = self.object.request(cx, request)?;
        Ok(self.sessions.insert(session))
    }

    fn body(&mut self, cx: &mut RequestCx<'_>, session: u32, piece: &[u8]) -> Option<Response> {
        let session = self.sessions.get_mut(session)?;
        self.object.body(cx, session, piece)
    }

    fn body_ended(&mut self, cx: &mut RequestCx<'_>, session: u32) -> Option<Response> {
        let session = self.sessions.get_mut(session)?;
        self.object.body_ended(cx, session)
    }

    fn writable(&mut self, cx: &mut RequestCx<'_>, session: u32, tx: ResponseTx<'_>) {
        if let Some(session) = self.sessions.get_mut(session) {
            self.object.writable(cx, session, tx);
        }
    }

    fn timer(&mut self, cx: &mut RequestCx<'_>, session: u32) -> Option<Response> {
        let session = self.sessions.get_mut(session)?;
        self.object.timer(cx, session)
    }

    fn draining(&mut self, cx: &mut RequestCx<'_>, session: u32) {
        if let Some(session) = self.sessions.get_mut(session) {
            self.object.draining(cx, session);
        }
    }

    fn closed(&mut self, cx: &mut RequestClosedCx<'_>, session: u32, end: RequestEnd) {
        if let Some(session) = self.sessions.remove(session) {
            self.object.closed(cx, session, end);
        }
    }
}
