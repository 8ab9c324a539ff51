//! Statistics of a service.
//!
//! The loop's thread counts events where they happen: a counter is one addition, without a lock. Per-message work is
//! counted once per message: the number of frames is the sum of messages and of frames that do not end one.
//!
//! The groups below are made by `counters!`, which also gives their counters names: a counter added here appears in
//! every output, except one of `Connections`, `WebSockets` or `Traffic`, which `prometheus` and `show` list one by one.

mod board;
mod meters;
mod prometheus;
mod show;
mod stalls;
#[cfg(test)]
mod tests;
mod traffic;

pub(crate) use self::board::{Board, BoardSlot};
pub(crate) use self::meters::Meters;
pub(crate) use self::prometheus::MEDIA_TYPE;
pub use self::stalls::{Culprit, Stall, Stalls};
pub(crate) use self::stalls::{Stopwatch, TurnStalls, WorkOwner};

use std::collections::BTreeMap;

use sockeye_proto::close::{Cause, Closed, Timeout};
use sockeye_proto::error::Violation;

/// The statistics of a service since it was built: see [`Service::statistics`](crate::Service::statistics).
///
/// `Display` writes several lines for people, [`prometheus`](Self::prometheus) a page for machines.
///
/// ```
/// use sockeye::{Service, messages};
///
/// # fn main() -> Result<(), sockeye::Error> {
/// let service = Service::builder().protocol(messages::echo("echo")).build()?;
/// let before = service.statistics().clone();
/// // .. later:
/// let since = service.statistics().since(&before);
/// println!("{} messages", since.received.messages);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Connections of any kind.
    pub connections: Connections,
    /// Current connections. Not a counter: [`since`](Self::since) keeps it.
    pub connections_now: u64,
    /// The highest number of simultaneous connections. Not a counter.
    pub connections_most: u64,
    /// The maximum number of simultaneous connections: [`Service::max_connections`](crate::Service::max_connections),
    /// summed over threads. Not a counter.
    pub connections_limit: u64,
    /// Bytes that are held for peers: incomplete messages, requests and answers, and output that waits. Not a counter.
    pub held_bytes: u64,
    /// The most that was held at any time. Not a counter.
    pub held_bytes_most: u64,
    /// [`Limits::total_bytes`](crate::Limits::total_bytes), beyond which connections are shed. Not a counter.
    pub held_bytes_limit: u64,
    /// WebSockets: connections whose `open` was called.
    pub websockets: WebSockets,
    /// Current WebSockets. Not a counter.
    pub websockets_now: u64,
    /// The highest number of simultaneous WebSockets. Not a counter.
    pub websockets_most: u64,
    /// Received traffic.
    pub received: Traffic,
    /// Sent traffic. Frames are counted when the program sends them, bytes when the system accepts them.
    pub sent: Traffic,
    /// What compression did for it.
    pub compression: Compressed,
    /// What was published to topics.
    pub topics: Topics,
    /// Current topics, with a subscriber or options of their own; each thread has its own. Not a counter.
    pub topics_now: u64,
    /// Current subscriptions. Not a counter.
    pub subscriptions_now: u64,
    /// Closed WebSockets, by cause.
    pub closes: Closes,
    /// Closed raw connections, by cause.
    pub raw_closes: RawCloses,
    /// HTTP requests with a session that ended, by cause.
    pub request_ends: RequestEnds,
    /// Closed WebSockets, by the code in the peer's Close frame.
    pub codes_received: Codes,
    /// Closed WebSockets, by the code in our Close frame.
    pub codes_sent: Codes,
    /// HTTP responses by status, including 101.
    pub responses: BTreeMap<u16, u64>,
    /// Handshakes of TLS with peers that connected to us, by their outcome.
    pub tls: TlsHandshakes,
    /// Refused connections and requests.
    pub refusals: Refusals,
    /// How often each limit was hit.
    pub limits: LimitsHit,
    /// Failed connection attempts, by the stage that failed.
    pub failures: Failures,
    /// The loop's own work.
    pub work: Work,
    /// Stalls of the loop.
    pub stalls: Stalls,
}

/// Defines groups of counters.
macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)+ })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$doc])* pub $field: u64,)+
        }

        impl $name {
            fn since(&self, earlier: &Self) -> Self {
                Self { $($field: self.$field.saturating_sub(earlier.$field),)+ }
            }

            fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)+
            }

            /// Names and values of all counters.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }
        }
    )+};
}

