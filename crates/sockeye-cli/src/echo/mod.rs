//! `sockeye echo`: every message back as it came, at any path and with any subprotocol.

pub(crate) mod args;

use sockeye::http::{Response, Routes};
use sockeye::messages::{self, Message, MessageCx};
use sockeye::threads::GroupProtocol;
use sockeye::{Builder, Close, CloseCode};

use self::args::Echo;
use crate::background::Background;
use crate::failure::Failure;
use crate::server::{self, Scheme, ThreadCx};

/// What an outbox holds beside one message of the largest size.
const BESIDE: usize = 1 << 20;

pub(crate) fn run(echo: &Echo, background: &mut Background) -> Result<(), Failure> {
    let own = echo.clone();
    server::run(Scheme::Ws, echo.port(), &echo.server, background, "", move |thread| builder(&own, thread))
}

/// The service of one thread.
fn builder(echo: &Echo, thread: &ThreadCx) -> Result<Builder, Failure> {
    let mut limits = server::limits(&echo.server, thread);
    limits.protocol_mut().message_bytes = echo.max_message;
    let prefix = echo.broadcast.clone().map(String::into_bytes);
    let everyone = thread.group.as_ref().map(|group| group.protocol(NAME));
    let echoes = messages::on(NAME, move |cx, message| {
        if prefix.as_ref().is_some_and(|prefix| message.as_bytes().starts_with(prefix)) {
            return broadcast(everyone.as_ref(), cx, &message);
        }
        // Reading pauses long before the outbox is full, so a full one is a fault of this program.
        cx.push(message).map_err(|_| Close::from(CloseCode::INTERNAL))
    });
    let bound = usize::try_from(echo.max_message).unwrap_or(usize::MAX).saturating_add(BESIDE);
    let builder = echo.server.builder()?.limits(limits).fallback(echoes.outbox_bytes(bound));
    Ok(match echo.server.metrics {
        // With a page there are paths, and the others are not those of a WebSocket server alone any more.
        Some(_) => {
            let routes = Routes::new().get("/", |_| Response::text(WEBSOCKET).with_status(426));
            builder.routes(server::with_metrics(routes, &echo.server, thread))
        }
        None => builder,
    })
}

/// To every connection of every thread.
fn broadcast(everyone: Option<&GroupProtocol>, cx: &mut MessageCx<'_, '_>, message: &Message<'_>) -> Result<(), Close> {
    let Some(everyone) = everyone else {
        cx.publish(message);
        return Ok(());
    };
    let taken = match message {
        Message::Text(text) => everyone.publish_text(text),
        Message::Binary(payload) => everyone.publish_binary(payload),
    };
    // A thread has too much waiting: a client that sends faster than all can receive is disconnected.
    taken.map_err(|_| Close::from(CloseCode::TRY_AGAIN))
}

/// What the library says where there is no page.
const WEBSOCKET: &str = "this is a WebSocket server; connect with a WebSocket client\n";

const NAME: &str = "echo";
