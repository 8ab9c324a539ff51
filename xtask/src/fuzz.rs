//! The fuzz targets of `fuzz/`: libFuzzer with AddressSanitizer, built by cargo alone.
//!
//! The gate runs each for a fixed count of inputs from a fixed seed, beginning with the committed corpus, so that a run can be
//! repeated. A search ([`search`]) has no seed and takes as long as it is given; [`minimise`] keeps the least of what it learnt
//! that covers as much, and that is what is committed.

use std::{
    env, fs,
    path::{self, Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    gate::{Checks, Failure},
    output::say,
    process, rust,
    workspace::Workspace,
};

/// Inputs that the gate gives to each target, those of its corpus included.
const RUNS: u64 = 20_000;

/// A target gets through its [`RUNS`] in seconds; two slow cores that do other work need less than this.
const RUNS_LIMIT: Duration = Duration::from_secs(5 * 60);

const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);

/// Coverage as libFuzzer reads it, and the sanitizer. `fuzzing` is what cargo-fuzz sets too.
const FLAGS: &str = "--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// With this AddressSanitizer says that it is there, and the gate looks for it.
const TALKATIVE: &str = "verbosity=1";

/// What bounds one input: seconds, and MiB.
const BOUNDS: [&str; 3] = ["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"];

/// What the gate does: every target, for a fixed count.
pub(crate) fn gate(workspace: &Workspace) -> Result<Checks, Failure> {
    let targets = Targets::build(workspace, &[])?;
    let mut checks = Checks::default();
    for name in &targets.names {
        // What is found on the way goes to a place that was empty, so that the next run is the same.
        let learnt = targets.emptied("gate", name)?;
        let mut command = targets.command(name)?;
        command.arg(&learnt).args(targets.corpora(name)).args([format!("-runs={RUNS}"), "-seed=1".to_owned()]);
        let output = process::read(command.env("ASAN_OPTIONS", TALKATIVE), RUNS_LIMIT)?;
        let executed = executed(&output.lines).unwrap_or(0);
        let sanitized =
            output.lines.iter().any(|line| line.contains("AddressSanitizer: libc interceptors initialized"));
        let fault = match () {
            () if !output.status.success() => Some(targets.found(name, &output.lines)),
            () if executed < RUNS => Some(format!("fuzz target {name} ran {executed} of {RUNS} inputs")),
            () if !sanitized => Some(format!("fuzz target {name} ran without AddressSanitizer")),
            () => None,
        };
        if let Some(fault) = fault {
            checks.failed += 1;
            return Err(Failure::new(fault, checks));
        }
        say!("{name:16}{executed:>8} inputs, {}", coverage(&output.lines).unwrap_or("coverage unknown"));
        checks.passed += 1;
    }
    Ok(checks)
}

/// Searches with each target (or those named) for so many seconds.
pub(crate) fn search(workspace: &Workspace, seconds: u64, named: &[String]) -> Result<Checks, Failure> {
    let targets = Targets::build(workspace, named)?;
    let mut checks = Checks::default();
    for name in &targets.names {
        let learnt = targets.folder("corpus", name)?;
        let mut command = targets.command(name)?;
        command.arg(&learnt).args(targets.corpora(name)).arg(format!("-max_total_time={seconds}"));
        let output = process::run(&mut command, Duration::from_secs(seconds.saturating_add(5 * 60)))?;
        if !output.status.success() {
            checks.failed += 1;
            return Err(Failure::new(targets.found(name, &output.lines), checks));
        }
        checks.passed += 1;
    }
    Ok(checks)
}

/// Runs each target that is named on one input.
pub(crate) fn replay(workspace: &Workspace, input: &Path, named: &[String]) -> Result<Checks, Failure> {
    if named.is_empty() {
        return Err("the target of the input is not named".into());
    }
    let input = path::absolute(input).map_err(|error| error.to_string())?;
    let targets = Targets::build(workspace, named)?;
    let mut checks = Checks::default();
    for name in &targets.names {
        let output = process::run(targets.command(name)?.arg(&input), RUNS_LIMIT)?;
        checks += if output.status.success() { Checks::passed(1) } else { Checks { passed: 0, failed: 1 } };
    }
    if checks.failed > 0 { Err(Failure::new("the input is at fault still", checks)) } else { Ok(checks) }
}

/// Writes the corpus of each target (or those named): the fewest of the inputs that searches found and of those committed that
/// cover what all of them cover.
pub(crate) fn minimise(workspace: &Workspace, named: &[String]) -> Result<Checks, Failure> {
    let targets = Targets::build(workspace, named)?;
    for name in &targets.names {
        let (learnt, least) = (targets.folder("corpus", name)?, targets.emptied("least", name)?);
        let mut command = targets.command(name)?;
        command.args(["-set_cover_merge=1"]).arg(&least).arg(&learnt).args(targets.corpora(name));
        process::run(&mut command, BUILD_LIMIT)?.success(&process::shown(&command))?;
        let committed = workspace.root().join(CORPUS).join(name);
        emptied(&committed)?;
        for file in files(&least)? {
            let to = committed.join(file.file_name().ok_or("a file without a name")?);
            fs::copy(&file, &to).map_err(|error| format!("{}: {error}", to.display()))?;
        }
    }
    Ok(Checks::passed(targets.names.len() as u64))
}

