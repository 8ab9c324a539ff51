//! From the archive of cargo and the C files to a library: what is in it, and which names it has for others.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{CRATE, Product};
use crate::{
    gate::{Checks, Failure},
    process,
    workspace::Workspace,
};

/// The libraries of the system that Rust's needs.
pub(super) const SYSTEM: [&str; 4] = ["-lgcc_s", "-lpthread", "-ldl", "-lm"];

/// Compiling and linking what is a few megabytes.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// How a library is made that a sanitizer watches.
#[derive(Default)]
pub(super) struct Watch {
    /// A C file that belongs to it, too.
    pub(super) source: Option<PathBuf>,
    /// What the compiler is told for each C file, and for the link.
    pub(super) compile: Vec<String>,
    pub(super) link: Vec<String>,
}

/// What a library is linked of.
pub(super) struct Parts {
    archive: PathBuf,
    shims: Vec<PathBuf>,
    link: Vec<String>,
    /// Where files between are kept.
    objects: PathBuf,
}

impl Parts {
    /// Compiles the C files of `product`, and one with a function for each of `stubs`.
    pub(super) fn compile(
        workspace: &Workspace,
        product: &Product,
        stubs: &[String],
        archive: PathBuf,
        objects: PathBuf,
        watch: Watch,
    ) -> Result<Self, Failure> {
        let folder = workspace.root().join(CRATE).join("shim");
        let mut sources: Vec<PathBuf> = product.shims.iter().map(|name| folder.join(name)).collect();
        sources.extend(watch.source);
        if !stubs.is_empty() {
            let source = objects.join("stubs.c");
            write(&source, &of_stubs(stubs))?;
            sources.push(source);
        }
        let mut shims = Vec::new();
        for source in sources {
            let object = objects.join(source.file_name().unwrap_or_default()).with_extension("o");
            let mut command = Command::new("cc");
            command.args(["-c", "-O2", "-g", "-fPIC", "-fexceptions", "-fvisibility=default"]);
            command.args(["-ffunction-sections", "-Wall", "-Wextra", "-Werror"]).arg("-I").arg(&folder);
            command.args(&watch.compile);
            run(command.arg("-o").arg(&object).arg(source))?;
            shims.push(object);
        }
        Ok(Self { archive, shims, link: watch.link, objects })
    }

    /// The shared library, with these `names` and no others.
    pub(super) fn shared(&self, library: &Path, soname: &str, names: &[String]) -> Result<(), Failure> {
        let map = self.objects.join("exports.map");
        let list: String = names.iter().map(|name| format!("    {name};\n")).collect();
        write(&map, &format!("{{\nglobal:\n{list}local:\n    *;\n}};\n"))?;
        let mut command = Command::new("cc");
        command.arg("-shared").arg("-o").arg(library).arg(format!("-Wl,-soname,{soname}"));
        command.arg(format!("-Wl,--version-script={}", map.display()));
        // With every symbol it needs, at once, and what nothing reaches left out.
        command.args(["-Wl,--gc-sections", "-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,defs", "-Wl,-O1"]);
        command.args(&self.shims).arg("-Wl,--whole-archive").arg(&self.archive).arg("-Wl,--no-whole-archive");
        run(command.args(&self.link).args(SYSTEM))
    }

    /// The archive for programs that are linked with it whole: one object, whose other names are its own, so that they meet
    /// no other library's.
    pub(super) fn fixed(&self, library: &Path, names: &[String]) -> Result<(), Failure> {
        let object = self.objects.join("libwebsockets.o");
        let mut command = Command::new("ld");
        command.args(["--relocatable", "--gc-sections", "--force-group-allocation", "-o"]).arg(&object);
        command.args(names.iter().map(|name| format!("--undefined={name}"))).args(&self.shims).arg(&self.archive);
        run(&mut command)?;
        let list = self.objects.join("exports.txt");
        write(&list, &(names.join("\n") + "\n"))?;
        let mut command = Command::new("objcopy");
        command.arg(format!("--keep-global-symbols={}", list.display()));
        // Bitcode of the standard library, which no linker here has a use for, and the plugin of an older LLVM chokes on.
        command.args(["--remove-section=.llvmbc", "--remove-section=.llvmcmd"]);
        run(command.arg(&object))?;
        if library.exists() {
            fs::remove_file(library).map_err(|error| format!("{}: {error}", library.display()))?;
        }
        run(Command::new("ar").arg("rcsD").arg(library).arg(&object))
    }
}

/// Functions that say their name and end the program.
fn of_stubs(names: &[String]) -> String {
    let functions = names
        .iter()
        .map(|name| format!("void {name}(void);\nvoid {name}(void) {{ sockeye_unimplemented(\"{name}\"); }}\n"));
    format!("#include \"shim.h\"\n{}", functions.collect::<String>())
}

/// The names that the library has for others are exactly these.
pub(super) fn check(library: &Path, names: &[String]) -> Result<Checks, Failure> {
    let mut command = Command::new("nm");
    command.args(["--dynamic", "--defined-only", "--format=posix"]).arg(library);
    let lines = process::read(&mut command, LIMIT)?.success(&process::shown(&command))?.lines;
    let there: BTreeSet<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let missing = wanted.difference(&there).map(|name| format!("  {name} is missing"));
    let beyond = there.difference(&wanted).map(|name| format!("  {name} is not on the list"));
    let faults: Vec<String> = missing.chain(beyond).collect();
    let checks = Checks { passed: wanted.intersection(&there).count() as u64, failed: faults.len() as u64 };
    if faults.is_empty() {
        return Ok(checks);
    }
    Err(Failure::new(format!("the names of {}:\n{}", library.display(), faults.join("\n")), checks))
}

fn run(command: &mut Command) -> Result<(), Failure> {
    run_within(command, LIMIT)
}

pub(super) fn run_within(command: &mut Command, limit: Duration) -> Result<(), Failure> {
    process::run(command, limit)?.success(&process::shown(command))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}
