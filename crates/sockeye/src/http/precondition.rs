//! Preconditions of GET and HEAD, the same for files and for handlers.

use sockeye_proto::http::{
    conditional::{self, Precondition},
    date,
};

use crate::http::{request::HttpRequest, response::Response};

/// Turns a 200 that has an ETag or a Last-Modified into 304 or 412 where the request's preconditions say so.
///
/// RFC 9110 section 13.2.1: "A server MUST ignore all received preconditions if its response to the same request without those
/// conditions, prior to processing the request content, would have been a status code other than a 2xx (Successful) or 412".
pub(super) fn apply(response: Response, request: &HttpRequest<'_>) -> Response {
    if response.status() != 200 || !request.retrieves() {
        return response;
    }
    let etag = response.field("ETag").unwrap_or_default();
    let modified = response.field("Last-Modified").and_then(|date| date::parse(date.as_bytes()));
    let Some(modified) = modified.or_else(|| without_date(request, etag)) else { return response };
    match conditional::evaluate(request.head, etag, modified) {
        Precondition::Met => response,
        Precondition::NotModified => response.not_modified(),
        Precondition::Failed => Response::error(412),
    }
}

/// A time that makes each condition on a date pass as if it were not there; `None` if no condition is left.
///
/// RFC 9110 sections 13.1.3 and 13.1.4: "A recipient MUST ignore the If-Modified-Since [If-Unmodified-Since] header field if
/// the resource does not have a modification date available." Of the two, only the one without its counterpart on tags is
/// looked at, so that one time is enough.
fn without_date(request: &HttpRequest<'_>, etag: &str) -> Option<u64> {
    let fields = &request.head.fields;
    match (fields.get("If-Match").is_some(), fields.get("If-None-Match").is_some()) {
        _ if etag.is_empty() => None,
        (true, _) => Some(u64::MAX),
        (false, true) => Some(0),
        (false, false) => None,
    }
}
