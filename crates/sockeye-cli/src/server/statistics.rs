//! The statistics of a server in its log.

use sockeye::statistics::Statistics;

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

/// Logs the statistics of a service at level notice. `thread`: its number, if there are several.
pub(super) fn log(statistics: &Statistics, thread: Option<usize>) {
    for line in statistics.to_string().lines() {
        tracing::info!(thread, "{line}");
    }
}
