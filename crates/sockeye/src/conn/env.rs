//! The state that the steps of all connections share, and the only way to call the program back.

use std::rc::Rc;

use sockeye_proto::close::Closed;

use crate::admission::{AcceptedConnection, Admission};
#[cfg(feature = "client")]
use crate::client::HandshakeHead;
use crate::client::Retry;
use crate::conn::handshakes::Handshakes;
use crate::conn::policy::Site;
use crate::conn::wire::Wire;
use crate::id::{ConnId, ListenerHandle, RequestId};
use crate::limits::Limits;
#[cfg(feature = "client")]
use crate::protocol::ProtocolMut;
use crate::protocol::endpoint::{DescriptorEndpoint, Endpoint, Endpoints, WebSocketEndpoint};
use crate::protocol::{ClosedCx, Cx, RawClosed, RawClosedCx, RawCx, RequestClosedCx, RequestEnd};
use crate::state::{Commands, EndpointIndex, Entry, ReadBudget};
use crate::statistics::{BoardSlot, Culprit, WorkOwner};
use crate::sys::{Address, Handle};
use crate::transport::LoopIo;

/// The loop, as a connection sees it. The table of connections is not in it.
pub(crate) struct Env {
    pub(crate) io: LoopIo,
    pub(crate) state: Commands,
    pub(crate) endpoints: Endpoints,
    /// What connections get that no listener accepted.
    pub(crate) site: Rc<Site>,
    pub(crate) admission: Admission,
    /// Handshakes of TLS that are under way, or wait.
    #[cfg_attr(not(any(feature = "tls-aws-lc", feature = "tls-ring")), expect(dead_code, reason = "there is no TLS"))]
    pub(crate) handshakes: Handshakes,
    /// The one receive buffer. Its head room takes bytes that a connection kept from the previous
    /// read.
    pub(crate) rx: Box<[u8]>,
    pub(crate) limits: Limits,
    /// What each connection may read, and may send, in this turn.
    pub(crate) share: ReadBudget,
    /// Where counters are published for other threads, if there are any.
    pub(crate) board: Option<BoardSlot>,
}

impl Env {
    /// Whether an accepted connection may go on. Counts it if so.
    pub(super) fn admit(
        &mut self,
        id: ConnId,
        handle: Handle,
        peer: &Address,
        proxy: Option<&Address>,
        listener: Option<ListenerHandle>,
    ) -> bool {
        if !self.admission.has_room(peer, &mut self.io.meters.statistics) {
            return false;
        }
        if self.admission.has_filter() {
            let local = &self.io.sys.local_address(handle).unwrap_or(Address::Unnamed);
            let descriptor = self.io.sys.borrow(handle).ok();
            let accepted = AcceptedConnection { id, peer, proxy, local, listener, descriptor };
            if !self.admission.passes(&accepted, &mut self.io.meters.statistics) {
                return false;
            }
        }
        if let Some(entry) = self.state.registry.get_mut(id) {
            entry.set_admitted();
        }
        true
    }

