//! The steps that cargo does.

use std::{process::Command, time::Duration};

use crate::{
    fuzz,
    gate::{Checks, Failure},
    process, tools,
    workspace::Workspace,
};

/// A cargo command builds and runs on two slow cores within this, or hangs.
const LIMIT: Duration = Duration::from_secs(45 * 60);

pub(crate) fn format(workspace: &Workspace) -> Result<Checks, Failure> {
    must_succeed(&mut workspace.cargo(["fmt", "--all", "--check"]))?;
    must_succeed(&mut workspace.cargo(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    Ok(Checks::passed(2))
}

/// Lints of what the tests are not made of: all features together, those tests that [`test()`] leaves out, the protocol without `std`. The
/// rest is linted while it is compiled, see [`linted`].
pub(crate) fn lint(workspace: &Workspace) -> Result<Checks, Failure> {
    let sets: [&[&str]; 3] = [
        &["--workspace", "--all-features"],
        &["--package", "sockeye-proto", "--no-default-features"],
        &["--workspace", "--all-features", "--test", "abuse", "--test", "cluster", "--test", "simulator"],
    ];
    for set in sets {
        let mut command = checked(workspace, "clippy")?;
        must_succeed(command.args(set).args(["--", "-D", "warnings"]))?;
    }
    Ok(Checks::passed(sets.len() as u64))
}

/// Has a `cargo` compile the workspace by clippy's driver, which lints what it compiles, warnings denied. That costs a tenth of a second
/// look at the same code. A configuration, and no variable: tests that start a cargo do not pass it on.
pub(crate) fn linted(workspace: &Workspace, command: &mut Command) {
    let driver = workspace.root().join("xtask/lint-driver");
    command.arg("--config").arg(format!("build.rustc-workspace-wrapper={:?}", driver.display().to_string()));
    // It would go before the configuration.
    command.env_remove("RUSTC_WORKSPACE_WRAPPER");
}

/// The documentation of everything.
pub(crate) fn documentation(workspace: &Workspace) -> Result<Checks, Failure> {
    let mut command = checked(workspace, "doc")?;
    command.args(["--workspace", "--all-features", "--no-deps"]);
    must_succeed(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Checks::passed(1))
}

/// `cargo` for what is compiled and not linked. The C code of aws-lc-rs is not looked at here, and takes longer to build than
/// all the rest: cargo takes what its build script would find out from this configuration, and does not run it.
fn checked(workspace: &Workspace, task: &str) -> Result<Command, Failure> {
    let lock = read(workspace, "Cargo.lock")?;
    let links = provider_links(&lock).ok_or("Cargo.lock has no aws-lc-sys")?;
    let mut command = workspace.cargo([task]);
    // That of the build script, where its bindings are for any system. Headers are for C.
    for value in ["rustc-cfg=[\"universal\"]", "include=\"/\""] {
        command.arg("--config").arg(format!("target.{}.{links}.{value}", fuzz::host()?));
    }
    Ok(command)
}

/// What the build script of aws-lc-sys is known by to cargo: its version is a part of that.
fn provider_links(lock: &str) -> Option<String> {
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"aws-lc-sys\"");
    let version = lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')?;
    Some(format!("aws_lc_{}", version.replace('.', "_")))
}

fn read(workspace: &Workspace, path: &str) -> Result<String, Failure> {
    std::fs::read_to_string(workspace.root().join(path)).map_err(|error| format!("{path}: {error}").into())
}

/// What tests and the simulator are built with, without default features: all but the provider of TLS whose C code takes longer to build
/// than all the rest, in each profile anew. So it is built once, with the release build.
pub(crate) const FEATURES: &str = "sockeye-proto/std,sockeye/client,sockeye/daemon,sockeye/deflate,sockeye/files,sockeye/log,sockeye/sim,\
                                   sockeye/tls-ring,sockeye-cli/tls-ring,sockeye-capi/tls-ring,sockeye-lws13/tls-ring,sockeye-lws17/tls-ring";

/// Those of [`FEATURES`] that are of this package.
pub(crate) fn features_of(package: &str) -> String {
    let names = FEATURES.split(',').filter_map(|feature| feature.strip_prefix(package)?.strip_prefix('/'));
    names.collect::<Vec<_>>().join(",")
}

/// The library without features and with each alone, warnings denied: a feature that needs another one says so in its manifest, and
/// code that only one needs is not in the others. Lints are for what stands in for all features, and for the usual ones; with one alone
/// the compiler's own warnings tell what is missing or unused, in half of the time. All of them together are linted by [`lint`].
pub(crate) fn features(workspace: &Workspace) -> Result<Checks, Failure> {
    let manifest = read(workspace, "crates/sockeye/Cargo.toml")?;
    let features = feature_names(&manifest);
    let library = ["--package", "sockeye", "--lib", "--no-default-features", "--features"];
    for set in ["", "default"] {
        let mut command = checked(workspace, "clippy")?;
        must_succeed(command.args(library).args([set, "--", "-D", "warnings"]))?;
    }
    for feature in &features {
        let mut command = checked(workspace, "rustc")?;
        must_succeed(command.args(["--profile", "check"]).args(library).args([feature, "--", "-D", "warnings"]))?;
    }
    Ok(Checks::passed(features.len() as u64 + 2))
}

/// The features of a manifest, but not `default`.
fn feature_names(manifest: &str) -> Vec<&str> {
    let lines = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
    let names = lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
    names.filter_map(|line| Some(line.split_once(" = ")?.0)).filter(|name| *name != "default").collect()
}

/// Licences, sources and versions of the dependencies, by deny.toml: those of the workspace, and of the fuzz targets.
pub(crate) fn deny(workspace: &Workspace) -> Result<Checks, Failure> {
    let program = tools::cargo_deny(workspace)?;
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let mut command = Command::new(&program);
        command.args(["--locked", "--manifest-path", manifest, "--config", "deny.toml"]);
        must_succeed(command.args(["check", "bans", "licenses", "sources"]).current_dir(workspace.root()))?;
    }
    Ok(Checks::passed(6))
}

