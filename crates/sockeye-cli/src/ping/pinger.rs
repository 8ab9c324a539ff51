//! The protocol that pings.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::json;
use sockeye::log::escape;
use sockeye::proto::conn::ControlPayload;
use sockeye::protocol::ProtocolMut;
use sockeye::{Close, CloseCode, Closed, ClosedCx, ConnId, Cx, Fragment, Handshake, Protocol, Tx};

use crate::failure::{Failure, PROTOCOL};
use crate::log;
use crate::ping::flight::{Flight, Reply};
use crate::ping::probe::Probe;
use crate::ping::statistics::{self, Statistics};
use crate::stdout::Output;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) url: String,
    pub(crate) count: Option<u32>,
    pub(crate) interval: Duration,
    pub(crate) size: usize,
    pub(crate) mirror: bool,
    /// Compression is offered.
    pub(crate) compress: bool,
    pub(crate) flood: bool,
    pub(crate) connections: u32,
    pub(crate) timeout: Duration,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

/// What all connections have in common, and the main thread looks at.
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) stdout: Output,
    pub(crate) statistics: Statistics,
    /// When the first ping was sent, and the last thing happened.
    pub(crate) first: Option<Instant>,
    pub(crate) last: Option<Instant>,
    pub(crate) open: HashSet<ConnId>,
    /// Connections that are not over yet, open or not.
    pub(crate) left: u32,
    /// We ended the connections, so their end is not a failure.
    pub(crate) stopping: bool,
    /// The first thing that went wrong.
    pub(crate) failure: Option<Failure>,
    opened: u32,
}

impl Run {
    pub(crate) fn new(plan: Plan, stdout: Output) -> Self {
        let left = plan.connections;
        Self {
            plan,
            stdout,
            statistics: Statistics::default(),
            first: None,
            last: None,
            open: HashSet::new(),
            left,
            stopping: false,
            failure: None,
            opened: 0,
        }
    }

    fn print(&self, text: &str) {
        self.stdout.push(text.as_bytes());
    }

    /// Another connection is open; its number.
    fn opened(&mut self, id: ConnId, address: &str, is_compressed: bool) -> u32 {
        self.open.insert(id);
        self.opened += 1;
        let plan = &self.plan;
        if self.opened == 1 && !plan.json {
            let compression = match (plan.compress, is_compressed) {
                (false, _) => "",
                (true, true) => ", with compression",
                (true, false) => ", without compression: the server did not accept it",
            };
            self.print(&format!("PING {} ({address}) {} bytes{compression}\n", plan.url, plan.size));
        }
        self.opened
    }

    fn sent(&mut self, now: Instant) {
        self.statistics.transmitted += 1;
        self.first.get_or_insert(now);
        self.last = Some(now);
        if self.plan.flood && !self.plan.json && !self.plan.quiet {
            self.print(".");
        }
    }

    fn replied(&mut self, train: &Train, seq: u32, bytes: usize, rtt: Option<Duration>) {
        match rtt {
            Some(rtt) => self.statistics.reply(rtt),
            None => self.statistics.duplicates += 1,
        }
        let plan = &self.plan;
        if plan.quiet {
        } else if plan.json {
            let object = json!({
                "event": "reply",
                "connection": train.number,
                "seq": seq,
                "bytes": bytes,
                "time_ms": rtt.map(|rtt| statistics::micros(rtt.as_secs_f64() * 1000.0)),
                "duplicate": rtt.is_none(),
            });
            self.print(&format!("{object}\n"));
        } else if plan.flood {
            // The duplicates have no dot to take back.
            if rtt.is_some() {
                self.print("\x08 \x08");
            }
        } else {
            let connection = if plan.connections > 1 { format!("connection={} ", train.number) } else { String::new() };
            let time = rtt.map_or_else(|| "(DUP!)".to_owned(), |rtt| format!("time={} ms", statistics::time(rtt)));
            self.print(&format!("{bytes} bytes from {}: {connection}seq={seq} {time}\n", train.address));
        }
    }

    /// A connection ended, or could not be opened.
    fn ended(&mut self, failure: Option<Failure>) {
        self.left = self.left.saturating_sub(1);
        if let Some(failure) = failure.filter(|_| !self.stopping) {
            if self.plan.connections > 1 {
                log::print(&format!("* {}\n", escape(&failure.message)));
            }
            self.failure.get_or_insert(failure);
        }
    }
}

/// Pings on each of its connections.
pub(crate) struct Pinger {
    run: Rc<RefCell<Run>>,
    random: RandomState,
}

impl Pinger {
    pub(crate) fn new(run: Rc<RefCell<Run>>) -> Self {
        Self { run, random: RandomState::new() }
    }

