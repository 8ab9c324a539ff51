//! The answer of a filter to a handshake.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;

use sockeye_proto::handshake::{ApiMisuse, check_extra};
use sockeye_proto::http::emit;

use crate::http::{Fields, InvalidHeader, Response};

/// The answer to a handshake, made by [`Protocol::filter`](crate::Protocol::filter).
///
/// ```
/// use sockeye::http::InvalidHeader;
/// use sockeye::{Decision, Request};
///
/// struct User(String);
///
/// fn decide(request: &Request<'_>) -> Result<Decision, InvalidHeader> {
///     match request.cookie("session") {
///         // `open` takes the user from its `Handshake`.
///         Some(session) => Decision::accept().with(User(session.to_owned())).header("X-Node", "7"),
///         None if request.path() == "/old" => Decision::redirect(308, "/new"),
///         None => Decision::refuse(401, "log in first").header("WWW-Authenticate", "Basic realm=\"chat\""),
///     }
/// }
/// ```
#[must_use]
pub struct Decision(pub(crate) Verdict);

pub(crate) enum Verdict {
    Accept(Acceptance),
    /// With a response other than the 101. The reason is for the log; it is empty if the program wrote the response.
    Refuse {
        response: Response,
        reason: Cow<'static, str>,
    },
    Later,
}

/// What goes into the 101, and to `open`.
#[derive(Default)]
pub(crate) struct Acceptance {
    /// `None`: the one that the service chose.
    pub(crate) subprotocol: Option<String>,
    pub(crate) fields: Fields,
    pub(crate) value: Option<Box<dyn Any>>,
    pub(crate) is_uncompressed: bool,
}

impl Decision {
    /// Accept, with the chosen subprotocol if the client offered any.
    pub fn accept() -> Self {
        Self(Verdict::Accept(Acceptance::default()))
    }

    /// Refuse with a status of 400 to 599 (others become 403) and a short plain text.
    ///
    /// The loop adds what RFC 9110 requires of the status: 401 has the challenge
    /// `Bearer realm="service"` unless another is [added](Self::header), 405 allows GET, 426 names
    /// the protocol.
    pub fn refuse(status: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        let status = if (400..600).contains(&status) { status } else { 403 };
        let reason = reason.into();
        Self(Verdict::Refuse { response: Response::refusal(status, &reason), reason })
    }

