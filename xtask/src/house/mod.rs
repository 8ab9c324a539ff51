//! The house rules that neither the compiler nor clippy checks.

mod documents;
mod english;
mod files;
mod graph;
mod modules;
mod names;
mod tokens;

use std::{fs, path::Path, time::Duration};

use files::Files;
use graph::Graph;

use crate::{
    gate::{Checks, Failure},
    output::say,
    process,
    workspace::Workspace,
};

/// Lines of a file, its tests apart.
const FILE_LINES: usize = 600;

/// Crates with no unsafe code at all: the compiler is told to refuse it.
const FORBID_UNSAFE: &[&str] = &[
    "crates/sockeye-proto/src/lib.rs",
    "crates/sockeye-cli/src/main.rs",
    "crates/sockeye-hub/src/lib.rs",
    "crates/sockeye-nats/src/lib.rs",
    "crates/sockeye-redis/src/lib.rs",
];

/// The only files that may hold unsafe code (clippy asks for a `SAFETY` comment at each place), and must: one that does not is
/// not listed.
const MAY_BE_UNSAFE: &[&str] = &[
    "crates/sockeye/src/daemon/inherited.rs",
    "crates/sockeye/src/daemon/systemd/sockets.rs",
    "crates/sockeye/src/sys/real/entropy.rs",
    "crates/sockeye/src/transport/heap.rs",
    "crates/sockeye/src/transport/mask.rs",
    "crates/sockeye-capi/lws13/src/lib.rs",
    "crates/sockeye-capi/src/callbacks.rs",
    "crates/sockeye-capi/src/caller.rs",
    "crates/sockeye-capi/src/context.rs",
    "crates/sockeye-capi/src/door.rs",
    "crates/sockeye-capi/src/export.rs",
    "crates/sockeye-capi/src/face13/calls.rs",
    "crates/sockeye-capi/src/face13/connect.rs",
    "crates/sockeye-capi/src/face13/files.rs",
    "crates/sockeye-capi/src/face13/tables.rs",
    "crates/sockeye-capi/src/face17/calls.rs",
    "crates/sockeye-capi/src/face17/connect.rs",
    "crates/sockeye-capi/src/face17/files.rs",
    "crates/sockeye-capi/src/face17/headers.rs",
    "crates/sockeye-capi/src/face17/helpers.rs",
    "crates/sockeye-capi/src/face17/http.rs",
    "crates/sockeye-capi/src/face17/info.rs",
    "crates/sockeye-capi/src/face17/ring.rs",
    "crates/sockeye-capi/src/face17/service.rs",
    "crates/sockeye-capi/src/face17/types.rs",
    "crates/sockeye-capi/src/log.rs",
    "crates/sockeye-capi/src/poll.rs",
    "crates/sockeye-capi/src/pool.rs",
    "crates/sockeye-capi/src/process.rs",
    "crates/sockeye-capi/src/protocol.rs",
    // The loop outside of a test, which knows descriptors by their numbers.
    "crates/sockeye-testing/src/raw/real.rs",
];

/// The modules of the library, top to bottom: each names only those behind it. What is not listed here names none of them,
/// but for the root, which has them all, and the simulator, which no module names.
const LAYERS: &[&str] = &[
    "messages",
    "threads",
    "service",
    "conn",
    "raw",
    "responder",
    "topics",
    "protocol",
    "state",
    "transport",
    "admission",
    "http",
    "client",
    "poll",
    "tls",
    "statistics",
    "error",
    "sys",
];
const BESIDE_LAYERS: &[&str] = &["sim"];

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

const LIBRARY: &str = "crates/sockeye/src/";

/// Where the sources of the crates are whose import graphs are judged.
const CRATES: &[&str] = &[
    "crates/sockeye-proto/src/",
    LIBRARY,
    "crates/sockeye-nats/src/",
    "crates/sockeye-redis/src/",
    "crates/sockeye-cli/src/",
    "crates/sockeye-capi/src/",
];

/// Prints every phrase of the word list for the English of comments and messages, and where it is.
pub(crate) fn print_english(workspace: &Workspace) -> Result<Checks, Failure> {
    let mut checks = Checks::default();
    for found in english::found(&Files::tracked(workspace)?) {
        say!("{:6} \"{}\"", found.places.len(), found.phrase);
        found.places.iter().for_each(|place| say!("       {place}"));
        checks.failed += found.places.len() as u64;
    }
    Ok(checks)
}

/// Prints every circle among the files and the rooms of each crate.
pub(crate) fn print_graph(workspace: &Workspace) -> Result<Checks, Failure> {
    let files = Files::tracked(workspace)?;
    let mut checks = Checks::default();
    for folder in CRATES {
        let graph = Graph::of_files(&files, folder);
        let rooms = graph.of_rooms();
        say!("{folder}: {} arrows among files, {} among rooms", graph.len(), rooms.len());
        for (kind, graph) in [("files", &graph), ("rooms", &rooms)] {
            let knots = graph.knots();
            say!("    {kind}: {} circles", knots.len());
            knots.iter().for_each(|knot| say!("       {knot}"));
            checks += if knots.is_empty() { Checks::passed(1) } else { Checks { passed: 0, failed: 1 } };
        }
    }
    Ok(checks)
}

/// A rule, and where it is broken.
struct Rule {
    text: &'static str,
    faults: Vec<String>,
}

fn rule(text: &'static str, faults: Vec<String>) -> Rule {
    Rule { text, faults }
}