counters! {
    /// Connections of any kind.
    Connections {
        /// Accepted by a listener and admitted.
        accepted,
        /// Opened by us, to a proxy or server.
        connected,
        /// Descriptors adopted from the program.
        adopted,
        /// Closed.
        closed,
    }

    /// Connections whose `open` was called.
    WebSockets {
        /// Opened by clients that connected to us.
        opened_by_peers,
        /// Opened by us, to servers.
        opened_by_us,
        /// Closed, with a call of `closed`.
        closed,
    }

    /// Traffic in one direction.
    Traffic {
        /// Bytes on all sockets: payloads, frame headers, HTTP.
        bytes,
        /// Complete messages. A published one counts once for each receiving connection.
        messages,
        /// Data frames that do not end a message. A received one without payload is not counted, as no callback sees
        /// it.
        parts,
        /// Ping frames.
        pings,
        /// Pong frames.
        pongs,
        /// Close frames.
        closes,
    }

    /// Compressed messages (permessage-deflate), beside the traffic that they are part of.
    Compressed {
        /// Messages sent compressed. A published one counts once for each receiving connection.
        sent,
        /// The bytes of their payloads before compression.
        sent_plain_bytes,
        /// The bytes of their payloads as they were sent.
        sent_bytes,
        /// Published messages that were compressed once for all their receivers, and the same for each other window.
        deflated,
        /// Messages received compressed.
        received,
        /// The bytes of their payloads as they were received.
        received_bytes,
        /// The bytes of their payloads, inflated.
        received_plain_bytes,
    }

    /// Messages that were published to topics, and what became of them at each subscriber: see
    /// [`Delivery`](crate::topics::Delivery).
    Topics {
        /// Messages published.
        published,
        /// Messages on their way to a subscriber.
        queued,
        /// Messages by which a subscriber lost at least one, because it read too slowly.
        dropped,
        /// Subscribers that were closed, because they read too slowly.
        closed,
    }

    /// Closed WebSockets, by [`Cause`].
    Closes {
        /// Both Close frames were exchanged.
        handshake,
        /// The peer closed the connection without a Close frame.
        eof,
        /// The connection broke.
        reset,
        /// The closing handshake took too long.
        close_timeout,
        /// The peer did not answer a keepalive ping.
        keepalive_timeout,
        /// The peer violated the protocol.
        violation,
        /// Too much output was queued for the peer.
        overflow,
        /// The service held too much for all peers together, and most for this one.
        shed,
        /// The peer did not go on with a message.
        message_timeout,
        /// The service or the program dropped the connection.
        dropped,
        /// The program ended the connection without the closing handshake.
        aborted,
    }

    /// Closed raw connections, by [`RawClosed`](crate::raw::RawClosed).
    RawCloses {
        /// We closed them.
        local,
        /// The peer closed them.
        peer,
        /// They broke.
        broken,
        /// We reset them.
        reset,
        /// The last output could not be sent in time.
        timeout,
        /// The service was dropped.
        dropped,
    }

    /// HTTP requests with a session that ended, by [`RequestEnd`](crate::responder::RequestEnd).
    RequestEnds {
        /// Answered.
        answered,
        /// The peer ended the connection before the answer was complete.
        peer_gone,
        /// The connection broke.
        broken,
        /// A limit on time or progress was hit.
        timeout,
        /// The body was malformed or too large.
        bad_body,
        /// The program broke the framing of its answer.
        fault,
        /// The program gave it up.
        aborted,
        /// The service was drained.
        drained,
        /// The service was dropped.
        dropped,
    }

    /// Close codes of RFC 6455 section 7.4 and its registry. The names are `c` and the code.
    Codes {
        /// 1000, normal.
        c1000,
        /// 1001, going away.
        c1001,
        /// 1002, protocol error.
        c1002,
        /// 1003, unsupported data.
        c1003,
        /// 1005: a Close frame without a code.
        c1005,
        /// 1006: no Close frame.
        c1006,
        /// 1007, invalid data.
        c1007,
        /// 1008, policy.
        c1008,
        /// 1009, too big.
        c1009,
        /// 1010, extension missing.
        c1010,
        /// 1011, internal error.
        c1011,
        /// 1012, restart.
        c1012,
        /// 1013, try again later.
        c1013,
        /// 1014, bad gateway.
        c1014,
        /// 3000 to 3999, of libraries and frameworks.
        c3xxx,
        /// 4000 to 4999, of applications.
        c4xxx,
    }

    /// Refused connections and requests, by reason. Those from `host` on got a response.
    Refusals {
        /// [`Builder::filter`](crate::Builder::filter) refused the address.
        address,
        /// The address has too many connections.
        per_address,
        /// The system could not register the connection for events.
        unwatched,
        /// A trusted proxy did not send a complete and valid PROXY header.
        proxy_header,
        /// A host that is not served.
        host,
        /// An origin that is not allowed.
        origin,
        /// No protocol is at the path.
        path,
        /// No supported subprotocol.
        subprotocol,
        /// [`Protocol::filter`](crate::Protocol::filter) refused the handshake.
        filter,
        /// The program did not decide on the handshake in time.
        undecided,
        /// The service is draining.
        draining,
        /// A handshake that breaks RFC 6455 section 4.
        handshake,
        /// A request that is not valid HTTP or too large.
        request,
        /// A request that took too long.
        slow,
        /// Not a WebSocket handshake, and nothing else is served.
        plain,
        /// An error of this program.
        internal,
    }

    /// Handshakes of TLS with peers that connected to us. Those that are started and have no outcome are under way.
    TlsHandshakes {
        /// Something arrived at a listener of TLS.
        started,
        /// Done, with a new session.
        full,
        /// Done, with an earlier session that was resumed.
        resumed,
        /// They broke a rule, or the peer said that we did.
        refused,
        /// The peer ended the connection before.
        ended,
        /// They took too long.
        late,
        /// We ended the connection before: the program, the end of the service, or to free memory.
        aborted,
        /// Something else than TLS arrived, such as plain HTTP.
        not_tls,
    }

    /// How often each of [`Limits`](crate::Limits) was hit, by its name there.
    LimitsHit {
        /// Accepting paused: too many connections.
        connections,
        /// Accepting paused: the system was out of descriptors or memory.
        descriptors,
        /// Too many connections from one address.
        connections_per_address,
        /// Accepting continued in the next turn.
        turn_accepts,
        /// A connection used up its share of a turn, in bytes or frames.
        turn_bytes,
        /// No complete request in time.
        handshake_timeout,
        /// A TLS handshake was not done in time.
        tls_handshake_timeout,
        /// A TLS handshake with too many bytes.
        tls_handshake_bytes,
        /// A connection waited, because so many TLS handshakes were under way.
        tls_handshakes,
        /// Too many TLS handshakes of one address.
        tls_handshakes_per_address,
        /// A TLS handshake waited for the next turn.
        turn_tls_handshakes,
        /// The program did not decide on a handshake in time.
        decision_timeout,
        /// A PROXY header that is too long.
        proxy_header_bytes,
        /// No next request in time; usual for connections that browsers keep.
        idle_timeout,
        /// A response was read too slowly.
        slow_reader_bytes,
        /// A body or a message was sent too slowly.
        slow_sender_bytes,
        /// A responder did not answer in time.
        answer_timeout,
        /// Too much output was queued.
        output_hard,
        /// A connection has too many topics to subscribe to another one.
        topics_per_connection,
        /// The name of a topic is too long.
        topic_name_bytes,
        /// There are too many topics for another one.
        topics,
        /// A connection was shed, because too much was held for all together.
        total_bytes,
        /// A head with too many bytes.
        head_bytes,
        /// A head with too many lines.
        head_lines,
        /// A request line that is too long.
        request_line_bytes,
        /// A body that is too long.
        body_bytes,
        /// A message that is too long.
        message_bytes,
        /// Too many tiny fragments.
        tiny_fragments,
        /// A closing handshake did not finish in time.
        close_timeout,
        /// No pong in time.
        pong_within,
    }

    /// Failed connection attempts, by the stage that failed.
    Failures {
        /// Host lookup.
        resolve,
        /// Connecting to an address.
        connect,
        /// Negotiation with the proxy.
        proxy,
        /// The handshake of TLS.
        tls,
        /// The opening handshake.
        handshake,
    }

    /// The loop's own work.
    Work {
        /// Turns of the loop.
        turns,
        /// Readiness events that the system reported.
        events,
        /// Steps of connections: each reads, delivers, and writes what it may.
        steps,
        /// Turns with a ready list: connections that continue without a new event.
        ready_rounds,
        /// Steps of the ready list.
        ready_steps,
        /// Deadlines that expired.
        deadlines,
        /// Calls of `tick`.
        ticks,
        /// Jobs of other threads.
        jobs,
        /// Batches of published messages that were sent.
        publishes,
        /// Output queues created because a socket did not accept everything.
        queues,
        /// Pauses of accepting.
        accept_pauses,
    }
}

