//! What TLS allocates: rustls 0.23 takes a buffer for each record that is sealed and for each that is opened, and nothing else does.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

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
    socket: TcpStream,
    tls: ClientConnection,
    /// Allocations within the service.
    count: Cell<usize>,
}

impl Bench {
    fn new() -> Self {
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
        let tls = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { service, socket, tls, count: Cell::new(0) }
    }

    /// Sends `request` and turns the service until `is_done` with what came back.
    fn exchange(&mut self, request: &[u8], is_done: impl Fn(&[u8]) -> bool) {
        self.tls.writer().write_all(request).unwrap();
        let mut got = Vec::new();
        while !is_done(&got) {
            while self.tls.wants_write() && self.tls.write_tls(&mut self.socket).is_ok() {}
            let before = allocator::calls();
            self.service.run_once(Some(Duration::ZERO)).unwrap();
            self.count.set(self.count.get() + allocator::calls() - before);
            while self.tls.read_tls(&mut self.socket).is_ok_and(|count| count > 0) {
                self.tls.process_new_packets().unwrap();
            }
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = self.tls.reader().read(&mut piece) {
                got.extend_from_slice(&piece[..count]);
            }
        }
    }
}

pub(crate) fn a_record_is_allocated_once_each_way() {
    let mut bench = Bench::new();
    bench.exchange(HANDSHAKE, |got| got.ends_with(b"\r\n\r\n"));
    for frames in [1, 16] {
        let request = [&[0x82, 0x80 | 20, 0, 0, 0, 0][..], &[7; 20]].concat().repeat(frames);
        for _ in 0..100 {
            bench.exchange(&request, |got| got.len() == frames * 22);
        }
        bench.count.set(0);
        for _ in 0..1000 {
            bench.exchange(&request, |got| got.len() == frames * 22);
        }
        // One record in and one out, however many frames are in it.
        let count = bench.count.get();
        assert!(count > 0 && count <= 2000, "{count} allocations in 1000 rounds of {frames}");
    }
}
