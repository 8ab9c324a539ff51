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

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, HandshakeKind, InvalidMessage, ProtocolVersion, ServerConfig};

use crate::tls::TlsFailure;
use crate::tls::TlsVersion;
use crate::tls::hello::server_name;

/// The most plaintext of one record (RFC 8446 section 5.1).
pub(crate) const RECORD: usize = 16 * 1024;
/// The most bytes of one record on the wire: with the expansion that TLS 1.2 allows (RFC 5246 section 6.2.3).
pub(crate) const SEALED_RECORD: usize = HEADER + RECORD + 2048;
/// Type, version and length in front of each record.
const HEADER: usize = 5;
/// What sealing adds to a record, at most, and room for a key update before it.
const OVERHEAD: usize = 64;

/// What the front of received bytes is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Front {
    /// A part of a record: so many bytes are missing at least.
    Partial(usize),
    /// A record of this length.
    Record(usize),
    /// Something else.
    Wrong,
}

impl Front {
    /// Looks at the header of a record.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        // Change cipher spec, alert, handshake, application data (RFC 8446 section 5.1).
        if bytes.first().is_some_and(|kind| !(20..=23).contains(kind)) || bytes.get(1).is_some_and(|major| *major != 3)
        {
            return Self::Wrong;
        }
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Self::Partial(HEADER - bytes.len()) };
        let length = HEADER + usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length > SEALED_RECORD {
            return Self::Wrong;
        }
        if bytes.len() < length { Self::Partial(length - bytes.len()) } else { Self::Record(length) }
    }
}

/// Sealed bytes that are to leave. Its memory stays initialised, so that sealing clears nothing.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    bytes: Vec<u8>,
    filled: usize,
}

impl Sealed {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Room for `bytes` more.
    fn make_room(&mut self, bytes: usize) -> &mut [u8] {
        let needed = self.filled.saturating_add(bytes);
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        &mut self.bytes[self.filled..]
    }
}

