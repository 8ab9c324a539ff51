//! The C libraries as a package of Debian.
//!
//! Debian's own libwebsockets stays what it is: its files have other names. What programs of 2013 load is where the linker looks; what they
//! are compiled with, and the library that takes the place of Debian's for a program that asks for it, are in folders called `sockeye`.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{HEADER, LIMIT, PRODUCTS, Profile, copy, link, make};
use crate::{
    gate::{Checks, Failure},
    output::say,
    process::{self, Server},
    tools,
    workspace::Workspace,
};

const NAME: &str = "sockeye-libwebsockets";

/// Builds the libraries and the package, into `out`, and tries it below a folder that stands for `/`.
pub(crate) fn run(workspace: &Workspace, out: &Path) -> Result<Checks, Failure> {
    for (program, package) in [("dpkg-deb", "dpkg"), ("strip", "binutils"), ("pkg-config", "pkg-config")] {
        if !tools::found(&[program, "--version"]) {
            return Err(format!("{program} is missing\nType: sudo apt-get install -y {package}").into());
        }
    }
    let package = Package::new(workspace, out)?;
    let (file, again) = (package.pack("package")?, package.pack("again")?);
    let bytes = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let mut checks = Checks::default();
    judge(&mut checks, bytes(&file)? == bytes(&again)?, "packed twice, it is not the same")?;
    package.installs(&file, &mut checks)?;
    let kept = out.join(format!("{NAME}_{}_{}.deb", env!("CARGO_PKG_VERSION"), package.architecture));
    copy(&file, &kept)?;
    say!("{}", kept.display());
    Ok(checks)
}

struct Package<'a> {
    workspace: &'a Workspace,
    /// `amd64`, and `x86_64-linux-gnu`.
    architecture: String,
    triplet: String,
    /// Where trees and packages are made.
    folder: PathBuf,
}

impl<'a> Package<'a> {
    fn new(workspace: &'a Workspace, out: &Path) -> Result<Self, Failure> {
        for product in PRODUCTS {
            product.build(workspace, Profile::Release, &product.folder(workspace))?;
        }
        let architecture = said(Command::new("dpkg").arg("--print-architecture"))?;
        let triplet = said(Command::new("cc").arg("-print-multiarch"))?;
        let folder = workspace.target().join("capi/debian");
        make(&folder)?;
        make(out)?;
        Ok(Self { workspace, architecture, triplet, folder })
    }

    /// Everything below `name`, and the package of it.
    fn pack(&self, name: &str) -> Result<PathBuf, Failure> {
        let root = self.folder.join(name);
        if root.exists() {
            fs::remove_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        }
        self.fill(&root)?;
        self.describe(&root)?;
        for entry in entries(&root)? {
            let metadata = entry.symlink_metadata().map_err(|error| format!("{}: {error}", entry.display()))?;
            if !metadata.is_symlink() {
                let mode = if metadata.is_dir() { 0o755 } else { 0o644 };
                fs::set_permissions(&entry, fs::Permissions::from_mode(mode))
                    .map_err(|error| format!("{}: {error}", entry.display()))?;
            }
        }
        let file = self.folder.join(format!("{name}.deb"));
        let mut command = Command::new("dpkg-deb");
        command.args(["--root-owner-group", "-Zxz", "--build"]).arg(&root).arg(&file);
        // No time in it is later than the commit.
        command.env("SOURCE_DATE_EPOCH", self.time());
        process::read(&mut command, LIMIT)?.success(&process::shown(&command))?;
        Ok(file)
    }

    /// When the commit was made. What is no checkout has none.
    fn time(&self) -> String {
        let mut command = Command::new("git");
        command.args(["log", "-1", "--format=%ct"]).current_dir(self.workspace.root());
        said(&mut command).unwrap_or_else(|_| "0".to_owned())
    }

