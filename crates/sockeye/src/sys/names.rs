//! Looking up hosts.

use std::io;
use std::net::SocketAddr;

/// The resolver of a [`Sys`](crate::sys::Sys).
pub trait Names {
    /// Starts looking up the addresses of `host` elsewhere, so that the loop goes on; [`resolved`](Self::resolved) has the
    /// answer after a [`WAKE`](crate::sys::WAKE). `ticket` is the caller's, to tell questions apart. No system can take a
    /// question back: the caller drops an answer that is not wanted any more.
    ///
    /// # Errors
    /// `ResourceBusy` when [`QUESTIONS`] are under way; the system's when it cannot begin to look.
    fn resolve(&mut self, ticket: u64, host: &str, port: u16) -> io::Result<()>;

    /// The next answer that has arrived.
    fn resolved(&mut self) -> Option<Resolved>;
}

/// The most questions of [`Names::resolve`] that may be under way at one time, from asking until the answer is taken.
pub const QUESTIONS: usize = 1024;

/// The most addresses of one name that are returned; the others are dropped.
pub const ADDRESSES: usize = 64;

/// The answer to a question of [`Names::resolve`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Resolved {
    /// As given with the question.
    pub ticket: u64,
    /// The addresses of the host, each with the port of the question: at least one, at most [`ADDRESSES`], none twice, in the
    /// order in which the system would try them (RFC 6724). The text of an error says what the system made of the name.
    pub addresses: io::Result<Vec<SocketAddr>>,
}

impl Resolved {
    /// The answer to the question with this ticket: `found` without duplicates and at most [`ADDRESSES`] of it, and an error when it
    /// is empty.
    #[must_use]
    pub fn new(ticket: u64, found: io::Result<Vec<SocketAddr>>) -> Self {
        let addresses = found.and_then(|found| {
            let mut addresses = Vec::new();
            for address in found {
                if addresses.len() < ADDRESSES && !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
            }
            Ok(addresses)
        });
        Self { ticket, addresses }
    }
}
