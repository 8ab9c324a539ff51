//! Contexts and vhosts of 4.1.6, by the struct that describes either.

use std::ffi::{CString, c_char, c_int};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::Ordering;

use sockeye::daemon::Identity;
use sockeye::sys::Address;

use crate::caller;
use crate::context::Context;
use crate::lock::lock;
use crate::log;
use crate::make::limits;
use crate::mounts::{Mount, Origin};
use crate::process;
use crate::protocol::{CProtocol, Description};
use crate::reason::Interface;
use crate::tls;
use crate::vhost::{Settings, Vhost};
use crate::wsi::Silence;

use super::numbers::{self, mount as kind, option};
use super::types::{self, CreationInfo, Extension, Protocols, RetryPolicy, VhostOption};
use super::{Lws17, files, interfaces, service};

/// The most that a program may want in one piece of a message.
const PIECE_BYTES: usize = 1 << 20;

/// The least: what a control frame may carry.
const LEAST_PIECE_BYTES: usize = 128;
// A pong has its place in the same buffer (RFC 6455 section 5.5).
const _: () = assert!(LEAST_PIECE_BYTES >= 125);

/// The longest list that is read: a list without an end is found so.
const LIST: usize = 1024;

/// Loops of others, which this library has no part for.
const FOREIGN_LOOPS: u64 = option::LIBEV | option::LIBUV | option::LIBEVENT | option::GLIB;

/// The name of a vhost that has none.
const DEFAULT_NAME: &std::ffi::CStr = c"default";

/// Makes a context, and a vhost unless the program makes its own. Null if that cannot be.
///
/// # Safety
/// As the header has it: lists that end, and texts that NULs end, or null.
pub unsafe fn create_context(info: *const CreationInfo) -> *mut Context {
    log::install();
    process::ignore_sigpipe();
    // SAFETY: the caller's.
    let Some(info) = (unsafe { caller::value(info) }) else { return ptr::null_mut() };
    if info.options & FOREIGN_LOOPS != 0 {
        log::err!("no context: the loops of libuv, libev, libevent and GLib are not supported");
        return ptr::null_mut();
    }
    let context = Context::new(Interface::Lws17, info.user);
    // SAFETY: the caller's.
    match process::uncancelled(|| unsafe { make(context, &info) }) {
        Ok(()) => {
            let pointer = ptr::from_ref(context).cast_mut();
            // SAFETY: the caller's.
            unsafe { caller::set(info.pcontext, pointer.cast()) };
            // The first turn does not wait, and tells that.
            context.is_cancelled.store(true, Ordering::Release);
            context.ring();
            pointer
        }
        Err(error) => {
            log::err!("no context: {error}");
            context.end();
            if context.interface().is_some() {
                context.release();
            }
            ptr::null_mut()
        }
    }
}

