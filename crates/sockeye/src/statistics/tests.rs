//! Counters, and how they are shown.

use sockeye_proto::close::Close;
use sockeye_proto::close::CloseCode;
use sockeye_proto::close::Initiator;

use super::*;

fn closed(received: Option<Close>, sent: Option<Close>, cause: Cause) -> Closed {
    // Only a connection can make a `Closed`.
    let mut ws = sockeye_proto::conn::Connection::new(
        sockeye_proto::wire::Role::Server,
        Default::default(),
        sockeye_proto::time::Instant::from_nanos(0),
    );
    ws.abort(Cause::Dropped);
    let mut closed = ws.closed();
    (closed.received, closed.sent, closed.cause) = (received, sent, cause);
    closed.initiator = Initiator::Neither;
    closed
}

/// Statistics in which most counters differ.
fn different() -> Statistics {
    let mut statistics = Statistics::default();
    for number in 0..3 {
        statistics.connection_begins(number == 0);
        statistics.websocket_opens(number == 0);
    }
    statistics.connection_ends();
    statistics.connections_limit = 5;
    let close = closed(Some(CloseCode::NORMAL.into()), Some(CloseCode::new(3456).unwrap().into()), Cause::Handshake);
    statistics.websocket_closes(&close);
    statistics.received = Traffic { bytes: 11, messages: 12, parts: 13, pings: 14, pongs: 15, closes: 16 };
    statistics.sent = Traffic { bytes: 21, messages: 22, parts: 23, pings: 24, pongs: 25, closes: 26 };
    statistics.responded(404);
    statistics.responded(101);
    statistics.responded(404);
    statistics.refusals.origin = 31;
    statistics.limits.message_bytes = 32;
    statistics.failures.proxy = 33;
    statistics.work.turns = 34;
    let (received, received_bytes, received_plain_bytes) = (51, 52, 53);
    let (sent, sent_bytes, sent_plain_bytes, deflated) = (54, 55, 56, 57);
    statistics.compression =
        Compressed { sent, sent_plain_bytes, sent_bytes, deflated, received, received_bytes, received_plain_bytes };
    let millis = std::time::Duration::from_millis;
    let (protocol, connection, computed) = (Some("x".to_owned()), None, Some(millis(200)));
    let worst = Stall { duration: millis(200), culprit: Culprit::Receive, protocol, connection, computed };
    let (total, longest_turn, busy) = (millis(350), millis(201), millis(4250));
    statistics.stalls = Stalls { count: 2, total, worst: Some(worst), longest_turn, busy };
    statistics
}

#[test]
fn every_cause_and_every_code_has_a_counter() {
    let causes = [
        (Cause::Handshake, "handshake", None),
        (Cause::Eof, "eof", None),
        (Cause::Reset, "reset", None),
        (Cause::Timeout(Timeout::Close), "close_timeout", Some("close_timeout")),
        (Cause::Timeout(Timeout::Keepalive), "keepalive_timeout", Some("pong_within")),
        (Cause::Violation(Violation::ReservedBit), "violation", None),
        (Cause::Violation(Violation::MessageTooBig), "violation", Some("message_bytes")),
        (Cause::Violation(Violation::FragmentsTooTiny), "violation", Some("tiny_fragments")),
        (Cause::Overflow, "overflow", Some("output_hard")),
        (Cause::Dropped, "dropped", None),
        (Cause::Aborted, "aborted", None),
    ];
    for (cause, name, limit) in causes {
        let mut statistics = Statistics { websockets_now: 1, ..Statistics::default() };
        statistics.websocket_closes(&closed(None, None, cause));
        assert_eq!(set(statistics.closes.named()), [(name, 1)]);
        assert_eq!(set(statistics.limits.named()).first().map(|(name, _)| *name), limit);
        assert_eq!(set(statistics.codes_sent.named()), [("c1006", 1)]);
    }
    for code in (1000..=1003).chain(1007..=1014) {
        let mut codes = Codes::default();
        *codes.of(Some(&CloseCode::new(code).unwrap().into())) += 1;
        assert_eq!(set(codes.named()), [(format!("c{code}").as_str(), 1)]);
    }
    for (code, name) in [(3000, "c3xxx"), (3999, "c3xxx"), (4000, "c4xxx"), (4999, "c4xxx")] {
        let mut codes = Codes::default();
        *codes.of(Some(&CloseCode::new(code).unwrap().into())) += 1;
        assert_eq!(set(codes.named()), [(name, 1)]);
    }
    let mut codes = Codes::default();
    *codes.of(Some(&Close::empty())) += 1;
    assert_eq!(set(codes.named()), [("c1005", 1)]);
}

