//! `sockeye serve --topics`: the hub of all threads.

use std::sync::{Mutex, PoisonError};

use sockeye::http::{HttpRequest, Response, Route, Routes};
use sockeye::tls::ClientTls;
use sockeye::topics::TopicOptions;
use sockeye::{Builder, Handshake};
use sockeye_hub::{History, Hub, HubBuilder, HubThreads, Permissions};
use sockeye_nats::Nats;
use sockeye_redis::Redis;

use crate::failure::Failure;
use crate::options::tls::PROVIDER;
use crate::options::topics::TopicsArgs;
use crate::server::ThreadCx;

/// The path below which topics are, for requests by HTTP.
const PREFIX: &str = "/topics/";

pub(crate) struct Topics {
    hub: Which,
    /// What publishing needs, unless anybody may.
    token: Option<String>,
    /// What is printed when the server is ready.
    pub(crate) announcement: String,
}

enum Which {
    /// Until it is installed.
    Alone(Mutex<Option<Box<HubBuilder>>>),
    Threads(Box<HubThreads>),
}

impl Topics {
    /// The hub that the command line asks for, if it does.
    pub(crate) fn new(args: &TopicsArgs, threads: usize) -> Result<Option<Self>, Failure> {
        if !args.topics {
            return Ok(None);
        }
        let mut history = History::of_messages(args.history as usize).with_bytes(HISTORY_BYTES);
        if let Some(age) = args.history_age {
            history = history.with_age(age);
        }
        let mut builder = Hub::builder().history(history).message_bytes(args.topic_message_bytes);
        let options = args.topic_options();
        if options != TopicOptions::default() {
            builder = builder.topic_options(move |_| options);
        }
        if let Some(url) = args.broker()? {
            builder = broker(builder, args, &url)?;
        }
        let (token, announcement) = token(args)?;
        let hub = if threads == 1 {
            Which::Alone(Mutex::new(Some(Box::new(builder))))
        } else {
            Which::Threads(Box::new(builder.threads().map_err(|error| Failure::usage(error.to_string()))?))
        };
        Ok(Some(Self { hub, token, announcement }))
    }

    /// Adds the hub to the service of a thread, and its paths to the routes.
    pub(crate) fn install(&self, builder: Builder, routes: Routes, thread: &ThreadCx) -> Result<Builder, Failure> {
        let publishers = || Publishers { token: self.token.clone() };
        let failed = |error: sockeye_hub::HubError| Failure::usage(error.to_string());
        let (hub, mut builder) = match &self.hub {
            Which::Alone(hub) => {
                let hub = hub.lock().unwrap_or_else(PoisonError::into_inner).take();
                let Some(hub) = hub else { return Ok(builder.routes(routes)) };
                hub.install(builder, publishers()).map_err(failed)?
            }
            Which::Threads(hub) => {
                if let Some(group) = &thread.group {
                    hub.attach(group);
                }
                (hub.hub().clone(), hub.install_at(thread.index, builder, publishers()))
            }
        };
        let posts = builder.add_responder(hub.http(PREFIX, thread.index, publishers()));
        let routes = page(routes).map_err(|error| Failure::general(error.to_string()))?;
        Ok(builder.routes(routes.responder(Route::below(PREFIX).methods(["POST"]), posts)))
    }
}

/// A topic keeps so much at most, however many messages.
const HISTORY_BYTES: usize = 16 << 20;

fn broker(builder: HubBuilder, args: &TopicsArgs, url: &str) -> Result<HubBuilder, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::usage(format!("--backplane: {error}"));
    let builder = match url.split("://").next() {
        Some("redis" | "rediss") => builder.backplane(redis(args, url).map_err(|error| wrong(&error))?),
        Some("nats" | "tls") => builder.backplane(nats(args, url).map_err(|error| wrong(&error))?),
        _ => return Err(wrong(&"write redis://HOST, rediss://HOST, nats://HOST or tls://HOST")),
    };
    // A NATS server may ask for TLS itself.
    if url.starts_with("redis:") {
        return Ok(builder);
    }
    let tls = ClientTls::builder(PROVIDER).build();
    Ok(builder.broker_tls(tls.map_err(|error| wrong(&error))?))
}

