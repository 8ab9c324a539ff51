//! Publishing by HTTP.

use std::sync::Arc;

use serde_json::json;
use sockeye::http::{HttpRequest, Response};
use sockeye::proto::wire::MessageKind;
use sockeye::responder::{RequestClosedCx, RequestCx, RequestEnd, Responder, ResponseTx};

use crate::backplane::Position;
use crate::hub::Hub;
use crate::outlet::Asker;
use crate::permissions::Permissions;
use crate::shared::Shared;
use crate::state::{Answer, Receipt, Refusal, ToPublish};
use crate::wire::epoch_text;
use crate::wire::reply::Code;

impl Hub {
    /// Publishes what is sent by `POST`: the body is the message, and the path below `prefix`, decoded, is the topic. It is text, unless its type is
    /// `application/octet-stream` or it is not UTF-8. `?key=` gives it a key. [`Permissions::may_post`] decides.
    ///
    /// The answer is 200 with `{"epoch": .., "offset": ..}` when it is in the topic; 401 or 403 if it may not be; 502 if it is unknown whether all
    /// get it; 503 if it can be tried again later. A page of another origin is refused, unless it has a token.
    ///
    /// `index` is that of the service among those of the hub, 0 if it is the only one.
    ///
    /// ```
    /// use sockeye::Service;
    /// use sockeye::http::{Route, Routes};
    /// use sockeye_hub::{Everybody, Hub};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (hub, mut builder) = Hub::builder().install(Service::builder(), Everybody)?;
    /// let posts = builder.add_responder(hub.http("/topics/", 0, Everybody));
    /// let routes = Routes::new().responder(Route::below("/topics").methods(["POST"]), posts);
    /// let service = builder.routes(routes).build()?;
    /// # let _ = service;
    /// # Ok(()) }
    /// ```
    pub fn http<P: Permissions>(&self, prefix: &str, index: usize, permissions: P) -> impl Responder + use<P> {
        Posts { shared: Arc::clone(&self.shared), prefix: prefix.into(), thread: index, permissions }
    }
}

struct Posts<P> {
    shared: Arc<Shared>,
    prefix: Box<str>,
    thread: usize,
    permissions: P,
}

/// A message that is being received.
struct Post {
    topic: String,
    key: Option<String>,
    is_binary: bool,
    body: Vec<u8>,
    /// The ticket of the broker, which has it and is to answer.
    ticket: Option<u64>,
}

impl<P: Permissions> Posts<P> {
    fn publish(&self, cx: &mut RequestCx<'_>, post: &mut Post) -> Option<Response> {
        let is_text = !post.is_binary && std::str::from_utf8(&post.body).is_ok();
        let kind = if is_text { MessageKind::Text } else { MessageKind::Binary };
        let from = Some(Asker::Request(self.thread, cx.id()));
        let message = ToPublish { topic: &post.topic, key: post.key.as_deref(), kind, payload: &post.body, from };
        match self.shared.act(self.thread, cx, |state, now, out| state.publish(message, now, out)) {
            Ok(Receipt::Pending(ticket)) => {
                post.ticket = Some(ticket);
                // The answer may be here.
                cx.request_writable();
                None
            }
            Ok(Receipt::Done(position)) => Some(answered(&Answer::Published(position))),
            Ok(Receipt::Unknown(reason)) => Some(answered(&Answer::Unknown(reason))),
            Err(refusal) => Some(answered(&Answer::Refused(refusal))),
        }
    }
}

fn answered(answer: &Answer) -> Response {
    match answer {
        Answer::Published(position) => {
            let position = position.map(|Position { epoch, offset }| (epoch_text(epoch), offset));
            let body = match position {
                Some((epoch, offset)) => json!({"epoch": epoch, "offset": offset}),
                None => json!({}),
            };
            with_body(200, &body)
        }
        Answer::Unknown(reason) => with_body(502, &json!({"error": "unknown", "reason": reason})),
        Answer::Refused(Refusal { code, reason }) => {
            let status = match code {
                Code::Denied => 403,
                Code::TooLarge => 413,
                Code::BadRequest | Code::Name => 400,
                Code::TooMany | Code::Busy | Code::Unavailable => 503,
            };
            with_body(status, &json!({"error": code.as_str(), "reason": reason}))
        }
    }
}

fn with_body(status: u16, body: &serde_json::Value) -> Response {
    Response::bytes("application/json", format!("{body}\n").into_bytes()).with_status(status)
}

