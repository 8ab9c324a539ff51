//! The options of `sockeye bench`.

use std::time::Duration;

use clap::builder::ArgPredicate;
use clap::{Args, ValueEnum, ValueHint};

use crate::bench::sizes::Sizes;
use crate::bench::threshold::Threshold;
use crate::options::client::ClientArgs;
use crate::options::compress::CompressArgs;
use crate::units::{parse_some_time, parse_span, whole};

#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// Server, such as ws://127.0.0.1:9001/
    #[arg(value_hint = ValueHint::Url)]
    pub(crate) url: String,

    /// What to measure
    #[arg(short, long, value_name = "MODE", default_value = "echo")]
    pub(crate) mode: Mode,

    /// Resume the TLS session of an earlier connection in each handshake; without it every handshake is a full one
    ///
    /// For --mode handshake and wss:// only. Each connection that is under way at a time resumes its own sessions, so the first
    /// of each are full; the report counts both kinds. A server that resumes none is a failure.
    #[arg(long)]
    pub(crate) resume: bool,

    /// Number of connections
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = whole::<u32>(1..=1_000_000))]
    pub(crate) connections: u32,

    /// Connections to open per second [default: as fast as possible, 128 at a time]
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    pub(crate) ramp: Option<f64>,

    /// Messages in flight on each connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u32>(1..=65_536))]
    pub(crate) pipeline: u32,

    /// Messages per second over all connections, regardless of answers
    ///
    /// Each message is due at a fixed time, and its latency counts from then: a server that stalls delays every message that is
    /// due meanwhile. The command keeps its core busy while it waits for the next one.
    #[arg(short, long, value_name = "N", conflicts_with = "pipeline", value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,

    /// Size of a message, or sizes with shares: 20:90%,16K:9%,1M:1% [default: 20, or 200 with --compress]
    #[arg(short, long, value_name = "SIZE", default_value = "20", default_value_if("compress", ArgPredicate::IsPresent, "200"),
          hide_default_value = true, value_parser = Sizes::parse)]
    pub(crate) size: Sizes,

    /// Send text instead of binary messages
    ///
    /// Both are random, or with --compress made of JSON, since random messages cannot be compressed.
    #[arg(long)]
    pub(crate) text: bool,

    /// How long to measure
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = parse_some_time)]
    pub(crate) duration: Duration,

    /// Stop after N messages (or handshakes) instead
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration", value_parser = whole::<u64>(1..=u64::MAX))]
    pub(crate) count: Option<u64>,

    /// Time before the measurement [default: 1s; none with --count or in mode idle]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub(crate) warm_up: Option<Duration>,

    /// Time without any answer after which missing answers are given up
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_some_time)]
    pub(crate) grace: Duration,

    /// Seed of the messages; the same seed gives the same messages [default: random]
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0..=u64::MAX))]
    pub(crate) seed: Option<u64>,

    /// Print one JSON object instead of text
    #[arg(short, long)]
    pub(crate) json: bool,

    /// Exit with 7 if this holds, such as 'p99>5ms', 'rate<1000' or 'errors>0' (repeatable)
    ///
    /// Figures: p50, p90, p95, p99, p99.9, max and mean with a time in ns, us, ms or s; rate, messages and errors with a number.
    /// Comparisons: > >= < <=.
    #[arg(long = "fail-if", value_name = "CONDITION", value_parser = Threshold::parse)]
    pub(crate) thresholds: Vec<Threshold>,

    #[command(flatten)]
    pub(crate) compress: CompressArgs,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
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
    /// Messages that the server sends back; every answer is compared with what was sent
    Echo,
    /// Handshakes: connect, upgrade, close, repeat
    Handshake,
    /// Connections that are only opened and held
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
        _ => Err("write a number per second, such as 1000 or 0.5".to_owned()),
    }
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  sockeye bench ws://127.0.0.1:9001/                   50 connections, one message each, for 10 s
  sockeye bench ws://127.0.0.1:9001/ --connections 200 --pipeline 16
                                                       16 messages under way on each of 200
  sockeye bench ws://127.0.0.1:9001/ --rate 5000 --fail-if 'p99>5ms'
                                                       5000 per second; exits with 7 if too slow
  sockeye bench ws://127.0.0.1:9001/ -s 20:90%,16K:9%,1M:1% -n 100000 --json
                                                       mixed sizes, figures for a program
  sockeye bench ws://127.0.0.1:9001/ --compress --text
                                                       messages of JSON, compressed in both directions
  sockeye bench ws://127.0.0.1:9001/ --mode handshake  handshakes per second
  sockeye bench wss://localhost:9001/ --ca-file ca.pem --mode handshake --resume
                                                       those of TLS that resume a session
  sockeye bench ws://127.0.0.1:9001/ --mode idle --connections 9000 --ramp 1000 -d 60s
                                                       hold 9000 connections

The server has to send every message back, as `sockeye echo` does. A single wrong answer ends the run with 6 and without \
figures. Ctrl-C stops the measurement and shows the figures so far.

Exit status: 0 measured, 1 general failure, 2 usage, 3 not resolved or not connected, 4 TLS failed, 5 the server refused the handshake, 6 a wrong answer, no answer, fewer than --count, or no server that compresses in spite of --compress, 7 a --fail-if condition holds, 124 connecting timed out. A \
single connection that fails to open ends with its 1, 3, 4, 5, 6 or 124, after the figures of the others.";

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