/// Builds and lints the targets. They are not members of the workspace, so no other step lints them.
fn build(workspace: &Workspace) -> Result<Command, Failure> {
    let mut command = workspace.cargo(["build", "--locked", "--release", "--manifest-path", "fuzz/Cargo.toml"]);
    rust::linted(workspace, &mut command);
    // With a target named, the flags are not those of build scripts, which have no runtime of a sanitizer.
    command.arg("--target").arg(host()?).arg("--target-dir").arg(folder(workspace));
    // The sanitizers are unstable options; with this the stable compiler takes them.
    command.env("RUSTFLAGS", FLAGS).env("RUSTC_BOOTSTRAP", "1").env_remove("CARGO_ENCODED_RUSTFLAGS");
    Ok(command)
}

/// The targets that were built.
struct Targets<'w> {
    workspace: &'w Workspace,
    programs: PathBuf,
    names: Vec<String>,
}

impl<'w> Targets<'w> {
    /// Builds all; those named are chosen, or all of them.
    fn build(workspace: &'w Workspace, named: &[String]) -> Result<Self, Failure> {
        let all = names(workspace)?;
        if let Some(stranger) = named.iter().find(|name| !all.contains(name)) {
            return Err(format!("no such fuzz target: {stranger} (there are {})", all.join(", ")).into());
        }
        let mut command = build(workspace)?;
        process::run(&mut command, BUILD_LIMIT)?.success(&process::shown(&command))?;
        let programs = folder(workspace).join(host()?).join("release");
        Ok(Self { workspace, programs, names: if named.is_empty() { all } else { named.to_vec() } })
    }

    fn command(&self, name: &str) -> Result<Command, Failure> {
        let mut command = Command::new(self.programs.join(name));
        command.args(BOUNDS).arg(format!("-artifact_prefix={}/", self.folder("finds", name)?.display()));
        Ok(command)
    }

    /// What is committed: the inputs written by hand, and those that a search found.
    fn corpora(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let folders = ["fuzz/seeds", CORPUS].map(|folder| self.workspace.root().join(folder).join(name));
        folders.into_iter().filter(|folder| folder.is_dir())
    }

    fn folder(&self, kind: &str, name: &str) -> Result<PathBuf, Failure> {
        let folder = folder(self.workspace).join(kind).join(name);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(folder)
    }

    fn emptied(&self, kind: &str, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.folder(kind, name)?;
        emptied(&folder)?;
        Ok(folder)
    }

    /// What to tell of a target that did not end well.
    fn found(&self, name: &str, lines: &[String]) -> String {
        let last = lines[lines.len().saturating_sub(40)..].join("\n");
        let input = lines.iter().rev().find_map(|line| Some(line.split_once("Test unit written to ")?.1));
        let replay =
            input.map_or_else(String::new, |input| format!("\nAgain: cargo xtask fuzz --replay {input} {name}"));
        format!("{last}\nfuzz target {name} found something; see above{replay}")
    }
}

fn names(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = files(&workspace.root().join("fuzz/fuzz_targets"))?
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

/// Creates the folder, or removes the files in it.
fn emptied(folder: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::from(format!("{}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    for file in files(folder)? {
        fs::remove_file(file).map_err(failed)?;
    }
    Ok(())
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("fuzz")
}

/// The compiler's name for this machine.
pub(crate) fn host() -> Result<String, Failure> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = process::read(Command::new(rustc).arg("-vV"), Duration::from_secs(60))?.success("rustc -vV")?;
    let host = output.lines.iter().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("`rustc -vV` names no host")?.to_owned())
}

/// How many inputs libFuzzer says it has run.
fn executed(lines: &[String]) -> Option<u64> {
    lines.iter().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok())
}

/// What libFuzzer says of coverage at the end: `cov: 613 ft: 2210 corp: ...`.
fn coverage(lines: &[String]) -> Option<&str> {
    let line = lines.iter().rev().find(|line| line.contains("DONE") && line.contains("cov: "))?;
    line.get(line.find("cov: ")?..line.find(" lim:").or_else(|| line.find(" exec/s"))?)
}

/// Below the root: one folder for each target.
const CORPUS: &str = "fuzz/corpus";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let lines = [
            "#2\tINITED cov: 35 ft: 36 corp: 1/1b exec/s: 0 rss: 42Mb",
            "#20000\tDONE   cov: 613 ft: 2210 corp: 301/17Kb lim: 652 exec/s: 6666 rss: 77Mb",
            "stat::number_of_executed_units: 20000",
        ]
        .map(str::to_owned);
        assert_eq!(executed(&lines), Some(20_000));
        assert_eq!(coverage(&lines), Some("cov: 613 ft: 2210 corp: 301/17Kb"));
        assert_eq!((executed(&lines[..2]), coverage(&lines[..1])), (None, None));
    }
}
