//! Connections without messages: read, deliver, write, end. Those that the program reads and writes itself begin and
//! end here, too.
//!
//! What to know before editing: once an end is decided ([`Raw::ending`]) no callback follows but `closed`. Output that
//! waits is sent first, and until then input is read and dropped, since a peer that waits for us to read takes nothing.
//! A connection that broke delivers what it still has before it ends; a paused one keeps it for later, and takes no
//! steps meanwhile.

use std::io;

use sockeye_proto::conn::HEADROOM;
use sockeye_proto::time::Instant;

use crate::conn::read::{Filled, Stash, fill};
use crate::conn::{Conn, NEVER, Phase, Stage, Step, linger, watch};
use crate::output::{Bits, Link, Out};
use crate::protocol::plain::Plain;
use crate::protocol::{ConnId, RawClose, RawClosed, RawClosedCx, RawCx, RawPort, RawWritable};
use crate::shared::{Budget, Current, EndpointIndex, Live, Shared};
use crate::statistics::{Culprit, Whose};
use crate::sys::{Address, CloseHow, DescriptorKind};

/// A connection that speaks no protocol of ours.
#[derive(Default)]
pub(crate) struct Raw {
    ending: Option<Ending>,
    /// The peer has ended its sending side, and the endpoint was told.
    input_over: bool,
    /// Output was dropped because the connection broke.
    lost: bool,
    /// Why it broke.
    error: Option<io::ErrorKind>,
    /// It was opened for writing only.
    has_no_input: bool,
    /// It was opened for reading only.
    has_no_output: bool,
    /// The program reads and writes it itself.
    is_watched: bool,
}

/// The end is decided.
#[derive(Clone, Copy)]
struct Ending {
    as_told: RawClosed,
    until: Instant,
}

impl Raw {
    /// What the program opened.
    pub(crate) fn adopted(readable: bool, writable: bool) -> Self {
        Self { has_no_input: !readable, has_no_output: !writable, ..Self::default() }
    }

    /// Decides the end, unless it was decided before.
    pub(crate) fn end(&mut self, as_told: RawClosed, until: Instant) {
        self.ending.get_or_insert(Ending { as_told, until });
    }

    /// What the program opened, and goes on to read and write.
    pub(crate) fn watched(self) -> Self {
        Self { is_watched: true, ..self }
    }

    pub(super) fn is_input_over(&self) -> bool {
        self.input_over
    }

    pub(super) fn input_is_over(&mut self) {
        self.input_over = true;
    }

    /// How it is told that it broke.
    pub(super) fn broken(&self) -> RawClosed {
        // What cannot be read cannot say why; there is one reason.
        let why = if self.has_no_input { Some(io::ErrorKind::BrokenPipe) } else { None };
        RawClosed::Broken(self.error.or(why))
    }

    /// The end that was decided.
    pub(super) fn ended(&self) -> Option<RawClosed> {
        self.ending.map(|ending| ending.as_told)
    }

    /// Whether the writable callback is asked for, and can ever come.
    pub(super) fn wants_room(&self, current: &Current) -> bool {
        current.wants_write() && !self.has_no_output
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.ending.map_or(NEVER, |ending| ending.until)
    }

    /// Whether there may be something to read and deliver.
    pub(super) fn has_input(&self, link: &Link, stash: &Option<Box<Stash>>) -> bool {
        stash.is_some() || link.bits.has(Bits::READABLE) && !self.input_over && !self.has_no_input
    }

    fn can_write(&self, current: &Current, link: &Link) -> bool {
        self.wants_room(current) && link.has_room() && !self.is_ending()
    }
}