    /// A callback of a WebSocket outside the rounds of its step.
    #[cold]
    pub(super) fn call_protocol<R>(
        &mut self,
        id: ConnId,
        peer: &Address,
        culprit: Culprit,
        call: impl FnOnce(&mut dyn WebSocketEndpoint, &mut Cx<'_>, u32) -> R,
    ) -> Option<R> {
        let entry = self.state.registry.get(id)?;
        let endpoint = self.endpoints.web_socket(entry.endpoint)?;
        let cx = &mut Cx::new(&mut self.state, entry.endpoint, id, peer);
        Some(timed(&mut self.io, culprit, owner(id, entry), || call(endpoint, cx, entry.session)))
    }

    /// A callback of another connection outside the rounds of its step.
    #[cold]
    pub(super) fn call_descriptor<R>(
        &mut self,
        id: ConnId,
        wire: &Wire,
        culprit: Culprit,
        call: impl FnOnce(&mut dyn DescriptorEndpoint, &mut RawCx<'_>, u32) -> R,
    ) -> Option<R> {
        let entry = self.state.registry.get(id)?;
        let endpoint = self.endpoints.descriptors(entry.endpoint)?;
        let cx = &mut RawCx::new(&mut self.state, entry.endpoint, id, &wire.peer);
        cx.tls = wire.socket.tls();
        Some(timed(&mut self.io, culprit, owner(id, entry), || call(endpoint, cx, entry.session)))
    }

    /// A callback of an endpoint outside the life of an open connection.
    #[cold]
    pub(crate) fn call_endpoint(
        &mut self,
        endpoint: EndpointIndex,
        id: Option<ConnId>,
        culprit: Culprit,
        call: impl FnOnce(&mut Endpoint, &mut Commands),
    ) {
        let Some(callee) = self.endpoints.get_mut(endpoint) else { return };
        let commands = &mut self.state;
        let owner = WorkOwner { endpoint: Some(endpoint.0), id };
        timed(&mut self.io, culprit, owner, || call(callee, commands));
    }

    /// Shows a head of the opening handshake to the program, which asked for that.
    #[cfg(feature = "client")]
    pub(crate) fn report_head(&mut self, id: ConnId, head: HandshakeHead<'_>) {
        let Some(endpoint) = self.state.registry.get(id).map(|entry| entry.endpoint) else { return };
        self.call_endpoint(endpoint, Some(id), Culprit::HandshakeHead, |object, commands| {
            if let Endpoint::WebSocket(protocol) = object {
                protocol.handshake_head(&mut ProtocolMut { commands, endpoint }, id, head);
            }
        });
    }

    /// The `closed` callback of a WebSocket, once. `retry` is the attempt that follows, if one does.
    #[cold]
    pub(super) fn report_closed(&mut self, id: ConnId, peer: &Address, closed: Closed, retry: Option<Retry>) {
        let Some(entry) = self.end(id) else { return };
        let Some(endpoint) = self.endpoints.web_socket(entry.endpoint) else { return };
        let cx = &mut ClosedCx::new(&mut self.state, entry.endpoint, id, peer, retry);
        let owner = owner(id, entry);
        timed(&mut self.io, Culprit::Closed, owner, || endpoint.closed(cx, entry.session, closed));
    }

    /// The `closed` callback of another connection, once.
    #[cold]
    pub(super) fn report_raw_closed(&mut self, id: ConnId, peer: &Address, closed: RawClosed) {
        let Some(entry) = self.end(id) else { return };
        tracing::debug!(%id, %peer, %closed, "closed");
        let closes = &mut self.io.meters.statistics.raw_closes;
        *match closed {
            RawClosed::Local => &mut closes.local,
            RawClosed::Peer => &mut closes.peer,
            RawClosed::Broken(_) => &mut closes.broken,
            RawClosed::Reset => &mut closes.reset,
            RawClosed::Timeout => &mut closes.timeout,
            RawClosed::Dropped => &mut closes.dropped,
        } += 1;
        let Some(endpoint) = self.endpoints.descriptors(entry.endpoint) else { return };
        let cx = &mut RawClosedCx::new(&mut self.state, entry.endpoint, id, peer);
        let owner = owner(id, entry);
        timed(&mut self.io, Culprit::Closed, owner, || endpoint.closed(cx, entry.session, closed));
    }

    /// The `closed` callback of a request with a session, once. The connection may carry another one afterwards.
    #[cold]
    pub(super) fn report_request_closed(&mut self, id: RequestId, peer: &Address, end: RequestEnd) {
        let connection = id.connection();
        let Some(entry) = self.end(connection) else { return };
        self.forget_session(connection);
        match end {
            RequestEnd::Fault(fault) => {
                let responder = self.state.name_of(entry.endpoint);
                tracing::error!(%id, %peer, responder, %fault, "an answer is not valid HTTP; the connection is reset");
            }
            _ => tracing::debug!(%id, %peer, %end, "request ended"),
        }
        let ends = &mut self.io.meters.statistics.request_ends;
        *match end {
            RequestEnd::Answered => &mut ends.answered,
            RequestEnd::PeerGone => &mut ends.peer_gone,
            RequestEnd::Broken(_) => &mut ends.broken,
            RequestEnd::Timeout(_) => &mut ends.timeout,
            RequestEnd::BadBody(_) => &mut ends.bad_body,
            RequestEnd::Fault(_) => &mut ends.fault,
            RequestEnd::Aborted => &mut ends.aborted,
            RequestEnd::Drained => &mut ends.drained,
            RequestEnd::Dropped => &mut ends.dropped,
        } += 1;
        let Some(endpoint) = self.endpoints.responder(entry.endpoint) else { return };
        let cx = &mut RequestClosedCx::new(&mut self.state, entry.endpoint, id, peer);
        let owner = owner(connection, entry);
        timed(&mut self.io, Culprit::Closed, owner, || endpoint.closed(cx, entry.session, end));
    }

    /// A request has ended, or was answered without a session: nothing of it is left for the next one.
    pub(super) fn forget_session(&mut self, id: ConnId) {
        self.state.exchanges.end(id);
        if let Some(entry) = self.state.registry.get_mut(id) {
            entry.end_session();
        }
    }

    /// Marks a connection as no longer open. `None` if it was not open.
    fn end(&mut self, id: ConnId) -> Option<Entry> {
        let entry = self.state.registry.get_mut(id).filter(|entry| entry.is_open())?;
        entry.set_open(false);
        let entry = *entry;
        self.state.holdings.remove(id);
        self.state.end_topics(id);
        Some(entry)
    }
}

fn owner(id: ConnId, entry: Entry) -> WorkOwner {
    WorkOwner::of(entry.endpoint.0, id)
}

/// Reads the clock around a callback, so that a stall in it can be attributed.
fn timed<R>(io: &mut LoopIo, culprit: Culprit, owner: WorkOwner, call: impl FnOnce() -> R) -> R {
    io.steps_over(0);
    let result = call();
    io.lap(culprit, owner);
    result
}
