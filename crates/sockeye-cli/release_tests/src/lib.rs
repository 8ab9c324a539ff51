//! The programs that the tests of the release build try.

use std::{env, path::PathBuf};

/// The command: the one that `SOCKEYE_BIN` names, or the one that was built with the profile of this test.
///
/// # Panics
///
/// Without either.
#[must_use]
pub fn command() -> PathBuf {
    if let Some(named) = env::var_os("SOCKEYE_BIN") {
        return named.into();
    }
    let program = build_folder().join("sockeye");
    assert!(
        program.exists(),
        "{} is not built: cargo build -p sockeye-cli, with the profile of this test, or name another one in SOCKEYE_BIN",
        program.display()
    );
    program
}

/// Where cargo puts what it builds with the profile of this test, whose own program is in its folder `deps`.
///
/// # Panics
///
/// If the running program was moved elsewhere.
#[must_use]
pub fn build_folder() -> PathBuf {
    let program = env::current_exe().expect("a test knows its program");
    program.ancestors().nth(2).expect("cargo puts tests into a folder").to_owned()
}