/// Reads, delivers and writes as far as socket and turn allow.
pub(crate) fn step(stage: &mut Stage, id: ConnId, live: Live, conn: &mut Conn) -> Step {
    if matches!(&conn.phase, Phase::Raw(raw) if raw.is_watched) {
        return watch::step(stage, id, live, conn);
    }
    let budget = Budget { read_bytes: stage.limits.turn_bytes, read_frames: stage.limits.turn_frames };
    stage.shared.enter(id, live, budget);
    stage.outlet.budget = stage.limits.turn_bytes;
    stage.outlet.send_error = None;
    prepare(stage, conn);
    flush(stage, conn);
    let mut more = true;
    while more && !stage.shared.current.budget.is_spent() && stage.outlet.budget > 0 {
        more = round(stage, conn);
    }
    flush(stage, conn);
    let Phase::Raw(raw) = &mut conn.phase else { return Step::Again };
    if conn.link.bits.has(Bits::BROKEN) {
        raw.error = raw.error.or(stage.outlet.send_error);
    }
    let has_input = raw.has_input(&conn.link, &conn.stash);
    let step = outcome(raw, &conn.link, &stage.shared.current, has_input, more);
    let is_spent = stage.shared.current.budget.is_spent() || stage.outlet.budget == 0;
    stage.shared.leave();
    match step {
        Outcome::Wait => Step::Wait,
        Outcome::More if is_spent => Step::Yield,
        Outcome::More => Step::Later,
        Outcome::Over(ended) => finish(stage, id, conn, ended),
    }
}

/// What is different of a descriptor that is no connection.
fn prepare(stage: &mut Stage, conn: &mut Conn) {
    let Phase::Raw(raw) = &conn.phase else { return };
    if conn.link.kind == DescriptorKind::Datagrams
        && conn.link.bits.has(Bits::BROKEN)
        && raw.error.is_none()
        && !raw.lost
    {
        // An error of one datagram. Asking takes it away, or a loop that watches levels would hear of it while reading is paused.
        let _ = stage.outlet.sys.connected(conn.link.handle);
        conn.link.bits.clear(Bits::BROKEN);
    }
}

/// Sends what waits, as far as the socket takes it.
fn flush(stage: &mut Stage, conn: &mut Conn) {
    let waits = conn.link.queue.is_some() || !stage.outlet.cork.is_empty();
    if !waits {
        return;
    }
    Out::new(&mut stage.outlet, &mut conn.link).flush();
    if let Phase::Raw(raw) = &mut conn.phase {
        raw.lost |= conn.link.bits.has(Bits::BROKEN);
    }
}

/// Reads once, and writes once. Returns whether another round would find something to do.
fn round(stage: &mut Stage, conn: &mut Conn) -> bool {
    let close_timeout = stage.limits.protocol.close_timeout;
    let Stage { outlet, shared, endpoints, rx, .. } = stage;
    let Conn { phase: Phase::Raw(raw), link, stash, peer, .. } = conn else { return false };
    let Live { endpoint: index, session, .. } = shared.current.live;
    let Some(endpoint) = endpoints.get_mut(index.get()).and_then(|endpoint| endpoint.plain()) else { return false };
    let until = shared.now + close_timeout;
    let mut out = Out::new(outlet, link);
    if raw.is_ending() {
        *stash = None;
        return discard(raw, shared, &mut out, rx);
    }
    let id = shared.current.id;
    let mut cx = RawCx::new(shared, index, id, peer);
    if raw.has_input(out.link, stash) && !cx.current.is_paused() {
        let read = read(raw, &mut out, stash, rx, cx.current.budget.read_bytes);
        deliver(raw, endpoint, &mut cx, session, &mut out, read, until);
    }
    if raw.can_write(&cx.current, out.link) {
        write(raw, endpoint, &mut cx, session, &mut out, until);
    }
    let current = &cx.current;
    raw.has_input(out.link, stash) && (raw.is_ending() || !current.is_paused()) || raw.can_write(current, out.link)
}

/// The callback for what one read brought.
fn deliver(
    raw: &mut Raw,
    endpoint: &mut dyn Plain,
    cx: &mut RawCx<'_>,
    session: u32,
    out: &mut Out<'_>,
    read: Read<'_>,
    until: Instant,
) {
    let is_watchful = out.outlet.stopwatch.is_watchful();
    if is_watchful {
        out.outlet.steps_over(0);
    }
    match read {
        Read::Nothing => return,
        Read::Bytes(bytes) => {
            let budget = &mut cx.current.budget;
            budget.read_bytes = budget.read_bytes.saturating_sub(bytes.len());
            budget.read_frames -= 1;
            let result = endpoint.receive(cx, session, bytes);
            obey(raw, cx, result, RawClosed::Local, until);
        }
        Read::End => {
            raw.input_over = true;
            let result = endpoint.ended(cx, session);
            obey(raw, cx, result, RawClosed::Peer, until);
        }
    }
    if is_watchful {
        out.outlet.lap(Culprit::Receive, Whose::of(cx.endpoint.0, cx.id()));
    }
}

