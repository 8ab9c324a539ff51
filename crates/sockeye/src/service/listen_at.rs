//! Listeners with protocols, routes, origins and hosts of their own, at the start and later.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::admission::{Hosts, Origins};
use crate::conn::Entrance;
use crate::conn::paths::Paths;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
use crate::conn::policy::Secured;
use crate::conn::policy::{Protocols, Site};
use crate::error::{Error, ListenTarget};
use crate::http::Routes;
use crate::id::ListenerHandle;
use crate::protocol::{EndpointHandle, HandleTarget, ProtocolHandle, Raw};
use crate::service::core::{Control, Service};
use crate::service::listen::{ListenAddr, open_all};
use crate::state::{EndpointIndex, EndpointInfo, EndpointKind};
use crate::sys::{Address, CloseHow, ListenOptions};
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
use crate::tls::ServerTls;

/// Describes a listener: an address, and what is served there if that differs from the rest of the
/// service. [`Builder::listener`](crate::Builder::listener) takes it, and [`Control::listen`] while the
/// service runs.
///
/// What it does not say is the service's: routes, origins, hosts, and the protocols that no listener
/// of the builder has for itself.
///
/// ```
/// use sockeye::http::Routes;
/// use sockeye::service::{Listen, Origins};
/// use sockeye::{Service, messages};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut builder = Service::builder().protocol(messages::echo("echo")).listen("127.0.0.1:0");
/// // Metrics, and nothing else, on an inner port ..
/// let inner = Listen::new("127.0.0.1:0").only_routes().routes(Routes::new().metrics("/metrics"));
/// let inner = builder.add_listener(inner);
/// // .. and a protocol for administrators that cannot be reached elsewhere.
/// let admin = builder.add_protocol(messages::echo("admin"));
/// builder.add_listener(Listen::new("127.0.0.1:0").protocol(admin).origins(Origins::same_host()));
///
/// let mut service = builder.build()?;
/// let mut control = service.control();
/// println!("metrics at {}", control.addresses_of(inner)[0]);
/// let late = control.listen(Listen::new("127.0.0.1:0"))?;
/// control.stop_listening(late);
/// # Ok(()) }
/// ```
#[must_use]
pub struct Listen {
    pub(super) addr: ListenAddr,
    pub(super) options: ListenOptions,
    pub(super) raw: Option<HandleTarget>,
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    tls: Option<ServerTls>,
    protocols: Vec<HandleTarget>,
    paths: Vec<(String, HandleTarget)>,
    only_routes: bool,
    routes: Option<Routes>,
    origins: Option<Origins>,
    hosts: Option<Hosts>,
}

impl Listen {
    /// A listener at this address, or one that is already open.
    pub fn new(addr: impl Into<ListenAddr>) -> Self {
        Self {
            addr: addr.into(),
            options: ListenOptions::default(),
            raw: None,
            #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
            tls: None,
            protocols: Vec::new(),
            paths: Vec::new(),
            only_routes: false,
            routes: None,
            origins: None,
            hosts: None,
        }
    }

    /// Sets the options of the socket.
    pub fn options(mut self, options: ListenOptions) -> Self {
        self.options = options;
        self
    }

    /// Each accepted connection belongs to this raw endpoint at once, without HTTP or WebSocket.
    pub fn raw<R: Raw>(mut self, endpoint: EndpointHandle<R>) -> Self {
        self.raw = Some(endpoint.target);
        self
    }

    /// Speaks TLS, with these certificates: `https:` and `wss:`, or TLS from the first byte at a raw endpoint. A PROXY header of
    /// a [trusted proxy](crate::Builder::proxy_protocol) comes before it.
    ///
    /// The handshake has a deadline and bounds of its own ([`Limits::tls_handshake_timeout`](crate::Limits::tls_handshake_timeout)
    /// and those behind it). Plain HTTP is answered 400. The end of the input without close_notify is an end without a Close
    /// frame, as without TLS. No early data is accepted, since a handshake that is replayed would open a connection.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))))]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Serves this protocol, chosen by the subprotocol that the client offers. A listener with
    /// protocols, by this or by [`protocol_at`](Self::protocol_at), has no others; the first one is also
    /// for clients that offer none. A protocol that a listener of the builder has is not served at
    /// listeners that do not name it. May be called several times.
    pub fn protocol<P>(mut self, protocol: ProtocolHandle<P>) -> Self {
        self.protocols.push(protocol.target);
        self
    }

