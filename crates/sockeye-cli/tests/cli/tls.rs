//! Servers with TLS: certificates, who may connect, and how they are read again. The clients are rustls itself.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};
use serde_json::Value;
use sockeye::Service;
use sockeye::service::Listen;
use sockeye::tls::{Pem, Provider, ServerTls};
use sockeye_testing::connector::{Connector, Heads};

use crate::support::{Folder, PATIENCE, Running, failure, finished, output, sockeye};

/// Issues certificates into a folder.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let (mut params, key) = (CertificateParams::default(), KeyPair::generate().unwrap());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes `WHAT.pem` and `WHAT.key`.
    pub(crate) fn issue(&self, folder: &Folder, what: &str, names: &[&str]) -> (String, String) {
        self.issue_as(folder, what, names, |subject| subject.push(DnType::CommonName, "somebody"))
    }

    fn issue_as(
        &self,
        folder: &Folder,
        what: &str,
        names: &[&str],
        subject: impl FnOnce(&mut DistinguishedName),
    ) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let (mut params, key) = (CertificateParams::new(names).unwrap(), KeyPair::generate().unwrap());
        params.distinguished_name = DistinguishedName::new();
        subject(&mut params.distinguished_name);
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        let paths = (folder.path(&format!("{what}.pem")), folder.path(&format!("{what}.key")));
        fs::write(&paths.0, chain).unwrap();
        fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    fn client(&self, own: Option<&(String, String)>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_file_iter(chain).unwrap().map(Result::unwrap).collect();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
            }
        })
    }
}

/// The status line of `GET /`, or why it did not come.
fn status(config: &Arc<ClientConfig>, address: &str, name: &str) -> Result<String, std::io::Error> {
    let answer = answer(config, address, name, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

fn answer(config: &Arc<ClientConfig>, address: &str, name: &str, request: &str) -> Result<String, std::io::Error> {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), socket);
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn served(arguments: &[&str]) -> (Running, String) {
    let running = Running::start(&[&["serve", "--port", "0"], arguments].concat());
    let address = running.address();
    (running, address)
}

#[test]
fn several_certificates_are_served_by_name_in_all_threads() {
    let (authority, folder) = (Authority::new("root"), Folder::new("tls"));
    let (one, two) =
        (authority.issue(&folder, "one", &["one.example"]), authority.issue(&folder, "two", &["*.two.example"]));
    let client = authority.client(None);
    for threads in ["1", "2"] {
        let options = ["--tls-cert", &one.0, "--tls-key", &one.1, "--tls-cert", &two.0, "--tls-key", &two.1];
        let (_running, address) = served(&[&options[..], &["--threads", threads]].concat());
        for name in ["one.example", "a.two.example"] {
            assert_eq!(status(&client, &address, name).unwrap(), "HTTP/1.1 200 OK", "{name}");
        }
        assert!(status(&client, &address, "three.example").unwrap_err().to_string().contains("one.example"));
    }
}

#[test]
fn addresses_are_those_of_tls() {
    for (subcommand, scheme) in [("serve", "https"), ("echo", "wss")] {
        let running = Running::start(&[subcommand, "--port", "0", "--tls-self-signed"]);
        let line = running.line();
        assert!(line.starts_with(&format!("listening on {scheme}://127.0.0.1:")), "{line}");
        let line = running.line();
        let pin = line.strip_prefix("certificate made for this run, with the pin sha256//");
        assert_eq!(pin.unwrap().len(), 44, "{line}");
    }
}

#[test]
fn a_made_certificate_is_for_where_it_listens() {
    let (folder, path) = (Folder::new("tls"), "/metrics");
    let socket = format!("unix:{}", folder.path("socket"));
    let options = ["--tls-self-signed", "--host", "box.example:81", "--interface", "127.0.0.2", "--interface", &socket];
    let (_running, address) = served(&[&options[..], &["--metrics", path]].concat());
    // Its names are on the page of counters, which is asked without looking at the certificate.
    let mut config = (*Authority::new("other").client(None)).clone();
    config.dangerous().set_certificate_verifier(Arc::new(Anything));
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let page = answer(&Arc::new(config), &address, "box.example", &request).unwrap();
    let gauge = "sockeye_tls_certificate_expiry_timestamp_seconds{index=\"0\",names=\"";
    let line = page.lines().find_map(|line| line.strip_prefix(gauge)).unwrap();
    assert!(line.starts_with("box.example localhost 127.0.0.1 127.0.0.2 ::1\"} "), "{line}");
}

/// A verifier that does not.
#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn certificates_are_read_again_on_sighup() {
    let (authority, folder) = (Authority::new("root"), Folder::new("tls"));
    let (cert, key) = authority.issue(&folder, "cert", &["one.example"]);
    let client = authority.client(None);
    let (running, address) = served(&["--tls-cert", &cert, "--tls-key", &key, "--log-level", "info"]);
    assert_eq!(status(&client, &address, "one.example").unwrap(), "HTTP/1.1 200 OK");
    authority.issue(&folder, "cert", &["two.example"]);
    running.signal(Signal::HUP);
    running.log_line("certificates read again");
    assert_eq!(status(&client, &address, "two.example").unwrap(), "HTTP/1.1 200 OK");
    fs::write(&cert, "nonsense").unwrap();
    running.signal(Signal::HUP);
    let line = running.log_line("the certificates stay as they were");
    assert!(line.contains(&cert) && line.contains("is not PEM"), "{line}");
    assert_eq!(status(&client, &address, "two.example").unwrap(), "HTTP/1.1 200 OK");
    // A key that has gone stays in use for a certificate that it fits.
    authority.issue(&folder, "cert", &["two.example"]);
    running.signal(Signal::HUP);
    running.log_line("certificates read again");
    fs::remove_file(&key).unwrap();
    running.signal(Signal::HUP);
    assert!(running.log_line("the key could not be read again").contains(&key));
    assert_eq!(status(&client, &address, "two.example").unwrap(), "HTTP/1.1 200 OK");
}