/// The tests of everything but of the command, see [`command`].
pub(crate) fn test(workspace: &Workspace) -> Result<Checks, Failure> {
    tests(debug_tests(workspace).arg("--no-fail-fast"))
}

/// Tests that are not optimised.
fn debug_tests(workspace: &Workspace) -> Command {
    let mut command = workspace.cargo(["test", "--workspace", "--no-default-features", "--features", FEATURES]);
    linted(workspace, &mut command);
    command
}

/// The command as it is released.
pub(crate) fn release(workspace: &Workspace) -> Result<Checks, Failure> {
    must_succeed(&mut workspace.cargo(["build", "--release", "--package", "sockeye-cli"]))?;
    Ok(Checks::passed(1))
}

/// The command, and these programs that measure it: the link-time optimisation of each takes as long as that of the command.
pub(crate) fn benches(workspace: &Workspace, programs: &[&str]) -> Result<Checks, Failure> {
    let mut command = workspace.cargo(["build", "--release", "--package", "sockeye-cli", "--bin", "sockeye"]);
    command.args(["--package", "sockeye-benches"]);
    must_succeed(command.args(programs.iter().flat_map(|name| ["--bin", name])))?;
    Ok(Checks::passed(1))
}

/// What measures compression.
pub(crate) fn packed(workspace: &Workspace) -> Result<Checks, Failure> {
    must_succeed(&mut workspace.cargo(["build", "--release", "--package", "sockeye-benches", "--bin", "packed"]))?;
    Ok(Checks::passed(1))
}

/// What measures TLS, and the command if it is ours.
pub(crate) fn benches_with_tls(workspace: &Workspace) -> Result<Checks, Failure> {
    let mut command = workspace.cargo(["build", "--release", "--package", "sockeye-benches"]);
    command.args(["--features", "sockeye-benches/tls"]);
    if workspace.binary_is_ours() {
        command.args(["--package", "sockeye-cli"]);
    }
    must_succeed(&mut command)?;
    Ok(Checks::passed(1))
}

/// The command's own tests, on what is released: daemons, signals, exit codes and hostile servers among them.
pub(crate) fn command(workspace: &Workspace) -> Result<Checks, Failure> {
    if workspace.binary_is_ours() {
        release(workspace)?;
    }
    tests(debug_tests(workspace).args(["--test", "cli"]).env("SOCKEYE_BIN", workspace.binary()))
}

/// `cargo` with the profile of the simulator: optimised, but with the debug assertions in. Whatever is built with it has the same
/// features, so that what it is made of is built once.
pub(crate) fn sim(workspace: &Workspace, task: &str) -> Command {
    workspace.cargo([task, "--profile", "sim", "--workspace", "--no-default-features", "--features", FEATURES])
}

