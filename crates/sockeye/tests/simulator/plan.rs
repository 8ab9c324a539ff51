//! What happens in one seed: who connects when, says what, and how it ends. The network's own chance is apart from it.

use std::time::Duration;

use sockeye::proto::wire::MessageKind;
use sockeye::sim::{Fault, Faults};
use sockeye::{Compression, Limits};
use sockeye_testing::rng::Rng;
use sockeye_testing::server::{echo, machine};

/// One way to run a script. All ways come to the same, unless connections are lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Which network.
    pub(crate) cut: u64,
    /// In a loop outside.
    pub(crate) outside: bool,
    /// All bytes go through the transform that stands for TLS, with this seed.
    pub(crate) scrambled: Option<u64>,
}

impl Way {
    pub(crate) fn inside(seed: u64) -> Self {
        Self { cut: seed, outside: false, scrambled: None }
    }

    pub(crate) fn outside(seed: u64) -> Self {
        Self { cut: seed ^ 0x0FD0_FD0F, outside: true, scrambled: None }
    }

    /// The first way again, on a network that cuts everything in other places.
    pub(crate) fn elsewhere(seed: u64) -> Self {
        Self { cut: seed ^ 0x00C0_FFEE, outside: false, scrambled: None }
    }

    pub(crate) fn scrambled(seed: u64, outside: bool) -> Self {
        let cut = seed ^ if outside { 0x5CA3_0D0F } else { 0x5CA3_B1ED };
        Self { cut, outside, scrambled: Some(seed) }
    }
}

#[derive(Debug)]
pub(crate) struct Plan {
    /// Connections are lost, closed by others and turned away: what is compared between two networks is less.
    pub(crate) chaos: bool,
    pub(crate) limits: Limits,
    pub(crate) outbox_bytes: usize,
    pub(crate) descriptors: Option<u64>,
    pub(crate) peers: Vec<PeerPlan>,
    /// Jobs that another thread sends, at these times.
    pub(crate) jobs: Vec<Duration>,
    pub(crate) drain: Option<Duration>,
    pub(crate) compression: Compression,
}

#[derive(Clone, Debug)]
pub(crate) struct PeerPlan {
    /// Connects when that much time has passed, and this many peers are done.
    pub(crate) start: (Duration, usize),
    pub(crate) protocol: &'static str,
    /// What the server does when it opens.
    pub(crate) open: String,
    /// Does not wait for the answer to its handshake.
    pub(crate) eager: bool,
    pub(crate) steps: Vec<Step>,
    pub(crate) ending: Ending,
    pub(crate) slow: Option<Slow>,
    /// What it offers of compression.
    pub(crate) offer: Option<&'static str>,
}

/// A peer that takes only so many bytes at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slow {
    pub(crate) window: usize,
    pub(crate) every: Duration,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Message {
        kind: MessageKind,
        payload: Vec<u8>,
        frames: usize,
    },
    Command(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Wait(Duration),
    /// Waits for all replies.
    Sync,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    /// The peer closes when it has all replies.
    Close(Option<u16>),
    /// The peer closes without waiting for them.
    CloseEarly(u16),
    /// The last command has the server close; the peer answers.
    Closed,
    /// The same, and the peer does not answer.
    Ignore,
    /// The peer ends TCP without a Close frame.
    HalfClose,
    /// The peer breaks a rule.
    Violate(usize),
    /// The peer says and answers nothing any more.
    Silent,
    Reset,
    /// The peer closes its socket, whatever is in it.
    Drop,
    /// No WebSocket at all: see `actor`.
    Http(usize),
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let chaos = rng.percent(40);
        let count = rng.of(1..6);
        let waves = rng.of(1..4);
        let mut peers = Vec::new();
        for index in 0..count {
            peers.push(PeerPlan::new(&mut rng, index, count, chaos));
        }
        for (index, peer) in peers.iter_mut().enumerate().skip(1) {
            if waves > 1 && rng.percent(50) {
                // Later than some of those that come before it, so that slots and handles are used again.
                peer.start.1 = rng.of(0..index + 1);
            }
        }
        let jobs = (0..rng.of(0..4)).map(|_| millis(&mut rng, 200)).collect();
        let drain = (chaos && rng.percent(15)).then(|| millis(&mut rng, 400));
        let limits = limits(&mut rng);
        let descriptors = (chaos && rng.percent(15)).then(|| rng.of(22..25) as u64);
        let outbox_bytes = if rng.percent(50) { 100_000 } else { 17 << 20 };
        let mut rng = Rng::new(seed ^ 0xDEF1_A7E0);
        let compression = compression(&mut rng);
        for peer in &mut peers {
            peer.offer = rng.percent(80).then(|| *rng.pick(&OFFERS));
        }
        Self { chaos, limits, outbox_bytes, descriptors, peers, jobs, drain, compression }
    }

    /// A network for it. `cut` says which.
    pub(crate) fn faults(&self, cut: u64) -> Faults {
        faults(self.chaos, cut)
    }
}

