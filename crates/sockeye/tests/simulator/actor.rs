//! One peer at work on its script, and what it may expect.

use std::collections::BTreeMap;
use std::time::Duration;

use sockeye::proto::wire::MessageKind;
use sockeye::sim::{Network, PeerEnd};
use sockeye::sys::Address;
use sockeye::{Close, CloseCode};
use sockeye_proto::time::Instant;
use sockeye_testing::server::machine::{hash, pattern};
use sockeye_testing::server::{Client, Heard};

use super::plan::{Ending, PeerPlan, Step, Way};

/// Rules to break: the bytes, and the code that the server must close with.
pub(crate) const VIOLATIONS: [(&[u8], u16); 9] = [
    (&[0x81, 0x05, b'h', b'e'], 1002),                                     // not masked
    (&[0x83, 0x80, 1, 2, 3, 4], 1002),                                     // reserved opcode
    (&[0xA1, 0x80, 1, 2, 3, 4], 1002),                                     // reserved bit
    (&[0x80, 0x80, 1, 2, 3, 4], 1002),                                     // continues nothing
    (&[0x09, 0x80, 1, 2, 3, 4], 1002),                                     // fragmented ping
    (&[0x81, 0x82, 0, 0, 0, 0, 0xC3, 0x28], 1007),                         // not UTF-8
    (&[0x82, 0xFF, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0], 1009), // too big
    (&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xED], 1002),                         // close 1005
    (&[0x81, 0xFE, 0, 5, 0, 0, 0, 0], 1002),                               // length not minimal
];

/// Requests that are no WebSocket handshake, and the status of the answer.
const REQUESTS: [(&[u8], u16); 4] = [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nUpgra", 408),
    (b"", 0),
];

pub(crate) struct Actor {
    pub(crate) index: usize,
    pub(crate) plan: PeerPlan,
    way: Way,
    client: Option<Client>,
    step: usize,
    /// Nothing is done before that.
    until: Option<Instant>,
    /// A slow reader takes nothing before that.
    read_at: Option<Instant>,
    ended: bool,
    pub(crate) done: bool,
    /// What the server must have received, and what it must send.
    sent: Vec<String>,
    expected: Vec<Heard>,
    published: usize,
    timers: bool,
    ping: Option<Vec<u8>>,
    /// What was done and heard, to notice when nothing is.
    progress: (usize, usize, bool),
    progress_at: Instant,
    /// The connection was broken by somebody else: less can be expected of it.
    pub(crate) lossy: bool,
}

impl Actor {
    pub(crate) fn new(index: usize, plan: PeerPlan, way: Way, now: Instant) -> Self {
        let (expected, sent) = (Vec::new(), Vec::new());
        let timers = plan.open.starts_with("timer");
        let mut actor = Self {
            index,
            plan,
            way,
            client: None,
            step: 0,
            until: None,
            read_at: None,
            ended: false,
            done: false,
            sent,
            expected,
            published: 0,
            timers,
            ping: None,
            progress: (0, 0, false),
            progress_at: now,
            lossy: false,
        };
        if let Some(length) = actor.plan.open.strip_prefix("big/") {
            actor.expected.push(Heard::Binary(pattern(length.parse().unwrap_or(0))));
        }
        actor
    }

    /// Does what can be done now; says until when there is nothing.
    pub(crate) fn act(&mut self, network: &Network, to: &Address, done: usize, start: Instant) -> Option<Instant> {
        let now = network.now();
        if self.done {
            return None;
        }
        if self.client.is_none() {
            if now < start + self.plan.start.0 {
                return Some(start + self.plan.start.0);
            }
            if done < self.plan.start.1 || !self.connect(network, to, now) {
                return None;
            }
        }
        self.read(now);
        loop {
            if self.is_over() {
                self.finish();
                return None;
            }
            if let Some(until) = self.until {
                if now < until {
                    break;
                }
                self.until = None;
            }
            if !self.go_on(now) {
                break;
            }
        }
        self.until.into_iter().chain(self.read_at).min()
    }

    fn connect(&mut self, network: &Network, to: &Address, now: Instant) -> bool {
        let seed = self.way.cut ^ (self.index as u64) << 32;
        let Ok(mut client) = Client::connect_scrambled(network, to, seed, self.way.scrambled) else {
            // The service is drained.
            (self.done, self.lossy) = (true, true);
            return false;
        };
        if let Some(slow) = self.plan.slow {
            if let Some(peer) = &client.peer {
                peer.set_window(slow.window);
            }
        }
        match self.plan.ending {
            Ending::Http(which) => client.raw(REQUESTS[which].0),
            _ => {
                self.plan.offer.into_iter().for_each(|offer| client.offer(offer));
                client.handshake(&format!("/{}/{}", self.index, self.plan.open), self.plan.protocol);
                if self.plan.eager {
                    client.assume_open(now);
                }
            }
        }
        self.client = Some(client);
        self.progress_at = now;
        true
    }

