//! The command line: its subcommands. What each accepts is in its own `args`; what several have in common is in
//! [`options`](crate::options). [`tips`] has what is said beside clap's words.

mod tips;

use clap::{Parser, Subcommand};

use crate::bench::args::{self as bench, Bench};
use crate::connect::args::{self as connect, Connect};
use crate::echo::args::{self as echo, Echo};
use crate::fraggle::args::{self as fraggle, Fraggle};
use crate::manual::args::{self as manual, Completions, Man};
use crate::ping::args::{self as ping, Ping};
use crate::publish::args::{self as publish, Publish};
use crate::serve::args::{self as serve, Serve};

/// WebSockets from the command line
#[derive(Debug, Parser)]
#[command(name = "sockeye", version, arg_required_else_help = true, after_help = EXIT_STATUS)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// What the command line says. One that cannot be used ends the process with 2.
    pub(crate) fn read() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let line: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
            tips::with_tip(error, &line).exit()
        })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a page with a counter and a shared canvas, or the files of a folder
    ///
    /// Without DIR, serves a page that shows dumb-increment-protocol (a counter, every 50 ms) and lws-mirror-protocol (a
    /// shared drawing canvas). With DIR, serves those files and the same two protocols.
    #[command(after_help = serve::EXAMPLES)]
    Serve(Serve),
    /// Send every message back unchanged
    ///
    /// Accepts any path and any subprotocol, or none. Conformance suites and benchmarks use it.
    #[command(after_help = echo::EXAMPLES)]
    Echo(Echo),
    /// Talk to a server: at a terminal, in a pipe, or in a script that checks the answers
    ///
    /// Each line typed, or read from standard input, is sent as a message. Messages that arrive are shown.
    #[command(after_help = connect::EXAMPLES, after_long_help = connect::long_help())]
    Connect(Box<Connect>),
    /// Publish messages to a topic of a hub
    ///
    /// A hub is what `sockeye serve --topics` is, or any other server of sockeye.topics.v1. Each message waits for the answer of the hub.
    #[command(after_help = publish::EXAMPLES, after_long_help = publish::long_help())]
    Publish(Box<Publish>),
    /// Measure round trips to a server
    ///
    /// Uses ping frames, which every WebSocket server answers, or messages to a server that sends them back.
    #[command(after_help = ping::EXAMPLES, after_long_help = ping::long_help())]
    Ping(Box<Ping>),
    /// Put load on an echo server, and measure it
    ///
    /// Compares every answer with what was sent. Percentiles come from an HDR histogram, accurate to 0.1 %.
    #[command(after_help = bench::EXAMPLES)]
    Bench(Box<Bench>),
    /// Send or verify random fragmented messages with checksums
    ///
    /// Without URL, a server of fraggle-protocol; with URL, a client that verifies what such a server sends.
    #[command(after_help = fraggle::EXAMPLES)]
    Fraggle(Box<Fraggle>),
    /// Print shell completions
    ///
    /// They complete subcommands, options and their values.
    #[command(after_help = manual::COMPLETIONS_EXAMPLES)]
    Completions(Completions),
    /// Write the man pages to a folder
    ///
    /// For packagers.
    #[command(hide = true)]
    Man(Man),
}

const EXIT_STATUS: &str = "\
Exit status: 0 success, 1 general failure, 2 a command line, address or folder that cannot be used, 3 not resolved or not \
connected, 4 TLS failed, 5 the server refused the handshake, 6 a protocol error, a wrong answer or an \
abnormal close, 7 an expectation or threshold was not met, 124 timed out. A second SIGINT or SIGTERM ends the process at \
once, by that signal.";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory;

    use super::*;
    use crate::options::logging::LogLevel;

    #[test]
    fn the_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }

    /// People who know `-n` from one subcommand write it to another: it must not mean something else there.
    #[test]
    fn a_short_option_has_one_meaning_in_all_subcommands() {
        let mut root = Arguments::command();
        root.build();
        let mut meanings: BTreeMap<char, (String, String)> = BTreeMap::new();
        for command in std::iter::once(&root).chain(root.get_subcommands()) {
            for option in command.get_arguments() {
                let Some(letters) = option.get_short_and_visible_aliases() else { continue };
                let long = option.get_long().unwrap_or_else(|| panic!("{}: {letters:?} alone", command.get_name()));
                for letter in letters {
                    let this = (long.to_owned(), command.get_name().to_owned());
                    let (before, place) = meanings.entry(letter).or_insert_with(|| this.clone()).clone();
                    assert_eq!(before, long, "-{letter} of {place} and of {}", command.get_name());
                }
            }
        }
        assert!(meanings.len() > 10, "{meanings:?}");
    }

    #[test]
    fn serve_has_the_defaults_of_the_libwebsockets_test_server() {
        let arguments = Arguments::try_parse_from(["sockeye", "serve"]).unwrap();
        let Command::Serve(serve) = arguments.command else { panic!("not serve") };
        assert_eq!((serve.port().number(), serve.dir, serve.close_test), (7681, None, false));
        assert_eq!(serve.server.logging.level, LogLevel::Notice);
        assert!(serve.server.listening.interfaces.is_empty());
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
        let line = ["sockeye", "echo", "--interface", "::1", "--interface", "lo", "--interface", "unix:/tmp/x"];
        let arguments = Arguments::try_parse_from(line).unwrap();
        let Command::Echo(echo) = arguments.command else { panic!("not echo") };
        assert_eq!(echo.server.listening.interfaces.len(), 3);
        assert_eq!((echo.port().number(), echo.max_message), (9001, 16 << 20));
    }

    #[test]
    fn a_misspelt_value_and_a_missing_companion_are_usage_errors() {
        for option in [&["--log-to", "journald"][..], &["--dot-files"]] {
            let line = ["sockeye", "serve"].iter().chain(option);
            assert_eq!(Arguments::try_parse_from(line).unwrap_err().exit_code(), 2, "{option:?}");
        }
    }
}
