//! The client of `conformance/src/client` against servers written by others, plain and over TLS, and through proxies written by
//! others. It prints its checks as the scripts of [`crate::interop`] do. What `sockeye connect` says of certificates is looked at too.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    certificates::Certificates,
    gate::{Checks, Failure},
    interop,
    output::say,
    process::{self, Foreign, Output, Server},
    rust, tools,
    workspace::Workspace,
};

/// The client bounds each of its waits; this bounds all of one run.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Servers made of node's `ws`, Python's `websockets` and Go's `gorilla/websocket`, and libwebsockets' own test server.
pub(crate) fn servers(workspace: &Workspace) -> Result<Checks, Failure> {
    let bench = Bench::new(workspace, "client")?;
    let mut total = Checks::default();
    for certificate in [None, Some(bench.certificates.server())] {
        let tls = if certificate.is_some() { " over TLS" } else { "" };
        for peer in Peer::ALL {
            let server = bench.start(peer, certificate.as_deref())?;
            total += bench.client(&["peer", &format!("{}{tls}", peer.name()), server.url()], &[])?;
            server.stop().map_err(|message| Failure::new(message, total))?;
            let server = bench.start_compressing(peer, certificate.as_deref())?;
            let name = format!("{}{tls}, compressed", peer.name());
            total += bench.client(&["--compress", "echo", &name, server.url()], &[])?;
            server.stop().map_err(|message| Failure::new(message, total))?;
        }
        let command = |port: u16| {
            let mut command = Command::new("libwebsockets-test-server");
            command.arg(format!("--port={port}")).arg("--interface=lo");
            if let Some(file) = &certificate {
                let file = file.display();
                command.arg("--ssl").arg(format!("--ssl-cert={file}")).arg(format!("--ssl-key={file}"));
            }
            Ok(command)
        };
        let mut server = Foreign::start(command, bench.folder.join("libwebsockets-test-server.log"))?;
        let scheme = if certificate.is_some() { "wss" } else { "ws" };
        let url = format!("{scheme}://127.0.0.1:{}/", server.port());
        total += bench.client(&["libwebsockets", &url], &[])?;
        total += bench.client(&["--compress", "libwebsockets-status", &url], &[])?;
        server.check().map_err(|message| Failure::new(message, total))?;
    }
    total += trust(workspace, &bench)?;
    Ok(total)
}

/// Whom `sockeye connect` and a client built on the library trust, with servers made of others' libraries.
fn trust(workspace: &Workspace, bench: &Bench<'_>) -> Result<Checks, Failure> {
    if workspace.binary_is_ours() {
        rust::release(workspace)?;
    }
    let certificates = &bench.certificates;
    let word = |path: PathBuf| path.display().to_string();
    let (authority, stranger) = (word(certificates.trusted()), word(certificates.stranger()));
    let (client, impostor) = (word(certificates.client()), word(certificates.impostor()));
    let pin = format!("sha256//{}", certificates.server_pin()?);
    let trusted = ["--ca-file", authority.as_str()];
    let mut total = Checks::default();
    for peer in [Peer::Ws, Peer::Websockets] {
        let (server, elsewhere) =
            (bench.start(peer, Some(&certificates.server()))?, bench.start(peer, Some(&certificates.elsewhere()))?);
        let (url, other) = (server.url(), elsewhere.url());
        let by_name = url.replace("127.0.0.1", "localhost");
        for (url, options, code, says) in [
            (url, &trusted[..], 0, "hi"),
            (&by_name, &trusted, 0, "hi"),
            (url, &["--ca-file", &authority, "--pin", &pin], 0, "hi"),
            (url, &["--insecure", "--pin", &pin], 0, "hi"),
            (other, &["--insecure"], 0, "the server may be anyone"),
            (other, &trusted, TLS_FAILED, "not for 127.0.0.1 but for elsewhere.example"),
            (url, &["--ca-file", &stranger], TLS_FAILED, "that is trusted"),
            (other, &["--insecure", "--pin", &pin], TLS_FAILED, "is not a pinned one"),
        ] {
            total += bench.connect(url, options, code, says)?;
        }
        let why = "Tls: the certificate is not for 127.0.0.1 but for elsewhere.example";
        total += bench.client(&["fails", "a certificate of another name", other, why], &[])?;
        let why = "Tls: the certificate of 127.0.0.1 was not issued by an authority that is trusted";
        total += bench.client(&["fails", "an unknown authority", url, why], &[("SSL_CERT_FILE", &stranger)])?;
        for server in [server, elsewhere] {
            server.stop().map_err(|message| Failure::new(message, total))?;
        }
    }
    let server = bench.start_asking()?;
    for (options, code, says) in [
        (&["--ca-file", &authority, "--cert", &client][..], 0, "hi"),
        (&["--ca-file", &authority, "--cert", &impostor], TLS_FAILED, "certificate"),
        (&trusted, TLS_FAILED, "certificate"),
    ] {
        total += bench.connect(server.url(), options, code, says)?;
    }
    server.stop().map_err(|message| Failure::new(message, total))?;
    Ok(total)
}

