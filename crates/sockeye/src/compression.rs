//! How messages are compressed: what a protocol wants of permessage-deflate (RFC 7692).

use sockeye_proto::ext::deflate::{Direction, Settings, WindowBits};
use sockeye_proto::wire::Role;

/// Whether and how messages are compressed (permessage-deflate, RFC 7692), for a [service](crate::Builder::compression) or a
/// [protocol](crate::Protocol::compression).
///
/// A server compresses for the clients that offer it, which all browsers do. Clients of this library offer it themselves.
///
/// **Memory.** Compressors and decompressors belong to the loop. What is kept of a connection is the end of its messages, to
/// which the next ones may refer: [`history_bytes`](Self::history_bytes) in each direction, from the first compressed message on. A
/// client keeps what its server may refer to, up to 32 KiB.
///
/// **Secrets.** An attacker who can put text of its own into a message beside a secret, and see how long the message became,
/// can guess the secret (the attacks CRIME and BREACH). Send such messages with
/// [`Writable::uncompressed`](crate::protocol::Writable::uncompressed), or leave compression off.
///
/// ```
/// use sockeye::{Compression, Service, messages};
///
/// # fn main() -> Result<(), sockeye::Error> {
/// let quotes = messages::echo("quotes").compression(Compression::new().history_bytes(4096));
/// let service = Service::builder().protocol(quotes).build()?;
/// # let _ = service;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Compression {
    history_bytes: u16,
    threshold_bytes: u32,
    level: u8,
    is_on: bool,
    fragments: bool,
}

impl Compression {
    /// Compression with 2 KiB of history in each direction, at level 1, of messages of 64 bytes or more.
    #[must_use]
    pub const fn new() -> Self {
        Self { history_bytes: 2048, threshold_bytes: 64, level: 1, is_on: true, fragments: false }
    }

    /// No compression: the default of a service.
    #[must_use]
    pub const fn off() -> Self {
        Self { is_on: false, ..Self::new() }
    }

    /// How many bytes of earlier messages are kept in each direction, at most 32,768, so that messages may refer to them
    /// (context takeover). 0: none, and each message is compressed by itself, which is worth it from about 1 KiB on. Default
    /// 2,048.
    ///
    /// As a server, what the client sends is kept in powers of two from 256 on, by agreement with the client. A client keeps
    /// what its server may refer to, which is up to 32 KiB, unless this is 0.
    ///
    /// It bounds memory, and not how far back a message refers: while a connection is one of the four busiest of its loop, a
    /// compressor stays with it, which knows as much as was agreed on.
    #[must_use]
    pub const fn history_bytes(self, bytes: usize) -> Self {
        Self { history_bytes: if bytes < MOST_HISTORY { bytes as u16 } else { MOST_HISTORY as u16 }, ..self }
    }

    /// Messages with fewer bytes are sent as they are. Default 64.
    #[must_use]
    pub const fn threshold_bytes(self, bytes: u32) -> Self {
        Self { threshold_bytes: bytes, ..self }
    }

    /// How hard the compressor tries, from 1 to 9. Default 1: more costs several times as much for a few per cent.
    ///
    /// # Panics
    /// It is not between 1 and 9.
    #[must_use]
    pub const fn level(self, level: u8) -> Self {
        assert!(matches!(level, 1..=9), "the level of compression is from 1 to 9");
        Self { level, ..self }
    }

    /// Fragmented messages are compressed too, each fragment by itself. Off unless asked for: some clients mishandle them.
    #[must_use]
    pub const fn fragments(self) -> Self {
        Self { fragments: true, ..self }
    }

    /// Whether it is on.
    #[must_use]
    pub const fn is_on(self) -> bool {
        self.is_on
    }

    /// What is offered or accepted; `None` if it is off.
    pub(crate) fn settings(self, role: Role) -> Option<Settings> {
        if !self.is_on {
            return None;
        }
        let takeover = self.history_bytes > 0;
        let mut settings = match role {
            Role::Server => Settings::server(),
            Role::Client => Settings::client(),
        };
        settings.send.takeover = takeover;
        settings.receive.takeover = takeover;
        if role == Role::Server && takeover {
            settings.receive = Direction { window: window_of(self.history_bytes), takeover };
        }
        Some(settings)
    }

    pub(crate) fn own_history_bytes(self) -> usize {
        usize::from(self.history_bytes)
    }

    /// Whether a message of so many bytes is worth trying.
    pub(crate) fn takes(self, bytes: usize) -> bool {
        bytes >= self.threshold_bytes as usize && bytes > 0
    }

    pub(crate) fn takes_fragments(self) -> bool {
        self.fragments
    }

    pub(crate) fn level_number(self) -> u8 {
        self.level
    }
}

impl Default for Compression {
    /// [`new`](Self::new).
    fn default() -> Self {
        Self::new()
    }
}

/// The largest window that is at most this long, and at least the smallest that there is.
fn window_of(bytes: u16) -> WindowBits {
    let bits = bytes.max(256).ilog2() as u8;
    WindowBits::try_from(bits).unwrap_or(WindowBits::MAX)
}

/// RFC 7692 section 7.1.2: a window has at most 15 bits.
const MOST_HISTORY: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_keeps_follows_from_the_budget() {
        let window =
            |bytes| Compression::new().history_bytes(bytes).settings(Role::Server).unwrap().receive.window.get();
        assert_eq!([1, 256, 511, 512, 2047, 2048, 4096, 32_768, 1 << 20].map(window), [8, 8, 8, 9, 10, 11, 12, 15, 15]);
        let none = Compression::new().history_bytes(0).settings(Role::Server).unwrap();
        assert!(!none.send.takeover && !none.receive.takeover);
        assert!(Compression::off().settings(Role::Server).is_none());
    }
}
