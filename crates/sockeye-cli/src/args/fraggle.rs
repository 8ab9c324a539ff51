//! The options of `sockeye fraggle`.

use clap::{Args, ValueHint, value_parser};

use crate::args::admission::Admission;
use crate::args::listening::Listening;
use crate::args::logging::Logging;
use crate::args::standing::Standing;
use crate::args::{Common, Port};
use crate::target::Target;

#[derive(Args, Debug)]
pub(crate) struct Fraggle {
    /// Server whose messages are checked; without it, this is the server
    #[arg(value_hint = ValueHint::Url, conflicts_with_all = ["port", "Listening", "Admission", "seed"])]
    pub(crate) url: Option<String>,

    /// Port to listen on; 0 takes a free one [default: 7681]
    #[arg(short, long)]
    pub(crate) port: Option<u16>,

    #[command(flatten)]
    pub(crate) listening: Listening,

    #[command(flatten)]
    pub(crate) admission: Admission,

    /// Messages after which it ends, over all connections [default: as many as there are]
    #[arg(short = 'n', long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Number that decides what the server says; the same number says the same again [default: another one each time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    #[command(flatten)]
    pub(crate) target: Target,
}

impl Fraggle {
    pub(crate) fn port(&self) -> Port {
        Port { given: self.port, standard: 7681 }
    }

    /// What the server has in common with the others. The two sets of options share a name, so they cannot be side by side.
    pub(crate) fn common(&self) -> Common {
        Common {
            proxies: Vec::new(),
            metrics: None,
            listening: self.listening.clone(),
            admission: self.admission.clone(),
            // Of a client it is the one to claim, and of a server the one to admit.
            origins: self.target.origin.iter().cloned().collect(),
            require_origin: false,
            max_connections: None,
            threads: 1,
            logging: Logging::plain(self.target.log_level),
            standing: Standing::default(),
        }
    }
}

pub(super) const EXAMPLES: &str = "\
Examples:
  sockeye fraggle                                 serve, on ws://127.0.0.1:7681/
  sockeye fraggle --port 0 --seed 1 --count 1000  any free port, 1,000 messages, always the same
  sockeye fraggle ws://127.0.0.1:7681/ -n 1000    check a thousand messages of a server

A message has 1 to 1024 fragments of 1 to 2000 random bytes each; a second message holds their sum in 4 bytes. The client \
ends with 0 when all sums were right, and with 6 when one was wrong or a message had another form.";
