//! A completed handshake, as `open` sees it.

/// The opening handshake of a connection, as passed to [`Protocol::open`](crate::Protocol::open).
///
/// ```
/// use sockeye::{Cx, Handshake};
///
/// fn opened(cx: &mut Cx<'_>, handshake: &Handshake<'_>) {
///     println!("{} speaks {}", cx.peer(), handshake.subprotocol().unwrap_or("no named protocol"));
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Handshake<'a> {
    pub(crate) subprotocol: Option<&'a str>,
}

impl<'a> Handshake<'a> {
    /// The subprotocol that the server chose, one of those that the client offered (RFC 6455
    /// section 1.9); `None` if it chose none.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&'a str> {
        self.subprotocol
    }
}