/// By RFC 9525 no client accepts it.
#[test]
fn a_certificate_without_names_is_a_warning() {
    let (authority, folder) = (Authority::new("root"), Folder::new("tls"));
    let (cert, key) = authority.issue(&folder, "cert", &[]);
    let (running, _) = served(&["--tls-cert", &cert, "--tls-key", &key]);
    assert!(running.log_line("a certificate has no names").contains(&cert));
}

#[test]
fn handshakes_are_counted_in_the_log() {
    let (authority, folder) = (Authority::new("root"), Folder::new("tls"));
    let (cert, key) = authority.issue(&folder, "cert", &["one.example"]);
    let (running, address) = served(&["--tls-cert", &cert, "--tls-key", &key, "--log-level", "info"]);
    status(&authority.client(None), &address, "one.example").unwrap();
    status(&Authority::new("other").client(None), &address, "one.example").unwrap_err();
    // The client has ended it; the server is about to learn that.
    running.log_line("the TLS handshake failed");
    running.signal(Signal::USR1);
    for outcome in ["started count=2", "full count=1", "refused count=1"] {
        let line = running.log_line("TLS handshakes by outcome");
        assert!(line.contains(&format!("name={outcome}")), "{line}");
    }
}

#[test]
fn clients_show_certificates() {
    let (authority, staff, folder) = (Authority::new("root"), Authority::new("staff"), Folder::new("tls"));
    let (cert, key) = authority.issue(&folder, "cert", &["one.example"]);
    let me = staff.issue(&folder, "me", &["me.example"]);
    fs::write(folder.path("staff.pem"), &staff.pem).unwrap();
    let ca = folder.path("staff.pem");
    let (_running, address) = served(&["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca]);
    assert_eq!(status(&authority.client(Some(&me)), &address, "one.example").unwrap(), "HTTP/1.1 200 OK");
    let refused = status(&authority.client(None), &address, "one.example").unwrap_err().to_string();
    assert!(refused.contains("CertificateRequired"), "{refused}");
    let stranger = authority.issue(&folder, "stranger", &["me.example"]);
    let refused = status(&authority.client(Some(&stranger)), &address, "one.example").unwrap_err().to_string();
    assert!(refused.contains("UnknownCA"), "{refused}");
}

/// The daemon has another working directory than its starter.
#[test]
fn a_daemon_finds_its_files() {
    let (authority, folder) = (Authority::new("root"), Folder::new("tls"));
    authority.issue(&folder, "cert", &["one.example"]);
    let (log, pid) = (folder.path("log"), folder.path("pid"));
    let options = ["--tls-cert", "cert.pem", "--tls-key", "cert.key", "--log-to", &log];
    let mut command = sockeye(&[&["serve", "--port", "0", "--daemonize", "--pid-file", &pid][..], &options].concat());
    let output = finished(command.current_dir(&folder.0));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let process = fs::read_to_string(Path::new(&pid)).unwrap().trim().parse().unwrap();
    let process = rustix::process::Pid::from_raw(process).unwrap();
    let address = said.split_once("https://").unwrap().1.strip_suffix("/\n").unwrap().to_owned();
    let status = status(&authority.client(None), &address, "one.example");
    rustix::process::kill_process(process, Signal::TERM).unwrap();
    assert_eq!(status.unwrap(), "HTTP/1.1 200 OK");
}

#[test]
fn what_cannot_be_used_is_named() {
    let (authority, folder) = (Authority::new("root"), Folder::new("tls"));
    let (cert, key) = authority.issue(&folder, "cert", &["one.example"]);
    let (_, other) = authority.issue(&folder, "other", &["one.example"]);
    let cases: [(&[&str], &str); 8] = [
        (&["--tls-cert", "/no/such.pem"], "/no/such.pem: cannot be read: No such file"),
        (&["--tls-cert", &cert], "or name the file of the key (--tls-key)"),
        (&["--tls-cert", &key, "--tls-key", &cert], "swapped?"),
        (&["--tls-cert", &cert, "--tls-key", &other], "other.key: is not the key of "),
        (&["--tls-cert", &cert, "--tls-key", &key, "--tls-key", &other], "1 --tls-cert and 2 --tls-key"),
        (&["--tls-key", &key], "--tls-cert"),
        (&["--tls-client-ca", &cert], "--tls-client-ca: TLS needs a certificate too"),
        (&["--tls-self-signed", "--tls-cert", &cert], "cannot be used with"),
    ];
    for (options, text) in cases {
        let (code, said) = failure(&[&["echo", "--port", "0"], options].concat());
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(text), "{said}");
    }
}

/// What `openssl req -x509` makes is an authority's, and trusted as the server's own by who was given it.
#[test]
fn a_self_signed_certificate_is_trusted_by_its_file() {
    let folder = Folder::new("tls");
    let (cert, key) = (folder.path("cert.pem"), folder.path("cert.key"));
    let make = |cert: &str, key: &str| {
        let (mut params, pair) =
            (CertificateParams::new(["localhost".to_owned()]).unwrap(), KeyPair::generate().unwrap());
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(cert, params.self_signed(&pair).unwrap().pem()).unwrap();
        fs::write(key, pair.serialize_pem()).unwrap();
    };
    make(&cert, &key);
    let running = Running::start(&["echo", "--port", "0", "--tls-cert", &cert, "--tls-key", &key]);
    let address = running.address();
    let port = address.rsplit_once(':').unwrap().1;
    let connect = |host: &str, ca: &str| {
        let url = format!("wss://{host}:{port}/");
        failure(&["connect", &url, "--proxy", "none", "--send", "a", "--expect", "a", "--ca-file", ca])
    };
    let (code, said) = connect("localhost", &cert);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = connect("127.0.0.1", &cert);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("the certificate is not for 127.0.0.1 but for localhost"), "{said}");
    // The file of another one with the same names.
    let other = folder.path("other.pem");
    make(&other, &folder.path("other.key"));
    assert_eq!(connect("localhost", &other).0, Some(4));
}

