//! The C libraries: each is the archive that cargo builds of its crate, and the C files beside it, linked here.
//!
//! cargo cannot do that: a `cdylib` of Rust exports nothing of the C objects in it. [`link`] makes the libraries; [`programs`] runs the
//! C programs that test them; [`mod@threads`] those that have threads, under ThreadSanitizer.

mod abused;
mod debian;
mod link;
mod packaged;
mod programs;
mod threads;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

pub(crate) use abused::run as abused;
pub(crate) use debian::run as debian;
pub(crate) use packaged::run as packaged;
pub(crate) use programs::run as gate;
pub(crate) use threads::run as threads;

use crate::{
    gate::{Checks, Failure},
    output::say,
    process,
    workspace::Workspace,
};

/// One library.
struct Product {
    /// Of its folder, of its list of names, and of its crate behind `sockeye-`.
    name: &'static str,
    /// The number behind `libwebsockets.so.`; programs ask for that file.
    number: &'static str,
    /// What pkg-config says.
    version: &'static str,
    /// The C files that belong to it.
    shims: &'static [&'static str],
    /// Whether there is a second list, of functions that only stand there: programs that never call them start with them.
    has_stubs: bool,
    /// The folder of its header. Without one programs that are compiled already can load it, and no others be made.
    header: Option<&'static str>,
}

const PRODUCTS: &[Product] = &[
    Product {
        name: "lws13",
        number: "1",
        version: "1.0.0",
        shims: &["log.c", "syslog.c", "wait.c", "service13.c", "fork.c"],
        has_stubs: false,
        header: Some("2013"),
    },
    Product {
        name: "lws17",
        number: "17",
        version: "4.1.6",
        shims: &["log17.c", "syslog.c", "wait.c", "service17.c", "tables17.c"],
        has_stubs: true,
        header: None,
    },
];

/// What the libraries are built for.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Profile {
    Release,
    /// With assertions, in less time.
    Debug,
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Debug => "debug",
        }
    }
}

/// Where everything of this crate is.
const CRATE: &str = "crates/sockeye-capi";

/// A release build on two slow cores takes less, or hangs.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Builds every library below `capi` in the build folder, and installs them below `prefix`.
pub(crate) fn build(workspace: &Workspace, profile: Profile, prefix: Option<&Path>) -> Result<Checks, Failure> {
    let mut total = Checks::default();
    for product in PRODUCTS {
        let folder = product.folder(workspace);
        total += product.build(workspace, profile, &folder)?;
        if let Some(prefix) = prefix {
            copy_folder(&folder, prefix)?;
            say!("installed below {}", prefix.display());
        }
    }
    Ok(total)
}

/// The folder with the library that takes the place of Debian's, built for release.
pub(crate) fn library(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let product = PRODUCTS.iter().find(|product| product.header.is_none()).ok_or("no such library")?;
    let folder = product.folder(workspace);
    product.build(workspace, Profile::Release, &folder)?;
    Ok(folder.join("lib"))
}

impl Product {
    fn folder(&self, workspace: &Workspace) -> PathBuf {
        workspace.target().join("capi").join(self.name)
    }

    /// The library for programs that are linked now, if there is a header for them, and for those that were.
    fn build(&self, workspace: &Workspace, profile: Profile, folder: &Path) -> Result<Checks, Failure> {
        /// What was linked already: another step may be running programs on it.
        static LINKED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
        let mut linked = LINKED.lock().unwrap_or_else(PoisonError::into_inner);
        if linked.contains(folder) {
            return link::check(&folder.join("lib").join(self.file()), &self.names(workspace)?);
        }
        let archive = self.archive(workspace, profile)?;
        let objects = workspace.target().join("capi").join("objects").join(self.name);
        let checks = self.link(workspace, archive, folder, objects, link::Watch::default())?;
        linked.insert(folder.to_owned());
        Ok(checks)
    }

    /// From the archive to the library below `folder`.
    fn link(
        &self,
        workspace: &Workspace,
        archive: PathBuf,
        folder: &Path,
        objects: PathBuf,
        watch: link::Watch,
    ) -> Result<Checks, Failure> {
        // What an earlier version left is not to be installed.
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        make(&objects)?;
        let library = folder.join("lib");
        make(&library)?;
        let stubs = if self.has_stubs { list(workspace, &format!("{}-unimplemented", self.name))? } else { Vec::new() };
        let parts = link::Parts::compile(workspace, self, &stubs, archive, objects, watch)?;
        let names = self.names(workspace)?;
        parts.shared(&library.join(self.file()), &self.file(), &names)?;
        if let Some(header) = self.header {
            parts.fixed(&library.join("libwebsockets.a"), &names)?;
            std::os::unix::fs::symlink(self.file(), library.join("libwebsockets.so"))
                .map_err(|error| format!("libwebsockets.so: {error}"))?;
            let described = library.join("pkgconfig");
            make(&described)?;
            self.describe(&described, "${pcfiledir}/..", "${pcfiledir}/../../include")?;
            let include = folder.join("include");
            make(&include)?;
            let header = workspace.root().join(CRATE).join("include").join(header).join(HEADER);
            copy(&header, &include.join(HEADER))?;
        }
        link::check(&library.join(self.file()), &names)
    }

    /// All names that it has for others.
    fn names(&self, workspace: &Workspace) -> Result<Vec<String>, Failure> {
        let mut names = list(workspace, self.name)?;
        if self.has_stubs {
            names.extend(list(workspace, &format!("{}-unimplemented", self.name))?);
        }
        Ok(names)
    }

    /// The file that programs ask for.
    fn file(&self) -> String {
        format!("libwebsockets.so.{}", self.number)
    }

    /// What cargo makes of its crate.
    fn archive(&self, workspace: &Workspace, profile: Profile) -> Result<PathBuf, Failure> {
        // All at once: the link-time optimisation of each has one thread.
        let mut command = workspace.cargo(["build"]);
        for product in PRODUCTS {
            command.args(["--package", &format!("sockeye-{}", product.name)]);
        }
        if profile == Profile::Release {
            command.arg("--release");
        }
        process::run(&mut command, LIMIT)?.success(&process::shown(&command))?;
        Ok(workspace.target().join(profile.folder()).join(format!("libsockeye_{}.a", self.name)))
    }

    /// The file for pkg-config. It finds the others from where it lies itself, so all may be moved.
    fn describe(&self, folder: &Path, library: &str, include: &str) -> Result<(), Failure> {
        let text = format!(
            "libdir={library}\n\
             includedir={include}\n\
             \n\
             Name: libwebsockets\n\
             Description: WebSocket servers and clients: Sockeye, by the interface of libwebsockets of 2013\n\
             Version: {}\n\
             Libs: -L${{libdir}} -lwebsockets\n\
             Libs.private: {}\n\
             Cflags: -I${{includedir}}\n",
            self.version,
            link::SYSTEM.join(" ")
        );
        let path = folder.join("libwebsockets.pc");
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(())
    }
}

const HEADER: &str = "libwebsockets.h";

/// The names of a list.
fn list(workspace: &Workspace, name: &str) -> Result<Vec<String>, Failure> {
    let path = workspace.root().join(CRATE).join(format!("exports/{name}.txt"));
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn make(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()).into())
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    match fs::copy(from, to) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{} to {}: {error}", from.display(), to.display()).into()),
    }
}

/// Links stay links.
fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    make(to)?;
    let mut command = Command::new("cp");
    command.args(["--recursive", "--no-dereference", "--remove-destination"]).arg(from.join(".")).arg(to);
    process::read(&mut command, LIMIT)?.success(&process::shown(&command))?;
    Ok(())
}
