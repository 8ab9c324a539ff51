//! Servers written by hand, with or without TLS of rustls.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use sockeye::sim::Peer;

/// A connection that a test accepted.
pub(super) struct Scripted {
    pub(super) peer: Peer,
    tls: Option<ServerConnection>,
}

impl Scripted {
    /// Without TLS yet.
    pub(super) fn plain(peer: Peer) -> Self {
        Self { peer, tls: None }
    }

    /// With TLS from the first byte.
    pub(super) fn secured(peer: Peer, config: &Arc<ServerConfig>) -> Self {
        let mut scripted = Self::plain(peer);
        scripted.secure(config);
        scripted
    }

    /// The session, once there is one.
    pub(super) fn tls(&mut self) -> &mut ServerConnection {
        self.tls.as_mut().unwrap()
    }

    /// Whether the peer said by close_notify that nothing follows.
    pub(super) fn is_closed(&mut self) -> bool {
        self.tls().process_new_packets().is_ok_and(|state| state.peer_has_closed())
    }

    /// From now on with TLS.
    pub(super) fn secure(&mut self, config: &Arc<ServerConfig>) {
        self.tls = Some(ServerConnection::new(config.clone()).unwrap());
    }

    /// What has arrived. A handshake goes on meanwhile.
    pub(super) fn recv(&mut self) -> Vec<u8> {
        let bytes = self.peer.recv();
        let Some(tls) = &mut self.tls else { return bytes };
        let mut rest = &bytes[..];
        let mut plain = Vec::new();
        while !rest.is_empty() {
            tls.read_tls(&mut rest).unwrap();
            let Ok(state) = tls.process_new_packets() else { break };
            let mut piece = vec![0; state.plaintext_bytes_to_read()];
            tls.reader().read_exact(&mut piece).unwrap();
            plain.extend(piece);
        }
        self.push();
        plain
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(bytes).unwrap(),
            None => self.peer.send(bytes),
        }
        self.push();
    }

    /// Ends its side; `politely`: with close_notify.
    pub(super) fn end(&mut self, politely: bool) {
        if let Some(tls) = self.tls.as_mut().filter(|_| politely) {
            tls.send_close_notify();
        }
        self.push();
        self.peer.shutdown();
    }

    /// Sends what the session has to send.
    pub(super) fn push(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        let mut sealed = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut sealed).unwrap();
        }
        if !sealed.is_empty() {
            self.peer.send(&sealed);
        }
    }
}
