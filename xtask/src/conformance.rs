//! The Autobahn suite against `sockeye echo` and against a client built on the library, plain and with TLS. Its verdict on each case has
//! to be the one that `conformance/expected-server.json` or `conformance/expected-client.json` lists: better is as much a
//! difference as worse, because the list is what we claim.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use serde_json::Value;

use crate::{
    certificates::Certificates,
    gate::{Checks, Failure},
    output::say,
    process::{self, Server},
    rust, tools,
    workspace::Workspace,
};

/// The whole suite takes six minutes, nearly all of them for the cases of compression; on a machine with other work three times that.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// The name in the reports, of the server and of the client.
const AGENT: &str = "sockeye";

/// Whom the suite judges.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Server,
    /// The server over TLS, of which the same is expected.
    TlsServer,
    Client,
    /// The client over TLS, of which the same is expected.
    TlsClient,
}

impl Side {
    pub(crate) const fn new(client: bool, tls: bool) -> Self {
        match (client, tls) {
            (false, false) => Self::Server,
            (false, true) => Self::TlsServer,
            (true, false) => Self::Client,
            (true, true) => Self::TlsClient,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::TlsServer => "tls-server",
            Self::Client => "client",
            Self::TlsClient => "tls-client",
        }
    }

    /// The file with the verdicts that are expected.
    const fn list(self) -> &'static str {
        match self {
            Self::Server | Self::TlsServer => "conformance/expected-server.json",
            Self::Client | Self::TlsClient => "conformance/expected-client.json",
        }
    }
}

/// The whole suite once for the server, over TLS without compression: a record does not know what is in it, and these cases take
/// longer than all others.
pub(crate) fn servers(workspace: &Workspace) -> Result<Checks, Failure> {
    let mut total = run(workspace, Side::Server, &Plan::once("*"))?;
    total += run(workspace, Side::TlsServer, &Plan::once(UNCOMPRESSED))?;
    Ok(total)
}

/// The same for a client.
pub(crate) fn clients(workspace: &Workspace) -> Result<Checks, Failure> {
    let mut total = run(workspace, Side::Client, &Plan::once("*"))?;
    total += run(workspace, Side::TlsClient, &Plan::once(UNCOMPRESSED))?;
    Ok(total)
}

/// The cases that do not test permessage-deflate.
const UNCOMPRESSED: &str = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*";

/// What to run of the suite.
pub(crate) struct Plan<'p> {
    /// Separated by commas, `*` for anything.
    cases: &'p str,
    repeat: u64,
    /// Whether the suite compresses by another library than zlib.
    quick: bool,
}

impl<'p> Plan<'p> {
    /// As the suite is published.
    pub(crate) const fn published(cases: &'p str, repeat: u64) -> Self {
        Self { cases, repeat, quick: false }
    }

    /// As the gate runs it, with a quick compressor: what the suite spends on its own compression would be most of the time that
    /// the cases of permessage-deflate take, and the output of any compressor is legal input. `interop` tries that of zlib.
    const fn once(cases: &'p str) -> Self {
        Self { cases, repeat: 1, quick: true }
    }

    /// As the environment says it.
    const fn quick(&self) -> &'static str {
        if self.quick { "1" } else { "" }
    }
}

/// Runs the cases of `plan`; each time every verdict has to be the expected one.
pub(crate) fn run(workspace: &Workspace, side: Side, plan: &Plan<'_>) -> Result<Checks, Failure> {
    let Plan { cases, repeat, .. } = *plan;
    let list = side.list();
    let expected = Expected::read(&workspace.root().join(list))?;
    let wstest = tools::wstest(workspace)?;
    match side {
        Side::Server | Side::TlsServer if workspace.binary_is_ours() => drop(rust::release(workspace)?),
        Side::Server | Side::TlsServer => {}
        Side::Client | Side::TlsClient => drop(rust::client(workspace)?),
    }
    let mut total = Checks::default();
    let mut differences = Vec::new();
    for round in 1..=repeat {
        let folder = workspace.target().join("conformance").join(format!("{}-{round}", side.name()));
        let results = match side {
            Side::Server => server(workspace, &wstest, &folder, plan, &[])?,
            Side::TlsServer => server(workspace, &wstest, &folder, plan, &["--tls-self-signed"])?,
            Side::Client => client(workspace, &wstest, &folder, plan, None)?,
            Side::TlsClient => {
                let certificates = Certificates::make(&workspace.target().join("conformance"))?;
                client(workspace, &wstest, &folder, plan, Some(&certificates))?
            }
        };
        let (checks, found) = expected.compare(&results, cases == "*");
        say!("round {round} of {repeat}: {} as expected, {} not", checks.passed, checks.failed);
        for difference in found {
            say!("  {difference}");
            differences.push(format!("  round {round}: {difference}"));
        }
        total += checks;
    }
    if differences.is_empty() {
        return Ok(total);
    }
    let reports = workspace.target().join("conformance");
    let message = format!("not what {list} lists:\n{}\nReports: {}", differences.join("\n"), reports.display());
    Err(Failure::new(message, total))
}

