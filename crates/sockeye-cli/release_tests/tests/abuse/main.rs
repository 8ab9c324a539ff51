//! The abuse matrix: what a hostile or unlucky peer, kernel or caller does to the finished command, and what must happen.
//!
//! Each test is named after its row. It starts a server of its own on 127.0.0.1 and talks to it over plain sockets, with twenty
//! well-behaved connections beside it ([`support::Row`]), and at the end demands that nothing is left behind: no descriptor, no
//! memory, no work, no flood of log lines. `cargo test --release -p sockeye-release-tests --test abuse [FILTER]` runs it,
//! once `cargo build --release -p sockeye-cli -p sockeye --bin sockeye --example poll_loop` has built what is tried; rows that need
//! root or `strace` are shown as ignored where these are missing, except under `CI`. Build it optimised, for release or with
//! the profile `sim`: with the profile `dev` it runs a tenth of the long rows and does not judge figures of CPU time.
//! `SOCKEYE_BIN` names another build of the command to try, and with `SOCKEYE_ABUSE_C` a program on the C library ([`c_library`]).
//!
//! Deadlines of the server are real ones here and most rows do little but wait for one, hence the runner of our own
//! (`harness = false`): many rows run at once, and those that load the processor one at a time. Wall-clock latency on a
//! shared machine says little, so the canaries' p99 is judged only when `ABUSE_STRICT` is set; the rules themselves are
//! proven on the simulator's virtual clock. Then the rows of TLS run at their full length too: 9,900 connections for ten
//! minutes. `ABUSE_MUTATIONS` says how many flights of TLS and compressed messages are changed, instead of ten thousand.

mod backpressure;
mod c_library;
mod census;
mod closing;
mod compression;
mod event_loop;
mod files;
mod frames;
mod framing;
mod handshake;
mod load;
mod messages;
mod operations;
mod responders;
mod slow_readers;
mod support;
mod target;
mod tls;
mod tls_load;

use std::process::ExitCode;

use libtest_mimic::Arguments;

/// Rows at a time: nearly all of them sleep.
const ROWS_AT_ONCE: usize = 32;

fn main() -> ExitCode {
    if std::env::var_os(target::VARIABLE).is_some() {
        target::serve();
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(ROWS_AT_ONCE);
    let mut cases = if c_library::is_tried() { c_library::rows() } else { rows() };
    // The longest waits first, so that the others run beside them.
    cases.sort_by_key(|case| case.class);
    libtest_mimic::run(&arguments, cases.into_iter().map(support::Case::trial).collect()).exit_code()
}

/// All of them.
fn rows() -> Vec<support::Case> {
    [
        handshake::rows(),
        framing::rows(),
        responders::rows(),
        files::rows(),
        frames::rows(),
        messages::rows(),
        closing::rows(),
        compression::rows(),
        backpressure::rows(),
        slow_readers::rows(),
        event_loop::rows(),
        census::rows(),
        operations::rows(),
        load::rows(),
        tls::rows(),
        tls_load::rows(),
    ]
    .concat()
}
