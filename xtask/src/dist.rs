//! What is shipped: the release build, its completions and man pages, systemd units, licences. A folder, and an archive of it. And the C
//! libraries, as a package of Debian.

use std::{
    env::consts::{ARCH, OS},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    capi,
    gate::{Checks, Failure},
    output::say,
    process, rust,
    workspace::Workspace,
};

/// Shells, and what their completions are called where each looks for them.
const COMPLETIONS: [(&str, &str); 3] = [("bash", "sockeye.bash"), ("zsh", "_sockeye"), ("fish", "sockeye.fish")];

/// Files of the repository, and the folder that each goes to.
const COPIED: [(&str, &str); 6] = [
    ("README.md", ""),
    ("CHANGELOG.md", ""),
    ("LICENSE-APACHE", ""),
    ("LICENSE-MIT", ""),
    ("systemd/sockeye.service", "systemd"),
    ("systemd/sockeye.socket", "systemd"),
];

/// The program only prints, and little is packed.
const LIMIT: Duration = Duration::from_secs(60);

/// Builds the program and gathers everything below `out`, which is made if need be.
pub(crate) fn run(workspace: &Workspace, out: Option<PathBuf>) -> Result<Checks, Failure> {
    if workspace.binary_is_ours() {
        rust::release(workspace)?;
    }
    let out = out.unwrap_or_else(|| workspace.target().join("dist"));
    let name = format!("sockeye-{}-{ARCH}-{OS}", env!("CARGO_PKG_VERSION"));
    let folder = out.join(&name);
    let (completions, pages) = (folder.join("completions"), folder.join("man"));
    // What an earlier version left is not to be packed.
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    for folder in [&completions, &pages, &folder.join("systemd")] {
        make(folder)?;
    }
    let mut wanted = vec![folder.join("sockeye"), pages.join("sockeye.1")];
    copy(&workspace.binary(), &folder.join("sockeye"))?;
    for (path, into) in COPIED {
        let source = workspace.root().join(path);
        let copied = folder.join(into).join(source.file_name().unwrap_or_default());
        copy(&source, &copied)?;
        wanted.push(copied);
    }
    for (shell, name) in COMPLETIONS {
        let script = sockeye(workspace, &["completions".as_ref(), shell.as_ref()])?;
        write(&completions.join(name), &script)?;
        wanted.push(completions.join(name));
    }
    sockeye(workspace, &["man".as_ref(), pages.as_os_str()])?;
    for subcommand in subcommands(&sockeye(workspace, &["--help".as_ref()])?) {
        wanted.push(pages.join(format!("sockeye-{subcommand}.1")));
    }
    wanted.push(pack(&out, &name)?);
    let mut total = check(&wanted)?;
    total += capi::debian(workspace, &out)?;
    Ok(total)
}

/// The archive of `out`/`name`, with files of root whoever makes it.
fn pack(out: &Path, name: &str) -> Result<PathBuf, String> {
    let archive = out.join(format!("{name}.tar.gz"));
    let mut command = Command::new("tar");
    command.args(["--create", "--gzip", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--file"]);
    command.arg(&archive).arg("--directory").arg(out).arg(name);
    process::run(&mut command, LIMIT)?.success("tar")?;
    Ok(archive)
}

/// The output of the program, whole.
fn sockeye(workspace: &Workspace, arguments: &[&std::ffi::OsStr]) -> Result<String, String> {
    let mut command = Command::new(workspace.binary());
    command.args(arguments);
    let shown = process::shown(&command);
    let mut output = process::read(&mut command, LIMIT)?.success(&shown)?.lines.join("\n");
    output.push('\n');
    Ok(output)
}

/// The names below `Commands:`, without clap's own `help`.
fn subcommands(help: &str) -> Vec<&str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

/// Each file is there and has something in it.
fn check(wanted: &[PathBuf]) -> Result<Checks, Failure> {
    let mut checks = Checks::default();
    let mut missing = Vec::new();
    for path in wanted {
        match fs::metadata(path) {
            Ok(data) if data.len() > 0 => {
                say!("{:>8} {}", data.len(), path.display());
                checks.passed += 1;
            }
            _ => {
                missing.push(path.display().to_string());
                checks.failed += 1;
            }
        }
    }
    if missing.is_empty() {
        return Ok(checks);
    }
    Err(Failure::new(format!("not made, or empty: {}", missing.join(", ")), checks))
}

fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(drop).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subcommands_are_those_of_the_help() {
        let help =
            "About.\n\nUsage: x <COMMAND>\n\nCommands:\n  serve  Serve\n  echo   Send\n  help   Print\n\nOptions:\n";
        assert_eq!(subcommands(help), ["serve", "echo"]);
    }

    #[test]
    fn an_empty_file_fails() {
        let folder = std::env::temp_dir().join(format!("sockeye-dist-{}", std::process::id()));
        make(&folder).unwrap();
        let (full, empty) = (folder.join("full"), folder.join("empty"));
        write(&full, "x").unwrap();
        write(&empty, "").unwrap();
        assert_eq!(check(std::slice::from_ref(&full)).unwrap().passed, 1);
        let failure = check(&[full, empty, folder.join("none")]).unwrap_err();
        assert_eq!((failure.checks.passed, failure.checks.failed), (1, 2));
        fs::remove_dir_all(&folder).unwrap();
    }
}
