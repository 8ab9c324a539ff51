//! A connection of a trusted proxy before its PROXY header is complete: it is not known yet who connects.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;

use sockeye_proto::conn::HEADROOM;
use sockeye_proto::proxy_protocol::{HeaderDecoder, HeaderError, Source};
use sockeye_proto::time::Instant;

use crate::conn::read::{Filled, fill, keep};
use crate::conn::{Conn, Phase, Stage, Step};
use crate::limits::Limits;
use crate::output::{Bits, Out};
use crate::protocol::ConnId;
use crate::shared::EndpointIndex;
use crate::sys::{Address, CloseHow};

/// A connection whose header is awaited.
pub(crate) struct Proxied {
    decoder: HeaderDecoder,
    /// What the header said, once it is complete.
    source: Option<Source>,
    /// Whose raw connection it will be.
    endpoint: Option<EndpointIndex>,
    accepted: Instant,
    deadline: Instant,
}

impl Proxied {
    pub(crate) fn new(limits: &Limits, now: Instant, endpoint: Option<EndpointIndex>) -> Self {
        Self {
            decoder: HeaderDecoder::new(limits.proxy_header_bytes),
            source: None,
            endpoint,
            accepted: now,
            deadline: now + limits.handshake_timeout,
        }
    }

    pub(crate) fn endpoint(&self) -> Option<EndpointIndex> {
        self.endpoint
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The time of the header counts for the request, too.
    pub(crate) fn accepted(&self) -> Instant {
        self.accepted
    }

    /// Who connects; `None`: who it seems.
    pub(crate) fn take_source(&mut self) -> Option<Address> {
        match self.source.take()? {
            Source::Ip(address) => Some(Address::Ip(address)),
            Source::Unix(path) => Some(match path.split_first() {
                None => Address::Unnamed,
                Some((0, name)) => Address::Abstract(name.to_vec()),
                Some(_) => Address::Unix(OsString::from_vec(path).into()),
            }),
            _ => None,
        }
    }
}

/// Reads the header. `Introduced`: it is complete, and what came behind it is kept.
pub(crate) fn step(stage: &mut Stage, id: ConnId, conn: &mut Conn) -> Step {
    let mut budget = stage.limits.turn_bytes;
    while budget > 0 {
        let Phase::Proxied(proxied) = &mut conn.phase else { return Step::Again };
        // Most of it is the first request, which is not read further than its head may be long.
        let most = budget.min(stage.limits.protocol.head_bytes.max(1));
        match fill(&mut Out::new(&mut stage.outlet, &mut conn.link), &mut conn.stash, &mut stage.rx, most) {
            Filled::Bytes(count) => {
                budget = budget.saturating_sub(count);
                let mut input = &stage.rx[HEADROOM..HEADROOM + count];
                match proxied.decoder.decode(&mut input) {
                    Ok(Some(source)) => {
                        proxied.source = Some(source);
                        keep(&stage.shared.pool, &mut conn.stash, input);
                        return Step::Introduced;
                    }
                    Ok(None) => {}
                    Err(error) => return refuse(stage, id, conn, error),
                }
            }
            // Nobody is kept waiting who did not begin.
            Filled::Nothing if stage.policy.draining && proxied.decoder.is_untouched() => {
                return Step::Gone(CloseHow::Normal);
            }
            Filled::Nothing if !conn.link.bits.has(Bits::BROKEN) => return Step::Wait,
            Filled::Nothing | Filled::Failed | Filled::End => return over(stage, id, conn, "the header ended early"),
        }
    }
    Step::Yield
}

/// Section 2 of the protocol: the receiver "must not try to guess whether the protocol header is present or not".
fn refuse(stage: &mut Stage, id: ConnId, conn: &Conn, error: HeaderError) -> Step {
    let statistics = &mut stage.outlet.statistics;
    statistics.refusals.proxy_header += 1;
    statistics.limits.proxy_header_bytes += u64::from(error == HeaderError::TooLong);
    say(id, conn, &error);
    Step::Gone(CloseHow::Normal)
}

/// The deadline passed.
pub(crate) fn due(stage: &mut Stage, id: ConnId, conn: &Conn) -> Step {
    stage.outlet.statistics.limits.handshake_timeout += 1;
    over(stage, id, conn, "the header took too long")
}

/// There will be no header. A connection that says nothing at all, as some checks of health do, is no offence.
fn over(stage: &mut Stage, id: ConnId, conn: &Conn, why: &str) -> Step {
    if matches!(&conn.phase, Phase::Proxied(proxied) if !proxied.decoder.is_untouched()) {
        stage.outlet.statistics.refusals.proxy_header += 1;
        say(id, conn, &why);
    }
    Step::Gone(CloseHow::Normal)
}

/// A peer that is trusted and does not do what it is trusted for is set up wrongly, here or there, and serves nobody until
/// somebody hears of it.
fn say(id: ConnId, conn: &Conn, error: &dyn fmt::Display) {
    tracing::warn!(%id, peer = %conn.peer, %error, "refused: a trusted proxy sent no usable PROXY header");
}
