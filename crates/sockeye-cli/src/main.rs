//! The `sockeye` command.
//!
//! From top to bottom:
//!
//! * [`args`] lists the subcommands. Each has a folder with its `args`: the servers [`serve`] and [`echo`], the clients
//!   [`connect`], [`publish`], [`ping`] and [`mod@bench`], and [`fraggle`], which is either; [`manual`] prints completions and man pages.
//! * [`server`] runs the servers: it opens the listeners, prints where they are, and stops on signals. [`background`] turns
//!   the process into a daemon first.
//! * [`options`] has the options that several subcommands share, [`interface`] the addresses behind `--interface`.
//! * [`stop`] and [`signals`] handle signals, [`stdout`] writes standard output without blocking the loop, [`log`] writes the
//!   log. [`failure`] becomes the exit code.
#![forbid(unsafe_code)]
#![allow(rustdoc::bare_urls, reason = "the doc comments of options are the text of --help")]

#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
compile_error!("one of the features tls-aws-lc and tls-ring is needed");

mod args;
mod background;
mod bench;
mod connect;
mod echo;
mod ending;
mod failure;
mod figures;
mod fraggle;
mod interface;
mod log;
mod manual;
mod options;
mod ping;
mod publish;
mod random;
mod ratio;
mod serve;
mod server;
mod signals;
mod stdout;
mod stop;
mod units;

use std::process::ExitCode;

use clap::CommandFactory;
use signal_hook::consts::SIGINT;
use signal_hook::low_level::emulate_default_handler;
use sockeye::log::escape;

use crate::args::{Arguments, Command};
use crate::background::Background;
use crate::failure::{Failure, INTERRUPTED};
use crate::options::client::ClientArgs;
use crate::options::logging::{LogLevel, Logging};

fn main() -> ExitCode {
    let code = match Arguments::read().command {
        // A daemon forks before the process has any thread or descriptor of its own.
        Command::Serve(mut serve) => {
            let background = Background::enter(&mut serve.server, serve.dir.as_mut());
            run_server(background, &serve.server.logging, |background| serve::run(&serve, background))
        }
        Command::Echo(mut echo) => {
            let background = Background::enter(&mut echo.server, None);
            run_server(background, &echo.server.logging, |background| echo::run(&echo, background))
        }
        Command::Connect(connect) => run(client_level(&connect.client, connect.quiet), || connect::run(&connect)),
        Command::Ping(ping) => run(client_level(&ping.client, ping.quiet), || ping::run(&ping)),
        Command::Publish(publish) => run(client_level(&publish.client, publish.quiet), || publish::run(&publish)),
        Command::Bench(bench) => run(bench.client.log_level, || bench::run(&bench)),
        Command::Fraggle(fraggle) => run(fraggle.client.log_level, || fraggle::run(&fraggle)),
        Command::Completions(completions) => {
            run(LogLevel::Err, || manual::print_completions(Arguments::command(), completions.shell))
        }
        Command::Man(man) => run(LogLevel::Err, || manual::write_pages(Arguments::command(), &man.out)),
    };
    log::flush();
    code
}

/// Runs a server, unless this is the process that only started it in the background.
fn run_server(
    background: Result<Option<Background>, Failure>,
    logging: &Logging,
    serve: impl FnOnce(&mut Background) -> Result<(), Failure>,
) -> ExitCode {
    let mut background = match background {
        Ok(Some(background)) => background,
        Ok(None) => return ExitCode::SUCCESS,
        Err(failure) => return report(&failure),
    };
    match log::start(logging).and_then(|()| serve(&mut background)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if background.failed(&failure) => ExitCode::from(failure.code),
        Err(failure) => report(&failure),
    }
}

/// Runs a command that logs for people, on standard error.
fn run(level: LogLevel, act: impl FnOnce() -> Result<(), Failure>) -> ExitCode {
    match log::start(&Logging::plain(level)).and_then(|()| act()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

/// The level of a client's log: `--quiet` leaves warnings out.
fn client_level(client: &ClientArgs, quiet: bool) -> LogLevel {
    if quiet && client.log_level == LogLevel::Warn { LogLevel::Err } else { client.log_level }
}

/// Prints why the command failed.
fn report(failure: &Failure) -> ExitCode {
    if failure.code == INTERRUPTED {
        // Its editor has given the terminal back by now.
        log::flush();
        let _ = emulate_default_handler(SIGINT);
        return ExitCode::from(failure.code);
    }
    log::print(&format!("sockeye: {}\n", escape(&failure.message)));
    // Standard error may have no reader, so the log gets it too.
    if log::is_elsewhere() {
        tracing::error!("{}", failure.message);
    }
    ExitCode::from(failure.code)
}