/// What [`Session::open`] did.
#[derive(Debug)]
pub(crate) struct Opened {
    /// So many bytes at the front are done with. What is behind them is to be given again, in front of what follows.
    pub(crate) used: usize,
    /// How many records were opened, and how many of them brought no plaintext.
    pub(crate) records: usize,
    pub(crate) fruitless: usize,
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
        let failure = |error: &Error| TlsFailure::from_client(error, name);
        let server = ServerName::try_from(name.to_owned());
        let server =
            server.map_err(|_| failure(&Error::General("the host cannot be a name in a certificate".to_owned())))?;
        let crypto = Arc::clone(config.crypto_provider());
        let connection = UnbufferedClientConnection::new(config, server).map_err(|error| failure(&error))?;
        let mut session = Self::new(Side::Client(connection), Some(name.into()), crypto);
        session.process(&mut [], out, &mut |_| {}).1.map_err(|error| failure(&error))?;
        Ok(session)
    }

    fn new(side: Side, server_name: Option<Box<str>>, crypto: Arc<CryptoProvider>) -> Self {
        Self { side, held: 0, server_name, crypto, peer_closed: false, closed: false, has_failed: false }
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
        let mut opened = Opened { used: 0, records: 0, fruitless: 0, result: Ok(()) };
        let was_handshaking = self.is_handshaking();
        let mut delivered = 0;
        loop {
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
            let (used, result) = self.process(&mut rest[..end], out, &mut |plain| {
                delivered += plain.len();
                deliver(plain);
            });
            opened.records += 1;
            opened.fruitless += usize::from(delivered == before);
            if was_handshaking && used > 0 {
                self.note_hello(&rest[..used]);
            }
            opened.used += used;
            self.held = end.saturating_sub(used);
            if let Err(error) = result {
                self.has_failed = true;
                self.drain_alert(out);
                opened.result = Err(self.failure(&error));
                break;
            }
        }
        opened
    }

    /// Seals `plain` behind what is in `out`, in records of [`RECORD`] bytes but for the last. `held` are the
    /// [`held`](Self::held) bytes.
    pub(crate) fn seal(&mut self, held: &mut [u8], plain: &[u8], out: &mut Sealed) -> Result<(), TlsFailure> {
        let result = self.seal_with(held, out, |traffic, room| traffic.encrypt(plain, room), sealed_bytes(plain.len()));
        result.map_err(|error| self.failure(&error))
    }

    /// Seals close_notify, once, if the handshake is done. Nothing may be sealed after it.
    pub(crate) fn close(&mut self, held: &mut [u8], out: &mut Sealed) {
        if self.closed || self.has_failed || self.is_handshaking() {
            return;
        }
        self.closed = true;
        // An error means that there is nothing to say any more.
        let _ = self.seal_with(held, out, |traffic, room| traffic.queue_close_notify(room), OVERHEAD);
    }

    /// Has rustls write into `out` once it is ready for that.
    fn seal_with(
        &mut self,
        held: &mut [u8],
        out: &mut Sealed,
        mut write: impl FnMut(&mut dyn Traffic, &mut [u8]) -> Result<usize, EncryptError>,
        mut room: usize,
    ) -> Result<(), Error> {
        // Without the held bytes rustls would panic.
        if self.has_failed || held.len() != self.held {
            return Err(Error::General("the session has failed".to_owned()));
        }
        loop {
            let mut outcome = None;
            let (_, result) = self.process_with(held, out, &mut |_| {}, &mut |traffic, out| {
                outcome = Some(write(traffic, out.make_room(room)).inspect(|&written| out.filled += written));
            });
            result?;
            match outcome {
                Some(Ok(_)) => return Ok(()),
                // A key update goes first. It has room the next time.
                Some(Err(EncryptError::InsufficientSize(size))) if size.required_size > room => {
                    room = size.required_size
                }
                Some(Err(_)) => return Err(Error::EncryptError),
                None => return Err(Error::HandshakeNotComplete),
            }
        }
    }

    /// Has rustls process what it is given: the held bytes and at most one record. Returns how many bytes it is done with.
    fn process(
        &mut self,
        sealed: &mut [u8],
        out: &mut Sealed,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> (usize, Result<(), Error>) {
        self.process_with(sealed, out, deliver, &mut |_, _| {})
    }

    fn process_with(
        &mut self,
        sealed: &mut [u8],
        out: &mut Sealed,
        deliver: &mut dyn FnMut(&[u8]),
        ready: &mut dyn FnMut(&mut dyn Traffic, &mut Sealed),
    ) -> (usize, Result<(), Error>) {
        let (was_closed, peer_closed) = (self.closed, &mut self.peer_closed);
        let mut go = || match &mut self.side {
            Side::Server(connection) => run(connection, sealed, out, deliver, ready, peer_closed),
            Side::Client(connection) => run(connection, sealed, out, deliver, ready, peer_closed),
        };
        if !was_closed {
            return go();
        }
        // Built with debug assertions, rustls panics when a record is wrong that comes after our close_notify: it wants to
        // send an alert, and believes that it has sent its last. Without them it does send it.
        let panicked = |_| (0, Err(Error::DecryptError));
        std::panic::catch_unwind(AssertUnwindSafe(go)).unwrap_or_else(panicked)
    }

    /// After a failure: the alert for the peer.
    fn drain_alert(&mut self, out: &mut Sealed) {
        // rustls has something to encode, so it does not look at any input.
        while self.state().wants_write() {
            let before = out.filled;
            let _ = match &mut self.side {
                Side::Server(connection) => encode_one(connection, out),
                Side::Client(connection) => encode_one(connection, out),
            };
            if out.filled == before {
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
        match self.side {
            Side::Server(_) => TlsFailure::from_server(error),
            Side::Client(_) => TlsFailure::from_client(error, self.server_name.as_deref().unwrap_or_default()),
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

/// What is known of a session once its handshake is done.
impl Session {
    /// What certificates are read with.
    pub(crate) fn crypto(&self) -> &CryptoProvider {
        &self.crypto
    }

    /// The name that the client asked for (RFC 6066 section 3).
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The version, once it is agreed on.
    pub(crate) fn version(&self) -> Option<TlsVersion> {
        match self.state().protocol_version()? {
            ProtocolVersion::TLSv1_2 => Some(TlsVersion::Tls12),
            ProtocolVersion::TLSv1_3 => Some(TlsVersion::Tls13),
            _ => None,
        }
    }

    /// The cipher suite, by its name in the registry.
    pub(crate) fn cipher(&self) -> Option<&'static str> {
        self.state().negotiated_cipher_suite()?.suite().as_str()
    }

    /// The group of the key exchange; `None` for a resumed session of TLS 1.2.
    pub(crate) fn group(&self) -> Option<&'static str> {
        self.state().negotiated_key_exchange_group()?.name().as_str()
    }

    /// The protocol that was agreed on (RFC 7301).
    #[cfg_attr(not(test), expect(dead_code, reason = "there is one, and none is as good"))]
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.state().alpn_protocol()
    }

    /// Whether an earlier session was resumed.
    pub(crate) fn is_resumed(&self) -> bool {
        self.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The peer's certificate and those that it sent along, in DER.
    pub(crate) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.state().peer_certificates().unwrap_or_default()
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

/// Goes through the states of rustls until it waits for input. Each round but the last takes something away: a record, a
/// message that is to be sent, or the news that the peer has closed. So it ends.
fn run<R: Records>(
    connection: &mut R,
    sealed: &mut [u8],
    out: &mut Sealed,
    deliver: &mut dyn FnMut(&[u8]),
    ready: &mut dyn FnMut(&mut dyn Traffic, &mut Sealed),
    peer_closed: &mut bool,
) -> (usize, Result<(), Error>) {
    let mut used = 0;
    loop {
        let UnbufferedStatus { mut discard, state } = connection.records(&mut sealed[used..]);
        let mut result = Ok(());
        let mut is_done = false;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            deliver(record.payload);
                        }
                        Err(error) => {
                            result = Err(error);
                            break;
                        }
                    }
                }
                // The usual record, and the last: it left nothing to be sent, which another round would find out.
                is_done = used.saturating_add(discard) >= sealed.len();
            }
            Ok(ConnectionState::EncodeTlsData(mut message)) => result = encode(|room| message.encode(room), out),
            Ok(ConnectionState::TransmitTlsData(message)) => message.done(),
            Ok(ConnectionState::PeerClosed) => *peer_closed = true,
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                ready(&mut traffic, out);
                is_done = true;
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => is_done = true,
            // Early data is not accepted, so none comes. Other states would be new.
            Ok(_) => result = Err(Error::General("a state that was not asked for".to_owned())),
            Err(error) => result = Err(error),
        }
        used = used.saturating_add(discard).min(sealed.len());
        if is_done || result.is_err() {
            return (used, result);
        }
    }
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
                out.filled += written;
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) if size.required_size > room => room = size.required_size,
            Err(_) => return Err(Error::General("a message that cannot be encoded".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
