//! Many connections of one client: opens them to an echo server, answers its pings, and reports at the end whether one was
//! lost.
//!
//! `cargo run --release -- echo` in one terminal, `cargo run --release --example hold [URL [CONNECTIONS [SECONDS]]]` in
//! another: 1,000 connections for 60 seconds unless given.

use std::cell::Cell;
use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::proto::time::Instant;
use sockeye::protocol::ProtocolMut;
use sockeye::{Close, Closed, ClosedCx, Commands, ConnId, Connect, Failure, Handshake, Limits, Service};

/// Connects under way at a time: a server has a queue of those it has not accepted.
const AT_ONCE: usize = 100;

struct Hold {
    connect: Connect,
    wanted: usize,
    asked: usize,
    open: usize,
    gone: usize,
    answered: usize,
    time: Duration,
    /// Once all are open.
    until: Option<Instant>,
    /// Each was asked for an answer; if one does not come in ten seconds more, it will not.
    asking: bool,
    lost: Rc<Cell<usize>>,
}

impl Hold {
    /// Reports the result and ends. Connections that close from now on are not lost.
    fn end(&mut self, commands: &mut Commands) {
        self.lost.set(self.wanted.saturating_sub(self.answered));
        println!("held={} lost={} answered={}", self.open, self.lost.get(), self.answered);
        self.until = None;
        commands.drain();
    }
}

impl Handler for Hold {
    type State = ();

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
        self.open += 1;
        if self.asked < self.wanted {
            self.asked += 1;
            cx.own_protocol().connect(self.connect.clone());
        }
        if self.open == self.wanted {
            println!("all open");
            self.until = Some(cx.now() + self.time);
        }
    }

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut (), _: Message<'_>) -> Result<(), Close> {
        self.answered += 1;
        if self.answered == self.open {
            self.end(cx);
        }
        Ok(())
    }

    fn failed(&mut self, own: &mut ProtocolMut<'_>, _: ConnId, failure: Failure) {
        eprintln!("{failure}");
        self.end(own);
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, (): (), closed: Closed) {
        if self.until.is_some() {
            eprintln!("lost {}: {:?}", cx.id(), closed.cause);
            self.gone += 1;
            if self.gone == self.open {
                self.end(cx); // nothing is left that could tick
            }
        }
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        let Some(until) = self.until else { return };
        if own.now() >= until && !self.asking {
            self.asking = true;
            own.publish_text("are you there?");
        } else if own.now() >= until + Duration::from_secs(10) {
            self.end(own);
        }
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:9001/".to_owned());
    let wanted = arguments.next().map_or(Ok(1000), |text| text.parse())?;
    let time = Duration::from_secs(arguments.next().map_or(Ok(60), |text| text.parse())?);

    let (connect, lost) = (Connect::new(&url)?.subprotocol("echo")?, Rc::default());
    let (first, asked) = (connect.clone(), AT_ONCE.min(wanted));
    let hold = Hold {
        wanted,
        asked,
        time,
        connect,
        lost: Rc::clone(&lost),
        open: 0,
        gone: 0,
        answered: 0,
        until: None,
        asking: false,
    };
    let mut limits = Limits::default();
    // The pings are to be the server's.
    limits.protocol_mut().ping_after = None;
    let mut service = Service::builder().limits(limits).protocol(messages::with("hold", hold)).build()?;
    for _ in 0..asked {
        service.control().protocol_named("hold")?.connect(first.clone());
    }
    service.run()?;
    let statistics = service.statistics();
    println!("pings={} pongs={}", statistics.received.pings, statistics.sent.pongs);
    Ok(if lost.get() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
