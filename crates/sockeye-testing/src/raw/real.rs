//! A service on the real system, in a loop of its own or in one over poll(2).

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sockeye::poll::{Mode, PollHook, Ready};
use sockeye::raw::{EndpointMut, Raw, RawClose, RawClosed, RawClosedCx, RawCx, RawWritable};
use sockeye::service::ServiceState;
use sockeye::{Builder, ConnId, Failure, Service, messages};

use super::bench::{Log, MUTE, NAME, Note, Obeys, Story};

/// Longer than anything here takes.
const HUNG: Duration = Duration::from_secs(20);

/// What the loop outside watches.
#[derive(Clone, Default)]
struct Watched(Rc<RefCell<BTreeMap<RawFd, Mode>>>);

impl PollHook for Watched {
    fn add(&mut self, fd: RawFd, mode: Mode) -> io::Result<()> {
        assert!(self.0.borrow_mut().insert(fd, mode).is_none(), "{fd} was added twice");
        Ok(())
    }

    fn remove(&mut self, fd: RawFd) {
        assert!(self.0.borrow_mut().remove(&fd).is_some(), "{fd} was removed and not there");
    }

    fn set_mode(&mut self, fd: RawFd, mode: Mode) {
        *self.0.borrow_mut().get_mut(&fd).expect("it is watched") |= mode;
    }

    fn clear_mode(&mut self, fd: RawFd, mode: Mode) {
        *self.0.borrow_mut().get_mut(&fd).expect("it is watched") -= mode;
    }
}

impl Watched {
    /// One call of poll(2).
    fn poll(&self, timeout: Duration) -> Vec<(RawFd, Ready)> {
        let watched: Vec<_> = self.0.borrow().iter().map(|(&fd, &mode)| (fd, mode)).collect();
        let mut asked: Vec<_> = watched.iter().map(|&(fd, mode)| asked(fd, mode)).collect();
        poll(&mut asked, Some(&Timespec::try_from(timeout).unwrap())).unwrap();
        let seen = asked.iter().map(|asked| Ready::from_revents(asked.revents().bits() as i16));
        watched.iter().map(|&(fd, _)| fd).zip(seen).filter(|(_, seen)| *seen != Ready::default()).collect()
    }
}

fn asked(fd: RawFd, mode: Mode) -> PollFd<'static> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, mode.readable);
    flags.set(PollFlags::OUT, mode.writable);
    // SAFETY: the hook is told before a descriptor is closed, so the number is that of an open one for this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    PollFd::from_borrowed_fd(fd, flags)
}

/// Pours its bytes out from the beginning, each permission a chunk, and then ends.
struct Pours {
    obeys: Obeys,
    bytes: Rc<RefCell<Vec<u8>>>,
}

pub const POURS: &str = "pours";

impl Raw for Pours {
    type Session = usize;

    fn name(&self) -> &str {
        POURS
    }

    fn open(&mut self, cx: &mut RawCx<'_>) -> usize {
        self.obeys.open(cx);
        cx.request_writable();
        0
    }

    fn receive(&mut self, cx: &mut RawCx<'_>, _: &mut usize, bytes: &[u8]) -> Result<(), RawClose> {
        self.obeys.receive(cx, &mut Default::default(), bytes)
    }

    fn writable(&mut self, cx: &mut RawCx<'_>, sent: &mut usize, tx: RawWritable<'_>) -> Result<(), RawClose> {
        let bytes = self.bytes.borrow();
        let mut tx = Some(tx);
        while let Some(permission) = tx {
            let piece = &bytes[*sent..(*sent + self.obeys.chunk).min(bytes.len())];
            *sent += piece.len();
            tx = permission.write(piece).more();
            if *sent == bytes.len() {
                return Err(RawClose::Normal);
            }
        }
        cx.request_writable();
        Ok(())
    }

    fn closed(&mut self, cx: &mut RawClosedCx<'_>, _: usize, ended: RawClosed) {
        self.obeys.closed(cx, Default::default(), ended);
    }

    fn failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, failure: Failure) {
        self.obeys.failed(own, id, failure);
    }

    fn adoption_failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, error: io::Error) {
        self.obeys.adoption_failed(own, id, error);
    }
}

