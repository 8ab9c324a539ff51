//! The session of one connection: it opens the records of the peer, and seals ours. Bytes in, bytes out; no socket.
//!
//! What to know before editing: this file and [`states`] are the ones that know the unbuffered interface of rustls 0.23, whose successor takes
//! buffers of the caller instead. rustls is given one record at a time, with the bytes before it that an incomplete handshake
//! message still needs:
//!
//! ```text
//!  sealed:  | held: opened, of an incomplete message | record | record | part of a record |
//!            └────────── one call of rustls ─────────┘
//! ```
//!
//! So it is always known how much of the buffer rustls has looked at, nothing is opened that was not asked for, and no call
//! gets fewer bytes than an earlier one left undone, which rustls answers with a panic.

mod known;
mod states;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::EncryptError;
use rustls::{ClientConfig, CommonState, Error, InvalidMessage, ServerConfig};

use crate::tls::TlsFailure;
use crate::tls::hello::server_name;
use crate::tls::record::{Front, HEADER, Sealed, is_one_of_data};
use crate::tls::session::states::{
    Failed, OVERHEAD, Once, Processed, Ready, Rest, Traffic, encode_one, go_on, open_once, seal_once, sealed_bytes,
    write_once,
};

/// What [`Session::open`] did.
#[derive(Debug)]
pub(crate) struct Opened {
    /// So many bytes at the front are done with. What is behind them is to be given again, in front of what follows.
    pub(crate) used: usize,
    /// How many records were opened, and how many of them brought no plaintext.
    pub(crate) records: usize,
    pub(crate) fruitless: usize,
    /// Whether they belong to the handshake.
    pub(crate) was_handshaking: bool,
    pub(crate) result: Result<(), TlsFailure>,
}

impl Opened {
    fn none(was_handshaking: bool) -> Self {
        Self { used: 0, records: 0, fruitless: 0, was_handshaking, result: Ok(()) }
    }
}

/// What [`Session::open_whole`] did.
#[derive(Debug)]
pub(crate) enum Whole {
    /// All of the plaintext, which is not empty, is in the room: so many bytes. Nothing else came of the record.
    Plain(usize),
    /// So many bytes of plaintext are in the room, and more may be beyond it.
    Other(usize, Opened),
    /// Nothing: it is another case.
    Nothing,
}

/// One side of one connection.
pub(crate) struct Session {
    side: Side,
    /// So many bytes at the front of what is given next were opened before: they belong to an incomplete handshake message.
    held: usize,
    /// The name that a client asks for, or that a server was asked for.
    server_name: Option<Box<str>>,
    /// What certificates are read with.
    crypto: Arc<CryptoProvider>,
    /// The peer sends no more.
    peer_closed: bool,
    /// Our close_notify was sealed.
    closed: bool,
    /// An error ended the session: no state of rustls may be looked at again.
    has_failed: bool,
    /// The peer is a proxy, and not the server behind it.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "nothing connects"))]
    is_with_proxy: bool,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Session {
    /// Waits for a client's hello.
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, TlsFailure> {
        let crypto = Arc::clone(config.crypto_provider());
        let connection = UnbufferedServerConnection::new(config).map_err(|error| TlsFailure::from_server(&error))?;
        Ok(Self::new(Side::Server(connection), None, crypto))
    }

    /// Greets the server `name`, with a hello in `out`.
    #[cfg_attr(not(any(test, feature = "client")), expect(dead_code, reason = "nothing connects"))]
    pub(crate) fn client(config: Arc<ClientConfig>, name: &str, out: &mut Sealed) -> Result<Self, TlsFailure> {
        Self::greet(config, name, out, TlsFailure::from_client)
    }

    /// Greets the proxy `name`, in the same way.
    #[cfg(feature = "client")]
    pub(crate) fn with_proxy(config: Arc<ClientConfig>, name: &str, out: &mut Sealed) -> Result<Self, TlsFailure> {
        let session = Self::greet(config, name, out, TlsFailure::from_proxy)?;
        Ok(Self { is_with_proxy: true, ..session })
    }

    fn greet(
        config: Arc<ClientConfig>,
        name: &str,
        out: &mut Sealed,
        failure: fn(&Error, &str) -> TlsFailure,
    ) -> Result<Self, TlsFailure> {
        let failure = |error: &Error| failure(error, name);
        let server = ServerName::try_from(name.to_owned());
        let server =
            server.map_err(|_| failure(&Error::General("the host cannot be a name in a certificate".to_owned())))?;
        let crypto = Arc::clone(config.crypto_provider());
        let connection = UnbufferedClientConnection::new(config, server).map_err(|error| failure(&error))?;
        let mut session = Self::new(Side::Client(connection), Some(name.into()), crypto);
        session.process(&mut [], out, &mut |_| {}).map_err(|failed| failure(&failed.error))?;
        Ok(session)
    }

    fn new(side: Side, server_name: Option<Box<str>>, crypto: Arc<CryptoProvider>) -> Self {
        Self {
            side,
            held: 0,
            server_name,
            crypto,
            peer_closed: false,
            closed: false,
            has_failed: false,
            is_with_proxy: false,
        }
    }

    /// Whether the handshake is not done.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.state().is_handshaking()
    }

