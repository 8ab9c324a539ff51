//! How long the stages of connecting may take.

use std::time::Duration;

use crate::limits::{LimitError, table};

/// Time limits of the stages of connecting. Change single fields of [`Timeouts::default`].
///
/// ```
/// use std::time::Duration;
///
/// use sockeye::Connect;
/// use sockeye::client::Timeouts;
///
/// # fn main() -> Result<(), sockeye::client::ConnectError> {
/// let mut timeouts = Timeouts::default();
/// timeouts.handshake = Duration::from_secs(2);
/// let connect = Connect::new("ws://example.com/")?.timeouts(timeouts)?;
/// # let _ = connect;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Host lookup. Default 10 s.
    pub resolve: Duration,
    /// Connecting, over all addresses. Default 10 s.
    pub connect: Duration,
    /// The wait for one address before the next is tried in parallel; at least 10 ms. Default 250 ms: RFC 8305 section
    /// 5, "One recommended value for a default delay is 250 milliseconds."
    pub head_start: Duration,
    /// Negotiation with the proxy, with the handshake of its own TLS if it has that. Default 10 s.
    pub proxy: Duration,
    /// The handshake of TLS with the server. Default 10 s.
    pub tls: Duration,
    /// From the request to the end of the response. Default 10 s.
    pub handshake: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            resolve: table::RESOLVE.default_time(),
            connect: table::CONNECT.default_time(),
            head_start: table::HEAD_START.default_time(),
            proxy: table::PROXY.default_time(),
            tls: table::TLS.default_time(),
            handshake: table::HANDSHAKE.default_time(),
        }
    }
}

impl Timeouts {
    /// The same limit for each stage, and the default [`head_start`](Self::head_start). With that of
    /// [`Connect::timeout`](crate::Connect::timeout) only the whole attempt has a limit.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockeye::Connect;
    /// use sockeye::client::Timeouts;
    ///
    /// # fn main() -> Result<(), sockeye::client::ConnectError> {
    /// let patience = Duration::from_secs(60);
    /// let connect = Connect::new("ws://example.com/")?.timeout(patience)?.timeouts(Timeouts::each(patience))?;
    /// # let _ = connect;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn each(stage: Duration) -> Self {
        Self { resolve: stage, connect: stage, proxy: stage, tls: stage, handshake: stage, ..Self::default() }
    }

    pub(super) fn check(&self) -> Result<(), LimitError> {
        table::RESOLVE.check_time(self.resolve)?;
        table::CONNECT.check_time(self.connect)?;
        // RFC 8305 section 5: "a subsequent connection MUST NOT be started within 10 milliseconds of the previous
        // attempt."
        table::HEAD_START.check_time(self.head_start)?;
        table::PROXY.check_time(self.proxy)?;
        table::TLS.check_time(self.tls)?;
        table::HANDSHAKE.check_time(self.handshake)
    }
}