/// RFC 6750, section 2.1: `Authorization: Bearer TOKEN`. The name of the scheme is case-insensitive (RFC 9110, section 11.1).
fn bearer<'r>(request: &HttpRequest<'r>) -> Option<&'r str> {
    let (scheme, token) = request.header_str("Authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// RFC 9110, section 8.3.1: `media-type = type "/" subtype parameters`, and "The type and subtype tokens are case-insensitive."
fn is_octets(value: &[u8]) -> bool {
    let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/octet-stream")
}

/// Whether a browser sends it for a page of another site.
fn is_foreign(request: &HttpRequest<'_>) -> bool {
    let Some(origin) = request.header("Origin") else { return false };
    let own = request.header("Host").unwrap_or_default();
    let place = [&b"http://"[..], b"https://"].iter().find_map(|scheme| origin.strip_prefix(*scheme));
    place.is_none_or(|place| !place.eq_ignore_ascii_case(own))
}

impl<P: Permissions> Responder for Posts<P> {
    type Session = Post;

    fn name(&self) -> &str {
        "sockeye-hub-posts"
    }

    fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<Post, Response> {
        let token = bearer(request);
        let refused = |code, reason: &str| answered(&Answer::Refused(Refusal::new(code, reason)));
        if request.method() != "POST" {
            return Err(Response::error(405));
        }
        let Some(topic) = request.path().strip_prefix(&*self.prefix).filter(|topic| !topic.is_empty()) else {
            return Err(refused(Code::Name, "the path does not name a topic"));
        };
        // Any page may send such a request to any server that the browser reaches. It cannot add a token without being asked for.
        if token.is_none() && is_foreign(request) {
            return Err(refused(Code::Denied, "pages of other origins must show a token"));
        }
        if !self.permissions.may_post(request, token, topic) {
            let reason = match token {
                Some(_) => "this token may not publish to this topic",
                None => "publishing needs a token (Authorization: Bearer TOKEN)",
            };
            let response = refused(Code::Denied, reason);
            // RFC 9110, section 15.5.2: a 401 names what would be accepted.
            return Err(match token {
                Some(_) => response,
                None => response
                    .with_status(401)
                    .header("WWW-Authenticate", "Bearer")
                    .unwrap_or_else(|_| Response::error(401)),
            });
        }
        cx.limits().body_bytes = self.shared.config.message_bytes as u64;
        let is_binary = request.header("Content-Type").is_some_and(is_octets);
        Ok(Post { topic: topic.to_owned(), key: request.query_value("key"), is_binary, body: Vec::new(), ticket: None })
    }

    fn body(&mut self, _: &mut RequestCx<'_>, post: &mut Post, piece: &[u8]) -> Option<Response> {
        // Bounded by the limit of the body.
        if post.body.try_reserve(piece.len()).is_err() {
            return Some(Response::error(503));
        }
        post.body.extend_from_slice(piece);
        None
    }

    fn body_ended(&mut self, cx: &mut RequestCx<'_>, post: &mut Post) -> Option<Response> {
        self.publish(cx, post)
    }

    fn writable(&mut self, cx: &mut RequestCx<'_>, post: &mut Post, tx: ResponseTx<'_>) {
        let id = cx.id();
        let answer = self.shared.act(self.thread, cx, |state, _, _| state.take_answer(self.thread, id));
        if answer.is_some() {
            post.ticket = None;
        }
        if let (Some(answer), Some(head)) = (answer, tx.head()) {
            head.respond(answered(&answer));
        }
    }

    fn closed(&mut self, cx: &mut RequestClosedCx<'_>, post: Post, _: RequestEnd) {
        let Some(ticket) = post.ticket else { return };
        let id = cx.id();
        self.shared.act(self.thread, cx, |state, _, _| state.forget_request(self.thread, id, ticket));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_compared_without_its_case_and_parameters() {
        for value in [
            "application/octet-stream",
            "Application/Octet-STREAM",
            "application/octet-stream ; a=b",
            "application/octet-stream;a",
        ] {
            assert!(is_octets(value.as_bytes()), "{value}");
        }
        for value in
            ["", ";application/octet-stream", "application/octet-stream2", "text/plain; a=application/octet-stream"]
        {
            assert!(!is_octets(value.as_bytes()), "{value}");
        }
    }
}
