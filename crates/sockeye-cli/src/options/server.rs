//! The options of every server of this command.

use std::num::NonZeroUsize;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueHint};
use sockeye::service::PeerSet;
use sockeye::{Builder, Service};

use crate::failure::Failure;
use crate::options::admission::Admission;
use crate::options::compress::CompressArgs;
use crate::options::daemon::DaemonArgs;
use crate::options::listening::Listening;
use crate::options::logging::Logging;
use crate::options::tls::ServerTlsArgs;
use crate::units::parse_size;

#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) listening: Listening,

    /// Web origin whose pages may connect too, such as https://example.com (repeatable)
    ///
    /// Pages of this server may always connect; pages of other sites are refused with 403. Programs that are not browsers
    /// send no origin and may connect unless --require-origin is given.
    #[arg(id = "origin", long = "origin", value_name = "ORIGIN", value_hint = ValueHint::Url)]
    pub(crate) origins: Vec<String>,

    /// Refuse WebSocket clients that send no origin, as programs that are not browsers do
    #[arg(long, conflicts_with = "any_origin")]
    pub(crate) require_origin: bool,

    #[command(flatten)]
    pub(crate) admission: Admission,

    /// Most connections at one time; others wait to be accepted [default: what the descriptor limit allows]
    #[arg(long, value_name = "N", value_parser = parse_connections)]
    pub(crate) max_connections: Option<NonZeroUsize>,

    /// Most memory held for all clients together, such as 256M [default: 1G]
    ///
    /// Counted are incomplete messages and requests, and output that waits. Beyond it, the connections for which most is held
    /// are closed: 1013 for a WebSocket, 503 for a request.
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    pub(crate) max_memory: Option<usize>,

    /// Number of threads that serve connections; 0 means one per core
    ///
    /// The kernel distributes the connections among them. A Unix socket cannot be shared by several threads.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(0..=THREADS))]
    pub(crate) threads: usize,

    /// Trusted proxies that send PROXY protocol headers, such as 10.0.0.0/8, ::1 or unix (repeatable)
    ///
    /// Each of their connections must begin with a header of the PROXY protocol, version 1 or 2; one without is closed. From
    /// then on the address in the header counts as the client's, in logs too. `unix` means all peers of Unix sockets. A header
    /// from any other peer is a bad request.
    #[arg(long = "proxy-protocol", value_name = "NETWORK")]
    pub(crate) proxies: Vec<PeerSet>,

    /// Serve counters for Prometheus on this path, such as /metrics [default: off]
    ///
    /// Every client can read them. With --threads they are the sum of all threads, at most a second old.
    #[arg(long, value_name = "PATH", value_parser = parse_path)]
    pub(crate) metrics: Option<String>,

    #[command(flatten)]
    pub(crate) compress: CompressArgs,

    #[command(flatten)]
    pub(crate) tls: ServerTlsArgs,

    #[command(flatten)]
    pub(crate) logging: Logging,

    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
}

impl ServerArgs {
    /// What every server of this command is built from: its proxies, its compression, and who may connect.
    ///
    /// # Errors
    /// A text that is not an origin: exit code 2.
    pub(crate) fn builder(&self) -> Result<Builder, Failure> {
        let builder = Service::builder().proxy_protocol(self.proxies.iter().copied());
        let builder = builder.compression(self.compress.compression());
        self.admission.apply(builder, &self.origins, self.require_origin)
    }
}

/// The port from the command line, if given, and the default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) given: Option<u16>,
    pub(crate) default: u16,
}

impl Port {
    pub(crate) fn number(self) -> u16 {
        self.given.unwrap_or(self.default)
    }
}

fn parse_path(text: &str) -> Result<String, &'static str> {
    // Routes are compared with decoded paths, so a path that could be written in two ways is refused.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    let steps = text.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."));
    if text.starts_with('/') && text.chars().all(plain) && !steps {
        return Ok(text.to_owned());
    }
    Err("write a path of letters, digits, `-`, `.`, `_` and `~` that begins with a slash, such as /metrics")
}

fn parse_memory(text: &str) -> Result<usize, String> {
    let size = parse_size(text)?;
    if size < LEAST_MEMORY as u64 {
        return Err("it must be at least 1M".to_owned());
    }
    usize::try_from(size).map_err(|_| "it is larger than the memory that a process can have".to_owned())
}

fn parse_connections(text: &str) -> Result<NonZeroUsize, &'static str> {
    let number = text.parse::<usize>().map_err(|_| "write a number, such as 1000")?;
    NonZeroUsize::new(number).ok_or("0 would refuse every client; omit the option for what the descriptor limit allows")
}

/// The library's limit.
const THREADS: u64 = 1024;

/// The least that one thread can be given.
pub(crate) const LEAST_MEMORY: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metrics_path_has_one_spelling() {
        for path in ["/metrics", "/a/b.c"] {
            assert_eq!(parse_path(path), Ok(path.to_owned()));
        }
        for path in ["metrics", "/", "/a/", "/a//b", "/a/../b", "/a?b", "/a b", "/%61"] {
            assert!(parse_path(path).is_err(), "{path}");
        }
    }
}
