//! A run from its first connection to its last: the loop's owner.
//!
//! Stages: opening (echo and idle), warm-up, measuring, waiting for what is missing, closing. Messages begin when every
//! connection is open or has failed.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use sockeye::Service;
use sockeye::service::ServiceState as Turned;
use sockeye::statistics::Compressed;

use super::load::{Load, NAME};
use super::pace::Pace;
use super::progress::Progress;
use super::self_usage;
use super::tally::{Latencies, latencies};
use crate::bench::args::{Bench, Mode};
use crate::failure::{self, Failure};

/// A run that is under way.
pub(crate) struct Drive<'a> {
    bench: &'a Bench,
    service: Service,
    load: Rc<RefCell<Load>>,
    /// Set from outside when the run is to end.
    stop: Arc<AtomicBool>,
    progress: Progress,
    /// How late this process was at each beat.
    late: Histogram<u64>,
    /// Messages whose connections were told that they are due.
    woken: u64,
}

/// What is known of the measured time beside what is counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    /// CPU time of this process in nanoseconds, if the system tells.
    pub(crate) own_cpu: Option<u64>,
    pub(crate) interrupted: bool,
    /// How late this process was; only at a fixed rate.
    pub(crate) late: Option<Latencies>,
    pub(crate) compression: Compressed,
}

impl<'a> Drive<'a> {
    pub(crate) fn new(bench: &'a Bench, service: Service, load: Rc<RefCell<Load>>, stop: Arc<AtomicBool>) -> Self {
        Self { bench, service, load, stop, progress: Progress::new(), late: latencies(), woken: 0 }
    }

    /// Runs to the end. What came out is in the [`Load`] then.
    ///
    /// # Errors
    /// There is nothing to report: no connection, or a wrong answer.
    pub(crate) fn run(mut self) -> Result<Measured, Failure> {
        let measured = self.stages();
        self.progress.clear();
        let measured = match measured {
            Ok(measured) => measured,
            // Do not wait for the close of a server that answers wrongly.
            Err(failure) if failure.code == failure::PROTOCOL => return Err(failure),
            Err(failure) => {
                self.close()?;
                return Err(failure);
            }
        };
        self.close()?;
        // The last answers may have come while the connections were being closed.
        if let Some(wrong) = self.load.borrow_mut().wrong.take() {
            return Err(refused(&wrong));
        }
        Ok(measured)
    }

    fn stages(&mut self) -> Result<Measured, Failure> {
        if self.bench.mode != Mode::Handshake {
            self.open()?;
        }
        self.warm_up()?;
        if self.stop.load(Ordering::Relaxed) {
            return Err(Failure::general("interrupted before anything was measured".to_owned()));
        }
        let begin = self.begin();
        let statistics = self.service.statistics().clone();
        let before = self_usage::cpu();
        self.measure(begin)?;
        let own_cpu = self_usage::cpu().zip(before).map(|(after, before)| after.saturating_sub(before));
        let interrupted = self.stop.load(Ordering::Relaxed);
        self.end()?;
        let late = self.bench.rate.map(|_| Latencies::of(&self.late));
        let compression = self.service.statistics().since(&statistics).compression;
        Ok(Measured { own_cpu, interrupted, late, compression })
    }

    /// Opens the connections, so many in a second as was asked for.
    fn open(&mut self) -> Result<(), Failure> {
        self.progress.stage("connecting");
        let wanted = self.bench.connections as usize;
        let (begin, mut asked) = (self.now(), 0);
        while !self.is_cut() {
            let allowed = self.bench.ramp.map_or(wanted, |ramp| {
                let since = (self.now() - begin) as f64 / 1e9;
                wanted.min((since * ramp) as usize + 1)
            });
            while asked < allowed && self.load.borrow().lines.connecting() < AT_ONCE {
                self.connect()?;
                asked += 1;
            }
            if asked == wanted && self.load.borrow().lines.connecting() == 0 {
                break;
            }
            let next = self.bench.ramp.filter(|_| asked < wanted && asked == allowed);
            let next = next.map(|ramp| begin + (asked as f64 / ramp * 1e9) as u64);
            self.turn(next, asked as f64 / wanted as f64)?;
        }
        self.must_have_opened()
    }

    fn connect(&mut self) -> Result<(), Failure> {
        let mut control = self.service.control();
        let protocol = control.protocol_named(NAME);
        let mut protocol = protocol.map_err(|error| Failure::general(error.to_string()))?;
        self.load.borrow_mut().connect(|connect| protocol.connect(connect));
        Ok(())
    }

