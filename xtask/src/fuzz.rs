//! The fuzz targets of `fuzz/`, by cargo-fuzz, which is installed inside the build folder.

use std::{
    env, fs,
    path::{self, Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    gate::{Checks, Failure},
    process,
    workspace::Workspace,
};

const VERSION: &str = "0.13.2";

/// Fuzzes each target (or those named) for so many seconds; or runs them on the one input `replay`.
pub(crate) fn run(
    workspace: &Workspace,
    seconds: u64,
    replay: Option<&Path>,
    named: &[String],
) -> Result<Checks, Failure> {
    let all = targets(workspace)?;
    if let Some(stranger) = named.iter().find(|name| !all.contains(name)) {
        return Err(format!("no such fuzz target: {stranger} (there are {})", all.join(", ")).into());
    }
    let chosen = if named.is_empty() { &all } else { named };
    let path = program_path(workspace)?;
    let mut checks = Checks::default();
    for target in chosen {
        let folder = workspace.target().join("fuzz");
        let mut command = workspace.cargo(["fuzz", "run", "--fuzz-dir", "fuzz", "--target-dir"]);
        command.arg(&folder).arg(target);
        match replay {
            Some(file) => command.arg(path::absolute(file).map_err(|error| error.to_string())?),
            None => search(workspace, &mut command, &folder, target, seconds)?,
        };
        // The sanitizers are unstable options; with this the stable compiler takes them.
        command.env("PATH", &path).env("RUSTC_BOOTSTRAP", "1");
        let output = process::run(&mut command, Duration::from_secs(seconds + 20 * 60))?;
        if !output.status.success() {
            checks.failed += 1;
            return Err(Failure::new(format!("fuzz target {target} found something; see above"), checks));
        }
        checks.passed += 1;
    }
    Ok(checks)
}

/// Adds the arguments of a search: where to begin, where to keep what it learns and finds, and its bounds.
fn search<'c>(
    workspace: &Workspace,
    command: &'c mut Command,
    folder: &Path,
    target: &str,
    seconds: u64,
) -> Result<&'c mut Command, Failure> {
    let (corpus, finds) = (folder.join("corpus").join(target), folder.join("finds").join(target));
    for folder in [&corpus, &finds] {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    command.arg(&corpus).arg(workspace.root().join("fuzz/seeds").join(target)).arg("--");
    command.args([format!("-max_total_time={seconds}"), format!("-artifact_prefix={}/", finds.display())]);
    Ok(command.args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]))
}

fn targets(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    let folder = workspace.root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let names = entries.flatten().filter_map(|entry| {
        let path = entry.path();
        Some(path.file_stem()?.to_str()?.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

/// A search path that begins with the place where cargo-fuzz is, once it is there.
fn program_path(workspace: &Workspace) -> Result<std::ffi::OsString, Failure> {
    let root = workspace.tools().join("cargo");
    if !root.join("bin/cargo-fuzz").is_file() {
        let mut command = workspace.cargo(["install", "--locked", "--version", VERSION, "--root"]);
        command.arg(&root).arg("cargo-fuzz");
        process::run(&mut command, Duration::from_secs(20 * 60))?.success("cargo install cargo-fuzz")?;
    }
    let old = env::var_os("PATH").unwrap_or_default();
    let folders = [root.join("bin")].into_iter().chain(env::split_paths(&old)).collect::<Vec<PathBuf>>();
    env::join_paths(folders).map_err(|error| error.to_string().into())
}
