//! The options of `sockeye bench`.

use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint, value_parser};

use crate::bench::sizes::Sizes;
use crate::bench::threshold::Threshold;
use crate::target::Target;
use crate::units::{parse_some_time, parse_span};

#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// Server, such as ws://127.0.0.1:9001/
    #[arg(value_hint = ValueHint::Url)]
    pub(crate) url: String,

    /// What is measured
    #[arg(short, long, value_name = "MODE", default_value = "echo")]
    pub(crate) mode: Mode,

    /// Connections at one time
    #[arg(short, long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,

    /// Connections opened in a second [default: as many as it goes, 128 of them under way at a time]
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    pub(crate) ramp: Option<f64>,

    /// Messages under way on each connection at a time
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=65_536))]
    pub(crate) pipeline: u32,

    /// Messages a second over all connections, whatever has been answered
    ///
    /// Each message is due at its moment, and its latency counts from there: a server that stalls is seen by every message
    /// that was due meanwhile. While it waits for the next moment the command keeps its core busy.
    #[arg(short, long, value_name = "N", conflicts_with = "pipeline", value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,

    /// Bytes of a message, or sizes with their shares: 20:90%,16K:9%,1M:1%
    #[arg(short, long, value_name = "SIZE", default_value = "20", value_parser = Sizes::parse)]
    pub(crate) size: Sizes,

    /// Send text instead of binary messages
    #[arg(short, long)]
    pub(crate) text: bool,

    /// How long it is measured
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = parse_some_time)]
    pub(crate) duration: Duration,

    /// End after so many messages, or handshakes, instead
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration", value_parser = value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Time before it is measured [default: 1s; none with --count, or in mode idle]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub(crate) warm_up: Option<Duration>,

    /// Time without any answer after which those that are missing are given up
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_some_time)]
    pub(crate) grace: Duration,

    /// Number that decides the messages; the same number sends the same again [default: another one each time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Print one JSON object instead of lines
    #[arg(long)]
    pub(crate) json: bool,

    /// End with 7 if this holds, such as 'p99>5ms', 'rate<1000' or 'errors>0' (repeatable)
    ///
    /// Figures: p50, p90, p99, p99.9, max and mean with a time in ns, us, ms or s; rate, messages and errors with a number.
    /// Comparisons: > >= < <=.
    #[arg(long = "fail-if", value_name = "CONDITION", value_parser = Threshold::parse)]
    pub(crate) thresholds: Vec<Threshold>,

    #[command(flatten)]
    pub(crate) target: Target,
}

impl Bench {
    pub(crate) fn warm_up(&self) -> Duration {
        let cold = self.count.is_some() || self.mode == Mode::Idle;
        let usual = if cold { Duration::ZERO } else { Duration::from_secs(1) };
        self.warm_up.unwrap_or(usual)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Mode {
    /// Messages that a server sends back: every answer is compared with what was sent
    Echo,
    /// Handshakes: connect, upgrade, close, again
    Handshake,
    /// Connections that are opened and held
    Idle,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Handshake => "handshake",
            Self::Idle => "idle",
        }
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match text.parse::<f64>().ok().filter(|_| plain) {
        Some(rate) if rate > 0.0 && rate <= 1e9 => Ok(rate),
        _ => Err("write how many in a second: 1000, 0.5".to_owned()),
    }
}

pub(super) const EXAMPLES: &str = "\
Examples:
  sockeye bench ws://127.0.0.1:9001/                   50 connections, one message each, for 10 s
  sockeye bench ws://127.0.0.1:9001/ -c 200 -p 16      16 messages under way on each of 200
  sockeye bench ws://127.0.0.1:9001/ --rate 5000 --fail-if 'p99>5ms'
                                                       5000 a second; ends with 7 if it is slow
  sockeye bench ws://127.0.0.1:9001/ -s 20:90%,16K:9%,1M:1% -n 100000 --json
                                                       small and large, figures for a program
  sockeye bench ws://127.0.0.1:9001/ --mode handshake  handshakes a second
  sockeye bench ws://127.0.0.1:9001/ --mode idle -c 9000 --ramp 1000 -d 60s
                                                       hold 9000 connections

The server has to send every message back, as `sockeye echo` does. One wrong answer, and there are no figures: it ends with 6.
Ctrl-C ends the measuring; what was measured until then is shown.

Exit status: 0 measured, 1 something failed, 2 usage, 3 not resolved or not connected, 4 TLS, 5 the server refused the \
handshake, 6 a wrong answer, none at all, or fewer than --count, 7 a --fail-if holds, 124 connecting took too long. One \
connection that is not opened is enough for its 1, 3, 5, 6 or 124, behind the figures of the others.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!((parse_rate("1000"), parse_rate("0.5")), (Ok(1000.0), Ok(0.5)));
        for text in ["", "0", "-1", "1e3", "inf", "nan", "1k", "99999999999"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }
}
