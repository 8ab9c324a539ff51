//! What TLS agreed on, for people.

use std::time::SystemTime;

use sockeye::tls::{PeerIdentity, TlsAgreement};

/// What `--verbose` shows of it.
#[derive(Debug)]
pub(crate) struct Secured {
    pub(crate) version: String,
    pub(crate) cipher: &'static str,
    pub(crate) group: Option<&'static str>,
    pub(crate) is_resumed: bool,
    pub(crate) certificate: Option<Shown>,
}

/// The peer's certificate.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) names: Vec<String>,
    pub(crate) expires: SystemTime,
    pub(crate) pin: String,
}

impl Secured {
    pub(crate) fn new(agreement: &TlsAgreement<'_>) -> Self {
        let shown = |identity: PeerIdentity| {
            let certificate = identity.certificate();
            let names = certificate.names().iter().map(ToString::to_string).collect();
            Shown { names, expires: certificate.not_after(), pin: certificate.pin() }
        };
        Self {
            version: agreement.version().to_string(),
            cipher: agreement.cipher(),
            group: agreement.group(),
            is_resumed: agreement.is_resumed(),
            certificate: agreement.peer_identity().map(shown),
        }
    }

    /// A line, and another if there is a certificate.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut session = format!("{}, {}", self.version, self.cipher);
        if let Some(group) = self.group {
            session = format!("{session}, {group}");
        }
        if self.is_resumed {
            session.push_str(", resumed");
        }
        let mut lines = vec![session];
        if let Some(Shown { names, expires, pin }) = &self.certificate {
            let mut whose = names.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
            if names.is_empty() {
                whose.push_str("no name");
            } else if names.len() > NAMES {
                whose.push_str(" and others");
            }
            let expires = humantime::format_rfc3339_seconds(*expires);
            lines.push(format!("certificate for {whose}, until {expires}, with the key {pin}"));
        }
        lines
    }
}

/// How many names a line has.
const NAMES: usize = 8;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_session_and_a_certificate_have_a_line_each() {
        let shown = |names: &[&str]| Shown {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            expires: SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800),
            pin: "sha256//x".to_owned(),
        };
        let mut secured = Secured {
            version: "TLS 1.3".to_owned(),
            cipher: "C",
            group: Some("G"),
            is_resumed: false,
            certificate: Some(shown(&["a", "b"])),
        };
        assert_eq!(
            secured.lines(),
            ["TLS 1.3, C, G", "certificate for a, b, until 2100-01-01T00:00:00Z, with the key sha256//x"]
        );
        (secured.group, secured.is_resumed, secured.certificate) = (None, true, None);
        assert_eq!(secured.lines(), ["TLS 1.3, C, resumed"]);
        secured.certificate = Some(shown(&[]));
        assert!(secured.lines()[1].starts_with("certificate for no name, until"));
        secured.certificate = Some(shown(&["a"; 9]));
        assert!(secured.lines()[1].starts_with("certificate for a, a, a, a, a, a, a, a and others, until"));
    }
}
