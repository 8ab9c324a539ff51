//! What Autobahn's fuzzing server asks of a client, one connection after the other: it says how many cases there are, each
//! case is a connection on which everything is echoed, and at the end it is told to write its reports.

use std::{cell::RefCell, rc::Rc};

use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::proto::close::Cause;
use sockeye::protocol::ProtocolMut;
use sockeye::{
    Close, CloseCode, Closed, ClosedCx, Commands, Compression, ConnId, Connect, Failure, Handshake, Service,
};

use crate::link;

/// The name of the client in the reports.
const AGENT: &str = "sockeye";

/// Does all the cases of the fuzzing server at `url`.
pub(crate) fn run(url: &str) -> Result<(), String> {
    let outcome = Rc::new(RefCell::new(Err("the service ended before the cases were done".to_owned())));
    let testee = Testee { url: url.to_owned(), step: Step::Count, cases: 0, outcome: outcome.clone() };
    let first = testee.connect()?;
    let protocol = messages::with("testee", testee).compression(Compression::new());
    let mut service = Service::builder().protocol(protocol).build().map_err(|error| error.to_string())?;
    service
        .control()
        .protocol_named("testee")
        .map(|mut protocol| protocol.connect(first))
        .map_err(|error| error.to_string())?;
    service.run().map_err(|error| error.to_string())?;
    outcome.borrow().clone()
}

/// What the present connection is for.
#[derive(Clone, Copy, Debug)]
enum Step {
    Count,
    /// From 1 on.
    Case(u64),
    Report,
}

struct Testee {
    url: String,
    step: Step,
    cases: u64,
    outcome: Rc<RefCell<Result<(), String>>>,
}

impl Testee {
    fn connect(&self) -> Result<Connect, String> {
        let url = self.url.trim_end_matches('/');
        let url = match self.step {
            Step::Count => format!("{url}/getCaseCount"),
            Step::Case(number) => format!("{url}/runCase?case={number}&agent={AGENT}"),
            Step::Report => format!("{url}/updateReports?agent={AGENT}"),
        };
        link::connect(&url)
    }

    /// The connection of this step is over; what comes then?
    fn next(&self, closed: &Closed) -> Result<Option<Step>, String> {
        match self.step {
            // A peer that breaks the rules, or lets go, is what a case may be about: the server judges how it ended.
            Step::Case(number) if number < self.cases => Ok(Some(Step::Case(number + 1))),
            Step::Case(_) => Ok(Some(Step::Report)),
            Step::Count | Step::Report if closed.cause != Cause::Handshake => {
                Err(format!("{:?} ended without a closing handshake: {:?}", self.step, closed.cause))
            }
            Step::Count if self.cases == 0 => Err("the server has no cases".to_owned()),
            Step::Count => Ok(Some(Step::Case(1))),
            Step::Report => Ok(None),
        }
    }

    fn finish(&self, commands: &mut Commands, outcome: Result<(), String>) {
        *self.outcome.borrow_mut() = outcome;
        commands.drain();
    }
}

impl Handler for Testee {
    type State = ();

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {}

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        match self.step {
            Step::Case(_) => cx.push(message).map_err(|_| CloseCode::TRY_AGAIN.into()),
            Step::Count => {
                self.cases = message.as_text().and_then(|text| text.parse().ok()).ok_or(CloseCode::UNSUPPORTED)?;
                Ok(())
            }
            Step::Report => Ok(()),
        }
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, (): (), closed: Closed) {
        let next = self.next(&closed).and_then(|step| {
            let Some(step) = step else { return Ok(None) };
            self.step = step;
            self.connect().map(Some)
        });
        match next {
            Ok(Some(connect)) => drop(cx.own_protocol().connect(connect)),
            Ok(None) => self.finish(cx, Ok(())),
            Err(message) => self.finish(cx, Err(message)),
        }
    }

    fn failed(&mut self, own: &mut ProtocolMut<'_>, _: ConnId, failure: Failure) {
        let message = format!("{:?}: {failure}", self.step);
        self.finish(own, Err(message));
    }
}