    /// Refuse by a redirect to `location`, a URL or a path. A status other than 301, 302, 303, 307
    /// and 308 becomes 307. Browsers do not follow it; for other clients it is an option, as
    /// [`Connect::redirects`](crate::Connect::redirects) is here.
    ///
    /// # Errors
    /// [`InvalidHeader::Value`]: the location has a space, a control character or one outside ASCII.
    pub fn redirect(status: u16, location: impl Into<Cow<'static, str>>) -> Result<Self, InvalidHeader> {
        let (status, location) = (if is_redirect(status) { status } else { 307 }, location.into());
        if location.is_empty() || !location.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidHeader::Value);
        }
        let reason = emit::reason(status);
        Self(Verdict::Refuse { response: Response::refusal(status, reason), reason: reason.into() })
            .header("Location", location)
    }

    /// Refuse with a response of the program's own: status, fields and body.
    ///
    /// ```
    /// use sockeye::Decision;
    /// use sockeye::http::Response;
    ///
    /// let busy = Response::html("<h1>Come back later</h1>").with_status(503);
    /// let decision = Decision::respond(busy.header("Retry-After", "120")?);
    /// # Ok::<(), sockeye::http::InvalidHeader>(())
    /// ```
    pub fn respond(response: Response) -> Self {
        Self(Verdict::Refuse { response, reason: "".into() })
    }

    /// Decide later, after a look-up that would hold up the loop: the connection waits until
    /// [`Commands::decide`](crate::Commands::decide) is called with its [id](crate::Request::id), in a
    /// callback or in a job of another thread. Then `open` gets the request as the filter did.
    ///
    /// Meanwhile nothing more is read from the client. After
    /// [`Limits::decision_timeout`](crate::Limits::decision_timeout), or when the service is drained, it
    /// is answered 503. When it ends the connection, the id is [`Gone`](crate::Gone).
    ///
    /// ```
    /// use std::sync::{Arc, OnceLock};
    /// use std::thread;
    ///
    /// use sockeye::{Decision, Remote, Request};
    ///
    /// # fn user_of(token: &str) -> Option<u32> { token.parse().ok() }
    /// /// The remote is set once the service is built.
    /// fn filter(request: &Request<'_>, remote: &Arc<OnceLock<Remote>>) -> Decision {
    ///     let (id, remote) = (request.id(), Arc::clone(remote));
    ///     let token = request.query_value("token").unwrap_or_default();
    ///     thread::spawn(move || {
    ///         let user = user_of(&token); // may take its time
    ///         let decide = move || user.map_or_else(|| Decision::refuse(403, "unknown"), |user| Decision::accept().with(user));
    ///         remote.get()?.run(move |control| drop(control.decide(id, decide()))).ok()
    ///     });
    ///     Decision::later()
    /// }
    /// ```
    pub fn later() -> Self {
        Self(Verdict::Later)
    }

    /// Accepts with this one of the subprotocols that the client offered. A name that was not
    /// offered is left out of the answer (RFC 6455 section 4.2.2 point 5: it must be one of the
    /// client's), and an error is logged. No effect on a refusal.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        if let Verdict::Accept(acceptance) = &mut self.0 {
            acceptance.subprotocol = Some(name.into());
        }
        self
    }

    /// Sets a header field of the answer, be it the 101 or a refusal. No effect on
    /// [`later`](Self::later). It replaces one of the same
    /// name, except Set-Cookie, which may occur many times.
    ///
    /// # Errors
    /// The name is not a token; the value has a control character; or the loop sets the field itself:
    /// those of [`Response::header`], and in a 101 also `Host` and all that begin with
    /// `Sec-WebSocket-`.
    pub fn header(
        self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Result<Self, InvalidHeader> {
        Ok(Self(match self.0 {
            Verdict::Accept(mut acceptance) => {
                let (name, value) = (name.into(), value.into());
                check_extra(&name, &value).map_err(|misuse| match misuse {
                    ApiMisuse::FieldName => InvalidHeader::Name,
                    ApiMisuse::FieldValue => InvalidHeader::Value,
                    _ => InvalidHeader::Reserved,
                })?;
                acceptance.fields.set_checked(name, value)?;
                Verdict::Accept(acceptance)
            }
            Verdict::Refuse { response, reason } => Verdict::Refuse { response: response.header(name, value)?, reason },
            Verdict::Later => Verdict::Later,
        }))
    }

    /// Messages of this connection are not compressed, whatever [its protocol](crate::Protocol::compression) wants and the
    /// client offers. No effect on a refusal.
    pub fn uncompressed(mut self) -> Self {
        if let Verdict::Accept(acceptance) = &mut self.0 {
            acceptance.is_uncompressed = true;
        }
        self
    }

    /// Hands a value to `open`, which takes it by [`Handshake::take`](crate::Handshake::take): what
    /// the filter has learned from the request. One value; a second replaces the first. No effect on a refusal.
    pub fn with<T: 'static>(mut self, value: T) -> Self {
        if let Verdict::Accept(acceptance) = &mut self.0 {
            acceptance.value = Some(Box::new(value));
        }
        self
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without fields and body: they may hold cookies.
        match &self.0 {
            Verdict::Accept(acceptance) => f
                .debug_struct("Accept")
                .field("subprotocol", &acceptance.subprotocol)
                .field("has_value", &acceptance.value.is_some())
                .finish_non_exhaustive(),
            Verdict::Refuse { response, .. } => {
                f.debug_struct("Refuse").field("status", &response.status()).finish_non_exhaustive()
            }
            Verdict::Later => f.write_str("Later"),
        }
    }
}

const fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_cannot_split_or_change_the_101() {
        for value in ["a\r\nSet-Cookie: b=c", "a\nb", "a\rb", "a\0b", "\x7f"] {
            assert_eq!(Decision::accept().header("X-A", value).err(), Some(InvalidHeader::Value), "{value:?}");
        }
        for name in ["", "a b", "a:", "a\r\nb"] {
            assert_eq!(Decision::accept().header(name, "v").err(), Some(InvalidHeader::Name), "{name:?}");
        }
        for name in [
            "Upgrade",
            "connection",
            "Sec-WebSocket-Accept",
            "sec-websocket-protocol",
            "Sec-WebSocket-Extensions",
            "Content-Length",
            "Transfer-Encoding",
            "Date",
            "Host",
        ] {
            assert_eq!(Decision::accept().header(name, "1").err(), Some(InvalidHeader::Reserved), "{name}");
        }
        let decision = Decision::accept().header("Set-Cookie", "a=1").unwrap().header("Set-Cookie", "b=2").unwrap();
        let Verdict::Accept(acceptance) = decision.header("X-A", "1").unwrap().header("x-a", "2").unwrap().0 else {
            panic!("it is an acceptance");
        };
        let fields: Vec<_> = acceptance.fields.iter().collect();
        assert_eq!(fields, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("x-a", "2")]);
    }

    #[test]
    fn statuses_are_those_of_a_refusal() {
        for (given, sent) in [(400, 400), (599, 599), (101, 403), (200, 403), (301, 403), (600, 403)] {
            assert_eq!(format!("{:?}", Decision::refuse(given, "x")), format!("Refuse {{ status: {sent}, .. }}"));
        }
        for (given, sent) in [(301, 301), (303, 303), (308, 308), (300, 307), (200, 307), (404, 307)] {
            let decision = Decision::redirect(given, "/").unwrap();
            assert_eq!(format!("{decision:?}"), format!("Refuse {{ status: {sent}, .. }}"));
        }
        for location in ["", "/a b", "/a\r\nX: y", "/größe", "\0"] {
            assert_eq!(Decision::redirect(302, location).err(), Some(InvalidHeader::Value), "{location:?}");
        }
    }
}
