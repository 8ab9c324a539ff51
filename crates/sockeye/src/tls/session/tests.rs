use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::kernel::KernelConnection;
use rustls::version::{TLS12, TLS13};
use rustls::{ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};

use super::*;
use crate::tls::TlsVersion;
use crate::tls::testing::Configs;
use crate::tls::{RECORD, SEALED_RECORD};

/// Arbitrary numbers, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// One end, with what a stream would keep for it.
struct End {
    session: Session,
    tail: Vec<u8>,
    plain: Vec<u8>,
    out: Sealed,
    records: usize,
    failure: Option<TlsFailure>,
}

impl End {
    fn new(session: Session, out: Sealed) -> Self {
        Self { session, tail: Vec::new(), plain: Vec::new(), out, records: 0, failure: None }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        while self.failure.is_none() {
            let plain = &mut self.plain;
            let opened =
                self.session.open(&mut self.tail, usize::MAX, &mut self.out, |piece| plain.extend_from_slice(piece));
            assert!(opened.used <= self.tail.len() && self.session.held() <= self.tail.len());
            self.tail.drain(..opened.used);
            self.records += opened.records;
            self.failure = opened.result.err();
            if opened.records == 0 {
                break;
            }
        }
    }

    fn take(&mut self) -> Vec<u8> {
        let bytes = self.out.as_slice().to_vec();
        self.out.clear();
        bytes
    }

    fn seal(&mut self, plain: &[u8]) {
        let held = self.session.held();
        self.session.seal(&mut self.tail[..held], &mut self.out, |sealer| sealer.seal(plain)).unwrap();
    }

    fn close(&mut self) {
        let held = self.session.held();
        self.session.close(&mut self.tail[..held], &mut self.out);
    }
}

struct Pair {
    client: End,
    server: End,
}

impl Pair {
    fn new(configs: &(Arc<ServerConfig>, Arc<ClientConfig>)) -> Self {
        let mut hello = Sealed::default();
        let client = Session::client(Arc::clone(&configs.1), "localhost", &mut hello).unwrap();
        let server = Session::server(Arc::clone(&configs.0)).unwrap();
        Self { client: End::new(client, hello), server: End::new(server, Sealed::default()) }
    }

    fn is_quiet(&self) -> bool {
        self.client.out.is_empty() && self.server.out.is_empty()
    }

    /// Moves flights until there are none, each in pieces as `cut` says.
    fn run(&mut self, mut cut: impl FnMut(usize, &[u8]) -> usize) {
        let mut flight = 0;
        while !self.is_quiet() {
            for is_client in [true, false] {
                let (from, to) =
                    if is_client { (&mut self.client, &mut self.server) } else { (&mut self.server, &mut self.client) };
                let bytes = from.take();
                if bytes.is_empty() {
                    continue;
                }
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let at = cut(flight, rest).clamp(1, rest.len());
                    to.feed(&rest[..at]);
                    rest = &rest[at..];
                }
                flight += 1;
                assert!(flight < 100, "no end");
            }
        }
    }

    fn connect(&mut self) {
        self.run(|_, rest| rest.len());
        assert!(!self.client.session.is_handshaking() && !self.server.session.is_handshaking());
    }

    fn assert_talks(&mut self, what: &str) {
        assert!(!self.client.session.is_handshaking() && !self.server.session.is_handshaking(), "{what}");
        assert!(self.client.tail.is_empty() && self.server.tail.is_empty(), "{what}");
        self.client.seal(b"ask");
        self.server.seal(b"answer");
        self.run(|_, rest| rest.len());
        assert_eq!((&self.server.plain[..], &self.client.plain[..]), (&b"ask"[..], &b"answer"[..]), "{what}");
    }
}

fn shared(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let Configs { server, client } = Configs::of(version);
    (Arc::new(server), Arc::new(client))
}

#[test]
fn a_handshake_may_be_cut_at_every_byte() {
    for (version, name) in [(&TLS13, TlsVersion::Tls13), (&TLS12, TlsVersion::Tls12)] {
        let configs = shared(version);
        // In single bytes.
        let mut pair = Pair::new(&configs);
        pair.run(|_, _| 1);
        pair.assert_talks("single bytes");
        let server = &pair.server.session;
        assert_eq!((server.version(), server.server_name()), (Some(name), Some("localhost")));
        assert_eq!((server.alpn(), server.is_resumed()), (Some(&b"http/1.1"[..]), false));
        assert!(server.cipher().is_some() && server.group().is_some() && server.peer_certificates().is_empty());
        assert_eq!(pair.client.session.peer_certificates().len(), 1);

        // Each flight at each byte, by one handshake for each.
        for flight in 0.. {
            let mut length = 0;
            let mut at = 1;
            while at == 1 || at < length {
                let mut pair = Pair::new(&configs);
                let mut is_first = true;
                pair.run(|number, rest| {
                    if number != flight || !std::mem::take(&mut is_first) {
                        return rest.len();
                    }
                    length = rest.len();
                    at
                });
                pair.assert_talks("cut");
                // Signatures have various lengths: some bytes at the end are left out at times. In long flights every
                // third byte is cut at.
                at += if length > 600 { 3 } else { 1 };
            }
            if length == 0 {
                break;
            }
        }
    }
}