/// A network of some kind. `cut` says which.
pub(crate) fn faults(chaos: bool, cut: u64) -> Faults {
    let mut rng = Rng::new(cut.wrapping_mul(77) ^ 1);
    let mut faults = Faults::usual();
    if chaos && rng.percent(50) {
        faults = Faults::harsh();
        if rng.percent(70) {
            faults = faults.with(Fault::Reset, 0);
        }
    }
    let send = *rng.pick(&[1000, 4000, 16 << 10, 64 << 10]);
    let receive = *rng.pick(&[1000, 4000, 16 << 10, 64 << 10]);
    // Bytes one by one cost the most turns, so they are rare.
    let segment = if rng.percent(6) { 17 } else { *rng.pick(&[500, 1500, 4096, 65536]) };
    // Nothing may take so long that a closing handshake has no time left.
    let latencies: &[u64] = if segment < 500 { &[0, 10, 50] } else { &[0, 50, 500, 2000] };
    let latency = Duration::from_micros(*rng.pick(latencies));
    if segment < 500 {
        faults = faults.with(Fault::WouldBlock, 5).with(Fault::Delayed, 5).with(Fault::Together, 10);
    }
    faults.with_buffers(send, receive).with_segment(segment).with_latency(latency)
}

pub(crate) fn limits(rng: &mut Rng) -> Limits {
    let mut limits = Limits::default();
    if rng.percent(40) {
        limits.turn_bytes = *rng.pick(&[64, 500, 5000]);
    }
    if rng.percent(40) {
        limits.turn_frames = *rng.pick(&[1, 2, 7]);
    }
    if rng.percent(40) {
        limits.output_low_water = *rng.pick(&[1, 100, 3000]);
    }
    if rng.percent(40) {
        limits.turn_accepts = 1;
    }
    if rng.percent(15) {
        limits.connections = Some(rng.of(1..3));
    }
    limits
}

/// How a service compresses; half of them do not.
pub(crate) fn compression(rng: &mut Rng) -> Compression {
    if rng.percent(50) {
        return Compression::off();
    }
    let mut compression = Compression::new()
        .history_bytes(*rng.pick(&[0, 1, 256, 300, 2048, 2048, 4096, 32_768]))
        .threshold_bytes(*rng.pick(&[0, 1, 64, 1024]))
        .level(*rng.pick(&[1, 1, 2, 6, 9]));
    if rng.percent(50) {
        compression = compression.fragments();
    }
    compression
}

/// What peers offer, browsers first.
const OFFERS: [&str; 9] = [
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits=10",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover; server_max_window_bits=12",
    "permessage-deflate; client_max_window_bits; server_max_window_bits=9",
    "permessage-deflate; client_max_window_bits=9; server_max_window_bits=8",
    "permessage-deflate; server_max_window_bits=7, permessage-deflate; client_max_window_bits=15",
];

