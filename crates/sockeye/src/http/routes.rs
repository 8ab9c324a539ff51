//! Routing: which handler or file answers a request.

use std::collections::HashMap;
use std::fmt;

use sockeye_proto::http::target::TargetPath;

use crate::http::files::Files;
use crate::http::precondition;
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::statistics;

/// The routes of plain HTTP requests.
///
/// An exact path has precedence over a prefix, and a longer prefix over a shorter one. Paths are given decoded
/// (`/größe`, not `/gr%C3%B6%C3%9Fe`). If no path matches, the response is 404; if only the method does not match, 405.
/// A route for GET also answers HEAD. Setting a route again replaces it.
///
/// A handler that returns 200 with an `ETag` (see [`Response::with_etag`]) or a `Last-Modified` need not check
/// preconditions: its response is replaced by 304 or 412 where they say so.
///
/// ```no_run
/// use sockeye::http::{Files, Response, Routes};
///
/// # fn main() -> std::io::Result<()> {
/// let mut visits = 0;
/// let routes = Routes::new()
///     .get("/visits", move |_| {
///         visits += 1;
///         Response::text(format!("{visits}\n"))
///     })
///     .post("/echo", |request| Response::bytes("application/octet-stream", request.body().to_vec()))
///     .files("/", Files::open("public")?);
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Routes {
    exact: HashMap<String, Exact>,
    /// Longest prefix first; no prefix ends with a slash.
    files: Vec<(String, Files)>,
}

impl Routes {
    /// No routes: the response to every request is 404.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `handler` for GET and HEAD of exactly this path.
    #[must_use]
    pub fn get(mut self, path: &str, handler: impl FnMut(&HttpRequest<'_>) -> Response + 'static) -> Self {
        self.exact_mut(path).get = Some(Box::new(handler));
        self
    }

    /// Calls `handler` for POST to exactly this path, once the whole body has arrived.
    #[must_use]
    pub fn post(mut self, path: &str, handler: impl FnMut(&HttpRequest<'_>) -> Response + 'static) -> Self {
        self.exact_mut(path).post = Some(Box::new(handler));
        self
    }

    /// Answers GET and HEAD of exactly this path with the service's statistics, for Prometheus. With several
    /// [`Threads`](crate::Threads) it has the statistics of all ([`HttpRequest::statistics_of_all`]). They are not
    /// secret, but they show how busy the service is: restrict access in the program or a proxy if that matters.
    #[must_use]
    pub fn metrics(self, path: &str) -> Self {
        self.get(path, |request| {
            let page = request.statistics_of_all().prometheus();
            Response::bytes(statistics::MEDIA_TYPE, page.into_bytes())
        })
    }

    /// Serves files for GET and HEAD of `prefix` and of all paths below it. `/a` covers `/a/b`, not `/ab`.
    #[cfg(feature = "files")]
    #[must_use]
    pub fn files(mut self, prefix: &str, files: Files) -> Self {
        let mut prefix = absolute(prefix);
        prefix.truncate(prefix.trim_end_matches('/').len());
        self.files.retain(|(other, _)| *other != prefix);
        let at = self.files.partition_point(|(other, _)| other.len() >= prefix.len());
        self.files.insert(at, (prefix, files));
        self
    }

    /// The response to `request`, complete except for the fields of the connection.
    pub(crate) fn dispatch(&mut self, request: &HttpRequest<'_>) -> Response {
        self.answer(request).finish(request.method() == "HEAD")
    }

    /// The response to a request that nothing here takes, which its head alone decides. `None`: something takes it.
    pub(crate) fn refusal(&self, request: &HttpRequest<'_>) -> Option<Response> {
        let path = request.path;
        if let Some(exact) = self.exact.get(request.path()).filter(|_| path.is(request.path())) {
            return (!exact.takes(request.method())).then(|| not_allowed(exact.allow()));
        }
        match self.files.iter().find(|(prefix, _)| below(path, prefix).is_some()) {
            None => Some(Response::error(404)),
            Some(_) if !request.retrieves() => Some(not_allowed(GET)),
            // Servers and file systems differ on what such a name means.
            Some(_) if !path.is_plain() => Some(Response::error(400)),
            Some(_) => None,
        }
    }

    /// The methods that some path takes.
    pub(crate) fn methods(&self) -> &'static str {
        if self.exact.values().any(|exact| exact.post.is_some()) { GET_AND_POST } else { GET }
    }

    fn answer(&mut self, request: &HttpRequest<'_>) -> Response {
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let handler = self.exact.get_mut(request.path()).filter(|_| request.path.is(request.path()));
        if let Some(handler) = handler.and_then(|exact| exact.handler(request.method())) {
            return precondition::apply(handler(request), request);
        }
        let files = self.files.iter().find_map(|(prefix, files)| Some((files, below(request.path, prefix)?)));
        files.map_or_else(|| Response::error(404), |(files, rest)| files.respond(request, rest))
    }

    fn exact_mut(&mut self, path: &str) -> &mut Exact {
        self.exact.entry(absolute(path)).or_default()
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.exact.iter().map(|(path, exact)| (path, exact.allow()));
        let files = self.files.iter().map(|(prefix, files)| (prefix, files));
        f.debug_struct("Routes")
            .field("exact", &exact.collect::<Vec<_>>())
            .field("files", &files.collect::<Vec<_>>())
            .finish()
    }
}

type Handler = Box<dyn FnMut(&HttpRequest<'_>) -> Response>;

/// The handlers of one path, at least one.
#[derive(Default)]
struct Exact {
    get: Option<Handler>,
    post: Option<Handler>,
}

impl Exact {
    fn handler(&mut self, method: &str) -> Option<&mut Handler> {
        match method {
            "GET" | "HEAD" => self.get.as_mut(),
            "POST" => self.post.as_mut(),
            _ => None,
        }
    }

    fn takes(&self, method: &str) -> bool {
        match method {
            "GET" | "HEAD" => self.get.is_some(),
            "POST" => self.post.is_some(),
            _ => false,
        }
    }

    const fn allow(&self) -> &'static str {
        match (&self.get, &self.post) {
            (Some(_), Some(_)) => GET_AND_POST,
            (None, Some(_)) => "POST",
            (_, None) => GET,
        }
    }
}

/// RFC 9110 section 15.5.6: "The origin server MUST generate an Allow header field in a 405 response containing a list
/// of the target resource's currently supported methods."
fn not_allowed(allow: &'static str) -> Response {
    Response::error(405).allowing(allow)
}

/// The rest of `path` after `prefix`: empty, or beginning with a slash.
fn below<'p>(path: &'p TargetPath, prefix: &str) -> Option<&'p str> {
    path.below(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

const GET: &str = "GET, HEAD";
const GET_AND_POST: &str = "GET, HEAD, POST";

#[cfg(test)]
mod tests;
