//! Debian's programs that were built for libwebsockets 4.1.6, unchanged, and C programs of our own, on the library that takes its place:
//! `conformance/capi/run.py` runs them, and prints `ok NAME` or `not ok NAME: why` for every check.

use std::{process::Command, time::Duration};

use super::{PRODUCTS, Profile};
use crate::{
    certificates::Certificates,
    gate::{Checks, Failure},
    interop, process,
    workspace::Workspace,
};

/// The script bounds each program; this bounds the script.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Builds the libraries that only programs that are compiled already can load, and runs all recipes on them.
pub(crate) fn run(workspace: &Workspace) -> Result<Checks, Failure> {
    let mut total = Checks::default();
    let certificates = Certificates::make(&workspace.target().join("capi/packaged"))?;
    for product in PRODUCTS.iter().filter(|product| product.header.is_none()) {
        let folder = product.folder(workspace);
        total += product.build(workspace, Profile::Release, &folder)?;
        let mut command = Command::new("python3");
        command.arg(workspace.root().join("conformance/capi/run.py")).arg("--library").arg(folder.join("lib"));
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("CERTIFICATES", certificates.folder());
        total += interop::count("run.py", &process::run(&mut command, LIMIT)?)?;
    }
    Ok(total)
}