/// What `sockeye connect` exits with when TLS fails.
const TLS_FAILED: i32 = 4;

/// An HTTP proxy and a SOCKS 5 proxy, each with and without a password, and what the environment says of proxies.
pub(crate) fn proxies(workspace: &Workspace) -> Result<Checks, Failure> {
    let bench = Bench::new(workspace, "proxies")?;
    let server = bench.start(Peer::Ws, None)?;
    let url = server.url();
    let mut total = Checks::default();

    let mut http = bench.tinyproxy("tinyproxy", None)?;
    let mut http_auth = bench.tinyproxy("tinyproxy-password", Some("joe secret.word"))?;
    let mut socks = bench.microsocks("microsocks", None)?;
    let mut socks_auth = bench.microsocks("microsocks-password", Some(["joe", "secret@home"]))?;

    let place = format!("http://127.0.0.1:{}", http.port());
    total += bench.through(&http, &["peer", "tinyproxy", url, &place], &[])?;
    let place = format!("127.0.0.1:{}", http_auth.port());
    let named = "tinyproxy with a password";
    total += bench.through(&http_auth, &["echo", named, url, &format!("http://joe:secret.word@{place}")], &[])?;
    total += bench.fails(named, url, "Proxy: the proxy answered 407", &format!("http://{place}"))?;
    // What this proxy says to a wrong password.
    total += bench.fails(named, url, "Proxy: the proxy answered 401", &format!("http://joe:secret.wrong@{place}"))?;

    let place = format!("socks5://127.0.0.1:{}", socks.port());
    total += bench.through(&socks, &["peer", "microsocks", url, &place], &[])?;
    let place = format!("127.0.0.1:{}", socks_auth.port());
    let named = "microsocks with a password";
    total += bench.through(&socks_auth, &["echo", named, url, &format!("socks5://joe:secret%40home@{place}")], &[])?;
    let refused = "Proxy: the proxy requires another authentication method";
    total += bench.fails(named, url, refused, &format!("socks5://{place}"))?;
    let refused = "Proxy: the proxy rejected the user name and password";
    total += bench.fails(named, url, refused, &format!("socks5://joe:secret-and-wrong@{place}"))?;

    total += speaking_tls(&bench, url, &http)?;
    total += nobody_behind(&bench, &http, &socks)?;
    total += environment(&bench, url, &http, &socks)?;

    for proxy in [&mut http, &mut http_auth, &mut socks, &mut socks_auth] {
        proxy.check().map_err(|message| Failure::new(message, total))?;
    }
    server.stop().map_err(|message| Failure::new(message, total))?;
    Ok(total)
}

/// What is said of the certificate of a proxy that no trusted authority has issued.
const STRANGER: &str = "Proxy: the certificate of the proxy 127.0.0.1 was not issued by an authority that is trusted";

/// A proxy that speaks TLS itself: stunnel, with the HTTP proxy behind it. What is said through it may be TLS once more.
fn speaking_tls(bench: &Bench<'_>, url: &str, http: &Foreign) -> Result<Checks, Failure> {
    let mut stunnel = bench.stunnel("stunnel", http.port())?;
    let proxy = format!("https://127.0.0.1:{}", stunnel.port());
    let mut total = bench.through(http, &["peer", "tinyproxy behind TLS", url, &proxy], &[])?;
    let server = bench.start(Peer::Gorilla, Some(&bench.certificates.server()))?;
    total += bench.through(http, &["echo", "TLS through tinyproxy behind TLS", server.url(), &proxy], &[])?;
    server.stop().map_err(|message| Failure::new(message, total))?;
    let strangers = bench.certificates.stranger().display().to_string();
    let arguments = ["fails", "tinyproxy behind TLS of a stranger", url, STRANGER, &proxy];
    total += bench.client(&arguments, &[("SSL_CERT_FILE", &strangers)])?;
    let plain = format!("http://127.0.0.1:{}", stunnel.port());
    total += bench.fails("no TLS to a proxy that speaks it", url, "Proxy: ", &plain)?;
    stunnel.check().map_err(|message| Failure::new(message, total))?;
    Ok(total)
}

