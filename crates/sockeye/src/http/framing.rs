//! The head of an answer, with the fields that belong to the connection.

use sockeye_proto::handshake::VERSION;
use sockeye_proto::http::emit::{self, InvalidField};

use crate::http::response::Response;

/// How the peer finds the end of a body, as the head says it (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    /// The status has no body.
    None,
    /// By its length.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

impl Framing {
    /// That of a response which has its body.
    pub(crate) fn of(response: &Response) -> Self {
        response.content_length().map_or(Self::None, Self::Length)
    }
}

impl Response {
    /// Writes the head. `date` is in seconds since 1970.
    pub(crate) fn write_head(
        &self,
        out: &mut Vec<u8>,
        framing: Framing,
        date: u64,
        keep_alive: bool,
    ) -> Result<(), InvalidField> {
        let mut head = emit::ResponseWriter::new(out, self.status()).date(date);
        for (name, value) in self.fields() {
            head = head.header(name, value)?;
        }
        head = match framing {
            Framing::None | Framing::UntilClose => head,
            Framing::Length(length) => head.content_length(length),
            Framing::Chunked => head.header("Transfer-Encoding", "chunked")?,
        };
        if self.status() == 426 {
            // RFC 9110 section 15.5.22: "The server MUST send an Upgrade header field in a 426 response"; section 7.8:
            // "A sender of Upgrade MUST also send an "Upgrade" connection option".
            head = head.header("Upgrade", "websocket")?;
            if self.field("Sec-WebSocket-Version").is_none() {
                head = head.header("Sec-WebSocket-Version", VERSION)?;
            }
            head = head.header("Connection", if keep_alive { "Upgrade" } else { "close, Upgrade" })?;
        } else if !keep_alive {
            head = head.header("Connection", "close")?;
        }
        head.finish();
        Ok(())
    }
}