    /// `payload` begins what came, which has `bytes` bytes, and `is_whole` if the rest is the padding.
    fn reply(
        &self,
        cx: &mut Cx<'_>,
        train: &mut Train,
        payload: &[u8],
        bytes: usize,
        is_whole: bool,
    ) -> Result<(), Close> {
        let Some(probe) = Probe::parse(payload).filter(|probe| probe.id == train.id) else { return Ok(()) };
        let now = Instant::now();
        let mut run = self.run.borrow_mut();
        if !is_whole || bytes != run.plan.size {
            // As ping(8) tells of wrong data bytes. Nothing that was sent is answered by it.
            log::print(&format!("* a reply to seq={} differs from what was sent\n", probe.seq));
            return Ok(());
        }
        let rtt = match train.flight.reply(probe.seq, now) {
            Reply::First(rtt) => Some(rtt),
            Reply::Again => None,
            Reply::Unknown => return Ok(()),
        };
        run.last = Some(now);
        run.replied(train, probe.seq, bytes, rtt);
        if run.plan.count.is_some_and(|count| train.flight.count() >= count) {
            if train.flight.is_answered() {
                return Err(train.arrive(&mut run));
            }
        } else if run.plan.flood && rtt.is_some() {
            train.due = true;
            cx.request_writable();
        }
        Ok(())
    }
}

/// The pings of one connection.
pub(crate) struct Train {
    /// Counted from 1.
    number: u32,
    address: String,
    id: u32,
    flight: Flight,
    /// The next ping wants to be sent.
    due: bool,
    /// It has ended as it should.
    done: bool,
    /// The beginning of the message that is coming, and how long it is so far.
    head: Vec<u8>,
    bytes: usize,
    /// The rest of it is padding.
    is_whole: bool,
}

impl Train {
    /// This connection is finished. How long its close takes does not matter.
    fn arrive(&mut self, run: &mut Run) -> Close {
        if !std::mem::replace(&mut self.done, true) {
            run.ended(None);
        }
        CloseCode::NORMAL.into()
    }
}

impl Protocol for Pinger {
    type Session = Train;

    fn name(&self) -> &str {
        NAME
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> Train {
        let mut run = self.run.borrow_mut();
        let address = cx.peer().to_string();
        let number = run.opened(cx.id(), &address, handshake.compression().is_some());
        let mut hasher = self.random.build_hasher();
        hasher.write_u32(number);
        let id = hasher.finish() as u32;
        cx.request_writable();
        Train {
            number,
            address,
            id,
            flight: Flight::default(),
            due: true,
            done: false,
            head: Vec::new(),
            bytes: 0,
            is_whole: true,
        }
    }

    fn receive(&mut self, cx: &mut Cx<'_>, train: &mut Train, fragment: Fragment<'_>) -> Result<(), Close> {
        let piece = fragment.payload.as_bytes();
        if fragment.first {
            train.head.clear();
            train.bytes = 0;
            train.is_whole = true;
        }
        let missing = Probe::BYTES.saturating_sub(train.head.len()).min(piece.len());
        train.head.extend_from_slice(&piece[..missing]);
        train.is_whole &= Probe::is_padding(&piece[missing..]);
        train.bytes += piece.len();
        if !fragment.last || !self.run.borrow().plan.mirror {
            return Ok(());
        }
        let (head, bytes) = (std::mem::take(&mut train.head), train.bytes);
        let result = self.reply(cx, train, &head, bytes, train.is_whole);
        train.head = head;
        result
    }

    fn writable(&mut self, cx: &mut Cx<'_>, train: &mut Train, tx: Tx<'_>) -> Result<(), Close> {
        let mut run = self.run.borrow_mut();
        let count = run.plan.count;
        let more = |train: &Train| count.is_none_or(|count| train.flight.count() < count);
        if !std::mem::take(&mut train.due) || !more(train) {
            return Ok(());
        }
        let Some(mut permission) = tx.idle() else { return Ok(()) };
        let now = Instant::now();
        let probe = Probe { id: train.id, seq: train.flight.send(now) };
        let text = probe.to_text(run.plan.size);
        run.sent(now);
        if run.plan.mirror {
            let _ = permission.text_owned(text);
        } else {
            // The size was checked with the command line.
            permission.ping(ControlPayload::new(text.as_bytes()).unwrap_or_default());
        }
        // Behind the last one the replies are waited for.
        cx.set_timer(if more(train) { run.plan.interval } else { run.plan.timeout });
        Ok(())
    }

    fn pong(&mut self, cx: &mut Cx<'_>, train: &mut Train, payload: &[u8]) -> Result<(), Close> {
        if self.run.borrow().plan.mirror {
            return Ok(());
        }
        let is_whole = payload.get(Probe::BYTES..).is_some_and(Probe::is_padding);
        self.reply(cx, train, payload, payload.len(), is_whole)
    }

    fn timer(&mut self, cx: &mut Cx<'_>, train: &mut Train) -> Result<(), Close> {
        let mut run = self.run.borrow_mut();
        if run.plan.count.is_some_and(|count| train.flight.count() >= count) {
            return Err(train.arrive(&mut run));
        }
        train.due = true;
        cx.request_writable();
        Ok(())
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, train: Train, closed: Closed) {
        let mut run = self.run.borrow_mut();
        run.open.remove(&cx.id());
        if !train.done {
            run.ended(Some(Failure { code: PROTOCOL, message: closed.to_string() }));
        }
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, failure: sockeye::Failure) {
        self.run.borrow_mut().ended(Some(Failure::from(&failure)));
    }
}

/// Its name in the service; peers do not see it.
pub(crate) const NAME: &str = "ping";
