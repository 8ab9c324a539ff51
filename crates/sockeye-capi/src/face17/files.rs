//! The certificates, keys and authorities that the struct of a vhost names, or has.
//!
//! What is asked for and not there is refused, and never left out: a port would be open to those whom the program wants to keep out, or a
//! connection would trust those whom it does not.

use std::ffi::{c_char, c_uint, c_void};
use std::ptr;

use crate::caller;
use crate::log;
use crate::tls::{Clients, Identity, Own, Source, Trust};

use super::numbers::option;
use super::types::CreationInfo;

/// A file, or memory, of which there is one. An empty path counts as null: programs have such in their settings.
///
/// # Safety
/// A path that a NUL ends, or null; so many bytes, or null.
unsafe fn source(path: *const c_char, memory: *const c_void, len: c_uint) -> Result<Option<Source>, String> {
    // SAFETY: the caller's.
    if let Some(path) = unsafe { caller::path(path) }.filter(|path| !path.as_os_str().is_empty()) {
        return Ok(Some(Source::File(path)));
    }
    if memory.is_null() {
        return Ok(None);
    }
    let len = usize::try_from(len).ok().filter(|len| *len > 0);
    // SAFETY: the caller's.
    let bytes = len.and_then(|len| unsafe { caller::bytes(memory, len) });
    match bytes {
        Some(bytes) if bytes.trim_ascii_start().starts_with(b"-") => {
            // A length that counts the NUL is usual.
            Ok(Some(Source::Bytes(bytes.strip_suffix(b"\0").unwrap_or(bytes).to_vec())))
        }
        Some(_) => Err("a certificate, a key or an authority in memory has to be PEM".to_owned()),
        None => Err("a certificate, a key or an authority in memory needs its length".to_owned()),
    }
}

/// What connections of the program are made with.
///
/// # Safety
/// As the header has it.
pub(super) unsafe fn own(info: &CreationInfo) -> Result<Own, String> {
    if !info.provided_client_ssl_ctx.is_null() {
        return Err(
            "a context of OpenSSL for clients is given, and there is no OpenSSL here: give the files".to_owned()
        );
    }
    // Programs that are older than the names for clients gave their files by those for servers.
    let older = |path: Option<Source>, memory: *const c_void, older: *const c_char| match path {
        // SAFETY: the caller's.
        None if memory.is_null() => unsafe { source(older, ptr::null(), 0) },
        found => Ok(found),
    };
    // SAFETY: the caller's.
    let (roots, chain, key) = unsafe {
        (
            source(info.client_ssl_ca_filepath, info.client_ssl_ca_mem, info.client_ssl_ca_mem_len)?,
            source(info.client_ssl_cert_filepath, info.client_ssl_cert_mem, info.client_ssl_cert_mem_len)?,
            source(info.client_ssl_private_key_filepath, info.client_ssl_key_mem, info.client_ssl_key_mem_len)?,
        )
    };
    let roots = older(roots, info.client_ssl_ca_mem, info.ssl_ca_filepath)?;
    let (chain, key) = match (chain, key) {
        (None, None) => (
            older(None, info.client_ssl_cert_mem, info.ssl_cert_filepath)?,
            older(None, info.client_ssl_key_mem, info.ssl_private_key_filepath)?,
        ),
        given => given,
    };
    let ciphers = [info.client_ssl_cipher_list, info.client_tls_1_3_plus_cipher_list];
    if ciphers.into_iter().any(|list| !list.is_null()) {
        log::warning!("a list of ciphers for clients is given and not used: all of TLS 1.2 and 1.3 here are of today");
    }
    let trust = match (roots, info.options & option::DISABLE_OS_CA_CERTS == 0) {
        (None, true) => Trust::System,
        (None, false) => Trust::Nobody,
        (Some(roots), true) => Trust::Also(roots),
        (Some(roots), false) => Trust::These(roots),
    };
    Ok(Own { trust, identity: identity(chain, key, "a client")? })
}

/// What a listener speaks TLS with, and whom it takes; `None`: it does not speak it.
///
/// # Safety
/// As the header has it.
pub(super) unsafe fn listener(info: &CreationInfo) -> Result<Option<(Identity, Option<Clients>)>, String> {
    // SAFETY: the caller's.
    let (roots, chain, key) = unsafe {
        (
            source(info.ssl_ca_filepath, info.server_ssl_ca_mem, info.server_ssl_ca_mem_len)?,
            source(info.ssl_cert_filepath, info.server_ssl_cert_mem, info.server_ssl_cert_mem_len)?,
            source(
                info.ssl_private_key_filepath,
                info.server_ssl_private_key_mem,
                info.server_ssl_private_key_mem_len,
            )?,
        )
    };
    let Some(identity) = identity(chain, key, "a listener")? else { return Ok(None) };
    let ciphers = [info.ssl_cipher_list, info.tls1_3_plus_cipher_list];
    if ciphers.into_iter().any(|list| !list.is_null()) {
        log::warning!("a list of ciphers is given and not used: all of TLS 1.2 and 1.3 here are of today");
    }
    let are_required = info.options & option::PEER_CERT_NOT_REQUIRED == 0;
    let clients = match roots {
        _ if info.options & option::REQUIRE_VALID_CLIENT_CERT == 0 => None,
        Some(roots) => Some(Clients { roots, are_required }),
        None => return Err("to ask clients for certificates takes an authority: ssl_ca_filepath".to_owned()),
    };
    Ok(Some((identity, clients)))
}

/// A certificate and its key, which may be in one file.
fn identity(chain: Option<Source>, key: Option<Source>, whose: &str) -> Result<Option<Identity>, String> {
    match (chain, key) {
        (Some(chain), Some(key)) => Ok(Some(Identity { chain, key })),
        (Some(chain), None) => Ok(Some(Identity { key: chain.clone(), chain })),
        (None, Some(_)) => Err(format!("{whose} has a key, and no certificate")),
        (None, None) => Ok(None),
    }
}
