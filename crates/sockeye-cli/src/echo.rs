//! `sockeye echo`: every message back as it came, whatever path and subprotocol the client asked for.

use sockeye::http::Routes;
use sockeye::{Close, CloseCode, Service, messages};

use crate::args;
use crate::background::Background;
use crate::failure::Failure;
use crate::server;

/// What an outbox holds beside one message of the largest size.
const BESIDE: usize = 1 << 20;

pub(crate) fn run(echo: &args::Echo, background: &mut Background) -> Result<(), Failure> {
    let mut limits = server::limits(&echo.common);
    limits.protocol_mut().message_bytes = echo.max_message;
    let prefix = echo.broadcast.clone().map(String::into_bytes);
    let echoes = messages::on("echo", move |talk, message| {
        if prefix.as_ref().is_some_and(|prefix| message.as_bytes().starts_with(prefix)) {
            talk.publish(&message);
            return Ok(());
        }
        // Reading pauses long before the outbox is full, so a full one is a fault of this program.
        talk.push(message).map_err(|_| Close::from(CloseCode::INTERNAL))
    });
    let bound = usize::try_from(echo.max_message).unwrap_or(usize::MAX).saturating_add(BESIDE);
    let mut builder = Service::builder().limits(limits).fallback(echoes.outbox_bytes(bound));
    if echo.common.metrics.is_some() {
        builder = builder.routes(server::with_metrics(Routes::new(), &echo.common));
    }
    server::run(builder, echo.port, &echo.common, background)
}
