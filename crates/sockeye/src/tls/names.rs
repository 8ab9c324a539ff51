//! Which certificate a client gets, by the name that it asks for (SNI, RFC 6066 section 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;

use super::certificate::SubjectName;

/// Certificates by name. Several may be for one name, with keys of different kinds: the first is used whose signatures the
/// client understands.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// By what follows `*.`.
    wildcards: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// For clients that ask for no name, or for one that is not there.
    default: Vec<Arc<CertifiedKey>>,
    default_names: Vec<Box<str>>,
}

impl Names {
    /// The first certificate is the default, together with those for the same names.
    pub(super) fn add(&mut self, key: Arc<CertifiedKey>, names: &[SubjectName]) {
        let mut hosts: Vec<Box<str>> = names.iter().filter_map(host).collect();
        hosts.sort();
        hosts.dedup();
        if self.default.is_empty() {
            self.default_names.clone_from(&hosts);
        }
        if self.default_names == hosts {
            self.default.push(key.clone());
        }
        for host in hosts {
            match host.strip_prefix("*.") {
                Some(domain) => self.wildcards.entry(domain.into()).or_default().push(key.clone()),
                None => self.exact.entry(host).or_default().push(key.clone()),
            }
        }
    }

    fn of(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let found = name.and_then(|name| {
            // Absolute names are not sent (RFC 6066: "without a trailing dot"), yet some clients do.
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            self.exact.get(&*name).or_else(|| {
                // RFC 9525 section 6.3: "the wildcard character [..] only matches the complete left-most label".
                let (label, domain) = name.split_once('.')?;
                if label.is_empty() { None } else { self.wildcards.get(domain) }
            })
        });
        found.unwrap_or(&self.default)
    }

    pub(super) fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let candidates = self.of(name);
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        candidates.iter().find(fits).or_else(|| candidates.first()).cloned()
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

fn host(name: &SubjectName) -> Option<Box<str>> {
    match name {
        SubjectName::Dns(name) => Some(name.to_ascii_lowercase().into()),
        _ => None,
    }
}
