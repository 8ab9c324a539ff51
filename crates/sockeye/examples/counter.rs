//! The `Protocol` trait: a counter for each connection, with sessions, a periodic tick, and sending when the socket is
//! writable.
//!
//! `cargo run --example counter [ADDRESS]`, then `cargo run -- connect ws://127.0.0.1:7681/`. Send `reset` to start over and
//! `stop` to be closed. Prints how each connection ended.

use std::time::Duration;

use sockeye::proto::conn::ControlPayload;
use sockeye::protocol::ProtocolMut;
use sockeye::{Close, CloseCode, Closed, ClosedCx, Cx, Fragment, Handshake, Protocol, Service, Tx};

/// One object for all connections. They share its fields without a lock.
#[derive(Default)]
struct Counter {
    sent: u64,
}

/// One for each connection.
#[derive(Default)]
struct Session {
    next: u64,
    /// The start of the message that is arriving.
    command: String,
}

/// The longest command, in bytes: what a session keeps has a bound.
const LONGEST: usize = 5;

impl Protocol for Counter {
    type Session = Session;

    fn name(&self) -> &str {
        "counter"
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) -> Session {
        println!("{} connected from {}", cx.id(), cx.peer());
        cx.set_timer(Duration::from_secs(10));
        Session::default()
    }

    /// Messages arrive in pieces, as the network cuts them.
    fn receive(&mut self, _: &mut Cx<'_>, session: &mut Session, fragment: Fragment<'_>) -> Result<(), Close> {
        let sockeye::Payload::Text(text) = fragment.payload else { return Err(CloseCode::UNSUPPORTED.into()) };
        if session.command.len() + text.len() > LONGEST {
            return Err(CloseCode::POLICY.into());
        }
        session.command.push_str(text);
        if !fragment.last {
            return Ok(());
        }
        match std::mem::take(&mut session.command).as_str() {
            "reset" => session.next = 0,
            "stop" => return Err(CloseCode::NORMAL.into()),
            _ => return Err(CloseCode::POLICY.into()),
        }
        Ok(())
    }

    /// The only place to send from: the socket is writable, and a callback was requested.
    fn writable(&mut self, _: &mut Cx<'_>, session: &mut Session, tx: Tx<'_>) -> Result<(), Close> {
        // `None` only inside a fragmented message, and this protocol sends none.
        let Some(mut permission) = tx.idle() else { return Ok(()) };
        if session.next % 100 == 99 {
            permission.ping(ControlPayload::EMPTY); // a ping goes beside the messages
        }
        permission.text(&session.next.to_string());
        session.next += 1;
        self.sent += 1;
        Ok(())
    }

    fn pong(&mut self, cx: &mut Cx<'_>, _: &mut Session, _: &[u8]) -> Result<(), Close> {
        println!("{} is there", cx.id());
        Ok(())
    }

    /// Ten seconds after `open`, once.
    fn timer(&mut self, cx: &mut Cx<'_>, session: &mut Session) -> Result<(), Close> {
        println!("{} has counted to {}", cx.id(), session.next);
        Ok(())
    }

    /// By value: nothing can follow.
    fn closed(&mut self, cx: &mut ClosedCx<'_>, session: Session, closed: Closed) {
        let code = closed.code_seen();
        println!("{} is gone at {}: code {code}, {:?}; {} sent in all", cx.id(), session.next, closed.cause, self.sent);
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(50))
    }

    /// A peer that does not keep up misses ticks, not numbers.
    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        own.request_writable();
    }
}

fn main() -> Result<(), sockeye::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7681".to_owned());
    let mut service = Service::builder().protocol(Counter::default()).listen(address).build()?;
    println!("listening on ws://{}/, {} connections at most", service.local_addresses()[0], service.max_connections());
    service.run()
}