fn server(
    workspace: &Workspace,
    wstest: &Path,
    folder: &Path,
    plan: &Plan<'_>,
    options: &[&str],
) -> Result<Results, Failure> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let arguments = [&["echo", "--port", "0", "--compress"], options].concat();
    let server = Server::start(&workspace.binary(), &arguments, folder.join("server.log"))?;
    let mut command = Command::new("bash");
    command.arg(workspace.root().join("conformance/autobahn/run-server.sh")).arg(server.url()).arg(folder);
    command.args([plan.cases, "", AGENT]).env("WSTEST", wstest).env("WSTEST_QUICK", plan.quick());
    // Its exit code tells whether all cases are good; here they are compared one by one.
    let output = process::run(&mut command, LIMIT)?;
    server.stop()?;
    Results::read(folder).map_err(|error| format!("{error}\n{}", output.lines.join("\n")).into())
}

fn client(
    workspace: &Workspace,
    wstest: &Path,
    folder: &Path,
    plan: &Plan<'_>,
    certificates: Option<&Certificates>,
) -> Result<Results, Failure> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut command = Command::new("bash");
    command.arg(workspace.root().join("conformance/autobahn/run-client.sh")).arg(process::free_port()?.to_string());
    command.arg(folder).args([plan.cases, ""]).arg(workspace.client()).args(["autobahn", "{}"]);
    command.env("WSTEST", wstest).env("WSTEST_QUICK", plan.quick());
    if let Some(certificates) = certificates {
        command.env("CERTIFICATE", certificates.server()).env("SSL_CERT_FILE", certificates.trusted());
    }
    let output = process::run(&mut command, LIMIT)?;
    let client_failed = output.lines.iter().any(|line| line.starts_with("the client ended with exit code"));
    let results = if client_failed { Err("the client failed".to_owned()) } else { Results::read(folder) };
    results.map_err(|error| format!("{error}\n{}", output.lines.join("\n")).into())
}

/// A verdict: on the behaviour during the case, and on how the connection was closed.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Verdict {
    behavior: String,
    close: String,
}

impl Verdict {
    fn read(value: &Value, close: &str) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Self { behavior: text("behavior")?, close: text(close)? })
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (close {})", self.behavior, self.close)
    }
}

/// What one run of the suite found.
struct Results {
    verdicts: BTreeMap<String, Verdict>,
    /// The cases that were to be run.
    wanted: Vec<String>,
    /// Errors of the suite itself.
    errors: Vec<String>,
}

impl Results {
    fn read(folder: &Path) -> Result<Self, String> {
        let index = json(&folder.join("index.json"))?;
        let suite = json(&folder.join("suite.json"))?;
        let cases = index[AGENT].as_object().ok_or("index.json has no results")?;
        let mut verdicts = BTreeMap::new();
        for (case, value) in cases {
            let verdict = Verdict::read(value, "behaviorClose").ok_or("index.json: a case without a verdict")?;
            verdicts.insert(case.clone(), verdict);
        }
        let list = |name: &str| {
            let items = suite[name].as_array().into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Ok(Self { verdicts, wanted: list("cases"), errors: list("errors") })
    }
}

/// What is expected of cases that are not like the rest.
struct Exception {
    cases: Vec<String>,
    verdict: Verdict,
}

/// The list of `expected-server.json`.
struct Expected {
    /// How many cases the whole suite has.
    total: u64,
    rest: Verdict,
    exceptions: Vec<Exception>,
}

impl Expected {
    fn read(path: &Path) -> Result<Self, String> {
        let list = json(path)?;
        Self::from_json(&list).ok_or_else(|| format!("{}: not a list of expected verdicts", path.display()))
    }

    fn from_json(list: &Value) -> Option<Self> {
        let mut exceptions = Vec::new();
        for entry in list["exceptions"].as_array()? {
            // An exception without a reason is a failure that somebody wanted out of the way.
            entry["reason"].as_str().filter(|reason| !reason.is_empty())?;
            let cases = entry["cases"].as_array()?.iter().map(|case| case.as_str().map(str::to_owned));
            exceptions
                .push(Exception { cases: cases.collect::<Option<_>>()?, verdict: Verdict::read(entry, "close")? });
        }
        Some(Self { total: list["total"].as_u64()?, rest: Verdict::read(&list["expected"], "close")?, exceptions })
    }

