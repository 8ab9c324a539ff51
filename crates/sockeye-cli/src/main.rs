//! The `sockeye` command.
//!
//! [`args`] says what can be asked for. [`serve`] and [`echo`] are protocols on a `Service`; [`server`] is what they
//! share: it turns `--interface` into listeners ([`interface`]), says where they are, and stops on signals. [`background`] is
//! what makes a daemon of them. [`log`] writes events to standard error, [`failure`] is what ends as an exit code. [`manual`]
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
        Err(failure) => {
            log::start(LogLevel::Err);
            complain(&failure)
        }
    };
    log::flush();
    code
}

fn run(command: &Command, background: &mut Background) -> Result<(), Failure> {
    log::start(match command {
        Command::Serve(serve) => serve.common.log_level,
        Command::Echo(echo) => echo.common.log_level,
        Command::Connect(connect) => connect.target.log_level,
        Command::Ping(ping) => ping.target.log_level,
        Command::Fraggle(fraggle) => fraggle.target.log_level,
        Command::Bench(bench) => bench.target.log_level,
        Command::Completions(_) | Command::Man(_) => LogLevel::Err,
    });
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
    ExitCode::from(failure.code)
}