    /// Whether the peer sent close_notify: nothing follows.
    pub(crate) fn has_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Whether what arrives is dropped.
    #[inline]
    fn is_ending(&self) -> bool {
        self.peer_closed || self.has_failed
    }

    /// Whether close_notify was sealed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many bytes at the front of what was not used were opened before.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Opens records at the front of `sealed`, in place: as many as are there and may have plaintext for `room` bytes, and at least one if one is there.
    /// `deliver` gets the plaintext of one after another. While the handshake goes on it opens no record after it. What is
    /// to be sent goes to `out`, also after a failure.
    ///
    /// `sealed` begins with what an earlier call did not use.
    pub(crate) fn open(
        &mut self,
        sealed: &mut [u8],
        room: usize,
        out: &mut Sealed,
        mut deliver: impl FnMut(&[u8]),
    ) -> Opened {
        let was_handshaking = self.is_handshaking();
        let mut opened = Opened::none(was_handshaking);
        let mut delivered = 0;
        while opened.used < sealed.len() {
            if self.is_ending() {
                // RFC 8446 section 6.1: "Any data received after a closure alert has been received MUST be ignored."
                opened.used = sealed.len();
                break;
            }
            if was_handshaking && !self.is_handshaking() {
                break;
            }
            let rest = &mut sealed[opened.used..];
            let end = match Front::of(rest.get(self.held..).unwrap_or_default()) {
                Front::Partial(_) => break,
                Front::Record(length) if delivered > 0 && delivered + length - HEADER > room => break,
                Front::Record(length) => self.held + length,
                // rustls says which alert that is worth.
                Front::Wrong => rest.len(),
            };
            let before = delivered;
            let mut count = |plain: &[u8]| {
                delivered += plain.len();
                deliver(plain);
            };
            let processed = self.process(&mut rest[..end], out, &mut count);
            opened.fruitless += usize::from(delivered == before);
            if !self.note(&mut opened, &rest[..end], processed, out) {
                break;
            }
        }
        opened
    }

    /// As [`open`](Self::open) in the usual case, in fewer steps: `sealed` is one whole record, nothing before it is incomplete, and neither
    /// side has closed. The plaintext goes to `room`, which may not be empty; `beyond` gets what has no room there. The handshake is done.
    #[inline(always)]
    pub(crate) fn open_whole(
        &mut self,
        sealed: &mut [u8],
        room: &mut [u8],
        out: &mut Sealed,
        mut beyond: impl FnMut(&[u8]),
    ) -> Whole {
        debug_assert!(!self.is_handshaking(), "records of a handshake are noted");
        debug_assert!(!room.is_empty(), "without room each record would seem fruitless");
        if self.is_ending() || self.closed || self.held > 0 || !is_one_of_data(sealed) {
            return Whole::Nothing;
        }
        match self.once(sealed, room, out, &mut beyond) {
            Ok(put) => Whole::Plain(put),
            Err((put, processed)) => Whole::Other(put, self.opened_otherwise(sealed, processed, out, put == 0)),
        }
    }

    /// Not all that came of a whole record is plaintext in its room.
    #[cold]
    fn opened_otherwise(
        &mut self,
        sealed: &[u8],
        processed: Processed,
        out: &mut Sealed,
        is_fruitless: bool,
    ) -> Opened {
        let mut opened = Opened { fruitless: usize::from(is_fruitless), ..Opened::none(false) };
        self.note(&mut opened, sealed, processed, out);
        opened
    }

