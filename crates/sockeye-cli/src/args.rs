//! The command line: what it takes and how it explains itself. Nothing here acts.

pub(crate) mod admission;
pub(crate) mod bench;
pub(crate) mod fraggle;
pub(crate) mod listening;
pub(crate) mod logging;
pub(crate) mod standing;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use sockeye::service::PeerSet;
use sockeye::{Builder, Service};

use self::admission::Admission;
use self::listening::Listening;
use self::logging::Logging;
use self::standing::Standing;
use crate::failure::Failure;
use crate::units::parse_size;
use crate::{connect, ping};

/// WebSockets from the command line.
#[derive(Debug, Parser)]
#[command(name = "sockeye", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a page with a counter and a shared canvas, or the files of a folder
    ///
    /// Without DIR it serves a page that shows dumb-increment-protocol (a counter, every 50 ms) and lws-mirror-protocol
    /// (a shared drawing canvas). With DIR it serves those files and the same two protocols.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Send every message back as it came
    ///
    /// Takes any path and any subprotocol, or none. What conformance suites and benchmarks talk to.
    #[command(after_help = ECHO_EXAMPLES)]
    Echo(Echo),
    /// Talk to a server: at a terminal, in a pipe, or in a script that checks the answers
    ///
    /// What is typed, or comes of standard input, is sent line by line; messages that come are shown.
    #[command(after_help = connect::args::EXAMPLES, after_long_help = connect::long_help())]
    Connect(Box<connect::args::Connect>),
    /// Measure round trips to a server
    ///
    /// By ping frames, which every WebSocket server answers, or by messages to one that sends them back.
    #[command(after_help = ping::args::EXAMPLES, after_long_help = ping::long_help())]
    Ping(Box<ping::args::Ping>),
    /// Load a server that echoes, and measure it
    ///
    /// Every answer is compared with what was sent. Percentiles are of an HDR histogram, good to a thousandth.
    #[command(after_help = bench::EXAMPLES)]
    Bench(Box<bench::Bench>),
    /// Say or check random messages of many fragments, each with its sum
    ///
    /// Without URL it is a server of fraggle-protocol; with one it checks what such a server says.
    #[command(after_help = fraggle::EXAMPLES)]
    Fraggle(Box<fraggle::Fraggle>),
    /// Print completions for a shell
    ///
    /// They complete subcommands, options and their values.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(Completions),
    /// Write the man pages into a folder
    ///
    /// For those who make packages.
    #[command(hide = true)]
    Man(Man),
}

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// Shell that is to complete
    pub(crate) shell: Shell,
}

#[derive(Args, Debug)]
pub(crate) struct Man {
    /// Folder for the pages; it is made if need be
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Serve {
    /// Folder whose files are served instead of the page
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,

    /// Port to listen on; 0 takes a free one [default: 7681]
    #[arg(short, long)]
    pub(crate) port: Option<u16>,

    #[command(flatten)]
    pub(crate) common: Common,

    /// Serve files and folders of DIR whose name begins with a dot as well
    ///
    /// Without it they are answered 404, since `.env`, `.git` and their like are seldom meant for everybody. `/.well-known/`
    /// is always served.
    #[arg(long, requires = "dir")]
    pub(crate) dot_files: bool,

    /// Close each counter with 1000 after 50 messages, and mirror nothing
    #[arg(long)]
    pub(crate) close_test: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Echo {
    /// Port to listen on; 0 takes a free one [default: 9001]
    #[arg(short, long)]
    pub(crate) port: Option<u16>,

    #[command(flatten)]
    pub(crate) common: Common,

    /// Longest message taken, such as 16M or 64KiB; a longer one is refused with 1009
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = parse_size)]
    pub(crate) max_message: u64,

    /// Send messages that begin with PREFIX to every connection instead
    #[arg(long, value_name = "PREFIX")]
    pub(crate) broadcast: Option<String>,
}

/// The port of the command line, if it names one, and the one that is meant otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) given: Option<u16>,
    pub(crate) standard: u16,
}

