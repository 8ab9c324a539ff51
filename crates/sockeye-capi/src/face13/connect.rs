//! Connections that a program of 2013 makes. It waits for the TCP connection, and has a descriptor when the call returns.

use std::env;
use std::ffi::{c_char, c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::Ordering;

use sockeye::Connect;
use sockeye::client::Proxy;

use crate::callbacks::{With, call};
use crate::caller;
use crate::context::Context;
use crate::dial::connect_now;
use crate::lock::lock;
use crate::log;
use crate::process::uncancelled;
use crate::reason::Reason;
use crate::tls::{self, Own};
use crate::wsi::{Phase, Wsi};

/// Room for the header lines that a program adds.
const HEADER_ROOM: usize = 4096;

/// What a connect is made of.
struct Wanted<'w> {
    address: &'w str,
    port: u16,
    /// 0: none, 1: TLS, 2: TLS with any certificate.
    ssl: c_int,
    path: &'w str,
    host: &'w str,
    origin: Option<&'w str>,
    protocols: Vec<&'w str>,
}

/// As `client_connect_extended`, with a block of the library's.
///
/// # Safety
/// As the header has it: texts that NULs end, or null.
#[expect(clippy::too_many_arguments, reason = "the header has them")]
pub unsafe fn client_connect(
    context: *mut Context,
    address: *const c_char,
    port: c_int,
    ssl: c_int,
    path: *const c_char,
    host: *const c_char,
    origin: *const c_char,
    protocol: *const c_char,
    version: c_int,
) -> *mut Wsi {
    // SAFETY: the caller's.
    unsafe {
        client_connect_extended(context, address, port, ssl, path, host, origin, protocol, version, ptr::null_mut())
    }
}

/// Connects, and returns the connection whose handshake follows; null if that cannot be.
///
/// # Safety
/// As [`client_connect`].
#[expect(clippy::too_many_arguments, reason = "the header has them")]
pub unsafe fn client_connect_extended(
    context: *mut Context,
    address: *const c_char,
    port: c_int,
    ssl: c_int,
    path: *const c_char,
    host: *const c_char,
    origin: *const c_char,
    protocol: *const c_char,
    version: c_int,
    user: *mut c_void,
) -> *mut Wsi {
    let Some(context) = Context::find(context) else { return ptr::null_mut() };
    // SAFETY: the caller's.
    let (address, path, host, origin, protocol) = unsafe {
        (caller::utf8(address), caller::utf8(path), caller::utf8(host), caller::utf8(origin), caller::utf8(protocol))
    };
    let (Some(address), Ok(port)) = (address, u16::try_from(port)) else {
        log::err!("a connect needs an address, and a port of 1 to 65535");
        return ptr::null_mut();
    };
    if version != -1 && version != 13 {
        log::err!("version {version} of the protocol is asked for; there is 13 (RFC 6455)");
        return ptr::null_mut();
    }
    let wanted = Wanted {
        address,
        port,
        ssl,
        path: path.filter(|path| !path.is_empty()).unwrap_or("/"),
        host: host.unwrap_or(address),
        origin,
        protocols: protocol
            .map_or(Vec::new(), |list| list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()),
    };
    match uncancelled(|| connect(context, &wanted, user)) {
        Ok(wsi) => ptr::from_ref(wsi).cast_mut(),
        Err(reason) => {
            log::err!("{}:{}: {reason}", wanted.address, wanted.port);
            ptr::null_mut()
        }
    }
}

fn connect(context: &'static Context, wanted: &Wanted<'_>, user: *mut c_void) -> Result<&'static Wsi, String> {
    let vhost = context.first_vhost().ok_or("the context has no protocols")?;
    let known = wanted.protocols.iter().find_map(|name| vhost.named(name));
    let protocol = known.or_else(|| vhost.first()).ok_or("the context has no protocols")?;
    let mut connect = description(wanted, &lock(&vhost.settings).own)?;
    let mut over: Option<OwnedFd> = None;
    match env::var("http_proxy") {
        Ok(proxy) if !proxy.is_empty() => {
            let proxy = Proxy::parse(&format!("http://{proxy}")).map_err(|error| format!("http_proxy: {error}"))?;
            connect = connect.proxy(proxy);
        }
        _ => over = Some(connect_now(wanted.address, wanted.port).map_err(|error| error.to_string())?.into()),
    }
    let wsi = Wsi::new(context, Phase::Connecting);
    wsi.protocol.set(Some(protocol));
    wsi.is_client.store(true, Ordering::Release);
    wsi.user.store(user, Ordering::Release);
    if let Some(over) = &over {
        wsi.set_descriptor(over.as_raw_fd());
        wsi.rest().peer = rustix::net::getpeername(over)
            .ok()
            .flatten()
            .and_then(|peer| std::net::SocketAddr::try_from(peer).ok())
            .map(Into::into);
    }
    let added = with_headers(wsi, connect).and_then(|connect| {
        let is_asked = context.connect(wsi, connect, over);
        is_asked.then_some(()).ok_or_else(|| "the context has ended".to_owned())
    });
    match added {
        Ok(()) => Ok(wsi),
        Err(reason) => {
            wsi.release();
            Err(reason)
        }
    }
}

