//! Routing: which handler or file answers a request.

use std::collections::HashMap;
use std::fmt;

use sockeye_proto::http::is_token;
use sockeye_proto::http::target::TargetPath;

use crate::http::files::Files;
use crate::http::precondition;
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::http::route::{Methods, ResponderTarget, Route};
use crate::statistics;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
use crate::tls::ServerTls;

/// The routes of plain HTTP requests.
///
/// A closure answers a whole request at once ([`get`](Self::get), [`post`](Self::post)), a directory serves its files
/// ([`files`](Self::files)), and a [`Responder`](crate::responder::Responder) has a session for each request
/// ([`responder`](Self::responder)). A closure cannot reach connections; a responder can: what a POST publishes goes by
/// `cx.protocol(handle)?.publish_text(..)` in its callbacks.
///
/// An exact path has precedence over a prefix, and a longer prefix over a shorter one. On one path a closure has
/// precedence over a responder. Paths are given decoded
/// (`/größe`, not `/gr%C3%B6%C3%9Fe`). If no path matches, the response is 404; if only the method does not match, 405:
/// an exact path hides a prefix there for every method, so a responder that takes the others is set for that path as well.
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
    prefixes: Vec<(String, Prefix)>,
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

    /// As [`metrics`](Self::metrics), with when the certificates of a server expire
    /// ([`ServerTls::prometheus`](crate::tls::ServerTls::prometheus)).
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[must_use]
    pub fn metrics_with_tls(self, path: &str, tls: &ServerTls) -> Self {
        let tls = tls.clone();
        self.get(path, move |request| {
            let page = request.statistics_of_all().prometheus() + &tls.prometheus();
            Response::bytes(statistics::MEDIA_TYPE, page.into_bytes())
        })
    }

    /// Serves files for GET and HEAD of `prefix` and of all paths below it. `/a` covers `/a/b`, not `/ab`.
    #[cfg(feature = "files")]
    #[must_use]
    pub fn files(mut self, prefix: &str, files: Files) -> Self {
        let mut prefix = absolute(prefix);
        prefix.truncate(prefix.trim_end_matches('/').len());
        self.set_prefix(prefix, Prefix::Files(files));
        self
    }

    /// Gives the requests of a [`Route`] to a [`Responder`](crate::responder::Responder), by the handle that
    /// [`Builder::add_responder`](crate::Builder::add_responder) returned. [`Builder::build`](crate::Builder::build)
    /// refuses the handle of another builder.
    ///
    /// The path of the request is the normalised one ([`HttpRequest::path`]).
    ///
    /// ```
    /// # use sockeye::http::{HttpRequest, Response};
    /// # use sockeye::responder::{RequestCx, Responder};
    /// use sockeye::Service;
    /// use sockeye::http::{Route, Routes};
    ///
    /// # struct Store;
    /// # impl Responder for Store {
    /// #     type Session = ();
    /// #     fn name(&self) -> &str { "store" }
    /// #     fn request(&mut self, _: &mut RequestCx<'_>, _: &HttpRequest<'_>) -> Result<(), Response> { Ok(()) }
    /// # }
    /// # fn main() -> Result<(), sockeye::Error> {
    /// let mut builder = Service::builder();
    /// let store = builder.add_responder(Store);
    /// let routes = Routes::new()
    ///     .get("/store", |_| Response::text("use PUT below this path"))
    ///     .responder(Route::below("/store").methods(["GET", "PUT", "DELETE"]), store);
    /// let service = builder.routes(routes).build()?;
    /// # let _ = service;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn responder(mut self, route: impl Into<Route>, responder: impl Into<ResponderTarget>) -> Self {
        let Route { path, is_prefix, methods } = route.into();
        let own = ResponderRoute { target: responder.into(), methods };
        let mut path = absolute(&path);
        if is_prefix {
            path.truncate(path.trim_end_matches('/').len());
            self.set_prefix(path, Prefix::Responder(own));
        } else {
            self.exact_mut(&path).responder = Some(own);
        }
        self
    }

    fn set_prefix(&mut self, prefix: String, target: Prefix) {
        self.prefixes.retain(|(other, _)| *other != prefix);
        let at = self.prefixes.partition_point(|(other, _)| other.len() >= prefix.len());
        self.prefixes.insert(at, (prefix, target));
    }

    /// The responder's endpoint for a request, if it is for one.
    pub(crate) fn find_responder(&self, method: &str, path: &TargetPath) -> Option<u16> {
        let route = match (self.find_exact(path), self.find_prefix(path)) {
            (Some(exact), _) if exact.has_handler(method) => None,
            (Some(exact), _) => exact.responder.as_ref(),
            (None, Some((Prefix::Responder(route), _))) => Some(route),
            (None, _) => None,
        };
        route.filter(|route| route.methods.has(method)).map(|route| route.target.endpoint)
    }

    fn find_exact(&self, path: &TargetPath) -> Option<&Exact> {
        self.exact.get(path.as_str()).filter(|_| path.is(path.as_str()))
    }

    fn find_prefix<'p>(&self, path: &'p TargetPath) -> Option<(&Prefix, &'p str)> {
        self.prefixes.iter().find_map(|(prefix, target)| Some((target, below(path, prefix)?)))
    }

    /// A fault in the routes to responders, for a service of that builder.
    pub(crate) fn fault(&self, builder: u64) -> Option<String> {
        let exact = self.exact.values().filter_map(|exact| exact.responder.as_ref());
        let prefixes = self.prefixes.iter().filter_map(|(_, prefix)| match prefix {
            Prefix::Responder(route) => Some(route),
            Prefix::Files(_) => None,
        });
        exact.chain(prefixes).find_map(|route| {
            if route.target.builder != builder {
                return Some("the handle is of another service; use that of Builder::add_responder".to_owned());
            }
            let method = route.methods.listed().iter().find(|method| !is_token(method.as_bytes()))?;
            Some(format!("the method {method:?} is not a token (RFC 9110 section 9.1)"))
        })
    }

    /// The response to `request`, complete except for the fields of the connection.
    pub(crate) fn dispatch(&mut self, request: &HttpRequest<'_>) -> Response {
        self.answer(request).finish(request.method() == "HEAD")
    }

    /// The response to a request that nothing here takes, which its head alone decides. `None`: something takes it.
    pub(crate) fn refusal(&self, request: &HttpRequest<'_>) -> Option<Response> {
        let (path, method) = (request.path, request.method());
        if let Some(exact) = self.find_exact(path) {
            return (!exact.takes(method)).then(|| not_allowed(request, exact.allow()));
        }
        match self.find_prefix(path) {
            None => Some(Response::error(404)),
            Some((Prefix::Responder(route), _)) if route.methods.has(method) => None,
            Some((Prefix::Responder(route), _)) => Some(not_allowed(request, route.methods.listed().join(", "))),
            Some((Prefix::Files(_), _)) if !request.retrieves() => Some(not_allowed(request, GET.to_owned())),
            // Servers and file systems differ on what such a name means.
            Some((Prefix::Files(_), _)) if !path.is_plain() => Some(Response::error(400)),
            Some((Prefix::Files(_), _)) => None,
        }
    }

    /// The methods that some path takes.
    pub(crate) fn methods(&self) -> String {
        let mut allowed = vec!["GET".to_owned(), "HEAD".to_owned()];
        let exact = self.exact.values().flat_map(|exact| exact.methods());
        let prefixes = self.prefixes.iter().flat_map(|(_, prefix)| match prefix {
            Prefix::Responder(route) => route.methods.listed(),
            Prefix::Files(_) => &[],
        });
        for method in exact.chain(prefixes.map(|method| &**method)) {
            if !allowed.iter().any(|known| known == method) {
                allowed.push(method.to_owned());
            }
        }
        allowed[2..].sort_unstable();
        allowed.join(", ")
    }

    fn answer(&mut self, request: &HttpRequest<'_>) -> Response {
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let handler = self.exact.get_mut(request.path()).filter(|_| request.path.is(request.path()));
        if let Some(handler) = handler.and_then(|exact| exact.handler(request.method())) {
            return precondition::apply(handler(request), request);
        }
        match self.find_prefix(request.path) {
            Some((Prefix::Files(files), rest)) => files.respond(request, rest),
            // What a responder takes never comes here.
            Some((Prefix::Responder(_), _)) | None => Response::error(404),
        }
    }

    fn exact_mut(&mut self, path: &str) -> &mut Exact {
        self.exact.entry(absolute(path)).or_default()
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.exact.iter().map(|(path, exact)| (path, exact.allow()));
        f.debug_struct("Routes").field("exact", &exact.collect::<Vec<_>>()).field("prefixes", &self.prefixes).finish()
    }
}

