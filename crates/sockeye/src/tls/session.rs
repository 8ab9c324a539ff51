//! The session of one connection: it opens the records of the peer, and seals ours. Bytes in, bytes out; no socket.
//!
//! What to know before editing: this is the one file that knows the unbuffered interface of rustls 0.23, whose successor takes
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

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, InvalidMessage, ServerConfig};

use crate::tls::TlsFailure;
use crate::tls::hello::server_name;
use crate::tls::record::{Front, HEADER, RECORD, Sealed};

/// What sealing adds to a record, at most, and room for a key update before it.
const OVERHEAD: usize = 64;

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
        let mut opened = Opened { used: 0, records: 0, fruitless: 0, was_handshaking, result: Ok(()) };
        let mut delivered = 0;
        while opened.used < sealed.len() {
            if self.peer_closed || self.has_failed {
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
            opened.records += 1;
            opened.fruitless += usize::from(delivered == before);
            let used = processed.as_ref().map_or_else(|failed| failed.used, |used| *used);
            if was_handshaking && used > 0 {
                self.note_hello(&rest[..used]);
            }
            opened.used += used;
            self.held = end - used;
            if let Err(failed) = processed {
                self.has_failed = true;
                self.drain_alert(out);
                opened.result = Err(self.failure(&failed.error));
                break;
            }
        }
        opened
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
    #[inline]
    fn process(&mut self, sealed: &mut [u8], out: &mut Sealed, deliver: &mut impl FnMut(&[u8])) -> Processed {
        if self.closed {
            return self.process_closed(sealed, out, deliver, &mut |_, _| {});
        }
        let rest = Rest { out, peer_closed: &mut self.peer_closed };
        match &mut self.side {
            Side::Server(connection) => open_once(connection, sealed, deliver, rest),
            Side::Client(connection) => open_once(connection, sealed, deliver, rest),
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

/// The most bytes that so much plaintext has when it is sealed.
fn sealed_bytes(plain: usize) -> usize {
    plain + plain.div_ceil(RECORD).max(1) * OVERHEAD
}

/// A state of rustls in which application data may be sealed.
trait Traffic {
    fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, EncryptError>;
    fn queue_close_notify(&mut self, out: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<D> Traffic for rustls::unbuffered::WriteTraffic<'_, D> {
    fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, EncryptError> {
        self.encrypt(plain, out)
    }

    fn queue_close_notify(&mut self, out: &mut [u8]) -> Result<usize, EncryptError> {
        self.queue_close_notify(out)
    }
}

/// Both sides of rustls, which has one method for each.
trait Records {
    type Data;
    fn records<'c, 'i>(&'c mut self, sealed: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn records<'c, 'i>(&'c mut self, sealed: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(sealed)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn records<'c, 'i>(&'c mut self, sealed: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(sealed)
    }
}

/// How many bytes rustls is done with.
type Processed = Result<usize, Box<Failed>>;

/// What went wrong behind so many bytes. In a box, since a failure is rare, and large.
struct Failed {
    used: usize,
    error: Error,
}

impl Failed {
    #[cold]
    fn new(used: usize, error: Error) -> Box<Self> {
        Box::new(Self { used, error })
    }
}

/// May have rustls write.
type Ready<'a> = dyn FnMut(&mut dyn Traffic, &mut Sealed) + 'a;

/// What rustls has to say beside plaintext.
struct Rest<'a> {
    out: &'a mut Sealed,
    peer_closed: &'a mut bool,
}

/// Opens a record. That of plaintext is the usual one, and passes here without the states of all others.
#[inline]
fn open_once<R: Records>(
    connection: &mut R,
    sealed: &mut [u8],
    deliver: &mut impl FnMut(&[u8]),
    mut rest: Rest<'_>,
) -> Processed {
    let length = sealed.len();
    let status = connection.records(sealed);
    let mut used = status.discard;
    match status.state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        used = used.saturating_add(record.discard);
                        deliver(record.payload);
                    }
                    Err(error) => return Err(Failed::new(used.min(length), error)),
                }
            }
            // It left nothing to be sent, which another round would find out.
            if used >= length {
                return Ok(length);
            }
        }
        state => match handle(state, deliver, &mut |_, _| {}, &mut rest) {
            Ok(None) => return Ok(used.min(length)),
            Ok(Some(more)) => used = used.saturating_add(more).min(length),
            Err(error) => return Err(Failed::new(used.min(length), error)),
        },
    }
    go_on(connection, sealed, used, deliver, &mut |_, _| {}, &mut rest)
}

