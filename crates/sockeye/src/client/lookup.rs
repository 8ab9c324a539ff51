//! Hosts that the program looks up itself.

use std::fmt;
use std::io;

use crate::id::ConnId;
use crate::sys::{ADDRESSES, Address};

/// A host that is to be looked up for a connect; see [`Builder::resolver`](crate::Builder::resolver).
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    pub(crate) id: ConnId,
    pub(crate) host: &'a str,
    pub(crate) port: u16,
}

impl Lookup<'_> {
    /// The connection that is to be made. [`Commands::resolve`](crate::Commands::resolve) takes it with a later answer.
    #[must_use]
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The name: that of the server, or of the proxy. It is in lower case, and not an address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// The answer to a [`Lookup`].
#[must_use]
pub struct Resolution(pub(crate) Answer);

pub(crate) enum Answer {
    System,
    Later,
    Found(io::Result<Vec<Address>>),
}

impl Resolution {
    /// Look it up as without a resolver of the program.
    pub fn system() -> Self {
        Self(Answer::System)
    }

    /// Answer later: the connect waits until [`Commands::resolve`](crate::Commands::resolve) is called with its id, in a
    /// callback or in a job of another thread, or until its time for the look-up has passed
    /// ([`Timeouts::resolve`](crate::client::Timeouts::resolve)).
    pub fn later() -> Self {
        Self(Answer::Later)
    }

    /// Connect to these addresses, in this order, which may have other ports and may be Unix sockets. Those that come twice
    /// and those after the first [`ADDRESSES`] are left out; none means that there is no such host.
    pub fn addresses(found: impl IntoIterator<Item = Address>) -> Self {
        let mut addresses = Vec::new();
        // Not more is asked of an iterator without end that repeats itself.
        for address in found.into_iter().take(MOST_ASKED) {
            if addresses.len() == ADDRESSES {
                break;
            }
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Self::error(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Self(Answer::Found(Ok(addresses)))
    }

    /// The look-up failed: so does the connect, with
    /// [`FailureCause::Resolve`](crate::client::FailureCause::Resolve).
    pub fn error(error: io::Error) -> Self {
        Self(Answer::Found(Err(error)))
    }
}

impl fmt::Debug for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Answer::System => f.write_str("Resolution::system"),
            Answer::Later => f.write_str("Resolution::later"),
            Answer::Found(Ok(addresses)) => f.debug_tuple("Resolution::addresses").field(addresses).finish(),
            Answer::Found(Err(error)) => f.debug_tuple("Resolution::error").field(error).finish(),
        }
    }
}

const MOST_ASKED: usize = 16 * ADDRESSES;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> Address {
        Address::Ip(([10, 0, 0, 1], number as u16).into())
    }

    #[test]
    fn addresses_are_bounded_and_come_once() {
        let Answer::Found(Ok(found)) = Resolution::addresses([1, 2, 1, 3].map(address)).0 else { panic!() };
        assert_eq!(found, [1, 2, 3].map(address));
        let Answer::Found(Ok(found)) = Resolution::addresses((0..).map(address)).0 else { panic!() };
        assert_eq!((found.len(), &found[63]), (64, &address(63)));
        let Answer::Found(Ok(found)) = Resolution::addresses(std::iter::repeat(address(1))).0 else { panic!() };
        assert_eq!(found, [address(1)]);
        let Answer::Found(Err(error)) = Resolution::addresses([]).0 else { panic!() };
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
