//! What TLS allocates: rustls 0.23 takes a buffer for each record that is sealed and for each that is opened, and nothing else does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use sockeye::service::Listen;
use sockeye::sys::Address;
use sockeye::tls::{Pem, Provider, ServerTls};
use sockeye::{Limits, Service, messages};

use crate::allocator;

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

struct Bench {
    service: Service,
    peers: Vec<Peer>,
    /// Allocations within the service.
    count: usize,
}

struct Peer {
    socket: TcpStream,
    tls: ClientConnection,
    got: Vec<u8>,
}

impl Peer {
    /// Sends what the session has to send, as far as the socket takes it.
    fn send(&mut self) {
        while self.tls.wants_write() && self.tls.write_tls(&mut self.socket).is_ok() {}
    }

    fn receive(&mut self) {
        while self.tls.read_tls(&mut self.socket).is_ok_and(|count| count > 0) {
            self.tls.process_new_packets().unwrap();
        }
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = self.tls.reader().read(&mut piece) {
            self.got.extend_from_slice(&piece[..count]);
        }
    }
}

impl Bench {
    /// A service that echoes, and so many connections to it that are to be secured.
    fn new(peers: usize) -> Self {
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let server =
            ServerTls::builder(Provider::Ring).certificate(Pem::bytes(own.pem()), Pem::bytes(key.serialize_pem()));
        let mut limits = Limits::default();
        // The report of a stall takes memory.
        limits.stall = None;
        let listen = Listen::new("127.0.0.1:0").tls(server.build().unwrap());
        let builder = Service::builder().limits(limits).protocol(messages::echo("echo")).listener(listen);
        let service = builder.build().unwrap();
        let Address::Ip(address) = service.local_addresses()[0].clone() else { panic!("no address") };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(own.der().to_vec())).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        let peer = |_| {
            let tls = ClientConnection::new(Arc::clone(&config), "localhost".try_into().unwrap()).unwrap();
            let socket = TcpStream::connect(address).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.set_nodelay(true).unwrap();
            Peer { socket, tls, got: Vec::new() }
        };
        Self { service, peers: (0..peers).map(peer).collect(), count: 0 }
    }

    /// All peers send `request`, and the service turns until `is_done` with what came back to each.
    fn exchange(&mut self, request: &[u8], is_done: impl Fn(&[u8]) -> bool) {
        for peer in &mut self.peers {
            peer.got.clear();
            peer.tls.writer().write_all(request).unwrap();
        }
        while !self.peers.iter().all(|peer| is_done(&peer.got)) {
            self.peers.iter_mut().for_each(Peer::send);
            let before = allocator::calls();
            self.service.run_once(Some(Duration::ZERO)).unwrap();
            self.count += allocator::calls() - before;
            self.peers.iter_mut().for_each(Peer::receive);
        }
    }
}

pub(crate) fn a_record_is_allocated_once_each_way() {
    let mut bench = Bench::new(1);
    bench.exchange(HANDSHAKE, |got| got.ends_with(b"\r\n\r\n"));
    for frames in [1, 16] {
        let begin = Instant::now();
        let request = [&[0x82, 0x80 | 20, 0, 0, 0, 0][..], &[7; 20]].concat().repeat(frames);
        for _ in 0..100 {
            bench.exchange(&request, |got| got.len() == frames * 22);
        }
        bench.count = 0;
        for _ in 0..1000 {
            bench.exchange(&request, |got| got.len() == frames * 22);
        }
        // One record in and one out, however many frames are in it.
        let count = bench.count;
        assert!(
            count > 0 && count <= 2000 + allocator::tidying(begin, 4),
            "{count} allocations in 1000 rounds of {frames}"
        );
    }
}

/// So many messages of 16 KiB are more than one turn may cost: the last of them get a small share of it.
pub(crate) fn a_message_of_two_records_is_not_collected_in_a_crowded_turn() {
    const PEERS: usize = 100;
    const ROUNDS: usize = 20;
    let begin = Instant::now();
    let mut bench = Bench::new(PEERS);
    bench.exchange(HANDSHAKE, |got| got.ends_with(b"\r\n\r\n"));
    let request = [&[0x82, 0x80 | 126, 0x40, 0, 0, 0, 0, 0][..], &[7; 16 * 1024]].concat();
    let is_done = |got: &[u8]| got.len() == 4 + 16 * 1024;
    for _ in 0..3 {
        bench.exchange(&request, is_done);
    }
    bench.count = 0;
    for _ in 0..ROUNDS {
        bench.exchange(&request, is_done);
    }
    // Two records each way. What is collected would take a buffer of its own.
    let count = bench.count;
    assert!(
        count <= 4 * PEERS * ROUNDS + allocator::tidying(begin, PEERS),
        "{count} allocations for {} messages",
        PEERS * ROUNDS
    );
}
