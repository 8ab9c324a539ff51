//! `sockeye serve`: the page or a folder, and the two protocols of the test server of libwebsockets.

mod canvas;
mod counter;
mod mirror;
mod page;
mod ring;

use std::path::Path;
use std::sync::Arc;

use sockeye::http::{Files, Routes};
use sockeye::{Builder, Origins, Service};

use self::canvas::Canvas;
use self::counter::Increment;
use self::mirror::Mirror;
use crate::args::Serve;
use crate::background::Background;
use crate::failure::Failure;
use crate::server::{self, Seat};

pub(crate) fn run(serve: &Serve, background: &mut Background) -> Result<(), Failure> {
    let canvas = Canvas::new(server::threads(&serve.common));
    let own = serve.clone();
    server::run(serve.port(), &serve.common, background, move |seat| builder(&own, &canvas, seat))
}

/// The service of one thread.
fn builder(serve: &Serve, canvas: &Arc<Canvas>, seat: &Seat) -> Result<Builder, Failure> {
    let mut limits = server::limits(&serve.common, seat);
    limits.protocol_mut().message_bytes = MESSAGE_BYTES;
    let builder = Service::builder()
        .limits(limits)
        .proxy_protocol(serve.common.proxies.iter().copied())
        .routes(server::with_metrics(routes(serve)?, &serve.common))
        .protocol(Increment::new(serve.close_test))
        .protocol(Mirror::new(serve.close_test, Arc::clone(canvas), seat.clone()));
    Ok(match origins(serve)? {
        Some(origins) => builder.origins(origins),
        None => builder,
    })
}

fn routes(serve: &Serve) -> Result<Routes, Failure> {
    match &serve.dir {
        Some(dir) => {
            let files = Files::open(dir).map_err(|error| {
                let hint = port_hint(dir);
                Failure::usage(format!("cannot serve the folder {}: {error}{hint}", dir.display()))
            })?;
            Ok(Routes::new().files("/", files))
        }
        None => page::routes().map_err(|error| Failure::general(format!("the page cannot be served: {error}"))),
    }
}

/// `sockeye serve 8080` is meant for a port.
fn port_hint(dir: &Path) -> String {
    match dir.to_str().and_then(|text| text.parse::<u16>().ok()) {
        Some(port) => format!("; to listen on that port, write --port {port}"),
        None => String::new(),
    }
}

fn origins(serve: &Serve) -> Result<Option<Origins>, Failure> {
    if serve.origins.is_empty() {
        return Ok(None);
    }
    // One by one, so that the error can name the one that is wrong.
    for origin in &serve.origins {
        Origins::only([origin]).map_err(|error| {
            let hint = origin_hint(origin);
            Failure::usage(format!("--origin {origin}: {error}{hint}"))
        })?;
    }
    let origins = Origins::only(&serve.origins).map_err(|error| Failure::usage(format!("--origin: {error}")))?;
    Ok(Some(if serve.require_origin { origins } else { origins.or_missing() }))
}

/// What a URL's origin is, for who gave the whole URL.
fn origin_hint(origin: &str) -> String {
    let authority = origin.find("://").map_or(0, |at| at + "://".len());
    match origin[authority..].find(['/', '?', '#']).map(|end| &origin[..authority + end]) {
        Some(bare) if Origins::only([bare]).is_ok() => {
            format!("; a browser names the site, not the page, so write {bare}")
        }
        _ => String::new(),
    }
}

/// The ring of the mirror holds 128 messages, so this bounds it to 8 MiB. A drawing program sends some hundred bytes.
const MESSAGE_BYTES: u64 = 64 * 1024;