    /// Counts the cases that are as expected, and tells of the others.
    fn compare(&self, results: &Results, whole: bool) -> (Checks, Vec<String>) {
        let mut checks = Checks::default();
        let mut differences: Vec<String> =
            results.errors.iter().map(|error| format!("error inside the suite: {error}")).collect();
        for case in &results.wanted {
            let expected = self.of(case);
            match results.verdicts.get(case) {
                Some(verdict) if verdict == expected => {
                    checks.passed += 1;
                    continue;
                }
                Some(verdict) => differences.push(format!("{case}: {verdict}, expected {expected}")),
                None => differences.push(format!("{case}: not run")),
            }
            checks.failed += 1;
        }
        if results.wanted.is_empty() {
            differences.push("no case was run".to_owned());
        }
        let run = results.wanted.len() as u64;
        if whole && run != self.total {
            differences.push(format!("{run} cases were run, not {}", self.total));
        }
        let patterns = self.exceptions.iter().flat_map(|exception| &exception.cases);
        for pattern in patterns.filter(|pattern| whole && !results.wanted.iter().any(|case| matches(pattern, case))) {
            differences.push(format!("the list has an exception for {pattern}, which is no case"));
        }
        (checks, differences)
    }

    fn of(&self, case: &str) -> &Verdict {
        let exception =
            self.exceptions.iter().find(|exception| exception.cases.iter().any(|pattern| matches(pattern, case)));
        exception.map_or(&self.rest, |exception| &exception.verdict)
    }
}

/// `7.1.6` is that case, `12.*` every case of section 12.
fn matches(pattern: &str, case: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => case.starts_with(prefix),
        None => case == pattern,
    }
}

fn json(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(behavior: &str) -> Verdict {
        Verdict { behavior: behavior.to_owned(), close: "OK".to_owned() }
    }

    fn expected() -> Expected {
        let exceptions = vec![Exception { cases: vec!["2.*".to_owned()], verdict: verdict("UNIMPLEMENTED") }];
        Expected { total: 2, rest: verdict("OK"), exceptions }
    }

    fn results(verdicts: &[(&str, &str)], wanted: &[&str]) -> Results {
        let verdicts = verdicts.iter().map(|(case, behavior)| ((*case).to_owned(), verdict(behavior)));
        let wanted = wanted.iter().map(|case| (*case).to_owned());
        Results { verdicts: verdicts.collect(), wanted: wanted.collect(), errors: Vec::new() }
    }

    #[test]
    fn the_expected_verdicts_pass() {
        let results = results(&[("1.1", "OK"), ("2.1", "UNIMPLEMENTED")], &["1.1", "2.1"]);
        let (checks, differences) = expected().compare(&results, true);
        assert_eq!((checks.passed, checks.failed), (2, 0));
        assert!(differences.is_empty(), "{differences:?}");
    }

    #[test]
    fn better_than_expected_is_a_difference_too() {
        let results = results(&[("1.1", "OK"), ("2.1", "OK")], &["1.1", "2.1"]);
        let (checks, differences) = expected().compare(&results, true);
        assert_eq!((checks.passed, checks.failed), (1, 1));
        assert_eq!(differences, ["2.1: OK (close OK), expected UNIMPLEMENTED (close OK)"]);
    }

    #[test]
    fn a_case_that_was_not_run_is_a_difference() {
        let results = results(&[("1.1", "OK")], &["1.1", "2.1"]);
        let (_, differences) = expected().compare(&results, true);
        assert_eq!(differences, ["2.1: not run"]);
    }

    #[test]
    fn a_suite_of_another_size_and_a_stale_exception_are_differences() {
        let results = results(&[("1.1", "OK")], &["1.1"]);
        let (_, differences) = expected().compare(&results, true);
        assert_eq!(differences.len(), 2, "{differences:?}");
        assert!(expected().compare(&results, false).1.is_empty());
    }

    #[test]
    fn an_exception_needs_a_reason() {
        let list = r#"{"total": 1, "expected": {"behavior": "OK", "close": "OK"},
            "exceptions": [{"cases": ["1.1"], "behavior": "FAILED", "close": "OK", "reason": ""}]}"#;
        let list = serde_json::from_str(list).expect("it is JSON");
        assert!(Expected::from_json(&list).is_none());
    }
}
