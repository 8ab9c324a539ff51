//! What came out: for people, for programs, and for `--fail-if`.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sockeye::log::escape;
use sockeye::statistics::Compressed;

use super::tally::{Errors, Kinds, Latencies};
use super::threshold::Figure;
use crate::bench::args::Mode;
use crate::figures::{bytes, count, per_second, time};
use crate::ratio;

/// The figures of a run. Times are in nanoseconds.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) mode: Mode,
    pub(crate) url: String,
    /// What was asked for, in words.
    pub(crate) settings: String,
    pub(crate) seed: u64,
    pub(crate) span: u64,
    pub(crate) warm_up: u64,
    pub(crate) interrupted: bool,
    /// Messages that were answered, or handshakes.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) latencies: Latencies,
    /// Handshakes of TLS by kind, if there were any.
    pub(crate) tls: Option<Kinds>,
    pub(crate) opened: u64,
    pub(crate) failed: u64,
    pub(crate) lost: u64,
    pub(crate) handshakes: Latencies,
    pub(crate) errors: Errors,
    /// CPU time of this process, if the system told.
    pub(crate) own_cpu: Option<u64>,
    /// Messages in a second that were asked for.
    pub(crate) asked: Option<f64>,
    /// How late this process was with messages that were due; only at a fixed rate.
    pub(crate) late: Option<Latencies>,
    /// What compression did in the measured time, if it was asked for.
    pub(crate) compression: Option<Compressed>,
    /// Connections that agreed on it.
    pub(crate) compressing: u64,
}

impl Report {
    pub(crate) fn rate(&self) -> f64 {
        let rate = self.a_second(self.messages);
        match self.asked {
            // The answer to the last message comes a latency after the last beat. The rate was kept all the same, unless that latency
            // is one of sending late.
            Some(asked) if rate < asked => {
                let late = self.late.as_ref().map_or(0, |late| late.max);
                let sending = self.span.saturating_sub(self.latencies.max.saturating_sub(late));
                let due = asked * seconds(sending);
                if self.messages as f64 + 1.0 >= due { asked } else { rate }
            }
            _ => rate,
        }
    }

    /// The figure by its name.
    pub(crate) fn figure(&self, figure: Figure) -> f64 {
        let latencies = self.timed();
        match figure {
            Figure::P50 => latencies.p50 as f64,
            Figure::P90 => latencies.p90 as f64,
            Figure::P95 => latencies.p95 as f64,
            Figure::P99 => latencies.p99 as f64,
            Figure::P999 => latencies.p999 as f64,
            Figure::Max => latencies.max as f64,
            Figure::Mean => latencies.mean as f64,
            Figure::Rate => self.rate(),
            Figure::Messages => self.messages as f64,
            Figure::Errors => self.errors.total() as f64,
        }
    }

