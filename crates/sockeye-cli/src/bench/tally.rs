//! What is counted in the measured time.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// Moments are nanoseconds of one clock.
pub(crate) struct Tally {
    /// What was due, or sent, from here ..
    begin: u64,
    /// .. to here, without this moment, counts.
    end: u64,
    messages: u64,
    /// Payload of the answers, which is that of the messages too.
    bytes: u64,
    /// When the last one that counts was answered.
    last: u64,
    latencies: Histogram<u64>,
    /// Handshakes of TLS, if there was one.
    tls: Option<Box<Handshakes>>,
}

/// Those that were full, and those that resumed a session.
struct Handshakes {
    full: Histogram<u64>,
    resumed: Histogram<u64>,
}

/// Figures of the handshakes of TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kinds {
    pub(crate) full: Latencies,
    pub(crate) resumed: Latencies,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self { begin: u64::MAX, end: u64::MAX, messages: 0, bytes: 0, last: 0, latencies: latencies(), tls: None }
    }

    /// What is sent from `now` on counts.
    pub(crate) fn begin(&mut self, now: u64) {
        self.begin = now;
    }

    /// What is sent from `now` on counts no more.
    pub(crate) fn end(&mut self, now: u64) {
        self.end = self.end.min(now);
    }

    /// Whether what was sent, or due, at that moment counts.
    fn counts(&self, stamp: u64) -> bool {
        (self.begin..self.end).contains(&stamp)
    }

    /// Messages that were sent at `stamp` were answered at `now`. A batch of them may come late, when others were answered
    /// since.
    pub(crate) fn answered(&mut self, stamp: u64, now: u64, messages: u32, bytes: u64) {
        if self.counts(stamp) {
            self.messages += u64::from(messages);
            self.bytes += bytes;
            self.last = self.last.max(now);
            self.latencies.saturating_record_n(now.saturating_sub(stamp), messages.into());
        }
    }

    /// A handshake of TLS that was asked for at `stamp` is done at `now`.
    pub(crate) fn secured(&mut self, stamp: u64, now: u64, is_resumed: bool) {
        if self.counts(stamp) {
            let both = self.tls.get_or_insert_with(|| Box::new(Handshakes { full: latencies(), resumed: latencies() }));
            let of_kind = if is_resumed { &mut both.resumed } else { &mut both.full };
            of_kind.saturating_record(now.saturating_sub(stamp));
        }
    }

    /// The handshakes of TLS by kind, if there were any.
    pub(crate) fn tls(&self) -> Option<Kinds> {
        let both = self.tls.as_deref()?;
        Some(Kinds { full: Latencies::of(&both.full), resumed: Latencies::of(&both.resumed) })
    }

    /// Answered messages, without batches that are not over.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Payload of the answers, which is that of the messages too.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Nanoseconds from the beginning to the end, or to the last answer if that came later.
    pub(crate) fn span(&self) -> u64 {
        let end = if self.end == u64::MAX { 0 } else { self.end };
        end.max(self.last).saturating_sub(self.begin)
    }

    pub(crate) fn latencies(&self) -> Latencies {
        Latencies::of(&self.latencies)
    }
}

/// From one nanosecond to an hour, with an error of a thousandth.
pub(crate) fn latencies() -> Histogram<u64> {
    // The bounds are constants that the type takes: one at least, twice that at most, five digits at most.
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("bounds within those of the type")
}

/// Nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Latencies {
    /// How many were measured; of none the others say nothing.
    pub(crate) count: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p95: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
    pub(crate) mean: u64,
}

impl Latencies {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        // A value stands for all that are as good as the same; the largest of them may be above the highest seen.
        let max = histogram.max();
        let at = |quantile| histogram.value_at_quantile(quantile).min(max);
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max,
            mean: histogram.mean() as u64,
        }
    }
}

/// What went wrong, by kind: how often, and the first one in words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errors(BTreeMap<&'static str, (u64, String)>);

impl Errors {
    pub(crate) fn add(&mut self, kind: &'static str, count: u64, first: impl FnOnce() -> String) {
        if count > 0 {
            self.0.entry(kind).or_insert_with(|| (0, first())).0 += count;
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().map(|(count, _)| count).sum()
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&'static str, u64, &str)> {
        self.0.iter().map(|(kind, (count, first))| (*kind, *count, first.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_within_the_time_counts_whenever_it_is_answered() {
        let mut tally = Tally::new();
        tally.answered(5, 6, 1, 1);
        tally.begin(100);
        for (stamp, now) in [(99, 150), (100, 150), (199, 250), (200, 260)] {
            if stamp == 199 {
                tally.end(200);
            }
            tally.answered(stamp, now, 1, 10);
        }
        tally.answered(120, 180, 3, 30);
        assert_eq!((tally.messages(), tally.bytes(), tally.span()), (5, 50, 150));
        let latencies = tally.latencies();
        assert_eq!((latencies.p50, latencies.max), (60, 60));
    }

    #[test]
    fn handshakes_of_tls_are_counted_by_kind() {
        let mut tally = Tally::new();
        tally.begin(100);
        tally.secured(99, 150, true);
        assert!(tally.tls().is_none());
        for (stamp, is_resumed) in [(100, false), (100, true), (110, true)] {
            tally.secured(stamp, 150, is_resumed);
        }
        let Kinds { full, resumed } = tally.tls().unwrap();
        assert_eq!((full.count, full.max, resumed.count, resumed.p50), (1, 50, 2, 40));
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let mut tally = Tally::new();
        tally.begin(0);
        let mut sorted = Vec::new();
        for number in 0..10_000_u64 {
            let latency = number * number % 7_919 * 1_000 + 1;
            tally.answered(number, number + latency, 1, 0);
            sorted.push(latency);
        }
        sorted.sort_unstable();
        let found = tally.latencies();
        for (value, quantile) in [(found.p50, 0.5), (found.p90, 0.9), (found.p99, 0.99), (found.p999, 0.999)] {
            let exact = sorted[(quantile * 10_000.0) as usize - 1] as f64;
            assert!((value as f64 - exact).abs() <= exact * 0.002, "{quantile}: {value} {exact}");
        }
        assert!((found.max as f64 / *sorted.last().unwrap() as f64 - 1.0).abs() < 0.002);
        assert_eq!(tally.span(), sorted.iter().zip(0..).map(|_| 0).max().unwrap().max(tally.last));
    }

    #[test]
    fn a_batch_of_equal_latencies_is_counted_whole() {
        let mut tally = Tally::new();
        tally.begin(0);
        tally.answered(10, 20, 99, 99);
        tally.answered(10, 5_000, 1, 1);
        let latencies = tally.latencies();
        assert_eq!((latencies.p50, latencies.p90, tally.messages()), (10, 10, 100));
        assert!(latencies.max >= 4_990);
    }

    #[test]
    fn nothing_measured_is_nothing() {
        let tally = Tally::new();
        assert_eq!((tally.latencies(), tally.span()), (Latencies::default(), 0));
    }

    #[test]
    fn errors_keep_their_first_text() {
        let mut errors = Errors::default();
        errors.add("lost", 0, || unreachable!());
        errors.add("lost", 2, || "first".to_owned());
        errors.add("lost", 1, || "second".to_owned());
        assert_eq!((errors.total(), errors.kinds().collect::<Vec<_>>()), (3, vec![("lost", 3, "first")]));
    }
}
