//! Raw endpoints: publishes to all WebSocket clients what a command prints, and what anyone sends to a TCP port.
//!
//! `cargo run --example adopt -- vmstat 1`, then `cargo run -- connect ws://127.0.0.1:9001/` in a second terminal, and
//! `nc 127.0.0.1 9002` in a third to add lines.

use std::error::Error;
use std::process::{Command, Stdio};

use sockeye::raw::{Raw, RawClose, RawClosed, RawClosedCx, RawCx};
use sockeye::sys::Address;
use sockeye::{Commands, Service, messages};

/// A longer line is cut.
const LINE: usize = 4096;

/// Splits input into lines: the command's output and the connections of the TCP port alike.
struct Lines;

impl Raw for Lines {
    /// The incomplete line.
    type Session = Vec<u8>;

    fn name(&self) -> &str {
        "lines"
    }

    fn open(&mut self, _: &mut RawCx<'_>) -> Vec<u8> {
        Vec::new()
    }

    fn receive(&mut self, cx: &mut RawCx<'_>, line: &mut Vec<u8>, bytes: &[u8]) -> Result<(), RawClose> {
        for &byte in bytes {
            if byte != b'\n' {
                line.push(byte);
            }
            if byte == b'\n' || line.len() == LINE {
                publish(cx, line);
            }
        }
        Ok(())
    }

    fn ended(&mut self, cx: &mut RawCx<'_>, line: &mut Vec<u8>) -> Result<(), RawClose> {
        if !line.is_empty() {
            publish(cx, line);
        }
        Err(RawClose::Normal)
    }

    fn closed(&mut self, cx: &mut RawClosedCx<'_>, _: Vec<u8>, ended: RawClosed) {
        // A pipe has no peer address: the command has exited, so stop as well.
        if *cx.peer() == Address::Unnamed {
            println!("the command's output ended: {ended}");
            cx.drain();
        }
    }
}

fn publish(commands: &mut Commands, line: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(line);
    commands.protocol_named("feed").expect("there is such a protocol").publish_text(&text);
    line.clear();
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().ok_or("usage: adopt COMMAND [ARGUMENT]...")?;
    let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn()?;
    let mut builder = Service::builder().protocol(messages::on("feed", |_, _| Ok(())));
    let lines = builder.add_raw(Lines);
    let mut service = builder.listen("127.0.0.1:9001").listen_raw("127.0.0.1:9002", lines).build()?;
    let output = child.stdout.take().ok_or("the command has no output")?;
    service.control().endpoint(lines)?.adopt(output);
    service.run()?;
    child.wait()?;
    Ok(())
}