fn redis(args: &TopicsArgs, url: &str) -> Result<Redis, sockeye_redis::ConfigError> {
    let redis = Redis::new(url)?;
    if args.history == 0 {
        return Ok(redis);
    }
    let history = sockeye_redis::History::new(args.history);
    redis.history(args.history_age.map_or(history, |age| history.age(age)))
}

fn nats(args: &TopicsArgs, url: &str) -> Result<Nats, sockeye_nats::NatsError> {
    let nats = Nats::new(url)?;
    if args.history == 0 {
        return Ok(nats);
    }
    let history = sockeye_nats::History::new(args.history);
    nats.history(match args.history_age {
        Some(age) => history.age(age),
        None => history,
    })
}

/// The token, and what is said of it.
fn token(args: &TopicsArgs) -> Result<(Option<String>, String), Failure> {
    if args.open_publish {
        return Ok((None, String::new()));
    }
    if let Some(token) = args.token()? {
        return Ok((Some(token), String::new()));
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::general(format!("no random numbers: {error}")))?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("token for publishing: {token}\n");
    Ok((Some(token), line))
}

/// The page of topics, and the client for others.
fn page(mut routes: Routes) -> Result<Routes, sockeye::http::InvalidHeader> {
    for (path, media_type, body) in PARTS {
        let part = Response::bytes(media_type, body.as_bytes())
            .with_etag()
            .header("Cache-Control", "no-cache")?
            .header("X-Content-Type-Options", "nosniff")?;
        routes = routes.get(path, move |request| super::page::with_policy(part.clone(), request));
    }
    Ok(routes)
}

const PARTS: [(&str, &str, &str); 5] = [
    ("/topics.html", "text/html; charset=utf-8", include_str!("../../page/topics.html")),
    ("/topics.js", "text/javascript; charset=utf-8", include_str!("../../page/topics.js")),
    ("/topics.svg", "image/svg+xml", include_str!("../../page/favicon.svg")),
    ("/topics.css", "text/css; charset=utf-8", include_str!("../../page/topics.css")),
    ("/sockeye-topics.js", "text/javascript; charset=utf-8", sockeye_hub::JAVASCRIPT),
];

/// Anybody may subscribe, who has the token may publish.
struct Publishers {
    token: Option<String>,
}

impl Publishers {
    fn knows(&self, shown: &str) -> bool {
        let Some(token) = &self.token else { return true };
        // The time that it takes does not tell how much was right.
        let different = token.bytes().zip(shown.bytes()).fold(0, |different, (own, other)| different | (own ^ other));
        token.len() == shown.len() && different == 0
    }
}

impl Permissions for Publishers {
    type Client = bool;

    fn open(&mut self, _: &Handshake<'_>) -> bool {
        self.token.is_none()
    }

    fn authorize(&mut self, may_publish: &mut bool, token: &str) -> bool {
        let is_known = self.knows(token);
        *may_publish |= is_known;
        is_known
    }

    fn may_publish(&mut self, may_publish: &bool, _: &str) -> bool {
        *may_publish
    }

    fn may_post(&mut self, _: &HttpRequest<'_>, token: Option<&str>, _: &str) -> bool {
        self.token.is_none() || token.is_some_and(|token| self.knows(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_known() {
        let publishers = Publishers { token: Some("secret".into()) };
        assert!(publishers.knows("secret"));
        for other in ["", "secre", "secrets", "Secret", "secret "] {
            assert!(!publishers.knows(other), "{other}");
        }
        assert!(Publishers { token: None }.knows(""));
    }

    #[test]
    fn the_headers_of_the_page_can_be_sent() {
        assert!(page(Routes::new()).is_ok());
    }
}