impl Port {
    pub(crate) fn number(self) -> u16 {
        self.given.unwrap_or(self.standard)
    }
}

impl Serve {
    pub(crate) fn port(&self) -> Port {
        Port { given: self.port, standard: 7681 }
    }
}

impl Echo {
    pub(crate) fn port(&self) -> Port {
        Port { given: self.port, standard: 9001 }
    }
}

/// What every server of this command has.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) listening: Listening,

    /// Web origin whose pages may connect too, such as https://example.com (repeatable)
    ///
    /// Pages of this server may connect, those of other sites are refused with 403. Programs that are not browsers send no
    /// origin: they may connect unless --require-origin is given.
    #[arg(id = "origin", long = "origin", value_name = "ORIGIN", value_hint = ValueHint::Url)]
    pub(crate) origins: Vec<String>,

    /// Refuse WebSocket clients that send no origin, as programs that are not browsers do
    #[arg(long, conflicts_with = "any_origin")]
    pub(crate) require_origin: bool,

    #[command(flatten)]
    pub(crate) admission: Admission,

    /// Connections served at one time; more wait to be accepted [default: as many as the descriptor limit allows]
    #[arg(long, value_name = "N", value_parser = parse_connections)]
    pub(crate) max_connections: Option<NonZeroUsize>,

    /// Threads that serve; 0 takes one for each core
    ///
    /// The system deals the connections out to them. More than one cannot share a Unix socket.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(0..=THREADS))]
    pub(crate) threads: usize,

    /// Proxies that say for whom they connect, such as 10.0.0.0/8, ::1 or unix (repeatable)
    ///
    /// Each of their connections must begin with a header of the PROXY protocol, version 1 or 2, and is closed without
    /// one. The address in it is the client's from then on, in logs too. `unix` stands for whoever connects to a Unix
    /// socket. A header from anybody else is a bad request.
    #[arg(long = "proxy-protocol", value_name = "NETWORK")]
    pub(crate) proxies: Vec<PeerSet>,

    /// Serve counters for Prometheus on this path, such as /metrics [default: no such page]
    ///
    /// Whoever may connect may read them. With --threads they are those of all threads together, at most a second old.
    #[arg(long, value_name = "PATH", value_parser = parse_path)]
    pub(crate) metrics: Option<String>,

    #[command(flatten)]
    pub(crate) logging: Logging,

    #[command(flatten)]
    pub(crate) standing: Standing,
}

impl Common {
    /// What every server of this command is built from: its proxies, and who may connect.
    ///
    /// # Errors
    /// An origin that is not one: exit code 2.
    pub(crate) fn builder(&self) -> Result<Builder, Failure> {
        let builder = Service::builder().proxy_protocol(self.proxies.iter().copied());
        self.admission.apply(builder, &self.origins, self.require_origin)
    }
}

/// The levels of libwebsockets.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogLevel {
    Err,
    Warn,
    Notice,
    Info,
    Debug,
}

fn parse_path(text: &str) -> Result<String, &'static str> {
    // Routes are compared with decoded paths: what could be written in two ways is refused instead.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    let steps = text.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."));
    if text.starts_with('/') && text.chars().all(plain) && !steps {
        return Ok(text.to_owned());
    }
    Err("write a path of letters, digits, `-`, `.`, `_` and `~` that begins with a slash, such as /metrics")
}

fn parse_connections(text: &str) -> Result<NonZeroUsize, &'static str> {
    let number = text.parse::<usize>().map_err(|_| "write a number, such as 1000")?;
    NonZeroUsize::new(number)
        .ok_or("with 0 nobody could connect; leave the option out for as many as the descriptor limit allows")
}

/// More than that the library refuses.
const THREADS: u64 = 1024;

const EXIT_CODES: &str = "\
Exit status: 0 stopped as asked, 1 something failed, 2 the command line, or an address or folder in it, cannot be used, \
3 nothing to connect to, 4 TLS, 5 the server refused the handshake, 6 it broke the protocol, answered wrongly or did not end normally, \
7 what was asked to hold did not, 124 a time was over. A second signal ends it as that signal does.";

