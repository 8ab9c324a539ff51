//! What publishing to topics costs, beside publishing to all connections: user instructions in the turns of the loop, each the
//! difference of a longer run and a shorter one.

use std::{fs, process::Command};

use rustix::process::{Resource, getrlimit};

use super::{
    COUNTABLE, LIMIT, Programs, reading, require,
    table::{Table, short},
};
use crate::{
    gate::{Checks, Failure},
    output::say,
    process,
    workspace::Workspace,
};

/// Subscribers of one topic, as far as there are descriptors for both ends of their connections.
const MANY: u64 = 10_000;
/// Descriptors of everything else.
const OTHERS: u64 = 100;
const ROUNDS: [u64; 2] = [2, 6];
const ROUNDS_OF_ONE: [u64; 2] = [100, 500];

/// Prints the table. Goals that are missed are a failure, unless they are only to be reported.
pub(crate) fn run(workspace: &Workspace, report_only: bool) -> Result<Checks, Failure> {
    require(&["valgrind"])?;
    let programs = Programs::build(workspace, &["topics"])?;
    let mut table = Table::new(&["figure", "measured", "goal", "verdict"]);
    let mut checks = Checks::default();
    let mut figure = |name: &str, measured: f64, goal: f64| {
        let met = measured <= goal;
        checks += if met { Checks::passed(1) } else { Checks { passed: 0, failed: 1 } };
        table.row([name.to_owned(), short(measured), short(goal), if met { "met" } else { "MISSED" }.to_owned()]);
    };
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let many = MANY.min(descriptors.saturating_sub(OTHERS) / 2);
    if many < MANY {
        say!("{many} subscribers instead of {MANY}: there may be {descriptors} descriptors");
    }
    let connections = many.to_string();
    let to_many = |mode| counted(&programs, &[mode, "--connections", &connections], ROUNDS, many);
    let (all, one) = (to_many("all")?, to_many("one")?);
    figure(
        &format!("a delivery to {many} subscribers of one topic, 128 B; to all connections: {}", short(all)),
        one,
        all * 1.05,
    );
    let of =
        |topics: &str| counted(&programs, &["each", "--connections", "1000", "--topics", topics], ROUNDS_OF_ONE, 1);
    let (few, all) = (of("1000")?, of("100000")?);
    figure(
        &format!("a publish to 1 of 100,000 topics with a subscriber each; 1 of 1,000: {}", short(few)),
        all,
        few * 1.25,
    );
    let mut leaves = Command::new(programs.release("topics"));
    leaves.args(["leave", "--connections", &connections, "--rounds", "1"]);
    let said = process::read(&mut leaves, LIMIT)?.lines.join(" ");
    let longest = reading::number(&said, "longest_turn_us").ok_or_else(|| format!("`topics` said: {said}"))?;
    table.row([
        format!("a turn in which {many} connections unsubscribe, ms"),
        short(longest / 1000.0),
        "50".to_owned(),
        "not judged: a time".to_owned(),
    ]);
    say!("User instructions in turns of the loop:\n\n{table}");
    match checks.failed {
        missed if missed == 0 || report_only => Ok(checks),
        missed => Err(Failure::new(format!("{missed} goals are missed"), checks)),
    }
}

/// User instructions of a message at one subscriber.
fn counted(programs: &Programs<'_>, arguments: &[&str], rounds: [u64; 2], receivers: u64) -> Result<f64, Failure> {
    let mut runs = [0.0; 2];
    for (rounds, run) in rounds.iter().zip(&mut runs) {
        let profile = programs.folder()?.join("callgrind.topics");
        let mut command = Command::new("valgrind");
        command.env(COUNTABLE.0, COUNTABLE.1).args(["--tool=callgrind", "--toggle-collect=*core::Service>::turn"]);
        command.arg(format!("--callgrind-out-file={}", profile.display())).arg(programs.release("topics"));
        command.args(arguments).args(["--rounds", &rounds.to_string()]);
        process::read(&mut command, LIMIT)?.success(&process::shown(&command))?;
        let text = fs::read_to_string(&profile).map_err(|error| format!("{}: {error}", profile.display()))?;
        *run = reading::instructions(&text).filter(|count| *count > 0).ok_or("callgrind counted nothing")? as f64;
    }
    Ok((runs[1] - runs[0]) / ((rounds[1] - rounds[0]) * receivers) as f64)
}
