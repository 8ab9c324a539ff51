//! Responses of handlers and files. The loop writes them, and adds the fields of the connection.

use std::borrow::Cow;
use std::fmt;
#[cfg(feature = "files")]
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
#[cfg(feature = "files")]
use std::io;

use sockeye_proto::http::emit;

use crate::http::fields::{Fields, InvalidHeader};
use crate::http::files::FileBody;

/// An HTTP response: status, header fields and body.
///
/// The loop adds Date, Content-Length and Connection. Build a constant response once and let the handler clone it;
/// cloning static bytes copies nothing:
///
/// ```
/// use sockeye::http::{Response, Routes};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let page = Response::bytes("text/html; charset=utf-8", b"<!doctype html><title>Hello</title>")
///     .with_etag()
///     .header("Content-Security-Policy", "default-src 'self'")?;
/// let routes = Routes::new().get("/", move |_| page.clone());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    fields: Fields,
    body: Body,
    /// The Content-Length of a response to HEAD, whose `body` is empty.
    head_length: Option<u64>,
}

/// 500. With it, `response.header(name, value)?` works where a callback refuses with a [`Response`].
impl From<InvalidHeader> for Response {
    fn from(_: InvalidHeader) -> Self {
        Self::error(500)
    }
}

/// The content of a response in memory: text (`&'static str`, `String`) or bytes (`&'static [u8]`, `&'static [u8; N]`,
/// `Vec<u8>`), or a [`Cow`] of them. Nothing is copied.
#[derive(Clone)]
pub struct Content(Cow<'static, [u8]>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the bytes: they may be secret.
        f.debug_struct("Content").field("bytes", &self.0.len()).finish()
    }
}

impl From<&'static str> for Content {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text.into_bytes()))
    }
}

impl From<Cow<'static, str>> for Content {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl From<&'static [u8]> for Content {
    fn from(bytes: &'static [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl<const N: usize> From<&'static [u8; N]> for Content {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Cow::Owned(bytes))
    }
}

impl From<Cow<'static, [u8]>> for Content {
    fn from(bytes: Cow<'static, [u8]>) -> Self {
        Self(bytes)
    }
}

/// The source of the body's bytes.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// No body.
    Empty,
    /// In memory.
    Bytes(Cow<'static, [u8]>),
    /// In an open file.
    #[cfg_attr(not(feature = "files"), expect(dead_code, reason = "there are none"))]
    File(FileBody),
}

