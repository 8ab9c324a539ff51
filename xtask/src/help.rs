//! The `--help` texts in docs/command.md: each stands behind a comment that names its command, and is what that prints.

use std::{fs, process::Command, time::Duration};

use crate::{
    gate::{Checks, Failure},
    process, rust,
    workspace::Workspace,
};

const DOCUMENT: &str = "docs/command.md";

/// The program only prints.
const LIMIT: Duration = Duration::from_secs(60);

/// Compares the document with the program, or writes it anew.
pub(crate) fn run(workspace: &Workspace, write: bool) -> Result<Checks, Failure> {
    if workspace.binary_is_ours() {
        rust::release(workspace)?;
    }
    let path = workspace.root().join(DOCUMENT);
    let text = fs::read_to_string(&path).map_err(|error| format!("{DOCUMENT}: {error}"))?;
    let (fresh, commands) = renewed(&text, |arguments| {
        let mut command = Command::new(workspace.binary());
        command.args(arguments.split(' '));
        let lines = process::read(&mut command, LIMIT)?.success(&process::shown(&command))?.lines;
        Ok(lines.join("\n") + "\n")
    })?;
    if fresh != text && write {
        fs::write(&path, fresh).map_err(|error| format!("{DOCUMENT}: {error}"))?;
    } else if fresh != text {
        return Err(
            format!("{DOCUMENT} is not what the program prints: cargo xtask dist --help-texts writes it").into()
        );
    }
    Ok(Checks::passed(commands))
}

/// The document with each text replaced by what `print` says, and how many there are.
fn renewed(text: &str, print: impl Fn(&str) -> Result<String, String>) -> Result<(String, u64), String> {
    let mut fresh = String::with_capacity(text.len());
    let mut rest = text;
    let mut commands = 0;
    while let Some((before, behind)) = rest.split_once(BEFORE) {
        let (arguments, behind) = behind.split_once(BEHIND).ok_or("a comment without a block")?;
        let end = behind.find("```").ok_or("a block without an end")?;
        fresh.extend([before, BEFORE, arguments, BEHIND, &print(arguments)?]);
        rest = &behind[end..];
        commands += 1;
    }
    fresh.push_str(rest);
    Ok((fresh, commands))
}

const BEFORE: &str = "<!-- sockeye ";
const BEHIND: &str = " -->\n```text\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_texts_are_replaced() {
        let text = "a\n<!-- sockeye ping -h -->\n```text\nold\n```\nb\n<!-- sockeye -h -->\n```text\n```\nc\n";
        let (fresh, commands) = renewed(text, |arguments| Ok(format!("new {arguments}\n"))).unwrap();
        let wanted =
            "a\n<!-- sockeye ping -h -->\n```text\nnew ping -h\n```\nb\n<!-- sockeye -h -->\n```text\nnew -h\n```\nc\n";
        assert_eq!((fresh.as_str(), commands), (wanted, 2));
        assert!(renewed("<!-- sockeye -h -->\n```text\n", |_| Ok(String::new())).is_err());
    }
}