    /// What rustls made of `given`, which ends with a record. Returns whether the session goes on.
    fn note(&mut self, opened: &mut Opened, given: &[u8], processed: Processed, out: &mut Sealed) -> bool {
        opened.records += 1;
        let used = processed.as_ref().map_or_else(|failed| failed.used, |used| *used);
        if opened.was_handshaking && used > 0 {
            self.note_hello(&given[..used]);
        }
        opened.used += used;
        self.held = given.len() - used;
        let Err(failed) = processed else { return true };
        self.has_failed = true;
        self.drain_alert(out);
        opened.result = Err(self.failure(&failed.error));
        false
    }

    /// Seals behind what is in `out`, once, as `write` says. `held` are the [`held`](Self::held) bytes.
    #[inline]
    pub(crate) fn seal(
        &mut self,
        held: &mut [u8],
        out: &mut Sealed,
        write: impl FnMut(&mut Sealer<'_>) -> Result<(), CannotSeal>,
    ) -> Result<(), TlsFailure> {
        self.write(held, out, write).map_err(|error| self.failure(&error))
    }

    /// As [`seal`](Self::seal) seals only `plain`, in fewer steps in the usual case: nothing is held, and rustls is ready for it. Returns
    /// whether it is sealed. If it is not, nothing but what goes before it is in `out`.
    #[inline(always)]
    pub(crate) fn seal_one(&mut self, plain: &[u8], out: &mut Sealed) -> Result<bool, TlsFailure> {
        if self.held > 0 || self.has_failed || self.closed {
            return Ok(false);
        }
        let rest = Rest { out, peer_closed: &mut self.peer_closed };
        let sealed = match &mut self.side {
            Side::Server(connection) => seal_once(connection, plain, rest),
            Side::Client(connection) => seal_once(connection, plain, rest),
        };
        sealed.map_err(|failed| self.failure(&failed.error))
    }

    /// Seals close_notify, once, if the handshake is done. Nothing may be sealed after it.
    pub(crate) fn close(&mut self, held: &mut [u8], out: &mut Sealed) {
        if self.closed || self.has_failed || self.is_handshaking() {
            return;
        }
        self.closed = true;
        // An error means that there is nothing to say any more.
        let _ = self.write(held, out, |sealer| sealer.close());
    }

    /// Has rustls write into `out` once it is ready for that.
    #[inline]
    fn write(
        &mut self,
        held: &mut [u8],
        out: &mut Sealed,
        mut write: impl FnMut(&mut Sealer<'_>) -> Result<(), CannotSeal>,
    ) -> Result<(), Error> {
        // Without the held bytes rustls would panic.
        if self.has_failed || held.len() != self.held {
            return Err(Error::General("the session has failed".to_owned()));
        }
        let mut outcome = None;
        let mut ready = |traffic: &mut dyn Traffic, out: &mut Sealed| {
            outcome = Some(write(&mut Sealer { traffic, out }));
        };
        let rest = Rest { out, peer_closed: &mut self.peer_closed };
        let written = match &mut self.side {
            _ if self.closed => self.process_closed(held, out, &mut |_| {}, &mut ready),
            Side::Server(connection) => write_once(connection, held, &mut ready, rest),
            Side::Client(connection) => write_once(connection, held, &mut ready, rest),
        };
        written.map_err(|failed| failed.error)?;
        match outcome {
            Some(Ok(())) => Ok(()),
            Some(Err(CannotSeal)) => Err(Error::EncryptError),
            None => Err(Error::HandshakeNotComplete),
        }
    }

    /// Has rustls process what it is given: the held bytes and at most one record. Returns how many bytes it is done with.
    #[inline(always)]
    fn process(&mut self, sealed: &mut [u8], out: &mut Sealed, deliver: &mut impl FnMut(&[u8])) -> Processed {
        if self.closed {
            return self.process_closed(sealed, out, deliver, &mut |_, _| {});
        }
        match self.once(sealed, &mut [], out, deliver) {
            Ok(_) => Ok(sealed.len()),
            Err((_, processed)) => processed,
        }
    }

    /// As [`process`](Self::process), before our close_notify. What has no room is delivered to `beyond`.
    #[inline(always)]
    fn once(&mut self, sealed: &mut [u8], room: &mut [u8], out: &mut Sealed, beyond: &mut impl FnMut(&[u8])) -> Once {
        let rest = Rest { out, peer_closed: &mut self.peer_closed };
        match &mut self.side {
            Side::Server(connection) => open_once(connection, sealed, room, beyond, rest),
            Side::Client(connection) => open_once(connection, sealed, room, beyond, rest),
        }
    }

    /// As [`process`](Self::process), from our close_notify on; `ready` may write.
    #[cold]
    fn process_closed(
        &mut self,
        sealed: &mut [u8],
        out: &mut Sealed,
        deliver: &mut dyn FnMut(&[u8]),
        ready: &mut Ready<'_>,
    ) -> Processed {
        let mut rest = Rest { out, peer_closed: &mut self.peer_closed };
        let go = || match &mut self.side {
            Side::Server(connection) => go_on(connection, sealed, 0, deliver, ready, &mut rest),
            Side::Client(connection) => go_on(connection, sealed, 0, deliver, ready, &mut rest),
        };
        // Built with debug assertions, rustls panics when a record is wrong that comes after our close_notify: it wants to
        // send an alert, and believes that it has sent its last. Without them it does send it.
        let panicked = |_| Err(Failed::new(0, Error::DecryptError));
        std::panic::catch_unwind(AssertUnwindSafe(go)).unwrap_or_else(panicked)
    }

    /// After a failure: the alert for the peer.
    fn drain_alert(&mut self, out: &mut Sealed) {
        // rustls has something to encode, so it does not look at any input.
        while self.state().wants_write() {
            let before = out.len();
            let _ = match &mut self.side {
                Side::Server(connection) => encode_one(connection, out),
                Side::Client(connection) => encode_one(connection, out),
            };
            if out.len() == before {
                break;
            }
        }
    }

    /// The first message of a client has just been processed: it is in front, in one piece.
    fn note_hello(&mut self, processed: &[u8]) {
        if matches!(self.side, Side::Server(_)) && self.server_name.is_none() {
            self.server_name = processed.get(HEADER..).and_then(server_name).map(Into::into);
        }
    }

    fn failure(&self, error: &Error) -> TlsFailure {
        let name = self.server_name.as_deref().unwrap_or_default();
        match self.side {
            Side::Server(_) => TlsFailure::from_server(error),
            #[cfg(feature = "client")]
            Side::Client(_) if self.is_with_proxy => TlsFailure::from_proxy(error, name),
            Side::Client(_) => TlsFailure::from_client(error, name),
        }
    }

    /// Ends the session, for a handshake message of the peer that is too long.
    pub(crate) fn too_long(&mut self) -> TlsFailure {
        self.has_failed = true;
        self.failure(&Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge))
    }

    fn state(&self) -> &CommonState {
        match &self.side {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
        }
    }
}

/// Seals while rustls is ready for it.
pub(crate) struct Sealer<'a> {
    traffic: &'a mut dyn Traffic,
    out: &'a mut Sealed,
}

/// The keys are used up.
#[derive(Debug)]
pub(crate) struct CannotSeal;

impl Sealer<'_> {
    /// Seals `plain`, in records of [`RECORD`] bytes but for the last.
    #[inline]
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Result<(), CannotSeal> {
        self.write(sealed_bytes(plain.len()), |traffic, room| traffic.encrypt(plain, room))
    }

    fn close(&mut self) -> Result<(), CannotSeal> {
        self.write(OVERHEAD, |traffic, room| traffic.queue_close_notify(room))
    }

    #[inline]
    fn write(
        &mut self,
        mut room: usize,
        mut write: impl FnMut(&mut dyn Traffic, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), CannotSeal> {
        loop {
            match write(self.traffic, self.out.make_room(room)) {
                Ok(written) => {
                    self.out.add(written);
                    return Ok(());
                }
                // A key update goes first.
                Err(EncryptError::InsufficientSize(size)) if size.required_size > room => room = size.required_size,
                Err(_) => return Err(CannotSeal),
            }
        }
    }
}

#[cfg(test)]
mod tests;
