//! The negotiation of `permessage-deflate` (RFC 7692): what each side wants, what is offered, answered
//! and agreed. Nothing is compressed here: see [`deflate`](crate::deflate).
//!
//! ```
//! use sockeye_proto::ext::{deflate::Settings, params};
//!
//! let offer = Settings::client().offer();
//! assert_eq!(offer.as_bytes(), b"permessage-deflate; client_max_window_bits");
//!
//! let offers = params::parse([offer.as_bytes()])?;
//! let (server, answer) = Settings::server().accept(&offers).expect("a legal offer");
//! assert_eq!(answer.as_bytes(), b"permessage-deflate; client_max_window_bits=11");
//! assert_eq!(server.receive.history_bytes(), 2048);
//!
//! let answers = params::parse([answer.as_bytes()])?;
//! let client = Settings::client().check(&answers)?.expect("an answer");
//! assert_eq!(client.send, server.receive);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What costs memory
//!
//! A receiver keeps the sender's whole window between messages if the sender takes it over, since the
//! next message may point anywhere into it. So the window of the *peer* is what [`Settings`] limit. A
//! sender may always remember less than it may use, so its own direction needs no limit.

mod field_value;
mod parameters;
mod window;

pub use self::field_value::FieldValue;
pub use self::parameters::{NegotiationError, Parameter};
pub use self::window::{InvalidWindowBits, WindowBits};

use self::parameters::{NAME, Parameters};
use super::params::Extension;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "RFC 7692 defines these two properties")]
pub struct Direction {
    /// The window with which the sender compresses, at most.
    pub window: WindowBits,
    /// Whether a message may refer to those before it.
    pub takeover: bool,
}

impl Direction {
    /// What RFC 7692 lets a sender do where nothing is said: the largest window, taken over.
    pub const UNLIMITED: Self = Self { window: WindowBits::MAX, takeover: true };

    /// How many bytes of past messages the receiver must keep.
    #[must_use]
    pub const fn history_bytes(self) -> usize {
        if self.takeover { self.window.bytes() } else { 0 }
    }
}

/// What both sides agreed on, as its owner sees it: one side's `send` is the other's `receive`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a connection has two directions")]
pub struct Agreed {
    /// How messages may be compressed. Using a smaller window, or forgetting it, is always allowed.
    pub send: Direction,
    /// How the peer compresses, so how much of its messages must be kept.
    pub receive: Direction,
}

/// What one side wants.
///
/// Of `receive`, the window limits only what is taken over: a peer that forgets its window after each
/// message may use any, since that costs no memory in between.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// How this side compresses, at most.
    pub send: Direction,
    /// How the peer may compress, at most.
    pub receive: Direction,
}

impl Settings {
    /// Those of a server: the peer's history is limited to 2 KiB. A client that offers
    /// `client_max_window_bits`, as Chrome does, takes over a window of that size; others, such as
    /// Firefox and Safari, take over none.
    #[must_use]
    pub const fn server() -> Self {
        Self { send: Direction::UNLIMITED, receive: Direction { window: WindowBits::TWO_KIB, takeover: true } }
    }

    /// Those of a client: the offer is that of Chrome, since some servers do not understand others. The
    /// server may then use 32 KiB of history.
    #[must_use]
    pub const fn client() -> Self {
        Self { send: Direction::UNLIMITED, receive: Direction::UNLIMITED }
    }

