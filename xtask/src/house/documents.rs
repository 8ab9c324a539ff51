//! Rules for documents: their code is compiled, and the commands and links that they show lead somewhere.

use std::path::{Component, Path, PathBuf};

use super::files::{Files, Source};
use crate::TASKS;

/// Lines of the README: what does not fit has a document of its own.
const README_LINES: usize = 200;

pub(super) fn check(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    let readme = files.get("README.md").map_or("", |file| &file.text);
    for command in ["cargo run --release -- serve", "cargo xtask test"] {
        if !readme.contains(command) {
            found.push(format!("README.md does not name `{command}`"));
        }
    }
    if readme.lines().count() > README_LINES {
        found.push(format!("README.md: more than {README_LINES} lines"));
    }
    for document in files.0.iter().filter(|file| file.path.ends_with(".md")) {
        found.extend(code(files, document));
        for (index, line) in document.text.lines().enumerate() {
            let faults = commands(files, line).chain(links(files, document, line));
            found.extend(faults.map(|fault| format!("{}:{}: {fault}", document.path, index + 1)));
        }
    }
    found
}

/// The Rust code of a document is a doc test.
fn code(files: &Files, document: &Source) -> Vec<String> {
    let blocks = document.text.lines().enumerate().filter(|(_, line)| line.starts_with("```rust"));
    let mut found: Vec<String> = blocks
        .clone()
        .filter(|(_, line)| line.contains("ignore"))
        .map(|(index, _)| format!("{}:{}: code that is not compiled", document.path, index + 1))
        .collect();
    if blocks.count() > 0 && !files.0.iter().any(|file| includes(file, &document.path)) {
        found.push(format!("{}: no crate includes it as doc tests", document.path));
    }
    found
}

/// Whether a source file includes `document` as its documentation. Paths in `include_str!` are relative to the file.
fn includes(file: &Source, document: &str) -> bool {
    let folder = Path::new(&file.path).parent().unwrap_or_else(|| Path::new(""));
    let included = file.text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next());
    file.path.ends_with(".rs") && included.map(|path| plain(&folder.join(path))).any(|path| path == Path::new(document))
}

/// The path without `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        if part == Component::ParentDir {
            path.pop();
        } else {
            path.push(part);
        }
        path
    })
}

/// Links within the repository whose file or heading is not there.
fn links<'l>(files: &'l Files, document: &'l Source, line: &'l str) -> impl Iterator<Item = String> + 'l {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    // Pictures are not text, so they are not among the files.
    let ours = targets.filter(|target| !target.contains("://") && !target.ends_with(".png"));
    ours.filter(|target| {
        let (path, heading) = target.split_once('#').map_or((*target, None), |(path, heading)| (path, Some(heading)));
        let folder = Path::new(&document.path).parent().unwrap_or_else(|| Path::new(""));
        let path = if path.is_empty() { PathBuf::from(&document.path) } else { plain(&folder.join(path)) };
        let found = files.0.iter().find(|file| Path::new(&file.path).starts_with(&path));
        !found.is_some_and(|file| heading.is_none_or(|heading| headings(&file.text).any(|slug| slug == heading)))
    })
    .map(|target| format!("the link {target} leads nowhere"))
}

/// The names of a document's headings in links: words in lower case, joined by hyphens.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches(['#', ' ']));
    titles.map(|title| {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    })
}

/// What a line names by cargo that is not there: tasks of this program, examples, and targets of tests.
fn commands<'l>(files: &'l Files, line: &'l str) -> impl Iterator<Item = String> + 'l {
    let named = |word: &'static str| {
        let rest = line.split(word).skip(1);
        rest.filter_map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').find(|name| !name.is_empty())
        })
    };
    let is_cargo = line.contains("cargo ");
    let tasks = named("cargo xtask ").filter(|task| !TASKS.contains(task) && !is_placeholder(task));
    let examples = named("--example ")
        .filter(move |name| is_cargo && !is_placeholder(name) && !is_target(files, "examples", name));
    let tests =
        named("--test ").filter(move |name| is_cargo && !is_placeholder(name) && !is_target(files, "tests", name));
    tasks
        .map(|task| format!("cargo xtask has no task {task}"))
        .chain(examples.map(|name| format!("no example {name}")))
        .chain(tests.map(|name| format!("no tests {name}")))
}

/// `NAME`, to be replaced.
fn is_placeholder(word: &str) -> bool {
    word.chars().all(|c| c.is_uppercase() || c == '_')
}

/// Whether a crate has this target, as a file or as a folder with a `main.rs`.
fn is_target(files: &Files, kind: &str, name: &str) -> bool {
    let (file, folder) = (format!("/{kind}/{name}.rs"), format!("/{kind}/{name}/main.rs"));
    files.0.iter().any(|source| source.path.ends_with(&file) || source.path.ends_with(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "cargo run --release -- serve\ncargo xtask test\n";

    #[test]
    fn a_document_with_code_is_included_somewhere() {
        let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
        let mut files = Files::of([("README.md", README), ("docs/guide.md", "```rust\n```\n")]);
        assert_eq!(check(&files), ["docs/guide.md: no crate includes it as doc tests"]);
        files.0.push(source("examples/documents.rs", "#[doc = include_str!(\"../docs/guide.md\")]"));
        assert!(check(&files).is_empty());
        files.0.push(source("README.md", "```rust,ignore\n```\n"));
        assert_eq!(check(&files).len(), 2);
    }

    #[test]
    fn links_lead_to_files_and_headings() {
        let faults = |text: &str| {
            let other = "# A title, `quoted`\n";
            check(&Files::of([("README.md", README), ("docs/a.md", text), ("docs/b.md", other), ("src/c/d.rs", "")]))
                .len()
        };
        assert_eq!(faults("# Here\n[a](b.md) [b](b.md#a-title-quoted) [c](../src/c) [d](#here) [e](https://x.y/z)"), 0);
        assert_eq!(faults("[a](c.md)\n[b](b.md#other)\n[c](#here) [d](../src/none)"), 4);
    }

    #[test]
    fn commands_are_there() {
        let faults = |text: &str| {
            let files = [
                ("README.md", README),
                ("crates/a/examples/echo.rs", ""),
                ("crates/a/tests/it/main.rs", ""),
                ("docs/a.md", text),
            ];
            check(&Files::of(files)).len()
        };
        assert_eq!(
            faults("cargo run --example echo -- 1\ncargo run --example NAME\ncargo test --test it x\ncargo xtask sim"),
            0
        );
        assert_eq!(faults("`cargo run --example none`\n`cargo test --test none`\n`cargo xtask none`\n"), 3);
    }
}