/// The proxies are there, and the server is not.
fn nobody_behind(bench: &Bench<'_>, http: &Foreign, socks: &Foreign) -> Result<Checks, Failure> {
    let url = format!("ws://127.0.0.1:{}/", process::free_port()?);
    let (http, socks) = (format!("http://127.0.0.1:{}", http.port()), format!("socks5://127.0.0.1:{}", socks.port()));
    let mut total = bench.fails("tinyproxy", &url, "Proxy: the proxy answered 500", &http)?;
    total += bench.fails("microsocks", &url, "Proxy: the proxy failed to connect", &socks)?;
    Ok(total)
}

fn environment(bench: &Bench<'_>, url: &str, http: &Foreign, socks: &Foreign) -> Result<Checks, Failure> {
    let place = format!("127.0.0.1:{}", http.port());
    let through = |proxy, variable: &str, value: &str| {
        let name = format!("{variable}={value}");
        bench.through(proxy, &["echo", &name, url, "env"], &[(variable, value)])
    };
    let mut total = through(http, "http_proxy", &place)?;
    total += through(http, "HTTP_PROXY", &format!("http://{place}/"))?;
    total += through(socks, "all_proxy", &format!("socks5h://127.0.0.1:{}", socks.port()))?;

    // A proxy that is not there: whoever gets through has not asked it.
    let nowhere = format!("127.0.0.1:{}", process::free_port()?);
    let variables = [("http_proxy", nowhere.as_str()), ("no_proxy", "example.com,127.0.0.0/8")];
    total += bench.client(&["echo", "no_proxy", url, "env"], &variables)?;
    let variables = [("http_proxy", nowhere.as_str()), ("no_proxy", "example.com")];
    total += bench.client(&["fails", "no_proxy of another host", url, "Connect: connecting to", "env"], &variables)?;
    Ok(total)
}

/// The servers that are made of a library.
#[derive(Clone, Copy)]
enum Peer {
    Ws,
    Websockets,
    Gorilla,
}

impl Peer {
    const ALL: [Self; 3] = [Self::Ws, Self::Websockets, Self::Gorilla];

    const fn name(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Websockets => "websockets",
            Self::Gorilla => "gorilla",
        }
    }
}

/// What the client runs on.
struct Bench<'w> {
    workspace: &'w Workspace,
    python: PathBuf,
    node_modules: PathBuf,
    gorilla: PathBuf,
    certificates: Certificates,
    /// For logs and configuration files.
    folder: PathBuf,
}

impl<'w> Bench<'w> {
    /// For a step of this name.
    fn new(workspace: &'w Workspace, name: &str) -> Result<Self, Failure> {
        rust::client(workspace)?;
        let folder = workspace.target().join("interop").join(name);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let (python, node_modules) = (tools::python(workspace)?, tools::node(workspace)?);
        let (gorilla, certificates) = (tools::gorilla(workspace)?, Certificates::make(&folder)?);
        Ok(Self { workspace, python, node_modules, gorilla, certificates, folder })
    }

    /// Starts a server: plain, or with this certificate.
    fn start(&self, peer: Peer, certificate: Option<&Path>) -> Result<Server, String> {
        let (mut command, log) = self.peer(peer);
        Server::start_command(command.envs(certificate.map(|file| ("CERTIFICATE", file))), log)
    }

    /// As [`start`](Self::start), of one that compresses for those who offer it.
    fn start_compressing(&self, peer: Peer, certificate: Option<&Path>) -> Result<Server, String> {
        let (mut command, log) = self.peer(peer);
        command.env("COMPRESS", "1");
        Server::start_command(command.envs(certificate.map(|file| ("CERTIFICATE", file))), log)
    }

    /// Starts a server that demands certificates of its clients, and tells one that it refuses why: those of node and Python
    /// close without an alert.
    fn start_asking(&self) -> Result<Server, String> {
        let (mut command, log) = self.peer(Peer::Gorilla);
        command.env("CERTIFICATE", self.certificates.server()).env("CLIENT_AUTHORITY", self.certificates.trusted());
        Server::start_command(&mut command, log)
    }

    fn peer(&self, peer: Peer) -> (Command, PathBuf) {
        let scripts = self.workspace.root().join("conformance/interop/peers");
        let (program, script) = match peer {
            Peer::Ws => (Path::new("node"), Some("ws.mjs")),
            Peer::Websockets => (self.python.as_path(), Some("websockets.py")),
            Peer::Gorilla => (self.gorilla.as_path(), None),
        };
        let mut command = Command::new(program);
        command.args(script.map(|script| scripts.join(script)));
        command.env("NODE_MODULES", &self.node_modules).env("PYTHONDONTWRITEBYTECODE", "1");
        (command, self.folder.join(format!("{}.log", peer.name())))
    }