    /// Lets the load begin, and waits until it is warm.
    fn warm_up(&mut self) -> Result<(), Failure> {
        self.progress.stage("warm-up");
        let warm_up = self.bench.warm_up();
        let now = self.now();
        {
            let load = &mut *self.load.borrow_mut();
            // Without a warm-up the first message counts already.
            load.left = self.bench.count.filter(|_| warm_up.is_zero()).unwrap_or(u64::MAX);
            let connections = load.lines.numbers();
            if let Pace::Open(beat) = &mut load.pace {
                beat.start(now, connections);
            }
        }
        if warm_up.is_zero() {
            return Ok(());
        }
        self.start()?;
        let until = now.saturating_add(nanos(warm_up));
        while self.now() < until && !self.is_cut() && !self.is_alone() {
            let share = (self.now() - now) as f64 / nanos(warm_up) as f64;
            self.step(until, share)?;
        }
        if self.bench.mode == Mode::Handshake { self.must_have_opened() } else { Ok(()) }
    }

    /// Has the first messages sent, or the first connections made.
    fn start(&mut self) -> Result<(), Failure> {
        match self.bench.mode {
            Mode::Echo => {
                let asked = self.service.control().protocol_named(NAME).map(|mut protocol| protocol.request_writable());
                asked.map_err(|error| Failure::general(error.to_string()))?;
            }
            Mode::Handshake => {
                for _ in 0..self.bench.connections {
                    let more = self.load.borrow().left > 0;
                    if more {
                        self.load.borrow_mut().left -= 1;
                        self.connect()?;
                    }
                }
            }
            Mode::Idle => {}
        }
        Ok(())
    }

    /// From here on it counts.
    fn begin(&self) -> u64 {
        self.progress.stage("measuring");
        let now = self.now();
        let load = &mut *self.load.borrow_mut();
        load.tally.begin(now);
        load.last_sign = now;
        if let Some(count) = self.bench.count {
            load.left = count;
            if let Pace::Open(beat) = &mut load.pace {
                beat.end_after(now, count);
            }
        }
        now
    }

    fn measure(&mut self, begin: u64) -> Result<(), Failure> {
        if self.bench.warm_up().is_zero() {
            self.start()?;
        }
        let until = match self.bench.count {
            Some(_) => u64::MAX,
            None => begin.saturating_add(nanos(self.bench.duration)),
        };
        loop {
            let now = self.now();
            let done = {
                let load = self.load.borrow();
                self.bench.count.map_or((now - begin) as f64 / (until - begin) as f64, |count| {
                    load.tally.messages() as f64 / count as f64
                })
            };
            if now >= until || self.is_cut() || self.is_alone() || self.is_counted(now) || self.is_stalled(now) {
                break;
            }
            self.step(until, done)?;
        }
        let now = self.now();
        self.load.borrow_mut().tally.end(now);
        Ok(())
    }

    /// Nothing new begins; waits for what is missing.
    fn end(&mut self) -> Result<(), Failure> {
        self.progress.stage("finishing");
        let now = self.now();
        {
            let load = &mut *self.load.borrow_mut();
            load.left = 0;
            load.last_sign = load.last_sign.max(now);
            if let Pace::Open(beat) = &mut load.pace {
                beat.end_now(now);
            }
        }
        // What has become due since the last turn.
        self.wake();
        while !self.is_missing_nothing() && self.load.borrow().wrong.is_none() {
            let now = self.now();
            if self.gives_up(now) {
                break;
            }
            self.turn(Some(now + nanos(LOOK)), 1.0)?;
        }
        let load = &mut *self.load.borrow_mut();
        if let Some(wrong) = load.wrong.take() {
            return Err(refused(&wrong));
        }
        let unanswered = load.in_flight;
        let grace = self.bench.grace;
        load.lines.errors.add("unanswered", unanswered, || format!("no answer for {} s", grace.as_secs_f64()));
        if let Pace::Open(beat) = &load.pace {
            let unsent = beat.end().saturating_sub(load.sent);
            load.lines.errors.add("unsent", unsent, || "the connection was closed or did not accept data".to_owned());
        }
        Ok(())
    }

    /// Closes every connection gracefully.
    fn close(&mut self) -> Result<(), Failure> {
        self.load.borrow_mut().closing = true;
        self.load.borrow_mut().left = 0;
        self.service.drain();
        while self.run_once(None)? == Turned::Running && self.load.borrow().wrong.is_none() {}
        Ok(())
    }

