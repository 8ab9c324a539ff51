//! Server-sent events beside a WebSocket, on one port: what one client says, all others hear, by either way.
//!
//! ```text
//! cargo run --example events
//! curl -N http://127.0.0.1:7681/events
//! sockeye connect ws://127.0.0.1:7681/
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use sockeye::http::{HttpRequest, Response, Routes};
use sockeye::responder::{RequestCx, Responder, ResponderMut, ResponseTx};
use sockeye::{CloseCode, Service, messages};

/// The last messages. A stream that is further behind misses some, and no slow reader holds memory of its own.
#[derive(Default)]
struct History {
    first: u64,
    lines: VecDeque<String>,
}

impl History {
    fn push(&mut self, line: &str) {
        self.lines.push_back(line.replace(['\r', '\n'], " "));
        if self.lines.len() > 100 {
            self.lines.pop_front();
            self.first += 1;
        }
    }

    fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }
}

struct Events {
    history: Rc<RefCell<History>>,
}

impl Responder for Events {
    /// The number of the next event.
    type Session = u64;

    fn name(&self) -> &str {
        "events"
    }

    fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<u64, Response> {
        cx.request_writable(); // for the head
        // A browser that lost the connection says what it had (HTML Living Standard, section 9.2.4).
        let last = request.header("Last-Event-ID").and_then(|id| std::str::from_utf8(id).ok()?.parse::<u64>().ok());
        Ok(last.map_or_else(|| self.history.borrow().end(), |last| last.saturating_add(1)))
    }

    fn writable(&mut self, cx: &mut RequestCx<'_>, next: &mut u64, tx: ResponseTx<'_>) {
        let history = self.history.borrow();
        let head = Response::bytes("text/event-stream", b"retry: 1000\n\n");
        let mut permission = match tx {
            ResponseTx::Head(permission) => permission.stream(head, None).more(),
            tx => tx.body(),
        };
        *next = (*next).clamp(history.first, history.end());
        while let Some(line) = history.lines.get((*next - history.first) as usize) {
            let Some(body) = permission else { return cx.request_writable() };
            permission = body.write(format!("id: {next}\ndata: {line}\n\n").as_bytes()).more();
            *next += 1;
        }
        if cx.is_draining() {
            if let Some(body) = permission {
                body.end();
            }
        }
    }

    fn draining(&mut self, cx: &mut RequestCx<'_>, _: &mut u64) {
        cx.request_writable();
    }

    /// Now and then a line, so that a proxy does not take the silence for the end.
    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn tick(&mut self, own: &mut ResponderMut<'_>) {
        self.history.borrow_mut().push("still here");
        own.request_writable();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7681".to_owned());
    let history = Rc::new(RefCell::new(History::default()));
    let mut builder = Service::builder();
    let events = builder.add_responder(Events { history: Rc::clone(&history) });
    let chat = messages::on("chat", move |cx, message| {
        let line = message.as_text().ok_or(CloseCode::UNSUPPORTED)?;
        history.borrow_mut().push(line);
        cx.own_protocol().publish_text(line);
        if let Ok(mut events) = cx.responder(events) {
            events.request_writable();
        }
        Ok(())
    });
    let page = Response::html(PAGE);
    let routes = Routes::new().get("/", move |_| page.clone()).responder("/events", events);
    let mut service = builder.protocol(chat).routes(routes).listen(&*address).build()?;
    println!("listening on http://{}/", service.local_addresses()[0]);
    service.run()?;
    Ok(())
}

const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>Events</title><ul id="heard"></ul>
<form onsubmit="chat.send(said.value); said.value = ''; return false"><input id="said"></form>
<script>
    const chat = new WebSocket(location.href.replace(/^http/, 'ws'), 'chat');
    new EventSource('/events').onmessage = (event) => {
        heard.appendChild(document.createElement('li')).textContent = event.data;
    };
</script>"#;
