//! Round trips in figures, as users of ping know them.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

/// Of all connections together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) transmitted: u64,
    pub(crate) received: u64,
    pub(crate) duplicates: u64,
    /// Milliseconds; `min <= mean <= max` once something was received.
    min: f64,
    max: f64,
    mean: f64,
    /// Sum of the squared distances to the mean (Welford), which loses no digits to large sums.
    spread: f64,
}

impl Statistics {
    /// A reply came for the first time, `rtt` after its ping.
    pub(crate) fn reply(&mut self, rtt: Duration) {
        let millis = rtt.as_secs_f64() * 1000.0;
        self.received += 1;
        self.min = if self.received == 1 { millis } else { self.min.min(millis) };
        self.max = self.max.max(millis);
        let before = millis - self.mean;
        self.mean += before / self.received as f64;
        self.spread += before * (millis - self.mean);
    }

    /// The standard deviation, which ping calls mdev.
    fn mdev(&self) -> f64 {
        if self.received == 0 { 0.0 } else { (self.spread / self.received as f64).max(0.0).sqrt() }
    }

    fn loss(&self) -> f64 {
        match self.transmitted {
            0 => 0.0,
            all => 100.0 * all.saturating_sub(self.received) as f64 / all as f64,
        }
    }

    /// The block at the end.
    pub(crate) fn show(&self, url: &str, connections: u32, elapsed: Duration) -> String {
        let mut text = format!("\n--- {url} websocket ping statistics ");
        if connections > 1 {
            _ = write!(text, "using {connections} connections ");
        }
        _ = write!(text, "---\n{} packets transmitted, {} received, ", self.transmitted, self.received);
        if self.duplicates > 0 {
            _ = write!(text, "+{} duplicates, ", self.duplicates);
        }
        _ = writeln!(text, "{}% packet loss, time {}ms", percent(self.loss()), elapsed.as_millis());
        if self.received > 0 {
            let (min, avg, max, mdev) = (self.min, self.mean, self.max, self.mdev());
            _ = writeln!(text, "rtt min/avg/max/mdev = {min:.3}/{avg:.3}/{max:.3}/{mdev:.3} ms");
        }
        text
    }

    pub(crate) fn to_json(self, url: &str, connections: u32, elapsed: Duration) -> Value {
        let rtt = (self.received > 0).then(|| {
            json!({ "min": micros(self.min), "avg": micros(self.mean), "max": micros(self.max), "mdev": micros(self.mdev()) })
        });
        json!({
            "event": "statistics",
            "url": url,
            "connections": connections,
            "transmitted": self.transmitted,
            "received": self.received,
            "duplicates": self.duplicates,
            "loss_percent": self.loss(),
            "elapsed_ms": elapsed.as_millis() as u64,
            "rtt_ms": rtt,
        })
    }
}

/// A round trip with as many digits as ping shows.
pub(crate) fn time(rtt: Duration) -> String {
    let millis = rtt.as_secs_f64() * 1000.0;
    match rtt.as_micros() {
        0..1_000 => format!("{millis:.3}"),
        1_000..10_000 => format!("{millis:.2}"),
        10_000..100_000 => format!("{millis:.1}"),
        _ => format!("{millis:.0}"),
    }
}

/// Milliseconds to the microsecond: more digits mean nothing.
pub(crate) fn micros(millis: f64) -> f64 {
    (millis * 1000.0).round() / 1000.0
}

/// As short as it can be said with six digits.
fn percent(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: &[u64], transmitted: u64) -> Statistics {
        let mut statistics = Statistics { transmitted, ..Statistics::default() };
        micros.iter().for_each(|micros| statistics.reply(Duration::from_micros(*micros)));
        statistics
    }

    #[test]
    fn the_block_is_that_of_ping() {
        let elapsed = Duration::from_millis(3005);
        assert_eq!(
            of(&[2000, 4000, 4000, 4000, 5000, 5000, 7000, 9000], 8).show("ws://a/", 1, elapsed),
            "\n--- ws://a/ websocket ping statistics ---\n\
             8 packets transmitted, 8 received, 0% packet loss, time 3005ms\n\
             rtt min/avg/max/mdev = 2.000/5.000/9.000/2.000 ms\n"
        );
        let mut lossy = of(&[100], 3);
        lossy.duplicates = 2;
        assert_eq!(
            lossy.show("ws://a/", 4, elapsed),
            "\n--- ws://a/ websocket ping statistics using 4 connections ---\n\
             3 packets transmitted, 1 received, +2 duplicates, 66.6667% packet loss, time 3005ms\n\
             rtt min/avg/max/mdev = 0.100/0.100/0.100/0.000 ms\n"
        );
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let block = of(&[], 0).show("ws://a/", 1, Duration::ZERO);
        assert!(block.ends_with("0 packets transmitted, 0 received, 0% packet loss, time 0ms\n"), "{block}");
        assert!(
            of(&[], 5)
                .show("ws://a/", 1, Duration::ZERO)
                .contains("5 packets transmitted, 0 received, 100% packet loss")
        );
    }

    #[test]
    fn a_long_run_keeps_its_digits() {
        let mut statistics = Statistics::default();
        for index in 0..1_000_000_u64 {
            statistics.reply(Duration::from_nanos(1_000_000_000_000 + (index % 2) * 2_000_000));
        }
        assert!((statistics.mdev() - 1.0).abs() < 1e-6, "{}", statistics.mdev());
    }

    #[test]
    fn the_same_as_json() {
        let object = of(&[2000, 4000], 4).to_json("ws://a/", 1, Duration::from_millis(7));
        assert_eq!(
            object,
            json!({
                "event": "statistics", "url": "ws://a/", "connections": 1, "transmitted": 4, "received": 2,
                "duplicates": 0, "loss_percent": 50.0, "elapsed_ms": 7,
                "rtt_ms": { "min": 2.0, "avg": 3.0, "max": 4.0, "mdev": 1.0 },
            })
        );
        assert_eq!(of(&[], 4).to_json("ws://a/", 1, Duration::ZERO)["rtt_ms"], Value::Null);
    }

    #[test]
    fn times_have_as_many_digits_as_in_ping() {
        for (micros, text) in [(7, "0.007"), (123, "0.123"), (1_234, "1.23"), (12_345, "12.3"), (123_456, "123")] {
            assert_eq!(time(Duration::from_micros(micros)), text);
        }
    }
}
