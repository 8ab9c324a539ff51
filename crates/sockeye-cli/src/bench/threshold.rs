//! `--fail-if`: what the figures must not be.

use std::fmt;

use crate::figures;

/// A figure, a comparison and a bound, such as `p99>5ms`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Threshold {
    text: String,
    figure: Figure,
    comparison: Comparison,
    /// Nanoseconds for a latency.
    bound: f64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Figure {
    P50,
    P90,
    P95,
    P99,
    P999,
    Max,
    Mean,
    /// Messages, or handshakes, a second.
    Rate,
    Messages,
    Errors,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Comparison {
    Above,
    Below,
    AtLeast,
    AtMost,
}

impl Threshold {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let at = text.find(['<', '>']).ok_or_else(|| format!("it has no < or >; {HELP}"))?;
        let (name, rest) = text.split_at(at);
        let (comparison, bound) = match rest.as_bytes() {
            [b'>', b'=', ..] => (Comparison::AtLeast, &rest[2..]),
            [b'<', b'=', ..] => (Comparison::AtMost, &rest[2..]),
            [b'>', ..] => (Comparison::Above, &rest[1..]),
            _ => (Comparison::Below, &rest[1..]),
        };
        let figure = Figure::parse(name.trim()).ok_or_else(|| format!("unknown figure {:?}; {HELP}", name.trim()))?;
        let bound = figure.bound(bound.trim())?;
        Ok(Self { text: text.to_owned(), figure, comparison, bound })
    }

    /// What to say if it is crossed. `value` gives a figure; a latency in nanoseconds.
    pub(crate) fn crossed(&self, value: impl Fn(Figure) -> f64) -> Option<String> {
        let value = value(self.figure);
        let crossed = match self.comparison {
            Comparison::Above => value > self.bound,
            Comparison::Below => value < self.bound,
            Comparison::AtLeast => value >= self.bound,
            Comparison::AtMost => value <= self.bound,
        };
        let shown = if self.figure.is_time() { figures::time(value as u64) } else { figures::count(value as u64) };
        crossed.then(|| format!("{}: {} is {shown}", self.text, self.figure))
    }
}

impl Figure {
    const ALL: [Self; 10] = [
        Self::P50,
        Self::P90,
        Self::P95,
        Self::P99,
        Self::P999,
        Self::Max,
        Self::Mean,
        Self::Rate,
        Self::Messages,
        Self::Errors,
    ];

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.to_string() == name)
    }

    fn is_time(self) -> bool {
        !matches!(self, Self::Rate | Self::Messages | Self::Errors)
    }

    fn bound(self, text: &str) -> Result<f64, String> {
        let digits = text.trim_end_matches(|c: char| c.is_alphabetic());
        let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let number = digits.parse::<f64>().ok().filter(|_| plain);
        let unit = match (&text[digits.len()..], self.is_time()) {
            ("ns", true) | ("", false) => Some(1.0),
            ("us" | "µs", true) => Some(1e3),
            ("ms", true) => Some(1e6),
            ("s", true) => Some(1e9),
            _ => None,
        };
        match (number, unit) {
            (Some(number), Some(unit)) => Ok(number * unit),
            _ if self.is_time() => Err(format!("{self} is a time: write it with ns, us, ms or s, such as 5ms")),
            _ => Err(format!("{self} is a number without a unit")),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Rate => "rate",
            Self::Messages => "messages",
            Self::Errors => "errors",
        })
    }
}

const HELP: &str = "write a figure (p50, p90, p95, p99, p99.9, max, mean, rate, messages, errors), one of > >= < <=, and a bound, \
                    such as 'p99>5ms' or 'rate<1000'";

#[cfg(test)]
mod tests {
    use super::*;

    fn crossed(text: &str, value: f64) -> Option<String> {
        Threshold::parse(text).unwrap().crossed(|_| value)
    }

    #[test]
    fn each_comparison_at_its_bound() {
        for (text, below, at, above) in [
            ("errors>5", false, false, true),
            ("errors>=5", false, true, true),
            ("errors<5", true, false, false),
            ("errors<=5", true, true, false),
        ] {
            let found = [4.0, 5.0, 6.0].map(|value| crossed(text, value).is_some());
            assert_eq!(found, [below, at, above], "{text}");
        }
    }

    #[test]
    fn times_have_units_and_spaces_do_not_matter() {
        for (text, nanos) in
            [("p50>5ns", 5.0), ("p99>5us", 5e3), ("p99.9 > 0.5ms", 5e5), ("max>=2s", 2e9), ("mean>1.5µs", 1.5e3)]
        {
            assert_eq!(Threshold::parse(text).unwrap().bound, nanos, "{text}");
        }
        assert_eq!(crossed("p99>5ms", 6_200_000.0).unwrap(), "p99>5ms: p99 is 6.20 ms");
        assert_eq!(crossed("rate<2000", 1500.5).unwrap(), "rate<2000: rate is 1,500");
    }

    #[test]
    fn every_figure_is_asked_for_by_its_name() {
        for figure in Figure::ALL {
            let unit = if figure.is_time() { "s" } else { "" };
            let threshold = Threshold::parse(&format!("{figure}>1{unit}")).unwrap();
            assert_eq!(threshold.figure, figure);
            threshold.crossed(|asked| {
                assert_eq!(asked, figure);
                0.0
            });
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("p99", "no < or >"),
            ("p98>5ms", "p98"),
            ("p99>5", "5ms"),
            ("p99>5h", "5ms"),
            ("rate<1k", "without a unit"),
            ("errors>", "without a unit"),
            ("errors>-1", "without a unit"),
            (">5", "figure"),
            ("p99=5ms", "no < or >"),
        ] {
            let error = Threshold::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
