//! A proxy for protocols of lines that shows each line: raw connections in, and for each of them a raw connection out.
//!
//! `cargo run --example line_proxy -- SERVER [ADDRESS]`, with a server such as `localhost:6379`, and then `nc ADDRESS`.

use std::collections::HashMap;

use sockeye::client::RawConnect;
use sockeye::raw::{EndpointMut, Raw, RawClose, RawClosed, RawClosedCx, RawCx, RawWritable};
use sockeye::{ConnId, Failure, Service};

/// The longest line in bytes.
const LINE_BYTES: usize = 64 * 1024;

struct Proxy {
    server: RawConnect,
    /// Here and not in sessions: the callbacks of one connection write to the other.
    sides: HashMap<ConnId, Side>,
}

struct Side {
    other: ConnId,
    /// The beginning of a line from this peer.
    line: Vec<u8>,
    /// What waits for this peer.
    output: Vec<u8>,
    /// The other peer sends nothing more.
    has_all: bool,
}

impl Side {
    fn new(other: ConnId) -> Self {
        Self { other, line: Vec::new(), output: Vec::new(), has_all: false }
    }
}

impl Raw for Proxy {
    type Session = ();

    fn name(&self) -> &str {
        "proxy"
    }

    fn open(&mut self, cx: &mut RawCx<'_>) {
        let id = cx.id();
        if cx.is_client() {
            cx.request_writable(); // for what came while it connected
        } else {
            let server = cx.own_endpoint().connect(self.server.clone());
            self.sides.insert(id, Side::new(server));
            self.sides.insert(server, Side::new(id));
        }
    }

    fn receive(&mut self, cx: &mut RawCx<'_>, (): &mut (), bytes: &[u8]) -> Result<(), RawClose> {
        let own = self.sides.get_mut(&cx.id()).ok_or(RawClose::Normal)?;
        own.line.extend_from_slice(bytes);
        let whole = own.line.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        if own.line.len() - whole > LINE_BYTES {
            return Err(RawClose::Reset);
        }
        let (lines, to): (Vec<u8>, ConnId) = (own.line.drain(..whole).collect(), own.other);
        let arrow = if cx.is_client() { '<' } else { '>' };
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            println!("{arrow} {}", line.trim_ascii_end().escape_ascii());
        }
        if let (false, Some(other)) = (lines.is_empty(), self.sides.get_mut(&to)) {
            other.output.extend(lines);
            cx.pause_reading(); // until the other side has it: so what waits is bounded
            ask_to_write(cx, to);
        }
        Ok(())
    }

    fn ended(&mut self, cx: &mut RawCx<'_>, (): &mut ()) -> Result<(), RawClose> {
        let own = self.sides.get(&cx.id()).ok_or(RawClose::Normal)?;
        let to = own.other;
        self.sides.get_mut(&to).ok_or(RawClose::Normal)?.has_all = true;
        ask_to_write(cx, to);
        Ok(()) // the answers still go to this peer
    }

    fn writable(&mut self, cx: &mut RawCx<'_>, (): &mut (), tx: RawWritable<'_>) -> Result<(), RawClose> {
        let own = self.sides.get_mut(&cx.id()).ok_or(RawClose::Normal)?;
        tx.write(&own.output);
        own.output.clear();
        if own.has_all {
            cx.shutdown_write();
        } else if let Ok(mut other) = cx.connection(own.other) {
            other.resume_reading();
        }
        Ok(())
    }

    fn closed(&mut self, cx: &mut RawClosedCx<'_>, (): (), _: RawClosed) {
        let id = cx.id();
        self.end_other(&mut cx.own_endpoint(), id);
    }

    fn failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, failure: Failure) {
        println!("{failure}");
        self.end_other(own, id);
    }
}

impl Proxy {
    fn end_other(&mut self, own: &mut EndpointMut<'_>, id: ConnId) {
        let Some(side) = self.sides.remove(&id) else { return };
        if let Some(mut other) = self.sides.get_mut(&side.other).and_then(|_| own.connection(side.other).ok()) {
            other.request_writable(); // what waits for it, and then the end
        }
        if let Some(other) = self.sides.get_mut(&side.other) {
            other.has_all = true;
        }
    }
}

fn ask_to_write(cx: &mut RawCx<'_>, id: ConnId) {
    if let Ok(mut connection) = cx.connection(id) {
        connection.request_writable();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let server = RawConnect::new(&arguments.next().ok_or("line_proxy SERVER [ADDRESS]")?)?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7682".to_owned());
    let mut builder = Service::builder();
    let proxy = builder.add_raw(Proxy { server, sides: HashMap::new() });
    let mut service = builder.listen_raw(address, proxy).build()?;
    println!("listening on tcp://{}", service.local_addresses()[0]);
    Ok(service.run()?)
}