impl Response {
    /// A response without a body. A status outside 200 to 599 becomes 500: a handler cannot send interim responses.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self { status: final_status(status), fields: Fields::new(), body: Body::Empty, head_length: None }
    }

    /// 200 with plain text.
    #[must_use]
    pub fn text(body: impl Into<Cow<'static, str>>) -> Self {
        Self::bytes("text/plain; charset=utf-8", body.into())
    }

    /// 200 with an HTML page.
    #[must_use]
    pub fn html(body: impl Into<Cow<'static, str>>) -> Self {
        Self::bytes("text/html; charset=utf-8", body.into())
    }

    /// 200 with any bytes or text. A media type that is not valid in a header becomes `application/octet-stream`.
    ///
    /// ```
    /// use sockeye::http::Response;
    ///
    /// let visits = 7;
    /// let json = Response::bytes("application/json", format!("{{\"visits\":{visits}}}"));
    /// let pixel = Response::bytes("image/gif", b"GIF89a");
    /// # let _ = (json, pixel);
    /// ```
    #[must_use]
    pub fn bytes(media_type: &'static str, content: impl Into<Content>) -> Self {
        Self::new(200).with_media_type(media_type.into()).with_body(Body::Bytes(content.into().0))
    }

    /// 200 with the bytes of an open file, from its beginning to its present end. They are read while they are sent, on
    /// the loop's thread. A file that becomes shorter meanwhile breaks the connection. The media type is as for
    /// [`bytes`](Self::bytes). [`Files`](crate::http::Files) has ranges and conditional requests too.
    ///
    /// # Errors
    ///
    /// The system's error, or [`InvalidInput`](io::ErrorKind::InvalidInput) for anything but a regular file.
    #[cfg(feature = "files")]
    pub fn file(media_type: &'static str, file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let body = Body::File(FileBody::new(file, 0, metadata.len()));
        Ok(Self::new(200).with_media_type(media_type.into()).with_body(body))
    }

    /// A response with a short text body that names the status, such as `404 Not Found`.
    #[must_use]
    pub fn error(status: u16) -> Self {
        let status = final_status(status);
        Self::text(format!("{status} {}\n", emit::reason(status))).with_status(status)
    }

    /// A short plain text that says why something is refused: `reason`, or the status if it is empty.
    pub(crate) fn refusal(status: u16, reason: &str) -> Self {
        if reason.is_empty() {
            return Self::error(status);
        }
        let end = if reason.ends_with('\n') { "" } else { "\n" };
        Self::text(format!("{reason}{end}")).with_status(status)
    }

    /// Sets the status; see [`new`](Self::new) for the range.
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        self.status = final_status(status);
        self
    }

    /// Adds an ETag made from the body, so that a browser that has the body gets a 304. Two different bodies have the
    /// same tag with a chance of one in 2⁶⁴; an attacker who chooses the bytes could make a collision.
    #[must_use]
    pub fn with_etag(mut self) -> Self {
        if let Body::Bytes(bytes) = &self.body {
            let mut hasher = DefaultHasher::new();
            hasher.write(bytes);
            let tag = format!("\"{:x}-{:016x}\"", bytes.len(), hasher.finish());
            self.set("ETag", tag);
        }
        self
    }

    /// Sets a header field. It replaces one of the same name, except Set-Cookie, which may occur many times.
    ///
    /// # Errors
    ///
    /// The name is not a token; the value has a control character (such as CR, LF or NUL); or the loop sets the field
    /// itself: Connection, Content-Length, Date, Keep-Alive, Trailer, Transfer-Encoding, Upgrade.
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Result<Self, InvalidHeader> {
        self.fields.set_checked(name.into(), value.into())?;
        Ok(self)
    }

    /// Adds the field `Allow`, which a 405 must have.
    pub(crate) fn allowing(mut self, methods: impl Into<Cow<'static, str>>) -> Self {
        self.set("Allow", methods);
        self
    }

    pub(crate) const fn status(&self) -> u16 {
        self.status
    }

    /// The fields in the order they were set. Names and values are valid and safe to write.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter()
    }

    /// The first field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    /// The value of Content-Length; `None` if that field must not be sent.
    pub(crate) fn content_length(&self) -> Option<u64> {
        match self.status {
            // RFC 9110 section 8.6: "A server MUST NOT send a Content-Length header field in any response with a status
            // code of 1xx (Informational) or 204 (No Content)." In a 304 it could only repeat that of the 200.
            204 | 304 => None,
            _ => Some(self.head_length.unwrap_or_else(|| self.body.length())),
        }
    }

    pub(crate) const fn body(&self) -> &Body {
        &self.body
    }

    /// The body to send: empty for HEAD, 204, 205 and 304, even if the handler returned one.
    pub(crate) fn into_body(self) -> Body {
        self.body
    }

    /// Turns this 200 into a 304: the fields that a cache needs, without a body.
    pub(super) fn not_modified(mut self) -> Self {
        // RFC 9110 section 15.4.5: "a sender SHOULD NOT generate representation metadata other than the above listed
        // fields".
        self.fields.remove("Content-Type");
        Self { status: 304, body: Body::Empty, ..self }
    }

    /// The last step of each response: adds a field that the status requires, and removes a body that must not be sent.
    pub(crate) fn finish(mut self, head_only: bool) -> Self {
        // RFC 9110 section 15.5.2: "The server generating a 401 response MUST send a WWW-Authenticate header field
        // (Section 11.6.1) containing at least one challenge applicable to the target resource." This one makes no
        // browser ask for a password.
        if self.status == 401 && self.field("WWW-Authenticate").is_none() {
            self.set("WWW-Authenticate", "Bearer realm=\"service\"");
        }
        match self.status {
            // RFC 9110 section 15.3.6: "a server MUST NOT generate content in a 205 response".
            204 | 205 | 304 => self.body = Body::Empty,
            // RFC 9110 section 9.3.2: "The HEAD method is identical to GET except that the server MUST NOT send content
            // in the response." The length is kept; a file is closed here.
            _ if head_only => {
                self.head_length = Some(self.body.length());
                self.body = Body::Empty;
            }
            _ => {}
        }
        self
    }

    pub(super) fn with_body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    pub(super) fn with_media_type(mut self, media_type: Cow<'static, str>) -> Self {
        let safe = !media_type.is_empty() && emit::check_field("Content-Type", &media_type).is_ok();
        self.set("Content-Type", if safe { media_type } else { "application/octet-stream".into() });
        self.set("X-Content-Type-Options", "nosniff");
        self
    }

    /// As [`header`](Self::header), for a name and a value known to be safe.
    pub(super) fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) {
        self.fields.set(name.into(), value.into());
    }
}

impl Body {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(file) => file.remaining(),
        }
    }
}