    /// Serves this protocol at a path; see [`Builder::protocol_at`](crate::Builder::protocol_at).
    pub fn protocol_at<P>(mut self, path: impl Into<String>, protocol: ProtocolHandle<P>) -> Self {
        self.paths.push((path.into(), protocol.target));
        self
    }

    /// Serves no WebSocket: handshakes are answered 404.
    pub fn only_routes(mut self) -> Self {
        self.only_routes = true;
        self
    }

    /// The answers to plain HTTP requests here.
    pub fn routes(mut self, routes: Routes) -> Self {
        self.routes = Some(routes);
        self
    }

    /// The origins that may connect here.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = Some(origins);
        self
    }

    /// The hosts that requests are answered for here.
    pub fn hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = Some(hosts);
        self
    }

    /// Whether it has protocols of its own, or none at all.
    fn has_own_protocols(&self) -> bool {
        self.only_routes || !self.protocols.is_empty() || !self.paths.is_empty()
    }

    /// The protocols that are here by name.
    pub(super) fn claimed(&self) -> impl Iterator<Item = EndpointIndex> {
        self.protocols.iter().chain(self.paths.iter().map(|(_, target)| target)).map(|target| target.index)
    }

    /// What its connections get, where `service` is the service's own.
    pub(super) fn site(
        self,
        handle: ListenerHandle,
        service: &Site,
    ) -> Result<(ListenAddr, ListenOptions, Site), Error> {
        let is_foreign = |target: &&HandleTarget| target.builder != handle.builder;
        if self.protocols.iter().chain(self.paths.iter().map(|(_, target)| target)).any(|target| is_foreign(&target)) {
            return Err(Error::configuration("a listener has the handle of a protocol of another service"));
        }
        if let Some(fault) = self.routes.as_ref().and_then(|routes| routes.fault(handle.builder.as_u64())) {
            return Err(Error::configuration(format!("Routes::responder: {fault}")));
        }
        let mut site = Site { listener: Some(handle), ..service.clone() };
        if self.has_own_protocols() {
            let mut paths = Paths::default();
            for (path, target) in self.paths {
                paths.add(path, target.index).map_err(Error::configuration)?;
            }
            let named = self.protocols.iter().map(|target| target.index).collect();
            let names = Arc::clone(&site.protocols.names);
            site.protocols = Protocols { paths: Rc::new(paths), named, fallback: None, names };
        }
        if let Some(routes) = self.routes {
            site.routes = Rc::new(RefCell::new(Some(routes)));
        }
        site.origins = self.origins.unwrap_or(site.origins);
        site.hosts = self.hosts.unwrap_or(site.hosts);
        Ok((self.addr, self.options, site))
    }
}

/// What a listener is for that several services share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Purpose {
    /// The name of a raw endpoint, which each service has.
    raw: Option<String>,
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    tls: Option<ServerTls>,
}

impl Purpose {
    pub(crate) fn raw(name: &str) -> Self {
        Self {
            raw: Some(name.to_owned()),
            #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
            tls: None,
        }
    }

    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    pub(crate) fn tls(tls: ServerTls) -> Self {
        Self { tls: Some(tls), ..Self::default() }
    }

    /// The name of the raw endpoint, and what is listened with.
    pub(super) fn at(self, addr: ListenAddr) -> (Option<String>, Listen) {
        #[cfg_attr(
            not(any(feature = "tls-aws-lc", feature = "tls-ring")),
            expect(unused_mut, reason = "there is no TLS")
        )]
        let mut listen = Listen::new(addr);
        #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
        {
            listen.tls = self.tls;
        }
        (self.raw, listen)
    }
}

impl fmt::Debug for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listen").field("addr", &self.addr).field("options", &self.options).finish_non_exhaustive()
    }
}

/// The protocols that are chosen by subprotocol where nothing else is said: those without a path and without a listener of
/// their own.
pub(super) fn free_protocols(names: &[EndpointInfo], paths: &Paths, claimed: &HashSet<u16>) -> Rc<[EndpointIndex]> {
    let all = names.iter().enumerate().filter(|(_, own)| own.kind == EndpointKind::WebSocket);
    let all = all.map(|(index, _)| EndpointIndex(index as u16));
    all.filter(|&endpoint| !paths.has(endpoint) && !claimed.contains(&endpoint.0)).collect()
}