    fn fill(&self, root: &Path) -> Result<(), Failure> {
        let public = root.join("usr/lib").join(&self.triplet);
        let (private, include) = (public.join("sockeye"), root.join("usr/include/sockeye"));
        let (described, documents) = (private.join("pkgconfig"), root.join("usr/share/doc").join(NAME));
        for folder in [&include, &described, &documents.join("examples")] {
            make(folder)?;
        }
        for product in PRODUCTS {
            let (folder, file) = (product.folder(self.workspace), product.file());
            let built = folder.join("lib");
            if product.header.is_none() {
                stripped(&built.join(&file), &private.join(&file), "--strip-unneeded")?;
                continue;
            }
            stripped(&built.join(&file), &public.join(&file), "--strip-unneeded")?;
            stripped(&built.join("libwebsockets.a"), &private.join("libwebsockets.a"), "--strip-debug")?;
            std::os::unix::fs::symlink(Path::new("..").join(&file), private.join("libwebsockets.so"))
                .map_err(|error| format!("libwebsockets.so: {error}"))?;
            copy(&folder.join("include").join(HEADER), &include.join(HEADER))?;
            // It is found from where the file is, wherever `/` may be.
            product.describe(&described, "${pcfiledir}/..", "${pcfiledir}/../../../../include/sockeye")?;
        }
        let source = |path: &str| self.workspace.root().join(path);
        copy(&source("docs/c.md"), &documents.join("c.md"))?;
        for name in ["server.c", "client.c", "external_poll.c"] {
            copy(&source("examples/c").join(name), &documents.join("examples").join(name))?;
        }
        let licences = ["LICENSE-MIT", "LICENSE-APACHE"].map(|name| fs::read_to_string(source(name)));
        let [mit, apache] = licences.map(|text| text.map_err(|error| format!("a licence: {error}")));
        write(&documents.join("copyright"), &format!("MIT or Apache 2.0, at your option.\n\n{}\n\n{}", mit?, apache?))
    }

    /// What dpkg reads.
    fn describe(&self, root: &Path) -> Result<(), Failure> {
        let control = root.join("DEBIAN");
        make(&control)?;
        let version = env!("CARGO_PKG_VERSION");
        let least = self.least_libc(root)?;
        let files: Vec<PathBuf> = entries(&root.join("usr"))?.into_iter().filter(|path| path.is_file()).collect();
        let mut size = 0;
        let mut sums = String::new();
        for path in files {
            size += path.metadata().map_or(0, |metadata| metadata.len().div_ceil(1024));
            if !path.is_symlink() {
                let sum = said(Command::new("md5sum").arg(&path))?;
                let below = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                sums += &format!("{}  {below}\n", sum.split(' ').next().unwrap_or_default());
            }
        }
        let Self { architecture, triplet, .. } = self;
        let text = format!(
            "Package: {NAME}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: Sockeye <https://github.com/sockeye-ws/sockeye>\n\
             Installed-Size: {size}\nDepends: libc6 (>= {least}), libgcc-s1\nSection: libs\nPriority: optional\nMulti-Arch: same\n\
             Homepage: https://github.com/sockeye-ws/sockeye\n\
             Description: WebSockets for programs written for libwebsockets\n \
             The library of Sockeye with the interface of libwebsockets of January 2013,\n \
             its header, and one that takes the place of version 4.1.6 for programs that\n \
             load it from /usr/lib/{triplet}/sockeye. Debian's own libwebsockets\n \
             is not touched.\n"
        );
        write(&control.join("control"), &text)?;
        write(&control.join("md5sums"), &sums)?;
        write(&control.join("shlibs"), &format!("libwebsockets 1 {NAME} (>= {version})\n"))?;
        write(&control.join("triggers"), "activate-noawait ldconfig\n")
    }

    /// The least version of the C library that has all that ours want.
    fn least_libc(&self, root: &Path) -> Result<String, Failure> {
        let public = root.join("usr/lib").join(&self.triplet);
        let mut least = (0_u32, 0_u32);
        for product in PRODUCTS {
            let file = product.file();
            let folder = if product.header.is_some() { public.clone() } else { public.join("sockeye") };
            let mut command = Command::new("objdump");
            command.arg("--dynamic-syms").arg(folder.join(file));
            let lines = process::read(&mut command, LIMIT)?.success("objdump")?.lines;
            let versions = lines.iter().filter_map(|line| line.split_once("GLIBC_")?.1.split([')', ' ']).next());
            let numbers = versions.filter_map(|version| {
                let mut numbers = version.split('.').map(|number| number.parse().ok());
                Some((numbers.next()??, numbers.next()??))
            });
            least = numbers.fold(least, std::cmp::max);
        }
        if least == (0, 0) {
            return Err("the libraries want no version of the C library, which cannot be".into());
        }
        Ok(format!("{}.{}", least.0, least.1))
    }