/// The writable callback.
fn write(raw: &mut Raw, endpoint: &mut dyn Plain, cx: &mut RawCx<'_>, session: u32, out: &mut Out<'_>, until: Instant) {
    cx.current.grant_write();
    let before = out.outlet.budget;
    let is_watchful = out.outlet.stopwatch.is_watchful();
    if is_watchful {
        out.outlet.steps_over(0);
    }
    let result = endpoint.writable(cx, session, RawWritable::new(&mut RawPort { out: out.lent() }));
    if is_watchful {
        out.outlet.lap(Culprit::Writable, Whose::of(cx.endpoint.0, cx.id()));
    }
    if out.outlet.budget == before {
        // A call that writes nothing costs something too: who asks again and again does not keep the loop.
        out.outlet.budget = before.saturating_sub(out.outlet.frame_cost);
    } else {
        raw.lost |= out.link.bits.has(Bits::BROKEN);
    }
    obey(raw, cx, result, RawClosed::Local, until);
}

/// Decides the end that a callback returned, or wished for its own connection, so that nothing is delivered after it.
pub(super) fn obey(
    raw: &mut Raw,
    shared: &mut Shared,
    result: Result<(), RawClose>,
    normal: RawClosed,
    until: Instant,
) {
    match result {
        Ok(()) => {}
        Err(RawClose::Normal) => raw.end(normal, until),
        Err(RawClose::Reset) => raw.end(RawClosed::Reset, until),
    }
    if !shared.closes.is_empty() {
        let id = shared.current.id;
        find_own_end(raw, shared, id, until);
    }
}

#[cold]
fn find_own_end(raw: &mut Raw, shared: &mut Shared, id: ConnId, until: Instant) {
    shared.closes.retain(|(wished, _)| {
        if *wished == id {
            raw.end(RawClosed::Local, until);
        }
        *wished != id
    });
}

enum Read<'a> {
    Bytes(&'a [u8]),
    /// Nothing for now, or for ever: the bits say which.
    Nothing,
    End,
}

