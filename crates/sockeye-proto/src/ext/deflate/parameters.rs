//! The four parameters, as they stand in an offer or an answer: read and written.

use core::fmt;

use super::field_value::FieldValue;
use super::window::WindowBits;
use crate::ext::params::Extension;
use crate::http::syntax;

/// One parameter of `permessage-deflate`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "RFC 7692 defines these four, and an unknown one is an error")]
pub enum Parameter {
    /// `server_no_context_takeover`: the server begins each message with an empty window.
    ServerNoContextTakeover,
    /// `client_no_context_takeover`: the client begins each message with an empty window.
    ClientNoContextTakeover,
    /// `server_max_window_bits`: the largest window with which the server compresses.
    ServerMaxWindowBits,
    /// `client_max_window_bits`: the largest window with which the client compresses.
    ClientMaxWindowBits,
}

impl Parameter {
    /// The name: a token.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServerNoContextTakeover => "server_no_context_takeover",
            Self::ClientNoContextTakeover => "client_no_context_takeover",
            Self::ServerMaxWindowBits => "server_max_window_bits",
            Self::ClientMaxWindowBits => "client_max_window_bits",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let all = [
            Self::ServerNoContextTakeover,
            Self::ClientNoContextTakeover,
            Self::ServerMaxWindowBits,
            Self::ClientMaxWindowBits,
        ];
        all.into_iter().find(|parameter| parameter.name() == name)
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with an offer, which a server declines then, or with an answer, for which a client
/// fails the connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum NegotiationError {
    /// The answer names an extension that was not offered.
    ExtensionNotOffered,
    /// The answer accepts `permessage-deflate` twice.
    ExtensionRepeated,
    /// There is a parameter that RFC 7692 does not define.
    ParameterUnknown,
    /// A parameter is there twice.
    ParameterRepeated(Parameter),
    /// The value of a parameter is missing, is not one of those allowed, or must not be there.
    ParameterValue(Parameter),
    /// A parameter with which the client limits the server is not in the answer.
    ParameterIgnored(Parameter),
    /// The server answers with a larger window than the client allows it.
    WindowTooLarge,
}

impl fmt::Display for NegotiationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExtensionNotOffered => f.write_str("an extension was not offered (RFC 6455 section 9.1)"),
            Self::ExtensionRepeated => f.write_str("permessage-deflate is accepted twice (RFC 7692 section 5)"),
            Self::ParameterUnknown => f.write_str("permessage-deflate has an unknown parameter (RFC 7692 section 7)"),
            Self::ParameterRepeated(parameter) => write!(f, "{parameter} is there twice (RFC 7692 section 7)"),
            Self::ParameterValue(
                parameter @ (Parameter::ServerNoContextTakeover | Parameter::ClientNoContextTakeover),
            ) => {
                write!(f, "{parameter} has a value (RFC 7692 section 7.1.1)")
            }
            Self::ParameterValue(parameter) => {
                write!(f, "the value of {parameter} is not a number from 8 to 15 (RFC 7692 section 7.1.2)")
            }
            Self::ParameterIgnored(parameter) => {
                write!(f, "the server accepts permessage-deflate without {parameter}, which was asked for")?;
                f.write_str(" (RFC 7692 section 7.1)")
            }
            Self::WindowTooLarge => f.write_str(
                "the server answers with larger server_max_window_bits than were offered (RFC 7692 section 7.1.2.1)",
            ),
        }
    }
}

impl core::error::Error for NegotiationError {}

/// The parameters of one offer or answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Parameters {
    pub(super) server_no_context_takeover: bool,
    pub(super) client_no_context_takeover: bool,
    pub(super) server_max_window_bits: Option<WindowBits>,
    /// 15 in an offer is the same as no value: the client understands a limit and has none itself.
    pub(super) client_max_window_bits: Option<WindowBits>,
}

impl Parameters {
    /// Reads the parameters of an offer. An error declines it:
    ///
    /// RFC 7692 section 7: "A server MUST decline an extension negotiation offer for this extension
    /// if any of the following conditions are met", which are those of [`Self::read`].
    pub(super) fn of_offer(offer: &Extension<'_>) -> Result<Self, NegotiationError> {
        // Section 7.1.2.2 lets `client_max_window_bits` have no value in an offer.
        Self::read(offer, Some(WindowBits::MAX))
    }

