//! Clients written by others, against the release build: libwebsockets' own test client, node's `ws`, Python's
//! `websockets`, `openssl s_client`, and Chromium. They judge the command, plain and over TLS, and the example of a bare poll(2) loop, which serves the same; node's fetch,
//! curl and Chromium judge the examples of HTTP sessions. (Servers written by others are in [`mod@crate::client`].) The scripts
//! are in `conformance/interop`; each prints `ok NAME` or `not ok NAME: why` for every check, and succeeds when all are ok.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    certificates::Certificates,
    gate::{Checks, Failure},
    process::{self, Server},
    rust, tools,
    workspace::Workspace,
};

/// A script bounds each of its own waits; this bounds the script.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Programs and libraries.
pub(crate) fn clients(workspace: &Workspace) -> Result<Checks, Failure> {
    let bench = Bench::new(workspace)?;
    let mut total = bench.run(&Tested::command(workspace, "echo"), &["echo.mjs", "echo.py"])?;
    total += bench.run(&Tested::command(workspace, "echo").compressing(), &["echo.mjs", "echo.py", "compress.py"])?;
    // Those of compression publish, too.
    for options in [&["--compress"][..], &["--compress=6", "--compress-history", "32K"]] {
        let publishing = options.iter().chain(&["--broadcast", "*"]);
        total += bench.run(&Tested::command(workspace, "echo").with_words(publishing), &["judge.py"])?;
    }
    total += bench.run(
        &Tested::command(workspace, "serve").with_words(&[COMPRESS, "--metrics", "/metrics"]),
        &["libwebsockets.py"],
    )?;
    // Each script gets a server of its own: the mirror and the counters are shared by whoever is connected.
    for tested in [Tested::command(workspace, "serve"), Tested::poll_loop(workspace)?] {
        for script in ["serve.mjs", "serve.py", "libwebsockets.py"] {
            total += bench.run(&tested, &[script])?;
        }
    }
    total += bench.on_examples("http.mjs")?;
    // Against a server of its own, and against a hub.
    total += count("topics.mjs", &process::run(&mut bench.command("topics.mjs"), LIMIT)?)?;
    let hub = Tested::command(workspace, "serve").with_words(&["--topics", "--open-publish", "--history", "50"]);
    total += bench.run(&hub, &["topics_hub.mjs"])?;
    total += over_tls(workspace, &bench)?;
    Ok(total)
}

/// The same over TLS, and what there is to TLS beside it.
fn over_tls(workspace: &Workspace, bench: &Bench<'_>) -> Result<Checks, Failure> {
    let tested = Tested::over_tls(workspace, "echo", &bench.certificates);
    let mut total = bench.run(&tested, &["echo.mjs", "echo.py"])?;
    // Over TLS too, that client says that it is of an `http` page.
    let serve =
        Tested::over_tls(workspace, "serve", &bench.certificates).with("--origin", Path::new("http://127.0.0.1"));
    total += bench.run(&serve, &["libwebsockets.py"])?;
    // Beside the one that asks no client for a certificate, one that does.
    let asking = tested.with("--tls-client-ca", &bench.certificates.trusted());
    let asking = Server::start_command(&mut asking.any_port(), bench.logs.join("tls-asking.log"))?;
    let server = Server::start_command(&mut tested.any_port(), bench.logs.join("tls.log"))?;
    let mut command = Command::new(tools::gorilla(workspace)?);
    // Go looks there for whom to trust.
    command.arg(server.url()).env("SSL_CERT_FILE", bench.certificates.trusted());
    total += count("gorilla", &process::run(&mut command, LIMIT)?)?;
    for script in ["tls.mjs", "tls.py"] {
        let mut command = bench.command(script);
        let output = process::run(command.arg(server.url()).env("ASKING", asking.url()), LIMIT)?;
        total += count(script, &output)?;
    }
    for server in [server, asking] {
        server.stop().map_err(|message| Failure::new(message, total))?;
    }
    Ok(total)
}

/// The built-in page in a real browser, over TLS too, and that of the example of server-sent events.
pub(crate) fn browser(workspace: &Workspace) -> Result<Checks, Failure> {
    let bench = Bench::new(workspace)?;
    let mut total = bench.run(&Tested::command(workspace, "serve"), &["browser.mjs"])?;
    total += bench.run(&Tested::poll_loop(workspace)?, &["browser.mjs"])?;
    for script in ["tls_browser.mjs", "deflate_browser.mjs", "topics_browser.mjs"] {
        let mut command = bench.command(script);
        let output = process::run(command.env("SOCKEYE", workspace.binary()), LIMIT)?;
        total += count(script, &output)?;
    }
    total += bench.on_examples("events.mjs")?;
    Ok(total)
}

/// A server that is tested: its name, and its command line, in which `PORT` stands for the port.
struct Tested {
    name: &'static str,
    words: Vec<String>,
}

impl Tested {
    fn command(workspace: &Workspace, subcommand: &'static str) -> Self {
        let binary = workspace.binary().display().to_string();
        let words = vec![binary, subcommand.to_owned(), "--port".to_owned(), PORT.to_owned()];
        Self { name: subcommand, words }
    }

