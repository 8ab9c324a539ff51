//! The options of `sockeye publish`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::connect::encoding::Encoding;
use crate::connect::lines::Framing;
use crate::options::client::ClientArgs;
use crate::options::token::TokenArgs;
use crate::units::{parse_size, parse_some_time};

#[derive(Args, Debug)]
pub(crate) struct Publish {
    /// Hub to connect to, such as ws://127.0.0.1:7681/
    pub(crate) url: String,

    /// Topic to publish to
    pub(crate) topic: String,

    /// Message to publish; without it each line of standard input is one
    #[arg(allow_hyphen_values = true, conflicts_with = "file")]
    pub(crate) message: Option<String>,

    /// Publish what is in this file, as one message
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,

    /// Key of the messages: while one waits for a slow reader, a newer one with the same key replaces it
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub(crate) message_key: Option<String>,

    /// Publish binary messages, which are written in this encoding
    ///
    /// `raw` with --file or --framing all publishes any bytes.
    #[arg(short, long, value_name = "ENCODING")]
    pub(crate) binary: Option<Encoding>,

    /// Where a message of standard input ends [default: lines, or blocks with --binary raw]
    #[arg(long, value_name = "FRAMING")]
    framing: Option<Framing>,

    /// Same as --framing nul: messages end with a NUL byte
    #[arg(short = '0', long = "null", conflicts_with = "framing")]
    null: bool,

    /// Longest time without an answer of the hub, with exit status 124
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = parse_some_time)]
    pub(crate) timeout: Duration,

    /// Write each answer of the hub as a JSON object on a line
    #[arg(short, long)]
    pub(crate) json: bool,

    /// Show only failures
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Largest message that is published, such as 16M or 64KiB
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = parse_size)]
    pub(crate) max_message: u64,

    #[command(flatten)]
    pub(crate) token: TokenArgs,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

impl Publish {
    pub(crate) fn framing(&self) -> Framing {
        let usual = if self.binary == Some(Encoding::Raw) { Framing::Blocks } else { Framing::Lines };
        if self.null { Framing::Nul } else { self.framing.unwrap_or(usual) }
    }
}

/// What follows the options in `--help`.
pub(crate) fn long_help() -> String {
    format!("{EXAMPLES}\n{SCHEMA}")
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  sockeye publish ws://127.0.0.1:7681/ news 'it rains' --token-file token
  SOCKEYE_TOKEN=secret sockeye publish ws://127.0.0.1:7681/ news 'it rains'
  tail -f log | sockeye publish ws://127.0.0.1:7681/ log
                                                     each line is a message
  sockeye publish ws://127.0.0.1:7681/ order --file order.json
                                                     a file as one message
  sockeye publish ws://127.0.0.1:7681/ picture --file a.png --binary raw
  sockeye publish ws://127.0.0.1:7681/ price 12.50 --message-key gold

A message is published once the hub has said so: it is in the topic, and other servers have been sent it. The first one that is \
refused ends the command; those behind it are not sent, or are answered, too.

Exit status: 0 all are published, 1 general failure, 2 usage, 3 not resolved or not connected, 4 TLS failed, 5 the server refused \
the handshake, the token or a message, 6 a protocol error, or the connection was lost before an answer: the message may have reached \
all subscribers, some or none, 124 timed out.
";

pub(crate) const SCHEMA: &str = "\
With --json each line of standard output is an object with event (published, unknown or refused), message (the number of the \
message, from 1), and: published has epoch and offset, or null if the hub does not know them; unknown has reason; refused has \
code and reason.";