impl Statistics {
    /// The counts since `earlier`, a clone made before. Values that are not counters keep their current value.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let responses = self.responses.iter().map(|(status, count)| {
            (*status, count.saturating_sub(earlier.responses.get(status).copied().unwrap_or_default()))
        });
        Self {
            connections: self.connections.since(&earlier.connections),
            websockets: self.websockets.since(&earlier.websockets),
            received: self.received.since(&earlier.received),
            sent: self.sent.since(&earlier.sent),
            compression: self.compression.since(&earlier.compression),
            topics: self.topics.since(&earlier.topics),
            topics_now: self.topics_now,
            subscriptions_now: self.subscriptions_now,
            closes: self.closes.since(&earlier.closes),
            raw_closes: self.raw_closes.since(&earlier.raw_closes),
            request_ends: self.request_ends.since(&earlier.request_ends),
            codes_received: self.codes_received.since(&earlier.codes_received),
            codes_sent: self.codes_sent.since(&earlier.codes_sent),
            responses: responses.filter(|(_, count)| *count > 0).collect(),
            tls: self.tls.since(&earlier.tls),
            refusals: self.refusals.since(&earlier.refusals),
            limits: self.limits.since(&earlier.limits),
            failures: self.failures.since(&earlier.failures),
            work: self.work.since(&earlier.work),
            stalls: self.stalls.since(&earlier.stalls),
            ..*self
        }
    }

    /// Counts a new connection, opened by us or accepted.
    pub(crate) fn connection_begins(&mut self, is_client: bool) {
        let counter = if is_client { &mut self.connections.connected } else { &mut self.connections.accepted };
        *counter += 1;
        self.one_more();
    }

    /// Counts a descriptor adopted from the program.
    pub(crate) fn connection_adopted(&mut self) {
        self.connections.adopted += 1;
        self.one_more();
    }

    fn one_more(&mut self) {
        self.connections_now += 1;
        self.connections_most = self.connections_most.max(self.connections_now);
    }

    pub(crate) fn connection_ends(&mut self) {
        self.connections.closed += 1;
        self.connections_now -= 1;
    }

    /// Counts a WebSocket, before the call of `open`.
    pub(crate) fn websocket_opens(&mut self, is_client: bool) {
        let counter = if is_client { &mut self.websockets.opened_by_us } else { &mut self.websockets.opened_by_peers };
        *counter += 1;
        self.websockets_now += 1;
        self.websockets_most = self.websockets_most.max(self.websockets_now);
    }

    /// Counts the end of a WebSocket, before the call of `closed`.
    pub(crate) fn websocket_closes(&mut self, closed: &Closed) {
        self.websockets.closed += 1;
        self.websockets_now -= 1;
        *self.codes_received.of(closed.received.as_ref()) += 1;
        *self.codes_sent.of(closed.sent.as_ref()) += 1;
        let (closes, limits) = (&mut self.closes, &mut self.limits);
        match closed.cause {
            Cause::Handshake => closes.handshake += 1,
            Cause::Eof => closes.eof += 1,
            Cause::Reset => closes.reset += 1,
            Cause::Timeout(Timeout::Keepalive) => {
                closes.keepalive_timeout += 1;
                limits.pong_within += 1;
            }
            // Counted where it is shed or found.
            Cause::Shed => closes.shed += 1,
            Cause::Timeout(Timeout::Message) => closes.message_timeout += 1,
            Cause::Timeout(_) => {
                closes.close_timeout += 1;
                limits.close_timeout += 1;
            }
            Cause::Violation(violation) => {
                closes.violation += 1;
                match violation {
                    Violation::MessageTooBig => limits.message_bytes += 1,
                    Violation::FragmentsTooTiny => limits.tiny_fragments += 1,
                    _ => {}
                }
            }
            Cause::Overflow => {
                closes.overflow += 1;
                limits.output_hard += 1;
            }
            Cause::Aborted => closes.aborted += 1,
            // `Dropped`, the only cause left.
            _ => closes.dropped += 1,
        }
    }

    pub(crate) fn responded(&mut self, status: u16) {
        *self.responses.entry(status).or_default() += 1;
    }
}
