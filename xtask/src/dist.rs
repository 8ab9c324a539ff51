//! What a package ships beside the program: completions and man pages, as the release build writes them, and units of systemd.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    gate::{Checks, Failure},
    process, rust,
    workspace::Workspace,
};

/// Shells, and what their completions are called where each looks for them.
const COMPLETIONS: [(&str, &str); 3] = [("bash", "sockeye.bash"), ("zsh", "_sockeye"), ("fish", "sockeye.fish")];

/// Units that the repository has in `systemd/`.
const UNITS: [&str; 2] = ["sockeye.service", "sockeye.socket"];

/// The program only prints.
const LIMIT: Duration = Duration::from_secs(60);

/// Builds the program and has it write everything into `out`, which is made if need be.
pub(crate) fn run(workspace: &Workspace, out: Option<PathBuf>) -> Result<Checks, Failure> {
    if workspace.binary_is_ours() {
        rust::release(workspace)?;
    }
    let out = out.unwrap_or_else(|| workspace.target().join("dist"));
    let (completions, pages, units) = (out.join("completions"), out.join("man"), out.join("systemd"));
    make(&completions)?;
    make(&pages)?;
    make(&units)?;
    for (shell, name) in COMPLETIONS {
        let script = sockeye(workspace, &["completions".as_ref(), shell.as_ref()])?;
        write(&completions.join(name), &script)?;
    }
    sockeye(workspace, &["man".as_ref(), pages.as_os_str()])?;
    let mut wanted = COMPLETIONS.map(|(_, name)| completions.join(name)).to_vec();
    wanted.push(pages.join("sockeye.1"));
    for subcommand in subcommands(&sockeye(workspace, &["--help".as_ref()])?) {
        wanted.push(pages.join(format!("sockeye-{subcommand}.1")));
    }
    for name in UNITS {
        let source = workspace.root().join("systemd").join(name);
        let text = fs::read_to_string(&source).map_err(|error| format!("{}: {error}", source.display()))?;
        write(&units.join(name), &text)?;
        wanted.push(units.join(name));
    }
    check(&wanted)
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
                println!("{:>8} {}", data.len(), path.display());
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
