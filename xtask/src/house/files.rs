//! The files that the house rules judge.

use std::{fs, time::Duration};

use crate::{gate::Failure, process, workspace::Workspace};

pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// The lines that are neither comments nor tests at the end of the file, with their numbers.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().take(self.code_lines()).enumerate();
        lines.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
    }

    /// How many lines there are before the tests at the end of the file.
    pub(super) fn code_lines(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {"));
        tests.unwrap_or(lines.len())
    }

    pub(super) fn is_library(&self) -> bool {
        let tests =
            self.path.ends_with("/tests.rs") || self.path.ends_with("_tests.rs") || self.path.contains("/tests/");
        self.path.starts_with("crates/") && self.path.contains("/src/") && self.path.ends_with(".rs") && !tests
    }
}

/// The files of the repository that are text.
pub(super) struct Files(pub(super) Vec<Source>);

impl Files {
    pub(super) fn tracked(workspace: &Workspace) -> Result<Self, Failure> {
        let mut command = std::process::Command::new("git");
        // A checkout that another user made is read all the same: nothing of it is run by git here.
        command.args(["-c", "core.quotepath=off", "-c", "safe.directory=*", "ls-files"]).current_dir(workspace.root());
        let names = process::read(&mut command, Duration::from_secs(60))?.success("git ls-files")?;
        let mut files = Vec::new();
        for path in names.lines {
            // A file that was deleted but is still in the index holds nothing to judge; nor does one that is not text.
            if let Ok(text) = fs::read_to_string(workspace.root().join(&path)) {
                files.push(Source { path, text });
            }
        }
        Ok(Self(files))
    }

    pub(super) fn library(&self) -> impl Iterator<Item = &Source> {
        self.0.iter().filter(|file| file.is_library())
    }

    pub(super) fn get(&self, path: &str) -> Option<&Source> {
        self.0.iter().find(|file| file.path == path)
    }
}

#[cfg(test)]
impl Files {
    pub(super) fn of<const N: usize>(files: [(&str, &str); N]) -> Self {
        Self(files.map(|(path, text)| Source { path: path.to_owned(), text: text.to_owned() }).into())
    }
}
