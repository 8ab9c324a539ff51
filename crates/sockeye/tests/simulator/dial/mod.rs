//! Random connections of our own: services that connect to each other and to servers and proxies written by hand.
//!
//! A seed is a script: who connects when to what, what is said, who ends it. As with the servers, it runs on two
//! networks that cut and delay everything in different places, and comes to the same on both, unless it is one of those
//! in which connections are lost and cut short.

use std::time::Duration;

use sockeye::proto::wire::MessageKind;
use sockeye::{Compression, Limits};
use sockeye_testing::client::Say;
use sockeye_testing::rng::Rng;

use super::plan;

mod others;
mod world;

pub(crate) use self::world::run_seed;

#[derive(Debug)]
struct Plan {
    /// Connections are lost and cut short: nothing is compared between two networks.
    chaos: bool,
    limits: Limits,
    services: usize,
    /// Of each of them.
    compressions: Vec<Compression>,
    dials: Vec<Dial>,
    cuts: Vec<(Duration, Cut)>,
}

/// One connect.
#[derive(Clone, Debug)]
struct Dial {
    start: Duration,
    /// Which service.
    from: usize,
    target: Target,
    says: Vec<Say>,
    /// It is kept up, with so many attempts.
    attempts: Option<u32>,
    redirects: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    /// The listener of a service.
    Service(usize),
    /// A name with an address that refuses, one that is silent, and that of a service.
    Several(usize),
    Written(Act),
    Refused,
    Silent,
    Unreachable,
    NameFails,
    NameStalls,
    NameUnknown,
    Secure,
}

/// What a server or proxy written by hand does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Echo,
    /// The first message comes in one piece with the acceptance, which interim answers precede.
    Early,
    /// A proxy, with a server behind it.
    Http,
    Socks,
    HttpRefuses,
    SocksRefuses,
    HttpSilent,
    Refuse(u16, Body),
    Redirect,
    Wrong,
    NoHttp,
    Silent,
    /// The half of a head.
    Half,
    Ends,
    Resets,
    /// Accepts, and closes or breaks it after the first message.
    Closes,
    Breaks,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Body {
    Exact,
    Chunked,
    UntilClose,
    /// More than is kept.
    Long,
    /// Less than was announced, and then nothing.
    Stalled,
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    Close(usize),
    Drain(usize),
    Drop(usize),
}

impl Plan {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xD1A1);
        let chaos = rng.percent(40);
        let services = rng.of(1..3);
        let count = rng.of(1..7);
        let dials = (0..count).map(|_| Dial::new(&mut rng, services, chaos)).collect();
        let mut limits = plan::limits(&mut rng);
        if !chaos {
            limits.connections = None;
        }
        let mut cuts = Vec::new();
        for _ in 0..if chaos { rng.of(0..4) } else { 0 } {
            let most = if rng.percent(70) { 60_000 } else { 6_000_000 };
            let at = Duration::from_micros(rng.of(0..most) as u64);
            let cut = match rng.of(0..8) {
                0 => Cut::Drain(rng.of(0..services)),
                1 => Cut::Drop(rng.of(0..services)),
                _ => Cut::Close(rng.of(0..count)),
            };
            cuts.push((at, cut));
        }
        let mut rng = Rng::new(seed ^ 0xDEF1_A7E1);
        let compressions = (0..services).map(|_| plan::compression(&mut rng)).collect();
        Self { chaos, limits, services, compressions, dials, cuts }
    }
}

impl Dial {
    fn new(rng: &mut Rng, services: usize, chaos: bool) -> Self {
        let target = target(rng, services);
        let says =
            (0..rng.of(1..6)).map(|_| say(rng)).chain([Say::Message(MessageKind::Text, b"last".to_vec())]).collect();
        let most = if rng.percent(80) { 30 } else { 3000 };
        let start = Duration::from_millis(rng.of(0..most) as u64);
        let attempts = rng.percent(30).then(|| rng.of(1..5) as u32);
        let redirects = if chaos || rng.percent(70) { 3 } else { 0 };
        Self { start, from: rng.of(0..services), target, says, attempts, redirects }
    }
}

fn target(rng: &mut Rng, services: usize) -> Target {
    let service = rng.of(0..services);
    let body = *rng.pick(&[Body::Exact, Body::Chunked, Body::UntilClose, Body::Long, Body::Stalled]);
    let status = *rng.pick(&[200, 401, 404, 429, 500, 503]);
    let acts = [
        Act::Echo,
        Act::Early,
        Act::Http,
        Act::Socks,
        Act::HttpRefuses,
        Act::SocksRefuses,
        Act::HttpSilent,
        Act::Refuse(status, body),
        Act::Refuse(status, body),
        Act::Redirect,
        Act::Wrong,
        Act::NoHttp,
        Act::Silent,
        Act::Half,
        Act::Ends,
        Act::Resets,
        Act::Closes,
        Act::Breaks,
    ];
    match rng.of(0..30) {
        0..=6 => Target::Service(service),
        7..=9 => Target::Several(service),
        10 => Target::Refused,
        11 => Target::Silent,
        12 => Target::Unreachable,
        13 => Target::NameFails,
        14 => Target::NameStalls,
        15 => Target::NameUnknown,
        16 => Target::Secure,
        _ => Target::Written(*rng.pick(&acts)),
    }
}

fn say(rng: &mut Rng) -> Say {
    match rng.of(0..8) {
        0 => Say::Ping(rng.bytes(125)),
        1 => Say::Fragments(MessageKind::Binary, (0..rng.of(2..6)).map(|_| rng.bytes(9000)).collect()),
        2 => Say::Fragments(MessageKind::Text, (0..rng.of(2..6)).map(|_| rng.text(300).into_bytes()).collect()),
        3 => Say::Owned(MessageKind::Binary, rng.bytes(40_000)),
        4 => Say::Owned(MessageKind::Text, rng.text(20_000).into_bytes()),
        5 => Say::Message(MessageKind::Binary, rng.bytes(40_000)),
        _ => Say::Message(MessageKind::Text, rng.text(2000).into_bytes()),
    }
}

/// The messages among these.
fn messages(says: &[Say]) -> Vec<(MessageKind, Vec<u8>)> {
    let message = |say: &Say| match say {
        Say::Message(kind, payload) | Say::Owned(kind, payload) => Some((*kind, payload.clone())),
        Say::Fragments(kind, pieces) => Some((*kind, pieces.iter().flatten().copied().collect())),
        Say::Ping(_) => None,
    };
    says.iter().filter_map(message).collect()
}
