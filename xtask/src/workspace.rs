//! Where things lie.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::process;

/// The paths of this checkout.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    binary: Option<PathBuf>,
}

impl Workspace {
    /// The checkout that this program was started from. `binary` stands in for the `sockeye` built here.
    pub(crate) fn find(binary: Option<PathBuf>) -> Result<Self, String> {
        // `cargo run` says where the manifest is now; what was true when this was compiled may be another checkout.
        let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest).parent().ok_or("the manifest has no folder above it")?.to_owned();
        let mut command = Command::new(cargo_program());
        command.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(&root);
        let output = process::read(&mut command, Duration::from_secs(120))?.success("cargo metadata")?;
        // Beside warnings.
        let json = output.lines.iter().find(|line| line.starts_with('{')).ok_or("cargo metadata printed nothing")?;
        let metadata: Value = serde_json::from_str(json).map_err(|error| format!("cargo metadata: {error}"))?;
        let target = metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?;
        let binary = binary.map(|path| path.canonicalize().map_err(|error| format!("{}: {error}", path.display())));
        Ok(Self { root, target: PathBuf::from(target), binary: binary.transpose()? })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What tests and tools leave behind goes below the build folder, never beside the sources.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Where packages of other languages are installed.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// The `sockeye` under test: the release build unless `--binary` named another.
    pub(crate) fn binary(&self) -> PathBuf {
        self.binary.clone().unwrap_or_else(|| self.target.join("release").join("sockeye"))
    }

    /// The client that other servers judge.
    pub(crate) fn client(&self) -> PathBuf {
        self.target.join("sim").join("conformance-client")
    }

    /// An example of the library, by its name.
    pub(crate) fn example(&self, name: &str) -> PathBuf {
        self.examples().join(name)
    }

    /// The folder of the examples.
    pub(crate) fn examples(&self) -> PathBuf {
        self.target.join("sim").join("examples")
    }

    pub(crate) fn binary_is_ours(&self) -> bool {
        self.binary.is_none()
    }

    pub(crate) fn cargo<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = Command::new(cargo_program());
        command.args(arguments).current_dir(&self.root);
        command
    }
}

fn cargo_program() -> std::ffi::OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