impl Control<'_> {
    /// Opens a listener. Its connections are accepted from the next turn on.
    ///
    /// An address given as a name is looked up by the system here, which may block; one given as a
    /// number does not.
    ///
    /// # Errors
    /// The address cannot be listened on, which the error names ([`Error::as_listen`]); a handle is of
    /// another service; two protocols are at one path; or the service is being drained. Nothing is
    /// open then.
    pub fn listen(&mut self, listen: Listen) -> Result<ListenerHandle, Error> {
        self.service.listen(listen)
    }

    /// Closes a listener. Its connections stay. Connections that wait to be accepted are reset by the
    /// system. Returns whether it was open.
    pub fn stop_listening(&mut self, listener: ListenerHandle) -> bool {
        if listener.builder != self.service.env.state.builder {
            return false;
        }
        self.service.accepting.close(&mut *self.service.env.io.sys, listener.number)
    }

    /// Where a listener listens, with the actual ports: one address, or all of a name. Empty once it
    /// is closed, and for a handle of another service.
    #[must_use]
    pub fn addresses_of(&self, listener: ListenerHandle) -> Vec<Address> {
        if listener.builder != self.service.env.state.builder {
            return Vec::new();
        }
        self.service.accepting.addresses_of(listener.number)
    }
}

impl Service {
    fn listen(&mut self, listen: Listen) -> Result<ListenerHandle, Error> {
        if self.is_draining() {
            return Err(Error::configuration("the service is ending"));
        }
        let handle = ListenerHandle { builder: self.env.state.builder, number: self.accepting.next_number() };
        let (addr, options, entrance) = entrance(listen, handle, &self.env.site, &self.env.state.endpoints)?;
        let sys = &mut *self.env.io.sys;
        let mut opened = open_all(sys, &addr.resolve()?, &options)?.into_iter();
        while let Some((socket, bound)) = opened.next() {
            let target = ListenTarget::Address(bound.clone());
            if let Err(error) = self.accepting.add(sys, socket, bound, handle.number, entrance.clone()) {
                opened.for_each(|(socket, _)| sys.close(socket, CloseHow::Normal));
                self.accepting.close(sys, handle.number);
                return Err(Error::listen(target, error));
            }
        }
        Ok(handle)
    }
}

/// Where the connections of a listener begin.
pub(super) fn entrance(
    listen: Listen,
    handle: ListenerHandle,
    service: &Site,
    names: &[EndpointInfo],
) -> Result<(ListenAddr, ListenOptions, Entrance), Error> {
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    {
        let mut listen = listen;
        let Some(tls) = listen.tls.take() else { return plain_entrance(listen, handle, service, names) };
        let (addr, options, then) = plain_entrance(listen, handle, service, names)?;
        Ok((addr, options, Entrance::Secured(Rc::new(Secured { tls, then }))))
    }
    #[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
    plain_entrance(listen, handle, service, names)
}

/// Where they begin, after the handshake of TLS if there is one.
fn plain_entrance(
    listen: Listen,
    handle: ListenerHandle,
    service: &Site,
    names: &[EndpointInfo],
) -> Result<(ListenAddr, ListenOptions, Entrance), Error> {
    let Some(target) = listen.raw else {
        let (addr, options, site) = listen.site(handle, service)?;
        return Ok((addr, options, Entrance::Http(Rc::new(site))));
    };
    let index = if target.builder == handle.builder { target.index } else { EndpointIndex::NONE };
    Ok((listen.addr, listen.options, Entrance::Raw { endpoint: raw_endpoint(index, names)?, listener: handle }))
}

/// The endpoint at an index, if it is raw.
pub(super) fn raw_endpoint(index: EndpointIndex, names: &[EndpointInfo]) -> Result<EndpointIndex, Error> {
    let wrong = match names.get(index.get()) {
        Some(EndpointInfo { kind: EndpointKind::Raw, .. }) => return Ok(index),
        Some(EndpointInfo { kind: EndpointKind::WebSocket, name }) => {
            format!("{name:?} is a WebSocket protocol; use Builder::listen")
        }
        Some(EndpointInfo { kind: EndpointKind::Watcher, name }) => {
            format!("{name:?} is a Watcher, which accepts from a listener that it adopts; only a Raw can be served")
        }
        Some(EndpointInfo { kind: EndpointKind::Responder, name }) => {
            format!("{name:?} is a responder, which gets its requests by Routes::responder")
        }
        None => "the handle is of another service; use that of Builder::add_raw".to_owned(),
    };
    Err(Error::configuration(format!("listen_raw: {wrong}")))
}
