//! The `sockeye` command.
//!
//! [`args`] says what can be asked for. [`serve`] and [`echo`] are protocols on a `Service`; [`server`] is what they
//! share: it turns `--interface` into listeners ([`interface`]), says where they are, and stops on signals. [`background`] is
//! what makes a daemon of them. [`log`] writes down what happens, [`failure`] is what ends as an exit code. [`manual`]
//! makes completions and man pages.
//! [`target`] is what the commands that connect have in common, with [`ending`], [`outlet`] and [`stop`].
#![forbid(unsafe_code)]

mod args;
mod background;
mod bench;
mod connect;
mod echo;
mod ending;
mod failure;
mod fraggle;
mod interface;
mod log;
mod manual;
mod outlet;
mod ping;
mod random;
mod serve;
mod server;
mod stop;
mod target;
mod units;

use std::process::ExitCode;

use clap::Parser;

use crate::args::logging::Logging;
use crate::args::{Arguments, Command, LogLevel};
use crate::background::Background;
use crate::failure::Failure;

fn main() -> ExitCode {
    let mut command = Arguments::parse().command;
    // Before there is any thread or descriptor of ours.
    let code = match Background::enter(&mut command) {
        Ok(Some(mut background)) => match run(&command, &mut background) {
            Err(failure) if !background.failed(&failure) => complain(&failure),
            Err(failure) => ExitCode::from(failure.code),
            Ok(()) => ExitCode::SUCCESS,
        },
        Ok(None) => ExitCode::SUCCESS,
        Err(failure) => complain(&failure),
    };
    log::flush();
    code
}

fn run(command: &Command, background: &mut Background) -> Result<(), Failure> {
    log::start(&match command {
        Command::Serve(serve) => serve.common.logging.clone(),
        Command::Echo(echo) => echo.common.logging.clone(),
        Command::Connect(connect) => Logging::plain(connect.target.log_level),
        Command::Ping(ping) => Logging::plain(ping.target.log_level),
        Command::Fraggle(fraggle) => Logging::plain(fraggle.target.log_level),
        Command::Bench(bench) => Logging::plain(bench.target.log_level),
        Command::Completions(_) | Command::Man(_) => Logging::plain(LogLevel::Err),
    })?;
    match command {
        Command::Serve(serve) => serve::run(serve, background),
        Command::Echo(echo) => echo::run(echo, background),
        Command::Connect(connect) => connect::run(connect),
        Command::Ping(ping) => ping::run(ping),
        Command::Fraggle(fraggle) => fraggle::run(fraggle),
        Command::Bench(bench) => bench::run(bench),
        Command::Completions(completions) => manual::print_completions(completions.shell),
        Command::Man(man) => manual::write_pages(&man.out),
    }
}

/// Says why it failed, and how.
fn complain(failure: &Failure) -> ExitCode {
    let mut text = "sockeye: ".to_owned();
    log::escape(&mut text, &failure.message, "");
    text.push('\n');
    log::say(&text);
    // On standard error nobody may be there, so it is in the log too.
    if log::is_elsewhere() {
        tracing::error!("{}", failure.message);
    }
    ExitCode::from(failure.code)
}