    /// `sockeye connect` has to end with this code, and to say so.
    fn connect(&self, url: &str, options: &[&str], code: i32, says: &str) -> Result<Checks, Failure> {
        let mut command = Command::new(self.workspace.binary());
        command
            .args(["connect", url, "--proxy", "none", "--send", "hi", "--expect", "hi", "--timeout", "30"])
            .args(options);
        let output = process::read(&mut command, LIMIT)?;
        let (shown, said) = (process::shown(&command), output.lines.join("\n"));
        if output.status.code() != Some(code) || !said.contains(says) {
            let status = output.status;
            return Err(format!("`{shown}` ended with {status}, not {code}, or does not say `{says}`:\n{said}").into());
        }
        say!("ok {shown}: {code}");
        Ok(Checks::passed(1))
    }

    /// Runs the client and counts what it has checked.
    fn client(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Checks, Failure> {
        self.output(arguments, variables).map(|(checks, _)| checks)
    }

    /// The same through `proxy`, which has to tell of as many connections.
    fn through(&self, proxy: &Foreign, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Checks, Failure> {
        let place =
            arguments.iter().find_map(|word| word.strip_prefix("ws://").or_else(|| word.strip_prefix("wss://")));
        let place = place.unwrap_or_default();
        let place = place.trim_end_matches('/');
        let ways = || proxy.printed(&format!("CONNECT {place} ")) + proxy.printed(&format!("connected to {place}\n"));
        let before = ways();
        let (mut checks, output) = self.output(arguments, variables)?;
        let (gone, begun) = (ways() - before, connections(&output));
        if begun != Some(gone) {
            let message = format!("{gone} connections went through the proxy, and the client began {begun:?}");
            return Err(Failure::new(message, checks));
        }
        checks += Checks::passed(1);
        Ok(checks)
    }

    fn output(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<(Checks, Output), Failure> {
        let mut command = Command::new(self.workspace.client());
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command.args(arguments).env_remove("REQUEST_METHOD");
        // The authorities of the system, as far as TLS asks.
        command.env("SSL_CERT_FILE", self.certificates.trusted()).envs(variables.iter().copied());
        let output = process::run(&mut command, LIMIT)?;
        let checks = interop::count(&format!("conformance-client {}", arguments.join(" ")), &output)?;
        Ok((checks, output))
    }

    fn fails(&self, name: &str, url: &str, why: &str, proxy: &str) -> Result<Checks, Failure> {
        self.client(&["fails", name, url, why, proxy], &[])
    }

    /// An HTTP proxy; `auth` is `USER PASSWORD`.
    fn tinyproxy(&self, name: &str, auth: Option<&str>) -> Result<Foreign, String> {
        let file = self.folder.join(format!("{name}.conf"));
        let command = |port: u16| {
            let auth = auth.map(|auth| format!("BasicAuth {auth}\n")).unwrap_or_default();
            let text = format!(
                "Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 600\nMaxClients 100\nLogLevel Connect\n{auth}"
            );
            fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
            let mut command = Command::new("tinyproxy");
            command.arg("-d").arg("-c").arg(&file);
            Ok(command)
        };
        Foreign::start(command, self.folder.join(format!("{name}.log")))
    }

    /// TLS in front of a port.
    fn stunnel(&self, name: &str, behind: u16) -> Result<Foreign, String> {
        let file = self.folder.join(format!("{name}.conf"));
        let command = |port: u16| {
            let certificate = self.certificates.server();
            let text = format!(
                "foreground = yes\npid =\n[proxy]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{behind}\ncert = {}\n",
                certificate.display()
            );
            fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
            let mut command = Command::new("stunnel4");
            command.arg(&file);
            Ok(command)
        };
        Foreign::start(command, self.folder.join(format!("{name}.log")))
    }

    /// A SOCKS 5 proxy; `auth` is user and password.
    fn microsocks(&self, name: &str, auth: Option<[&str; 2]>) -> Result<Foreign, String> {
        let command = |port: u16| {
            let mut command = Command::new("microsocks");
            command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
            if let Some([user, password]) = auth {
                command.args(["-u", user, "-P", password]);
            }
            Ok(command)
        };
        Foreign::start(command, self.folder.join(format!("{name}.log")))
    }
}

/// The last number of `# 29 passed, 0 failed, 29 connections`.
fn connections(output: &Output) -> Option<usize> {
    let line = output.lines.iter().rfind(|line| line.starts_with("# "))?;
    line.strip_suffix(" connections")?.rsplit(' ').next()?.parse().ok()
}
