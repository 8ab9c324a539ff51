//! What a service has done, in plain numbers.
//!
//! They are counted where things happen, by the loop's own thread, so a counter is one addition and nothing is locked. What is
//! counted for each message is counted once a message: frames are the sum of messages and of the frames that end none.
//!
//! Each group below is made by `counters!`, which also gives it names for the pages that show it: a counter that is added here
//! is shown everywhere.

mod board;
mod meters;
mod prometheus;
mod show;
mod stalls;
#[cfg(test)]
mod tests;

pub(crate) use self::board::{Board, BoardSlot};
pub(crate) use self::meters::Meters;
pub(crate) use self::prometheus::MEDIA_TYPE;
pub use self::stalls::{Culprit, Stall, Stalls};
pub(crate) use self::stalls::{Found, Stopwatch, Whose};

use std::collections::BTreeMap;

use sockeye_proto::close::{Cause, Close, Closed, Timeout};
use sockeye_proto::error::Violation;
use sockeye_proto::event::Fragment;
use sockeye_proto::wire::{MAX_CONTROL_BYTES, OpCode};

/// What a service has counted since it was built: see [`Service::statistics`](crate::Service::statistics).
///
/// Its `Display` has several lines, for people. [`prometheus`](Self::prometheus) is for machines.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Connections, whatever they speak.
    pub connections: Connections,
    /// Connections there are now. No counter: [`since`](Self::since) leaves it as it is.
    pub connections_now: u64,
    /// The most connections that there were at one time. No counter either.
    pub connections_most: u64,
    /// The most connections that there may be at one time: [`Service::max_connections`](crate::Service::max_connections), and the
    /// sum of those of several threads. No counter.
    pub connections_limit: u64,
    /// WebSockets, that is, connections whose `open` was called.
    pub websockets: WebSockets,
    /// WebSockets there are now. No counter.
    pub websockets_now: u64,
    /// The most WebSockets that there were at one time. No counter.
    pub websockets_most: u64,
    /// What came.
    pub received: Traffic,
    /// What left. Frames are counted when they are handed over, bytes when the system takes them.
    pub sent: Traffic,
    /// Why WebSockets ended.
    pub closes: Closes,
    /// Why connections ended that are no WebSockets and speak no HTTP.
    pub raw_closes: RawCloses,
    /// What peers said in Close frames, or that they sent none, for each WebSocket that ended.
    pub codes_received: Codes,
    /// What we said in Close frames, or that we sent none, for each WebSocket that ended.
    pub codes_sent: Codes,
    /// Answers to HTTP requests by status; those with 101 are counted too.
    pub responses: BTreeMap<u16, u64>,
    /// Connections and requests that were turned down.
    pub refusals: Refusals,
    /// How often each bound was met.
    pub limits: LimitsHit,
    /// Connects that came to nothing, by how far they got.
    pub failures: Failures,
    /// The loop's own work.
    pub work: Work,
    /// What held the loop up.
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

            /// Each counter with its name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }
        }
    )+};
}

counters! {
    /// Connections, whatever they speak.
    Connections {
        /// Accepted by a listener and let in.
        accepted,
        /// Made by us, up to the proxy or server.
        connected,
        /// Descriptors that the program gave to the loop.
        adopted,
        /// Over.
        closed,
    }

    /// Connections whose `open` was called.
    WebSockets {
        /// Of clients that came to us.
        opened_by_peers,
        /// Of our own to servers.
        opened_by_us,
        /// Over, and told so by `closed`.
        closed,
    }

    /// One direction.
    Traffic {
        /// Of all sockets: payloads, frame headers, HTTP.
        bytes,
        /// Whole messages. Published ones are counted once for each connection that they go to.
        messages,
        /// Data frames that end no message. One without payload is not counted when it comes: nobody is told of it.
        parts,
        /// Ping frames.
        pings,
        /// Pong frames.
        pongs,
        /// Close frames.
        closes,
    }

    /// Why WebSockets ended; see [`Cause`].
    Closes {
        /// Both Close frames went through.
        handshake,
        /// The peer ended the connection without a Close frame.
        eof,
        /// The connection broke.
        reset,
        /// The closing handshake took too long.
        close_timeout,
        /// No answer to a keepalive ping.
        keepalive_timeout,
        /// The peer broke a rule.
        violation,
        /// The peer took too little of what was sent.
        overflow,
        /// The service or the program let go.
        dropped,
    }

    /// Why raw connections ended; see [`RawClosed`](crate::raw::RawClosed).
    RawCloses {
        /// We ended them.
        local,
        /// Their peers did.
        peer,
        /// They broke.
        broken,
        /// We reset them.
        reset,
        /// What was written last could not be sent in time.
        timeout,
        /// The service was dropped.
        dropped,
    }

    /// Close codes of RFC 6455 section 7.4 and of its registry. Their names are made for `named`: the code follows the `c`.
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

    /// Connections and requests that were turned down, by the reason. Those from `host` on got an answer.
    Refusals {
        /// [`Builder::filter`](crate::Builder::filter) did not want the address.
        address,
        /// The address had as many connections as it may have.
        per_address,
        /// The system could not watch the connection.
        unwatched,
        /// A trusted proxy did not begin with a PROXY header, or not with a whole and valid one.
        proxy_header,
        /// A host that is not served.
        host,
        /// An origin that may not connect.
        origin,
        /// No protocol that is spoken here.
        subprotocol,
        /// [`Protocol::filter`](crate::Protocol::filter) said no.
        filter,
        /// The service is ending.
        draining,
        /// A handshake that breaks RFC 6455 section 4.
        handshake,
        /// A request that breaks HTTP or is too large.
        request,
        /// A request that took too long.
        slow,
        /// No WebSocket handshake, and nothing else is served.
        plain,
        /// A fault of this program.
        internal,
    }

    /// How often each bound of [`Limits`](crate::Limits) was met, by its name there.
    LimitsHit {
        /// Accepting paused: as many connections as there may be.
        connections,
        /// Accepting paused: the system had no room.
        descriptors,
        /// More connections of one address than it may have.
        connections_per_address,
        /// Accepting went on in the next turn.
        turn_accepts,
        /// A connection used up its share of a turn, in bytes or frames.
        turn_bytes,
        /// No whole request in time.
        handshake_timeout,
        /// A PROXY header of too many bytes.
        proxy_header_bytes,
        /// No next request in time; usual for connections that browsers keep.
        idle_timeout,
        /// A response was taken too slowly.
        slow_reader_bytes,
        /// Too much output waited.
        output_hard,
        /// A head of too many bytes.
        head_bytes,
        /// A head of too many lines.
        head_lines,
        /// A request line too long.
        request_line_bytes,
        /// A body too long.
        body_bytes,
        /// A message too long.
        message_bytes,
        /// Too many tiny fragments.
        tiny_fragments,
        /// No end of a closing handshake in time.
        close_timeout,
        /// No pong in time.
        pong_within,
    }

    /// Connects that came to nothing, by how far they got.
    Failures {
        /// No address for the name.
        resolve,
        /// No address answered.
        connect,
        /// The proxy.
        proxy,
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
        /// Turns that had a ready list: connections that go on without a new event.
        ready_rounds,
        /// Steps of the ready list.
        ready_steps,
        /// Deadlines that were due.
        deadlines,
        /// Callbacks of `tick`.
        ticks,
        /// Jobs of other threads.
        jobs,
        /// Buffers of published messages that were sent.
        publishes,
        /// Output queues that were made, because a socket did not take everything.
        queues,
        /// Times that accepting paused.
        accept_pauses,
    }
}

