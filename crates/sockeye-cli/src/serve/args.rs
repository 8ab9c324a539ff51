//! The options of `sockeye serve`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::options::server::{Port, ServerArgs};
use crate::options::topics::TopicsArgs;
use crate::units::whole;

#[derive(Args, Clone, Debug)]
pub(crate) struct Serve {
    /// Folder to serve instead of the page
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,

    /// Port to listen on; 0 picks a free one [default: 7681]
    #[arg(short, long, value_parser = whole::<u16>(0..=65_535))]
    pub(crate) port: Option<u16>,

    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// Serve files and folders whose name begins with a dot, too
    ///
    /// Without this option they are answered with 404, since files such as `.env` and `.git` are rarely meant to be public.
    /// `/.well-known/` is always served.
    #[arg(long, requires = "dir")]
    pub(crate) dot_files: bool,

    /// Close each counter with 1000 after 50 messages, and mirror nothing
    #[arg(long)]
    pub(crate) close_test: bool,

    #[command(flatten)]
    pub(crate) topics: TopicsArgs,
}

impl Serve {
    pub(crate) fn port(&self) -> Port {
        Port { given: self.port, default: 7681 }
    }
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  sockeye serve                              the page, on http://127.0.0.1:7681/
  sockeye serve --interface 0.0.0.0          the same for the whole network: draw together
  sockeye serve --interface ::               with IPv6 as well (IPv6 only: --ipv6-only)
  sockeye serve public --port 8080           the files of the folder `public`
  sockeye serve --origin https://example.com pages of that site may connect too
  sockeye serve --interface eth0 --host box.lan
                                             also as http://box.lan:7681/
  sockeye serve --threads 0                  on every core, with one canvas
  sockeye serve --compress                   compress messages for clients that offer it
  sockeye serve --topics                     a hub of topics; the token for publishing is printed
  sockeye serve --topics --open-publish      anybody may publish; open /topics.html
  sockeye serve --topics --backplane redis://10.0.0.5
                                             several servers as one, with Redis between them
  sockeye serve --tls-self-signed            with TLS: https://127.0.0.1:7681/
  sockeye serve --tls-cert cert.pem --tls-key key.pem
                                             with a certificate of your own

Ctrl-C (SIGINT) and SIGTERM close the connections with 1001 and stop the server; a second one ends it at once. SIGHUP reopens \
the log file and reads certificates again, SIGUSR1 logs the statistics.

When systemd passes sockets, the server uses these instead of 127.0.0.1, and notifies systemd when it is ready.";
