//! The public items of the libraries, one a line, in `docs/api/`: a change of the interface is seen in review.
//!
//! They come from rustdoc's JSON, which a stable compiler writes with `RUSTC_BOOTSTRAP`. Its format changes now and then. The
//! first line of a listing names its format, and a compiler with another format compares nothing.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use public_api::Builder;
use serde_json::Value;

use crate::{
    gate::{Checks, Failure},
    output::say,
    rust,
    workspace::Workspace,
};

/// The packages whose interface is published.
const PACKAGES: [&str; 4] = ["sockeye-proto", "sockeye", "sockeye-hub", "sockeye-redis"];

const FOLDER: &str = "docs/api";

/// How many lines of a difference are shown.
const SHOWN: usize = 100;

/// Compares the listings with the libraries, or writes them.
pub(crate) fn run(workspace: &Workspace, write: bool) -> Result<Checks, Failure> {
    let mut total = Checks::default();
    let mut stale = Vec::new();
    for package in PACKAGES {
        let json = describe(workspace, package)?;
        let format = first_line(&json)?;
        let name = format!("{FOLDER}/{package}.txt");
        let path = workspace.root().join(&name);
        let old = match fs::read_to_string(&path) {
            Ok(old) => old,
            Err(_) if write => String::new(),
            Err(error) => return Err(format!("{name}: {error}; `cargo xtask api` writes it").into()),
        };
        if !write && !old.starts_with(&format) {
            let has = old.lines().next().unwrap_or_default();
            say!("{name} is not compared: it has {has:?}, and this compiler has {format:?}");
            continue;
        }
        let new = format!("{format}\n{}", listing(&json)?);
        if write {
            fs::write(&path, new).map_err(|error| format!("{name}: {error}"))?;
        } else if old != new {
            say!("--- {name}\n+++ the interface of {package}");
            difference(&old, &new).iter().take(SHOWN).for_each(|line| say!("{line}"));
            stale.push(name);
            continue;
        }
        total += Checks::passed(1);
    }
    if stale.is_empty() {
        return Ok(total);
    }
    let message = format!(
        "the interface is not what {} says: look at the difference above, and if it is meant, \
         `cargo xtask api` writes it; commit it with the change, and add a line to CHANGELOG.md",
        stale.join(" and ")
    );
    Err(Failure::new(message, total))
}

/// The library of a package as rustdoc describes it.
fn describe(workspace: &Workspace, package: &str) -> Result<PathBuf, Failure> {
    // A folder of its own, beside other documentation. What is below the library is what the lints have checked already, from
    // Rust 1.91 on, which knows folders for builds.
    let target = workspace.target().join("api");
    let mut command = workspace.cargo(["rustdoc", "--package", package, "--lib", "--features"]);
    command.arg(rust::features_of(package)).arg("--target-dir").arg(&target).args([
        "--",
        "-Z",
        "unstable-options",
        "--output-format",
        "json",
    ]);
    command.env("CARGO_BUILD_BUILD_DIR", workspace.target()).env("RUSTDOC", unstable_rustdoc(&target)?);
    rust::must_succeed(&mut command)?;
    Ok(target.join("doc").join(package.replace('-', "_")).with_extension("json"))
}

