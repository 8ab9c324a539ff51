//! [`Nats`], as a hub uses it.

use std::fmt::{self, Write as _};

use sockeye_hub::backplane::{Backplane, BrokerError, Io, Place, Position, Publish, PublishError, Security};

use crate::session::{MAX_ANSWER_BYTES, Session};
use crate::settings::{self, Credentials, History, NatsError, Settings, Url};
use crate::wire::decode::Decoder;

/// NATS as the broker between hubs. See the [crate](crate) for what it makes of topics.
pub struct Nats {
    settings: Settings,
    decoder: Decoder,
    session: Session,
    /// Bytes of answers that the broker has caused since its queue was full.
    unread_bytes: usize,
}

impl Nats {
    /// The broker at `nats://HOST`, `nats://HOST:PORT`, with `USER:PASSWORD@` or `TOKEN@` before the host if it wants them. With `tls://` the connection
    /// is secured after the first line, or not used. With `nats://` it is secured if the broker requires that. The port is 4222 unless it is
    /// named. In user, password and token, `%` and two hexadecimal digits are a byte.
    ///
    /// # Errors
    /// The URL has another form.
    pub fn new(url: &str) -> Result<Self, NatsError> {
        let Url { is_tls, host, port, credentials } = Url::parse(url)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| NatsError::Random)?;
        let mut inbox = String::from("_INBOX.");
        for byte in random {
            // Writing into memory does not fail.
            let _ = write!(inbox, "{byte:02x}");
        }
        let (prefix, history, message_bytes) = (DEFAULT_PREFIX.to_owned(), None, DEFAULT_MESSAGE_BYTES);
        let settings = Settings { is_tls, host, port, credentials, prefix, history, message_bytes, inbox };
        Ok(Self { decoder: decoder(message_bytes), session: Session::default(), unread_bytes: 0, settings })
    }

    /// Who we are, instead of what the URL says.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.settings.credentials = Some(credentials);
        self
    }

    /// What is before each topic in its subject, `sockeye` unless this is called. Hubs that share a broker and not their topics have different ones.
    ///
    /// # Errors
    /// It has other bytes than letters, digits, `-`, `_` and single dots between them, or more than 64.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, NatsError> {
        settings::check_prefix(prefix)?;
        prefix.clone_into(&mut self.settings.prefix);
        Ok(self)
    }

    /// Keeps messages in a stream of JetStream.
    ///
    /// # Errors
    /// A number of it is out of bounds, or its name has other bytes than letters, digits, `-` and `_`.
    pub fn history(mut self, history: History) -> Result<Self, NatsError> {
        history.check()?;
        self.settings.history = Some(history);
        Ok(self)
    }

    /// The longest payload that is sent or taken, 8 MiB unless this is called. A longer one that somebody else has published is
    /// reported as missed, and takes no memory.
    #[must_use]
    pub fn message_bytes(mut self, most: usize) -> Self {
        self.settings.message_bytes = most;
        self.decoder = decoder(most);
        self
    }

    #[cfg(test)]
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { is_tls, host, port, credentials, prefix, history, .. } = &self.settings;
        f.debug_struct("Nats")
            .field("is_tls", is_tls)
            .field("host", host)
            .field("port", port)
            .field("credentials", credentials)
            .field("prefix", prefix)
            .field("history", history)
            .finish_non_exhaustive()
    }
}