fn set(named: impl Iterator<Item = (&'static str, u64)>) -> Vec<(&'static str, u64)> {
    named.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn control_frames_are_counted_by_kind_masked_or_not() {
    let mut traffic = Traffic::default();
    traffic.controls(b"\x89\0\x8a\x02hi\x88\x02\x03\xe8");
    traffic.controls(b"\x89\x81keys!\x8a\x80keys");
    assert_eq!((traffic.pings, traffic.pongs, traffic.closes, traffic.frames()), (2, 2, 1, 5));
}

#[test]
fn the_text_for_people() {
    assert_eq!(
        different().to_string(),
        "connections: 2 now, 3 peak, 2 accepted, 1 connected, 1 closed\n\
         websockets: 2 now, 3 peak, 2 opened by peers, 1 opened by us, 1 closed\n\
         held for peers: 0 bytes now, 0 peak, 0 at most\n\
         received: 11 bytes, 12 messages, 70 frames, 14 pings, 15 pongs, 16 closes\n\
         sent: 21 bytes, 22 messages, 120 frames, 24 pings, 25 pongs, 26 closes\n\
         closed by cause: handshake 1\n\
         close codes received: 1000 1\n\
         close codes sent: 3xxx 1\n\
         responses by status: 101 1, 404 2\n\
         compression: sent 54, sent_plain_bytes 56, sent_bytes 55, deflated 57, received 51, received_bytes 52, \
         received_plain_bytes 53\n\
         refused by reason: origin 31\n\
         connects failed by stage: proxy 33\n\
         limits hit: message_bytes 32\n\
         loop: turns 34\n\
         stalls: 2, 350ms in total, longest turn 201ms, worst 200ms in the receive callback of protocol x\n"
    );
    assert!(Statistics::default().to_string().contains("responses by status: none\n"));
    assert!(Statistics::default().to_string().ends_with("stalls: 0, 0ns in total, longest turn 0ns\n"));
}

#[test]
fn since_subtracts_counters_and_keeps_the_rest() {
    let (earlier, mut later) = (different(), different());
    let mut expected = Statistics { connections_now: 3, connections_most: 3, ..Statistics::default() };
    (expected.connections_limit, expected.websockets_now, expected.websockets_most) = (5, 2, 3);
    assert_eq!(later.since(&Statistics::default()), later);
    later.connection_begins(false);
    expected.connections.accepted = 1;
    later.responded(404);
    later.responded(500);
    expected.responses = BTreeMap::from([(404, 1), (500, 1)]);
    later.received.bytes += 5;
    expected.received.bytes = 5;
    later.sent.parts += 6;
    expected.sent.parts = 6;
    later.work.turns += 7;
    expected.work.turns = 7;
    later.stalls.count += 1;
    later.stalls.busy *= 2;
    expected.stalls = Stalls { count: 1, total: std::time::Duration::ZERO, ..earlier.stalls.clone() };
    assert_eq!(later.since(&earlier), expected);
}

/// Parses a page by the rules of the text format: each family has HELP and TYPE once, before its samples, and a sample
/// is a name, optional labels and a number. Returns the samples.
fn parse(page: &str) -> BTreeMap<String, f64> {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (mut samples, mut families, mut current) = (BTreeMap::new(), Vec::new(), String::new());
    let mut help = None;
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').unwrap();
            assert!(!text.is_empty() && !text.contains('\\'), "{line}");
            help = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(help.take().as_deref(), Some(name), "{line}");
            assert!(is_name(name) && name.starts_with("sockeye_"), "{line}");
            assert!(!families.contains(&name.to_owned()), "twice: {line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(kind == "counter" || kind == "gauge", "{line}");
            families.push(name.to_owned());
            current = name.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').map_or((series, None), |(name, labels)| (name, Some(labels)));
            assert_eq!(name, current, "{line}");
            if let Some(labels) = labels {
                let (label, value) = labels.strip_suffix("\"}").unwrap().split_once("=\"").unwrap();
                assert!(is_name(label) && !value.contains(['"', '\\', '\n']), "{line}");
            }
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    samples
}

#[test]
fn the_page_for_prometheus_has_every_number() {
    let samples = parse(&different().prometheus());
    for (series, value) in [
        ("sockeye_connections", 2),
        ("sockeye_connections_most", 3),
        ("sockeye_connections_limit", 5),
        ("sockeye_connections_total{by=\"peers\"}", 2),
        ("sockeye_connections_total{by=\"us\"}", 1),
        ("sockeye_connections_closed_total", 1),
        ("sockeye_websockets", 2),
        ("sockeye_websockets_most", 3),
        ("sockeye_websockets_total{by=\"peers\"}", 2),
        ("sockeye_websockets_total{by=\"us\"}", 1),
        ("sockeye_received_bytes_total", 11),
        ("sockeye_received_messages_total", 12),
        ("sockeye_received_frames_total{kind=\"data\"}", 25),
        ("sockeye_received_frames_total{kind=\"ping\"}", 14),
        ("sockeye_received_frames_total{kind=\"pong\"}", 15),
        ("sockeye_received_frames_total{kind=\"close\"}", 16),
        ("sockeye_sent_bytes_total", 21),
        ("sockeye_sent_messages_total", 22),
        ("sockeye_sent_frames_total{kind=\"data\"}", 45),
        ("sockeye_received_compressed_messages_total", 51),
        ("sockeye_received_compressed_bytes_total", 52),
        ("sockeye_received_compressed_plain_bytes_total", 53),
        ("sockeye_sent_compressed_messages_total", 54),
        ("sockeye_sent_compressed_bytes_total", 55),
        ("sockeye_sent_compressed_plain_bytes_total", 56),
        ("sockeye_published_compressed_messages_total", 57),
        ("sockeye_closes_total{cause=\"handshake\"}", 1),
        ("sockeye_closes_total{cause=\"eof\"}", 0),
        ("sockeye_close_codes_received_total{code=\"1000\"}", 1),
        ("sockeye_close_codes_sent_total{code=\"3xxx\"}", 1),
        ("sockeye_http_responses_total{status=\"404\"}", 2),
        ("sockeye_refusals_total{reason=\"origin\"}", 31),
        ("sockeye_limits_hit_total{limit=\"message_bytes\"}", 32),
        ("sockeye_connects_failed_total{stage=\"proxy\"}", 33),
        ("sockeye_loop_turns_total", 34),
    ] {
        assert_eq!(samples.get(series), Some(&f64::from(value)), "{series}");
    }
    for (series, value) in [
        ("sockeye_stalls_total", 2.0),
        ("sockeye_stalls_seconds_total", 0.35),
        ("sockeye_stall_worst_seconds", 0.2),
        ("sockeye_turn_longest_seconds", 0.201),
        ("sockeye_loop_busy_seconds_total", 4.25),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
    parse(&Statistics::default().prometheus());
}

#[test]
fn a_sum_adds_counters_and_keeps_the_worse_stall() {
    let one = different();
    let mut other = different();
    other.responded(500);
    other.stalls.worst = None;
    other.stalls.longest_turn = std::time::Duration::from_secs(1);
    let sum: Statistics = [&one, &other].into_iter().sum();
    let page = |statistics: &Statistics| -> BTreeMap<String, f64> {
        let page = statistics.prometheus();
        let values = page.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap());
        values.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
    };
    let (one, other) = (page(&one), page(&other));
    for (name, value) in page(&sum) {
        let both = [&one, &other].map(|page| page.get(&name).copied().unwrap_or_default());
        let expected = if name == "sockeye_stall_worst_seconds" || name == "sockeye_turn_longest_seconds" {
            both[0].max(both[1])
        } else {
            both[0] + both[1]
        };
        assert_eq!(value, expected, "{name}");
    }
    assert_eq!(sum.since(&different()).codes_sent, different().codes_sent);
    assert_eq!(sum.stalls.worst, different().stalls.worst);
}
