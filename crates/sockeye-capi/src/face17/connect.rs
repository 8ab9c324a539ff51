//! Connections that a program of 4.1.6 makes: names are looked up at once, the rest comes later.

use std::ffi::{c_char, c_int};
use std::net::ToSocketAddrs;
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sockeye::Connect;
use sockeye::client::Timeouts;
use sockeye::sys::Address;

use crate::callbacks::{With, call};
use crate::caller;
use crate::context::Context;
use crate::lock::lock;
use crate::log;
use crate::process::uncancelled;
use crate::reason::Reason;
use crate::spoken::tell_destroyed;
use crate::tls;
use crate::vhost::Vhost;
use crate::wsi::{Phase, Wsi};

use super::numbers::client;
use super::types::ConnectInfo;
use super::{HEADER_ROOM, fields_of, info, service};

/// How long connecting and the handshake take at most, unless the context says otherwise.
const CONNECT_SECONDS: u32 = 20;

/// What a connect is made of.
struct Wanted<'w> {
    address: &'w str,
    port: u16,
    ssl: c_int,
    path: &'w str,
    host: &'w str,
    origin: Option<&'w str>,
    protocols: Vec<&'w str>,
    local: Option<&'w str>,
}

/// Makes a connection; null if it fails at once.
///
/// # Safety
/// As the header has it: texts that NULs end, or null.
pub unsafe fn connect_via_info(info: *const ConnectInfo) -> *mut Wsi {
    // SAFETY: the caller's.
    let Some(info) = (unsafe { caller::value(info) }) else { return ptr::null_mut() };
    // SAFETY: the caller's.
    unsafe { caller::set(info.pwsi, ptr::null_mut()) };
    let Some(context) = Context::find(info.context.cast()) else {
        log::err!("no connection: this is not a context, or it has ended");
        return ptr::null_mut();
    };
    // SAFETY: the caller's.
    let text = |text: *const c_char| unsafe { caller::utf8(text) }.filter(|text| !text.is_empty());
    let (Some(address), Ok(port)) = (text(info.address), u16::try_from(info.port)) else {
        log::err!("no connection: it needs an address and a port");
        return ptr::null_mut();
    };
    if text(info.method).is_some_and(|method| method != "WS") {
        log::err!("no connection: HTTP without WebSocket is not supported for clients");
        return ptr::null_mut();
    }
    let list = |list: &'static str| list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let wanted = Wanted {
        address,
        port,
        ssl: info.ssl_connection,
        path: text(info.path).unwrap_or("/"),
        host: text(info.host).unwrap_or(address),
        origin: text(info.origin),
        protocols: text(info.protocol).map_or(Vec::new(), list),
        local: text(info.local_protocol_name),
    };
    service::begin(context);
    // SAFETY: the caller's.
    match uncancelled(|| unsafe { connect(context, &wanted, &info) }) {
        Ok(wsi) => ptr::from_ref(wsi).cast_mut(),
        Err(error) => {
            log::err!("{address}:{port}: {error}");
            // SAFETY: the caller's.
            unsafe { caller::set(info.pwsi, ptr::null_mut()) };
            ptr::null_mut()
        }
    }
}

unsafe fn connect(context: &'static Context, wanted: &Wanted<'_>, info: &ConnectInfo) -> Result<&'static Wsi, String> {
    let vhost = super::calls::find_vhost(info.vhost.cast()).or_else(|| context.first_vhost());
    let vhost = vhost.ok_or("the context has no vhost")?;
    let known = wanted.local.into_iter().chain(wanted.protocols.iter().copied()).find_map(|name| vhost.named(name));
    let protocol = known.or_else(|| vhost.first()).ok_or("the vhost has no protocols")?;
    let connect = description(context, vhost, wanted)?;
    let wsi = Wsi::new(context, Phase::Connecting);
    wsi.protocol.set(Some(protocol));
    wsi.is_client.store(true, Ordering::Release);
    wsi.is_encrypted.store(wanted.ssl & client::USE_SSL != 0, Ordering::Release);
    wsi.user.store(info.userdata, Ordering::Release);
    wsi.opaque.store(info.opaque_user_data, Ordering::Release);
    wsi.make_session();
    // SAFETY: the caller's.
    unsafe {
        wsi.rest().silence = info::silence_of(info.retry_and_idle_policy);
        caller::set(info.pwsi, ptr::from_ref(wsi).cast_mut().cast());
    }
    let mut made = None;
    let goes_on = context.between(|| {
        call(protocol, wsi, Reason::ClientHttpBindProtocol, With::user_of(wsi));
        call(protocol, wsi, Reason::ServerNewClientInstantiated, With::user_of(wsi));
        call(protocol.first_of_vhost(), wsi, Reason::WsiCreate, With::user_of(wsi));
        let result = with_own_lines(wsi, connect).and_then(|connect| {
            context.connect(wsi, connect, None).then_some(()).ok_or_else(|| "the context has ended".to_owned())
        });
        if result.is_err() {
            wsi.set_phase(Phase::Closed);
            tell_destroyed(protocol, wsi);
        }
        made = Some(result);
    });
    match made {
        Some(Ok(())) if goes_on => Ok(wsi),
        // One of the callbacks has ended the context, and so the connection.
        Some(Ok(())) => Err("the context has ended".to_owned()),
        Some(Err(error)) => {
            wsi.release();
            Err(error)
        }
        None => {
            wsi.release();
            Err("the context has ended".to_owned())
        }
    }
}

