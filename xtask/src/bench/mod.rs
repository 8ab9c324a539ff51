//! What messages cost: counts that repeat to a percent or two wherever they are taken, and ratios within one run.
//!
//! [`brokers`], [`capi`], [`counts`], [`deflate`], [`speed`], [`threads`], [`masks`], [`soak`], [`tls`] and [`topics`] measure; [`reading`] reads what the tools wrote, [`statistics`] sums it up, and
//! [`table`] shows it. The servers and the load come from the crate `sockeye-benches`.

pub(crate) mod brokers;
pub(crate) mod capi;
pub(crate) mod counts;
pub(crate) mod deflate;
pub(crate) mod masks;
mod reading;
pub(crate) mod soak;
pub(crate) mod speed;
mod statistics;
mod table;
pub(crate) mod threads;
pub(crate) mod tls;
pub(crate) mod topics;

use std::{path::PathBuf, process::Command, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{gate::Failure, process, process::Server, rust, tools, workspace::Workspace};

/// `load` ends by itself before this.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// glibc fills and copies long memory by instructions that repeat themselves, which valgrind counts as one for each byte, and
/// processors as one. With this in the environment it takes the loops, which are counted as what they are. A variable and its
/// value.
const COUNTABLE: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.cpu.x86_rep_stosb_threshold=0x10000000:glibc.cpu.x86_rep_movsb_threshold=0x10000000");

/// The programs that measure.
struct Programs<'a> {
    workspace: &'a Workspace,
    /// The folder below `target` that has `load`.
    load: &'static str,
}

impl<'a> Programs<'a> {
    /// Builds `load` and those named, and the `sockeye` under test.
    fn build(workspace: &'a Workspace, more: &[&str]) -> Result<Self, Failure> {
        rust::benches(workspace, &[&["load"], more].concat())?;
        Self::ready(workspace)
    }

    /// Builds `load` in less time, for what is counted in the server alone, and the `sockeye` under test.
    fn build_to_count(workspace: &'a Workspace) -> Result<Self, Failure> {
        rust::load(workspace)?;
        let programs = Self::command(workspace)?;
        Ok(Self { load: "sim", ..programs })
    }

    /// Builds them, and what measures TLS.
    fn build_with_tls(workspace: &'a Workspace) -> Result<Self, Failure> {
        rust::benches_with_tls(workspace)?;
        Self::ready(workspace)
    }

    /// Builds what measures compression, with a server of its own.
    fn build_packed(workspace: &'a Workspace) -> Result<Self, Failure> {
        rust::packed(workspace)?;
        Self::ready(workspace)
    }

    /// For measurements that need none but the `sockeye` under test, which is built if it is ours.
    fn command(workspace: &'a Workspace) -> Result<Self, Failure> {
        if workspace.binary_is_ours() {
            rust::release(workspace)?;
        }
        Self::ready(workspace)
    }

    fn ready(workspace: &'a Workspace) -> Result<Self, Failure> {
        // Thousands of connections: the programs inherit it.
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
            .map_err(|error| format!("the limit of descriptors cannot be raised: {error}"))?;
        Ok(Self { workspace, load: "release" })
    }

    fn release(&self, name: &str) -> PathBuf {
        self.workspace.target().join("release").join(name)
    }

    /// Where this run leaves its files.
    fn folder(&self) -> Result<PathBuf, Failure> {
        let folder = self.workspace.target().join("bench");
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(folder)
    }

    /// Starts a server below `tracer`, which may be no words at all.
    fn server(&self, tracer: &[&str], server: &[&str]) -> Result<Server, Failure> {
        let words: Vec<&str> = tracer.iter().chain(server).copied().collect();
        let (program, arguments) = words.split_first().ok_or("no server")?;
        Ok(Server::start(program.as_ref(), arguments, self.folder()?.join("server.log"))?)
    }

    /// Runs `load` against it; what it says is `name=number` words.
    fn load(&self, server: &Server, arguments: &[&str]) -> Result<String, Failure> {
        self.load_at(server.url(), server.pid(), arguments)
    }

    /// As [`load`](Self::load), from any thread.
    fn load_at(&self, url: &str, pid: u32, arguments: &[&str]) -> Result<String, Failure> {
        let port = url.trim_end_matches('/').rsplit(':').next().unwrap_or_default();
        let mut command = Command::new(self.workspace.target().join(self.load).join("load"));
        command.args(arguments).args(["--port", port, "--pid", &pid.to_string()]);
        let lines = process::read(&mut command, LIMIT)?.lines;
        match lines.iter().find(|line| line.contains('=')) {
            Some(line) => Ok(line.clone()),
            None => Err(format!("`{}` failed: {}", process::shown(&command), lines.join("\n")).into()),
        }
    }
}

/// An error that names what to install, unless all of these programs are there.
fn require(packages: &[&str]) -> Result<(), Failure> {
    let missing: Vec<&str> = packages.iter().filter(|name| !tools::found(&[name, "--version"])).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(" ");
    Err(format!("programs are missing, from these Debian packages: {missing}\nType: sudo apt-get install -y {missing}")
        .into())
}