/// Runs every check, so that one run tells everything that is wrong.
pub(crate) fn run(workspace: &Workspace) -> Result<Checks, Failure> {
    let files = Files::tracked(workspace)?;
    let rules = [
        rule("files are at most 600 lines without tests", lengths(&files)),
        rule("the protocol and the command forbid unsafe code", forbidden(&files)),
        rule("unsafe code only where it is listed", [unsafe_places(&files), unsafe_list(&files)].concat()),
        rule("nothing is left unfinished", leftovers(&files)),
        rule("no path of one machine", machine_paths(&files, workspace.root())),
        rule("no module of the library names one above it", layers(&files)),
        rule("the import graph has no circle (house --graph)", circles(&files)),
        rule("the protocol crate names nothing of the system", proto_names(&files)),
        rule("the protocol crate depends on nothing of the system", proto_dependencies(workspace)),
        rule("the protocol crate builds without the standard library", proto_builds(workspace)),
        rule("whole messages stand on the public interface", names::messages_are_public(&files)),
        rule("commands are verbs, and no name says what is not", names::commands_are_verbs(&files)),
        rule("comments and messages are plain English (house --english)", english(&files)),
        rule("the commands and the code in documents are tested", documents::check(&files)),
        rule("CI runs the README's command", ci(&files, workspace.root())),
    ];
    let mut counts = Checks::default();
    let mut broken = Vec::new();
    for Rule { text, faults } in &rules {
        say!("{} {text}", if faults.is_empty() { "ok    " } else { "BROKEN" });
        faults.iter().for_each(|fault| say!("       {fault}"));
        counts += Checks { passed: faults.is_empty().into(), failed: (!faults.is_empty()).into() };
        broken.extend(faults.iter().map(|fault| format!("  {fault}")));
    }
    if broken.is_empty() {
        return Ok(counts);
    }
    Err(Failure::new(format!("house rules are broken:\n{}", broken.join("\n")), counts))
}

/// Circles among the files and the rooms of each crate.
fn circles(files: &Files) -> Vec<String> {
    let knots = CRATES.iter().flat_map(|folder| {
        let graph = Graph::of_files(files, folder);
        let knots = [graph.knots(), graph.of_rooms().knots()].concat();
        knots.into_iter().map(move |knot| format!("{folder}: {}", knot.members.join(", ")))
    });
    knots.collect()
}

fn english(files: &Files) -> Vec<String> {
    english::found(files).into_iter().flat_map(|found| found.places).collect()
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
    for file in files.library() {
        let tokens = tokens::tokens(&file.text);
        let mut places = tokens.iter().filter(|token| token.text == "unsafe").map(|token| token.line).peekable();
        if !MAY_BE_UNSAFE.contains(&file.path.as_str()) {
            found.extend(
                places.map(|number| format!("{}:{number}: unsafe code in a file that is not listed", file.path)),
            );
        } else if places.peek().is_none() {
            found.push(format!("{}: listed as unsafe, and has no unsafe code", file.path));
        }
    }
    found
}

fn unsafe_list(files: &Files) -> Vec<String> {
    let gone = MAY_BE_UNSAFE.iter().filter(|path| files.get(path).is_none());
    gone.map(|path| format!("{path}: listed as unsafe, and not there")).collect()
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
    let floor = |room: &str| {
        let listed = LAYERS.iter().position(|layer| *layer == room);
        if BESIDE_LAYERS.contains(&room) { None } else { Some(listed.unwrap_or(LAYERS.len())) }
    };
    Graph::of_files(files, LIBRARY).upward(floor)
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
        Files::of([(path, text)])
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
        assert_eq!(unsafe_places(&files("crates/sockeye/src/daemon/mod.rs", text)).len(), 1);
        assert!(unsafe_places(&files("crates/sockeye/src/sys/real/entropy.rs", text)).is_empty());
        assert_eq!(unsafe_places(&files("crates/sockeye/src/sys/real/entropy.rs", "fn f() {}\n")).len(), 1);
        assert!(unsafe_places(&files("crates/sockeye/src/lib.rs", "#![deny(unsafe_code)] // no unsafe\n")).is_empty());
    }

    #[test]
    fn a_module_names_only_those_below_it() {
        let named = |path, text| {
            let root = "pub mod service; mod conn; mod sys; mod limits; mod sim;";
            layers(&Files::of([
                ("crates/sockeye/src/lib.rs", root),
                ("crates/sockeye/src/service/mod.rs", "pub struct Service;"),
                ("crates/sockeye/src/sys/mod.rs", "pub struct Sys;"),
                ("crates/sockeye/src/sim/mod.rs", "use crate::service::Service; pub struct Sim;"),
                (path, text),
            ]))
            .len()
        };
        assert_eq!(named("crates/sockeye/src/conn/mod.rs", "use crate::service::Service;"), 1);
        assert_eq!(named("crates/sockeye/src/limits.rs", "use crate::sys::Sys;"), 1);
        assert_eq!(named("crates/sockeye/src/conn/mod.rs", "use crate::sim::Sim;"), 1);
        assert_eq!(named("crates/sockeye/src/conn/mod.rs", "use crate::sys::Sys; // crate::service"), 0);
    }

    #[test]
    fn leftovers_are_whole_words() {
        let mark = ["TO", "DO"].concat();
        assert_eq!(leftovers(&files("a.rs", &format!("// {mark}: later\n"))).len(), 1);
        assert!(leftovers(&files("a.rs", &format!("const {mark}S: u8 = 1;\n"))).is_empty());
    }

    #[test]
    fn this_checkout_is_nowhere_in_the_text() {
        let root = Path::new("/somewhere/sockeye");
        assert_eq!(machine_paths(&files("a.md", "see /somewhere/sockeye/a.md\n"), root).len(), 1);
        assert!(machine_paths(&files("a.md", "see crates/sockeye\n"), root).is_empty());
    }
}
