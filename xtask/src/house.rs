//! The house rules that neither the compiler nor clippy checks.

use std::{
    fs,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use crate::{
    gate::{Checks, Failure},
    process,
    workspace::Workspace,
};

/// Lines of a file, its tests apart.
const FILE_LINES: usize = 600;

/// Lines of the README: what does not fit has a document of its own.
const README_LINES: usize = 200;

/// Crates with no unsafe code at all: the compiler is told to refuse it.
const FORBID_UNSAFE: &[&str] = &["crates/sockeye-proto/src/lib.rs", "crates/sockeye-cli/src/main.rs"];

/// The only places of the library that may hold unsafe code (clippy asks for a `SAFETY` comment at each).
const MAY_BE_UNSAFE: &[&str] = &[
    "crates/sockeye/src/poll/",
    "crates/sockeye/src/sys/real/entropy.rs",
    "crates/sockeye/src/net/socket.rs",
    "crates/sockeye/src/daemon/",
    "crates/sockeye-capi/",
];

/// The modules of the library, top to bottom: each names only those behind it. What is not listed here names none of them,
/// but for the root, which has them all, and the simulator, which no module names.
const LAYERS: &[&str] = &[
    "messages",
    "threads",
    "service",
    "conn",
    "protocol",
    "shared",
    "output",
    "http",
    "client",
    "poll",
    "statistics",
    "sys",
];
const BESIDE_LAYERS: &[&str] = &["lib", "sim"];

/// Everything that `sockeye-proto` without features may bring along: code that works on bytes, and none that can
/// reach a socket, a clock or a random source.
const PROTO_DEPENDENCIES: &[&str] = &[
    "base64",
    "block-buffer",
    "cfg-if",
    "const-oid",
    "cpufeatures",
    "crypto-common",
    "digest",
    "httparse",
    "hybrid-array",
    "libc", // cpufeatures on some targets: constants only
    "sha1",
    "simdutf8",
    "sockeye-proto",
    "typenum",
];

/// Parts of the standard library that the protocol crate may not name, with feature `std` either.
const BEYOND_PROTO: &[&str] =
    &["std::env", "std::fs", "std::io", "std::net", "std::os", "std::process", "std::thread", "std::time"];

/// Runs every check, so that one run tells everything that is wrong.
pub(crate) fn run(workspace: &Workspace) -> Result<Checks, Failure> {
    let files = Files::tracked(workspace)?;
    let checks: &[(&str, Vec<String>)] = &[
        ("files are at most 600 lines without tests", lengths(&files)),
        ("unsafe code is forbidden where the plan fixes that", forbidden(&files)),
        ("unsafe code only where it is allowed", unsafe_places(&files)),
        ("nothing is left unfinished", leftovers(&files)),
        ("no path of one machine", machine_paths(&files, workspace.root())),
        ("no module of the library names one above it", layers(&files)),
        ("the protocol crate names nothing of the system", proto_names(&files)),
        ("the protocol crate depends on nothing of the system", proto_dependencies(workspace)),
        ("the protocol crate builds without the standard library", proto_builds(workspace)),
        ("the commands and the code in documents are tested", documents(&files)),
        ("CI runs the README's command", ci(&files, workspace.root())),
    ];
    let mut counts = Checks::default();
    let mut faults = Vec::new();
    for (rule, found) in checks {
        println!("{} {rule}", if found.is_empty() { "ok    " } else { "BROKEN" });
        for fault in found {
            println!("       {fault}");
            faults.push(format!("  {fault}"));
        }
        if found.is_empty() { counts.passed += 1 } else { counts.failed += 1 }
    }
    if faults.is_empty() {
        return Ok(counts);
    }
    Err(Failure::new(format!("house rules are broken:\n{}", faults.join("\n")), counts))
}

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines that are neither comments nor tests at the end of the file, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
        lines.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
    }

    fn is_library(&self) -> bool {
        let tests =
            self.path.ends_with("/tests.rs") || self.path.ends_with("_tests.rs") || self.path.contains("/tests/");
        self.path.starts_with("crates/") && self.path.contains("/src/") && self.path.ends_with(".rs") && !tests
    }
}

/// The files of the repository that are text.
struct Files(Vec<Source>);