impl Backplane for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn place(&self) -> Place {
        Place { host: self.settings.host.clone(), port: self.settings.port, security: Security::TlsWhenAsked }
    }

    fn keeps_history(&self) -> bool {
        self.settings.history.is_some()
    }

    fn opened(&mut self, _io: &mut Io<'_>) {
        self.lost();
        self.session.opened();
    }

    fn secured(&mut self, io: &mut Io<'_>) {
        self.session.secured(&self.settings, io);
    }

    fn receive(&mut self, bytes: &[u8], io: &mut Io<'_>) -> Result<(), BrokerError> {
        let mut input = bytes;
        while let Some(op) = self.decoder.next(&mut input)? {
            let (before, is_full) = (io.out().len(), io.room() == 0);
            self.session.on_op(op, &self.settings, io)?;
            self.unread_bytes = if is_full { self.unread_bytes + (io.out().len() - before) } else { 0 };
            if self.unread_bytes > MAX_UNREAD_BYTES {
                return Err(BrokerError::Protocol("it asks on and on, and does not read the answers".to_owned()));
            }
            // Bytes behind the line that TLS begins after may come from anybody, and would be taken for the broker's.
            if self.session.awaits_tls() && !(input.is_empty() && self.decoder.is_empty()) {
                return Err(BrokerError::Protocol("it goes on without TLS".to_owned()));
            }
        }
        Ok(())
    }

    fn waiting_bytes(&self) -> usize {
        self.session.waiting_bytes()
    }

    fn lost(&mut self) {
        self.decoder.clear();
        self.unread_bytes = 0;
        self.session = Session::default();
    }

    fn ping(&mut self, io: &mut Io<'_>) {
        self.session.ping(io);
    }

    fn tick(&mut self, io: &mut Io<'_>) {
        self.session.tick(io);
    }

    fn subscribe(&mut self, topic: &str, after: Option<Position>, io: &mut Io<'_>) -> Result<(), PublishError> {
        self.session.subscribe(topic, after, &self.settings, io)
    }

    fn unsubscribe(&mut self, topic: &str, io: &mut Io<'_>) {
        self.session.unsubscribe(topic, &self.settings, io);
    }

    fn publish(&mut self, message: Publish<'_>, io: &mut Io<'_>) -> Result<(), PublishError> {
        self.session.publish(message, &self.settings, io)
    }
}

/// Answers of JetStream may be longer than messages of topics.
fn decoder(message_bytes: usize) -> Decoder {
    Decoder::new(message_bytes.max(MAX_ANSWER_BYTES))
}

/// What the broker may cause to be queued for it behind a full queue.
const MAX_UNREAD_BYTES: usize = 1 << 20;

const DEFAULT_PREFIX: &str = "sockeye";
const DEFAULT_MESSAGE_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use sockeye::proto::wire::MessageKind;

    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let nats = Nats::new("nats://user:hunter2@h").unwrap();
        let shown = format!("{nats:?}");
        assert!(shown.contains("user") && !shown.contains("hunter2") && !shown.contains("_INBOX"), "{shown}");
    }

    #[test]
    fn what_waits_for_a_pong_counts_as_waiting() {
        let mut nats = Nats::new("nats://h").unwrap();
        let (mut out, mut events) = (Vec::new(), Vec::new());
        let mut io = Io::new(&mut out, &mut events, 1 << 20);
        nats.opened(&mut io);
        nats.receive(b"INFO {\"headers\":true,\"max_payload\":1000}\r\nPONG\r\n", &mut io).unwrap();
        let mut waiting = Vec::new();
        for ticket in 0..4 {
            let message = Publish { ticket, topic: "t", kind: MessageKind::Text, key: None, payload: b"0123456789" };
            nats.publish(message, &mut io).unwrap();
            waiting.push(nats.waiting_bytes());
        }
        assert_eq!(waiting[..2], [0, 0], "few PINGs are under way");
        assert!(waiting[2] > 10 && waiting[3] >= waiting[2] + 10, "{waiting:?}");
        nats.receive(b"PONG\r\n", &mut io).unwrap();
        assert_eq!(nats.waiting_bytes(), 0);
    }

    #[test]
    fn the_place_is_that_of_the_url() {
        let place = Nats::new("tls://[::1]:7").unwrap().place();
        let expected = Place { host: "::1".to_owned(), port: 7, security: Security::TlsWhenAsked };
        assert_eq!(place, expected);
    }
}
