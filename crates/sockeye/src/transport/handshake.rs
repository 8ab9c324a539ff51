//! The handshake of TLS on a socket: flights are received, answered and sent, and no plaintext moves.

use std::io;

use crate::id::ConnId;
use crate::statistics::{Culprit, WorkOwner};
#[cfg(feature = "client")]
use crate::tls::ClientTls;
use crate::tls::{Above, ServerTls, Session, TlsFailure};
use crate::transport::loop_io::LoopIo;
use crate::transport::read::halves;
use crate::transport::socket::Socket;
use crate::transport::stream::{Plain, Received, Stream, TlsStream};

/// The progress of a handshake.
#[derive(Debug)]
pub(crate) enum Shake {
    /// It is done, and all that belongs to it has left.
    Done,
    /// The socket has to be waited for.
    Wait,
    /// The budget is spent.
    Yield,
    Failed(Broken),
}

/// Why a handshake failed.
#[derive(Debug)]
pub(crate) enum Broken {
    /// A rule was broken, and the peer has been told by an alert, or has told us.
    Rule(TlsFailure),
    /// It took too many bytes.
    TooLong,
    /// The peer ended the connection.
    Ended,
    Io(io::ErrorKind),
}

/// The last flight of a handshake costs as much as moving so many bytes: signatures are verified, keys are made, and a ticket. A
/// turn has room for some thirty of them, else a crowd of clients that go on at once would hold up everybody else.
const DONE_EFFORT: u64 = 64 * 1024;

impl Socket {
    /// From now on the connection speaks TLS, as a server. `first` was read from it.
    pub(crate) fn begin_server_tls(
        &mut self,
        io: &mut LoopIo,
        tls: &ServerTls,
        above: Above,
        first: &[u8],
    ) -> Result<(), TlsFailure> {
        io.scratch.sealed.clear();
        self.begin_tls(io, Session::server(tls.current(above))?, first);
        Ok(())
    }

    /// From now on the connection speaks TLS, as a client of the server `name`. `first` was read from it.
    #[cfg(feature = "client")]
    pub(crate) fn begin_client_tls(
        &mut self,
        io: &mut LoopIo,
        tls: &ClientTls,
        above: Above,
        name: &str,
        first: &[u8],
    ) -> Result<(), TlsFailure> {
        io.scratch.sealed.clear();
        let session = Session::client(tls.current(above), name, &mut io.scratch.sealed)?;
        self.begin_tls(io, session, first);
        Ok(())
    }

    /// From now on the connection speaks TLS with the proxy `name`. Once it leads somewhere else, that may speak TLS inside.
    #[cfg(feature = "client")]
    pub(crate) fn begin_proxy_tls(&mut self, io: &mut LoopIo, tls: &ClientTls, name: &str) -> Result<(), TlsFailure> {
        io.scratch.sealed.clear();
        let session = Session::with_proxy(tls.current(Above::Http), name, &mut io.scratch.sealed)?;
        self.begin(io, session, &[], Stream::set_proxy_tls);
        Ok(())
    }

    /// The first flight is in the scratch.
    fn begin_tls(&mut self, io: &mut LoopIo, session: Session, first: &[u8]) {
        self.begin(io, session, first, Stream::set_tls);
    }

    fn begin(&mut self, io: &mut LoopIo, session: Session, first: &[u8], set: fn(&mut Stream, TlsStream)) {
        let hello = self.stream.take_kept();
        debug_assert!(hello.is_none(), "what was kept is read before TLS begins");
        match TlsStream::new(session, first, &mut io.below(self.handle)) {
            Ok(tls) => set(&mut self.stream, tls),
            Err(error) => {
                tracing::warn!(%error, "no memory for a TLS session; the connection is reset");
                self.mark_broken();
            }
        }
    }

    /// Moves the handshake of the connection `id` as far as the socket and `budget` allow. It may take `most` bytes of the peer.
    pub(crate) fn handshake(
        &mut self,
        io: &mut LoopIo,
        rx: &mut [u8],
        budget: usize,
        most: usize,
        id: ConnId,
    ) -> Shake {
        // It takes as long as a thousand other steps. A crowd of them in one turn would be a stall without a culprit, and each
        // step of anybody would be measured for some time.
        io.steps_over(0);
        let shake = self.shake(io, rx, budget, most);
        io.lap(Culprit::TlsHandshake, WorkOwner { endpoint: None, id: Some(id) });
        shake
    }

    fn shake(&mut self, io: &mut LoopIo, rx: &mut [u8], mut budget: usize, most: usize) -> Shake {
        let Self { stream, readiness, handle, .. } = self;
        let (_, back) = halves(rx);
        let mut end = None;
        loop {
            let Some((tls, mut outer)) = stream.layers() else {
                return Shake::Failed(Broken::Io(io::ErrorKind::OutOfMemory));
            };
            let mut below = io.below(*handle).through(outer.as_deref_mut().map(|outer| outer as _));
            if (tls.has_unsent() || below.is_full()) && readiness.can_send() {
                if let Err(error) = tls.send_unsent(&mut below) {
                    tracing::debug!(%error, "send failed");
                    readiness.set_broken(true);
                }
                if tls.has_unsent() || below.is_full() {
                    readiness.set_writable(false);
                }
            }
            // An alert is tried to be sent once.
            if let Some(broken) = end {
                return Shake::Failed(broken);
            }
            if (tls.has_unsent() || below.is_full()) && !readiness.is_broken() {
                return Shake::Wait;
            }
            if !tls.session().is_handshaking() {
                io.note_effort(DONE_EFFORT);
                return Shake::Done;
            }
            if budget == 0 {
                return Shake::Yield;
            }
            match tls.receive(&mut below, readiness, back, most, &mut Plain::to(&mut [])) {
                Received::Sealed(cost) => {
                    io.note_effort(cost as u64);
                    budget = budget.saturating_sub(cost);
                    if tls.arrived() > most && tls.session().is_handshaking() {
                        end = Some(Broken::TooLong);
                    }
                }
                Received::Nothing if readiness.is_broken() => end = Some(Broken::Io(io::ErrorKind::ConnectionReset)),
                Received::Nothing => return Shake::Wait,
                Received::End => end = Some(Broken::Ended),
                Received::Failed(kind) => {
                    let failure = tls.take_failure().or_else(|| outer.and_then(TlsStream::take_failure));
                    end = Some(failure.map_or(Broken::Io(kind), Broken::Rule));
                }
                // No plaintext comes before the end of the handshake.
                Received::Plain(bytes, beyond) => budget = budget.saturating_sub(bytes + beyond),
            }
        }
    }

    /// Why TLS failed behind the handshake, told once.
    pub(crate) fn take_tls_failure(&mut self) -> Option<TlsFailure> {
        let (tls, outer) = self.stream.layers()?;
        tls.take_failure().or_else(|| outer?.take_failure())
    }
}
