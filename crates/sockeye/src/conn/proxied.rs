//! A connection from a trusted proxy before its PROXY header is complete: the client is not known
//! yet.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

use sockeye_proto::conn::HEADROOM;
use sockeye_proto::proxy_protocol::{HeaderDecoder, HeaderError, Source};
use sockeye_proto::time::Instant;

use crate::conn::env::Env;
use crate::conn::http::Http;
use crate::conn::policy::Entrance;
use crate::conn::raw::Raw;
use crate::conn::securing::Securing;
use crate::conn::step::{Due, Step};
use crate::conn::wire::Wire;
use crate::id::ConnId;
use crate::limits::Limits;
use crate::sys::{Address, CloseHow};
use crate::transport::Read;

/// A connection whose header is awaited.
pub(super) struct Proxied {
    decoder: HeaderDecoder,
    /// Where it begins once the client is known.
    entrance: Entrance,
    /// The header's time counts towards the request's deadline.
    accepted: Instant,
    deadline: Instant,
}

/// What the connection becomes once the client is known.
pub(super) enum AfterProxied {
    Http(Box<Http>),
    Securing(Box<Securing>),
    Raw(Box<Raw>),
}

impl Proxied {
    pub(super) fn new(limits: &Limits, now: Instant, entrance: Entrance) -> Self {
        Self {
            decoder: HeaderDecoder::new(limits.proxy_header_bytes),
            entrance,
            accepted: now,
            deadline: now + limits.handshake_timeout,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn step(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Step<AfterProxied> {
        let mut budget = env.share.bytes;
        while budget > 0 {
            // Most of it is the first request, of which no more is read than a head may have.
            let most = budget.min(env.limits.protocol.head_bytes.max(1));
            match wire.socket.read(&mut env.io, &mut env.rx, most) {
                Read::Bytes(count) => {
                    budget = budget.saturating_sub(count);
                    let mut input = &env.rx[HEADROOM..HEADROOM + count];
                    match self.decoder.decode(&mut input) {
                        Ok(Some(source)) => {
                            wire.socket.keep_unread(&env.state.pool, input);
                            return self.introduce(wire, env, id, source);
                        }
                        Ok(None) => {}
                        Err(error) => return refuse(wire, env, id, error),
                    }
                }
                // A drain does not wait for a connection that has not begun.
                Read::Sealed(cost) => budget = budget.saturating_sub(cost),
                Read::Nothing if env.state.lifecycle.is_ending() && self.decoder.is_untouched() => {
                    return Step::Gone(CloseHow::Normal);
                }
                Read::Nothing if !wire.socket.is_broken() => return Step::Wait,
                Read::Nothing | Read::Failed(_) | Read::End => {
                    return self.end(wire, env, id, "the header ended early");
                }
            }
        }
        Step::Yield
    }

    /// The header names the client: its address decides, like that of an accepted connection.
    fn introduce(&self, wire: &mut Wire, env: &mut Env, id: ConnId, source: Source) -> Step<AfterProxied> {
        let proxy = wire.peer.clone();
        let peer = address(source).unwrap_or_else(|| proxy.clone());
        if !env.admit(id, wire.socket.handle(), &peer, Some(&proxy), self.entrance.listener()) {
            return Step::Gone(CloseHow::Reset);
        }
        tracing::debug!(%id, %peer, %proxy, "introduced");
        wire.peer = peer;
        let endpoint = match &self.entrance {
            Entrance::Raw { endpoint, .. } => *endpoint,
            Entrance::Secured(secured) => {
                let securing = Securing::new(&env.limits, self.accepted, secured, Some(proxy));
                return Step::Next(AfterProxied::Securing(securing));
            }
            Entrance::Http(site) => {
                let http = Http::new(&env.limits, self.accepted, Rc::clone(site)).through(proxy);
                return Step::Next(AfterProxied::Http(Box::new(http)));
            }
        };
        if env.state.lifecycle.is_ending() {
            // Nothing was sent to it yet.
            return Step::Gone(CloseHow::Normal);
        }
        let mut raw = Raw::new(endpoint);
        raw.open(wire, env, id);
        Step::Next(AfterProxied::Raw(Box::new(raw)))
    }

    /// The deadline passed.
    pub(super) fn due(&self, wire: &Wire, env: &mut Env, id: ConnId) -> Due<AfterProxied> {
        env.io.meters.statistics.limits.handshake_timeout += 1;
        Due::Over(self.end(wire, env, id, "the header took too long"))
    }

    /// No header follows. A connection that sends nothing at all, as some health checks do, is not
    /// a fault.
    fn end(&self, wire: &Wire, env: &mut Env, id: ConnId, why: &str) -> Step<AfterProxied> {
        if !self.decoder.is_untouched() {
            env.io.meters.statistics.refusals.proxy_header += 1;
            warn(id, wire, &why);
        }
        Step::Gone(CloseHow::Normal)
    }
}

/// The client's address; `None` if the proxy connects for itself.
fn address(source: Source) -> Option<Address> {
    match source {
        Source::Ip(address) => Some(Address::Ip(address)),
        Source::Unix(path) => Some(match path.split_first() {
            None => Address::Unnamed,
            Some((0, name)) => Address::Abstract(name.to_vec()),
            Some(_) => Address::Unix(OsString::from_vec(path).into()),
        }),
        _ => None,
    }
}

/// Section 2 of the protocol: the receiver "must not try to guess whether the protocol header is present or not".
fn refuse(wire: &Wire, env: &mut Env, id: ConnId, error: HeaderError) -> Step<AfterProxied> {
    let statistics = &mut env.io.meters.statistics;
    statistics.refusals.proxy_header += 1;
    statistics.limits.proxy_header_bytes += u64::from(error == HeaderError::TooLong);
    warn(id, wire, &error);
    Step::Gone(CloseHow::Normal)
}

/// A trusted proxy that sends no header is misconfigured, here or there, and none of its clients
/// are served: warn the operator.
fn warn(id: ConnId, wire: &Wire, error: &dyn fmt::Display) {
    tracing::warn!(%id, peer = %wire.peer, %error, "refused: a trusted proxy sent no usable PROXY header");
}