impl Files {
    fn tracked(workspace: &Workspace) -> Result<Self, Failure> {
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

    fn library(&self) -> impl Iterator<Item = &Source> {
        self.0.iter().filter(|file| file.is_library())
    }

    fn get(&self, path: &str) -> Option<&Source> {
        self.0.iter().find(|file| file.path == path)
    }
}

fn lengths(files: &Files) -> Vec<String> {
    let counts = files.library().map(|file| (file, file.code().count()));
    counts
        .filter(|(_, lines)| *lines > FILE_LINES)
        .map(|(file, lines)| format!("{}: {lines} lines; split it by what it knows", file.path))
        .collect()
}

fn forbidden(files: &Files) -> Vec<String> {
    let lacks = |path: &&&str| files.get(path).is_none_or(|file| !file.text.contains("#![forbid(unsafe_code)]"));
    FORBID_UNSAFE.iter().filter(lacks).map(|path| format!("{path}: lacks #![forbid(unsafe_code)]")).collect()
}

fn unsafe_places(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.library().filter(|file| !MAY_BE_UNSAFE.iter().any(|place| file.path.starts_with(place))) {
        for (number, line) in file.code() {
            if words(line).any(|word| word == "unsafe") {
                found.push(format!("{}:{number}: unsafe code has its places, and this is none", file.path));
            }
        }
    }
    found
}

fn leftovers(files: &Files) -> Vec<String> {
    // Put together here, so that this file does not find itself.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|halves| halves.concat());
    let calls = [["todo", "!("], ["unimplemented", "!("], ["allow(dead", "_code)"], ["#[ign", "ore"]];
    let calls = calls.map(|halves| halves.concat());
    let mut found = Vec::new();
    for file in files.0.iter().filter(|file| file.path.ends_with(".rs")) {
        for (index, line) in file.text.lines().enumerate() {
            let mark = marks.iter().find(|mark| words(line).any(|word| word == **mark));
            if let Some(what) = mark.or_else(|| calls.iter().find(|call| line.contains(call.as_str()))) {
                found.push(format!("{}:{}: {what}", file.path, index + 1));
            }
        }
    }
    found
}

fn machine_paths(files: &Files, root: &Path) -> Vec<String> {
    let root = root.to_string_lossy();
    let homes = [["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"]].map(|halves| halves.concat());
    let mut needles: Vec<&str> = homes.iter().map(String::as_str).collect();
    // A checkout in a short place, such as `/src`, is too common a word to look for.
    if root.len() > 6 {
        needles.push(&root);
    }
    let mut found = Vec::new();
    for file in &files.0 {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(needle) = needles.iter().find(|needle| line.contains(**needle)) {
                found.push(format!("{}:{}: {needle}", file.path, index + 1));
            }
        }
    }
    found
}

fn layers(files: &Files) -> Vec<String> {
    let module = |path: &str| path.split(['/', '.']).next().unwrap_or_default().to_owned();
    let floor = |module: &str| LAYERS.iter().position(|layer| *layer == module).unwrap_or(LAYERS.len());
    let mut found = Vec::new();
    for file in files.library() {
        let Some(own) = file.path.strip_prefix("crates/sockeye/src/").map(module) else { continue };
        if BESIDE_LAYERS.contains(&own.as_str()) {
            continue;
        }
        for (number, line) in file.code() {
            let named = line.split("crate::").skip(1).filter_map(|rest| words(rest).next());
            for name in named.filter(|name| floor(name) < floor(&own)) {
                found.push(format!("{}:{number}: {name} is a layer above {own}", file.path));
            }
        }
    }
    found
}

fn proto_names(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.library().filter(|file| file.path.starts_with("crates/sockeye-proto/")) {
        for (number, line) in file.code() {
            if let Some(name) = BEYOND_PROTO.iter().find(|name| line.contains(**name)) {
                found.push(format!("{}:{number}: {name} is of a layer above", file.path));
            }
        }
    }
    found
}

fn proto_dependencies(workspace: &Workspace) -> Vec<String> {
    let mut command = workspace.cargo(["tree", "--package", "sockeye-proto", "--no-default-features"]);
    command.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let tree = process::read(&mut command, Duration::from_secs(300)).and_then(|output| output.success("cargo tree"));
    let lines = match tree {
        Ok(output) => output.lines,
        Err(message) => return vec![message],
    };
    let crates = lines.iter().filter_map(|line| {
        let (name, rest) = line.split_once(' ')?;
        rest.starts_with('v').then_some(name)
    });
    let mut strangers: Vec<&str> = crates.filter(|name| !PROTO_DEPENDENCIES.contains(name)).collect();
    strangers.sort_unstable();
    strangers.dedup();
    strangers.into_iter().map(|name| format!("sockeye-proto depends on {name}, which is not on the list")).collect()
}

fn proto_builds(workspace: &Workspace) -> Vec<String> {
    let mut command = workspace.cargo(["build", "--package", "sockeye-proto", "--no-default-features"]);
    let result = process::run(&mut command, Duration::from_secs(600));
    let result = result.and_then(|output| output.success("cargo build --no-default-features"));
    let source = fs::read_to_string(workspace.root().join("crates/sockeye-proto/src/lib.rs")).unwrap_or_default();
    let lacks = (!source.contains("#![no_std]")).then(|| "sockeye-proto lacks #![no_std]".to_owned());
    result.err().into_iter().chain(lacks).collect()
}

