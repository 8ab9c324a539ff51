//! The statistics of a server in its log.

use sockeye::statistics::Statistics;

/// Logs the statistics of a service at level notice. `thread`: its number, if there are several.
pub(super) fn log(statistics: &Statistics, thread: Option<usize>) {
    for line in statistics.to_string().lines() {
        tracing::info!(thread, "{line}");
    }
}
