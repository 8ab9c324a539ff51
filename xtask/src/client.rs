//! The client of `conformance/src/client` against servers written by others, and through proxies written by others. It
//! prints its checks as the scripts of [`crate::interop`] do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    gate::{Checks, Failure},
    interop,
    process::{self, Foreign, Output, Server},
    rust, tools,
    workspace::Workspace,
};

/// The client bounds each of its waits; this bounds all of one run.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Servers made of node's `ws`, Python's `websockets` and Go's `gorilla/websocket`, and libwebsockets' own test server.
pub(crate) fn servers(workspace: &Workspace) -> Result<Checks, Failure> {
    let bench = Bench::new(workspace)?;
    let mut total = Checks::default();
    for peer in [Peer::Ws, Peer::Websockets, Peer::Gorilla] {
        let server = bench.start(peer)?;
        total += bench.client(&["peer", peer.name(), server.url()], &[])?;
        server.stop().map_err(|message| Failure::new(message, total))?;
    }
    let command = |port: u16| {
        let mut command = Command::new("libwebsockets-test-server");
        command.arg(format!("--port={port}")).arg("--interface=lo");
        Ok(command)
    };
    let mut server = Foreign::start(command, bench.folder.join("libwebsockets-test-server.log"))?;
    total += bench.client(&["libwebsockets", &format!("ws://127.0.0.1:{}/", server.port())], &[])?;
    server.check().map_err(|message| Failure::new(message, total))?;
    Ok(total)
}

/// An HTTP proxy and a SOCKS 5 proxy, each with and without a password, and what the environment says of proxies.
pub(crate) fn proxies(workspace: &Workspace) -> Result<Checks, Failure> {
    let bench = Bench::new(workspace)?;
    let server = bench.start(Peer::Ws)?;
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

    total += nobody_behind(&bench, &http, &socks)?;
    total += environment(&bench, url, &http, &socks)?;

    for proxy in [&mut http, &mut http_auth, &mut socks, &mut socks_auth] {
        proxy.check().map_err(|message| Failure::new(message, total))?;
    }
    server.stop().map_err(|message| Failure::new(message, total))?;
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
    /// For logs and configuration files.
    folder: PathBuf,
}

impl<'w> Bench<'w> {
    fn new(workspace: &'w Workspace) -> Result<Self, Failure> {
        rust::client(workspace)?;
        let folder = workspace.target().join("interop").join("client");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let (python, node_modules) = (tools::python(workspace)?, tools::node(workspace)?);
        Ok(Self { workspace, python, node_modules, gorilla: tools::gorilla(workspace)?, folder })
    }

    fn start(&self, peer: Peer) -> Result<Server, String> {
        let scripts = self.workspace.root().join("conformance/interop/peers");
        let (program, script) = match peer {
            Peer::Ws => (Path::new("node"), Some("ws.mjs")),
            Peer::Websockets => (self.python.as_path(), Some("websockets.py")),
            Peer::Gorilla => (self.gorilla.as_path(), None),
        };
        let mut command = Command::new(program);
        command.args(script.map(|script| scripts.join(script)));
        command.env("NODE_MODULES", &self.node_modules).env("PYTHONDONTWRITEBYTECODE", "1");
        Server::start_command(&mut command, self.folder.join(format!("{}.log", peer.name())))
    }

    /// Runs the client and counts what it has checked.
    fn client(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Checks, Failure> {
        self.output(arguments, variables).map(|(checks, _)| checks)
    }

    /// The same through `proxy`, which has to tell of as many connections.
    fn through(&self, proxy: &Foreign, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Checks, Failure> {
        let place = arguments.iter().find_map(|word| word.strip_prefix("ws://")).unwrap_or_default();
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
        command.args(arguments).env_remove("REQUEST_METHOD").envs(variables.iter().copied());
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