#[test]
fn plaintext_of_every_length_comes_through_in_as_few_records_as_it_takes() {
    for version in [&TLS13, &TLS12] {
        let mut pair = Pair::new(&shared(version));
        pair.connect();
        let text: Vec<u8> = (0..4 * RECORD + 3).map(|index| (index * 7) as u8).collect();
        let around =
            (1..5).flat_map(|count| [count * RECORD - 1, count * RECORD, (count * RECORD + 1).min(text.len())]);
        for length in (1..300).chain([1000, 5000]).chain(around) {
            pair.server.plain.clear();
            let before = pair.server.records;
            pair.client.seal(&text[..length]);
            let sealed = pair.client.take();
            // What is received in two pieces is opened once a record is whole.
            let middle = sealed.len() / 2;
            pair.server.feed(&sealed[..middle]);
            pair.server.feed(&sealed[middle..]);
            assert!(pair.server.plain == text[..length], "{length} bytes");
            assert_eq!(pair.server.records - before, length.div_ceil(RECORD), "{length} bytes");
            assert!(sealed.len() <= sealed_bytes(length));
        }
    }
}

#[test]
fn no_more_is_opened_than_there_is_room_for() {
    let mut pair = Pair::new(&shared(&TLS13));
    pair.connect();
    for _ in 0..10 {
        pair.client.seal(&[7; 100]);
    }
    let mut sealed = pair.client.take();
    let mut got = 0;
    let opened = pair.server.session.open(&mut sealed, 310, &mut Sealed::default(), |plain| got += plain.len());
    assert_eq!((opened.records, got), (2, 200), "the third has 117 bytes beside its header");
    sealed.drain(..opened.used);
    // At least one is opened.
    let opened = pair.server.session.open(&mut sealed, 1, &mut Sealed::default(), |plain| got += plain.len());
    assert_eq!((opened.records, got), (1, 300));
}

#[test]
fn close_notify_ends_one_direction_and_nothing_behind_it_is_opened() {
    for version in [&TLS13, &TLS12] {
        let mut pair = Pair::new(&shared(version));
        pair.connect();
        pair.client.seal(b"last");
        pair.client.close();
        pair.client.close();
        let mut sealed = pair.client.take();
        sealed.extend_from_slice(b"\x17\x03\x03\x00\x05 this is no record at all");
        pair.server.feed(&sealed);
        assert_eq!((&pair.server.plain[..], pair.server.session.has_peer_closed()), (&b"last"[..], true));
        assert!(pair.server.failure.is_none() && pair.server.tail.is_empty());
        // The other direction is still open.
        pair.server.seal(b"bye");
        pair.server.close();
        assert!(pair.server.session.is_closed());
        let sealed = pair.server.take();
        pair.client.feed(&sealed);
        assert_eq!((&pair.client.plain[..], pair.client.session.has_peer_closed()), (&b"bye"[..], true));
        let mut out = Sealed::default();
        assert!(pair.server.session.seal(&mut [], &mut out, |sealer| sealer.seal(b"more")).is_err() && out.is_empty());
    }
}

#[test]
fn what_is_no_tls_fails_at_once_with_an_alert() {
    for wrong in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x02\x00\x00\x05hello",
        b"\x16\x03\x01\xff\xff",
        b"\x17\x03\x03\x00\x01a",
    ] {
        let mut server = End::new(Session::server(shared(&TLS13).0).unwrap(), Sealed::default());
        server.feed(wrong);
        assert!(server.failure.is_some(), "{wrong:?}");
        assert_eq!(server.take().first(), Some(&21), "an alert");
        server.feed(b"more");
        assert!(server.out.is_empty());
    }
}

#[test]
fn a_wrong_record_after_our_close_notify_ends_the_session() {
    for version in [&TLS13, &TLS12] {
        let mut pair = Pair::new(&shared(version));
        pair.connect();
        pair.server.close();
        pair.client.seal(b"still here");
        let mut sealed = pair.client.take();
        pair.server.feed(&sealed.clone());
        assert_eq!(pair.server.plain, b"still here");
        *sealed.last_mut().unwrap() ^= 1;
        pair.server.feed(&sealed);
        assert!(pair.server.failure.is_some());
    }
}

