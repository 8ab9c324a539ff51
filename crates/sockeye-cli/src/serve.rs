//! `sockeye serve`: the page or a folder, and the two protocols of the test server of libwebsockets.

mod counter;
mod mirror;
mod page;
mod ring;

use sockeye::http::{Files, Routes};
use sockeye::{Origins, Service};

use self::counter::Increment;
use self::mirror::Mirror;
use crate::args::Serve;
use crate::failure::Failure;
use crate::server;

pub(crate) fn run(serve: &Serve) -> Result<(), Failure> {
    let mut limits = server::limits(&serve.common);
    limits.protocol_mut().message_bytes = MESSAGE_BYTES;
    let mut builder = Service::builder()
        .limits(limits)
        .routes(routes(serve)?)
        .protocol(Increment::new(serve.close_test))
        .protocol(Mirror::new(serve.close_test));
    if let Some(origins) = origins(serve)? {
        builder = builder.origins(origins);
    }
    server::run(builder, serve.port, &serve.common)
}

fn routes(serve: &Serve) -> Result<Routes, Failure> {
    match &serve.dir {
        Some(dir) => {
            let files = Files::open(dir)
                .map_err(|error| Failure::usage(format!("cannot serve the folder {}: {error}", dir.display())))?;
            Ok(Routes::new().files("/", files))
        }
        None => page::routes().map_err(|error| Failure::general(format!("the page cannot be served: {error}"))),
    }
}

fn origins(serve: &Serve) -> Result<Option<Origins>, Failure> {
    if serve.origins.is_empty() {
        return Ok(None);
    }
    // One by one, so that the error can name the one that is wrong.
    for origin in &serve.origins {
        Origins::only([origin]).map_err(|error| Failure::usage(format!("--origin {origin}: {error}")))?;
    }
    let origins = Origins::only(&serve.origins).map_err(|error| Failure::usage(format!("--origin: {error}")))?;
    Ok(Some(if serve.require_origin { origins } else { origins.or_missing() }))
}

/// The ring of the mirror holds 128 messages, so this bounds it to 8 MiB. A drawing program sends some hundred bytes.
const MESSAGE_BYTES: u64 = 64 * 1024;
