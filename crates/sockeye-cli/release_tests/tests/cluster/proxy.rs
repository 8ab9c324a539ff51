//! The network between a server and its broker, which can be cut and stalled.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

#[derive(Clone, Copy, Eq, PartialEq)]
enum Way {
    Open,
    /// Bytes wait.
    Stalled,
    /// Connections end.
    Cut,
    /// For good.
    Gone,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    way: Way,
    /// Both sides of each connection that there has been since the last cut.
    streams: Vec<TcpStream>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, way: Way) {
        let mut state = self.state();
        state.way = way;
        if matches!(way, Way::Cut | Way::Gone) {
            for stream in state.streams.drain(..) {
                // One that has ended already is as it should be.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.changed.notify_all();
    }

    /// Waits while nothing may pass.
    fn pass(&self) {
        let state = self.state();
        drop(self.changed.wait_while(state, |state| state.way == Way::Stalled));
    }

    /// Whether a new connection may be made; it is kept for the next cut. One that may not is not kept, or it would not end.
    fn admit(&self, one: &TcpStream, other: &TcpStream) -> bool {
        let mut state = self.state();
        if !matches!(state.way, Way::Open | Way::Stalled) {
            return false;
        }
        let (Ok(one), Ok(other)) = (one.try_clone(), other.try_clone()) else { return false };
        state.streams.extend([one, other]);
        true
    }
}

/// Listens on a port of its own, and passes everything on.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// To a port of 127.0.0.1.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Mutex::new(State { way: Way::Open, streams: Vec::new() });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let own = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &own, port));
        Self { address, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends all connections, and those that are tried.
    pub(crate) fn cut(&self) {
        self.shared.set(Way::Cut);
    }

    /// Lets nothing pass, and ends nothing.
    pub(crate) fn stall(&self) {
        self.shared.set(Way::Stalled);
    }

    pub(crate) fn restore(&self) {
        self.shared.set(Way::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.set(Way::Gone);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, port: u16) {
    for client in listener.incoming().map_while(Result::ok) {
        if shared.state().way == Way::Gone {
            return;
        }
        let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
        // Small messages must not wait for others.
        let is_prompt = client.set_nodelay(true).and_then(|()| broker.set_nodelay(true)).is_ok();
        if !is_prompt || !shared.admit(&client, &broker) {
            continue;
        }
        let (Ok(client_too), Ok(broker_too)) = (client.try_clone(), broker.try_clone()) else { continue };
        let shared_too = Arc::clone(shared);
        thread::spawn(move || copy(client, broker, &shared_too));
        let shared_too = Arc::clone(shared);
        thread::spawn(move || copy(broker_too, client_too, &shared_too));
    }
}

/// Until one of both ends, and the other with it.
fn copy(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        shared.pass();
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    shared.pass();
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
