//! The options for TLS: what a server shows, and what a client trusts.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use sockeye::log::escape;
use sockeye::tls::{
    ClientCertificates, ClientTls, LoadError, LoadErrorKind, Pem, Provider, ServerTls, ServerTlsBuilder,
};

use crate::failure::Failure;

/// Whose cryptography is used. What is released has aws-lc-rs; ring is for builds that are made often.
#[cfg(feature = "tls-aws-lc")]
pub(crate) const PROVIDER: Provider = Provider::AwsLc;
#[cfg(not(feature = "tls-aws-lc"))]
pub(crate) const PROVIDER: Provider = Provider::Ring;

/// What a server speaks TLS with.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServerTlsArgs {
    /// Speak TLS, with the certificate in this PEM file, followed by those of its issuers (repeatable)
    ///
    /// With several, a client gets the one for the name that it asks for, or else the first. SIGHUP has all files read again,
    /// except with `connect --listen`, which it ends; connections that are open stay, and a file that cannot be used leaves
    /// everything as it is.
    #[arg(help_heading = "TLS", long = "tls-cert", value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "self_signed")]
    pub(crate) certs: Vec<PathBuf>,

    /// PEM file with the private key of the certificate; one for each --tls-cert, in their order [default: the same file]
    ///
    /// It is read before privileges are dropped (--user). A later SIGHUP that can no longer read it keeps the key.
    #[arg(help_heading = "TLS", long = "tls-key", value_name = "FILE", value_hint = ValueHint::FilePath, requires = "certs")]
    pub(crate) keys: Vec<PathBuf>,

    /// Refuse clients without a certificate that an authority in this PEM file issued
    #[arg(help_heading = "TLS", long = "tls-client-ca", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) client_ca: Option<PathBuf>,

    /// Refuse certificates of clients that the revocation lists in this PEM file name
    #[arg(help_heading = "TLS", long = "tls-client-crl", value_name = "FILE", value_hint = ValueHint::FilePath, requires = "client_ca")]
    pub(crate) client_crl: Option<PathBuf>,

    /// Speak TLS with a certificate made for this run, and print the pin of its key: for development
    ///
    /// It is for localhost, the addresses of --interface and the names of --host. `sockeye connect --insecure --pin PIN` trusts
    /// it and nothing else; a browser asks.
    #[arg(id = "self_signed", help_heading = "TLS", long = "tls-self-signed")]
    pub(crate) self_signed: bool,
}

impl ServerTlsArgs {
    /// All paths, for a process that changes its working directory.
    pub(crate) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.certs.iter_mut().chain(&mut self.keys).chain(&mut self.client_ca).chain(&mut self.client_crl)
    }

    /// Whether there is anything to read again.
    pub(crate) fn has_files(&self) -> bool {
        !self.certs.is_empty() || self.client_ca.is_some()
    }

    /// With the certificates of the command line. `None`: it names no certificate.
    ///
    /// # Errors
    /// Keys that are not one for each certificate; options that have no use: exit code 2.
    pub(crate) fn builder(&self) -> Result<Option<ServerTlsBuilder>, Failure> {
        if self.certs.is_empty() && !self.self_signed {
            return match &self.client_ca {
                Some(_) => Err(Failure::usage(
                    "--tls-client-ca: TLS needs a certificate too: --tls-cert, or --tls-self-signed".to_owned(),
                )),
                None => Ok(None),
            };
        }
        let mut builder = ServerTls::builder(PROVIDER);
        if !self.keys.is_empty() && self.keys.len() != self.certs.len() {
            let (certs, keys) = (self.certs.len(), self.keys.len());
            return Err(Failure::usage(format!(
                "{certs} --tls-cert and {keys} --tls-key: give one key for each certificate"
            )));
        }
        for (index, cert) in self.certs.iter().enumerate() {
            builder = builder.certificate(Pem::file(cert), Pem::file(self.keys.get(index).unwrap_or(cert)));
        }
        if let Some(roots) = &self.client_ca {
            let mut clients = ClientCertificates::required(Pem::file(roots));
            if let Some(lists) = &self.client_crl {
                clients = clients.revocations(Pem::file(lists));
            }
            builder = builder.client_certificates(clients);
        }
        Ok(Some(builder))
    }
}

