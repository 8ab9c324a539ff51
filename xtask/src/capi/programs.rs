//! The C programs that test the libraries: `crates/sockeye-capi/tests/run.py` compiles and runs them, and prints `ok NAME` or
//! `not ok NAME: why` for every check.

use std::{process::Command, time::Duration};

use super::{CRATE, PRODUCTS, Profile};
use crate::{
    certificates::Certificates,
    gate::{Checks, Failure},
    interop, process,
    workspace::Workspace,
};

/// The script bounds each program; this bounds the script.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Builds the libraries that programs can be compiled for, and runs all programs on them.
pub(crate) fn run(workspace: &Workspace) -> Result<Checks, Failure> {
    let mut total = Checks::default();
    let certificates = Certificates::make(&workspace.target().join("capi/programs"))?;
    for product in PRODUCTS.iter().filter(|product| product.header.is_some()) {
        total += product.build(workspace, Profile::Release, &product.folder(workspace))?;
        let mut command = Command::new("python3");
        command.arg(workspace.root().join(CRATE).join("tests/run.py")).arg(product.folder(workspace));
        command.arg(certificates.folder());
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        total += interop::count("run.py", &process::run(&mut command, LIMIT)?)?;
    }
    Ok(total)
}
