//! Descriptors that the program reads and writes itself: asked, told, and looked after.
//!
//! What to know before editing: edges say when to look, and the look decides. A direction that is found not ready has its bit
//! cleared, and waits for the next edge; one that was told stays set, and is looked at again in the next turn, which is
//! what makes a level of it. The end of input stays readable for ever: it is told once, and how much is unread says
//! when.

use crate::conn::raw::{Raw, finish, obey};
use crate::conn::{Conn, Phase, Stage, Step};
use crate::output::{Bits, Link};
use crate::protocol::{ConnId, RawClosed, RawCx};
use crate::shared::{Budget, Live};
use crate::statistics::{Culprit, Whose};
use crate::sys::{DescriptorKind, Readiness};

/// Tells what there is to tell, once for each direction.
pub(super) fn step(stage: &mut Stage, id: ConnId, live: Live, conn: &mut Conn) -> Step {
    stage.shared.enter(id, live, Budget::default());
    let outcome = look(stage, conn);
    stage.shared.leave();
    let Phase::Raw(raw) = &conn.phase else { return Step::Again };
    match (raw.ended(), outcome) {
        (Some(ended), _) | (None, Outcome::Over(ended)) => finish(stage, id, conn, ended),
        (None, Outcome::Wait) => Step::Wait,
        (None, Outcome::Again) => Step::Later,
    }
}

enum Outcome {
    Wait,
    /// There may be more: look again in the next turn.
    Again,
    Over(RawClosed),
}

fn look(stage: &mut Stage, conn: &mut Conn) -> Outcome {
    let Conn { phase: Phase::Raw(raw), link, .. } = conn else { return Outcome::Wait };
    if raw.is_ending() {
        return Outcome::Wait;
    }
    let is_paused = stage.shared.current.is_paused();
    if link.kind == DescriptorKind::Datagrams && link.bits.has(Bits::BROKEN) {
        // An error of one datagram, which reading finds. While that is paused it is taken away: a loop that watches levels would
        // hear of it again and again.
        link.bits.clear(Bits::BROKEN);
        if is_paused {
            let _ = stage.outlet.sys.connected(link.handle);
        }
    }
    let broken = link.bits.has(Bits::BROKEN);
    let reads = raw.has_input(link, &None) && !is_paused;
    let writes = raw.wants_room(&stage.shared.current) && link.bits.has(Bits::WRITABLE);
    if !(reads || writes || broken) {
        return Outcome::Wait;
    }
    if broken && !reads {
        return without_reading(raw, link, raw.wants_room(&stage.shared.current));
    }
    match stage.outlet.sys.look(link.handle, reads, writes) {
        Ok(level) => tell(stage, conn, level, reads, writes),
        Err(error) => Outcome::Over(RawClosed::Broken(Some(error.kind()))),
    }
}

/// It broke, and nothing is to be read now. What is unread while reading is paused waits, unless the program waits for
/// room, which never comes.
fn without_reading(raw: &Raw, link: &Link, wants_room: bool) -> Outcome {
    if raw.has_input(link, &None) && !wants_room {
        return Outcome::Wait;
    }
    Outcome::Over(if raw.is_input_over() { RawClosed::Peer } else { raw.broken() })
}

fn tell(stage: &mut Stage, conn: &mut Conn, level: Readiness, reads: bool, writes: bool) -> Outcome {
    let until = stage.shared.now;
    let Stage { outlet, shared, endpoints, .. } = stage;
    let Conn { phase: Phase::Raw(raw), link, peer, .. } = conn else { return Outcome::Wait };
    let Live { endpoint: index, session, .. } = shared.current.live;
    let Some(endpoint) = endpoints.get_mut(index.get()).and_then(|endpoint| endpoint.plain()) else {
        return Outcome::Wait;
    };
    let id = shared.current.id;
    let mut cx = RawCx::new(shared, index, id, peer);
    let is_over = level.error && link.kind != DescriptorKind::Datagrams;
    let has_input = level.readable || (level.error && link.kind == DescriptorKind::Datagrams);
    if reads && has_input {
        // The end of input is readable for ever. It is told when nothing stands before it.
        let is_end = (level.read_closed || is_over) && outlet.sys.unread(link.handle).unwrap_or(0) == 0;
        let Ok(fd) = outlet.sys.borrow(link.handle) else { return Outcome::Wait };
        let result = endpoint.readable(&mut cx, session, fd);
        obey(raw, &mut cx, result, RawClosed::Local, until);
        outlet.lap_if_watchful(Culprit::Receive, Whose::of(index.0, id));
        if is_end {
            raw.input_is_over();
        }
    } else if reads {
        link.bits.clear(Bits::READABLE);
    }
    if is_over && !raw.has_input(link, &None) {
        return Outcome::Over(if level.read_closed { RawClosed::Peer } else { raw.broken() });
    }
    if writes && level.writable && !raw.is_ending() {
        cx.current.grant_write();
        let Ok(fd) = outlet.sys.borrow(link.handle) else { return Outcome::Wait };
        let result = endpoint.ready(&mut cx, session, fd);
        obey(raw, &mut cx, result, RawClosed::Local, until);
        outlet.lap_if_watchful(Culprit::Writable, Whose::of(index.0, id));
    } else if writes {
        link.bits.clear(Bits::WRITABLE);
    }
    let current = &cx.current;
    let reads = raw.has_input(link, &None) && !current.is_paused();
    let writes = raw.wants_room(current) && link.bits.has(Bits::WRITABLE);
    if reads || writes { Outcome::Again } else { Outcome::Wait }
}
