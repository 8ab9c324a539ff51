//! Describing a service.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_proto::http::is_token;

mod compressing;
mod listeners;

use crate::admission::{AcceptFilter, AcceptedConnection, Admission, EndHook, Ended, Hosts, Origins, PeerSet};
use crate::compression::Compression;
use crate::conn::Env;
use crate::conn::handshakes::Handshakes;
use crate::conn::paths::Paths;
use crate::conn::policy::{Protocols, Site};
use crate::error::{Error, ListenTarget};
use crate::http::Routes;
use crate::id::{BuilderId, ConnId, ListenerHandle, ServiceNumber};
use crate::limits::{Limits, table};
use crate::poll::PollHook;
use crate::protocol::endpoint::{Endpoint, Endpoints};
use crate::protocol::{
    EndpointHandle, HandleTarget, Protocol, ProtocolHandle, Raw, Responder, ResponderHandle, Watcher,
};
use crate::service::accepting::Accepting;
use crate::service::connecting::Connecting;
use crate::service::connections::Connections;
use crate::service::core::{Jobs, Service, Tick};
use crate::service::listen::{ListenAddr, open_all};
use crate::service::listen_at::{Listen, Purpose, entrance, free_protocols, raw_endpoint};
use crate::service::places::{self, Share};
use crate::service::timers::Timers;
use crate::state::{Commands, EndpointIndex, EndpointInfo, MOST_READ, MessageLimitSets, ReadBudget, TopicLimits};
use crate::statistics::{BoardSlot, Meters};
use crate::sys::external::External;
use crate::sys::{ListenOptions, Real, Sys};
use crate::transport::{Carrier, LoopIo, receive_buffer};

/// The default of [`Limits::total_bytes`], for all services of the process together.
const TOTAL_BYTES: usize = 1024 * 1024 * 1024;

const TOO_MANY_SERVICES: &str = "the process has 65,534 services, which is the most";

/// Describes a [`Service`]: its protocols, listeners and limits.
///
/// ```
/// use sockeye::{Limits, Service, messages};
///
/// # fn main() -> Result<(), sockeye::Error> {
/// let mut limits = Limits::default();
/// limits.connections_per_address = Some(20);
/// let service = Service::builder().limits(limits).protocol(messages::echo("echo")).listen("127.0.0.1:0").build()?;
/// # let _ = service;
/// # Ok(()) }
/// ```
pub struct Builder {
    /// Identifies the builder, for its handles.
    id: BuilderId,
    limits: Limits,
    endpoints: Vec<Endpoint>,
    /// Each with its interval, and whether it needs no connection.
    ticks: Vec<(EndpointIndex, Duration, bool)>,
    fallback: Option<EndpointIndex>,
    /// The paths of protocols. The builder of a handle is checked when the service is built.
    paths: Vec<(String, HandleTarget)>,
    routes: Option<Routes>,
    origins: Origins,
    hosts: Hosts,
    filter: Option<AcceptFilter>,
    on_end: Option<EndHook>,
    proxies: Vec<PeerSet>,
    /// Listeners shared with other services; they come before its own.
    shared_listen: Vec<(ListenAddr, ListenOptions, Purpose)>,
    listeners: Vec<(ListenerHandle, Listen)>,
    /// How many services of this process share its descriptors.
    services: u64,
    /// The limit of connections that it has in common with them.
    places: Option<Share>,
    board: Option<BoardSlot>,
    carrier: Carrier,
    /// How messages are compressed, unless a protocol says it.
    compression: Compression,
    pub(super) connecting: Connecting,
}

impl Service {
    /// Begins to describe a service.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl Builder {
    fn new() -> Self {
        Self {
            id: BuilderId::next(),
            limits: Limits::default(),
            endpoints: Vec::new(),
            ticks: Vec::new(),
            fallback: None,
            paths: Vec::new(),
            routes: None,
            origins: Origins::any(),
            hosts: Hosts::any(),
            filter: None,
            on_end: None,
            proxies: Vec::new(),
            shared_listen: Vec::new(),
            listeners: Vec::new(),
            services: 1,
            places: None,
            board: None,
            carrier: Carrier::default(),
            compression: Compression::off(),
            connecting: Connecting::default(),
        }
    }