/// The examples that other steps run.
pub(crate) fn examples(workspace: &Workspace) -> Result<Checks, Failure> {
    must_succeed(sim(workspace, "build").args(EXAMPLES.iter().flat_map(|name| ["--example", name])))?;
    Ok(Checks::passed(1))
}

const EXAMPLES: [&str; 5] = ["hold", "poll_loop", "events", "long_poll", "upload"];

/// The client that servers and proxies of others judge. With an example beside it cargo counts what only tests depend on, as for
/// all else of this profile; alone it would be made of a library with other features, built for it once more.
pub(crate) fn client(workspace: &Workspace) -> Result<Checks, Failure> {
    must_succeed(sim(workspace, "build").args(["--bin", "conformance-client", "--example", EXAMPLES[0]]))?;
    Ok(Checks::passed(1))
}

/// What loads a server whose own work is counted. An example is beside it as in [`client`].
pub(crate) fn load(workspace: &Workspace) -> Result<Checks, Failure> {
    must_succeed(sim(workspace, "build").args(["--bin", "load", "--example", EXAMPLES[0]]))?;
    Ok(Checks::passed(1))
}

/// The abuse tests judge times and memory of the release build, so they are optimised themselves, and built only here: their
/// target is `test = false`. They try the example of a loop of one's own too.
pub(crate) fn abuse(workspace: &Workspace) -> Result<Checks, Failure> {
    if workspace.binary_is_ours() {
        release(workspace)?;
    }
    examples(workspace)?;
    tests(sim(workspace, "test").args(["--test", "abuse"]).env("SOCKEYE_BIN", workspace.binary()))
}

/// Servers of topics with brokers between them, all of them real, which lose each other, in network namespaces too, which needs
/// root: see `crates/sockeye-cli/release_tests/tests/cluster`. Without a number of messages it is the test's own.
pub(crate) fn cluster(workspace: &Workspace, messages: Option<u64>) -> Result<Checks, Failure> {
    if workspace.binary_is_ours() {
        release(workspace)?;
    }
    let mut command = sim(workspace, "test");
    command.args(["--test", "cluster", "--", "--nocapture"]).env("SOCKEYE_BIN", workspace.binary());
    if let Some(messages) = messages {
        // Each for itself, so that rates mean something.
        command.arg("--test-threads=1").env("SOCKEYE_MESSAGES", messages.to_string());
    } else {
        // Those whose link is taken away mostly wait.
        command.arg("--test-threads=4");
    }
    tests(&mut command)
}

pub(crate) fn must_succeed(command: &mut Command) -> Result<(), Failure> {
    process::run(command, LIMIT)?.success(&process::shown(command))?;
    Ok(())
}

/// Runs tests and counts them. A test that was passed over shows nothing, so it is a failure too.
pub(crate) fn tests(command: &mut Command) -> Result<Checks, Failure> {
    let output = process::run(command, LIMIT)?;
    let (checks, ignored) = count(&output.lines);
    if !output.status.success() {
        let failed: Vec<&str> = output.lines.iter().filter_map(|line| failed_test(line)).collect();
        let names = if failed.is_empty() { String::new() } else { format!(": {}", failed.join(", ")) };
        let words = words_of_failures(&output.lines);
        return Err(Failure::new(format!("`{}` failed{names}{words}", process::shown(command)), checks));
    }
    if ignored > 0 {
        return Err(Failure::new(format!("{ignored} tests are ignored, and an ignored test shows nothing"), checks));
    }
    if checks.passed == 0 {
        return Err(Failure::new("no test ran", checks));
    }
    Ok(checks)
}

fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// What failed tests said of themselves, so that the end of the log has the cause. Binaries print it between two lines
/// `failures:`.
fn words_of_failures(lines: &[String]) -> String {
    const MOST: usize = 60;
    let bounds: Vec<usize> = (0..lines.len()).filter(|at| lines[*at] == "failures:").collect();
    let words: Vec<&String> = bounds.chunks_exact(2).flat_map(|pair| &lines[pair[0] + 1..pair[1]]).collect();
    let mut text: String = words.iter().take(MOST).map(|line| format!("\n    {line}")).collect();
    if words.len() > MOST {
        text.push_str(&format!("\n    ({} lines more, above)", words.len() - MOST));
    }
    text
}

