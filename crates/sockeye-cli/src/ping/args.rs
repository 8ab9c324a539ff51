//! The options of `sockeye ping`.

use std::time::Duration;

use clap::Args;

use crate::options::client::ClientArgs;
use crate::options::compress::CompressArgs;
use crate::units::{parse_size, parse_some_time, whole};

#[derive(Args, Debug)]
pub(crate) struct Ping {
    /// Server to connect to, such as ws://127.0.0.1:7681/
    pub(crate) url: String,

    /// Stop after N pings on each connection [default: until Ctrl-C]
    #[arg(short = 'c', visible_short_alias = 'n', long, value_name = "N",
          value_parser = whole::<u32>(1..=u64::from(u32::MAX)))]
    pub(crate) count: Option<u32>,

    /// Time between pings [default: 1s]
    #[arg(short, long, value_name = "TIME", value_parser = parse_some_time)]
    pub(crate) interval: Option<Duration>,

    /// Size of a ping in bytes: 16 to 125, more with --mirror
    #[arg(short, long, value_name = "SIZE", default_value = "64", value_parser = parse_size)]
    pub(crate) size: u64,

    /// Send text messages instead, to a server that echoes or mirrors them; offers lws-mirror-protocol
    #[arg(long)]
    pub(crate) mirror: bool,

    /// Send the next ping at each reply, and at least a hundred per second; prints a dot per ping and erases it at the reply
    #[arg(short, long)]
    pub(crate) flood: bool,

    /// Number of connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u32>(1..=65_536))]
    pub(crate) connections: u32,

    /// How long to wait for the last replies
    #[arg(short = 'W', long, value_name = "TIME", default_value = "5s", value_parser = parse_some_time)]
    pub(crate) timeout: Duration,

    /// Write each reply, and the statistics, as a JSON object on a line
    #[arg(short, long)]
    pub(crate) json: bool,

    /// Show only the statistics
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) compress: CompressArgs,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// What follows the options in `--help`.
pub(crate) fn long_help() -> String {
    format!("{EXAMPLES}\n{SCHEMA}")
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  sockeye ping ws://127.0.0.1:9001/                  once a second; Ctrl-C shows the statistics
  sockeye ping ws://127.0.0.1:9001/ -c 3 -i 0.2      three times
  sockeye ping ws://127.0.0.1:7681/ --mirror -s 1000 with mirrored messages of 1000 bytes
  sockeye ping ws://127.0.0.1:9001/ --mirror --compress
                                                     what compression costs; only messages are compressed
  sockeye ping ws://127.0.0.1:9001/ -f -c 1000 --connections 10
                                                     as fast as the replies arrive, on ten connections

Exit status: 0 at least one reply, 1 no reply or a general failure, 2 usage, 3 not resolved or not connected, 4 TLS failed, 5 the server refused the handshake, 6 a protocol error or a lost connection, 124 connecting timed out.
";

pub(crate) const SCHEMA: &str = "\
With --json each line of standard output is an object. A reply has event (reply), connection, seq, bytes, time_ms (null \
for a duplicate) and duplicate. The last object has event (statistics), url, connections, transmitted, received, \
duplicates, loss_percent, elapsed_ms, and rtt_ms with min, avg, max and mdev, or null when no reply.";