    fn over_tls(workspace: &Workspace, subcommand: &'static str, certificates: &Certificates) -> Self {
        Self::command(workspace, subcommand).with("--tls-cert", &certificates.server())
    }

    /// For those who offer it.
    fn compressing(self) -> Self {
        self.with_words(&[COMPRESS])
    }

    fn with_words<'o>(mut self, words: impl IntoIterator<Item = &'o &'o str>) -> Self {
        self.words.extend(words.into_iter().map(|word| (*word).to_owned()));
        self
    }

    fn with(&self, option: &str, file: &Path) -> Self {
        let words = self.words.iter().cloned().chain([option.to_owned(), file.display().to_string()]);
        Self { name: self.name, words: words.collect() }
    }

    /// The example of a bare poll(2) loop, which has the same endpoints and gets the same page.
    fn poll_loop(workspace: &Workspace) -> Result<Self, Failure> {
        rust::examples(workspace)?;
        let page = workspace.root().join("crates/sockeye-cli/page").display().to_string();
        let words = vec![workspace.example("poll_loop").display().to_string(), format!("127.0.0.1:{PORT}"), page];
        Ok(Self { name: "poll-loop", words })
    }

    /// As it is started here: on any free port.
    fn any_port(&self) -> Command {
        let mut words = self.words.iter().map(|word| word.replace(PORT, "0"));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }

    /// For scripts that start one of their own.
    fn json(&self) -> String {
        serde_json::Value::from(self.words.clone()).to_string()
    }
}

const PORT: &str = "PORT";

const COMPRESS: &str = "--compress";

/// What the scripts run on.
struct Bench<'w> {
    workspace: &'w Workspace,
    python: PathBuf,
    node_modules: PathBuf,
    certificates: Certificates,
    logs: PathBuf,
}

impl<'w> Bench<'w> {
    fn new(workspace: &'w Workspace) -> Result<Self, Failure> {
        if workspace.binary_is_ours() {
            rust::release(workspace)?;
        }
        let logs = workspace.target().join("interop");
        fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;
        let (python, node_modules) = (tools::python(workspace)?, tools::node(workspace)?);
        Ok(Self { workspace, python, node_modules, certificates: Certificates::make(&logs)?, logs })
    }

    /// Starts a server, runs the scripts against it one after the other, and ends it.
    fn run(&self, tested: &Tested, scripts: &[&str]) -> Result<Checks, Failure> {
        let tls = if tested.words.iter().any(|word| word == "--tls-cert") { "tls-" } else { "" };
        let compressed = if tested.words.iter().any(|word| word.starts_with(COMPRESS)) { "compressed-" } else { "" };
        let name = format!("{tls}{compressed}{}-{}", tested.name, scripts.first().copied().unwrap_or_default());
        let server = Server::start_command(&mut tested.any_port(), self.logs.join(format!("{name}.log")))?;
        let mut total = Checks::default();
        for script in scripts {
            total += self.script(script, server.url(), tested)?;
        }
        server.stop().map_err(|message| Failure::new(message, total))?;
        Ok(total)
    }

    fn script(&self, name: &str, url: &str, tested: &Tested) -> Result<Checks, Failure> {
        let mut command = self.command(name);
        let output = process::run(command.arg(url).env("SERVER", tested.json()), LIMIT)?;
        count(name, &output)
    }

    /// A script that starts the examples of HTTP sessions itself.
    fn on_examples(&self, name: &str) -> Result<Checks, Failure> {
        rust::examples(self.workspace)?;
        let mut command = self.command(name);
        let output = process::run(command.env("EXAMPLES", self.workspace.examples()), LIMIT)?;
        count(name, &output)
    }

    fn command(&self, script: &str) -> Command {
        let path = self.workspace.root().join("conformance/interop").join(script);
        let is_python = path.extension().is_some_and(|extension| extension == "py");
        let program = if is_python { self.python.as_path() } else { Path::new("node") };
        let mut command = Command::new(program);
        command.arg(&path).env("NODE_MODULES", &self.node_modules).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("PICTURES", &self.logs).env("CERTIFICATES", self.certificates.folder());
        // Whom node and Python trust.
        let trusted = self.certificates.trusted();
        command.env("NODE_EXTRA_CA_CERTS", &trusted).env("SSL_CERT_FILE", &trusted);
        command
    }
}

/// Counts the checks that `name` has printed; a failed one, and none at all, is a failure.
pub(crate) fn count(name: &str, output: &process::Output) -> Result<Checks, Failure> {
    let failed: Vec<&str> = output.lines.iter().filter_map(|line| line.strip_prefix("not ok ")).collect();
    let passed = output.lines.iter().filter(|line| line.starts_with("ok ")).count();
    let checks = Checks { passed: passed as u64, failed: failed.len() as u64 };
    if !output.status.success() || checks.failed > 0 {
        let message = format!("{name} failed ({}):\n  {}", output.status, failed.join("\n  "));
        return Err(Failure::new(message, checks));
    }
    if checks.passed == 0 {
        return Err(format!("{name} checked nothing").into());
    }
    Ok(checks)
}
