//! What a second thread adds: the capacity of `sockeye echo` with two threads, as a ratio to that with one.
//!
//! Capacity is messages for each second of processor time of the busier thread: what a server could do whose threads have a
//! processor each to themselves, an uneven share of connections included. Load and server are on equal footing: with one
//! thread they share one processor, with two they share two, and the load is the same two processes each time.

use std::{fs, thread};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{
    Programs, reading, statistics,
    table::{Table, short},
};
use crate::{
    gate::{Checks, Failure},
    output::say,
    workspace::Workspace,
};

/// Prints the table of capacities after `rounds` rounds. It never fails for a number.
pub(crate) fn run(workspace: &Workspace, rounds: u64) -> Result<Checks, Failure> {
    let programs = Programs::build(workspace, &[])?;
    let processors = processors()?;
    let mut capacities = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        // Who comes first changes, so that a machine that grows slower or faster favours nobody.
        for turn in [round % 2, 1 - round % 2] {
            capacities[turn as usize].push(capacity(&programs, &processors, turn as usize + 1)?);
        }
        say!("round {} of {rounds} done", round + 1);
    }
    let mut table = Table::new(&["threads", "messages a second", "spread", "ratio", "goal"]);
    let one = statistics::median(&capacities[0]);
    for (threads, capacities) in (1..).zip(&capacities) {
        let capacity = statistics::median(capacities);
        table.row([
            format!("{threads}"),
            short(capacity),
            format!("{:.0} %", statistics::spread(capacities) * 100.0),
            format!("{:.2}", capacity / one),
            if threads == 1 { String::new() } else { "1.60".to_owned() },
        ]);
    }
    say!("\nMedians of {rounds} rounds, 20 B, 200 connections, 16 in flight:\n\n{table}");
    Ok(Checks::passed(1))
}

/// Messages that `threads` threads could echo in a second.
fn capacity(programs: &Programs<'_>, processors: &[usize; 2], threads: usize) -> Result<f64, Failure> {
    let shared = &processors[..threads];
    let (binary, count) = (programs.workspace.binary(), threads.to_string());
    let server =
        on(shared, || programs.server(&[], &[&*binary.to_string_lossy(), "echo", "--port", "0", "--threads", &count]))?;
    let (url, pid) = (server.url(), server.pid());
    let load = || on(shared, || programs.load_at(url, pid, LOAD));
    let lines = thread::scope(|scope| {
        let other = scope.spawn(load);
        let own = load();
        [own, other.join().unwrap_or_else(|_| Err("a load generator panicked".into()))]
    });
    // From its start on: that it started is next to nothing.
    let nanos = busiest(pid);
    let mut messages = 0.0;
    for line in lines {
        messages += reading::number(&line?, "messages").ok_or("`load` measured nothing")?;
    }
    if nanos == 0 {
        Err("the server's processor time cannot be read".into())
    } else {
        Ok(messages * 1e9 / nanos as f64)
    }
}

/// Nanoseconds that the busiest of its threads has run.
fn busiest(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let read = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("schedstat")).ok();
    threads.flatten().filter_map(read).filter_map(|text| text.split(' ').next()?.parse().ok()).max().unwrap_or(0)
}

/// Two processors that this program may use.
fn processors() -> Result<[usize; 2], Failure> {
    let all = sched_getaffinity(None).map_err(|error| format!("the processors are not known: {error}"))?;
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|&processor| all.is_set(processor));
    match (allowed.next(), allowed.next_back()) {
        (Some(first), Some(last)) => Ok([first, last]),
        _ => Err("two threads need two processors".into()),
    }
}

/// What `start` starts inherits the places; this thread gets its own back.
fn on<T>(places: &[usize], start: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let pin = |set: &CpuSet| sched_setaffinity(None, set).map_err(|error| format!("pinning failed: {error}"));
    let all = sched_getaffinity(None).map_err(|error| format!("the processors are not known: {error}"))?;
    let mut set = CpuSet::new();
    places.iter().for_each(|&place| set.set(place));
    pin(&set)?;
    let started = start();
    pin(&all)?;
    started
}

/// Of each of two processes: a million messages.
const LOAD: &[&str] = &["echo", "--connections", "100", "--flight", "16", "--size", "20", "--messages", "10000"];
