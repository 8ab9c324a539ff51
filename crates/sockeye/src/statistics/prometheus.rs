//! The metrics page in the text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write as _};

use crate::statistics::{Codes, Statistics};

/// The media type of [`Statistics::prometheus`].
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Statistics {
    /// A metrics page in the text format of Prometheus, version 0.0.4.
    /// [`Routes::metrics`](crate::http::Routes::metrics) serves it.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut page = Page(String::new());
        self.connections_on(&mut page);
        self.traffic_on(&mut page);
        self.compression_on(&mut page);
        self.topics_on(&mut page);
        self.ends_on(&mut page);
        self.work_on(&mut page);
        page.0
    }

    fn connections_on(&self, page: &mut Page) {
        let (connections, websockets) = (&self.connections, &self.websockets);
        page.gauge("sockeye_connections", "Current connections.", self.connections_now);
        page.gauge("sockeye_connections_most", "Highest number of simultaneous connections.", self.connections_most);
        let help = "Maximum number of simultaneous connections, over all threads.";
        page.gauge("sockeye_connections_limit", help, self.connections_limit);
        let help = "Bytes held for peers: incomplete messages, requests and answers, and output that waits.";
        page.gauge("sockeye_held_bytes", help, self.held_bytes);
        page.gauge("sockeye_held_bytes_most", "The most bytes held for peers.", self.held_bytes_most);
        let help = "Bytes held for peers beyond which connections are shed, over all threads.";
        page.gauge("sockeye_held_bytes_limit", help, self.held_bytes_limit);
        page.labelled(
            "sockeye_connections_total",
            "Connections opened, by who opened them; by the program are adopted descriptors.",
            "by",
            [("peers", connections.accepted), ("us", connections.connected), ("program", connections.adopted)],
        );
        page.counter("sockeye_connections_closed_total", "Connections closed.", connections.closed);
        page.gauge("sockeye_websockets", "Current WebSockets.", self.websockets_now);
        page.gauge("sockeye_websockets_most", "Highest number of simultaneous WebSockets.", self.websockets_most);
        page.labelled(
            "sockeye_websockets_total",
            "WebSockets opened, by who opened them.",
            "by",
            [("peers", websockets.opened_by_peers), ("us", websockets.opened_by_us)],
        );
        let failures = self.failures.named();
        page.labelled(
            "sockeye_connects_failed_total",
            "Failed connection attempts, by the stage that failed.",
            "stage",
            failures,
        );
    }

    fn traffic_on(&self, page: &mut Page) {
        for (direction, traffic) in [("received", &self.received), ("sent", &self.sent)] {
            let name = |what| format!("sockeye_{direction}_{what}_total");
            page.counter(&name("bytes"), "Bytes on all sockets, including HTTP and frame headers.", traffic.bytes);
            page.counter(&name("messages"), "Complete messages.", traffic.messages);
            page.labelled(
                &name("frames"),
                "WebSocket frames, by kind.",
                "kind",
                [
                    ("data", traffic.messages + traffic.parts),
                    ("ping", traffic.pings),
                    ("pong", traffic.pongs),
                    ("close", traffic.closes),
                ],
            );
        }
    }

    fn compression_on(&self, page: &mut Page) {
        let all = &self.compression;
        for (direction, messages, bytes, plain_bytes) in [
            ("received", all.received, all.received_bytes, all.received_plain_bytes),
            ("sent", all.sent, all.sent_bytes, all.sent_plain_bytes),
        ] {
            let name = |what| format!("sockeye_{direction}_compressed_{what}_total");
            page.counter(&name("messages"), "Compressed messages.", messages);
            page.counter(&name("bytes"), "Bytes of the payloads of compressed messages.", bytes);
            page.counter(&name("plain_bytes"), "The same without compression.", plain_bytes);
        }
        let help = "Published messages that were compressed once for all their receivers, by window.";
        page.counter("sockeye_published_compressed_messages_total", help, all.deflated);
    }

    fn topics_on(&self, page: &mut Page) {
        page.gauge("sockeye_topics", "Current topics; each thread has its own.", self.topics_now);
        page.gauge("sockeye_subscriptions", "Current subscriptions to topics.", self.subscriptions_now);
        let all = &self.topics;
        page.counter("sockeye_topic_messages_total", "Messages published to topics.", all.published);
        page.labelled(
            "sockeye_topic_deliveries_total",
            "What became of them at each subscriber: queued, dropped since it read too slowly, or closed for that.",
            "outcome",
            [("queued", all.queued), ("dropped", all.dropped), ("closed", all.closed)],
        );
    }

    fn ends_on(&self, page: &mut Page) {
        page.labelled("sockeye_closes_total", "WebSockets closed, by cause.", "cause", self.closes.named());
        let raw = self.raw_closes.named();
        page.labelled("sockeye_raw_closes_total", "Raw connections closed, by cause.", "cause", raw);
        let requests = self.request_ends.named();
        page.labelled("sockeye_request_ends_total", "HTTP requests with a session, by their end.", "end", requests);
        let help = "WebSockets closed, by the code in the peer's Close frame; 1005: no code, 1006: no frame.";
        page.labelled("sockeye_close_codes_received_total", help, "code", codes(&self.codes_received));
        let help = "WebSockets closed, by the code in our Close frame; 1005: no code, 1006: no frame.";
        page.labelled("sockeye_close_codes_sent_total", help, "code", codes(&self.codes_sent));
        let responses = self.responses.iter().map(|(status, count)| (status, *count));
        page.labelled("sockeye_http_responses_total", "HTTP responses, by status.", "status", responses);
        let handshakes = self.tls.named();
        page.labelled(
            "sockeye_tls_handshakes_total",
            "Handshakes of TLS with clients, by outcome.",
            "outcome",
            handshakes,
        );
        let refusals = self.refusals.named();
        page.labelled("sockeye_refusals_total", "Refused connections and requests, by reason.", "reason", refusals);
        page.labelled("sockeye_limits_hit_total", "How often each limit was hit.", "limit", self.limits.named());
    }

    fn work_on(&self, page: &mut Page) {
        for (name, count) in self.work.named() {
            page.counter(
                &format!("sockeye_loop_{name}_total"),
                "Work of the event loop; see sockeye::statistics::Work.",
                count,
            );
        }
        let stalls = &self.stalls;
        page.counter("sockeye_stalls_total", "Stalls: pieces of work that held up the event loop.", stalls.count);
        page.counter("sockeye_stalls_seconds_total", "Total duration of all stalls.", stalls.total.as_secs_f64());
        let worst = stalls.worst.as_ref().map_or(0.0, |worst| worst.duration.as_secs_f64());
        page.gauge("sockeye_stall_worst_seconds", "Duration of the longest stall.", worst);
        page.gauge(
            "sockeye_turn_longest_seconds",
            "Duration of the longest turn of the event loop.",
            stalls.longest_turn.as_secs_f64(),
        );
        let busy = stalls.busy.as_secs_f64();
        page.counter("sockeye_loop_busy_seconds_total", "Time in turns of the event loop, without waiting.", busy);
    }
}

/// Close codes without the prefix of their names.
fn codes(codes: &Codes) -> impl Iterator<Item = (&'static str, u64)> + use<> {
    codes.named().map(|(name, count)| (&name[1..], count))
}

struct Page(String);

impl Page {
    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.line(format_args!("{name} {value}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.line(format_args!("{name} {value}"));
    }

    /// A counter for each value of a label. Values are our own names and numbers, which need no escapes.
    fn labelled<L: Display>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) {
        self.family(name, "counter", help);
        for (value, count) in values {
            self.line(format_args!("{name}{{{label}=\"{value}\"}} {count}"));
        }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}