    fn read(&mut self, now: Instant) {
        let Some(client) = &mut self.client else { return };
        if self.read_at.is_some_and(|at| now < at) {
            return;
        }
        let before = client.received;
        client.pump(self.plan.slow.map_or(usize::MAX, |slow| slow.window), now);
        if let Some(slow) = self.plan.slow {
            self.read_at = (client.received > before).then(|| now + slow.every);
        } else {
            // The end is seen only once all is taken.
            client.pump(usize::MAX, now);
        }
        let progress = (client.received, self.step, self.ended);
        if progress != self.progress {
            (self.progress, self.progress_at) = (progress, now);
        }
    }

    fn is_over(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.end().is_some())
    }

    fn finish(&mut self) {
        self.done = true;
        if let Some(client) = &mut self.client {
            client.peer = None;
        }
    }

    /// The next step, or the ending. False when something must come first.
    fn go_on(&mut self, now: Instant) -> bool {
        let Some(client) = &mut self.client else { return false };
        if matches!(self.plan.ending, Ending::Http(_)) || self.ended {
            return false;
        }
        if !client.is_open() && !self.plan.eager {
            return false;
        }
        let Some(step) = self.plan.steps.get(self.step).cloned() else { return self.end(now) };
        if matches!(step, Step::Sync) && !self.is_satisfied() {
            return false;
        }
        let Some(client) = &mut self.client else { return false };
        match step {
            Step::Sync => {}
            Step::Wait(time) => self.until = Some(now + time),
            Step::Ping(payload) => {
                client.ping(&payload);
                self.ping = Some(payload);
            }
            Step::Pong(payload) => {
                let mut frame = vec![0x8A, 0x80 | payload.len() as u8, 0, 0, 0, 0];
                frame.extend_from_slice(&payload);
                client.raw(&frame);
            }
            Step::Message { kind, payload, frames } => {
                client.message(kind, &payload, frames);
                self.sent.push(format!("{kind:?} {} {:x}", payload.len(), hash(&payload)));
                self.expected.push(heard(kind, payload));
            }
            Step::Command(command) => self.command(&command),
        }
        self.step += 1;
        true
    }

    fn command(&mut self, command: &str) {
        let text = format!("!{command}");
        if let Some(client) = &mut self.client {
            client.text(&text);
        }
        self.sent.push(format!("{:?} {} {:x}", MessageKind::Text, text.len(), hash(text.as_bytes())));
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        match verb {
            "frag" => {
                let text = rest.split_once(' ').map_or("", |(_, text)| text);
                self.expected.push(Heard::Text(text.to_owned()));
            }
            "big" => self.expected.push(Heard::Binary(pattern(rest.parse().unwrap_or(0)))),
            "own" => self.expected.push(Heard::Text(rest.to_owned())),
            "pub" => self.published += 1,
            "timer" | "again" => self.timers = true,
            _ => {}
        }
    }

    fn end(&mut self, now: Instant) -> bool {
        let waits = matches!(self.plan.ending, Ending::Close(_) | Ending::Silent);
        if waits && !self.is_satisfied() {
            return false;
        }
        self.ended = true;
        let Some(client) = &mut self.client else { return false };
        match self.plan.ending {
            Ending::Close(code) => {
                client.close(code.and_then(CloseCode::new).map_or_else(Close::empty, Close::new), now)
            }
            Ending::CloseEarly(code) => client.close(CloseCode::new(code).map_or_else(Close::empty, Close::new), now),
            Ending::Ignore | Ending::Silent => client.answers = false,
            // Inside a record it is an end as any other: what the record holds never came.
            Ending::HalfClose if self.index % 2 == 0 => client.shutdown_inside_record(),
            Ending::HalfClose => client.shutdown(),
            Ending::Violate(which) => client.raw(VIOLATIONS[which].0),
            Ending::Reset => client.reset(),
            Ending::Drop => self.finish(),
            Ending::Closed | Ending::Http(_) => {}
        }
        true
    }

    /// All replies came.
    fn is_satisfied(&self) -> bool {
        let Some(client) = &self.client else { return false };
        let own = format!("\u{1}p{}:", self.index);
        let texts = |prefix: &str| {
            client.heard.iter().filter(|heard| matches!(heard, Heard::Text(text) if text.starts_with(prefix))).count()
        };
        let pong = self.ping.as_ref().is_none_or(|ping| client.heard.contains(&Heard::Pong(ping.clone())));
        self.replies().count() >= self.expected.len()
            && texts(&own) >= self.published
            && (!self.timers || texts("\u{1}t") > 0)
            && pong
    }

    fn replies(&self) -> impl Iterator<Item = &Heard> {
        let heard = self.client.iter().flat_map(Client::messages);
        heard.filter(|heard| !matches!(heard, Heard::Text(text) if text.starts_with('\u{1}')))
    }

    /// Why nothing happened for too long, if that is so.
    pub(crate) fn stalled(&self, now: Instant) -> Option<String> {
        let patience = match self.plan.ending {
            _ if self.done => return None,
            Ending::Silent if self.ended => 50,
            _ if self.client.as_ref().is_some_and(|client| client.is_open() || client.status.is_some()) => 15,
            _ => 600,
        };
        let waited = now.saturating_duration_since(self.progress_at);
        if self.client.is_none() || waited <= Duration::from_secs(patience) {
            return None;
        }
        Some(format!(
            "peer {} is stalled: step {} of {}, {} replies of {}, ended {}",
            self.index,
            self.step,
            self.plan.steps.len(),
            self.replies().count(),
            self.expected.len(),
            self.ended
        ))
    }

    /// What the server noted to have received must be what was sent, or its beginning.
    pub(crate) fn check_received(&self, received: &[String]) -> Result<(), String> {
        let all = !self.lossy && !matches!(self.plan.ending, Ending::Reset | Ending::Drop);
        let same = if all { received == self.sent } else { self.sent.starts_with(received) };
        let expected = &self.sent;
        same.then_some(()).ok_or_else(|| format!("peer {} sent {expected:?}, received was {received:?}", self.index))
    }

    /// What was heard must be what was expected.
    pub(crate) fn check_heard(&self) -> Result<(), String> {
        let Some(client) = &self.client else { return Ok(()) };
        let wrong = |what: String| Err(format!("peer {}: {what}", self.index));
        if let Some(Heard::Failed(why)) = client.heard.iter().find(|heard| matches!(heard, Heard::Failed(_))) {
            return wrong(format!("the server broke a rule: {why}"));
        }
        if let Ending::Http(which) = self.plan.ending {
            let expected = (REQUESTS[which].1 > 0).then_some(REQUESTS[which].1);
            if client.status != expected && !self.lossy {
                return wrong(format!("the answer to request {which} was {:?}", client.status));
            }
            return Ok(());
        }
        let all = !self.lossy && matches!(self.plan.ending, Ending::Close(_) | Ending::Silent);
        let replies: Vec<&Heard> = self.replies().collect();
        for (at, reply) in replies.iter().enumerate() {
            if self.expected.get(at) != Some(*reply) {
                return wrong(format!("reply {at} is wrong: {:.100}", format!("{reply:?}")));
            }
        }
        if all && replies.len() != self.expected.len() {
            return wrong(format!("{} replies of {}", replies.len(), self.expected.len()));
        }
        self.check_published(client).or_else(wrong)?;
        self.check_close(client).or_else(wrong)
    }

    /// The messages that each peer published come in order, with none missing between them.
    fn check_published(&self, client: &Client) -> Result<(), String> {
        let mut last = BTreeMap::<&str, u32>::new();
        for heard in client.messages() {
            let Heard::Text(text) = heard else { continue };
            let Some((publisher, rest)) = text.strip_prefix("\u{1}p").and_then(|text| text.split_once(':')) else {
                continue;
            };
            let number: u32 = rest.split(':').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            let before = last.insert(publisher, number);
            if before.is_some_and(|before| before + 1 != number) {
                return Err(format!("number {number} of peer {publisher} came after {before:?}"));
            }
        }
        let own = last.get(self.index.to_string().as_str()).copied().unwrap_or(0);
        if own as usize > self.published {
            return Err(format!("{own} of {} published messages came back", self.published));
        }
        Ok(())
    }

    fn check_close(&self, client: &Client) -> Result<(), String> {
        let code = client.close_heard();
        let expected = match self.plan.ending {
            _ if self.lossy => return Ok(()),
            Ending::Close(code) => Some(code),
            Ending::CloseEarly(code) => Some(Some(code)),
            Ending::Violate(which) => Some(Some(VIOLATIONS[which].1)),
            Ending::Closed | Ending::Ignore if code.is_none() => return Err("no Close frame came".to_owned()),
            Ending::Silent | Ending::HalfClose if code.is_some() => return Err(format!("{code:?} came")),
            _ => return Ok(()),
        };
        if code != expected {
            return Err(format!("the Close frame that came is {code:?} and not {expected:?}"));
        }
        if client.end() != Some(PeerEnd::Finished) {
            return Err("TCP did not end in good order".to_owned());
        }
        // What was sealed is sent whole before the end, as a Close frame is.
        if client.ended_inside_record() {
            return Err("TCP ended inside a record".to_owned());
        }
        Ok(())
    }

    /// What must be the same on every network.
    pub(crate) fn digest(&self) -> Vec<String> {
        let Some(client) = &self.client else { return Vec::new() };
        let mut lines = vec![format!("{:?}", client.close_heard()), format!("{:?}", client.status)];
        if matches!(self.plan.ending, Ending::Close(_) | Ending::Silent) {
            lines.extend(self.replies().map(|heard| format!("{:x}", hash(format!("{heard:?}").as_bytes()))));
        }
        lines
    }
}

fn heard(kind: MessageKind, payload: Vec<u8>) -> Heard {
    match kind {
        MessageKind::Text => Heard::Text(String::from_utf8(payload).expect("scripts speak UTF-8")),
        MessageKind::Binary => Heard::Binary(payload),
    }
}
