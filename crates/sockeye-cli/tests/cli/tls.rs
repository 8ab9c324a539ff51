//! Servers with TLS: certificates, who may connect, and how they are read again. The clients are rustls itself.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

use crate::support::{Folder, PATIENCE, Running, failure, finished, sockeye};

/// Issues certificates into a folder.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let (mut params, key) = (CertificateParams::default(), KeyPair::generate().unwrap());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes `WHAT.pem` and `WHAT.key`.
    fn issue(&self, folder: &Folder, what: &str, names: &[&str]) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let (params, key) = (CertificateParams::new(names).unwrap(), KeyPair::generate().unwrap());
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

/// The status line of `GET /`, or that there is none.
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
    let cases: [(&[&str], &str); 7] = [
        (&["--tls-cert", "/no/such.pem"], "/no/such.pem: cannot be read: No such file"),
        (&["--tls-cert", &cert], "has no private key"),
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