/// An echo server with TLS that the file `ca.pem` of its folder vouches for.
struct Echo {
    authority: Authority,
    folder: Folder,
    _running: Running,
    url: String,
}

impl Echo {
    fn start(options: &[&str]) -> Self {
        let (authority, folder) = (Authority::new("root"), Folder::new("tls"));
        fs::write(folder.path("ca.pem"), &authority.pem).unwrap();
        let (cert, key) = authority.issue(&folder, "cert", &["localhost"]);
        let running =
            Running::start(&[&["echo", "--port", "0", "--tls-cert", &cert, "--tls-key", &key], options].concat());
        let address = running.address();
        let url = format!("wss://localhost:{}/", address.rsplit_once(':').unwrap().1);
        Self { authority, folder, _running: running, url }
    }

    fn ca(&self) -> String {
        self.folder.path("ca.pem")
    }

    /// `connect`, which sends one message and expects it back.
    fn connect(&self, options: &[&str]) -> (Option<i32>, String) {
        failure(
            &[&["connect", &*self.url, "--proxy", "none", "--send", "hello", "--expect", "hello"], options].concat(),
        )
    }
}

#[test]
fn clients_trust_the_roots_of_a_file_or_of_the_system() {
    let echo = Echo::start(&[]);
    let ca = echo.ca();
    assert_eq!(echo.connect(&["--ca-file", &ca]).0, Some(0));
    let arguments = ["connect", &*echo.url, "--proxy", "none", "--send", "hello", "--expect", "hello"];
    let with_system = |file: &str| {
        let mut command = sockeye(&arguments);
        let output = finished(command.env("SSL_CERT_FILE", file).env_remove("SSL_CERT_DIR"));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(with_system(&ca).0, Some(0));
    // Those of somebody else, and none at all.
    let other = Authority::new("other");
    fs::write(echo.folder.path("other.pem"), &other.pem).unwrap();
    let (code, said) = with_system(&echo.folder.path("other.pem"));
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("the certificate of localhost was not issued by an authority that is trusted"), "{said}");
    assert!(said.contains("--ca-file"), "{said}");
    let (code, said) = with_system("/no/such/file");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the system has no root certificates") && said.contains("(--ca-file)"), "{said}");
}

