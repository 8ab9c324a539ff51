//! [`Redis`], as the hub sees it.

use sockeye_hub::backplane::{Backplane, BrokerError, Io, Place, Position, Publish, PublishError};

use crate::address::{Address, ConfigError};
use crate::resp::{Bounds, Reader};
use crate::session::{MOST_BYTES, Session, Settings};

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
        let mut origin = [0; 16];
        getrandom::fill(&mut origin).map_err(|error| ConfigError::Entropy(error.to_string()))?;
        let settings = Settings { address, prefix: PREFIX.to_owned(), origin };
        Ok(Self { settings, reader: Reader::default(), session: Session::default() })
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
        false
    }

    fn opened(&mut self, io: &mut Io<'_>) {
        self.reader = Reader::default();
        self.session.open(&self.settings, io);
    }

    fn receive(&mut self, bytes: &[u8], io: &mut Io<'_>) -> Result<(), BrokerError> {
        let Self { settings, reader, session } = self;
        reader.receive(bytes, BOUNDS, |reply| session.receive(settings, &reply, io))
    }

    fn lost(&mut self) {
        self.reader = Reader::default();
        self.session = Session::default();
    }

    fn ping(&mut self, io: &mut Io<'_>) {
        self.session.ping(io);
    }

    fn subscribe(&mut self, topic: &str, _: Option<Position>, io: &mut Io<'_>) -> Result<(), PublishError> {
        self.session.subscribe(&self.settings, topic, io)
    }

    fn unsubscribe(&mut self, topic: &str, io: &mut Io<'_>) {
        self.session.unsubscribe(&self.settings, topic, io);
    }

    fn publish(&mut self, message: Publish<'_>, io: &mut Io<'_>) -> Result<(), PublishError> {
        self.session.publish(&self.settings, message, io)
    }
}

const PREFIX: &str = "sockeye:";

/// A message, its key and what is around it. `HELLO` lists all modules of the server, a dozen elements each.
const BOUNDS: Bounds = Bounds { reply_bytes: MOST_BYTES + 1024 * 1024, elements: 4096 };
