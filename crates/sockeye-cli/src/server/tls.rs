//! The certificates of a server: read, or made for this run, watched, and read again.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use sockeye::sys::Address;
use sockeye::tls::{Certificate, Pem, ServerTls};

use crate::failure::Failure;
use crate::options::admission::Admission;
use crate::options::listening::Listening;
use crate::options::tls::{ServerTlsArgs, unusable};

/// Reads the certificates of the command line, or makes one. `None`: the server does not speak TLS.
///
/// # Errors
/// A file that cannot be used: exit code 2.
pub(super) fn load(
    args: &ServerTlsArgs,
    admission: &Admission,
    listening: &Listening,
) -> Result<Option<ServerTls>, Failure> {
    let Some(mut builder) = args.builder()? else { return Ok(None) };
    if args.self_signed {
        let (cert, key) = self_signed(admission, listening)?;
        builder = builder.certificate(cert, key);
    }
    let tls = builder.build().map_err(|error| unusable(&error, "--tls-key", !args.keys.is_empty()))?;
    if !args.self_signed {
        advise(&tls);
        warn(&tls);
        watch(tls.clone())?;
    }
    Ok(Some(tls))
}

/// Reads all files again, on a thread of its own: the loops do not wait for a disk.
pub(super) fn reload(tls: &ServerTls) {
    match tls.reload() {
        Ok(reloaded) => {
            for (path, error) in &reloaded.kept_keys {
                tracing::warn!(key = %path.display(), %error, "the key could not be read again and stays in use");
            }
            tracing::info!(certificates = tls.certificates().len(), "certificates read again");
            advise(tls);
            warn(tls);
        }
        Err(error) => tracing::error!(%error, "the certificates stay as they were"),
    }
}

/// The line that says how to know a certificate that no authority issued.
pub(super) fn pin(args: &ServerTlsArgs, tls: &ServerTls) -> Option<String> {
    let certificates = tls.certificates();
    let certificate = certificates.first().filter(|_| args.self_signed)?;
    Some(format!("certificate made for this run, with the pin {}", certificate.pin()))
}

/// For localhost, and for where the server listens.
fn self_signed(admission: &Admission, listening: &Listening) -> Result<(Pem, Pem), Failure> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let hosts = admission.hosts.iter().filter_map(|host| host.split(':').next());
    names.extend(hosts.filter(|host| !host.starts_with('[')).map(str::to_owned));
    let addresses = listening.addresses(0)?.into_iter();
    names.extend(addresses.filter_map(|(address, _)| Some(specified(&address)?.to_string())));
    names.sort();
    names.dedup();
    issue(names).map_err(|error| Failure::general(format!("--tls-self-signed: cannot make a certificate: {error}")))
}

fn issue(names: Vec<String>) -> Result<(Pem, Pem), rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "sockeye --tls-self-signed");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // Clocks of other machines may be behind.
    params.not_before = epoch + now.saturating_sub(DAY);
    params.not_after = epoch + now + SELF_SIGNED;
    let key = KeyPair::generate()?;
    let cert = params.self_signed(&key)?;
    Ok((Pem::bytes(cert.pem()), Pem::bytes(key.serialize_pem())))
}

fn specified(address: &Address) -> Option<IpAddr> {
    match address {
        Address::Ip(address) if !address.ip().is_unspecified() => Some(address.ip()),
        _ => None,
    }
}

/// Warns once a day from a fortnight before a certificate expires.
fn watch(tls: ServerTls) -> Result<(), Failure> {
    let daily = move || {
        loop {
            thread::sleep(DAY);
            warn(&tls);
        }
    };
    let thread = thread::Builder::new().name("certificates".to_owned()).spawn(daily);
    thread
        .map(drop)
        .map_err(|error| Failure::general(format!("cannot spawn a thread that watches certificates: {error}")))
}

/// Warns of certificates that expire soon.
fn warn(tls: &ServerTls) {
    for certificate in tls.certificates().iter() {
        match expiry(certificate.not_after(), SystemTime::now()) {
            Expiry::Later => {}
            Expiry::In { days } => {
                tracing::warn!(
                    path = path(certificate),
                    days,
                    "a certificate expires soon: renew it, then send SIGHUP"
                );
            }
            Expiry::Past => {
                let path = path(certificate);
                tracing::error!(path, "a certificate has expired, so clients refuse it: renew it, then send SIGHUP");
            }
        }
    }
}

/// Whether a certificate needs to be renewed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Expiry {
    Later,
    In { days: u64 },
    Past,
}

/// RFC 5280 section 4.1.2.5: "The validity period for a certificate is the period of time from notBefore through notAfter,
/// inclusive."
fn expiry(not_after: SystemTime, now: SystemTime) -> Expiry {
    match not_after.duration_since(now) {
        Err(_) => Expiry::Past,
        Ok(left) if left < EXPIRES_SOON => Expiry::In { days: left.as_secs() / DAY.as_secs() },
        Ok(_) => Expiry::Later,
    }
}

/// Says what could be better about certificates that were read just now.
fn advise(tls: &ServerTls) {
    for certificate in tls.certificates().iter() {
        // RFC 9525 section 2: a server is identified by subjectAltName only, and not by its common name.
        if certificate.names().is_empty() {
            let path = path(certificate);
            tracing::warn!(
                path,
                "a certificate has no names, so clients refuse it: have it issued with subjectAltName"
            );
        }
        if certificate.has_rsa_key() {
            tracing::info!(path = path(certificate), "the key is RSA: with ECDSA a handshake costs a third or less");
        }
    }
}

fn path(certificate: &Certificate) -> String {
    certificate.path().map(|path| path.display().to_string()).unwrap_or_default()
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a certificate of one run is valid: browsers accept no more than 398 days.
const SELF_SIGNED: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_expire_soon_from_a_fortnight_before() {
        let now = SystemTime::UNIX_EPOCH + 1_000 * DAY;
        let second = Duration::from_secs(1);
        for (not_after, expected) in [
            (now + 400 * DAY, Expiry::Later),
            (now + 14 * DAY, Expiry::Later),
            (now + 14 * DAY - second, Expiry::In { days: 13 }),
            (now + DAY, Expiry::In { days: 1 }),
            (now + DAY - second, Expiry::In { days: 0 }),
            (now, Expiry::In { days: 0 }),
            (now - second, Expiry::Past),
            (SystemTime::UNIX_EPOCH, Expiry::Past),
        ] {
            assert_eq!(expiry(not_after, now), expected, "{not_after:?}");
        }
    }
}