pub struct Real {
    pub service: Service,
    outside: Option<Watched>,
    pub log: Log,
    pub pour: Rc<RefCell<Vec<u8>>>,
    pub drained: bool,
}

/// Runs a test in both loops.
pub fn both(test: impl Fn(Real)) {
    both_with(8192, |builder| builder, test);
}

pub fn both_with(chunk: usize, describe: impl Fn(Builder) -> Builder, test: impl Fn(Real)) {
    for is_outside in [false, true] {
        let (log, pour) = (Log::default(), Rc::default());
        let obeys = |name, is_mute| {
            let (log, most) = (Rc::clone(&log), Rc::default());
            Obeys { name, is_mute, log, chunk, most, every: None }
        };
        let pours = Pours { obeys: obeys(POURS, true), bytes: Rc::clone(&pour) };
        let builder = describe(
            Service::builder()
                .raw(obeys(NAME, false))
                .raw(obeys(MUTE, true))
                .raw(pours)
                .protocol(messages::echo("echo")),
        );
        let watched = Watched::default();
        let (service, outside) = if is_outside {
            (builder.build_external(watched.clone()).unwrap(), Some(watched))
        } else {
            (builder.build().unwrap(), None)
        };
        test(Real { service, outside, log, pour, drained: false });
    }
}

impl Real {
    /// Gives a descriptor to the endpoint that obeys.
    pub fn adopt(&mut self, fd: impl Into<OwnedFd>) -> ConnId {
        self.adopt_as(NAME, fd)
    }

    pub fn adopt_as(&mut self, name: &str, fd: impl Into<OwnedFd>) -> ConnId {
        let (before, expected) = (self.log.borrow().len(), self.log.borrow().len() + 1);
        let id = self.service.control().endpoint_named(name).unwrap().adopt(fd);
        assert_eq!(self.log.borrow().len(), before, "the outcome came before the call was over");
        self.until(|real| real.log.borrow().len() == expected);
        assert_eq!(self.log.borrow()[before].0, id);
        id
    }

    /// One turn, which waits.
    pub fn turn(&mut self, most: Duration) {
        if let Some(watched) = &self.outside {
            let timeout = self.service.next_timeout().unwrap_or(most).min(most);
            for (fd, ready) in watched.poll(timeout) {
                match self.service.service_fd(fd, ready) {
                    Ok(progress) => self.drained |= progress == ServiceState::Drained,
                    Err(error) => assert!(error.is_unknown_descriptor(), "{error}"),
                }
            }
        }
        self.drained |= self.service.run_once(Some(most)).unwrap() == ServiceState::Drained;
    }

    pub fn until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let begin = Instant::now();
        while !done(self) {
            assert!(begin.elapsed() < HUNG, "it did not come: {:?}", self.log.borrow());
            // Others may be read from in between, whom nobody waits for here.
            self.turn(Duration::from_millis(1));
        }
    }

    /// Whether nothing is left to do in the end, and no loop would wake up for anything. A loop that spins never comes
    /// to that; what the system has still under way may take a moment.
    pub fn is_quiet(&mut self) -> bool {
        (0..1000).any(|_| self.is_quiet_now())
    }

    fn is_quiet_now(&mut self) -> bool {
        let before = self.service.statistics().work;
        for _ in 0..3 {
            self.turn(Duration::ZERO);
        }
        let after = self.service.statistics().work;
        (before.events, before.steps) == (after.events, after.steps)
            && !self.service.has_pending_work()
            && self.outside.as_ref().is_none_or(|watched| watched.poll(Duration::ZERO).is_empty())
    }

    pub fn story(&self, id: ConnId) -> Ref<'_, Story> {
        Ref::map(self.log.borrow(), |log| &log.iter().find(|(other, _)| *other == id).expect("it is known").1)
    }

    pub fn received(&self, id: ConnId) -> Vec<u8> {
        self.story(id).received.clone()
    }

    pub fn closed(&self, id: ConnId) -> Option<RawClosed> {
        self.story(id).notes.iter().find_map(|note| match note {
            Note::Closed(ended) => Some(*ended),
            _ => None,
        })
    }

    /// Waits for the end, and says how it was.
    pub fn end_of(&mut self, id: ConnId) -> RawClosed {
        self.until(|real| real.closed(id).is_some());
        self.closed(id).unwrap()
    }
}