#[test]
fn every_command_that_connects_speaks_tls() {
    let echo = Echo::start(&[]);
    let ca = echo.ca();
    for command in
        [&["ping", "--count", "2", "--interval", "10ms"][..], &["bench", "--connections", "2", "--duration", "200ms"]]
    {
        let (code, said) = failure(&[command, &[&*echo.url, "--proxy", "none", "--ca-file", &ca]].concat());
        assert_eq!(code, Some(0), "{command:?}: {said}");
        let (code, said) =
            failure(&[command, &[&*echo.url, "--proxy", "none", "--pin", NO_PIN, "--insecure"]].concat());
        assert_eq!(code, Some(4), "{command:?}: {said}");
    }
    let (code, said) = failure(&["fraggle", &echo.url, "--proxy", "none", "--pin", NO_PIN, "--insecure", "-n", "1"]);
    assert_eq!(code, Some(4), "{said}");
}

/// Runs `bench` in the mode of handshakes, and reads its object.
fn handshakes(echo: &Echo, options: &[&str]) -> (Option<i32>, String, Value) {
    let ca = echo.ca();
    let arguments = ["bench", &*echo.url, "--proxy", "none", "--ca-file", &ca, "--mode", "handshake", "--json"];
    let output = output(&[&arguments[..], options].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said, serde_json::from_slice(&output.stdout).unwrap_or_default())
}