    /// Lines for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}: {}\n", escape(&self.url), self.settings);
        let cut = if self.interrupted { ", interrupted" } else { "" };
        let warm_up =
            if self.warm_up > 0 { format!(", after {} of warm-up", time(self.warm_up)) } else { String::new() };
        row(&mut text, "measured", &format!("{}{warm_up}{cut}", time(self.span)));
        match self.mode {
            Mode::Echo => {
                row(&mut text, "messages", &self.rate_in_words());
                let each = bytes(self.a_second(self.bytes));
                row(&mut text, "payload", &format!("{} each way, {each} a second", bytes(self.bytes as f64)));
                if let Some(compression) = &self.compression {
                    row(&mut text, "compressed", &ratio::in_words(compression));
                }
                row(&mut text, "latency", &in_words(&self.latencies));
            }
            Mode::Handshake => {
                row(&mut text, "handshakes", &self.rate_in_words());
                row(&mut text, "latency", &in_words(&self.latencies));
                for (kind, latencies) in self.tls_kinds() {
                    let rate = count(self.a_second(latencies.count) as u64);
                    let latency =
                        if latencies.count > 0 { format!(", {}", in_words(latencies)) } else { String::new() };
                    row(&mut text, kind, &format!("{}, {rate} a second{latency}", count(latencies.count)));
                }
            }
            Mode::Idle => {}
        }
        let (opened, failed, lost) = (count(self.opened), count(self.failed), count(self.lost));
        let agreed = match self.compression {
            Some(_) => format!(", {} with compression", count(self.compressing)),
            None => String::new(),
        };
        row(&mut text, "connections", &format!("{opened} opened{agreed}, {failed} failed, {lost} lost"));
        if self.mode != Mode::Handshake {
            row(&mut text, "handshake", &in_words(&self.handshakes));
        }
        self.errors_in_words(&mut text);
        if let Some(share) = self.own_share() {
            row(&mut text, "own CPU", &format!("{:.0} % of a core", share * 100.0));
        }
        if let Some(late) = &self.late {
            row(&mut text, "sent late by", &in_words(late));
        }
        text
    }

    /// By the names that they have in the report, which are those of the text without `TLS`.
    fn tls_kinds(&self) -> impl Iterator<Item = (&'static str, &Latencies)> {
        self.tls.iter().flat_map(|kinds| [("TLS full", &kinds.full), ("TLS resumed", &kinds.resumed)])
    }

    fn errors_in_words(&self, text: &mut String) {
        if self.errors.total() == 0 {
            row(text, "errors", "none");
        }
        for (kind, number, first) in self.errors.kinds() {
            // A server may be quoted in it.
            row(text, "errors", &format!("{} {kind}: {}", count(number), escape(first)));
        }
    }

    /// One object for programs. Times are in seconds.
    pub(crate) fn json(&self) -> Value {
        let errors: serde_json::Map<String, Value> = self
            .errors
            .kinds()
            .map(|(kind, count, first)| (kind.to_owned(), json!({ "count": count, "first": first })))
            .collect();
        let unit = if self.mode == Mode::Handshake { "handshakes" } else { "messages" };
        let mut report = json!({
            "url": self.url,
            "mode": self.mode.name(),
            "settings": self.settings,
            "seed": self.seed,
            "seconds": seconds(self.span),
            "warm_up_seconds": seconds(self.warm_up),
            "interrupted": self.interrupted,
            "connections": { "opened": self.opened, "failed": self.failed, "lost": self.lost },
            "handshake_seconds": quantiles(&self.handshakes),
            "errors": { "total": self.errors.total(), "kinds": errors },
            "own_cpu": self.own_share(),
            "bottleneck": self.warning().is_some(),
        });
        if self.mode != Mode::Idle {
            report[unit] = json!(self.messages);
            report["rate"] = json!(self.rate());
            report["latency_seconds"] = quantiles(&self.latencies);
        }
        if self.mode == Mode::Handshake && self.tls.is_some() {
            let kinds = self.tls_kinds().map(|(kind, latencies)| {
                let rate = self.a_second(latencies.count);
                let figures =
                    json!({ "handshakes": latencies.count, "rate": rate, "latency_seconds": quantiles(latencies) });
                (kind.trim_start_matches("TLS ").to_owned(), figures)
            });
            report["tls"] = Value::Object(kinds.collect());
        }
        if self.mode == Mode::Echo {
            report["payload_bytes"] = json!(self.bytes);
        }
        if let Some(compression) = &self.compression {
            report["compression"] = ratio::json(compression);
            report["compression"]["connections"] = json!(self.compressing);
        }
        if let Some(late) = &self.late {
            report["late_seconds"] = quantiles(late);
        }
        report
    }

    /// What to say if this process, and not the server, may be what limits the figures.
    pub(crate) fn warning(&self) -> Option<String> {
        if let Some(late) = &self.late {
            // At a fixed rate it waits for the next beat by looking again and again, so a busy core means nothing.
            let text =
                |late| format!("1 % of the messages were sent {late} late or more; the latencies include this delay");
            return (late.p99 > LATE).then(|| text(time(late.p99)));
        }
        let share = self.own_share().filter(|share| *share > BUSY)?;
        let percent = share * 100.0;
        Some(format!("this program used {percent:.0} % of a core: it may limit the figures, not the server"))
    }

    /// What to say if the rate that was asked for was not reached, by whichever side.
    pub(crate) fn shortfall(&self) -> Option<String> {
        let asked = self.asked.filter(|asked| self.messages > 0 && self.rate() < asked * REACHED)?;
        let (asked, rate) = (per_second(asked), count(self.rate() as u64));
        Some(format!("{asked} messages a second were requested, but only {rate} a second were sent"))
    }

    /// The latencies that thresholds are about: without messages those of the handshakes.
    fn timed(&self) -> &Latencies {
        if self.mode == Mode::Idle { &self.handshakes } else { &self.latencies }
    }

    fn rate_in_words(&self) -> String {
        format!("{}, {} a second", count(self.messages), count(self.rate() as u64))
    }

    /// Of a core.
    fn own_share(&self) -> Option<f64> {
        let cpu = self.own_cpu.filter(|_| self.span > 0)?;
        Some(cpu as f64 / self.span as f64)
    }

    fn a_second(&self, number: u64) -> f64 {
        if self.span == 0 { 0.0 } else { number as f64 / seconds(self.span) }
    }
}