const fn final_status(status: u16) -> u16 {
    if matches!(status, 200..=599) { status } else { 500 }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{Body, Content, Response};
    use crate::http::InvalidHeader;

    #[test]
    fn content_is_text_or_bytes_borrowed_or_owned() {
        let borrowed: [Content; 5] = [
            "abc".into(),
            b"abc".into(),
            Content::from(&b"abc"[..]),
            Cow::from("abc").into(),
            Cow::from(&b"abc"[..]).into(),
        ];
        let owned: [Content; 4] = [
            "abc".to_owned().into(),
            b"abc".to_vec().into(),
            Cow::from("abc".to_owned()).into(),
            Cow::from(b"abc".to_vec()).into(),
        ];
        let contents = borrowed.into_iter().map(|content| (content, false));
        for (content, is_owned) in contents.chain(owned.into_iter().map(|content| (content, true))) {
            assert_eq!(format!("{content:?}"), "Content { bytes: 3 }");
            let Body::Bytes(bytes) = Response::bytes("a/b", content).into_body() else { panic!("it is in memory") };
            assert_eq!((&*bytes, matches!(bytes, Cow::Owned(_))), (&b"abc"[..], is_owned));
        }
    }

    #[test]
    fn a_field_that_cannot_be_sent_is_a_500_for_callbacks_that_refuse() {
        fn answer(value: &'static str) -> Result<Response, Response> {
            Ok(Response::text("a").header("X-A", value)?)
        }
        assert_eq!(answer("b").unwrap().field("X-A"), Some("b"));
        let refused = answer("b\r\nc").unwrap_err();
        assert_eq!((refused.status(), refused.field("X-A")), (500, None));
    }

    #[test]
    fn a_refusal_is_one_line() {
        for (reason, text) in
            [("log in", "log in\n"), ("log in\n", "log in\n"), ("", "401 Unauthorized\n"), ("a\nb", "a\nb\n")]
        {
            let Body::Bytes(bytes) = Response::refusal(401, reason).into_body() else { panic!("it is in memory") };
            assert_eq!(&*bytes, text.as_bytes(), "{reason:?}");
        }
    }

    #[test]
    fn a_header_cannot_split_the_response() {
        for value in ["a\r\nSet-Cookie: b=c", "a\nb", "a\rb", "a\0b", "\x7f", "\x1b[0m"] {
            assert_eq!(Response::new(200).header("X-A", value).err(), Some(InvalidHeader::Value), "{value:?}");
        }
        for name in ["", "a b", "a:", "a\r\nb", "größe", "a\0"] {
            assert_eq!(Response::new(200).header(name, "v").err(), Some(InvalidHeader::Name), "{name:?}");
        }
        for name in ["content-length", "Transfer-Encoding", "CONNECTION", "Date", "Upgrade", "Trailer", "Keep-Alive"] {
            assert_eq!(Response::new(200).header(name, "1").err(), Some(InvalidHeader::Reserved), "{name:?}");
        }
        let response = Response::new(200).header("X-A", "tab\tand größe").unwrap();
        assert_eq!(response.field("x-a"), Some("tab\tand größe"));
    }

    #[test]
    fn a_field_is_replaced_and_a_cookie_is_added() {
        let response = Response::text("a").header("content-type", "text/css").unwrap();
        assert_eq!(response.fields().filter(|(name, _)| name.eq_ignore_ascii_case("content-type")).count(), 1);
        assert_eq!(response.field("Content-Type"), Some("text/css"));
        let response = Response::new(200).header("Set-Cookie", "a=1").unwrap().header("set-cookie", "b=2").unwrap();
        assert_eq!(response.fields().count(), 2);
    }

    #[test]
    fn a_hostile_media_type_is_not_sent() {
        assert_eq!(Response::bytes("a/b\r\nX: y", b"").field("Content-Type"), Some("application/octet-stream"));
        assert_eq!(Response::bytes("", b"").field("Content-Type"), Some("application/octet-stream"));
    }

    #[test]
    fn a_status_is_final() {
        for (given, sent) in [(0, 500), (101, 500), (199, 500), (200, 200), (599, 599), (600, 500)] {
            assert_eq!(Response::new(given).status(), sent);
            assert_eq!(Response::error(given).status(), sent);
        }
    }

    #[test]
    fn an_unauthorized_request_is_challenged() {
        let challenge = |response: Response| response.finish(false).field("WWW-Authenticate").map(str::to_owned);
        assert_eq!(challenge(Response::error(401)).as_deref(), Some("Bearer realm=\"service\""));
        let own = Response::error(401).header("www-authenticate", "Basic realm=\"a\"").unwrap();
        assert_eq!(challenge(own).as_deref(), Some("Basic realm=\"a\""));
        assert_eq!(challenge(Response::error(403)), None);
    }

    #[test]
    fn bodies_that_must_not_be_sent_are_dropped() {
        for (status, length) in [(204, None), (205, Some(0)), (304, None)] {
            let response = Response::text("abc").with_status(status).finish(false);
            assert_eq!(response.content_length(), length, "{status}");
            assert!(matches!(response.into_body(), Body::Empty), "{status}");
        }
        let response = Response::text("abc").finish(true);
        assert_eq!(response.content_length(), Some(3));
        assert!(matches!(response.into_body(), Body::Empty));
    }

    #[test]
    fn different_bodies_have_different_tags() {
        let tag = |body: &'static str| Response::text(body).with_etag().field("ETag").unwrap().to_owned();
        assert_eq!(tag("a"), tag("a"));
        assert_ne!(tag("a"), tag("b"));
        assert_ne!(tag(""), tag("\0"));
        assert!(Response::new(200).with_etag().field("ETag").is_none());
    }
}