/// A client whose records the test makes itself.
struct Forger {
    connection: KernelConnection<ClientConnectionData>,
    suite: SupportedCipherSuite,
    encrypter: Box<dyn MessageEncrypter>,
    next: u64,
}

impl Forger {
    fn of(client: End) -> Self {
        let Side::Client(connection) = client.session.side else { panic!("a server") };
        let (secrets, connection) = connection.dangerous_into_kernel_connection().unwrap();
        let suite = connection.negotiated_cipher_suite();
        Self { encrypter: encrypter(suite, secrets.tx.1), next: secrets.tx.0, connection, suite }
    }

    fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let payload = OutboundChunks::Single(payload);
        let plain = OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload };
        let record = self.encrypter.encrypt(plain, self.next).unwrap();
        self.next += 1;
        record.encode()
    }

    fn key_update(&mut self) -> Vec<u8> {
        let record = self.record(ContentType::Handshake, &[24, 0, 0, 1, 1]);
        let (next, secrets) = self.connection.update_tx_secret().unwrap();
        (self.encrypter, self.next) = (encrypter(self.suite, secrets), next);
        record
    }
}

fn encrypter(suite: SupportedCipherSuite, secrets: ConnectionTrafficSecrets) -> Box<dyn MessageEncrypter> {
    let SupportedCipherSuite::Tls13(suite) = suite else { panic!("not TLS 1.3") };
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => suite.aead_alg.encrypter(key, iv),
        _ => panic!("an unknown cipher"),
    }
}

fn forged() -> (Forger, End) {
    let mut pair = Pair::new(&shared(&TLS13));
    pair.connect();
    (Forger::of(pair.client), pair.server)
}

#[test]
fn a_flood_of_empty_records_ends_the_session() {
    let (mut client, mut server) = forged();
    let flood: Vec<u8> = (0..40).flat_map(|_| client.record(ContentType::ApplicationData, &[])).collect();
    server.feed(&flood);
    assert!(server.failure.is_some() && server.records < 40 && server.plain.is_empty());
}

#[test]
fn a_flood_of_key_updates_ends_the_session_and_answers_do_not_pile_up() {
    let (mut client, mut server) = forged();
    let flood: Vec<u8> = (0..40).flat_map(|_| client.key_update()).collect();
    server.feed(&flood);
    assert!(server.failure.is_some() && server.records < 40);

    // With data between them there may be any number, each a record without plaintext, and one answer waits.
    let (mut client, mut server) = forged();
    let mut fruitless = 0;
    for _ in 0..200 {
        let mut sealed = [client.key_update(), client.record(ContentType::ApplicationData, b"x")].concat();
        let opened = server.session.open(&mut sealed, usize::MAX, &mut server.out, |_| {});
        assert_eq!((opened.used, opened.records), (sealed.len(), 2));
        fruitless += opened.fruitless;
    }
    assert_eq!((fruitless, server.out.as_slice().len()), (200, 0));
    server.seal(b"answer");
    assert!(server.out.as_slice().len() < 100, "{}", server.out.as_slice().len());
}

/// A record by itself takes the short way, which must find what the long one finds.
#[test]
fn one_whole_record_is_opened_alike_both_ways() {
    type Make = fn(&mut Forger) -> Vec<u8>;
    let corrupt: Make = |client| {
        let mut record = client.record(ContentType::ApplicationData, b"x");
        *record.last_mut().unwrap() ^= 1;
        record
    };
    let kinds: [(&str, Make); 7] = [
        ("data", |client| client.record(ContentType::ApplicationData, b"data")),
        ("nothing", |client| client.record(ContentType::ApplicationData, b"")),
        ("new keys", Forger::key_update),
        ("close_notify", |client| client.record(ContentType::Alert, &[1, 0])),
        ("an alert", |client| client.record(ContentType::Alert, &[2, 40])),
        ("part of a message", |client| client.record(ContentType::Handshake, &[24, 0])),
        ("corrupt", corrupt),
    ];
    for (name, make) in kinds {
        // Room for all, for as much as there is, and for a part.
        let found = [0, 8, 4, 1].map(|room_bytes| {
            let (mut client, mut server) = forged();
            let mut record = make(&mut client);
            let (length, mut plain) = (record.len(), Vec::new());
            let session = &mut server.session;
            let opened = if room_bytes > 0 {
                let (mut room, mut beyond) = ([0; 8], Vec::new());
                let room = &mut room[..room_bytes];
                let whole =
                    session.open_whole(&mut record, room, &mut server.out, |piece| beyond.extend_from_slice(piece));
                let (put, opened) = match whole {
                    Whole::Plain(put) => {
                        assert!(put > 0 && beyond.is_empty() && !session.has_peer_closed(), "{name}");
                        (put, Opened { used: length, records: 1, ..Opened::none(false) })
                    }
                    Whole::Other(put, opened) => (put, opened),
                    Whole::Nothing => panic!("{name} is one whole record"),
                };
                plain = [&room[..put], &beyond].concat();
                opened
            } else {
                session.open(&mut record, usize::MAX, &mut server.out, |piece| plain.extend_from_slice(piece))
            };
            let counts = (opened.used, opened.records, opened.fruitless, session.held());
            let failure = opened.result.err().map(|failure| failure.to_string());
            (plain, counts, failure, session.has_peer_closed(), server.out.as_slice().len())
        });
        for short in &found[1..] {
            assert_eq!(found[0], *short, "{name}");
        }
    }
    // Less or more than one is not for it.
    let (mut client, mut server) = forged();
    let mut two: Vec<u8> = (0..2).flat_map(|_| client.record(ContentType::ApplicationData, b"data")).collect();
    let one = two.len() / 2;
    let mut open = |record: &mut [u8]| server.session.open_whole(record, &mut [0; 8], &mut server.out, |_| {});
    for length in (0..one).chain(one + 1..=two.len()) {
        assert!(matches!(open(&mut two[..length]), Whole::Nothing), "{length}");
    }
    assert!(matches!(open(&mut two[..one]), Whole::Plain(4)));
}

