//! Preconditions of GET and HEAD (RFC 9110 section 13), for files and handlers alike.

use sockeye_proto::http::conditional::{self, Precondition};
use sockeye_proto::http::date;

use crate::http::request::HttpRequest;
use crate::http::response::Response;

/// Replaces a 200 with an ETag or Last-Modified by 304 or 412 if the request's preconditions say so.
///
/// RFC 9110 section 13.2.1: "A server MUST ignore all received preconditions if its response to the same request
/// without those conditions, prior to processing the request content, would have been a status code other than a 2xx
/// (Successful) or 412".
pub(crate) fn apply(response: Response, request: &HttpRequest<'_>) -> Response {
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

/// For a response without a date: a modification time with which the conditions on dates have no effect; `None` if no
/// condition remains.
///
/// RFC 9110 sections 13.1.3 and 13.1.4: "A recipient MUST ignore the If-Modified-Since [If-Unmodified-Since] header
/// field if the resource does not have a modification date available." Each date condition is evaluated only without
/// its counterpart on tags, so one time is enough.
fn without_date(request: &HttpRequest<'_>, etag: &str) -> Option<u64> {
    let fields = &request.head.fields;
    match (fields.get("If-Match").is_some(), fields.get("If-None-Match").is_some()) {
        _ if etag.is_empty() => None,
        (true, _) => Some(u64::MAX),
        (false, true) => Some(0),
        (false, false) => None,
    }
}