/// One read, of at most `budget` bytes. What came behind the header of a proxy is first.
fn read<'a>(
    raw: &mut Raw,
    out: &mut Out<'_>,
    stash: &mut Option<Box<Stash>>,
    rx: &'a mut [u8],
    budget: usize,
) -> Read<'a> {
    if stash.is_some() {
        if let Filled::Bytes(count) = fill(out, stash, rx, budget) {
            return Read::Bytes(&rx[HEADROOM..HEADROOM + count]);
        }
    }
    if out.link.kind != DescriptorKind::Stream {
        return read_unit(raw, out, rx);
    }
    let most = budget.min(rx.len() - HEADROOM);
    loop {
        match out.outlet.sys.recv(out.link.handle, &mut rx[HEADROOM..HEADROOM + most]) {
            Ok(0) => {
                out.link.bits.clear(Bits::READABLE);
                return Read::End;
            }
            Ok(count) => {
                out.outlet.statistics.received.bytes += count as u64;
                // A short read means drained, unless the end of input was announced: no edge would come for it.
                if count < most && !out.link.bits.has(Bits::READ_CLOSED | Bits::BROKEN) {
                    out.link.bits.clear(Bits::READABLE);
                }
                return Read::Bytes(&rx[HEADROOM..HEADROOM + count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return nothing(raw, out, &error),
        }
    }
}

/// One read of what is no stream socket: of a datagram as much as fits, whatever is left of the turn's share. Only the system's
/// word says that there is nothing more.
fn read_unit<'a>(raw: &mut Raw, out: &mut Out<'_>, rx: &'a mut [u8]) -> Read<'a> {
    loop {
        match out.outlet.sys.read(out.link.handle, out.link.kind, &mut rx[HEADROOM..]) {
            Ok(0) if is_end(out) => {
                out.link.bits.clear(Bits::READABLE);
                // A reset that was told ahead of the packets before it is how it ended.
                return if raw.error.is_some() { Read::Nothing } else { Read::End };
            }
            Ok(count) => {
                out.outlet.statistics.received.bytes += count as u64;
                return Read::Bytes(&rx[HEADROOM..HEADROOM + count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Linux tells of a reset once, and ahead of the packets that came before it.
            Err(error)
                if out.link.kind == DescriptorKind::Packets
                    && raw.error.is_none()
                    && error.kind() != io::ErrorKind::WouldBlock =>
            {
                out.link.bits.set(Bits::BROKEN);
                raw.error = Some(error.kind());
            }
            Err(error) => return nothing(raw, out, &error),
        }
    }
}

/// What a read of no bytes means. A datagram may be empty, and a packet too: of these it is the end once the peer has
/// ended its sending side and nothing is left.
#[cold]
fn is_end(out: &mut Out<'_>) -> bool {
    let (handle, sys) = (out.link.handle, &mut out.outlet.sys);
    match out.link.kind {
        DescriptorKind::Datagrams => false,
        DescriptorKind::Packets => {
            sys.readiness(handle).map_or(true, |level| level.read_closed) && sys.unread(handle).unwrap_or(0) == 0
        }
        _ => true,
    }
}

#[cold]
fn nothing<'a>(raw: &mut Raw, out: &mut Out<'_>, error: &io::Error) -> Read<'a> {
    out.link.bits.clear(Bits::READABLE);
    if error.kind() != io::ErrorKind::WouldBlock {
        tracing::debug!(%error, "receive failed");
        out.link.bits.set(Bits::BROKEN);
        raw.error = Some(error.kind());
    }
    Read::Nothing
}

/// Reads what nobody is told of any more. Returns whether there may be more.
fn discard(raw: &mut Raw, shared: &mut Shared, out: &mut Out<'_>, rx: &mut [u8]) -> bool {
    // What has nothing left to send is over, and its socket's next phase reads.
    if out.link.queue.is_none() || !raw.has_input(out.link, &None) {
        return false;
    }
    let budget = &mut shared.current.budget;
    match read(raw, out, &mut None, rx, budget.read_bytes) {
        Read::Bytes(bytes) => {
            budget.read_bytes = budget.read_bytes.saturating_sub(bytes.len());
            // Datagrams may be empty, and come as fast as they are read.
            budget.read_frames -= 1;
        }
        Read::Nothing => {}
        Read::End => raw.input_over = true,
    }
    raw.has_input(out.link, &None)
}

enum Outcome {
    Wait,
    /// There is more to do in the next round.
    More,
    Over(RawClosed),
}

/// What a step came to. `more`: the turn's share was used up, or another round would find something.
fn outcome(raw: &Raw, link: &Link, current: &Current, has_input: bool, more: bool) -> Outcome {
    let broken = link.bits.has(Bits::BROKEN);
    let Some(ending) = raw.ending else {
        if !broken {
            return if more || raw.can_write(current, link) { Outcome::More } else { Outcome::Wait };
        }
        // What came before is delivered first. When reading is paused that waits, unless it waits for ever: there is no
        // edge to come any more, and who wants to write before he goes on reading never does.
        let in_vain = current.is_paused() && (raw.lost || raw.wants_room(current));
        return match has_input && !in_vain {
            true if current.is_paused() => Outcome::Wait,
            true => Outcome::More,
            false if raw.input_over && !raw.lost => Outcome::Over(RawClosed::Peer),
            false => Outcome::Over(raw.broken()),
        };
    };
    if ending.as_told == RawClosed::Reset {
        Outcome::Over(RawClosed::Reset)
    } else if raw.lost {
        Outcome::Over(RawClosed::Broken(raw.error))
    } else if broken || link.queue.is_none() {
        Outcome::Over(ending.as_told)
    } else if more {
        Outcome::More
    } else {
        Outcome::Wait
    }
}

/// It is over: tells the endpoint, and decides how the socket ends.
#[cold]
pub(super) fn finish(stage: &mut Stage, id: ConnId, conn: &mut Conn, ended: RawClosed) -> Step {
    let Phase::Raw(raw) = &conn.phase else { return Step::Again };
    let is_done = raw.input_over
        || raw.is_watched
        || conn.link.bits.has(Bits::BROKEN)
        || conn.link.kind != DescriptorKind::Stream;
    tell_closed(stage, id, &conn.peer, ended);
    match ended {
        RawClosed::Reset | RawClosed::Timeout | RawClosed::Dropped => Step::Gone(CloseHow::Reset),
        // Closing with input unread would reset the connection, and overtake our last bytes.
        RawClosed::Local | RawClosed::Peer if !is_done => {
            linger::begin(conn, stage.shared.now + stage.limits.protocol.close_timeout)
        }
        _ => Step::Gone(CloseHow::Normal),
    }
}

/// The `closed` callback, once.
pub(crate) fn tell_closed(stage: &mut Stage, id: ConnId, peer: &Address, ended: RawClosed) {
    let Some(live) = stage.shared.live.get_mut(id).filter(|live| live.is_open()) else { return };
    live.set_open(false);
    let live = *live;
    tracing::debug!(%id, %peer, %ended, "closed");
    let closes = &mut stage.outlet.statistics.raw_closes;
    *match ended {
        RawClosed::Local => &mut closes.local,
        RawClosed::Peer => &mut closes.peer,
        RawClosed::Broken(_) => &mut closes.broken,
        RawClosed::Reset => &mut closes.reset,
        RawClosed::Timeout => &mut closes.timeout,
        RawClosed::Dropped => &mut closes.dropped,
    } += 1;
    let Some(endpoint) = stage.endpoints.get_mut(live.endpoint.get()).and_then(|endpoint| endpoint.plain()) else {
        return;
    };
    stage.outlet.steps_over(0);
    endpoint.closed(&mut RawClosedCx::new(&mut stage.shared, live.endpoint, id, peer), live.session, ended);
    stage.outlet.lap(Culprit::Closed, Whose::of(live.endpoint.0, id));
}

/// A connection begins: the `open` callback, once.
pub(crate) fn open(stage: &mut Stage, id: ConnId, conn: &mut Conn, endpoint: EndpointIndex) {
    let until = stage.shared.now + stage.limits.protocol.close_timeout;
    let Some(live) = stage.shared.live.get_mut(id) else { return };
    let Some(callee) = stage.endpoints.get_mut(endpoint.get()).and_then(|endpoint| endpoint.plain()) else { return };
    live.endpoint = endpoint;
    live.set_open(true);
    live.set_connected();
    stage.shared.opened = true;
    stage.outlet.steps_over(0);
    let session = callee.open(&mut RawCx::new(&mut stage.shared, endpoint, id, &conn.peer));
    stage.outlet.lap(Culprit::Open, Whose::of(endpoint.0, id));
    if let Some(live) = stage.shared.live.get_mut(id) {
        live.session = session;
    }
    if let Phase::Raw(raw) = &mut conn.phase {
        find_own_end(raw, &mut stage.shared, id, until);
        if raw.is_ending() {
            stage.shared.enqueue(id);
        }
    }
}

/// A deadline is due: the end took too long, or the user's timer.
pub(crate) fn due(stage: &mut Stage, id: ConnId, live: Live, conn: &mut Conn) -> Step {
    let now = stage.shared.now;
    let Phase::Raw(raw) = &mut conn.phase else { return Step::Again };
    if raw.deadline() <= now {
        return finish(stage, id, conn, RawClosed::Timeout);
    }
    if conn.user_timer <= now {
        conn.user_timer = NEVER;
        timer(stage, id, live, conn);
    }
    // The callback may have wished for something.
    let live = stage.shared.live.get(id).copied().unwrap_or(live);
    crate::conn::step(stage, id, live, conn)
}

fn timer(stage: &mut Stage, id: ConnId, live: Live, conn: &mut Conn) {
    let until = stage.shared.now + stage.limits.protocol.close_timeout;
    let Phase::Raw(raw) = &mut conn.phase else { return };
    let Some(endpoint) = stage.endpoints.get_mut(live.endpoint.get()).and_then(|endpoint| endpoint.plain()) else {
        return;
    };
    if raw.is_ending() {
        return;
    }
    stage.shared.enter(id, live, Budget::default());
    stage.outlet.steps_over(0);
    let result = endpoint.timer(&mut RawCx::new(&mut stage.shared, live.endpoint, id, &conn.peer), live.session);
    stage.outlet.lap(Culprit::Timer, Whose::of(live.endpoint.0, id));
    obey(raw, &mut stage.shared, result, RawClosed::Local, until);
    stage.shared.leave();
}