unsafe fn make(context: &'static Context, info: &CreationInfo) -> Result<(), String> {
    *lock(&context.host_name) = CString::from(rustix::system::uname().nodename());
    context.bell().ok_or("no descriptor is left")?;
    context.connect_seconds.store(info.connect_timeout_secs, Ordering::Release);
    // SAFETY: the caller's.
    *lock(&context.silence) = unsafe { silence_of(info.retry_and_idle_policy) }
        .unwrap_or(Silence { ping: numbers::PING_SECONDS, hang_up: numbers::HANG_UP_SECONDS });
    let piece = usize::try_from(info.pt_serv_buf_size).ok().filter(|bytes| *bytes > 0);
    let piece = piece.map_or(0, |bytes| bytes.clamp(LEAST_PIECE_BYTES, PIECE_BYTES));
    context.piece_bytes.store(piece, Ordering::Release);
    // SAFETY: the caller's.
    context.compresses.store(unsafe { has_deflate(info.extensions) }, Ordering::Release);
    context.make(&Lws17, limits(), None).map_err(|error| error.to_string())?;
    if info.options & option::EXPLICIT_VHOSTS == 0 {
        // SAFETY: the caller's.
        unsafe { make_vhost(context, info, true) }?;
    }
    // 0 leaves it as it is, too: programs zero the struct.
    let text = |number: u32| (number != 0 && number != u32::MAX).then(|| number.to_string());
    // SAFETY: the caller's.
    let (user, group) = unsafe {
        (
            caller::utf8(info.username).map(str::to_owned).or_else(|| text(info.uid)),
            caller::utf8(info.groupname).map(str::to_owned).or_else(|| text(info.gid)),
        )
    };
    if user.is_some() || group.is_some() {
        let identity = Identity::find(user.as_deref(), group.as_deref()).map_err(|error| error.to_string())?;
        identity.assume().map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Whether the list of extensions has permessage-deflate, which is the library's own.
unsafe fn has_deflate(list: *const Extension) -> bool {
    // SAFETY: the program's list, which ends with an entry without a name.
    let entries =
        (0..LIST).map_while(|index| unsafe { caller::value(list.wrapping_add(index)) }.filter(|_| !list.is_null()));
    // SAFETY: the same.
    let mut names = entries.map_while(|entry| unsafe { caller::text(entry.name) });
    names.any(|name| name == c"permessage-deflate")
}

/// How long a connection may be silent, if a policy says so.
///
/// # Safety
/// A policy, or null.
pub(super) unsafe fn silence_of(policy: *const RetryPolicy) -> Option<Silence> {
    // SAFETY: the caller's.
    let policy = unsafe { caller::value(policy) }?;
    let (ping, hang_up) = (policy.secs_since_valid_ping, policy.secs_since_valid_hangup);
    (ping > 0).then_some(Silence { ping, hang_up })
}

/// Makes a vhost. Null if that cannot be.
///
/// # Safety
/// As [`create_context`].
pub unsafe fn create_vhost(context: *mut Context, info: *const CreationInfo) -> *mut Vhost {
    // SAFETY: the caller's.
    let (Some(context), Some(info)) = (Context::find(context), unsafe { caller::value(info) }) else {
        return ptr::null_mut();
    };
    if context.door.is_inside() {
        log::err!("no vhost: it cannot be made inside a callback");
        return ptr::null_mut();
    }
    let is_strict = info.options & option::FAIL_UPON_UNABLE_TO_BIND != 0;
    // SAFETY: the caller's.
    match process::uncancelled(|| unsafe { make_vhost(context, &info, is_strict) }) {
        Ok(vhost) => {
            service::begin_vhost(context, vhost);
            ptr::from_ref(vhost).cast_mut()
        }
        Err(error) => {
            log::err!("no vhost: {error}");
            ptr::null_mut()
        }
    }
}

unsafe fn make_vhost(
    context: &'static Context,
    info: &CreationInfo,
    is_strict: bool,
) -> Result<&'static Vhost, String> {
    // SAFETY: the caller's.
    let (name, server, own) = unsafe {
        (
            caller::text(info.vhost_name).unwrap_or(DEFAULT_NAME),
            caller::text(info.server_string).map(|text| text.to_bytes().to_vec()),
            files::own(info)?,
        )
    };
    let vhost = Vhost::new(context);
    vhost.user.store(info.user, Ordering::Release);
    // SAFETY: the caller's.
    vhost.compresses.store(unsafe { has_deflate(info.extensions) }, Ordering::Release);
    // SAFETY: the caller's.
    unsafe {
        let mounts = read_mounts(info.mounts).into();
        *lock(&vhost.settings) = Settings { name: name.to_owned(), server, mounts, own };
        read_protocols(vhost, info);
    }
    lock(&context.vhosts).push(vhost);
    // SAFETY: the caller's.
    let listened = unsafe { listen(context, vhost, info) };
    match listened {
        Err(error) if is_strict => {
            lock(&context.vhosts).retain(|own| !ptr::eq(*own, vhost));
            vhost.release();
            Err(error)
        }
        Err(error) => {
            log::err!("vhost {} does not listen: {error}", name.to_string_lossy());
            Ok(vhost)
        }
        Ok(()) => Ok(vhost),
    }
}

/// Takes over the protocols: a list, or a list of pointers. A vhost without any gets one without a callback.
unsafe fn read_protocols(vhost: &'static Vhost, info: &CreationInfo) {
    for index in 0..LIST {
        // SAFETY: the entries before it were not the last.
        let entry = unsafe {
            if info.pprotocols.is_null() {
                caller::value(info.protocols.wrapping_add(index)).filter(|_| !info.protocols.is_null())
            } else {
                caller::value(info.pprotocols.wrapping_add(index)).and_then(|entry| caller::value(entry))
            }
        };
        let Some(entry) = entry.filter(|entry| !entry.name.is_null() || entry.callback.is_some()) else { break };
        add_protocol(vhost, &entry, index);
    }
    if vhost.first().is_none() {
        let none = Protocols {
            name: DEFAULT_NAME.as_ptr(),
            callback: None,
            per_session_data_size: 0,
            rx_buffer_size: 0,
            id: 0,
            user: ptr::null_mut(),
            tx_packet_size: 0,
        };
        add_protocol(vhost, &none, 0);
    }
}

fn add_protocol(vhost: &'static Vhost, entry: &Protocols, index: usize) {
    let protocol = CProtocol::new(
        vhost,
        &Description {
            callback: entry.callback.map_or(ptr::null_mut(), |callback: types::Callback| callback as *mut _),
            element: ptr::null_mut(),
            name: entry.name,
            session_bytes: entry.per_session_data_size,
            piece_bytes: entry.rx_buffer_size,
            index,
        },
    );
    protocol.keep(entry.words());
    vhost.add(protocol);
}

/// Listens, if the vhost has a port or a socket of its own.
unsafe fn listen(context: &'static Context, vhost: &'static Vhost, info: &CreationInfo) -> Result<(), String> {
    if info.port == numbers::PORT_NO_LISTEN || info.port == numbers::PORT_NO_LISTEN_SERVER {
        return Ok(());
    }
    // SAFETY: the caller's.
    let (iface, listener) =
        unsafe { (caller::utf8(info.iface).filter(|iface| !iface.is_empty()), files::listener(info)?) };
    let at = if info.options & option::UNIX_SOCK != 0 {
        let path = iface.ok_or("a vhost on a Unix socket needs its path")?;
        Address::unix(path.trim_start_matches('+')).ok_or("that is not the path of a socket")?
    } else {
        let port = u16::try_from(info.port).map_err(|_| format!("{} is not a port", info.port))?;
        let Some(address) = address_of(iface, info.options & option::DISABLE_IPV6 == 0) else {
            log::err!("there is no interface {}: the vhost does not listen", iface.unwrap_or_default());
            return Ok(());
        };
        Address::from(SocketAddr::new(address, port))
    };
    let listened = match listener {
        None => context.listen(vhost, at, |listen| listen),
        Some((identity, clients)) => context.listen(vhost, at, tls::listen(&identity, clients.as_ref())?),
    };
    listened.map_err(|error| error.to_string())
}

/// Where to listen. `None`: there is no such interface.
fn address_of(iface: Option<&str>, has_ipv6: bool) -> Option<IpAddr> {
    match iface {
        Some(name) => interfaces::address(name, false).or_else(|_| interfaces::address(name, true)).ok(),
        None if has_ipv6 && std::path::Path::new("/proc/net/if_inet6").exists() => Some(Ipv6Addr::UNSPECIFIED.into()),
        None => Some(Ipv4Addr::UNSPECIFIED.into()),
    }
}

/// The mounts, as far as they are of a kind that this library has.
unsafe fn read_mounts(first: *const types::Mount) -> Vec<Mount> {
    let mut mounts = Vec::new();
    let mut next = first;
    // SAFETY: the program's list.
    while let Some(mount) = unsafe { caller::value(next) }.filter(|_| mounts.len() < LIST) {
        // SAFETY: the same.
        match unsafe { read_mount(&mount) } {
            Some(own) => mounts.push(own),
            None => log::err!("a mount is of a kind that is not supported, and left out"),
        }
        next = mount.mount_next;
    }
    mounts
}

unsafe fn read_mount(mount: &types::Mount) -> Option<Mount> {
    // SAFETY: the caller's.
    unsafe {
        let point = caller::text(mount.mountpoint)?.to_bytes();
        let length = usize::from(mount.mountpoint_len).min(point.len());
        let mut point = if length == 0 { point } else { &point[..length] };
        while let Some(shorter) = point.strip_suffix(b"/") {
            point = shorter;
        }
        let origin = caller::utf8(mount.origin).unwrap_or_default();
        let redirect = |scheme: &str| {
            Origin::Redirect(if origin.contains("://") { origin.to_owned() } else { format!("{scheme}://{origin}") })
        };
        let origin = match c_int::from(mount.origin_protocol) {
            kind::FILE => Origin::Folder(PathBuf::from(origin)),
            kind::REDIR_HTTP => redirect("http"),
            kind::REDIR_HTTPS => redirect("https"),
            kind::CALLBACK => Origin::Callback(caller::utf8(mount.protocol).unwrap_or(origin).to_owned()),
            _ => return None,
        };
        Some(Mount {
            point: point.to_vec(),
            origin,
            default: text_or(mount.def, b"index.html"),
            media_types: read_options(mount.extra_mimetypes),
            max_age: u32::try_from(mount.cache_max_age).unwrap_or(0),
            is_reusable: mount.cache_flags & 1 != 0,
            revalidates: mount.cache_flags & 2 != 0,
            is_shared: mount.cache_flags & 4 != 0,
        })
    }
}

unsafe fn text_or(text: *const c_char, otherwise: &[u8]) -> Vec<u8> {
    // SAFETY: the caller's.
    unsafe { caller::text(text) }.map_or(otherwise, |text| text.to_bytes()).to_vec()
}

unsafe fn read_options(first: *const VhostOption) -> Vec<(Vec<u8>, String)> {
    let mut options = Vec::new();
    let mut next = first;
    // SAFETY: the program's list.
    while let Some(option) = unsafe { caller::value(next) }.filter(|_| options.len() < LIST) {
        // SAFETY: the same.
        if let (Some(name), Some(value)) = unsafe { (caller::text(option.name), caller::utf8(option.value)) } {
            options.push((name.to_bytes().to_vec(), value.to_owned()));
        }
        next = option.next;
    }
    options
}
