//! A raw endpoint that obeys what it is sent, and peers of it.

use std::cell::{Ref, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sockeye::client::RawConnect;
use sockeye::proto::time::Instant;
use sockeye::raw::{EndpointMut, Raw, RawClose, RawClosed, RawClosedCx, RawCx, RawWritable};
use sockeye::service::ServiceState;
use sockeye::sim::{Faults, Host, Network, Peer};
use sockeye::sys::Address;
use sockeye::{Builder, CloseCode, ConnId, Failure, Limits, Service, messages};

use crate::turns::Turns;

/// What a callback was told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Note {
    Open,
    Ended,
    Timer,
    Closed(RawClosed),
    Failed(String),
}

/// What happened to one connection.
#[derive(Clone, Default)]
pub struct Story {
    pub notes: Vec<Note>,
    pub received: Vec<u8>,
    /// The length of each piece.
    pub pieces: Vec<usize>,
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { notes, received, pieces } = self;
        write!(f, "{notes:?}, {} bytes in {} pieces", received.len(), pieces.len())
    }
}

pub type Log = Rc<RefCell<Vec<(ConnId, Story)>>>;

/// Small letters and the rest are sent back, unless it is mute; capital letters are orders.
pub struct Obeys {
    pub name: &'static str,
    pub is_mute: bool,
    pub log: Log,
    /// How much one permission writes.
    pub chunk: usize,
    /// The most that was written with the permissions of one call.
    pub most: Rc<RefCell<usize>>,
    pub every: Option<Duration>,
}

#[derive(Default)]
pub struct Session {
    out: Vec<u8>,
    sent: usize,
    goes_on: bool,
    /// After what was asked for before has been written.
    half_closes: bool,
    is_shut: bool,
    end: Option<RawClose>,
}

pub const NAME: &str = "obeys";
/// The one that sends nothing back.
pub const MUTE: &str = "mute";

impl Obeys {
    fn note(&self, id: ConnId, note: Note) {
        self.with(id, |story| {
            let is_over = story.notes.iter().any(|note| matches!(note, Note::Closed(_) | Note::Failed(_)));
            assert!(!is_over, "{note:?} after the end: {story:?}");
            assert_eq!(story.notes.is_empty(), matches!(note, Note::Open | Note::Failed(_)), "{note:?}: {story:?}");
            story.notes.push(note);
        });
    }

    fn with(&self, id: ConnId, change: impl FnOnce(&mut Story)) {
        let mut log = self.log.borrow_mut();
        let index = log.iter().position(|(other, _)| *other == id).unwrap_or_else(|| {
            log.push((id, Story::default()));
            log.len() - 1
        });
        change(&mut log[index].1);
    }
}

impl Raw for Obeys {
    type Session = Session;

    fn name(&self) -> &str {
        self.name
    }

    fn open(&mut self, cx: &mut RawCx<'_>) -> Session {
        self.note(cx.id(), Note::Open);
        Session::default()
    }

    fn receive(&mut self, cx: &mut RawCx<'_>, session: &mut Session, bytes: &[u8]) -> Result<(), RawClose> {
        self.with(cx.id(), |story| {
            assert!(!story.notes.contains(&Note::Ended), "received after the end of input");
            story.received.extend_from_slice(bytes);
            story.pieces.push(bytes.len());
        });
        for &byte in bytes {
            match byte {
                b'N' => return Err(RawClose::Normal),
                b'R' => return Err(RawClose::Reset),
                b'C' => cx.close(CloseCode::NORMAL),
                // After what was asked for before has been written.
                b'L' => session.end = Some(RawClose::Normal),
                b'S' => session.half_closes = true,
                b'E' => {
                    cx.shutdown_write();
                    session.is_shut = true;
                }
                b'P' => cx.pause_reading(),
                b'Q' => {
                    cx.pause_reading();
                    cx.set_timer(Duration::from_secs(1));
                }
                b'H' => session.goes_on = true,
                b'B' => session.out.extend(std::iter::repeat_n(b'b', 1 << 20)),
                other if !self.is_mute => session.out.push(other),
                _ => continue,
            }
            cx.request_writable();
        }
        Ok(())
    }

    fn ended(&mut self, cx: &mut RawCx<'_>, session: &mut Session) -> Result<(), RawClose> {
        self.note(cx.id(), Note::Ended);
        if session.goes_on {
            session.out.extend_from_slice(b"after your end");
            session.end = Some(RawClose::Normal);
            cx.request_writable();
            return Ok(());
        }
        Err(RawClose::Normal)
    }

    fn writable(&mut self, cx: &mut RawCx<'_>, session: &mut Session, tx: RawWritable<'_>) -> Result<(), RawClose> {
        assert!(!session.is_shut, "writable after the end of our side");
        let (mut tx, before) = (Some(tx), session.sent);
        while session.sent < session.out.len() {
            let Some(permission) = tx else {
                cx.request_writable();
                break;
            };
            let piece = self.chunk.min(session.out.len() - session.sent);
            tx = permission.write(&session.out[session.sent..session.sent + piece]).more();
            session.sent += piece;
        }
        let mut most = self.most.borrow_mut();
        *most = (session.sent - before).max(*most);
        if session.half_closes && session.sent == session.out.len() {
            cx.shutdown_write();
            session.is_shut = true;
        }
        match session.end {
            Some(end) if session.sent == session.out.len() => Err(end),
            _ => Ok(()),
        }
    }

    fn timer(&mut self, cx: &mut RawCx<'_>, _: &mut Session) -> Result<(), RawClose> {
        self.note(cx.id(), Note::Timer);
        cx.resume_reading();
        Ok(())
    }

