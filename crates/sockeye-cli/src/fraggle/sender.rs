//! The server of fraggle-protocol: says messages on each connection until there were enough.

use std::io::{self, Write as _};

use sockeye::protocol::Fragmented;
use sockeye::{Close, CloseCode, Cx, Fragment, Handshake, Protocol, Tx};

use super::generator::{Generator, NAME};

/// fraggle-protocol, for all connections of a server.
pub(crate) struct Sender {
    seed: u64,
    /// Messages over all connections after which it ends.
    count: Option<u64>,
    said: u64,
    connections: u64,
}

impl Sender {
    /// The first connection gets the messages of `seed`, the next one those of the seed after it, and so on.
    pub(crate) fn new(seed: u64, count: Option<u64>) -> Self {
        Self { seed, count, said: 0, connections: 0 }
    }

    fn is_over(&self) -> bool {
        self.count.is_some_and(|count| self.said >= count)
    }

    fn tell(&mut self, talk: &Talk) {
        self.said += 1;
        let message = talk.generator.message();
        // The output may have no reader.
        let _ = writeln!(
            io::stdout(),
            "connection {}: sent message {}: {} fragments, {} bytes, sum {:#010x}",
            talk.number,
            talk.said,
            message.fragments,
            message.bytes,
            message.sum
        );
    }
}

/// One connection.
pub(crate) struct Talk {
    number: u64,
    generator: Generator,
    said: u64,
    /// A message was said, and its sum is next.
    sum_is_due: bool,
}

impl Talk {
    /// Sends the next frame; gives the permission for another one, if there is one now.
    fn say<'a>(&mut self, tx: Tx<'a>) -> Option<Tx<'a>> {
        match tx {
            Tx::Idle(writable) if self.sum_is_due => {
                self.sum_is_due = false;
                self.said += 1;
                writable.binary(&self.generator.message().sum.to_be_bytes()).more().map(Tx::Idle)
            }
            Tx::Idle(writable) => {
                let (fragment, last) = self.generator.fragment();
                self.sum_is_due = last;
                if last {
                    return writable.binary(fragment).more().map(Tx::Idle);
                }
                writable.begin_binary(fragment).more().map(Fragmented::Binary).map(Tx::Mid)
            }
            Tx::Mid(Fragmented::Binary(rest)) => {
                let (fragment, last) = self.generator.fragment();
                self.sum_is_due = last;
                if last {
                    return rest.finish(fragment).more().map(Tx::Idle);
                }
                rest.fragment(fragment).more().map(Fragmented::Binary).map(Tx::Mid)
            }
            // No text is ever begun here.
            _ => None,
        }
    }
}

impl Protocol for Sender {
    type Session = Talk;

    fn name(&self) -> &str {
        NAME
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) -> Talk {
        let seed = self.seed.wrapping_add(self.connections);
        self.connections += 1;
        cx.request_writable();
        Talk { number: self.connections, generator: Generator::new(seed), said: 0, sum_is_due: false }
    }

    /// Clients of this protocol say nothing.
    fn receive(&mut self, _: &mut Cx<'_>, _: &mut Talk, _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, talk: &mut Talk, tx: Tx<'_>) -> Result<(), Close> {
        let mut tx = Some(tx);
        while let Some(permission) = tx.take() {
            let said = talk.said;
            tx = talk.say(permission);
            if talk.said == said {
                continue;
            }
            self.tell(talk);
            if self.is_over() {
                cx.drain();
                return Err(CloseCode::NORMAL.into());
            }
        }
        cx.request_writable();
        Ok(())
    }
}
