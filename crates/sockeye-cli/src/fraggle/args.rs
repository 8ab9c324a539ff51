//! The options of `sockeye fraggle`.

use clap::{Args, ValueHint};

use crate::options::admission::Admission;
use crate::options::client::ClientArgs;
use crate::options::compress::CompressArgs;
use crate::options::daemon::DaemonArgs;
use crate::options::listening::Listening;
use crate::options::logging::Logging;
use crate::options::server::{Port, ServerArgs};
use crate::options::tls::ServerTlsArgs;
use crate::units::whole;

#[derive(Args, Debug)]
pub(crate) struct Fraggle {
    /// Server whose messages to verify; without it, this command is the server
    #[arg(value_hint = ValueHint::Url, conflicts_with_all = ["port", "Listening", "Admission", "ServerTlsArgs", "seed"])]
    pub(crate) url: Option<String>,

    /// Port to listen on; 0 picks a free one [default: 7681]
    #[arg(short, long, value_parser = whole::<u16>(0..=65_535))]
    pub(crate) port: Option<u16>,

    #[command(flatten)]
    pub(crate) listening: Listening,

    #[command(flatten)]
    pub(crate) admission: Admission,

    /// Stop after N messages, over all connections [default: no limit]
    #[arg(short = 'n', long, value_name = "N", value_parser = whole::<u64>(1..=u64::MAX))]
    pub(crate) count: Option<u64>,

    /// Seed of the messages; the same seed gives the same messages [default: random]
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0..=u64::MAX))]
    pub(crate) seed: Option<u64>,

    #[command(flatten)]
    pub(crate) compress: CompressArgs,

    #[command(flatten)]
    pub(crate) tls: ServerTlsArgs,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

impl Fraggle {
    pub(crate) fn port(&self) -> Port {
        Port { given: self.port, default: 7681 }
    }

    /// The options of the server. They share names with those of the client, so they cannot be flattened beside them.
    pub(crate) fn server(&self) -> ServerArgs {
        ServerArgs {
            proxies: Vec::new(),
            metrics: None,
            listening: self.listening.clone(),
            admission: self.admission.clone(),
            // The client sends this origin; the server admits it.
            origins: self.client.origin.iter().cloned().collect(),
            require_origin: false,
            max_connections: None,
            max_memory: None,
            threads: 1,
            compress: self.compress,
            tls: self.tls.clone(),
            logging: Logging::plain(self.client.log_level),
            daemon: DaemonArgs::default(),
        }
    }
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  sockeye fraggle                                 serve, on ws://127.0.0.1:7681/
  sockeye fraggle --port 0 --seed 1 --count 1000  any free port, 1,000 messages, always the same
  sockeye fraggle ws://127.0.0.1:7681/ -n 1000    verify a thousand messages of a server
  sockeye fraggle ws://127.0.0.1:7681/ --compress
                                                  with compressed fragments, if the server has --compress

A message has 1 to 1024 fragments of 1 to 2000 random bytes each. The message behind it has 4 bytes: their sum. Of a compressed \
message the client sees no fragments, and checks the sum. It \
exits with 0 if all sums were correct, and with 6 if a sum or the form of a message was wrong.";
