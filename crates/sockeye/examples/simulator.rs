//! A test of your own protocol in the simulator: no sockets, no sleeping, and a failing run can be repeated by its seed.
//!
//! `cargo run --example simulator`; `SOCKEYE_SEEDS=7 cargo run --example simulator` repeats one seed. In your crate this is a
//! `#[test]`, with `sockeye = { version = "0.1", features = ["sim"] }` below `[dev-dependencies]`.

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::sim::{Network, Outcome, Turn, seeds};
use sockeye::{Close, CloseCode, Closed, ClosedCx, Connect, Handshake, Service};

/// The protocol under test: answers each line with its number.
struct Numbering;

impl Handler for Numbering {
    type State = u32;

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) -> u32 {
        0
    }

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, lines: &mut u32, message: Message<'_>) -> Result<(), Close> {
        let Some(line) = message.as_text() else { return Err(CloseCode::UNSUPPORTED.into()) };
        *lines += 1;
        cx.push(format!("{lines} {line}")).map_err(|_| CloseCode::TRY_AGAIN)?;
        Ok(())
    }
}

/// Its peer: sends three lines at once, and closes after the third answer.
struct Client {
    answers: Rc<RefCell<Vec<String>>>,
    close_code: Rc<RefCell<Option<u16>>>,
}

impl Handler for Client {
    type State = ();

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
        for line in ["one", "two", "three"] {
            cx.push(line).expect("three short lines fit");
        }
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        let mut answers = self.answers.borrow_mut();
        answers.push(message.as_text().unwrap_or_default().to_owned());
        if answers.len() == 3 { Err(CloseCode::NORMAL.into()) } else { Ok(()) }
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), closed: Closed) {
        *self.close_code.borrow_mut() = Some(closed.code_seen());
    }
}

/// One run. The seed decides where bytes are cut, which writes fall short, and which wake-ups are late or spurious.
fn run(seed: u64) -> Result<(), Box<dyn Error>> {
    let network = Network::new(seed);
    let protocol = messages::with("numbering", Numbering);
    let mut server = Service::builder().protocol(protocol).listen("10.0.0.1:80").build_with(network.sys())?;

    let (answers, close_code) = (Rc::new(RefCell::default()), Rc::new(RefCell::default()));
    let handler = Client { answers: Rc::clone(&answers), close_code: Rc::clone(&close_code) };
    let mut client = Service::builder().protocol(messages::with("client", handler)).build_with(network.sys())?;
    client.control().protocol_named("client")?.connect(Connect::new("ws://10.0.0.1/")?.subprotocol("numbering")?);

    // Virtual time: the network goes on to the next deadline at once.
    let outcome = network.run(|| {
        for service in [&mut server, &mut client] {
            service.run_once(Some(Duration::ZERO)).expect("the simulated poller does not fail");
        }
        if close_code.borrow().is_some() {
            return Turn::Done;
        }
        Turn::Sleep([server.next_deadline(), client.next_deadline()].into_iter().flatten().min())
    });
    assert_eq!(outcome, Outcome::Done, "seed {seed}: the connection did not end");
    assert_eq!(*answers.borrow(), ["1 one", "2 two", "3 three"], "seed {seed}");
    assert_eq!(*close_code.borrow(), Some(1000), "seed {seed}");
    drop((server, client));
    assert_eq!(network.open_handles(), 0, "seed {seed}: a descriptor leaked");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut runs = 0;
    for seed in seeds(200) {
        run(seed)?;
        runs += 1;
    }
    println!("{runs} seeds passed");
    Ok(())
}