const SERVE_EXAMPLES: &str = "\
Examples:
  sockeye serve                              the page, on http://127.0.0.1:7681/
  sockeye serve --interface 0.0.0.0          the same for the whole network: draw together
  sockeye serve --interface ::               for IPv6 too (for it alone with --ipv6-only)
  sockeye serve public --port 8080           the files of the folder `public`
  sockeye serve --origin https://example.com pages of that site may connect too
  sockeye serve --interface eth0 --host box.lan
                                             as http://box.lan:7681/ too, beside its address
  sockeye serve --threads 0                  on every core, with one canvas

Stops on Ctrl-C: connections are closed with 1001. Signals: SIGTERM and SIGINT end it, a second one at once; SIGHUP opens the log file \
anew; SIGUSR1 logs the statistics.

Started by systemd with sockets, it serves these instead of 127.0.0.1, and says when it is ready.";

const ECHO_EXAMPLES: &str = "\
Examples:
  sockeye echo                               on ws://127.0.0.1:9001/
  sockeye echo --port 0 --max-message 64KiB  any free port, messages of 64 KiB at most
  sockeye echo --broadcast 'all:'            `all:hello` goes to every connection
  sockeye echo --interface unix:/tmp/echo --unix-mode 660
                                             on a Unix socket, for this user and group

Stops on Ctrl-C: connections are closed with 1001. Signals: SIGTERM and SIGINT end it, a second one at once; SIGHUP opens the log file \
anew; SIGUSR1 logs the statistics.

Started by systemd with sockets, it serves these instead of 127.0.0.1, and says when it is ready.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  sockeye completions bash > ~/.local/share/bash-completion/completions/sockeye
  sockeye completions fish > ~/.config/fish/completions/sockeye.fish
  sockeye completions zsh > _sockeye         then move it to a folder of $fpath";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn serve_has_the_defaults_of_the_test_server() {
        let arguments = Arguments::try_parse_from(["sockeye", "serve"]).unwrap();
        let Command::Serve(serve) = arguments.command else { panic!("not serve") };
        assert_eq!((serve.port().number(), serve.dir, serve.close_test), (7681, None, false));
        assert_eq!(serve.common.logging.level, LogLevel::Notice);
        assert!(serve.common.listening.interfaces.is_empty());
    }

    #[test]
    fn help_names_the_signals() {
        let mut all = Arguments::command();
        for name in ["serve", "echo"] {
            let subcommand = all.find_subcommand_mut(name).unwrap();
            for help in [subcommand.render_help(), subcommand.render_long_help()] {
                let help = help.to_string();
                for signal in ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"] {
                    assert!(help.contains(signal), "{name}: {help}");
                }
            }
        }
    }

    #[test]
    fn given_interfaces_replace_the_default() {
        let line = ["sockeye", "echo", "--interface", "::1", "--interface", "lo", "-i", "unix:/tmp/x"];
        let arguments = Arguments::try_parse_from(line).unwrap();
        let Command::Echo(echo) = arguments.command else { panic!("not echo") };
        assert_eq!(echo.common.listening.interfaces.len(), 3);
        assert_eq!((echo.port().number(), echo.max_message), (9001, 16 << 20));
    }

    #[test]
    fn a_path_for_metrics_is_one_that_requests_can_have() {
        for path in ["/metrics", "/a/b.c"] {
            assert_eq!(parse_path(path), Ok(path.to_owned()));
        }
        for path in ["metrics", "/", "/a/", "/a//b", "/a/../b", "/a?b", "/a b", "/%61"] {
            assert!(parse_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn what_is_not_built_yet_is_refused() {
        for option in [&["--log-to", "journald"][..], &["--dot-files"]] {
            let line = ["sockeye", "serve"].iter().chain(option);
            assert_eq!(Arguments::try_parse_from(line).unwrap_err().exit_code(), 2, "{option:?}");
        }
    }
}