type Handler = Box<dyn FnMut(&HttpRequest<'_>) -> Response>;

/// The handlers of one path, at least one.
#[derive(Default)]
struct Exact {
    get: Option<Handler>,
    post: Option<Handler>,
    /// Gets what they do not take.
    responder: Option<ResponderRoute>,
}

/// What a prefix leads to.
#[derive(Debug)]
enum Prefix {
    #[cfg_attr(not(feature = "files"), expect(dead_code, reason = "there are none"))]
    Files(Files),
    Responder(ResponderRoute),
}

/// A way to a responder.
#[derive(Debug)]
struct ResponderRoute {
    target: ResponderTarget,
    methods: Methods,
}

impl Exact {
    fn handler(&mut self, method: &str) -> Option<&mut Handler> {
        match method {
            "GET" | "HEAD" => self.get.as_mut(),
            "POST" => self.post.as_mut(),
            _ => None,
        }
    }

    fn has_handler(&self, method: &str) -> bool {
        match method {
            "GET" | "HEAD" => self.get.is_some(),
            "POST" => self.post.is_some(),
            _ => false,
        }
    }

    fn takes(&self, method: &str) -> bool {
        self.has_handler(method) || self.responder.as_ref().is_some_and(|route| route.methods.has(method))
    }

    fn methods(&self) -> impl Iterator<Item = &str> {
        let own = ["GET", "HEAD", "POST"].into_iter().filter(|method| self.has_handler(method));
        own.chain(self.responder.iter().flat_map(|route| route.methods.listed()).map(|method| &**method))
    }

    /// The methods that are answered, for the Allow field.
    fn allow(&self) -> String {
        let mut allowed: Vec<&str> = Vec::new();
        for method in self.methods() {
            if !allowed.contains(&method) {
                allowed.push(method);
            }
        }
        allowed.join(", ")
    }
}

/// RFC 9110 section 15.5.6: "The origin server MUST generate an Allow header field in a 405 response containing a list
/// of the target resource's currently supported methods."
fn not_allowed(request: &HttpRequest<'_>, allow: String) -> Response {
    // RFC 9110 section 9.3.7: "A server generating a successful response to OPTIONS SHOULD send any header that might
    // indicate optional features implemented by the server and applicable to the target resource (e.g., Allow)".
    let response = if request.method() == "OPTIONS" { Response::new(204) } else { Response::error(405) };
    response.allowing(allow)
}

/// The rest of `path` after `prefix`: empty, or beginning with a slash.
fn below<'p>(path: &'p TargetPath, prefix: &str) -> Option<&'p str> {
    path.below(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

const GET: &str = "GET, HEAD";

#[cfg(test)]
mod tests;
