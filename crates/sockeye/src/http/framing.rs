//! The head of an answer, with the fields that belong to the connection.

use sockeye_proto::http::emit::{self, InvalidField};

use crate::http::response::Response;

/// How the peer finds the end of a body, as the head says it (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    /// The status has no body.
    None,
    /// By its length.
    Length(u64),
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
            head = head.field(name, value)?;
        }
        head = match framing {
            Framing::None => head,
            Framing::Length(length) => head.content_length(length),
        };
        if !keep_alive {
            head = head.field("Connection", "close")?;
        }
        head.finish();
        Ok(())
    }
}