/// Adds the program's header lines.
fn with_own_lines(wsi: &'static Wsi, connect: Connect) -> Result<Connect, String> {
    own_lines(wsi)?.into_iter().try_fold(connect, |connect, (name, value)| {
        connect.header(name.as_str(), value).map_err(|error| format!("{name}: {error}"))
    })
}

/// Asks the program for header lines of its own.
fn own_lines(wsi: &'static Wsi) -> Result<Vec<(String, String)>, String> {
    let Some(protocol) = wsi.protocol.get() else { return Ok(Vec::new()) };
    let mut room = vec![0_u8; HEADER_ROOM];
    let start: *mut c_char = room.as_mut_ptr().cast();
    let mut cursor = start;
    let with = With::user_of(wsi).input(ptr::from_mut(&mut cursor).cast(), HEADER_ROOM);
    call(protocol, wsi, Reason::ClientAppendHandshakeHeader, with);
    let used = cursor.addr().wrapping_sub(start.addr());
    let lines = room.get(..used).ok_or("the program has moved the cursor for its header lines out of the buffer")?;
    fields_of(lines).ok_or_else(|| "the program's header lines are not valid".to_owned())
}

fn description(context: &Context, vhost: &Vhost, wanted: &Wanted<'_>) -> Result<Connect, String> {
    let is_tls = wanted.ssl & client::USE_SSL != 0;
    let scheme = if is_tls { "wss" } else { "ws" };
    let slash = if wanted.path.starts_with('/') { "" } else { "/" };
    // An IPv6 address is in brackets in a URL.
    let is_bare = wanted.host.contains(':') && wanted.host.parse::<std::net::Ipv6Addr>().is_ok();
    let host = if is_bare { format!("[{}]", wanted.host) } else { wanted.host.to_owned() };
    // The host is what the program says, and where to connect is the address: they need not be the same.
    let url = format!("{scheme}://{host}{slash}{}", wanted.path);
    let mut connect = Connect::new(&url).map_err(|error| format!("{url}: {error}"))?.to(addresses(wanted)?);
    for name in &wanted.protocols {
        connect = connect.subprotocol(*name).map_err(|error| error.to_string())?;
    }
    if let Some(origin) = wanted.origin {
        let origin = if origin.contains("://") { origin.to_owned() } else { format!("http://{origin}") };
        connect = connect.origin(origin).map_err(|error| error.to_string())?;
    }
    let seconds = match context.connect_seconds.load(Ordering::Acquire) {
        0 => CONNECT_SECONDS,
        seconds => seconds,
    };
    let time = Duration::from_secs(seconds.into());
    connect = connect
        .timeout(time)
        .and_then(|connect| connect.timeouts(Timeouts::each(time)))
        .map_err(|error| error.to_string())?;
    if is_tls {
        let trusts_any = wanted.ssl & (client::ALLOW_SELFSIGNED | client::ALLOW_INSECURE) != 0;
        if !trusts_any && wanted.ssl & (client::ALLOW_EXPIRED | client::SKIP_SERVER_CERT_HOSTNAME_CHECK) != 0 {
            // To verify nothing in its place would be less than the program asks for.
            return Err("a certificate is verified whole or not at all: to allow one that has expired, or has another name, allow \
                        self-signed ones, too"
                .to_owned());
        }
        let own = lock(&vhost.settings).own.clone();
        connect = tls::connect(connect, trusts_any, &own)?;
    }
    Ok(connect)
}

/// Where to connect. A `+` before it: a Unix socket.
fn addresses(wanted: &Wanted<'_>) -> Result<Vec<Address>, String> {
    if let Some(path) = wanted.address.strip_prefix('+') {
        return Address::unix(path)
            .map(|address| vec![address])
            .ok_or_else(|| "that is not the path of a socket".to_owned());
    }
    let found = (wanted.address, wanted.port).to_socket_addrs().map_err(|error| error.to_string())?;
    Ok(found.map(Address::from).collect())
}