    /// Sets the limits on memory, time and connections.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds a protocol for the clients that offer its name. The first one is also for clients that offer none.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Protocol) -> Self {
        self.add_protocol(protocol);
        self
    }

    /// As [`protocol`](Self::protocol), and returns a handle for
    /// [`Commands::protocol`](crate::Commands::protocol).
    ///
    /// ```
    /// use sockeye::{Service, messages};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut builder = Service::builder();
    /// let chat = builder.add_protocol(messages::echo("chat"));
    /// // The handle is `Copy`, so other endpoints of the service can use it.
    /// builder.add_protocol(messages::on("news", move |cx, message| {
    ///     if let (Ok(mut chat), Some(text)) = (cx.protocol(chat), message.as_text()) {
    ///         chat.publish_text(text);
    ///     }
    ///     Ok(())
    /// }));
    /// let service = builder.listen("127.0.0.1:0").build()?;
    /// # let _ = service;
    /// # Ok(()) }
    /// ```
    pub fn add_protocol<P: Protocol>(&mut self, protocol: P) -> ProtocolHandle<P> {
        ProtocolHandle::new(self.add(protocol.interval(), Endpoint::protocol(protocol)))
    }

    /// Adds a protocol for every client that offers none of the others. The
    /// answer names the first subprotocol that such a client offers.
    #[must_use]
    pub fn fallback(mut self, protocol: impl Protocol) -> Self {
        self.add_fallback(protocol);
        self
    }

    /// As [`fallback`](Self::fallback), and returns a handle for
    /// [`Commands::protocol`](crate::Commands::protocol).
    pub fn add_fallback<P: Protocol>(&mut self, protocol: P) -> ProtocolHandle<P> {
        let handle = self.add_protocol(protocol);
        self.fallback = Some(handle.target.index);
        handle
    }

    /// Adds an endpoint of raw connections: those of [`listen_raw`](Self::listen_raw), and descriptors that it
    /// [adopts](crate::raw::EndpointMut::adopt).
    #[must_use]
    pub fn raw(mut self, raw: impl Raw) -> Self {
        self.add_raw(raw);
        self
    }

    /// As [`raw`](Self::raw), and returns a handle for
    /// [`Commands::endpoint`](crate::Commands::endpoint).
    pub fn add_raw<R: Raw>(&mut self, raw: R) -> EndpointHandle<R> {
        let (every, alone) = (raw.interval(), raw.ticks_alone());
        let target = self.add(every, Endpoint::raw(raw));
        if let Some((_, _, ticks_alone)) = self.ticks.last_mut().filter(|_| every.is_some()) {
            *ticks_alone = alone;
        }
        EndpointHandle::new(target)
    }

    /// Adds an endpoint of descriptors that the program reads and writes itself when the loop
    /// reports readiness. It [adopts](crate::raw::EndpointMut::adopt) them.
    #[must_use]
    pub fn watcher(mut self, watcher: impl Watcher) -> Self {
        self.add_watcher(watcher);
        self
    }

    /// As [`watcher`](Self::watcher), and returns a handle for
    /// [`Commands::endpoint`](crate::Commands::endpoint).
    pub fn add_watcher<W: Watcher>(&mut self, watcher: W) -> EndpointHandle<W> {
        EndpointHandle::new(self.add(watcher.interval(), Endpoint::watcher(watcher)))
    }

    /// Adds a responder, for HTTP requests with a session. Give the handle to [`Routes::responder`] with the paths that
    /// it answers, and to [`Commands::responder`](crate::Commands::responder) to reach it.
    pub fn add_responder<R: Responder>(&mut self, responder: R) -> ResponderHandle<R> {
        ResponderHandle::new(self.add(responder.interval(), Endpoint::responder(responder)))
    }

    fn add(&mut self, every: Option<Duration>, endpoint: Endpoint) -> HandleTarget {
        let index = EndpointIndex(u16::try_from(self.endpoints.len()).unwrap_or(u16::MAX));
        if let Some(every) = every {
            self.ticks.push((index, every, false));
        }
        self.endpoints.push(endpoint);
        HandleTarget { builder: self.id, index }
    }

    pub(super) fn push_path(&mut self, path: String, target: HandleTarget) {
        self.paths.push((path, target));
    }

    /// Sets the answers to plain HTTP requests, that is, those that do not ask for a WebSocket. Without routes each is
    /// answered 426.
    #[must_use]
    pub fn routes(mut self, routes: Routes) -> Self {
        self.routes = Some(routes);
        self
    }

    /// Sets the origins that may connect; others are answered 403. Default: [`Origins::any`]. See
    /// [`Origins`] for which to choose.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// Sets the hosts that requests may be for; others are answered 421. Default: [`Hosts::any`].
    /// See [`Hosts`] for which to choose.
    #[must_use]
    pub fn hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
        self
    }

    /// Trusts these peers as proxies, which name their client by the PROXY protocol, version 1 or 2
    /// (HAProxy's proxy-protocol.txt). Each of their connections must begin with a PROXY header: one
    /// without it is closed, and counted in
    /// [`Refusals::proxy_header`](crate::statistics::Refusals::proxy_header). The address that the
    /// header names is the peer's from then on: to [`filter`](Self::filter),
    /// [`Limits::connections_per_address`], [`Cx::peer`](crate::Cx::peer) and logs. With a header that
    /// names no address (`LOCAL`, `UNKNOWN`), as from a health check, the peer is the proxy itself. May
    /// be called several times.
    ///
    /// From any other peer such a header is a bad request. Do not trust a network from which
    /// clients can connect directly: they could claim any address.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = sockeye::Service::builder().proxy_protocol(["10.0.0.0/8".parse()?, sockeye::service::PeerSet::UNIX]);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn proxy_protocol(mut self, trusted: impl IntoIterator<Item = PeerSet>) -> Self {
        self.proxies.extend(trusted);
        self
    }

    /// Sets a filter of accepted connections. It is called before anything is read, or for a trusted proxy's
    /// connection once its PROXY header has named the client. A connection for which it returns `false`
    /// is reset. [`on_end`](Self::on_end) is called for the others, when they end.
    #[must_use]
    pub fn filter(mut self, filter: impl FnMut(&AcceptedConnection<'_>) -> bool + 'static) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    /// Sets a function that is called once at the end of each accepted connection that the [`filter`](Self::filter)
    /// admitted, also of those that never opened, after the `closed` of its protocol. A program that keeps
    /// something for each connection drops it here.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// use sockeye::{Service, messages};
    ///
    /// # fn main() -> Result<(), sockeye::Error> {
    /// let here = Rc::new(Cell::new(0));
    /// let (begun, ended) = (Rc::clone(&here), Rc::clone(&here));
    /// let builder = Service::builder()
    ///     .protocol(messages::echo("echo"))
    ///     .filter(move |_| { begun.set(begun.get() + 1); true })
    ///     .on_end(move |_, _| ended.set(ended.get() - 1));
    /// # builder.build().map(drop) }
    /// ```
    #[must_use]
    pub fn on_end(mut self, on_end: impl FnMut(ConnId, Ended) + 'static) -> Self {
        self.on_end = Some(Box::new(on_end));
        self
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

    /// Carries the bytes of every connection that is accepted or made through a reversible
    /// transform, the [`Scrambler`](crate::sim::Scrambler) of this seed, as TLS would. It is for
    /// tests of the loop and not a cipher.
    #[cfg(any(test, feature = "sim"))]
    #[must_use]
    pub fn scrambled(mut self, seed: u64) -> Self {
        self.carrier = Carrier::Scrambled(seed);
        self
    }

    /// Makes it one of `services` alike, which listen on `listen` before their own listeners, and
    /// publish their counters separately.
    pub(crate) fn shared(
        mut self,
        listen: Vec<(ListenAddr, ListenOptions, Purpose)>,
        services: u64,
        board: BoardSlot,
        places: Share,
    ) -> Self {
        self.shared_listen = listen;
        self.services = services;
        self.board = Some(board);
        self.places = Some(places);
        self
    }

    /// Builds the service on the real system.
    ///
    /// # Errors
    /// An address that cannot be listened on; an endpoint name that is not a token or not unique;
    /// an [interval](Protocol::interval) of 0; a raw listener with a handle of another builder, or of no [`Raw`];
    /// a [limit](Error::as_limit) out of its range; limits that contradict each other; or no
    /// descriptor left for a poller.
    pub fn build(self) -> Result<Service, Error> {
        let real = Real::new().map_err(Error::system)?;
        self.build_with(Box::new(real))
    }

    /// Builds the service for the program's own event loop, which watches the descriptors reported
    /// to `hook`; see [`poll`](crate::poll).
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_external(self, hook: impl PollHook) -> Result<Service, Error> {
        let real = Real::new().map_err(Error::system)?;
        self.build_external_with(Box::new(real), hook)
    }

    /// As [`build_external`](Self::build_external), on a system of your own.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_external_with(self, sys: Box<dyn Sys>, hook: impl PollHook) -> Result<Service, Error> {
        let (external, watch) = External::new(sys, Box::new(hook)).map_err(Error::system)?;
        let mut service = self.build_with(Box::new(external))?;
        service.external = Some(watch);
        Ok(service)
    }

    /// Builds the service on a system of your own, such as the simulated one.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_with(mut self, mut sys: Box<dyn Sys>) -> Result<Service, Error> {
        let names = self.names()?;
        self.check()?;
        let site = self.site(&names)?;
        let accepting = self.accepting(&mut *sys, &site, &names)?;
        let room = places::room(sys.descriptors(), self.services);
        let max_connections = self.limits.connections.map_or(room, |wanted| wanted.min(room));
        if let Some(places) = &self.places {
            places.limit_to(max_connections);
        }
        let now = sys.now();
        let tick = |&(endpoint, every, alone): &_| Tick { endpoint, every, alone, next: now + every, resting: false };
        let ticks = self.ticks.iter().map(tick).collect();
        let jobs = Arc::new(Jobs::new(sys.waker(), Arc::clone(&names), &self.limits));
        let rx = receive_buffer(self.limits.turn_bytes.min(MOST_READ));
        let frame_cost = (self.limits.turn_bytes / self.limits.turn_frames).max(1);
        let number = ServiceNumber::next().ok_or_else(|| Error::configuration(TOO_MANY_SERVICES))?;
        let mut state = Commands::new(self.id, number, names, self.limits.output_hard, now);
        let own = self.endpoints.iter().map(Endpoint::limits);
        let compressions = self.endpoints.iter().map(|own| own.compression(self.compression)).collect();
        let total = self
            .limits
            .total_bytes
            .unwrap_or_else(|| TOTAL_BYTES / usize::try_from(self.services).unwrap_or(usize::MAX));
        state.pool.borrow_mut().set_limit(total);
        state.holdings.window = self.limits.slow_sender_window;
        state.topic_limits = TopicLimits::of(&self.limits);
        state.message_limits = MessageLimitSets::new(&self.limits.protocol, own);
        let meters = Meters::new(self.limits.stall);
        let (pool, outgoing) = (Rc::clone(&state.pool), Rc::clone(&state.outgoing));
        let mut io = LoopIo::new(sys, pool, outgoing, meters, frame_cost, self.limits.output_low_water);
        io.carrier = self.carrier;
        io.codecs.set_settings(compressions);
        io.meters.statistics.connections_limit = self.places.as_ref().map_or(max_connections, Share::part) as u64;
        io.meters.statistics.held_bytes_limit = total as u64;
        let env = Env {
            io,
            state,
            endpoints: Endpoints::new(self.endpoints),
            site: Rc::new(site),
            handshakes: Handshakes::default(),
            admission: Admission::new(self.filter, self.on_end, self.proxies, &self.limits),
            rx,
            share: ReadBudget { bytes: self.limits.turn_bytes, frames: self.limits.turn_frames },
            limits: self.limits,
            board: self.board,
        };
        Ok(Service {
            stays: PhantomData,
            env,
            connections: Connections::default(),
            ticks,
            accepting,
            connecting: self.connecting,
            adopting: 0,
            max_connections,
            places: self.places,
            timers: Timers::default(),
            due: Vec::new(),
            jobs,
            events: Vec::new(),
            dead: Vec::new(),
            end_reported: false,
            is_in_turn: false,
            closing_waits: false,
            ended_at: None,
            external: None,
            crowded: false,
            shed_warned: None,
        })
    }

    /// The endpoints' names: tokens (RFC 6455 section 4.1), all different.
    fn names(&self) -> Result<Arc<[EndpointInfo]>, Error> {
        let mut names: Vec<EndpointInfo> = Vec::new();
        if self.endpoints.len() >= usize::from(u16::MAX) {
            return Err(Error::configuration("a service has at most 65,534 endpoints"));
        }
        for endpoint in &self.endpoints {
            let name = endpoint.name();
            if !is_token(name.as_bytes()) {
                return Err(Error::configuration(format!(
                    "the endpoint name {name:?} is not a token (RFC 9110 section 5.6.2)"
                )));
            }
            if names.iter().any(|other| other.name == name) {
                return Err(Error::configuration(format!("two endpoints have the name {name:?}")));
            }
            names.push(EndpointInfo { name: name.to_owned(), kind: endpoint.kind() });
        }
        Ok(names.into())
    }

    /// Opens all listeners: first those of all threads, then HTTP, then raw.
    fn accepting(&mut self, sys: &mut dyn Sys, site: &Site, names: &[EndpointInfo]) -> Result<Accepting, Error> {
        let mut listeners = Vec::new();
        for (addr, options, purpose) in mem::take(&mut self.shared_listen) {
            let handle = ListenerHandle { builder: self.id, number: (self.listeners.len() + listeners.len()) as u64 };
            let (name, listen) = purpose.at(addr);
            let raw = name.map(|name| raw_named(&name, names)).transpose()?;
            let mut listen = listen.options(options);
            listen.raw = raw.map(|index| HandleTarget { builder: self.id, index });
            listeners.push((handle, listen));
        }
        let (raw, http): (Vec<_>, Vec<_>) =
            mem::take(&mut self.listeners).into_iter().partition(|(_, listen)| listen.raw.is_some());
        let mut accepting = Accepting::new((listeners.len() + raw.len() + http.len()) as u64);
        for (handle, listen) in listeners.into_iter().chain(http).chain(raw) {
            let (addr, options, entrance) = entrance(listen, handle, site, names)?;
            for (socket, bound) in open_all(sys, &addr.resolve()?, &options)? {
                let target = ListenTarget::Address(bound.clone());
                let added = accepting.add(sys, socket, bound, handle.number, entrance.clone());
                added.map_err(|error| Error::listen(target, error))?;
            }
        }
        Ok(accepting)
    }

    /// What the connections of listeners get that say nothing else.
    fn site(&mut self, names: &Arc<[EndpointInfo]>) -> Result<Site, Error> {
        let paths = self.paths()?;
        let claimed =
            self.listeners.iter().flat_map(|(_, listen)| listen.claimed()).map(|endpoint| endpoint.0).collect();
        let named = free_protocols(names, &paths, &claimed);
        let fallback = self.fallback.filter(|fallback| !claimed.contains(&fallback.0));
        Ok(Site {
            listener: None,
            origins: self.origins.clone(),
            hosts: self.hosts.clone(),
            routes: Rc::new(RefCell::new(self.routes.take())),
            protocols: Protocols { paths: Rc::new(paths), named, fallback, names: Arc::clone(names) },
            refused: Rc::default(),
        })
    }

    fn paths(&mut self) -> Result<Paths, Error> {
        let mut paths = Paths::default();
        for (path, target) in mem::take(&mut self.paths) {
            if target.builder != self.id {
                return Err(Error::configuration(format!(
                    "the handle of the protocol at {path:?} is from the builder of another service"
                )));
            }
            paths.add(path, target.index).map_err(Error::configuration)?;
        }
        Ok(paths)
    }

    fn check(&self) -> Result<(), Error> {
        if let Some((endpoint, ..)) = self.ticks.iter().find(|(_, every, _)| every.is_zero()) {
            let name = self.endpoints.get(endpoint.get()).map_or("", |endpoint| endpoint.name());
            return Err(Error::configuration(format!(
                "the interval of the endpoint {name:?} is 0: the loop would never sleep"
            )));
        }
        if let Some(fault) = self.routes.as_ref().and_then(|routes| routes.fault(self.id.as_u64())) {
            return Err(Error::configuration(format!("Routes::responder: {fault}")));
        }
        let limits = &self.limits;
        table::check(limits).map_err(Error::limit)?;
        for endpoint in &self.endpoints {
            table::check_messages(&endpoint.limits()).map_err(Error::limit)?;
        }
        if limits.output_low_water > limits.output_hard {
            return Err(Error::configuration("Limits::output_low_water is above Limits::output_hard"));
        }
        Ok(())
    }
}

/// The raw endpoint of that name, for a listener of several services.
fn raw_named(name: &str, names: &[EndpointInfo]) -> Result<EndpointIndex, Error> {
    let Some(index) = names.iter().position(|own| own.name == name) else {
        let wrong = format!("listen_raw: the service has no raw endpoint {name:?}; add it with Builder::raw");
        return Err(Error::configuration(wrong));
    };
    raw_endpoint(EndpointIndex(index as u16), names)
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("limits", &self.limits)
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}