/// What a client trusts, and what it shows.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ClientTlsArgs {
    /// Trust the authorities in this PEM file instead of those of the system (repeatable)
    ///
    /// A server may show one of these certificates itself, as a self-signed one. Those of the system are where OpenSSL has them,
    /// or where SSL_CERT_FILE and SSL_CERT_DIR say.
    #[arg(help_heading = "TLS", long = "ca-file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca_files: Vec<PathBuf>,

    /// PEM file with a certificate to show to servers that ask for one, followed by those of its issuers
    #[arg(help_heading = "TLS", long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cert: Option<PathBuf>,

    /// PEM file with the private key of --cert [default: the same file]
    #[arg(help_heading = "TLS", long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// Require that the server has this key: sha256// and base64, as for curl's --pinnedpubkey (repeatable)
    ///
    /// The certificate is verified as well. With --insecure the pin is all that is verified, and enough: `sockeye serve
    /// --tls-self-signed` prints it.
    #[arg(help_heading = "TLS", long = "pin", value_name = "PIN")]
    pub(crate) pins: Vec<String>,

    /// Do not verify the certificate: ANYONE ON THE WAY CAN READ AND CHANGE EVERYTHING, unless there is a --pin
    ///
    /// Not together with --ca-file: roots are of no use where nothing is verified.
    #[arg(help_heading = "TLS", long, conflicts_with = "ca_files")]
    pub(crate) insecure: bool,

    /// Append the secrets of connections to FILE, for Wireshark: who has it can read what was sent
    #[arg(help_heading = "TLS", long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key_log: Option<PathBuf>,
}

impl ClientTlsArgs {
    /// The first option that is given, if one is.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--ca-file", !self.ca_files.is_empty()),
            ("--cert", self.cert.is_some()),
            ("--pin", !self.pins.is_empty()),
            ("--insecure", self.insecure),
            ("--key-log", self.key_log.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(option, _)| option)
    }

    /// Reads the files, and the roots of the system if they are trusted.
    ///
    /// # Errors
    /// A file or pin that cannot be used: exit code 2.
    pub(crate) fn load(&self) -> Result<ClientTls, Failure> {
        let mut builder = ClientTls::builder(PROVIDER);
        for file in &self.ca_files {
            builder = builder.roots(Pem::file(file));
        }
        for pin in &self.pins {
            builder = builder.pin(pin);
        }
        if let Some(cert) = &self.cert {
            builder = builder.certificate(Pem::file(cert), Pem::file(self.key.as_ref().unwrap_or(cert)));
        }
        if let Some(file) = &self.key_log {
            builder = builder.key_log(file);
        }
        if self.insecure {
            if self.pins.is_empty() {
                tracing::warn!(
                    "--insecure: the server may be anyone, and what is sent can be read and changed on the way"
                );
            }
            builder = builder.dangerous_verify_nothing();
        }
        builder.build().map_err(|error| unusable(&error, "--key", self.key.is_some()))
    }
}

/// What a client trusts as a proxy that speaks TLS itself.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ProxyTlsArgs {
    /// Trust the authorities in this PEM file, instead of those of the system, for an https:// proxy (repeatable)
    #[arg(help_heading = "TLS", long = "proxy-ca-file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) proxy_ca_files: Vec<PathBuf>,

    /// Do not verify the certificate of an https:// proxy: ANYONE MAY BE THE PROXY, and gets its password
    ///
    /// A server of wss:// behind it is verified all the same.
    #[arg(help_heading = "TLS", long, conflicts_with = "proxy_ca_files")]
    pub(crate) proxy_insecure: bool,
}

impl ProxyTlsArgs {
    /// The first option that is given, if one is.
    pub(crate) fn given(&self) -> Option<&'static str> {
        match (self.proxy_ca_files.is_empty(), self.proxy_insecure) {
            (false, _) => Some("--proxy-ca-file"),
            (_, true) => Some("--proxy-insecure"),
            _ => None,
        }
    }

    /// Reads the files, or the roots of the system.
    ///
    /// # Errors
    /// A file that cannot be used: exit code 2.
    pub(crate) fn load(&self) -> Result<ClientTls, Failure> {
        let mut builder = ClientTls::builder(PROVIDER);
        for file in &self.proxy_ca_files {
            builder = builder.roots(Pem::file(file));
        }
        if self.proxy_insecure {
            tracing::warn!("--proxy-insecure: the proxy may be anyone");
            builder = builder.dangerous_verify_nothing();
        }
        builder.build().map_err(|error| {
            let option = if error.kind() == LoadErrorKind::NoRoots { " (--proxy-ca-file)" } else { "" };
            Failure::usage(escape(&format!("TLS of the proxy: {error}{option}")).to_string())
        })
    }
}

/// A file or text of the command line that cannot be used. A certificate without an option for its key is to have it too.
pub(crate) fn unusable(error: &LoadError, key_option: &str, has_key_option: bool) -> Failure {
    let mut text = format!("TLS: {error}");
    match error.kind() {
        LoadErrorKind::NoKey if !has_key_option => text = format!("{text}; or name the file of the key ({key_option})"),
        LoadErrorKind::NoRoots => text.push_str(" (--ca-file)"),
        LoadErrorKind::InvalidPin => text.push_str("; `sockeye serve --tls-self-signed` prints that of its own key"),
        _ => {}
    }
    Failure::usage(escape(&text).to_string())
}
