//! The statistics of a server in its log.

use std::time::Duration;

use sockeye::statistics::{Compressed, Statistics, Traffic};

/// As [`log`], at the end: a service that did nothing has nothing to tell.
pub(super) fn log_final(statistics: &Statistics, thread: Option<usize>) {
    let connections = &statistics.connections;
    if connections.accepted == 0 && connections.connected == 0 {
        tracing::info!(thread, "there were no connections");
    } else {
        if thread.is_some() {
            tracing::info!(thread, "final statistics of a thread");
        }
        log(statistics, thread);
    }
}

/// Logs the statistics of a service at level notice: figures are fields, so that logfmt and JSON can be searched for them.
/// `thread`: its number, if there are several.
pub(super) fn log(statistics: &Statistics, thread: Option<usize>) {
    totals(statistics, thread);
    // Those that are zero are left out: most are.
    let counted = |name: &str, count: u64, what: &str| {
        tracing::info!(name, count, thread, "{what}");
    };
    let all = [
        ("TLS handshakes by outcome", statistics.tls.named().collect::<Vec<_>>()),
        ("closed by cause", statistics.closes.named().collect()),
        ("requests with a session by their end", statistics.request_ends.named().collect()),
        ("raw connections closed by cause", statistics.raw_closes.named().collect()),
        ("close codes received", codes(statistics.codes_received.named())),
        ("close codes sent", codes(statistics.codes_sent.named())),
        ("refused by reason", statistics.refusals.named().collect()),
        ("connects failed by stage", statistics.failures.named().collect()),
        ("limits hit", statistics.limits.named().collect()),
    ];
    for (what, counts) in all {
        counts.into_iter().filter(|(_, count)| *count > 0).for_each(|(name, count)| counted(name, count, what));
    }
    for (status, count) in &statistics.responses {
        counted(&status.to_string(), *count, "responses by status");
    }
}

/// What there is once for each service.
fn totals(statistics: &Statistics, thread: Option<usize>) {
    let Statistics { connections, websockets, work, stalls, .. } = statistics;
    tracing::info!(
        now = statistics.connections_now,
        peak = statistics.connections_most,
        accepted = connections.accepted,
        connected = connections.connected,
        adopted = connections.adopted,
        closed = connections.closed,
        thread,
        "connections"
    );
    tracing::info!(
        now = statistics.websockets_now,
        peak = statistics.websockets_most,
        opened_by_peers = websockets.opened_by_peers,
        opened_by_us = websockets.opened_by_us,
        closed = websockets.closed,
        thread,
        "websockets"
    );
    tracing::info!(
        now_bytes = statistics.held_bytes,
        peak_bytes = statistics.held_bytes_most,
        limit_bytes = statistics.held_bytes_limit,
        thread,
        "held for peers"
    );
    for (direction, traffic) in [("received", &statistics.received), ("sent", &statistics.sent)] {
        let Traffic { bytes, messages, pings, pongs, closes, .. } = traffic;
        tracing::info!(bytes, messages, frames = traffic.frames(), pings, pongs, closes, thread, "{direction}");
    }
    let Compressed { sent, sent_plain_bytes, sent_bytes, received, received_plain_bytes, received_bytes, .. } =
        statistics.compression;
    if sent + received > 0 {
        let deflated = statistics.compression.deflated;
        tracing::info!(
            sent,
            sent_plain_bytes,
            sent_bytes,
            deflated,
            received,
            received_plain_bytes,
            received_bytes,
            thread,
            "compression"
        );
    }
    tracing::info!(
        turns = work.turns,
        events = work.events,
        steps = work.steps,
        deadlines = work.deadlines,
        jobs = work.jobs,
        publishes = work.publishes,
        accept_pauses = work.accept_pauses,
        thread,
        "loop"
    );
    tracing::info!(
        count = stalls.count,
        total_us = micros(stalls.total),
        longest_turn_us = micros(stalls.longest_turn),
        worst = stalls.worst.as_ref().map(tracing::field::display),
        thread,
        "stalls"
    );
}

/// The counters have letters in front of their numbers.
fn codes(counters: impl Iterator<Item = (&'static str, u64)>) -> Vec<(&'static str, u64)> {
    counters.map(|(name, count)| (&name[1..], count)).collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