fn row(text: &mut String, name: &str, what: &str) {
    _ = writeln!(text, "  {name:<13} {what}");
}

fn in_words(latencies: &Latencies) -> String {
    let Latencies { count, p50, p90, p95, p99, p999, max, .. } = *latencies;
    if count == 0 {
        return "no figures".to_owned();
    }
    let [p50, p90, p95, p99, p999, max] = [p50, p90, p95, p99, p999, max].map(time);
    format!("p50 {p50}, p90 {p90}, p95 {p95}, p99 {p99}, p99.9 {p999}, max {max}")
}

fn quantiles(latencies: &Latencies) -> Value {
    let Latencies { count, p50, p90, p95, p99, p999, max, mean } = *latencies;
    if count == 0 {
        return Value::Null;
    }
    json!({
        "p50": seconds(p50),
        "p90": seconds(p90),
        "p95": seconds(p95),
        "p99": seconds(p99),
        "p99.9": seconds(p999),
        "max": seconds(max),
        "mean": seconds(mean),
    })
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// Share of a core above which a program has no time left to wait.
const BUSY: f64 = 0.95;

/// Share of the rate asked for from which on it counts as reached.
const REACHED: f64 = 0.95;

/// Nanoseconds: messages that go out so late are no longer at a fixed rate.
const LATE: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let latencies = Latencies {
            count: 3_000,
            p50: 1_000_000,
            p90: 2_000_000,
            p95: 2_500_000,
            p99: 3_000_000,
            p999: 4_000_000,
            max: 5_000_000,
            mean: 1_500_000,
        };
        let mut errors = Errors::default();
        errors.add("closed", 2, || "the server closed with 1011".to_owned());
        Report {
            mode: Mode::Echo,
            url: "ws://127.0.0.1:1/".to_owned(),
            settings: "echo".to_owned(),
            seed: 7,
            span: 2_000_000_000,
            warm_up: 500_000_000,
            interrupted: false,
            messages: 3_000,
            bytes: 60_000,
            latencies,
            tls: None,
            opened: 10,
            failed: 1,
            lost: 2,
            handshakes: latencies,
            errors,
            own_cpu: Some(1_000_000_000),
            asked: None,
            late: None,
            compression: None,
            compressing: 0,
        }
    }

    #[test]
    fn compression_is_told_where_it_was_asked_for() {
        assert!(!report().text().contains("compress") && report().json().get("compression").is_none());
        let mut counted = Compressed::default();
        (counted.sent, counted.sent_plain_bytes, counted.sent_bytes) = (3_000, 600_000, 150_000);
        let report = Report { compression: Some(counted), compressing: 9, ..report() };
        let text = report.text();
        assert!(text.contains("  compressed    sent 586 KiB as 146 KiB (25 %), received nothing\n"), "{text}");
        assert!(text.contains("  connections   10 opened, 9 with compression, 1 failed, 2 lost\n"), "{text}");
        assert_eq!(report.json().pointer("/compression/sent/ratio"), Some(&json!(0.25)));
        assert_eq!(report.json().pointer("/compression/connections"), Some(&json!(9)));
    }

    #[test]
    fn the_text_has_every_figure() {
        let text = report().text();
        for part in [
            "ws://127.0.0.1:1/: echo\n",
            "measured      2.00 s, after 500 ms of warm-up\n",
            "messages      3,000, 1,500 a second\n",
            "payload       58.6 KiB each way, 29.3 KiB a second\n",
            "latency       p50 1.00 ms, p90 2.00 ms, p95 2.50 ms, p99 3.00 ms, p99.9 4.00 ms, max 5.00 ms\n",
            "connections   10 opened, 1 failed, 2 lost\n",
            "errors        2 closed: the server closed with 1011\n",
            "own CPU       50 % of a core\n",
        ] {
            assert!(text.contains(part), "{part}{text}");
        }
    }

    #[test]
    fn handshakes_of_tls_have_figures_for_each_kind() {
        let full = Latencies { count: 1_000, ..report().latencies };
        let kinds = Some(Kinds { full, resumed: Latencies { count: 2_000, ..full } });
        let report = Report { mode: Mode::Handshake, tls: kinds, ..report() };
        let text = report.text();
        for part in [
            "  handshakes    3,000, 1,500 a second",
            "  TLS full      1,000, 500 a second, p50 1.00 ms, ",
            "  TLS resumed   2,000, 1,000 a second, p50",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let json = report.json();
        assert_eq!(json.pointer("/tls/full/handshakes"), Some(&json!(1000)));
        assert_eq!(json.pointer("/tls/resumed/rate"), Some(&json!(1000.0)));
        assert_eq!(json.pointer("/tls/resumed/latency_seconds/p50"), Some(&json!(0.001)));
        let none = Report { tls: Some(Kinds { full, resumed: Latencies::default() }), ..report };
        assert!(none.text().contains("  TLS resumed   0, 0 a second\n"), "{}", none.text());
    }

    #[test]
    fn without_answers_there_are_no_figures() {
        let report = Report { latencies: Latencies::default(), ..report() };
        assert!(report.text().contains("  latency       no figures\n"), "{}", report.text());
        assert_eq!(report.json().pointer("/latency_seconds"), Some(&Value::Null));
    }

    #[test]
    fn the_object_has_every_figure_in_seconds() {
        let json = report().json();
        for (pointer, value) in [
            ("/mode", json!("echo")),
            ("/rate", json!(1500.0)),
            ("/messages", json!(3000)),
            ("/payload_bytes", json!(60000)),
            ("/latency_seconds/p99.9", json!(0.004)),
            ("/errors/total", json!(2)),
            ("/errors/kinds/closed/count", json!(2)),
            ("/connections/failed", json!(1)),
            ("/own_cpu", json!(0.5)),
            ("/bottleneck", json!(false)),
        ] {
            assert_eq!(json.pointer(pointer), Some(&value), "{pointer}");
        }
    }

    #[test]
    fn a_busy_load_says_so() {
        let mut busy = report();
        busy.own_cpu = Some(1_901_000_000);
        assert!(busy.warning().unwrap().contains("95 % of a core"));
        // Waiting for the beat looks busy and is not.
        busy.late = Some(Latencies::default());
        assert_eq!(busy.warning(), None);
        busy.late = Some(Latencies { p99: 1_500_000, ..Latencies::default() });
        assert!(busy.warning().unwrap().contains("1.50 ms"));
    }

    #[test]
    fn a_rate_that_was_kept_is_the_one_that_was_asked_for() {
        let latencies = Latencies { max: 5_000_000, ..report().latencies };
        let kept = Report { asked: Some(200.0), messages: 400, span: 2_003_000_000, latencies, ..report() };
        assert_eq!(kept.rate(), 200.0);
        assert!(kept.text().contains("messages      400, 200 a second\n"), "{}", kept.text());
        let missed = Report { messages: 390, ..kept };
        assert!(missed.rate() < 195.0);
    }

    #[test]
    fn a_rate_that_was_not_reached_is_told() {
        let mut report = report();
        assert_eq!(report.shortfall(), None);
        report.asked = Some(1_550.0);
        assert_eq!(report.shortfall(), None);
        report.asked = Some(100_000.0);
        let told = report.shortfall().unwrap();
        assert!(told.contains("100,000 messages a second were requested, but only 1,500 a second"), "{told}");
    }

    #[test]
    fn messages_that_were_sent_late_do_not_keep_the_rate() {
        let whole = |max| Latencies { max, ..Latencies::default() };
        let late = Report { asked: Some(1e9), messages: 2000, span: 100_000_000, ..report() };
        let late = Report { latencies: whole(99_999_999), late: Some(whole(90_000_000)), ..late };
        assert!(late.shortfall().unwrap().contains("but only 20,000 a second"));
    }

    #[test]
    fn thresholds_see_the_figures() {
        let report = report();
        let found = [Figure::P50, Figure::P99, Figure::Max, Figure::Rate, Figure::Messages, Figure::Errors];
        assert_eq!(found.map(|figure| report.figure(figure)), [1e6, 3e6, 5e6, 1500.0, 3000.0, 2.0]);
    }
}