fn description(wanted: &Wanted<'_>, own: &Own) -> Result<Connect, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let scheme = if wanted.ssl == 0 { "ws" } else { "wss" };
    let slash = if wanted.path.starts_with('/') { "" } else { "/" };
    let default_port = if wanted.ssl == 0 { 80 } else { 443 };
    // A host that names no port is at that of the address.
    let port =
        if wanted.port == default_port || has_port(wanted.host) { String::new() } else { format!(":{}", wanted.port) };
    let url = format!("{scheme}://{}{port}{slash}{}", wanted.host, wanted.path);
    let mut connect = Connect::new(&url).map_err(|error| format!("{url}: {error}"))?;
    for name in &wanted.protocols {
        connect = connect.subprotocol(*name).map_err(|error| text(&error))?;
    }
    if let Some(origin) = wanted.origin.filter(|origin| !origin.is_empty()) {
        // Programs give a host, or any word.
        connect = match connect.clone().origin(origin) {
            Ok(connect) => connect,
            Err(_) => connect.origin(format!("http://{origin}")).map_err(|error| text(&error))?,
        };
    }
    if wanted.ssl != 0 {
        connect = tls::connect(connect, wanted.ssl == 2, own)?;
    }
    Ok(connect)
}

/// Whether a host has a port behind it; an IPv6 address in brackets may.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(name, port)| {
        !port.is_empty()
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && (!name.contains(':') || name.ends_with(']'))
    })
}

/// Asks the program for header lines of its own.
fn with_headers(wsi: &'static Wsi, connect: Connect) -> Result<Connect, String> {
    let first = wsi.context().and_then(|context| context.first_vhost()?.first());
    let Some(protocol) = first else { return Ok(connect) };
    let mut room = vec![0_u8; HEADER_ROOM];
    let start: *mut c_char = room.as_mut_ptr().cast();
    let mut cursor = start;
    let with = With::NOTHING.input(ptr::from_mut(&mut cursor).cast(), HEADER_ROOM);
    if let Some(context) = wsi.context() {
        context.door.outside(|| call(protocol, wsi, Reason::ClientAppendHandshakeHeader, with));
    }
    let written = cursor.addr().checked_sub(start.addr()).filter(|len| *len <= HEADER_ROOM);
    let written = written.ok_or("the program has moved the cursor for its header lines out of the buffer")?;
    let lines = std::str::from_utf8(&room[..written]).map_err(|_| "the program's header lines are not text")?;
    let mut connect = connect;
    for line in lines.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("{line:?} is not a header line"))?;
        connect = connect.header(name, value.trim()).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(connect)
}

#[cfg(test)]
mod tests {
    use super::{Own, Wanted, description, has_port};

    #[test]
    fn the_host_is_that_of_the_program_and_the_port_that_of_the_address() {
        let wanted = |host, port| Wanted {
            address: "127.0.0.1",
            port,
            ssl: 0,
            path: "chat?x=1",
            host,
            origin: Some("origin"),
            protocols: vec!["a", "b"],
        };
        for (host, port, authority) in [
            ("example.com", 80, "example.com"),
            ("example.com", 7681, "example.com:7681"),
            ("example.com:90", 7681, "example.com:90"),
            ("[::1]", 7681, "[::1]:7681"),
            ("[::1]:90", 7681, "[::1]:90"),
        ] {
            let connect = description(&wanted(host, port), &Own::default()).unwrap();
            assert_eq!(
                (connect.url().authority().as_str(), connect.url().target()),
                (authority, "/chat?x=1"),
                "{host}"
            );
        }
        assert!(description(&wanted("ex ample", 80), &Own::default()).is_err());
        assert!(!has_port("::1") && !has_port("host:") && has_port("host:1"));
    }
}