/// Has rustls write. Usually it can at once.
#[inline]
fn write_once<R: Records>(
    connection: &mut R,
    held: &mut [u8],
    ready: &mut impl FnMut(&mut dyn Traffic, &mut Sealed),
    mut rest: Rest<'_>,
) -> Processed {
    let status = connection.records(held);
    let used = status.discard;
    let more = match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            ready(&mut traffic, rest.out);
            return Ok(used);
        }
        state => match handle(state, &mut |_| {}, ready, &mut rest) {
            Ok(None) => return Ok(used),
            Ok(Some(more)) => more,
            Err(error) => return Err(Failed::new(used, error)),
        },
    };
    go_on(connection, held, used.saturating_add(more), &mut |_| {}, ready, &mut rest)
}

/// Goes through the states of rustls until it waits for input, or has written. Each round but the last takes something away: a record,
/// a message that is to be sent, or the news that the peer has closed. So it ends.
#[cold]
fn go_on<R: Records>(
    connection: &mut R,
    sealed: &mut [u8],
    mut used: usize,
    deliver: &mut dyn FnMut(&[u8]),
    ready: &mut Ready<'_>,
    rest: &mut Rest<'_>,
) -> Processed {
    loop {
        used = used.min(sealed.len());
        let UnbufferedStatus { discard, state } = connection.records(&mut sealed[used..]);
        let after = handle(state, deliver, ready, rest);
        used = used.saturating_add(discard).min(sealed.len());
        match after {
            Ok(Some(more)) => used = used.saturating_add(more),
            Ok(None) => return Ok(used),
            Err(error) => return Err(Failed::new(used, error)),
        }
    }
}

/// Does what a state of rustls is for. Returns how many more bytes are done with; `None`: no other state follows.
#[cold]
fn handle<D>(
    state: Result<ConnectionState<'_, '_, D>, Error>,
    deliver: &mut dyn FnMut(&[u8]),
    ready: &mut Ready<'_>,
    rest: &mut Rest<'_>,
) -> Result<Option<usize>, Error> {
    let mut discard = 0;
    match state? {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                deliver(record.payload);
            }
        }
        ConnectionState::EncodeTlsData(mut message) => encode(|room| message.encode(room), rest.out)?,
        ConnectionState::TransmitTlsData(message) => message.done(),
        ConnectionState::PeerClosed => *rest.peer_closed = true,
        ConnectionState::WriteTraffic(mut traffic) => {
            ready(&mut traffic, rest.out);
            return Ok(None);
        }
        ConnectionState::BlockedHandshake | ConnectionState::Closed => return Ok(None),
        // Early data is not accepted, so none comes. Other states would be new.
        _ => return Err(Error::General("a state that was not asked for".to_owned())),
    }
    Ok(Some(discard))
}

/// Encodes one message that rustls has ready.
fn encode_one<R: Records>(connection: &mut R, out: &mut Sealed) -> Result<(), Error> {
    match connection.records(&mut []).state? {
        ConnectionState::EncodeTlsData(mut message) => encode(|room| message.encode(room), out),
        // Plaintext before the failure is not delivered, since what ends it is not orderly.
        ConnectionState::ReadTraffic(mut traffic) => {
            while traffic.next_record().is_some() {}
            Ok(())
        }
        _ => Err(Error::General("a state that was not asked for".to_owned())),
    }
}

fn encode(mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>, out: &mut Sealed) -> Result<(), Error> {
    let mut room = OVERHEAD;
    loop {
        match write(out.make_room(room)) {
            Ok(written) => {
                out.add(written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) if size.required_size > room => room = size.required_size,
            Err(_) => return Err(Error::General("a message that cannot be encoded".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