    /// Reads the parameters of an answer. An error fails the connection:
    ///
    /// RFC 7692 section 7: "A client MUST _Fail the WebSocket Connection_ if the peer server
    /// accepted an extension negotiation offer for this extension with an extension negotiation
    /// response meeting any of the following conditions", which are those of [`Self::read`].
    pub(super) fn of_answer(answer: &Extension<'_>) -> Result<Self, NegotiationError> {
        Self::read(answer, None)
    }

    /// `bare` is what `client_max_window_bits` means without a value, if that is allowed.
    fn read(extension: &Extension<'_>, bare: Option<WindowBits>) -> Result<Self, NegotiationError> {
        let mut parameters = Self::default();
        for param in &extension.params {
            // RFC 7692 section 7: "The negotiation offer contains an extension parameter not defined
            // for use in an offer." All four are for use in both.
            let parameter = Parameter::named(param.name).ok_or(NegotiationError::ParameterUnknown)?;
            // "The negotiation offer contains an extension parameter with an invalid value."
            let invalid = NegotiationError::ParameterValue(parameter);
            // How a value was quoted is gone: RFC 6455 section 9.1 gives both forms one meaning.
            let value = param.value.as_deref();
            let known = match parameter {
                Parameter::ServerNoContextTakeover => raise(&mut parameters.server_no_context_takeover, value),
                Parameter::ClientNoContextTakeover => raise(&mut parameters.client_no_context_takeover, value),
                Parameter::ServerMaxWindowBits => limit(&mut parameters.server_max_window_bits, value, None),
                Parameter::ClientMaxWindowBits => limit(&mut parameters.client_max_window_bits, value, bare),
            };
            // "The negotiation offer contains multiple extension parameters with the same name."
            if known.ok_or(invalid)? {
                return Err(NegotiationError::ParameterRepeated(parameter));
            }
        }
        Ok(parameters)
    }

    /// An element of a client's `Sec-WebSocket-Extensions`.
    pub(super) fn offer(&self) -> FieldValue {
        // Like a browser, no value says nothing: some servers know no other form.
        self.write(Some(WindowBits::MAX))
    }

    /// The whole value of a server's `Sec-WebSocket-Extensions`.
    pub(super) fn answer(&self) -> FieldValue {
        self.write(None)
    }

    /// `bare` is the `client_max_window_bits` that are written without a value.
    fn write(&self, bare: Option<WindowBits>) -> FieldValue {
        let mut value = FieldValue::new(NAME);
        if self.server_no_context_takeover {
            value.push(Parameter::ServerNoContextTakeover.name(), None);
        }
        if self.client_no_context_takeover {
            value.push(Parameter::ClientNoContextTakeover.name(), None);
        }
        if let Some(bits) = self.server_max_window_bits {
            value.push(Parameter::ServerMaxWindowBits.name(), Some(bits.get()));
        }
        if let Some(bits) = self.client_max_window_bits {
            let stated = self.client_max_window_bits != bare;
            value.push(Parameter::ClientMaxWindowBits.name(), stated.then_some(bits.get()));
        }
        value
    }
}

/// Notes a parameter without a value. Whether it was there before; `None`: it has a value.
///
/// RFC 7692 section 7.1.1.1: "The "server_no_context_takeover" extension parameter in an extension
/// negotiation response has no value." So it is in an offer, and of `client_no_context_takeover`.
fn raise(flag: &mut bool, value: Option<&str>) -> Option<bool> {
    if value.is_some() { None } else { Some(core::mem::replace(flag, true)) }
}

/// Notes a window. Whether it was there before; `None`: the value is wrong, or missing without a
/// meaning in `bare`.
///
/// RFC 7692 sections 7.1.2.1 and 7.1.2.2: "a decimal integer value without leading zeroes between 8
/// to 15".
fn limit(window: &mut Option<WindowBits>, value: Option<&str>, bare: Option<WindowBits>) -> Option<bool> {
    let bits = match value {
        None => bare?,
        Some(digits) if digits.starts_with('0') => return None,
        Some(digits) => {
            let bits = u8::try_from(syntax::decimal(digits.as_bytes())?).ok()?;
            WindowBits::try_from(bits).ok()?
        }
    };
    Some(window.replace(bits).is_some())
}

/// The name of the extension (RFC 7692 section 7).
pub(super) const NAME: &str = "permessage-deflate";
