//! The programs that call from several threads, on libraries that ThreadSanitizer watches.
//!
//! The stable compiler takes the option with `RUSTC_BOOTSTRAP`; the runtime is that of the C compiler. The standard library is compiled
//! without it, and `tests/threads/std.c` stands for what it does behind inline code. `tests/threads/known.rs` proves both ends: what is
//! no race is not reported, and what is one is.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{CRATE, LIMIT, PRODUCTS, link, make};
use crate::{
    certificates::Certificates,
    fuzz,
    gate::{Checks, Failure},
    interop,
    output::say,
    process,
    workspace::Workspace,
};

/// What rustc is told. Generic code of the standard library is compiled anew with ours, and so is watched.
const FLAGS: [&str; 3] = ["-Zsanitizer=thread", "-Zshare-generics=no", "-Cunsafe-allow-abi-mismatch=sanitizer"];

/// What `cc` is told, to compile and to link.
const SANITIZER: &str = "-fsanitize=thread";

/// Functions of the standard library by the ends of their symbols, and what `std.c` calls them.
const UNSEEN: [(&str, &str); 4] = [
    ("5mutex5futexNtB2_5Mutex14lock_contended", "MUTEX_LOCK"),
    ("6rwlock5futexNtB2_6RwLock14read_contended", "RWLOCK_READ"),
    ("6rwlock5futexNtB2_6RwLock15write_contended", "RWLOCK_WRITE"),
    ("7condvar5futexNtB2_7Condvar4wait", "CONDVAR_WAIT"),
];

/// Functions of the runtime that `std.c` adds to.
const ADDED_TO: [&str; 2] = ["__tsan_atomic64_fetch_sub", "__tsan_atomic_thread_fence"];

/// The cases of `known.rs`, and whether each is a race.
const KNOWN: [bool; 7] = [false, false, false, false, true, true, true];

/// The scripts bound each program; this bounds a script.
const SCRIPT_LIMIT: Duration = Duration::from_secs(15 * 60);

/// What a program ends with in which a race was found.
const FOUND: i32 = 66;

/// Builds the libraries so, and runs what has threads on them.
pub(crate) fn run(workspace: &Workspace) -> Result<Checks, Failure> {
    let mut total = known(workspace)?;
    let certificates = Certificates::make(&workspace.target().join("capi/threads"))?;
    let build = folder(workspace).join("build");
    let mut command = workspace.cargo(["build", "--locked", "--profile", "sim", "--no-default-features"]);
    for product in PRODUCTS {
        let package = format!("sockeye-{}", product.name);
        command.args(["--package", &package, "--features", &format!("{package}/tls-ring")]);
    }
    // With a target named, the flags are not those of build scripts, which have no runtime of a sanitizer.
    command.arg("--target").arg(fuzz::host()?).arg("--target-dir").arg(&build);
    command.env("RUSTFLAGS", FLAGS.join(" ")).env("RUSTC_BOOTSTRAP", "1").env_remove("CARGO_ENCODED_RUSTFLAGS");
    link::run_within(&mut command, LIMIT)?;
    for product in PRODUCTS {
        let archive = build.join(fuzz::host()?).join("sim").join(format!("libsockeye_{}.a", product.name));
        let (library, objects) = (folder(workspace).join(product.name), folder(workspace).join("objects"));
        let objects = objects.join(product.name);
        make(&objects)?;
        let watch = watch(workspace, &archive)?;
        total += product.link(workspace, archive, &library, objects, watch)?;
        let mut command = Command::new("python3");
        match product.header {
            Some(_) => {
                command.arg(workspace.root().join(CRATE).join("tests/run.py")).arg(library).arg(certificates.folder())
            }
            None => {
                command.arg(workspace.root().join("conformance/capi/run.py")).arg("--library").arg(library.join("lib"))
            }
        };
        command.arg("--threads").env("PYTHONDONTWRITEBYTECODE", "1");
        total += interop::count("run.py", &process::run(&mut command, SCRIPT_LIMIT)?)?;
    }
    Ok(total)
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("capi").join("threads")
}

/// How a library is made of an archive that refers to these functions of the standard library.
fn watch(workspace: &Workspace, archive: &Path) -> Result<link::Watch, Failure> {
    let mut command = Command::new("nm");
    command.args(["--undefined-only", "--format=posix"]).arg(archive);
    let lines = process::read(&mut command, LIMIT)?.success(&process::shown(&command))?.lines;
    let symbols: BTreeSet<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    let mut watch = link::Watch {
        source: Some(workspace.root().join(CRATE).join("tests/threads/std.c")),
        compile: vec![SANITIZER.to_owned(), "-fno-builtin".to_owned()],
        link: vec![SANITIZER.to_owned()],
    };
    for (end, name) in UNSEEN {
        if let Some(symbol) = symbols.iter().find(|symbol| symbol.starts_with("_RN") && symbol.ends_with(end)) {
            watch.compile.push(format!("-D{name}={symbol}"));
            watch.link.push(format!("-Wl,--wrap={symbol}"));
        } else if name == "MUTEX_LOCK" {
            return Err(format!(
                "{}: no symbol ends with {end}: this compiler's standard library has other locks",
                archive.display()
            )
            .into());
        }
    }
    watch.link.extend(ADDED_TO.iter().map(|name| format!("-Wl,--wrap={name}")));
    Ok(watch)
}

/// What is known to be a race is found, and what is known to be none is not.
fn known(workspace: &Workspace) -> Result<Checks, Failure> {
    let (sources, folder) = (workspace.root().join(CRATE).join("tests/threads"), folder(workspace).join("known"));
    make(&folder)?;
    let archive = folder.join("libknown.a");
    let mut command = Command::new("rustc");
    command.args(["--edition", "2024", "--crate-type", "staticlib", "-Copt-level=1", "-g"]).args(FLAGS).arg("-o");
    command.arg(&archive).arg(sources.join("known.rs")).env("RUSTC_BOOTSTRAP", "1");
    link::run_within(&mut command, LIMIT)?;
    let watch = watch(workspace, &archive)?;
    let (object, program) = (folder.join("std.o"), folder.join("known"));
    let mut command = Command::new("cc");
    command.args(["-c", "-O2", "-g"]).args(&watch.compile).arg("-o").arg(&object).args(&watch.source);
    link::run_within(&mut command, LIMIT)?;
    let mut command = Command::new("cc");
    command.args(["-g", "-Wall", "-Wextra", "-Werror"]).args(&watch.link).arg("-o").arg(&program);
    command.arg(sources.join("known.c")).arg(&object).arg(&archive).args(link::SYSTEM);
    link::run_within(&mut command, LIMIT)?;

    let mut checks = Checks::default();
    for (number, is_race) in KNOWN.iter().enumerate() {
        let mut command = Command::new(&program);
        command.arg(number.to_string()).env("TSAN_OPTIONS", format!("exitcode={FOUND}"));
        let output = process::read(&mut command, SCRIPT_LIMIT)?;
        let is_found = output.lines.iter().any(|line| line.contains("WARNING: ThreadSanitizer: data race"));
        let wanted = if *is_race { FOUND } else { 0 };
        if is_found != *is_race || output.status.code() != Some(wanted) {
            checks.failed += 1;
            let kind = if *is_race { "a race" } else { "no race" };
            let text = output.lines.join("\n");
            return Err(Failure::new(format!("case {number} is {kind} ({}):\n{text}", output.status), checks));
        }
        checks.passed += 1;
    }
    say!("{} known cases, {} of them races", KNOWN.len(), KNOWN.iter().filter(|is_race| **is_race).count());
    Ok(checks)
}