#[test]
fn the_short_look_at_a_record_agrees_with_the_long_one() {
    let most = SEALED_RECORD - HEADER;
    for kind in 18..=25 {
        for major in 2..=4 {
            for length in [0, 1, 0x102, most, most + 1] {
                let mut bytes = vec![kind, major, 3];
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
                for present in [0, 1, HEADER - 1, HEADER, HEADER + length - 1, HEADER + length, HEADER + length + 1] {
                    bytes.resize(HEADER + length + 1, 0);
                    let bytes = &bytes[..present];
                    let is_one = Front::of(bytes) == Front::Record(present);
                    assert_eq!(is_one_of_data(bytes), is_one && kind == 23, "{kind} {major} {length} {present}");
                }
            }
        }
    }
}

#[test]
fn sealing_is_possible_while_a_message_of_the_peer_is_incomplete() {
    let (mut client, mut server) = forged();
    let record = client.record(ContentType::Handshake, &[24, 0]);
    server.feed(&record);
    assert_eq!((server.session.held(), server.tail.len()), (record.len(), record.len()));
    server.seal(b"meanwhile");
    server.close();
    assert!(!server.out.is_empty());
    // Data within a message is refused (RFC 8446 section 5.1).
    let record = client.record(ContentType::ApplicationData, b"x");
    server.session.closed = false;
    server.feed(&record);
    assert!(server.failure.is_some());
}

#[test]
fn no_mutation_of_what_a_peer_sends_does_more_than_end_the_session() {
    let mut numbers = Numbers(0x5eed);
    let configs = [shared(&TLS13), shared(&TLS12)];
    let mut outcomes = [0; 2];
    for round in 0..10_000 {
        let mut pair = Pair::new(&configs[round % 2]);
        // In most rounds a flight of the client is changed, in the others one of the server.
        let (changes_client, victim) = (round % 8 != 0, numbers.below(2));
        let mut flights = [0; 2];
        let mut rounds = 0;
        while !pair.is_quiet() && rounds < 8 {
            for is_client in [true, false] {
                let (from, to) =
                    if is_client { (&mut pair.client, &mut pair.server) } else { (&mut pair.server, &mut pair.client) };
                let mut bytes = from.take();
                let number = &mut flights[usize::from(is_client)];
                if is_client == changes_client && *number == victim && !bytes.is_empty() {
                    mutate(&mut bytes, &mut numbers);
                }
                *number += usize::from(!bytes.is_empty());
                let middle = numbers.below(bytes.len() + 1);
                to.feed(&bytes[..middle]);
                to.feed(&bytes[middle..]);
                assert!(to.out.as_slice().len() < 8192 && to.tail.len() < 2 * SEALED_RECORD);
            }
            rounds += 1;
        }
        let failed = pair.client.failure.is_some() || pair.server.failure.is_some();
        outcomes[usize::from(failed)] += 1;
    }
    assert!(outcomes[1] > 3000, "{outcomes:?}");
}

fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len().max(1));
        match numbers.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), numbers.next() as u8),
            2 if !bytes.is_empty() => _ = bytes.remove(at),
            3 if !bytes.is_empty() => {
                let piece = bytes[at..].to_vec();
                bytes.extend(piece);
            }
            _ if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            _ => {}
        }
    }
}
