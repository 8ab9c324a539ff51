//! The states that rustls goes through, and what each of them is for.

use rustls::Error;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, ReadTraffic, UnbufferedStatus, WriteTraffic};

use crate::tls::record::{RECORD, Sealed};

/// What sealing adds to a record, at most, and room for a key update before it.
pub(super) const OVERHEAD: usize = 64;

/// The most bytes that so much plaintext has when it is sealed.
pub(super) fn sealed_bytes(plain: usize) -> usize {
    plain + plain.div_ceil(RECORD).max(1) * OVERHEAD
}

/// A state of rustls in which application data may be sealed.
pub(super) trait Traffic {
    fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, EncryptError>;
    fn queue_close_notify(&mut self, out: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<D> Traffic for WriteTraffic<'_, D> {
    fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, EncryptError> {
        self.encrypt(plain, out)
    }

    fn queue_close_notify(&mut self, out: &mut [u8]) -> Result<usize, EncryptError> {
        self.queue_close_notify(out)
    }
}

/// Both sides of rustls, which has one method for each.
pub(super) trait Records {
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
pub(super) type Processed = Result<usize, Box<Failed>>;

/// What went wrong behind so many bytes. In a box, since a failure is rare, and large.
pub(super) struct Failed {
    pub(super) used: usize,
    pub(super) error: Error,
}

impl Failed {
    #[cold]
    pub(super) fn new(used: usize, error: Error) -> Box<Self> {
        Box::new(Self { used, error })
    }
}

/// May have rustls write.
pub(super) type Ready<'a> = dyn FnMut(&mut dyn Traffic, &mut Sealed) + 'a;

/// What rustls has to say beside plaintext.
pub(super) struct Rest<'a> {
    pub(super) out: &'a mut Sealed,
    pub(super) peer_closed: &'a mut bool,
}

/// A state of rustls, or its failure.
type State<'c, 'i, D> = Result<ConnectionState<'c, 'i, D>, Error>;

/// What became of a record. `Ok`: it had plaintext, all of which is in the room, and nothing else came of it. `Err`: anything else. Each
/// with the bytes in the room.
pub(super) type Once = Result<usize, (usize, Processed)>;

/// Opens a record. That of plaintext is the usual one, and passes here without the states of all others. Plaintext goes to `room`, and
/// what has no room there to `beyond`.
#[inline(always)]
pub(super) fn open_once<R: Records>(
    connection: &mut R,
    sealed: &mut [u8],
    room: &mut [u8],
    beyond: &mut impl FnMut(&[u8]),
    mut rest: Rest<'_>,
) -> Once {
    let (length, mut put) = (sealed.len(), 0);
    let UnbufferedStatus { discard: mut used, state } = connection.records(sealed);
    match reading(state) {
        Ok(mut traffic) => {
            let mut bytes = 0;
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        used = used.saturating_add(record.discard);
                        bytes += record.payload.len();
                        put += place(record.payload, &mut room[put..], beyond);
                    }
                    Err(error) => return Err((put, Err(Failed::new(used.min(length), error)))),
                }
                // Cheaper than another `next_record`, which would find nothing.
                if traffic.peek_len().is_none() {
                    break;
                }
            }
            // It left nothing to be sent, which another round would find out.
            if used >= length {
                return if put == bytes && put > 0 { Ok(put) } else { Err((put, Ok(length))) };
            }
        }
        Err(state) => {
            let mut deliver = |bytes: &[u8]| put += place(bytes, &mut room[put..], beyond);
            match handle(state, &mut deliver, &mut |_, _| {}, &mut rest) {
                Ok(None) => return Err((put, Ok(used.min(length)))),
                Ok(Some(more)) => used = used.saturating_add(more),
                Err(error) => return Err((put, Err(Failed::new(used.min(length), error)))),
            }
        }
    }
    let mut deliver = |bytes: &[u8]| put += place(bytes, &mut room[put..], beyond);
    let processed = go_on(connection, sealed, used, &mut deliver, &mut |_, _| {}, &mut rest);
    Err((put, processed))
}

/// Puts plaintext to the front of `room`, and what has no room there to `beyond`. Returns how many bytes are in the room.
#[inline(always)]
fn place(plain: &[u8], room: &mut [u8], beyond: &mut impl FnMut(&[u8])) -> usize {
    let (first, more) = plain.split_at(plain.len().min(room.len()));
    room[..first.len()].copy_from_slice(first);
    if !more.is_empty() {
        beyond(more);
    }
    first.len()
}

/// Takes the usual state apart from all others. By a function, so that none of the others has to be dropped behind the usual one.
#[inline(always)]
fn reading<'c, 'i, D>(state: State<'c, 'i, D>) -> Result<ReadTraffic<'c, 'i, D>, State<'c, 'i, D>> {
    match state {
        Ok(ConnectionState::ReadTraffic(traffic)) => Ok(traffic),
        state => Err(state),
    }
}

/// The same for sealing.
#[inline(always)]
fn writing<'c, 'i, D>(state: State<'c, 'i, D>) -> Result<WriteTraffic<'c, D>, State<'c, 'i, D>> {
    match state {
        Ok(ConnectionState::WriteTraffic(traffic)) => Ok(traffic),
        state => Err(state),
    }
}

/// Seals `plain`, if rustls is ready for that and has nothing that goes before it. Returns whether it is sealed.
#[inline(always)]
pub(super) fn seal_once<R: Records>(connection: &mut R, plain: &[u8], mut rest: Rest<'_>) -> Result<bool, Box<Failed>> {
    match writing(connection.records(&mut []).state) {
        Ok(mut traffic) => {
            match traffic.encrypt(plain, rest.out.make_room(sealed_bytes(plain.len()))) {
                Ok(written) => {
                    rest.out.add(written);
                    Ok(true)
                }
                // A key update goes first.
                Err(EncryptError::InsufficientSize(_)) => Ok(false),
                Err(_) => Err(Failed::new(0, Error::EncryptError)),
            }
        }
        Err(state) => match handle(state, &mut |_| {}, &mut |_, _| {}, &mut rest) {
            Ok(_) => Ok(false),
            Err(error) => Err(Failed::new(0, error)),
        },
    }
}

/// Has rustls write. Usually it can at once.
#[inline]
pub(super) fn write_once<R: Records>(
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
pub(super) fn go_on<R: Records>(
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
    state: State<'_, '_, D>,
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
pub(super) fn encode_one<R: Records>(connection: &mut R, out: &mut Sealed) -> Result<(), Error> {
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
