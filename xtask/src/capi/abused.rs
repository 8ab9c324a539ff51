//! C programs below the abuse tests of the command: the rows that concern a C library, against a program of `tests/abuse` on each.

use std::{path::PathBuf, process::Command};

use super::{CRATE, LIMIT, PRODUCTS, Product, Profile};
use crate::{
    gate::{Checks, Failure},
    process, rust,
    workspace::Workspace,
};

/// Builds the libraries and the programs, and runs the rows against each.
pub(crate) fn run(workspace: &Workspace) -> Result<Checks, Failure> {
    let mut total = Checks::default();
    for product in PRODUCTS {
        let folder = product.folder(workspace);
        product.build(workspace, Profile::Release, &folder)?;
        let program = program(workspace, product)?;
        let mut command = rust::sim(workspace, "test");
        command.args(["--test", "abuse"]).env("SOCKEYE_BIN", program).env("LD_LIBRARY_PATH", folder.join("lib"));
        total += rust::tests(command.env("SOCKEYE_ABUSE_C", product.header.unwrap_or(product.version)))?;
    }
    Ok(total)
}

fn program(workspace: &Workspace, product: &Product) -> Result<PathBuf, Failure> {
    let name = product.name.replace("lws", "server");
    let program = workspace.target().join("capi/objects").join(&name);
    let mut command = Command::new("cc");
    command.args(["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program);
    command.arg(workspace.root().join(CRATE).join("tests/abuse").join(&name).with_extension("c"));
    // Where there is no header of ours it is Debian's, and Debian's library is there until the program runs.
    if product.header.is_some() {
        let folder = product.folder(workspace);
        command.arg("-I").arg(folder.join("include")).arg("-L").arg(folder.join("lib"));
    }
    command.arg("-lwebsockets");
    process::run(&mut command, LIMIT)?.success(&process::shown(&command))?;
    Ok(program)
}