    /// What a server agrees to and answers. `None`: there is no offer of `permessage-deflate`, or none
    /// that is legal, and the answer has no `Sec-WebSocket-Extensions`.
    ///
    /// `offers` are those of all field lines together, as [`params::parse`](super::params::parse)
    /// returns them.
    #[must_use]
    pub fn accept(self, offers: &[Extension<'_>]) -> Option<(Agreed, FieldValue)> {
        // RFC 7692 section 5: "The order of elements is important as it specifies the client's
        // preference."
        let mut offers = offers.iter().filter(|offer| offer.name == NAME);
        let offer = offers.find_map(|offer| Parameters::of_offer(offer).ok())?;
        let agreed = Agreed { send: self.send_as_server(&offer), receive: self.receive_as_server(&offer) };
        let Agreed { send, receive } = agreed;
        let answer = Parameters {
            // RFC 7692 section 7.1.1.1: "A server accepts an extension negotiation offer that includes
            // the "server_no_context_takeover" extension parameter by including the
            // "server_no_context_takeover" extension parameter in the corresponding extension
            // negotiation response". It may also do so unasked, and the client can free its history.
            server_no_context_takeover: !send.takeover,
            // RFC 7692 section 7.1.1.2: "A server MAY include the "client_no_context_takeover"
            // extension parameter in an extension negotiation response."
            client_no_context_takeover: !receive.takeover,
            // RFC 7692 section 7.1.2.1: "A server accepts an extension negotiation offer with this
            // parameter by including the "server_max_window_bits" extension parameter in the extension
            // negotiation response to send back to the client with the same or smaller value as the
            // offer." It may also do so unasked.
            server_max_window_bits: offer.server_max_window_bits.and(Some(send.window)).or_else(|| stated(send)),
            // Only what was offered is less than the most.
            client_max_window_bits: stated(receive),
        };
        Some((agreed, answer.answer()))
    }

    fn send_as_server(self, offer: &Parameters) -> Direction {
        Direction {
            window: self.send.window.min(offer.server_max_window_bits.unwrap_or(WindowBits::MAX)),
            takeover: self.send.takeover && !offer.server_no_context_takeover,
        }
    }

    fn receive_as_server(self, offer: &Parameters) -> Direction {
        // Where the window cannot be limited, it cannot be kept.
        let can_keep = offer.client_max_window_bits.is_some() || self.receive.window == WindowBits::MAX;
        // RFC 7692 section 7.1.1.2: "the server may either ignore the parameter or use the parameter to
        // avoid taking over the LZ77 sliding window unnecessarily". The client takes nothing over
        // either way.
        let takeover = self.receive.takeover && can_keep && !offer.client_no_context_takeover;
        let most = if takeover { self.receive.window } else { WindowBits::MAX };
        let window = match offer.client_max_window_bits {
            // RFC 7692 section 7.1.2.2: "If a received extension negotiation offer doesn't have the
            // "client_max_window_bits" extension parameter, the corresponding extension negotiation
            // response to the offer MUST NOT include the "client_max_window_bits" extension parameter."
            None => WindowBits::MAX,
            // "the server may either ignore this value or use this value to avoid allocating an
            // unnecessarily big LZ77 sliding window by including the "client_max_window_bits" extension
            // parameter in the corresponding extension negotiation response to the offer with a value
            // equal to or smaller than the received value."
            Some(hint) => hint.min(most),
        };
        Direction { window, takeover }
    }

    /// What a client offers.
    #[must_use]
    pub fn offer(self) -> FieldValue {
        self.offered().offer()
    }

    fn offered(self) -> Parameters {
        let limits_window = self.receive.takeover && self.receive.window < WindowBits::MAX;
        Parameters {
            // RFC 7692 section 7.1.1.1: "By including this extension parameter in an extension
            // negotiation offer, a client prevents the peer server from using context takeover."
            server_no_context_takeover: !self.receive.takeover,
            // RFC 7692 section 7.1.1.2: it is "a hint that even if the server doesn't include the
            // "client_no_context_takeover" extension parameter in the corresponding extension
            // negotiation response to the offer, the client is not going to use context takeover."
            client_no_context_takeover: !self.send.takeover,
            // RFC 7692 section 7.1.2.1: "By including this parameter in an extension negotiation offer,
            // a client limits the LZ77 sliding window size that the server will use to compress
            // messages."
            server_max_window_bits: limits_window.then_some(self.receive.window),
            // Always, or the server could not limit what it has to keep.
            client_max_window_bits: Some(self.send.window),
        }
    }

    /// What a client agreed to by an [`offer`](Self::offer) that the server answered so. `None`: the
    /// server accepted no extension.
    ///
    /// `answer` has the elements of all field lines together, as
    /// [`params::parse`](super::params::parse) returns them.
    ///
    /// # Errors
    /// The answer breaks a rule, or is not one to this offer. The client must fail the connection.
    pub fn check(self, answer: &[Extension<'_>]) -> Result<Option<Agreed>, NegotiationError> {
        // RFC 6455 section 4.1: "If the response includes a |Sec-WebSocket-Extensions| header field and
        // this header field indicates the use of an extension that was not present in the client's
        // handshake [...], the client MUST _Fail the WebSocket Connection_."
        if answer.iter().any(|extension| extension.name != NAME) {
            return Err(NegotiationError::ExtensionNotOffered);
        }
        let answer = match answer {
            [] => return Ok(None),
            [answer] => Parameters::of_answer(answer)?,
            // There was one offer, and each can be accepted once.
            _ => return Err(NegotiationError::ExtensionRepeated),
        };
        let offered = self.offered();
        // RFC 7692 section 7.1.1.1: "A server accepts an extension negotiation offer that includes the
        // "server_no_context_takeover" extension parameter by including the
        // "server_no_context_takeover" extension parameter in the corresponding extension negotiation
        // response".
        if offered.server_no_context_takeover && !answer.server_no_context_takeover {
            return Err(NegotiationError::ParameterIgnored(Parameter::ServerNoContextTakeover));
        }
        if let Some(most) = offered.server_max_window_bits {
            // RFC 7692 section 7.1.2.1: "by including the "server_max_window_bits" extension parameter
            // in the extension negotiation response to send back to the client with the same or smaller
            // value as the offer."
            let ignored = NegotiationError::ParameterIgnored(Parameter::ServerMaxWindowBits);
            if answer.server_max_window_bits.ok_or(ignored)? > most {
                return Err(NegotiationError::WindowTooLarge);
            }
        }
        // RFC 7692 section 7.1.2.2: the value of the offer is "a hint", and a larger one in the answer
        // allows more than is used.
        let most = answer.client_max_window_bits.unwrap_or(WindowBits::MAX);
        Ok(Some(Agreed {
            send: Direction {
                window: self.send.window.min(most),
                takeover: self.send.takeover && !answer.client_no_context_takeover,
            },
            receive: Direction {
                window: answer.server_max_window_bits.unwrap_or(WindowBits::MAX),
                takeover: !answer.server_no_context_takeover,
            },
        }))
    }
}

/// The window, if it is not what holds anyhow.
fn stated(direction: Direction) -> Option<WindowBits> {
    (direction.window < WindowBits::MAX).then_some(direction.window)
}

#[cfg(test)]
mod tests;