fn millis(rng: &mut Rng, most: usize) -> Duration {
    Duration::from_millis(rng.of(0..most) as u64)
}

impl PeerPlan {
    fn new(rng: &mut Rng, index: usize, count: usize, chaos: bool) -> Self {
        let protocol = if rng.percent(65) { machine::NAME } else { echo::NAME };
        let machine = protocol == machine::NAME;
        let ending = ending(rng, chaos, machine);
        let mut steps = Vec::new();
        for _ in 0..rng.of(0..9) {
            steps.push(if machine && rng.percent(55) { command(rng, index, count, chaos) } else { plain(rng) });
        }
        if matches!(ending, Ending::Closed | Ending::Ignore) {
            let verb = if rng.percent(50) { "close" } else { "err" };
            steps.push(Step::Command(format!("{verb} {}", *rng.pick(&[1000_u16, 1001, 1011, 3000, 4999, 0]))));
        }
        let open = match rng.of(0..8) {
            0 if machine => format!("timer/{}", rng.of(0..30)),
            1 if machine => format!("pause/{}", rng.of(0..300)),
            2 if machine => format!("big/{}", rng.of(0..3000)),
            3 if machine && matches!(ending, Ending::Closed) && rng.percent(50) => {
                steps.clear();
                format!("close/{}", rng.of(3000..4999))
            }
            _ => "plain".to_owned(),
        };
        let slow = rng.percent(15).then(|| Slow { window: rng.of(500..4000), every: millis(rng, 3) });
        let eager = rng.percent(30);
        Self { start: (millis(rng, 30), 0), protocol, open, eager, steps, ending, slow, offer: None }
    }
}

fn ending(rng: &mut Rng, chaos: bool, machine: bool) -> Ending {
    match rng.of(0..if chaos { 16 } else { 13 }) {
        0 => Ending::CloseEarly(*rng.pick(&[1000, 1001, 3999])),
        1 | 2 if machine => Ending::Closed,
        3 if machine => Ending::Ignore,
        4 | 5 => Ending::HalfClose,
        6 | 7 => Ending::Violate(rng.of(0..super::actor::VIOLATIONS.len())),
        8 => Ending::Silent,
        9 => Ending::Http(rng.of(0..4)),
        13 | 14 => Ending::Reset,
        15 => Ending::Drop,
        _ => Ending::Close(*rng.pick(&[Some(1000), Some(1001), Some(4000), None])),
    }
}

fn plain(rng: &mut Rng) -> Step {
    match rng.of(0..12) {
        0 => Step::Ping(rng.bytes(125)),
        1 => Step::Pong(rng.bytes(125)),
        2 => Step::Wait(millis(rng, 50)),
        3 | 4 => Step::Sync,
        5..=8 => Step::Message { kind: MessageKind::Text, payload: rng.text(20_000).into_bytes(), frames: frames(rng) },
        _ => Step::Message { kind: MessageKind::Binary, payload: rng.bytes(40_000), frames: frames(rng) },
    }
}

fn frames(rng: &mut Rng) -> usize {
    if rng.percent(60) { 1 } else { rng.of(2..7) }
}

fn command(rng: &mut Rng, index: usize, count: usize, chaos: bool) -> Step {
    let other = rng.of(0..count);
    Step::Command(match rng.of(0..if chaos { 15 } else { 14 }) {
        0..=2 => format!("frag {} {}", rng.of(2..9), rng.text(3000)),
        3 => format!("big {}", rng.of(0..60_000)),
        4 => format!("own {}", rng.text(30_000)),
        5 => format!("ping {index}"),
        6 | 7 => format!("pub {}", rng.text(600)),
        8 => format!("timer {}", rng.of(0..100)),
        9 => format!("again {}", rng.of(0..5)),
        10 => format!("pause {}", rng.of(0..500)),
        11 => format!("wake {other}"),
        12 => "all".to_owned(),
        14 => format!("kill {other}"),
        _ => "stale".to_owned(),
    })
}
