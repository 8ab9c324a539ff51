//! The opening handshake that a `Connect` describes: its request, and the check of the response.

use sockeye_proto::ext::deflate::Settings;
use sockeye_proto::handshake::ApiMisuse;
use sockeye_proto::handshake::client::{self, Accepted};
use sockeye_proto::limits::ProtocolLimits;

use crate::client::Connect;

/// Used by the loop.
impl Connect {
    /// Appends the handshake request.
    ///
    /// # Errors
    /// None in practice: every setter, and every redirect, ends in `checked`, which builds the same request; a new
    /// `Connect` has only what a `Url` guarantees and what `Credentials::basic` encodes. If one of them missed a rule,
    /// this connect fails, not the loop.
    pub(crate) fn request(
        &self,
        nonce: [u8; 16],
        deflate: Option<Settings>,
        out: &mut Vec<u8>,
    ) -> Result<(), ApiMisuse> {
        let authority = self.url.authority();
        let mut request = self.build(&authority)?;
        if let Some(settings) = deflate {
            request = request.deflate(settings);
        }
        request.write(out, nonce);
        Ok(())
    }

    /// Checks the response head for [`request`](Self::request).
    pub(crate) fn check<'b>(
        &self,
        head: &'b [u8],
        nonce: [u8; 16],
        deflate: Option<Settings>,
        limits: &ProtocolLimits,
    ) -> Result<Accepted<'b>, client::HandshakeError> {
        let offered: Vec<&str> = self.protocols.iter().map(String::as_str).collect();
        client::check(head, nonce, &offered, deflate, limits)
    }
}
