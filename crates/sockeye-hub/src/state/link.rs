//! What is on its way to the broker.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::backplane::{Backplane, BrokerError, Event, Io, Position, Publish, PublishError};
use crate::outlet::Asker;
use crate::statistics::BrokerStatus;

pub(crate) struct LinkState {
    backplane: Box<dyn Backplane>,
    /// For the broker; the first `sent` bytes have been given to the socket.
    out: Vec<u8>,
    sent: usize,
    /// What the backplane has reported.
    events: Vec<Event>,
    /// Room for what it reports next.
    spare: Vec<Event>,
    /// The most bytes of messages in `out`.
    most: usize,
    is_ready: bool,
    /// It is about to write, or knows that it should.
    pub(crate) is_woken: bool,
    /// The longest message that the broker takes.
    pub(crate) most_bytes: usize,
    tickets: HashMap<u64, Ticket, BuildHasherDefault<Counted>>,
    next_ticket: u64,
    attempts: u64,
    last_error: Option<String>,
}

/// A message whose receipt is not confirmed yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) from: Option<Asker>,
    /// Where it is in the topic of this server.
    pub(crate) position: Option<Position>,
}

/// What the queue keeps of its memory when it is empty: what a busy hub sends in a turn, or each turn would ask the system for it.
const KEPT_BYTES: usize = 256 * 1024;

/// So many events have memory that is kept.
const KEPT_EVENTS: usize = 1024;

/// As many messages may be unconfirmed.
const TICKETS: usize = 1 << 16;

/// A hash of numbers that are counted here: no client chooses them.
#[derive(Default)]
struct Counted(u64);

impl Hasher for Counted {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // Any odd number with bits at both ends spreads what is counted (Fibonacci hashing).
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl LinkState {
    pub(crate) fn new(backplane: Box<dyn Backplane>, most: usize) -> Self {
        Self {
            backplane,
            out: Vec::new(),
            sent: 0,
            events: Vec::new(),
            spare: Vec::new(),
            most,
            is_ready: false,
            is_woken: false,
            most_bytes: usize::MAX,
            tickets: HashMap::default(),
            next_ticket: 0,
            attempts: 0,
            last_error: None,
        }
    }

    pub(crate) fn keeps_history(&self) -> bool {
        self.backplane.keeps_history()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The broker reads too slowly even for subscriptions: messages leave them as much room again.
    pub(crate) fn is_overfull(&self) -> bool {
        self.out.len() - self.sent > self.most.saturating_mul(2)
    }

    pub(crate) fn status(&self) -> BrokerStatus {
        BrokerStatus {
            is_connected: self.is_ready,
            attempts: self.attempts,
            queued_bytes: self.out.len() - self.sent + self.backplane.waiting_bytes(),
            unconfirmed: self.tickets.len(),
            last_error: self.last_error.clone(),
        }
    }

    /// Calls the backplane. Returns whether it asked for TLS, too.
    pub(crate) fn with_tls<R>(&mut self, call: impl FnOnce(&mut dyn Backplane, &mut Io<'_>) -> R) -> (R, bool) {
        let most = self.most.saturating_add(self.sent);
        let mut io = Io::new(&mut self.out, &mut self.events, most);
        let result = call(&mut *self.backplane, &mut io);
        let wants_tls = io.wants_tls();
        (result, wants_tls)
    }

    /// Calls the backplane.
    pub(crate) fn with<R>(&mut self, call: impl FnOnce(&mut dyn Backplane, &mut Io<'_>) -> R) -> R {
        self.with_tls(call).0
    }

    /// Gives the backplane bytes of the broker.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> (Result<(), BrokerError>, bool) {
        self.with_tls(|backplane, io| backplane.receive(bytes, io))
    }

    /// Gives the backplane a message. Returns the number of its ticket.
    pub(crate) fn publish<'m>(
        &mut self,
        ticket: Ticket,
        message: impl FnOnce(u64) -> Publish<'m>,
    ) -> Result<u64, PublishError> {
        if self.tickets.len() >= TICKETS {
            return Err(PublishError::QueueFull);
        }
        let number = self.next_ticket;
        let message = message(number);
        if message.payload.len() > self.most_bytes {
            return Err(PublishError::TooLarge { most: self.most_bytes });
        }
        self.with(|backplane, io| backplane.publish(message, io))?;
        self.next_ticket += 1;
        self.tickets.insert(number, ticket);
        Ok(number)
    }

    pub(crate) fn confirm(&mut self, ticket: u64) -> Option<Ticket> {
        self.tickets.remove(&ticket)
    }

    /// Who published this message does not want to know any more what became of it.
    pub(crate) fn forget(&mut self, ticket: u64) {
        if let Some(ticket) = self.tickets.get_mut(&ticket) {
            ticket.from = None;
        }
    }

    /// What the backplane has reported, if that is anything.
    pub(crate) fn take_events(&mut self) -> Option<Vec<Event>> {
        let next = if self.events.is_empty() { return None } else { std::mem::take(&mut self.spare) };
        Some(std::mem::replace(&mut self.events, next))
    }

    /// The memory of events that are done.
    pub(crate) fn give_back(&mut self, mut events: Vec<Event>) {
        events.clear();
        events.shrink_to(KEPT_EVENTS);
        self.spare = events;
    }

    pub(crate) fn begins(&mut self) {
        self.attempts += 1;
    }

    pub(crate) fn becomes_ready(&mut self, most_bytes: usize) {
        self.is_ready = true;
        self.most_bytes = most_bytes;
        self.last_error = None;
    }

    /// The connection is lost. Returns what was not confirmed, oldest first.
    pub(crate) fn lose(&mut self, error: String) -> Vec<Ticket> {
        self.is_ready = false;
        self.is_woken = false;
        self.last_error = Some(error);
        self.backplane.lost();
        self.events.clear();
        self.out = Vec::new();
        self.sent = 0;
        let mut tickets: Vec<(u64, Ticket)> = self.tickets.drain().collect();
        tickets.sort_unstable_by_key(|(number, _)| *number);
        tickets.into_iter().map(|(_, ticket)| ticket).collect()
    }

    /// What is next for the socket, up to `most` bytes.
    pub(crate) fn next_bytes(&self, most: usize) -> &[u8] {
        let rest = &self.out[self.sent..];
        &rest[..rest.len().min(most)]
    }

    pub(crate) fn has_bytes(&self) -> bool {
        self.sent < self.out.len()
    }

    /// The socket has taken so many.
    pub(crate) fn taken(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent == self.out.len() {
            self.out.clear();
            self.out.shrink_to(KEPT_BYTES);
            self.sent = 0;
        } else if self.sent > self.out.len() / 2 {
            // What moves is less than what has gone.
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }
}
