//! The options of `sockeye ping`.

use std::time::Duration;

use clap::Args;

use crate::target::Target;
use crate::units::{parse_size, parse_some_time};

#[derive(Args, Debug)]
pub(crate) struct Ping {
    /// Where to connect, such as ws://127.0.0.1:7681/
    pub(crate) url: String,

    /// Stop after so many pings on each connection [default: at Ctrl-C]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: Option<u32>,

    /// Time between pings [default: 1s]
    #[arg(short, long, value_name = "TIME", value_parser = parse_some_time)]
    pub(crate) interval: Option<Duration>,

    /// Bytes of a ping: 16 to 125, with --mirror more
    #[arg(short, long, value_name = "SIZE", default_value = "64", value_parser = parse_size)]
    pub(crate) size: u64,

    /// Ping by text messages, to a server that echoes or mirrors them; lws-mirror-protocol is offered
    #[arg(short, long)]
    pub(crate) mirror: bool,

    /// Ping again at each reply, and a hundred times a second in any case; a dot for each ping, taken back by its reply
    #[arg(short, long)]
    pub(crate) flood: bool,

    /// Ping on so many connections at a time
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) connections: u32,

    /// Wait so long for the replies to the last pings
    #[arg(short = 'W', long, value_name = "TIME", default_value = "5s", value_parser = parse_some_time)]
    pub(crate) timeout: Duration,

    /// Write each reply, and the statistics, as a JSON object, a line each
    #[arg(short, long)]
    pub(crate) json: bool,

    /// Show the statistics only
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) target: Target,
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  sockeye ping ws://127.0.0.1:9001/                  once a second; Ctrl-C shows the statistics
  sockeye ping ws://127.0.0.1:9001/ -c 3 -i 0.2      three times
  sockeye ping ws://127.0.0.1:7681/ --mirror -s 1000 by messages of 1000 bytes that are mirrored
  sockeye ping ws://127.0.0.1:9001/ -f -c 1000 -n 10 as fast as the replies come, on ten connections

Exit status: 0 if there was a reply, 1 if there was none, 2 usage, 3 not resolved or not connected, 4 TLS, 5 the server \
refused the handshake, 6 a protocol error, or the connection was lost, 124 connecting took too long.
";

pub(crate) const SCHEMA: &str = "\
With --json each line of standard output is an object. A reply has event (reply), connection, seq, bytes, time_ms (null \
for a duplicate) and duplicate. The last one has event (statistics), url, connections, transmitted, received, \
duplicates, loss_percent, elapsed_ms, and rtt_ms with min, avg, max and mdev, or null when there was no reply.";
