//! Clients written by others, against the release build: libwebsockets' own test client, node's `ws`, Python's
//! `websockets`, and Chromium. (Servers written by others are in [`mod@crate::client`].) The scripts are in `conformance/interop`; each prints `ok NAME` or `not ok NAME: why`
//! for every check, and succeeds when all are ok.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    gate::{Checks, Failure},
    process::{self, Server},
    rust, tools,
    workspace::Workspace,
};

/// A script bounds each of its own waits; this bounds the script.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Programs and libraries.
pub(crate) fn clients(workspace: &Workspace) -> Result<Checks, Failure> {
    let bench = Bench::new(workspace)?;
    let mut total = Checks::default();
    total += bench.run(&["echo", "--port", "0"], &["echo.mjs", "echo.py"])?;
    // Each script gets a server of its own: the mirror and the counters are shared by whoever is connected.
    for script in ["serve.mjs", "serve.py", "libwebsockets.py"] {
        total += bench.run(&["serve", "--port", "0"], &[script])?;
    }
    Ok(total)
}

/// The built-in page in a real browser.
pub(crate) fn browser(workspace: &Workspace) -> Result<Checks, Failure> {
    Bench::new(workspace)?.run(&["serve", "--port", "0"], &["browser.mjs"])
}

/// What the scripts run on.
struct Bench<'w> {
    workspace: &'w Workspace,
    python: PathBuf,
    node_modules: PathBuf,
    logs: PathBuf,
}

impl<'w> Bench<'w> {
    fn new(workspace: &'w Workspace) -> Result<Self, Failure> {
        if workspace.binary_is_ours() {
            rust::release(workspace)?;
        }
        let logs = workspace.target().join("interop");
        fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;
        Ok(Self { workspace, python: tools::python(workspace)?, node_modules: tools::node(workspace)?, logs })
    }

    /// Starts a server, runs the scripts against it one after the other, and ends it.
    fn run(&self, server: &[&str], scripts: &[&str]) -> Result<Checks, Failure> {
        let name = scripts.first().copied().unwrap_or_default();
        let server = Server::start(&self.workspace.binary(), server, self.logs.join(format!("{name}.log")))?;
        let mut total = Checks::default();
        for script in scripts {
            total += self.script(script, server.url())?;
        }
        server.stop().map_err(|message| Failure::new(message, total))?;
        Ok(total)
    }

    fn script(&self, name: &str, url: &str) -> Result<Checks, Failure> {
        let path = self.workspace.root().join("conformance/interop").join(name);
        let is_python = path.extension().is_some_and(|extension| extension == "py");
        let program = if is_python { self.python.as_path() } else { Path::new("node") };
        let mut command = Command::new(program);
        command.arg(&path).arg(url).env("NODE_MODULES", &self.node_modules).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("SOCKEYE", self.workspace.binary()).env("PICTURES", &self.logs);
        let output = process::run(&mut command, LIMIT)?;
        count(name, &output)
    }
}

/// Counts the checks that `name` has printed; a failed one, and none at all, is a failure.
pub(crate) fn count(name: &str, output: &process::Output) -> Result<Checks, Failure> {
    let failed: Vec<&str> = output.lines.iter().filter_map(|line| line.strip_prefix("not ok ")).collect();
    let passed = output.lines.iter().filter(|line| line.starts_with("ok ")).count();
    let checks = Checks { passed: passed as u64, failed: failed.len() as u64 };
    if !output.status.success() || checks.failed > 0 {
        let message = format!("{name} failed ({}):\n  {}", output.status, failed.join("\n  "));
        return Err(Failure::new(message, checks));
    }
    if checks.passed == 0 {
        return Err(format!("{name} checked nothing").into());
    }
    Ok(checks)
}
