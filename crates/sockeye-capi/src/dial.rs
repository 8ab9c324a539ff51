//! Connections that a program makes.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use sockeye::Connect;

use crate::context::Context;
use crate::wsi::Wsi;

/// How long a connect that blocks may take, for all addresses of a name together.
const CONNECT: Duration = Duration::from_secs(20);

/// Looks a host up and connects to it, and blocks meanwhile.
pub(crate) fn connect_now(host: &str, port: u16) -> io::Result<TcpStream> {
    let until = Instant::now() + CONNECT;
    let mut last = None;
    for address in (host, port).to_socket_addrs()? {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::TimedOut)))
}

impl Context {
    /// Has the loop make a connection, over a socket that is connected already if there is one. Returns whether it will. On a thread
    /// that does not serve it waits for the end of the turn that there is.
    pub(crate) fn connect(&'static self, wsi: &'static Wsi, connect: Connect, over: Option<OwnedFd>) -> bool {
        let mut is_asked = None;
        self.between(|| {
            is_asked = self.door.with_commands(|commands| {
                let Ok(mut protocol) = commands.protocol_named(crate::spoken::NAME) else { return false };
                let id = match over {
                    Some(over) => protocol.connect_over(over, connect),
                    None => protocol.connect(connect),
                };
                self.add(wsi, id);
                true
            });
        });
        is_asked.unwrap_or(false)
    }
}