    /// One turn of the loop while messages go out, with the wake-ups of the beat.
    fn step(&mut self, until: u64, share: f64) -> Result<(), Failure> {
        let Some(next) = self.wake() else { return self.turn(Some(until), share) };
        // The poller waits in whole milliseconds; the rest is waited for by looking.
        let now = self.now();
        let gap = next.min(until).saturating_sub(now);
        let wait = if gap >= 2 * MILLISECOND { gap - MILLISECOND } else { 0 };
        self.turn(Some(now + wait), share)
    }

    /// At a fixed rate: has the messages sent that have become due, and says when the next one will.
    fn wake(&mut self) -> Option<u64> {
        let load = self.load.borrow();
        let Pace::Open(beat) = &load.pace else { return None };
        let now = load.clock.now();
        let (first, end) = (self.woken, beat.due(now));
        if end > first {
            self.woken = end;
            self.late.saturating_record(now.saturating_sub(beat.moment(first)));
            let mut control = self.service.control();
            // More messages than connections: each is woken once.
            for message in first..end.min(first + load.lines.numbers() as u64) {
                if let Some(id) = load.lines.get(beat.connection(message)) {
                    // If it is over by now, its messages are counted as not sent.
                    if let Ok(mut connection) = control.connection(id) {
                        connection.request_writable();
                    }
                }
            }
        }
        Some(beat.moment(end))
    }

    /// One turn of the loop, until that moment at most.
    fn turn(&mut self, until: Option<u64>, share: f64) -> Result<(), Failure> {
        let now = self.now();
        let wait = until.map_or(LOOK, |until| Duration::from_nanos(until.saturating_sub(now)).min(LOOK));
        self.run_once(Some(wait))?;
        let load = self.load.borrow();
        self.progress.show(now, share, load.answered(), load.lines.living);
        Ok(())
    }

    fn run_once(&mut self, wait: Option<Duration>) -> Result<Turned, Failure> {
        self.service.run_once(wait).map_err(|error| Failure::general(error.to_string()))
    }

    fn now(&self) -> u64 {
        self.load.borrow().clock.now()
    }

    /// It is asked to end, or its result is of no use any more.
    fn is_cut(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.load.borrow().wrong.is_some()
    }

    /// No connection is left.
    fn is_alone(&self) -> bool {
        let load = self.load.borrow();
        match self.bench.mode {
            Mode::Handshake => load.lines.is_hopeless() && load.lines.connecting() == 0,
            Mode::Echo | Mode::Idle => load.lines.living == 0,
        }
    }

    /// All that was to be counted is.
    fn is_counted(&self, now: u64) -> bool {
        let load = self.load.borrow();
        let sent = match &load.pace {
            Pace::Closed { .. } => load.left == 0,
            Pace::Open(beat) => now >= beat.moment(beat.end()),
        };
        self.bench.count.is_some() && sent && self.is_missing_nothing()
    }

    fn is_missing_nothing(&self) -> bool {
        let load = self.load.borrow();
        match self.bench.mode {
            Mode::Echo => load.is_settled(load.clock.now()),
            Mode::Handshake => load.lines.connecting() == 0 && load.lines.living == 0,
            Mode::Idle => true,
        }
    }

    /// A count has no end of its own when a server stops answering.
    fn is_stalled(&self, now: u64) -> bool {
        self.bench.count.is_some() && !self.is_missing_nothing() && self.gives_up(now)
    }

    fn gives_up(&self, now: u64) -> bool {
        now.saturating_sub(self.load.borrow().last_sign) >= nanos(self.bench.grace)
    }

    fn must_have_opened(&self) -> Result<(), Failure> {
        let load = &mut *self.load.borrow_mut();
        if load.lines.opened > 0 || self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let nothing = || Failure::general("no connection could be opened in time".to_owned());
        Err(load.lines.take_first_failure().unwrap_or_else(nothing))
    }
}

/// No figures: they would be of something else than an echo.
fn refused(wrong: &str) -> Failure {
    Failure { code: failure::PROTOCOL, message: format!("wrong answer, so no figures are reported: {wrong}") }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Connections under way at a time while they are opened: as many as most servers let wait.
const AT_ONCE: usize = 128;

/// How often the stages look around when nothing happens.
const LOOK: Duration = Duration::from_millis(50);

/// In nanoseconds.
const MILLISECOND: u64 = 1_000_000;
