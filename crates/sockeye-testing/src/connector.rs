//! An HTTP proxy that connects: what it is asked for, and from then on the bytes of both sides. What it listens on says whether it
//! speaks TLS itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sockeye::client::RawConnect;
use sockeye::raw::{EndpointMut, Raw, RawClose, RawClosed, RawClosedCx, RawCx, RawWritable};
use sockeye::sys::Address;
use sockeye::{ConnId, Failure};

/// The proxy. It answers 407 to who does not know `secret`, and 502 to what it cannot reach.
pub struct Connector {
    heads: Heads,
    places: HashMap<String, Address>,
    secret: Option<String>,
    sides: HashMap<ConnId, Side>,
}

/// The requests that a [`Connector`] has had.
#[derive(Clone, Default)]
pub struct Heads(Arc<Mutex<Vec<String>>>);

impl Heads {
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, head: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    }
}

#[derive(Default)]
struct Side {
    other: Option<ConnId>,
    /// The beginning of a request, and what follows it until there is a connection for that.
    head: Vec<u8>,
    /// What waits for this peer.
    output: Vec<u8>,
    /// Nothing follows what waits for it.
    has_all: bool,
}

impl Connector {
    pub fn new() -> Self {
        Self { heads: Heads::default(), places: HashMap::new(), secret: None, sides: HashMap::new() }
    }

    /// Connects to this address who asks for this place: `host:port`. Others are looked up.
    #[must_use]
    pub fn place(mut self, place: &str, address: Address) -> Self {
        self.places.insert(place.to_owned(), address);
        self
    }

    /// Who asks has to say this, which is the value of a field.
    #[must_use]
    pub fn secret(mut self, secret: &str) -> Self {
        self.secret = Some(secret.to_owned());
        self
    }

    /// What will have been asked.
    #[must_use]
    pub fn heads(&self) -> Heads {
        self.heads.clone()
    }

    /// Reads the request of a side that has no other one yet. Returns the answer, if it is refused.
    fn read(&mut self, cx: &mut RawCx<'_>) -> Option<&'static str> {
        let id = cx.id();
        let own = self.sides.get_mut(&id)?;
        let end = own.head.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&own.head[..end]).into_owned();
        own.head.drain(..end);
        self.heads.push(head.clone());
        let says = |secret| head.lines().any(|line| line == format!("Proxy-Authorization: {secret}"));
        if !self.secret.as_deref().is_none_or(says) {
            return Some("HTTP/1.1 407 Who are you?\r\nContent-Length: 0\r\n\r\n");
        }
        let place = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        let connect = match self.places.get(place) {
            Some(address) => RawConnect::from(address.clone()),
            None => match RawConnect::new(place) {
                Ok(connect) => connect,
                Err(_) => return Some("HTTP/1.1 400 What?\r\nContent-Length: 0\r\n\r\n"),
            },
        };
        let other = cx.own_endpoint().connect(connect);
        own.other = Some(other);
        let output = std::mem::take(&mut own.head);
        cx.pause_reading();
        self.sides.insert(other, Side { other: Some(id), output, ..Side::default() });
        None
    }

    /// One side is over: the other one gets what waits for it, `last` too, and then the end.
    fn end_other(&mut self, own: &mut EndpointMut<'_>, id: ConnId, last: &[u8]) {
        let Some(Side { other: Some(other), .. }) = self.sides.remove(&id) else { return };
        let Some(side) = self.sides.get_mut(&other) else { return };
        side.output.extend_from_slice(last);
        side.has_all = true;
        if let Ok(mut other) = own.connection(other) {
            other.request_writable();
        }
    }
}

impl Raw for Connector {
    type Session = ();

    fn name(&self) -> &str {
        "connector"
    }

    fn open(&mut self, cx: &mut RawCx<'_>) {
        let id = cx.id();
        if !cx.is_client() {
            self.sides.insert(id, Side::default());
            return;
        }
        cx.request_writable();
        let Some(other) = self.sides.get(&id).and_then(|side| side.other) else { return };
        if let (Some(side), Ok(mut other)) = (self.sides.get_mut(&other), cx.connection(other)) {
            side.output.extend_from_slice(b"HTTP/1.1 200 Connected\r\n\r\n");
            other.request_writable();
            other.resume_reading();
        }
    }

    fn receive(&mut self, cx: &mut RawCx<'_>, (): &mut (), bytes: &[u8]) -> Result<(), RawClose> {
        let id = cx.id();
        let own = self.sides.get_mut(&id).ok_or(RawClose::Normal)?;
        if let Some(to) = own.other {
            if let Some(side) = self.sides.get_mut(&to) {
                side.output.extend_from_slice(bytes);
                cx.pause_reading(); // until the other side has it
                if let Ok(mut other) = cx.connection(to) {
                    other.request_writable();
                }
            }
            return Ok(());
        }
        own.head.extend_from_slice(bytes);
        if let Some(answer) = self.read(cx) {
            let own = self.sides.get_mut(&id).ok_or(RawClose::Normal)?;
            own.output.extend_from_slice(answer.as_bytes());
            own.has_all = true;
            cx.request_writable();
        }
        Ok(())
    }

    fn ended(&mut self, cx: &mut RawCx<'_>, (): &mut ()) -> Result<(), RawClose> {
        let to = self.sides.get(&cx.id()).and_then(|side| side.other).ok_or(RawClose::Normal)?;
        self.sides.get_mut(&to).ok_or(RawClose::Normal)?.has_all = true;
        if let Ok(mut other) = cx.connection(to) {
            other.request_writable();
        }
        Ok(())
    }

    fn writable(&mut self, cx: &mut RawCx<'_>, (): &mut (), tx: RawWritable<'_>) -> Result<(), RawClose> {
        let own = self.sides.get_mut(&cx.id()).ok_or(RawClose::Normal)?;
        tx.write(&own.output);
        own.output.clear();
        if own.has_all {
            cx.shutdown_write();
        } else if let Some(Ok(mut other)) = own.other.map(|other| cx.connection(other)) {
            other.resume_reading();
        }
        Ok(())
    }

    fn closed(&mut self, cx: &mut RawClosedCx<'_>, (): (), _: RawClosed) {
        let id = cx.id();
        self.end_other(&mut cx.own_endpoint(), id, b"");
    }

    fn failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, failure: Failure) {
        let answer = format!("HTTP/1.1 502 Nobody there\r\nContent-Length: 0\r\nX-Why: {failure}\r\n\r\n");
        self.end_other(own, id, answer.as_bytes());
    }
}
