//! The phases of a connection, what follows each, and when each has to be looked at.

use std::convert::Infallible;

use sockeye_proto::time::Instant;

use crate::conn::env::Env;
use crate::conn::exchange::Exchange;
use crate::conn::http::{AfterHttp, Http};
use crate::conn::linger::Linger;
use crate::conn::opening::{AfterOpening, Opening};
use crate::conn::proxied::{AfterProxied, Proxied};
use crate::conn::raw::Raw;
use crate::conn::securing::{AfterSecuring, Securing};
use crate::conn::watched::Watched;
use crate::conn::websocket::WebSocket;
use crate::conn::wire::{NEVER, Wire};

/// The phase decides how bytes are interpreted.
pub(super) enum Phase {
    /// A trusted proxy has not named its client yet.
    Proxied(Box<Proxied>),
    /// The handshake of TLS is not done.
    Securing(Box<Securing>),
    Http(Box<Http>),
    /// A responder answers a request.
    Exchange(Box<Exchange>),
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "nothing connects"))]
    Opening(Box<Opening>),
    WebSocket(WebSocket),
    Raw(Box<Raw>),
    /// The program reads and writes the descriptor itself.
    Watched(Watched),
    Linger(Linger),
}

impl From<Infallible> for Phase {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<Linger> for Phase {
    fn from(linger: Linger) -> Self {
        Self::Linger(linger)
    }
}

impl From<AfterOpening> for Phase {
    fn from(next: AfterOpening) -> Self {
        match next {
            AfterOpening::WebSocket(ws) => Self::WebSocket(ws),
            AfterOpening::Raw(raw) => Self::Raw(raw),
        }
    }
}

impl From<AfterHttp> for Phase {
    fn from(next: AfterHttp) -> Self {
        match next {
            AfterHttp::WebSocket(ws) => Self::WebSocket(ws),
            AfterHttp::Exchange(exchange) => Self::Exchange(exchange),
            AfterHttp::Linger(linger) => Self::Linger(linger),
        }
    }
}

impl From<AfterProxied> for Phase {
    fn from(next: AfterProxied) -> Self {
        match next {
            AfterProxied::Http(http) => Self::Http(http),
            AfterProxied::Securing(securing) => Self::Securing(securing),
            AfterProxied::Raw(raw) => Self::Raw(raw),
        }
    }
}

impl From<AfterSecuring> for Phase {
    fn from(next: AfterSecuring) -> Self {
        match next {
            AfterSecuring::Http(http) => Self::Http(http),
            AfterSecuring::Raw(raw) => Self::Raw(raw),
            AfterSecuring::Linger(linger) => Self::Linger(linger),
        }
    }
}

impl Phase {
    #[inline]
    pub(super) fn deadline(&self) -> Instant {
        match self {
            Self::Proxied(proxied) => proxied.deadline(),
            Self::Securing(securing) => securing.deadline(),
            Self::Http(http) => http.deadline(),
            Self::Exchange(exchange) => exchange.deadline(),
            Self::Opening(opening) => opening.deadline(),
            Self::WebSocket(ws) => ws.deadline(),
            Self::Raw(raw) => raw.deadline(),
            Self::Watched(_) => NEVER,
            Self::Linger(linger) => linger.deadline(),
        }
    }

    /// Its handshake of TLS is no longer under way, if it was.
    pub(super) fn release(&mut self, wire: &Wire, env: &mut Env) {
        match self {
            Self::Securing(securing) => securing.release(wire, env),
            Self::Raw(raw) => raw.release(wire, env),
            _ => {}
        }
    }

    /// The deadline that ends the connection, unless a step moves it. The one for a keepalive ping
    /// does not.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        match self {
            Self::WebSocket(ws) => ws.ends_at(),
            other => Some(other.deadline()),
        }
    }
}
