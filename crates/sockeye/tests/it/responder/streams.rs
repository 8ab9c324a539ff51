//! A thousand event streams, of which a hundred stop reading.

use std::time::Duration;

use sockeye::http::{HttpRequest, Response, Routes};
use sockeye::responder::{RequestClosedCx, RequestCx, RequestEnd, RequestTimeout, Responder, ResponderMut, ResponseTx};
use sockeye::sim::{Faults, Network};
use sockeye::{Limits, Service};

use super::bench::{Site, ask};

/// Sends the number of its next event to every stream; a reader that is behind gets several at once.
#[derive(Default)]
struct Events {
    last: usize,
}

impl Responder for Events {
    type Session = usize;

    fn name(&self) -> &'static str {
        "events"
    }

    fn request(&mut self, cx: &mut RequestCx<'_>, _: &HttpRequest<'_>) -> Result<usize, Response> {
        cx.request_writable();
        Ok(0)
    }

    fn writable(&mut self, cx: &mut RequestCx<'_>, sent: &mut usize, tx: ResponseTx<'_>) {
        let head = || Response::new(200).header("Content-Type", "text/event-stream").unwrap();
        let mut permission = match tx {
            ResponseTx::Head(permission) => permission.stream(head(), None).more(),
            tx => tx.body(),
        };
        while *sent < self.last {
            let Some(body) = permission else { return cx.request_writable() };
            *sent += 1;
            permission = body.write(format!("data: {sent} {}\n\n", "x".repeat(200)).as_bytes()).more();
        }
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }

    fn tick(&mut self, own: &mut ResponderMut<'_>) {
        if self.last < LAST {
            self.last += 1;
            own.request_writable();
        }
    }

    fn closed(&mut self, _: &mut RequestClosedCx<'_>, sent: usize, end: RequestEnd) {
        if end == RequestEnd::Dropped {
            return; // the test is over
        }
        assert_eq!(end, RequestEnd::Timeout(RequestTimeout::SlowReader));
        // What waits for one of them: the buffers of the network, the low-water mark, and one event.
        let most = BUFFER + LOW_WATER + 300;
        assert!(sent * 200 <= most, "{sent} events of 200 bytes wait, more than {most} bytes");
    }
}

const LAST: usize = 100;

const LOW_WATER: usize = 4 << 10;
const BUFFER: usize = 2 << 10;

/// One in ten stops.
fn stops(number: usize) -> bool {
    number % 10 == 0
}

#[test]
fn those_that_stop_reading_harm_nobody() {
    let network = Network::with_faults(1, Faults::none().with_buffers(BUFFER, BUFFER));
    let mut limits = Limits::default();
    limits.output_low_water = LOW_WATER;
    let mut builder = Service::builder().limits(limits);
    let events = builder.add_responder(Events::default());
    let routes = Routes::new().responder("/events", events);
    let mut service = builder.routes(routes).listen("127.0.0.1:80").build_with(network.sys()).unwrap();
    let peers: Vec<_> = (0..1000).map(|_| network.connect(&service.local_addresses()[0]).unwrap()).collect();
    for (number, peer) in peers.iter().enumerate() {
        peer.send(&ask("GET /events", "\r\n"));
        if stops(number) {
            peer.set_window(0);
        }
    }
    let mut tails = vec![Vec::new(); peers.len()];
    let last = format!("data: {LAST} ");
    let limit = network.now() + Duration::from_secs(40);
    for turn in 0_u64.. {
        service.run_once(Some(Duration::from_secs(1))).unwrap();
        if network.now() >= limit {
            break;
        }
        if turn % 8 != 0 {
            continue;
        }
        for (number, peer) in peers.iter().enumerate().filter(|(number, _)| !stops(*number)) {
            let bytes = peer.recv();
            if !bytes.is_empty() {
                tails[number].extend(bytes);
                let keep = tails[number].len().saturating_sub(300);
                tails[number].drain(..keep);
            }
        }
    }
    for (number, tail) in tails.iter().enumerate().filter(|(number, _)| !stops(*number)) {
        let text = String::from_utf8_lossy(tail);
        assert!(text.contains(&last), "stream {number} ends with {text}");
    }
    let statistics = service.statistics();
    assert_eq!(statistics.request_ends.timeout, 100, "those that stopped");
    assert_eq!(service.connections(), 900);
}

/// Its peer takes the answer for complete with its head, so the next request must not wait for the stream's end.
#[test]
fn an_answer_without_a_body_is_complete_with_its_head() {
    for request in ["HEAD /stream", "HEAD /begin", "HEAD /short", "GET /none"] {
        let mut site = Site::new();
        let peer = site.connect();
        peer.send(&[ask(request, "\r\n"), ask("GET /now", "Connection: close\r\n\r\n")].concat());
        let answers = site.rest(&peer);
        assert_eq!(answers.matches("HTTP/1.1 20").count(), 2, "{request}: {answers}");
        assert!(answers.ends_with("\r\n\r\ndecided by the head"), "{request}: {answers}");
        assert_eq!(site.end(), RequestEnd::Answered, "{request}");
    }
}