#[test]
fn handshakes_are_measured_full_and_resumed() {
    for options in [&[][..], &["--threads", "2"]] {
        let echo = Echo::start(options);
        let (code, said, report) = handshakes(&echo, &["--connections", "5", "-n", "50"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(
            (&report["tls"]["full"]["handshakes"], &report["tls"]["resumed"]["handshakes"]),
            (&50.into(), &0.into())
        );
        assert_eq!(report["handshakes"], 50, "{report}");
        assert!(report["tls"]["full"]["rate"].as_f64().unwrap() > 0.0, "{report}");
        // The first of each has nothing to resume yet, and all others have.
        let (code, said, report) = handshakes(&echo, &["--connections", "5", "-n", "50", "--resume"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(
            (&report["tls"]["full"]["handshakes"], &report["tls"]["resumed"]["handshakes"]),
            (&5.into(), &45.into())
        );
        assert!(report["tls"]["resumed"]["latency_seconds"]["p50"].as_f64().unwrap() > 0.0, "{report}");
        assert_eq!(report["errors"]["total"], 0, "{report}");
    }
}

#[test]
fn a_server_that_resumes_nothing_is_told() {
    // It has no tickets for clients with certificates.
    let staff = Authority::new("staff");
    let folder = Folder::new("tls");
    fs::write(folder.path("staff.pem"), &staff.pem).unwrap();
    let me = staff.issue(&folder, "me", &["me.example"]);
    let echo = Echo::start(&["--tls-client-ca", &folder.path("staff.pem")]);
    let (code, said, report) =
        handshakes(&echo, &["--cert", &me.0, "--key", &me.1, "--connections", "2", "-n", "10", "--resume"]);
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("the server resumed none of 10 TLS sessions"), "{said}");
    assert_eq!(report["tls"]["full"]["handshakes"], 10, "{report}");
    // Failures have their reason.
    let (code, said, report) = handshakes(&echo, &["--connections", "1", "-n", "3"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("certificate_required"), "{said} {report}");
    for arguments in [&["--mode", "echo"][..], &["--mode", "idle"]] {
        let (code, said) = failure(&[&["bench", &*echo.url, "--insecure", "--resume"], arguments].concat());
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--resume requires --mode handshake"), "{said}");
    }
    let (code, said) = failure(&["bench", "ws://127.0.0.1:1/", "--proxy", "none", "--mode", "handshake", "--resume"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("and a wss:// URL"), "{said}");
}

#[test]
fn a_pin_is_enough_for_a_certificate_made_for_a_run() {
    let running = Running::start(&["echo", "--port", "0", "--tls-self-signed"]);
    let url = format!("wss://{}/", running.address());
    let line = running.line();
    let pin = line.strip_prefix("certificate made for this run, with the pin ").unwrap();
    let connect = |options: &[&str]| {
        failure(&[&["connect", &*url, "--proxy", "none", "--send", "a", "--expect", "a"], options].concat())
    };
    assert_eq!(connect(&["--insecure", "--pin", pin]).0, Some(0));
    let (code, said) = connect(&["--insecure", "--pin", NO_PIN]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains(&format!("is not a pinned one, but {pin}")), "{said}");
    let (code, said) = connect(&["--insecure"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the server may be anyone"), "{said}");
    // The pin alone says nothing about who issued it, as with curl.
    let empty = Authority::new("other");
    let folder = Folder::new("tls");
    fs::write(folder.path("ca.pem"), &empty.pem).unwrap();
    let (code, said) = connect(&["--pin", pin, "--ca-file", &folder.path("ca.pem")]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("is self-signed; its key is the pinned one: a pin counts beside"), "{said}");
    assert!(said.contains("--insecure with --pin"), "{said}");
    let (code, said) = connect(&["--ca-file", &folder.path("ca.pem")]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains(&format!("is self-signed; its key is {pin}: trust it as a root, or pin")), "{said}");
}

/// It is in no file.
#[test]
fn a_certificate_made_for_a_run_is_not_read_again() {
    for threads in ["1", "2"] {
        let options = ["echo", "--port", "0", "--tls-self-signed", "--log-level", "info", "--threads", threads];
        let running = Running::start(&options);
        running.address();
        running.signal(Signal::HUP);
        running.log_line("SIGHUP: nothing to reload");
    }
}

#[test]
fn clients_show_a_certificate_and_log_secrets() {
    let staff = Authority::new("staff");
    let folder = Folder::new("tls");
    fs::write(folder.path("staff.pem"), &staff.pem).unwrap();
    let me = staff.issue(&folder, "me", &["me.example"]);
    let echo = Echo::start(&["--tls-client-ca", &folder.path("staff.pem")]);
    let (ca, log) = (echo.ca(), folder.path("keys.log"));
    let options = ["--ca-file", &ca, "--cert", &me.0, "--key", &me.1, "--key-log", &log];
    assert_eq!(echo.connect(&options).0, Some(0));
    assert!(fs::read_to_string(&log).unwrap().contains("CLIENT_TRAFFIC_SECRET_0 "));
    let (code, said) = echo.connect(&["--ca-file", &ca]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("certificate_required (116)") && said.contains("--cert and --key"), "{said}");
    let stranger = echo.authority.issue(&folder, "stranger", &["me.example"]);
    let (code, said) = echo.connect(&["--ca-file", &ca, "--cert", &stranger.0, "--key", &stranger.1]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("unknown_ca (48)"), "{said}");
}

#[test]
fn what_was_agreed_on_is_shown_if_asked_for() {
    let echo = Echo::start(&[]);
    let ca = echo.ca();
    let (code, said) = echo.connect(&["--ca-file", &ca, "-v"]);
    assert_eq!(code, Some(0), "{said}");
    let session = said.lines().find(|line| line.starts_with("* TLS 1.3, TLS13_")).unwrap();
    assert!(session.contains("X25519"), "{said}");
    let certificate = said.lines().find(|line| line.starts_with("* certificate for localhost, until 4096-")).unwrap();
    assert!(certificate.contains(", with the key sha256//"), "{said}");
    // Once, and before the request that goes inside.
    assert!(said.find("* TLS 1.3").unwrap() < said.find("> GET / HTTP/1.1").unwrap(), "{said}");
    assert_eq!(said.matches("* TLS 1.3").count(), 1, "{said}");
    assert!(!echo.connect(&["--ca-file", &ca]).1.contains("TLS 1.3"));
}

#[test]
fn a_client_says_which_rule_was_broken() {
    let echo = Echo::start(&[]);
    let ca = echo.ca();
    let port = echo.url.trim_end_matches('/').rsplit_once(':').unwrap().1.to_owned();
    let (code, said) = failure(&["connect", &format!("wss://127.0.0.1:{port}/"), "--proxy", "none", "--ca-file", &ca]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("the certificate is not for 127.0.0.1 but for localhost: connect by a name"), "{said}");
    // A client of TLS, and a server without it.
    let plain = Running::start(&["echo", "--port", "0"]);
    let (code, said) =
        failure(&["connect", &format!("wss://{}/", plain.address()), "--proxy", "none", "--ca-file", &ca]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("is not TLS: does it speak TLS on this port?"), "{said}");
}

#[test]
fn options_of_tls_are_not_for_plain_urls() {
    let folder = Folder::new("tls");
    let log = folder.path("log");
    for option in
        [&["--ca-file", "/x"][..], &["--cert", "/x"], &["--pin", NO_PIN], &["--insecure"], &["--key-log", &log]]
    {
        let (code, said) = failure(&[&["connect", "ws://127.0.0.1:1/", "--proxy", "none"], option].concat());
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(option[0]) && said.contains("is not encrypted; for TLS write wss://"), "{said}");
    }
    let (code, said) = failure(&["connect", "wss://127.0.0.1:1/", "--proxy", "none", "--insecure", "--pin", "x"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("\"x\" is not a pin") && said.contains("--tls-self-signed` prints"), "{said}");
    // Roots are of no use where nothing is verified.
    let (code, said) = failure(&["connect", "wss://127.0.0.1:1/", "--ca-file", "/x", "--insecure"]);
    assert!(code == Some(2) && said.contains("cannot be used with"), "{said}");
}

/// The fields of TLS in the line of an answer.
fn logged(running: &Running) -> [Value; 4] {
    let line = running.log_line("sockeye::access");
    let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    ["tls_version", "tls_cipher", "tls_name", "tls_client"].map(|field| line[field].clone())
}

#[test]
fn the_access_log_says_what_tls_agreed_on() {
    let (authority, staff, folder) = (Authority::new("root"), Authority::new("staff"), Folder::new("tls"));
    let (cert, key) = authority.issue(&folder, "cert", &["one.example"]);
    fs::write(folder.path("staff.pem"), &staff.pem).unwrap();
    let me = staff.issue_as(&folder, "me", &["me.example"], |subject| {
        subject.push(DnType::CommonName, "me\n\u{202e}, CN=root\" status=500");
        subject.push(DnType::OrganizationName, "Staff");
    });
    let log = ["--access-log", "--log-level", "err", "--log-format", "json"];
    let (running, address) = served(&[&["--tls-cert", &cert, "--tls-key", &key][..], &log].concat());
    let client = authority.client(None);
    for (index, (name, path)) in [("one.example", "/"), ("one.example", "bad")].into_iter().enumerate() {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        answer(&client, &address, name, &request).unwrap();
        let [version, cipher, sni, subject] = logged(&running);
        assert_eq!((&version, &sni, &subject), (&"TLS 1.3".into(), &name.into(), &Value::Null), "{index}");
        assert!(cipher.as_str().unwrap().starts_with("TLS13_"), "{cipher}");
    }
    // A client with a certificate, in both forms of the log: its name cannot end a line or a field.
    let ca = folder.path("staff.pem");
    for form in ["json", "logfmt"] {
        let options =
            ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca, "--access-log", "--log-format", form];
        let (running, address) = served(&options);
        status(&authority.client(Some(&me)), &address, "one.example").unwrap();
        if form == "json" {
            let [_, _, _, subject] = logged(&running);
            assert_eq!(subject, "O=Staff,CN=me\n\u{202e}\\, CN=root\\\" status=500");
        } else {
            let line = running.log_line("sockeye::access");
            assert!(line.contains(" tls_version=\"TLS 1.3\" tls_cipher=TLS13_"), "{line}");
            assert!(
                line.contains(
                    r#" tls_name=one.example tls_client="O=Staff,CN=me\n\u{202e}\\, CN=root\\\" status=500" bytes="#
                ),
                "{line}"
            );
        }
    }
    // An address has no name (RFC 6066 section 3), and a plain connection none of all this.
    let (cert, key) = authority.issue(&folder, "address", &["127.0.0.1"]);
    let (running, address) = served(&[&["--tls-cert", &cert, "--tls-key", &key][..], &log].concat());
    status(&client, &address, "127.0.0.1").unwrap();
    assert_eq!(logged(&running)[2], Value::Null);
    let (running, address) = served(&log);
    crate::support::get(&address, "/");
    let line = running.log_line("sockeye::access");
    assert!(line.contains("\"status\":200") && !line.contains("tls_"), "{line}");
}

#[test]
fn commands_that_listen_speak_tls_too() {
    let (authority, folder) = (Authority::new("root"), Folder::new("tls"));
    fs::write(folder.path("ca.pem"), &authority.pem).unwrap();
    let (ca, (cert, key)) = (folder.path("ca.pem"), authority.issue(&folder, "cert", &["127.0.0.1"]));
    let own = ["--tls-cert", &cert, "--tls-key", &key];

    let running = Running::start(&[&["fraggle", "--port", "0", "--count", "3"], &own[..]].concat());
    let url = format!("wss://{}/", running.address());
    let output = output(&["fraggle", &url, "--proxy", "none", "--ca-file", &ca, "-n", "3"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("3 messages, "), "{output:?}");
    let running = Running::start(&["fraggle", "--port", "0", "--tls-self-signed"]);
    assert!(running.line().starts_with("listening on wss://127.0.0.1:"));
    assert!(running.line().starts_with("certificate made for this run, with the pin sha256//"));

    // A client that listens, and one that connects to it.
    let listen = ["connect", "--listen", "127.0.0.1:0", "-v", "--send", "hi", "--count", "1"];
    let talk = |running: &Running, options: &[&str]| {
        let line = running.log_line("listening on wss://");
        let url = line.split_once("listening on ").unwrap().1.to_owned();
        let mut arguments = vec!["connect", &url, "--proxy", "none", "--send", "ho", "--expect", "hi"];
        let pin = options.is_empty().then(|| {
            let line = running.log_line("with the pin ");
            line.split_once("with the pin ").unwrap().1.to_owned()
        });
        arguments.extend(pin.iter().flat_map(|pin| ["--insecure", "--pin", pin]));
        arguments.extend(options);
        failure(&arguments)
    };
    let running = Running::start(&[&listen[..], &own].concat());
    let (code, said) = talk(&running, &["--ca-file", &ca]);
    assert_eq!(code, Some(0), "{said}");
    running.log_line("TLS 1.3, TLS13_");
    assert_eq!(running.ended().code(), Some(0));
    let running = Running::start(&[&listen[..], &["--tls-self-signed"]].concat());
    let (code, said) = talk(&running, &[]);
    assert_eq!(code, Some(0), "{said}");
    // Plain URLs are not for it, and its options are not for those that connect.
    let running = Running::start(&[&listen[..], &own].concat());
    let address = running.log_line("listening on wss://").split_once("wss://").unwrap().1.to_owned();
    let (code, said) = failure(&["connect", &format!("ws://{address}"), "--proxy", "none"]);
    assert_eq!(code, Some(5), "{said}");
    for command in ["connect", "fraggle"] {
        let (code, said) = failure(&[&[command, "wss://localhost/"][..], &own].concat());
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--tls-cert"), "{said}");
    }
    let (code, said) = failure(&["connect", "--listen", "0", "--tls-cert", "/no/such.pem"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("/no/such.pem: cannot be read"), "{said}");
}

#[test]
fn pages_over_tls_are_of_the_same_origin_and_others_are_not() {
    let (authority, folder) = (Authority::new("root"), Folder::new("tls"));
    let (cert, key) = authority.issue(&folder, "cert", &["127.0.0.1"]);
    let (_running, address) = served(&["--tls-cert", &cert, "--tls-key", &key]);
    let client = authority.client(None);
    let ask = |origin: &str, fields: &str| {
        let request =
            format!("GET / HTTP/1.1\r\nHost: {address}\r\nOrigin: {origin}\r\n{fields}Connection: close\r\n\r\n");
        answer(&client, &address, "127.0.0.1", &request).unwrap()
    };
    for (scheme, status) in [("https", "200 OK"), ("http", "403 Forbidden")] {
        let answer = ask(&format!("{scheme}://{address}"), "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{scheme}: {answer}");
    }
    // What the page connects to is its own server, with TLS.
    let page = ask(&format!("https://{address}"), "");
    assert!(page.contains(&format!(" wss://{address}")), "{page}");
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let refused = ask(&format!("http://{address}"), upgrade);
    assert!(refused.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{refused}");
}

#[test]
fn a_certificate_that_expires_soon_is_warned_of() {
    let (authority, folder) = (Authority::new("root"), Folder::new("tls"));
    let days = |days: u32| {
        let (params, key) = (CertificateParams::new(["a.example".to_owned()]).unwrap(), KeyPair::generate().unwrap());
        let mut params = params;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + Duration::from_secs(60 * 60) + days * DAY;
        let path = folder.path(&format!("{days}.pem"));
        let pem = params.signed_by(&key, &authority.issuer).unwrap().pem() + &key.serialize_pem();
        fs::write(&path, pem).unwrap();
        path
    };
    let (near, far) = (days(13), days(15));
    let options = ["--tls-cert", &far, "--tls-cert", &near, "--log-format", "json"];
    let (running, _) = served(&options);
    let line: Value = serde_json::from_str(&running.log_line("a certificate expires soon")).unwrap();
    assert_eq!((&line["path"], &line["days"], &line["level"]), (&near.into(), &13.into(), &"warn".into()));
    // The other one is not, and both are looked at again when they are read again.
    fs::copy(&far, folder.path("13.pem")).unwrap();
    fs::copy(days(0), &far).unwrap();
    running.signal(Signal::HUP);
    let line: Value = serde_json::from_str(&running.log_line("a certificate expires soon")).unwrap();
    assert_eq!((&line["path"], &line["days"]), (&far.into(), &0.into()));
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Of no key.
const NO_PIN: &str = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A proxy that speaks TLS, with this certificate, and connects to whatever it is asked for. Returns its URL, and what it is asked.
fn proxy(own: &(String, String), secret: Option<&str>) -> (String, Heads) {
    let mut connector = Connector::new();
    if let Some(secret) = secret {
        connector = connector.secret(secret);
    }
    let heads = connector.heads();
    let tls = ServerTls::builder(Provider::Ring).certificate(Pem::file(&own.0), Pem::file(&own.1)).build().unwrap();
    let (sender, receiver) = mpsc::channel();
    // It ends with the process of the test.
    thread::spawn(move || {
        let mut builder = Service::builder();
        let endpoint = builder.add_raw(connector);
        let mut service = builder.listener(Listen::new("127.0.0.1:0").raw(endpoint).tls(tls)).build().unwrap();
        sender.send(service.local_addresses()[0].to_string()).unwrap();
        service.run().unwrap();
    });
    let address = receiver.recv().unwrap();
    (format!("https://localhost:{}", address.rsplit_once(':').unwrap().1), heads)
}

#[test]
fn a_proxy_may_speak_tls_itself() {
    let (authority, other, folder) = (Authority::new("root"), Authority::new("other"), Folder::new("tls"));
    let (root, its_root) = (folder.path("root.pem"), folder.path("proxy.pem"));
    fs::write(&root, &authority.pem).unwrap();
    fs::write(&its_root, &other.pem).unwrap();
    let own = authority.issue(&folder, "own", &["localhost", "127.0.0.1"]);
    let (proxy, heads) = proxy(&other.issue(&folder, "proxy-own", &["localhost"]), Some("Basic am9lOnNlY3JldA=="));
    let with_password = proxy.replace("https://", "https://joe:secret@");
    let plain = Running::start(&["echo", "--port", "0"]);
    let sealed = Running::start(&["echo", "--port", "0", "--tls-cert", &own.0, "--tls-key", &own.1]);
    let (ws, wss) = (format!("ws://{}/", plain.address()), format!("wss://{}/", sealed.address()));
    let run = |url: &str, options: &[&str]| {
        let mut command =
            sockeye(&[&["connect", url, "--send", "hi", "--expect", "hi", "--timeout", "30"], options].concat());
        let output = finished(&mut command);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), said)
    };
    let trusts = ["--proxy-ca-file", &its_root];
    let both = [&trusts[..], &["--ca-file", &root]].concat();
    for (url, options, proxy, code, says) in [
        (&ws, &trusts[..], &with_password, 0, "hi"),
        (&wss, &both, &with_password, 0, "hi"),
        (&ws, &["--proxy-insecure"], &with_password, 0, "the proxy may be anyone"),
        (&wss, &both, &proxy, 3, "the proxy answered 407"),
        (
            &ws,
            &["--proxy-ca-file", &root],
            &with_password,
            4,
            "the certificate of the proxy localhost was not issued by",
        ),
        (&ws, &["--proxy-ca-file", &root], &with_password, 4, "(--proxy-ca-file)"),
        (&wss, &trusts, &with_password, 4, "the certificate of 127.0.0.1 was not issued by"),
        (&wss, &["--ca-file", &root, "--proxy-insecure"], &with_password, 0, "hi"),
    ] {
        let (ended, said) = run(url, &[options, &["--proxy", proxy]].concat());
        assert!(ended == code && said.contains(says), "{url} {options:?}: {ended}, not {code}: {said}");
    }
    assert_eq!(heads.take().len(), 6);
    // As the environment has it, for the URL that it is for.
    let mut command = sockeye(&[&["connect", &wss, "--send", "hi", "--expect", "hi"], &both[..]].concat());
    assert_eq!(finished(command.env("https_proxy", &with_password)).status.code(), Some(0));
    assert!(heads.take()[0].starts_with("CONNECT 127.0.0.1:"));
    let mut command = sockeye(&["connect", &ws, "--send", "hi"]);
    let output = finished(command.env("http_proxy", &with_password));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(4) && said.contains("from http_proxy)") && !said.contains("secret"), "{said}");
    // Options that would be of no use.
    for (options, says) in [
        (&["--proxy", "http://localhost:1", "--proxy-insecure"][..], "does not go through a proxy of https://"),
        (&["--proxy", "none", "--proxy-ca-file", &root], "--proxy-ca-file: the connection does not go through"),
        (&["--proxy", &proxy, "--proxy-ca-file", "/no/such"], "TLS of the proxy: /no/such: cannot be read"),
        (&["--proxy", &proxy, "--proxy-ca-file", &root, "--proxy-insecure"], "cannot be used with"),
    ] {
        let (code, said) = failure(&[&["connect", &*ws], options].concat());
        assert!(code == Some(2) && said.contains(says), "{options:?}: {said}");
    }
}