/// A rustdoc that takes unstable options. Only it has `RUSTC_BOOTSTRAP`: build scripts look at that too, so if cargo had it,
/// everything below the library would be built anew.
fn unstable_rustdoc(folder: &Path) -> Result<PathBuf, Failure> {
    let path = folder.join("rustdoc.sh");
    let rustdoc = env::var("RUSTDOC").unwrap_or_else(|_| "rustdoc".to_owned());
    let failed = |error| Failure::from(format!("{}: {error}", path.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    fs::write(&path, format!("#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec '{rustdoc}' \"$@\"\n")).map_err(failed)?;
    fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(failed)?;
    Ok(path)
}

/// The first line of a listing.
fn first_line(json: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(json).map_err(|error| format!("{}: {error}", json.display()))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", json.display()))?;
    let version = value["format_version"].as_u64().ok_or("rustdoc's JSON has no format_version")?;
    Ok(format!("# rustdoc's JSON, format {version}"))
}

fn listing(json: &Path) -> Result<String, Failure> {
    let api = Builder::from_rustdoc_json(json).omit_blanket_impls(true).build();
    let api = api.map_err(|error| format!("{}: {error}", json.display()))?;
    Ok(chosen(api.items().map(ToString::to_string)))
}

/// The lines worth a review, each once. The methods of implemented traits are left out, as the trait lists them. Of the traits
/// that the compiler implements, only a missing `Send` or `Sync` is listed.
fn chosen(items: impl Iterator<Item = String>) -> String {
    let (mut seen, mut out) = (BTreeSet::new(), String::new());
    // How the methods of the trait begin that was implemented last.
    let mut methods = None;
    for line in items {
        if line.starts_with("impl") {
            methods = line
                .split_once(" for ")
                .map(|(_, of)| format!("pub fn {}::", of.split(" where ").next().unwrap_or(of)));
            if OWN_TRAITS.iter().any(|name| line.contains(name)) && !MISSING.iter().any(|name| line.contains(name)) {
                continue;
            }
        } else if methods.as_ref().is_some_and(|methods| line.starts_with(methods)) {
            continue;
        }
        if seen.insert(line.clone()) {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

/// Traits that the compiler implements by itself, or derives with `PartialEq`.
const OWN_TRAITS: [&str; 8] = [
    "core::marker::Freeze for ",
    "core::marker::Send for ",
    "core::marker::StructuralPartialEq for ",
    "core::marker::Sync for ",
    "core::marker::Unpin for ",
    "core::marker::UnsafeUnpin for ",
    "core::panic::unwind_safe::RefUnwindSafe for ",
    "core::panic::unwind_safe::UnwindSafe for ",
];
/// What keeps a type on its thread.
const MISSING: [&str; 2] = ["!core::marker::Send for ", "!core::marker::Sync for "];

/// What is only in the one, and only in the other.
fn difference(old: &str, new: &str) -> Vec<String> {
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (old.lines().collect(), new.lines().collect());
    let gone = old.lines().filter(|line| !after.contains(line)).map(|line| format!("-{line}"));
    let come = new.lines().filter(|line| !before.contains(line)).map(|line| format!("+{line}"));
    gone.chain(come).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_trait_lists_already_is_left_out() {
        let items = [
            "pub struct a::B",
            "impl a::B",
            "pub fn a::B::new() -> Self",
            "impl core::fmt::Debug for a::B",
            "pub fn a::B::fmt(&self, &mut core::fmt::Formatter<'_>) -> core::fmt::Result",
            "impl core::convert::TryFrom<u16> for a::B",
            "pub type a::B::Error = a::E",
            "pub fn a::B::try_from(u16) -> core::result::Result<Self, a::E>",
            "impl !core::marker::Send for a::B",
            "impl core::marker::Sync for a::B",
            "impl core::marker::StructuralPartialEq for a::B",
            "pub fn a::free()",
            "pub struct a::B",
        ];
        let lines = [
            "pub struct a::B",
            "impl a::B",
            "pub fn a::B::new() -> Self",
            "impl core::fmt::Debug for a::B",
            "impl core::convert::TryFrom<u16> for a::B",
            "pub type a::B::Error = a::E",
            "impl !core::marker::Send for a::B",
            "pub fn a::free()",
        ];
        assert_eq!(chosen(items.iter().map(ToString::to_string)), lines.join("\n") + "\n");
    }

    #[test]
    fn a_difference_has_both_sides() {
        assert_eq!(difference("a\nb\nc\n", "a\nd\nc\n"), ["-b", "+d"]);
    }
}