    /// Unpacks it below a folder, and compiles and runs the examples with what is there, and nothing else of ours.
    fn installs(&self, file: &Path, checks: &mut Checks) -> Result<(), Failure> {
        let root = self.folder.join("root");
        if root.exists() {
            fs::remove_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        }
        let mut command = Command::new("dpkg-deb");
        command.arg("--extract").arg(file).arg(&root);
        process::read(&mut command, LIMIT)?.success(&process::shown(&command))?;
        let below = |path: &PathBuf| Path::new("/").join(path.strip_prefix(&root).unwrap_or(path));
        let files: BTreeSet<PathBuf> = entries(&root)?.iter().filter(|path| !path.is_dir()).map(below).collect();
        // Where Debian's are installed, none of theirs is one of ours.
        let mut command = Command::new("dpkg-query");
        command.args(["--listfiles", "libwebsockets17", "libwebsockets-dev"]);
        let theirs = process::read(&mut command, LIMIT)?.lines.into_iter().map(PathBuf::from).collect();
        let both: Vec<_> = files.intersection(&theirs).collect();
        judge(checks, both.is_empty(), &format!("files of Debian's libwebsockets: {both:?}"))?;

        let public = root.join("usr/lib").join(&self.triplet);
        let private = public.join("sockeye");
        let examples = root.join("usr/share/doc").join(NAME).join("examples");
        for is_static in [false, true] {
            let programs = ["server", "client"].map(|name| {
                let program = self.folder.join(format!("{name}-{is_static}"));
                let kind = if is_static { "--static" } else { "" };
                let script = format!(
                    "cc -Wall -Wextra -Werror \"$0\" -o \"$1\" $(pkg-config --cflags --libs {kind} libwebsockets{})",
                    if is_static { " | sed s/-lwebsockets/-l:libwebsockets.a/" } else { "" }
                );
                let mut command = Command::new("sh");
                command.args(["-c", &script]).arg(examples.join(name).with_extension("c")).arg(&program);
                command.env("PKG_CONFIG_PATH", private.join("pkgconfig"));
                process::run(&mut command, LIMIT)?.success(&process::shown(&command))?;
                Ok::<_, Failure>(program)
            });
            let [server, client] = programs;
            let path = if is_static { PathBuf::new() } else { public.clone() };
            self.talk(&server?, &client?, &path, checks)?;
        }
        // For programs that are there already: it has all names that Debian's has for others.
        let library = private.join("libwebsockets.so.17");
        let product = PRODUCTS.iter().find(|product| product.header.is_none()).ok_or("no such library")?;
        *checks += link::check(&library, &product.names(self.workspace)?)?;
        Ok(())
    }

    /// The client of the examples says what it says to their server.
    fn talk(&self, server: &Path, client: &Path, path: &Path, checks: &mut Checks) -> Result<(), Failure> {
        let port = process::free_port()?.to_string();
        let mut command = Command::new(server);
        command.arg(&port).env("LD_LIBRARY_PATH", path);
        let server = Server::start_command(&mut command, self.folder.join("server.log"))?;
        let mut command = Command::new(client);
        command.args(["127.0.0.1", &port]).env("LD_LIBRARY_PATH", path);
        let lines = process::read(&mut command, LIMIT)?.lines;
        server.stop()?;
        judge(checks, lines == ["message 1", "message 2", "message 3", "closed"], &format!("the client: {lines:?}"))
    }
}

fn judge(checks: &mut Checks, holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds {
        checks.passed += 1;
        return Ok(());
    }
    Err(Failure::new(otherwise, *checks))
}

/// A copy without what only a debugger reads.
fn stripped(from: &Path, to: &Path, what: &str) -> Result<(), Failure> {
    let mut command = Command::new("strip");
    command.args([what, "--enable-deterministic-archives", "-o"]).arg(to).arg(from);
    process::read(&mut command, LIMIT)?.success(&process::shown(&command))?;
    Ok(())
}

/// All below a folder, in their order.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let read = |error: std::io::Error| Failure::from(format!("{}: {error}", folder.display()));
    let mut all = vec![folder.to_owned()];
    let mut names = fs::read_dir(folder).map_err(read)?.collect::<Result<Vec<_>, _>>().map_err(read)?;
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() { all.extend(entries(&path)?) } else { all.push(path) }
    }
    Ok(all)
}

/// The one line that a program prints.
fn said(command: &mut Command) -> Result<String, Failure> {
    let shown = process::shown(command);
    let lines = process::read(command, LIMIT)?.success(&shown)?.lines;
    lines.into_iter().next().ok_or_else(|| format!("`{shown}` says nothing").into())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}
