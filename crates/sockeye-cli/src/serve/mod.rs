//! `sockeye serve`: the page or a folder, and the two protocols of the test server of libwebsockets.

pub(crate) mod args;
mod canvas;
mod counter;
mod history;
mod hub;
mod mirror;
mod page;
mod ring;

use std::path::Path;
use std::sync::Arc;

use sockeye::Builder;
use sockeye::http::{Files, Routes};

use self::args::Serve;
use self::canvas::Canvas;
use self::counter::Increment;
use self::hub::Topics;
use self::mirror::Mirror;
use crate::background::Background;
use crate::failure::Failure;
use crate::server::{self, Scheme, ThreadCx};

pub(crate) fn run(serve: &Serve, background: &mut Background) -> Result<(), Failure> {
    let canvas = Canvas::new(server::threads(&serve.server));
    let topics = Topics::new(&serve.topics, server::threads(&serve.server))?;
    let announcement = topics.as_ref().map(|topics| topics.announcement.clone()).unwrap_or_default();
    let own = serve.clone();
    let build = move |thread: &ThreadCx| builder(&own, &canvas, topics.as_ref(), thread);
    server::run(Scheme::Http, serve.port(), &serve.server, background, &announcement, build)
}

/// The service of one thread.
fn builder(
    serve: &Serve,
    canvas: &Arc<Canvas>,
    topics: Option<&Topics>,
    thread: &ThreadCx,
) -> Result<Builder, Failure> {
    let mut limits = server::limits(&serve.server, thread);
    limits.protocol_mut().message_bytes = MESSAGE_BYTES;
    let builder = serve
        .server
        .builder()?
        .limits(limits)
        .protocol(Increment::new(serve.close_test))
        .protocol(Mirror::new(serve.close_test, Arc::clone(canvas), thread.clone()));
    let routes = server::with_metrics(routes(serve)?, &serve.server, thread);
    match topics {
        Some(topics) => topics.install(builder, routes, thread),
        None => Ok(builder.routes(routes)),
    }
}

fn routes(serve: &Serve) -> Result<Routes, Failure> {
    match &serve.dir {
        Some(dir) => {
            let mut files = Files::open(dir).map_err(|error| {
                let hint = port_hint(dir);
                Failure::usage(format!("cannot serve the folder {}: {error}{hint}", dir.display()))
            })?;
            files = files.precompressed();
            if !dir.join("index.html").is_file() {
                let dir = dir.display();
                tracing::warn!(%dir, "no index.html in the folder, so / is 404: folders are not listed");
            }
            if serve.dot_files {
                files = files.dot_files();
            }
            // A script or picture may be loaded by a page whose origin the request does not name: the browser has to refuse it.
            if !serve.server.admission.any_origin && serve.server.origins.is_empty() {
                files = files
                    .header("Cross-Origin-Resource-Policy", "same-site")
                    .map_err(|error| Failure::general(error.to_string()))?;
            }
            Ok(Routes::new().files("/", files))
        }
        None => page::routes().map_err(|error| Failure::general(format!("cannot serve the page: {error}"))),
    }
}

/// `sockeye serve 8080` is meant for a port.
fn port_hint(dir: &Path) -> String {
    match dir.to_str().and_then(|text| text.parse::<u16>().ok()) {
        Some(port) => format!("; to listen on that port, write --port {port}"),
        None => String::new(),
    }
}

/// The ring of the mirror holds 128 messages, so this bounds it to 8 MiB. A drawing program sends some hundred bytes.
const MESSAGE_BYTES: u64 = 64 * 1024;
