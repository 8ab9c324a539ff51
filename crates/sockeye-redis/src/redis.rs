//! [`Redis`], as the hub sees it.

use sockeye_hub::backplane::{Backplane, BrokerError, Io, Place, Position, Publish, PublishError};

use crate::address::{Address, ConfigError};
use crate::history::History;
use crate::resp::Reader;
use crate::session::{Session, Settings};

/// A Redis server between hubs.
#[derive(Debug)]
pub struct Redis {
    settings: Settings,
    reader: Reader,
    session: Session,
}

impl Redis {
    /// The server at `url`: `redis://[user[:password]@]host[:port][/database]`, or `rediss://` for TLS. The port is 6379 if none is given.
    ///
    /// In user and password `%` begins two hexadecimal digits, as in every URL. A server that has a password and no users is
    /// `redis://:password@host`.
    ///
    /// # Errors
    /// The URL has another form. The text says which one is right.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let address = Address::parse(url)?;
        let mut random = [0; 24];
        getrandom::fill(&mut random).map_err(|error| ConfigError::Entropy(error.to_string()))?;
        let (mut origin, mut seed) = ([0; 16], [0; 8]);
        origin.copy_from_slice(&random[..16]);
        seed.copy_from_slice(&random[16..]);
        let prefix = PREFIX.to_owned();
        let settings = Settings { address, prefix, history: None, origin, seed: u64::from_be_bytes(seed) };
        Ok(Self { session: Session::new(&settings, 0), settings, reader: Reader::default() })
    }

    /// Has the server keep messages and number them, so that clients come back to where they were at any of the hubs. All hubs of a prefix need
    /// the same history. What other programs publish without numbers is then not reported.
    ///
    /// # Errors
    /// The history is of no messages, or of too many.
    pub fn history(mut self, history: History) -> Result<Self, ConfigError> {
        self.settings.history = Some(history.check()?);
        self.session = Session::new(&self.settings, 0);
        Ok(self)
    }

    /// What the names of channels and keys begin with; `sockeye:` unless set. Hubs of one prefix share their topics, whatever their database
    /// is: Redis has its channels in none.
    ///
    /// # Errors
    /// It has a brace. Those mark the part of a key that all keys of a topic have in common.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        if prefix.contains(['{', '}']) {
            return Err(ConfigError::Prefix);
        }
        prefix.clone_into(&mut self.settings.prefix);
        Ok(self)
    }
}

impl Backplane for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn place(&self) -> Place {
        self.settings.address.place.clone()
    }

    fn keeps_history(&self) -> bool {
        self.settings.history.is_some()
    }

    fn opened(&mut self, io: &mut Io<'_>) {
        self.reader = Reader::default();
        self.session.open(&self.settings, io);
    }

    fn receive(&mut self, bytes: &[u8], io: &mut Io<'_>) -> Result<(), BrokerError> {
        let Self { settings, reader, session } = self;
        reader.receive(bytes, settings.bounds(), |reply| session.receive(settings, &reply, io))
    }

    fn waiting_bytes(&self) -> usize {
        self.session.waiting_bytes()
    }

    fn lost(&mut self) {
        self.reader = Reader::default();
        self.session.reset(&self.settings);
    }

    fn ping(&mut self, io: &mut Io<'_>) {
        self.session.ping(io);
    }

    fn subscribe(&mut self, topic: &str, after: Option<Position>, io: &mut Io<'_>) -> Result<(), PublishError> {
        self.session.subscribe(&self.settings, topic, after, io)
    }

    fn unsubscribe(&mut self, topic: &str, io: &mut Io<'_>) {
        self.session.unsubscribe(&self.settings, topic, io);
    }

    fn publish(&mut self, message: Publish<'_>, io: &mut Io<'_>) -> Result<(), PublishError> {
        self.session.publish(&self.settings, message, io)
    }
}

const PREFIX: &str = "sockeye:";

#[cfg(test)]
mod tests;
