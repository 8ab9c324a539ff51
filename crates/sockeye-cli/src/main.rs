//! The `sockeye` command.
//!
//! [`args`] says what can be asked for. [`serve`] and [`echo`] are protocols on a `Service`; [`server`] is what they
//! share: it turns `--interface` into listeners ([`interface`]), says where they are, and stops on signals. [`log`]
//! writes events to standard error, [`failure`] is what ends as an exit code. [`manual`] makes completions and man pages.
//! [`target`] is what the commands that connect have in common, with [`ending`], [`outlet`] and [`stop`].
#![forbid(unsafe_code)]

mod args;
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

fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Serve(serve) => {
            log::start(serve.common.log_level);
            serve::run(&serve)
        }
        Command::Echo(echo) => {
            log::start(echo.common.log_level);
            echo::run(&echo)
        }
        Command::Connect(connect) => {
            log::start(connect.target.log_level);
            connect::run(&connect)
        }
        Command::Ping(ping) => {
            log::start(ping.target.log_level);
            ping::run(&ping)
        }
        Command::Fraggle(fraggle) => {
            log::start(fraggle.target.log_level);
            fraggle::run(&fraggle)
        }
        Command::Bench(bench) => {
            log::start(bench.target.log_level);
            bench::run(&bench)
        }
        Command::Completions(completions) => {
            log::start(LogLevel::Err);
            manual::print_completions(completions.shell)
        }
        Command::Man(man) => {
            log::start(LogLevel::Err);
            manual::write_pages(&man.out)
        }
    };
    let code = match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let mut text = "sockeye: ".to_owned();
            log::escape(&mut text, &failure.message, "");
            text.push('\n');
            log::say(&text);
            ExitCode::from(failure.code)
        }
    };
    log::flush();
    code
}