/// What the README promises, and that the Rust code of every document is a doc test.
fn documents(files: &Files) -> Vec<String> {
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
    for document in files.0.iter().filter(|file| file.path.ends_with(".md") && file.text.contains("```rust")) {
        for (index, line) in document.text.lines().enumerate() {
            if line.starts_with("```rust") && line.contains("ignore") {
                found.push(format!("{}:{}: code that is not compiled", document.path, index + 1));
            }
        }
        if !files.0.iter().any(|file| includes(file, &document.path)) {
            found.push(format!("{}: no crate includes it as doc tests", document.path));
        }
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

fn ci(files: &Files, root: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let Some(script) = files.get(".ci/run") else { return vec!["there is no .ci/run".to_owned()] };
    let mut found = Vec::new();
    let executable = fs::metadata(root.join(".ci/run")).is_ok_and(|data| data.permissions().mode() & 0o111 != 0);
    if !executable {
        found.push(".ci/run has no run bit".to_owned());
    }
    if !script.text.lines().any(|line| line.trim_start_matches("exec ") == "cargo xtask test") {
        found.push(".ci/run does not call exactly `cargo xtask test`".to_owned());
    }
    found
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(path: &str, text: &str) -> Files {
        Files(vec![Source { path: path.to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn tests_do_not_count_as_length() {
        let long = "line\n".repeat(FILE_LINES);
        assert!(lengths(&files("crates/a/src/b.rs", &format!("{long}#[cfg(test)]\nmod tests {{}}\n"))).is_empty());
        assert_eq!(lengths(&files("crates/a/src/b.rs", &format!("{long}line\n"))).len(), 1);
        assert!(lengths(&files("crates/a/src/b/tests.rs", &format!("{long}line\n"))).is_empty());
    }

    #[test]
    fn unsafe_code_is_found_outside_its_places_only() {
        let text = "fn f() { unsafe { g() } }\n";
        assert_eq!(unsafe_places(&files("crates/sockeye/src/conn/mod.rs", text)).len(), 1);
        assert!(unsafe_places(&files("crates/sockeye/src/poll/mod.rs", text)).is_empty());
        assert!(unsafe_places(&files("crates/sockeye/src/lib.rs", "#![deny(unsafe_code)] // no unsafe\n")).is_empty());
    }

    #[test]
    fn a_module_names_only_those_below_it() {
        let named = |path, text| layers(&files(path, text)).len();
        assert_eq!(named("crates/sockeye/src/conn/mod.rs", "use crate::service::Service;\n"), 1);
        assert_eq!(named("crates/sockeye/src/error.rs", "use crate::sys::Sys;\n"), 1);
        assert_eq!(named("crates/sockeye/src/conn/mod.rs", "use crate::sys::Sys; // crate::service\n"), 0);
        assert_eq!(named("crates/sockeye/src/lib.rs", "pub use crate::service::Service;\n"), 0);
        assert_eq!(named("crates/sockeye-cli/src/serve/ring.rs", "use crate::service::Service;\n"), 0);
    }

    #[test]
    fn leftovers_are_whole_words() {
        let mark = ["TO", "DO"].concat();
        assert_eq!(leftovers(&files("a.rs", &format!("// {mark}: later\n"))).len(), 1);
        assert!(leftovers(&files("a.rs", &format!("const {mark}S: u8 = 1;\n"))).is_empty());
    }

    #[test]
    fn a_document_with_code_is_included_somewhere() {
        let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
        let readme = "cargo run --release -- serve\ncargo xtask test\n";
        let guide = source("docs/guide.md", "```rust\n```\n");
        let tests = source("examples/documents.rs", "#[doc = include_str!(\"../docs/guide.md\")]");
        let mut files = Files(vec![source("README.md", readme), guide]);
        assert_eq!(documents(&files), ["docs/guide.md: no crate includes it as doc tests"]);
        files.0.push(tests);
        assert!(documents(&files).is_empty());
        files.0.push(source("README.md", "```rust,ignore\n```\n"));
        assert_eq!(documents(&files).len(), 2);
    }

    #[test]
    fn this_checkout_is_nowhere_in_the_text() {
        let root = Path::new("/somewhere/sockeye");
        assert_eq!(machine_paths(&files("a.md", "see /somewhere/sockeye/a.md\n"), root).len(), 1);
        assert!(machine_paths(&files("a.md", "see crates/sockeye\n"), root).is_empty());
    }
}