    fn closed(&mut self, cx: &mut RawClosedCx<'_>, _: Session, ended: RawClosed) {
        self.note(cx.id(), Note::Closed(ended));
        let id = cx.id();
        assert!(cx.connection(id).is_err(), "nobody is left to be called");
    }

    fn failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, failure: Failure) {
        assert!(own.connection(id).is_err(), "nothing is left of a connect that failed");
        assert!(failure.retry.is_none());
        self.note(id, Note::Failed(failure.to_string()));
    }

    fn adoption_failed(&mut self, _: &mut EndpointMut<'_>, id: ConnId, error: io::Error) {
        self.note(id, Note::Failed(error.to_string()));
    }

    fn interval(&self) -> Option<Duration> {
        self.every
    }

    fn tick(&mut self, own: &mut EndpointMut<'_>) {
        assert!(own.connections() > 0);
        own.request_writable();
    }
}

pub struct Bench {
    pub network: Network,
    pub host: Host,
    pub service: Service,
    pub log: Log,
    pub most: Rc<RefCell<usize>>,
    pub drained: bool,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Faults::none(), Limits::default())
    }

    pub fn with(faults: Faults, limits: Limits) -> Self {
        Self::built(faults, 8192, |builder| builder.limits(limits))
    }

    pub fn built(faults: Faults, chunk: usize, describe: impl FnOnce(Builder) -> Builder) -> Self {
        let network = Network::with_faults(1, faults);
        let host = network.host();
        let (log, most) = (Log::default(), Rc::default());
        let (name, is_mute) = (NAME, false);
        let obeys = Obeys { name, is_mute, log: Rc::clone(&log), chunk, most: Rc::clone(&most), every: None };
        let mut builder = Service::builder();
        let raw = builder.add_raw(obeys);
        let builder = builder.protocol(messages::echo("echo"));
        let service = describe(builder)
            .listen(Address::Ip(([127, 0, 0, 1], 80).into()))
            .listen_raw(Address::Ip(([127, 0, 0, 1], 7).into()), raw)
            .build_with(host.sys())
            .expect("the service can be built");
        Self { network, host, service, log, most, drained: false }
    }

    /// Connects to a server.
    pub fn connect_to(&mut self, connect: RawConnect) -> ConnId {
        let before = self.log.borrow().len();
        let id = self.service.control().endpoint_named(NAME).expect("it has the endpoint").connect(connect);
        assert_eq!(self.log.borrow().len(), before, "the outcome came before the call was over");
        id
    }

    /// Everything that was noted of a connection; nothing if there was nothing yet.
    pub fn story_of(&self, id: ConnId) -> Story {
        self.log.borrow().iter().find(|(other, _)| *other == id).map(|(_, story)| story.clone()).unwrap_or_default()
    }

    /// Until this connect failed: how long it took, and why.
    pub fn failed(&mut self, id: ConnId) -> (Duration, String) {
        let took = self.until(|bench| !bench.story_of(id).notes.is_empty());
        match &self.story_of(id).notes[..] {
            [Note::Failed(why)] => (took, why.clone()),
            other => panic!("it did not fail: {other:?}"),
        }
    }

    pub fn connect(&self) -> Peer {
        let address = self.service.local_addresses()[1].clone();
        self.network.connect(&address).expect("somebody listens")
    }

    pub fn turn(&mut self) {
        if !self.drained {
            let progress = self.service.run_once(Some(Duration::ZERO)).expect("the poller works");
            self.drained = progress == ServiceState::Drained;
        }
    }

    /// Takes turns until `done`, for ten virtual minutes at most; says how long it took.
    pub fn until(&mut self, mut done: impl FnMut(&Self) -> bool) -> Duration {
        let (came, took) = self.turn_until(Duration::from_secs(600), |bench| done(bench));
        assert!(came, "it did not come: {:?}", self.log.borrow());
        took
    }

    /// Takes turns until nothing is left to do at this moment.
    pub fn settle(&mut self) {
        self.turn_for(Duration::from_millis(1));
    }

    pub fn story(&self, number: usize) -> Ref<'_, Story> {
        Ref::map(self.log.borrow(), |log| &log[number].1)
    }

    pub fn id(&self, number: usize) -> ConnId {
        self.log.borrow()[number].0
    }

    pub fn is_open(&self, number: usize) -> bool {
        self.log.borrow().len() > number
    }

    pub fn closed(&self, number: usize) -> Option<RawClosed> {
        let log = self.log.borrow();
        log.get(number)?.1.notes.iter().find_map(|note| match note {
            Note::Closed(ended) => Some(*ended),
            _ => None,
        })
    }

    /// All peers left, and nothing is left of them.
    pub fn finish(mut self) {
        self.until(|bench| bench.service.connections() == 0);
        let listeners = if self.drained { 0 } else { 2 };
        assert_eq!(self.host.open_handles(), listeners, "handles are left");
        let (host, log) = (self.host.clone(), Rc::clone(&self.log));
        drop(self);
        assert_eq!(host.leaked_handles(), 0);
        for (id, story) in log.borrow().iter() {
            let last = story.notes.last();
            assert!(matches!(last, Some(Note::Closed(_) | Note::Failed(_))), "{id} has no end: {story:?}");
        }
    }
}

impl Turns for Bench {
    fn network(&self) -> &Network {
        &self.network
    }

    fn turn(&mut self) {
        Self::turn(self);
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.drained { None } else { self.service.next_deadline() }
    }
}
