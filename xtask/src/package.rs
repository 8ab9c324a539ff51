//! The crates as they are published: whether each package is complete, and works without the repository around it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    gate::{Checks, Failure},
    process, rust,
    workspace::Workspace,
};

/// What is published, dependencies first.
const CRATES: [&str; 6] = ["sockeye-proto", "sockeye", "sockeye-hub", "sockeye-nats", "sockeye-redis", "sockeye-cli"];

/// What each package has to contain beside its sources.
const FILES: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Packs all of them, unpacks them elsewhere, and there checks each with its packaged dependencies: what a package lacks does not
/// compile. The tests of documentation have run in the repository, and are made of the same files.
pub(crate) fn run(workspace: &Workspace) -> Result<Checks, Failure> {
    let mut pack = workspace.cargo(["package", "--quiet", "--allow-dirty", "--no-verify"]);
    pack.args(CRATES.iter().flat_map(|name| ["--package", name]));
    process::run(&mut pack, LIMIT)?.success("cargo package")?;
    let folder = workspace.target().join("unpacked");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut checks = Checks::default();
    for name in CRATES {
        checks += unpack(workspace, name, &folder)?;
    }
    for name in CRATES {
        let manifest = unpacked(&folder, name).join("Cargo.toml");
        let features = rust::features_of(name);
        let mut command = workspace.cargo(["check", "--quiet", "--no-default-features", "--features", &features]);
        command.arg("--manifest-path").arg(manifest);
        // The folder for builds is shared, so that dependencies are not built once more.
        command.arg("--target-dir").arg(workspace.target());
        for sibling in CRATES.iter().take_while(|sibling| **sibling != name) {
            let path = unpacked(&folder, sibling);
            command.arg("--config").arg(format!("patch.crates-io.{sibling}.path={:?}", path.display().to_string()));
        }
        process::run(&mut command, LIMIT)?.success(&process::shown(&command))?;
        checks.passed += 1;
    }
    Ok(checks)
}

/// Unpacks one crate into `folder` and looks at what is there.
fn unpack(workspace: &Workspace, name: &str, folder: &Path) -> Result<Checks, Failure> {
    let archive = workspace.target().join("package").join(format!("{name}-{VERSION}.crate"));
    let mut command = std::process::Command::new("tar");
    // Packed files have one old date, by which cargo would take them for those that it built before.
    command.args(["--extract", "--gzip", "--touch", "--file"]).arg(&archive).arg("--directory").arg(folder);
    process::run(&mut command, LIMIT)?.success("tar")?;
    let root = unpacked(folder, name);
    if let Some(missing) = FILES.iter().find(|file| !root.join(file).is_file()) {
        return Err(format!("the package of {name} lacks {missing}").into());
    }
    let path = root.join("Cargo.toml");
    let manifest = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    for field in ["documentation", "homepage", "repository", "readme", "license", "description"] {
        if !manifest.lines().any(|line| line.starts_with(&format!("{field} = \""))) {
            return Err(format!("the package of {name} does not state its {field}").into());
        }
    }
    // Else cargo takes it for a stray member of the workspace that the build folder is in.
    fs::write(&path, manifest + "\n[workspace]\n").map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Checks::passed(1))
}

fn unpacked(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}-{VERSION}"))
}

/// All crates of the workspace have one version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