impl Statistics {
    /// What was counted since `earlier`, which is a clone made then. What is no counter is as it is now.
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
            closes: self.closes.since(&earlier.closes),
            raw_closes: self.raw_closes.since(&earlier.raw_closes),
            codes_received: self.codes_received.since(&earlier.codes_received),
            codes_sent: self.codes_sent.since(&earlier.codes_sent),
            responses: responses.filter(|(_, count)| *count > 0).collect(),
            refusals: self.refusals.since(&earlier.refusals),
            limits: self.limits.since(&earlier.limits),
            failures: self.failures.since(&earlier.failures),
            work: self.work.since(&earlier.work),
            stalls: self.stalls.since(&earlier.stalls),
            ..*self
        }
    }

    /// A connection stands: of our own, or accepted.
    pub(crate) fn connection_begins(&mut self, is_client: bool) {
        let counter = if is_client { &mut self.connections.connected } else { &mut self.connections.accepted };
        *counter += 1;
        self.one_more();
    }

    /// The program gave a descriptor to the loop.
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

    /// `open` is about to be called.
    pub(crate) fn websocket_opens(&mut self, is_client: bool) {
        let counter = if is_client { &mut self.websockets.opened_by_us } else { &mut self.websockets.opened_by_peers };
        *counter += 1;
        self.websockets_now += 1;
        self.websockets_most = self.websockets_most.max(self.websockets_now);
    }

    /// `closed` is about to be called.
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
            // The last one there is.
            _ => closes.dropped += 1,
        }
    }

    pub(crate) fn responded(&mut self, status: u16) {
        *self.responses.entry(status).or_default() += 1;
    }
}

impl Traffic {
    /// Frames of all kinds.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.messages + self.parts + self.pings + self.pongs + self.closes
    }

    /// A piece of a message came.
    #[inline(always)]
    pub(crate) fn piece(&mut self, fragment: &Fragment<'_>) {
        #[cold]
        fn not_last(traffic: &mut Traffic, fragment: &Fragment<'_>) {
            if fragment.remaining == 0 {
                traffic.parts += 1;
            }
        }
        if fragment.last {
            self.messages += 1;
        } else {
            not_last(self, fragment);
        }
    }

    /// Control frames left, which are all that `bytes` holds.
    pub(crate) fn controls(&mut self, mut bytes: &[u8]) {
        while let [first, second, ..] = bytes {
            match OpCode::of_first_byte(*first) {
                Some(OpCode::Ping) => self.pings += 1,
                Some(OpCode::Pong) => self.pongs += 1,
                _ => self.closes += 1,
            }
            // RFC 6455 section 5.5: control frames have at most 125 bytes of payload, so the length is all in the second byte.
            let key = if second & 0x80 == 0 { 0 } else { 4 };
            let len = 2 + key + usize::from(second & 0x7f).min(MAX_CONTROL_BYTES);
            bytes = bytes.get(len..).unwrap_or_default();
        }
    }
}

impl Codes {
    /// The counter for what a Close frame said.
    fn of(&mut self, close: Option<&Close>) -> &mut u64 {
        let Some(close) = close else { return &mut self.c1006 };
        match close.code().map(|code| code.get()) {
            None => &mut self.c1005,
            Some(1000) => &mut self.c1000,
            Some(1001) => &mut self.c1001,
            Some(1002) => &mut self.c1002,
            Some(1003) => &mut self.c1003,
            Some(1007) => &mut self.c1007,
            Some(1008) => &mut self.c1008,
            Some(1009) => &mut self.c1009,
            Some(1010) => &mut self.c1010,
            Some(1011) => &mut self.c1011,
            Some(1012) => &mut self.c1012,
            Some(1013) => &mut self.c1013,
            Some(1014) => &mut self.c1014,
            Some(3000..=3999) => &mut self.c3xxx,
            // All others that there are: 4000 to 4999.
            Some(_) => &mut self.c4xxx,
        }
    }
}
