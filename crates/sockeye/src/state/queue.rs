//! Requests of callbacks that the loop carries out between them.

use std::os::fd::OwnedFd;

use sockeye_proto::close::Close;
use sockeye_proto::conn::ControlPayload;
use sockeye_proto::time::Instant;

use crate::id::ConnId;
use crate::limits::Keepalive;
use crate::state::endpoints::EndpointIndex;
use crate::tls::TlsRole;

/// Commands that wait for the end of the callback. They are added by methods.
#[derive(Default)]
pub(crate) struct CommandQueue {
    pub(crate) ends: Vec<(ConnId, End)>,
    pub(crate) timers: Vec<(ConnId, Option<Instant>)>,
    pub(crate) adoptions: Vec<Adoption>,
    pub(crate) controls: Vec<(ConnId, ControlRequest)>,
    /// The largest messages of single connections.
    pub(crate) message_bytes: Vec<(ConnId, u64)>,
    /// None of these waits when this is false: it is asked for after each step, and several times a turn.
    any: bool,
    /// One flag per endpoint: the writable callback of all its connections is requested.
    all_writable: Vec<bool>,
    any_all_writable: bool,
}

/// How a connection is to end.
#[derive(Debug)]
pub(crate) enum End {
    /// In order: by the closing handshake, if it is a WebSocket.
    Close(Close),
    /// At once.
    Abort,
    /// Only what we send, once it has left. The other direction stays.
    Output,
    /// Only what is plain: TLS follows.
    #[cfg_attr(not(any(feature = "tls-aws-lc", feature = "tls-ring")), expect(dead_code, reason = "there is no TLS"))]
    Plain(Box<TlsStart>),
}

/// TLS that begins on an open connection.
#[derive(Clone, Debug)]
pub(crate) struct TlsStart {
    pub(crate) role: TlsRole,
    /// What the program received and did not use: the peer's first bytes of the handshake.
    #[cfg_attr(not(any(feature = "tls-aws-lc", feature = "tls-ring")), expect(dead_code, reason = "there is no TLS"))]
    pub(crate) rest: Vec<u8>,
}

/// What is asked of a WebSocket beside its messages.
#[derive(Debug)]
pub(crate) enum ControlRequest {
    /// Send a ping.
    Ping(ControlPayload),
    /// Send a pong that answers no ping.
    Pong(ControlPayload),
    /// The peer is alive.
    NoteAlive,
    SetKeepalive(Keepalive),
}

/// A descriptor to adopt.
pub(crate) struct Adoption {
    pub(crate) id: ConnId,
    pub(crate) fd: OwnedFd,
}

impl CommandQueue {
    pub(super) fn new(endpoints: usize) -> Self {
        Self { all_writable: vec![false; endpoints], ..Self::default() }
    }

    /// Whether there is something to carry out between steps.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        debug_assert!(self.any || self.count() == 0, "a command was added past the methods");
        !self.any
    }

    fn count(&self) -> usize {
        self.ends.len() + self.timers.len() + self.adoptions.len() + self.controls.len() + self.message_bytes.len()
    }

    /// Some were carried out or dropped.
    pub(crate) fn settle(&mut self) {
        self.any = self.count() > 0;
    }

    pub(super) fn push_end(&mut self, id: ConnId, end: End) {
        self.any = true;
        self.ends.push((id, end));
    }

    pub(crate) fn push_timer(&mut self, id: ConnId, at: Option<Instant>) {
        self.any = true;
        self.timers.push((id, at));
    }

    pub(super) fn push_adoption(&mut self, adoption: Adoption) {
        self.any = true;
        self.adoptions.push(adoption);
    }

    pub(crate) fn push_control(&mut self, id: ConnId, request: ControlRequest) {
        self.any = true;
        self.controls.push((id, request));
    }

    pub(crate) fn push_message_bytes(&mut self, id: ConnId, bytes: u64) {
        self.any = true;
        self.message_bytes.push((id, bytes));
    }

    /// Whether something may be for the running connection, which does it before its next frame.
    #[inline]
    pub(crate) fn has_own(&self) -> bool {
        self.ends.len() | self.message_bytes.len() != 0
    }

    pub(super) fn has_all_writable(&self) -> bool {
        self.any_all_writable
    }

    pub(super) fn want_write_all(&mut self, endpoint: EndpointIndex) {
        if let Some(flag) = self.all_writable.get_mut(endpoint.get()) {
            *flag = true;
            self.any_all_writable = true;
        }
    }

    /// Whether the writable callback of all connections of that endpoint is requested.
    pub(super) fn wants_all(&self, endpoint: EndpointIndex) -> bool {
        self.all_writable.get(endpoint.get()).copied().unwrap_or(false)
    }

    pub(super) fn clear_all_writable(&mut self) {
        self.all_writable.fill(false);
        self.any_all_writable = false;
    }

    /// Cancels a requested adoption. Returns its descriptor, if there was one.
    pub(crate) fn take_adoption(&mut self, id: ConnId) -> Option<OwnedFd> {
        let index = self.adoptions.iter().position(|adoption| adoption.id == id)?;
        let fd = self.adoptions.remove(index).fd;
        self.settle();
        Some(fd)
    }
}
