//! The options of `sockeye echo`.

use clap::Args;

use crate::options::server::{Port, ServerArgs};
use crate::units::{parse_size, whole};

#[derive(Args, Clone, Debug)]
pub(crate) struct Echo {
    /// Port to listen on; 0 picks a free one [default: 9001]
    #[arg(short, long, value_parser = whole::<u16>(0..=65_535))]
    pub(crate) port: Option<u16>,

    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// Largest message accepted, such as 16M or 64KiB; a larger one is refused with 1009
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = parse_size)]
    pub(crate) max_message: u64,

    /// Send messages that begin with PREFIX to every connection instead of back
    #[arg(long, value_name = "PREFIX")]
    pub(crate) broadcast: Option<String>,
}

impl Echo {
    pub(crate) fn port(&self) -> Port {
        Port { given: self.port, default: 9001 }
    }
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  sockeye echo                               on ws://127.0.0.1:9001/
  sockeye echo --port 0 --max-message 64KiB  any free port, messages of at most 64 KiB
  sockeye echo --broadcast 'all:'            `all:hello` goes to every connection
  sockeye echo --compress                    compress messages for clients that offer it
  sockeye echo --interface unix:/tmp/echo --unix-mode 660
                                             on a Unix socket, for this user and group

Ctrl-C (SIGINT) and SIGTERM close the connections with 1001 and stop the server; a second one ends it at once. SIGHUP reopens \
the log file and reads certificates again, SIGUSR1 logs the statistics.

When systemd passes sockets, the server uses these instead of 127.0.0.1, and notifies systemd when it is ready.";
