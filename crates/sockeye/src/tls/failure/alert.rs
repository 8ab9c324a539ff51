//! What a peer said when it refused. Both sides see a failed handshake, and the one that refused knows why; the other has one byte.

use super::facts::Inner;
use super::facts::Peer;
use super::facts::TlsFailureKind;

pub(super) fn explain(alert: u8, peer: &Peer<'_>) -> Inner {
    let kind = match alert {
        PROTOCOL_VERSION => TlsFailureKind::NoCommonVersion,
        NO_APPLICATION_PROTOCOL => TlsFailureKind::NoCommonProtocol,
        CERTIFICATE_REQUIRED => TlsFailureKind::NoCertificate,
        _ => TlsFailureKind::Alert,
    };
    let name = name(alert).map_or_else(|| format!("number {alert}"), |name| format!("{name} ({alert})"));
    let text = format!("{peer} refused with the alert {name}");
    let hint = match peer {
        Peer::Client => hint_of_client(alert),
        Peer::Server(_) | Peer::Proxy(_) => hint_of_server(alert),
    };
    Inner { alert: Some(alert), ..Inner::new(kind, text, hint) }
}

/// What a client means.
fn hint_of_client(alert: u8) -> &'static str {
    match alert {
        UNKNOWN_CA => {
            "it does not trust who issued this server's certificate: is the file complete, with all issuers but the root?"
        }
        CERTIFICATE_EXPIRED => "this server's certificate has expired, or the client's clock is wrong",
        BAD_CERTIFICATE | CERTIFICATE_UNKNOWN | UNSUPPORTED_CERTIFICATE => {
            "it does not accept this server's certificate: is it for the name that the client asked for?"
        }
        CERTIFICATE_REVOKED => "this server's certificate has been revoked: get a new one, with a new key",
        PROTOCOL_VERSION => "it has no version of TLS from 1.2 on",
        HANDSHAKE_FAILURE | INSUFFICIENT_SECURITY => "it has no cipher in common with this server",
        _ => "its own log says more",
    }
}

/// What a server means.
fn hint_of_server(alert: u8) -> &'static str {
    match alert {
        UNKNOWN_CA
        | BAD_CERTIFICATE
        | CERTIFICATE_EXPIRED
        | CERTIFICATE_REVOKED
        | CERTIFICATE_UNKNOWN
        | UNSUPPORTED_CERTIFICATE => "it does not accept the certificate that this client showed",
        CERTIFICATE_REQUIRED => "it wants a certificate of this client: give one, with its key",
        ACCESS_DENIED => "it knows this client's certificate, and refuses it",
        PROTOCOL_VERSION => "it has no version of TLS from 1.2 on, or wants 1.3",
        HANDSHAKE_FAILURE | INSUFFICIENT_SECURITY => {
            "it has no cipher in common with this client, or wants a certificate of it"
        }
        NO_APPLICATION_PROTOCOL => "it does not speak HTTP/1.1 on this port",
        UNRECOGNIZED_NAME => "it has no site of this name: is the name right?",
        INTERNAL_ERROR => "something is wrong there",
        _ => "its log says more",
    }
}

/// RFC 8446 section 6; the others are those of older versions, which peers still send.
fn name(alert: u8) -> Option<&'static str> {
    Some(match alert {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        HANDSHAKE_FAILURE => "handshake_failure",
        41 => "no_certificate",
        BAD_CERTIFICATE => "bad_certificate",
        UNSUPPORTED_CERTIFICATE => "unsupported_certificate",
        CERTIFICATE_REVOKED => "certificate_revoked",
        CERTIFICATE_EXPIRED => "certificate_expired",
        CERTIFICATE_UNKNOWN => "certificate_unknown",
        47 => "illegal_parameter",
        UNKNOWN_CA => "unknown_ca",
        ACCESS_DENIED => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        PROTOCOL_VERSION => "protocol_version",
        INSUFFICIENT_SECURITY => "insufficient_security",
        INTERNAL_ERROR => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        UNRECOGNIZED_NAME => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        CERTIFICATE_REQUIRED => "certificate_required",
        NO_APPLICATION_PROTOCOL => "no_application_protocol",
        121 => "ech_required",
        _ => return None,
    })
}

const HANDSHAKE_FAILURE: u8 = 40;
const BAD_CERTIFICATE: u8 = 42;
const UNSUPPORTED_CERTIFICATE: u8 = 43;
const CERTIFICATE_REVOKED: u8 = 44;
const CERTIFICATE_EXPIRED: u8 = 45;
const CERTIFICATE_UNKNOWN: u8 = 46;
const UNKNOWN_CA: u8 = 48;
const ACCESS_DENIED: u8 = 49;
const PROTOCOL_VERSION: u8 = 70;
const INSUFFICIENT_SECURITY: u8 = 71;
const INTERNAL_ERROR: u8 = 80;
const UNRECOGNIZED_NAME: u8 = 112;
const CERTIFICATE_REQUIRED: u8 = 116;
const NO_APPLICATION_PROTOCOL: u8 = 120;