/// Sums what every test binary said: `test result: ok. 12 passed; 0 failed; 0 ignored; ...`.
fn count(lines: &[String]) -> (Checks, u64) {
    let (mut checks, mut ignored) = (Checks::default(), 0);
    for line in lines.iter().filter(|line| line.starts_with("test result: ")) {
        let words: Vec<&str> = line.split([' ', ';']).collect();
        let number = |name| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at.checked_sub(1)?)?.parse::<u64>().ok()
        };
        checks.passed += number("passed").unwrap_or(0);
        checks.failed += number("failed").unwrap_or(0);
        ignored += number("ignored").unwrap_or(0);
    }
    (checks, ignored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_binaries_add_up() {
        let lines = [
            "running 14 tests",
            "test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.00s",
            "test result: FAILED. 1 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ]
        .map(str::to_owned);
        let (checks, ignored) = count(&lines);
        assert_eq!((checks.passed, checks.failed, ignored), (13, 4, 2));
    }

    #[test]
    fn features_are_found() {
        let manifest = "[package]\nname = \"x\"\n\n[features]\ndefault = [\"a\"]\n# Of a.\na = []\nb = [\"dep:c\"]\n\n[x]\nd = 1\n";
        assert_eq!(feature_names(manifest), ["a", "b"]);
    }

    #[test]
    fn tests_have_all_features_but_one() {
        let mut expected = Vec::new();
        for (package, manifest) in [
            ("sockeye-proto", include_str!("../../crates/sockeye-proto/Cargo.toml")),
            ("sockeye", include_str!("../../crates/sockeye/Cargo.toml")),
            ("sockeye-cli", include_str!("../../crates/sockeye-cli/Cargo.toml")),
            ("sockeye-capi", include_str!("../../crates/sockeye-capi/Cargo.toml")),
            ("sockeye-lws13", include_str!("../../crates/sockeye-capi/lws13/Cargo.toml")),
            ("sockeye-lws17", include_str!("../../crates/sockeye-capi/lws17/Cargo.toml")),
        ] {
            expected.extend(feature_names(manifest).iter().map(|feature| format!("{package}/{feature}")));
        }
        expected.retain(|feature| !feature.ends_with("/tls-aws-lc"));
        assert_eq!(FEATURES, expected.join(","));
    }

    #[test]
    fn what_the_driver_compiles_it_lints() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let folder = std::env::temp_dir().join(format!("sockeye-lint-driver-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (code, is_fine) in
            [("pub fn one() -> u8 {\n    1\n}\n", true), ("pub fn one() -> u8 {\n    return 1;\n}\n", false)]
        {
            let file = folder.join("one.rs");
            std::fs::write(&file, code).unwrap();
            let mut command = Command::new(format!("{root}/xtask/lint-driver"));
            command.args(["rustc", "--crate-type=lib", "--emit=metadata", "--out-dir"]).arg(&folder).arg(&file);
            let output = command.output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.success(), is_fine, "{errors}");
            assert_eq!(errors.contains("needless_return"), !is_fine, "{errors}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_build_script_of_the_provider_is_known() {
        let lock = "[[package]]\nname = \"aws-lc-rs\"\nversion = \"1.2.3\"\n\n[[package]]\nname = \"aws-lc-sys\"\nversion = \"0.47.0\"\n";
        assert_eq!(provider_links(lock).as_deref(), Some("aws_lc_0_47_0"));
        assert_eq!(provider_links("[[package]]\nname = \"x\"\nversion = \"0.47.0\"\n"), None);
        assert!(provider_links(include_str!("../../Cargo.lock")).is_some());
    }

    #[test]
    fn names_of_failed_tests_are_found() {
        assert_eq!(failed_test("test wire::mask::odd ... FAILED"), Some("wire::mask::odd"));
        assert_eq!(failed_test("test wire::mask::odd ... ok"), None);
    }

    #[test]
    fn what_failed_tests_said_is_told() {
        let lines = |text: &str| text.lines().map(String::from).collect::<Vec<_>>();
        let failed =
            "test odd ... FAILED\nfailures:\n---- odd ----\nnot even\nfailures:\n    odd\ntest result: FAILED.";
        assert_eq!(words_of_failures(&lines(failed)), "\n    ---- odd ----\n    not even");
        let another = format!("{failed}\nfailures:\nnor this\nfailures:\n    this");
        assert!(words_of_failures(&lines(&another)).ends_with("\n    not even\n    nor this"));
        assert_eq!(words_of_failures(&lines("test odd ... ok")), "");
        let long = format!("failures:\n{}failures:\n", "again\n".repeat(62));
        assert!(words_of_failures(&lines(&long)).ends_with("again\n    (2 lines more, above)"));
    }
}
