//! The functions of the interface of 2013. What each does is in the header; here is why it is done so.

use std::ffi::{CString, c_char, c_int, c_uchar, c_uint, c_void};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ptr;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sockeye::Close;
use sockeye::daemon::Identity;
use sockeye::poll::Ready;
use sockeye::proto::wire::MessageKind;
use sockeye::sys::Address;

use crate::caller;
use crate::context::Context;
use crate::frame::Kind;
use crate::hook::Hook;
use crate::lock::lock;
use crate::log;
use crate::log::Emit;
use crate::make::limits;
use crate::poll::Poll;
use crate::process;
use crate::reason::Interface;
use crate::spoken::close_with;
use crate::tls::{self, Clients, Own, Source, Trust};
use crate::turn::{Turn, Work};
use crate::vhost::{Settings, Vhost};
use crate::write::{WriteError, write};
use crate::wsi::{Phase, Wsi};

pub use super::connect::{client_connect, client_connect_extended};
pub use super::files::{serve_http_file, serve_http_file_fragment};
use super::tables::{self, Extension, Protocols};
use super::{Lws13, connection, user_of};

/// Makes a context, which listens if `port` is not 0. Null if that cannot be.
///
/// # Safety
/// As the header has it: a table that ends, and texts that NULs end, or null.
#[expect(clippy::too_many_arguments, reason = "the header has them")]
pub unsafe fn create_context(
    port: c_int,
    interface: *const c_char,
    protocols: *mut Protocols,
    _: *mut Extension,
    certificate: *const c_char,
    key: *const c_char,
    authority: *const c_char,
    gid: c_int,
    uid: c_int,
    options: c_uint,
    user: *mut c_void,
) -> *mut Context {
    log::install();
    process::ignore_sigpipe();
    // SAFETY: the caller's.
    let (interface, files) = unsafe {
        let files = [certificate, key, authority].map(|path| caller::path(path).map(Source::File));
        (caller::utf8(interface), files)
    };
    let wants_certificates = options & REQUIRE_CLIENT_CERTIFICATE != 0;
    let context = Context::new(Interface::Lws13, user);
    let vhost = Vhost::new(context);
    lock(&context.vhosts).push(vhost);
    // SAFETY: the caller's.
    let made = match unsafe { tables::read(context, vhost, protocols) } {
        None => Err("a context needs a table of protocols, whose last entry has no callback".to_owned()),
        Some(_) => files_of(files, port != 0, wants_certificates).and_then(|files| {
            *lock(&vhost.settings) = Settings { own: files.own, ..Settings::default() };
            process::uncancelled(|| make(context, vhost, port, interface, files.listener, (uid, gid)))
        }),
    };
    match made {
        Ok(()) => ptr::from_ref(context).cast_mut(),
        Err(reason) => {
            log::err!("no context: {reason}");
            context.end();
            if context.interface().is_some() {
                context.release();
            }
            ptr::null_mut()
        }
    }
}

/// `LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT`.
const REQUIRE_CLIENT_CERTIFICATE: c_uint = 2;

/// What the files of a context are for.
struct Files {
    listener: Option<(tls::Identity, Option<Clients>)>,
    own: Own,
}

/// In a context that listens they are those of its listener, and of the authority of its clients if they need certificates;
/// otherwise they are those of its connections. What would be left over is refused.
fn files_of(
    [certificate, key, authority]: [Option<Source>; 3],
    listens: bool,
    wants_certificates: bool,
) -> Result<Files, String> {
    let identity = match (certificate, key) {
        (Some(chain), Some(key)) => Some(tls::Identity { chain, key }),
        (None, None) => None,
        _ => return Err("a certificate and its key are given both, or neither".to_owned()),
    };
    let trust = authority.clone().map_or(Trust::System, Trust::These);
    if !listens {
        return Ok(Files { listener: None, own: Own { trust, identity } });
    }
    // The functions of OpenSSL that a program of that time gave more authorities by are never called.
    let clients = match (wants_certificates, &identity, &authority) {
        (false, ..) => None,
        (true, Some(_), Some(roots)) => Some(Clients { roots: roots.clone(), are_required: true }),
        (true, ..) => {
            return Err("to ask clients for certificates takes a certificate, a key and an authority".to_owned());
        }
    };
    Ok(Files { listener: identity.map(|identity| (identity, clients)), own: Own { trust, identity: None } })
}

fn make(
    context: &'static Context,
    vhost: &'static Vhost,
    port: c_int,
    interface: Option<&str>,
    files: Option<(tls::Identity, Option<Clients>)>,
    (uid, gid): (c_int, c_int),
) -> Result<(), String> {
    if std::env::var("http_proxy").is_ok_and(|proxy| !proxy.is_empty() && !proxy.contains(':')) {
        return Err("the variable http_proxy is not of the form host:port".to_owned());
    }
    *lock(&context.host_name) = CString::from(rustix::system::uname().nodename());
    let poll = Poll::new().map_err(|error| error.to_string())?;
    context.make(&Lws13, limits(), Some(poll)).map_err(|error| error.to_string())?;
    // The end takes it out again, however far this gets.
    Hook(context).add_clock().map_err(|error| error.to_string())?;
    if port != 0 {
        let port = u16::try_from(port).map_err(|_| format!("the port is 1 to 65535, not {port}"))?;
        let at = SocketAddr::new(IpAddr::V4(address_of(interface)?), port);
        let listened = match files {
            None => context.listen(vhost, at, |listen| listen),
            Some((identity, clients)) => context.listen(vhost, at, tls::listen(&identity, clients.as_ref())?),
        };
        listened.map_err(|error| error.to_string())?;
    }
    let text = |number: c_int| u32::try_from(number).ok().map(|number| number.to_string());
    let (user, group) = (text(uid), text(gid));
    if user.is_some() || group.is_some() {
        let identity = Identity::find(user.as_deref(), group.as_deref()).map_err(|error| error.to_string())?;
        identity.assume().map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The IPv4 address of an interface, or the one that is named itself.
fn address_of(interface: Option<&str>) -> Result<Ipv4Addr, String> {
    let Some(name) = interface.filter(|name| !name.is_empty()) else { return Ok(Ipv4Addr::UNSPECIFIED) };
    if let Ok(address) = name.parse() {
        return Ok(address);
    }
    let found = if_addrs::get_if_addrs().map_err(|error| error.to_string())?;
    let address = found.into_iter().find_map(|own| match own.ip() {
        IpAddr::V4(address) if own.name == name => Some(address),
        _ => None,
    });
    address.ok_or_else(|| format!("no interface {name} has an IPv4 address"))
}

/// Ends a context. Inside a callback, or while another thread is in it, it ends when that is over.
///
/// # Safety
/// There is nothing to keep: a pointer to no context is ignored.
pub unsafe fn context_destroy(context: *mut Context) {
    if let Some(context) = Context::find(context) {
        process::uncancelled(|| context.end());
    } else if !context.is_null() {
        log::err!("a pointer to a context that has ended, or never was: nothing is done with it");
    }
}

/// Begins a turn that waits; see `shim/wait.c`.
///
/// # Safety
/// `fds` has room for two, and `count` for one.
pub unsafe fn wait_begin(context: *mut Context, timeout: c_int, fds: *mut libc::pollfd, count: *mut c_int) -> c_int {
    let Some(found) = Context::find(context) else {
        log::err!("a pointer to a context that has ended, or never was: it cannot be served");
        return refuse(count, -1);
    };
    match found.begin_wait() {
        Ok(wait) => {
            // SAFETY: the caller's.
            unsafe {
                caller::set(fds, libc::pollfd { fd: wait.descriptor, events: libc::POLLIN, revents: 0 });
                caller::set(count, 1);
            }
            match u32::try_from(timeout) {
                // The clock is among the descriptors, so it need not be looked at.
                Ok(_) => timeout,
                Err(_) => -1,
            }
        }
        Err(_) => refuse(count, -1),
    }
}

/// Has the shim return `result` without waiting.
fn refuse(count: *mut c_int, result: c_int) -> c_int {
    // SAFETY: the shim's own variable.
    unsafe { caller::set(count, result) };
    c_int::MIN
}

/// Does the turn. As poll(2) does, it fails when a signal has interrupted the wait.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn wait_end(context: *mut Context, polled: c_int) -> c_int {
    let Some(context) = Context::find(context) else { return -1 };
    context.end_wait();
    if polled < 0 {
        if polled != -libc::EINTR {
            log::err!("waiting has failed: {}", std::io::Error::from_raw_os_error(-polled));
        }
        return -1;
    }
    outcome(context.turn(Work::Any))
}

fn outcome(turn: Turn) -> c_int {
    match turn {
        Turn::Done => 0,
        Turn::Nested | Turn::Ended | Turn::Failed => -1,
    }
}

/// Serves a descriptor that the program's loop has seen.
///
/// # Safety
/// As the header has it: an entry of poll(2), or null.
pub unsafe fn service_fd(context: *mut Context, entry: *mut libc::pollfd) -> c_int {
    let Some(context) = Context::find(context) else { return 1 };
    // SAFETY: the caller's.
    let work = match unsafe { caller::value(entry) } {
        None => Work::Any,
        Some(entry) if entry.revents == 0 => return 0,
        Some(entry) => Work::Descriptor(entry.fd, Ready::from_revents(entry.revents)),
    };
    outcome(context.turn(work))
}

/// The program's pointer of when it made the context.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn context_user(context: *mut Context) -> *mut c_void {
    Context::find(context).map_or(ptr::null_mut(), |context| context.user.load(Ordering::Acquire))
}

/// Writes a frame: 0, or -1 if it cannot be.
///
/// # Safety
/// There are `len` bytes at `buffer`. Those around them are not touched.
pub unsafe fn write_frame(wsi: *mut Wsi, buffer: *mut c_uchar, len: usize, protocol: c_uint) -> c_int {
    let Some(wsi) = connection(wsi) else {
        log::err!("a write to a connection that has ended, or never was: nothing is sent");
        return -1;
    };
    // SAFETY: the caller's.
    let Some(payload) = (unsafe { caller::bytes(buffer.cast(), len) }) else {
        log::err!("a write of {len} bytes that are not there");
        return -1;
    };
    let is_last = protocol & NO_FIN == 0;
    let kind = match protocol & !(NO_FIN | IGNORE_XOR_MASK) {
        0 => Kind::Message(MessageKind::Text),
        1 => Kind::Message(MessageKind::Binary),
        2 => Kind::Continuation,
        4 => return close_frame(wsi, payload),
        5 => Kind::Ping,
        6 => Kind::Pong,
        other => {
            log::err!("a write of kind {other}, which is not supported");
            return -1;
        }
    };
    match write(wsi, kind, is_last, payload) {
        Ok(()) => 0,
        Err(error) => {
            log::err!("{}: nothing is written: {}", wsi.id(), reason_of(error));
            -1
        }
    }
}

const NO_FIN: c_uint = 0x40;
/// It had the payload of a client left as it is, against RFC 6455; it has no effect.
const IGNORE_XOR_MASK: c_uint = 0x80;

const fn reason_of(error: WriteError) -> &'static str {
    match error {
        WriteError::NotOpen => "the connection is not open",
        WriteError::OutOfOrder => "the message before it is not finished, or a continuation has no message",
        WriteError::TooLong => "a ping or pong has at most 125 bytes",
        WriteError::Full => "the peer does not read",
    }
}

/// A Close frame that the program has written itself: a status and a reason.
fn close_frame(wsi: &'static Wsi, payload: &[u8]) -> c_int {
    let close = match payload {
        [high, low, reason @ ..] => close_with(u16::from_be_bytes([*high, *low]), reason),
        _ => Close::empty(),
    };
    if close_of(wsi, close) { 0 } else { -1 }
}

fn close_of(wsi: &'static Wsi, close: Close) -> bool {
    wsi.context().is_some_and(|context| crate::write::close(context, wsi, close))
}

/// Asks for one writeable callback: 1, or -1.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn callback_on_writable(_: *mut Context, wsi: *mut Wsi) -> c_int {
    let Some((wsi, context)) = connection(wsi).and_then(|wsi| Some((wsi, wsi.context()?))) else {
        log::err!("a wish to write to a connection that has ended, or never was");
        return -1;
    };
    context.ask_writeable(wsi);
    1
}

/// The same for all connections of a protocol.
///
/// # Safety
/// An entry of a table that a context was made with, or null.
pub unsafe fn callback_on_writable_all_protocol(protocol: *const Protocols) -> c_int {
    // SAFETY: the caller's.
    let Some(context) = (unsafe { tables::owner(protocol) }) else { return -1 };
    for wsi in context.all() {
        let is_of = wsi.protocol.get().is_some_and(|own| ptr::eq(own.element.load(Ordering::Acquire), protocol.cast()));
        if is_of && wsi.is(Phase::Open) {
            context.ask_writeable(wsi);
        }
    }
    0
}

/// # Safety
/// There is nothing to keep.
pub unsafe fn is_final_fragment(wsi: *mut Wsi) -> c_int {
    connection(wsi).is_some_and(|wsi| wsi.is_final.load(Ordering::Relaxed)).into()
}

/// # Safety
/// There is nothing to keep.
pub unsafe fn remaining_packet_payload(wsi: *mut Wsi) -> usize {
    connection(wsi).map_or(0, |wsi| wsi.remaining.load(Ordering::Relaxed))
}

/// No extension of this library uses them, but for the bit that says that a message is compressed, which is gone by then.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn get_reserved_bits(_: *mut Wsi) -> c_uchar {
    0
}

/// # Safety
/// There is nothing to keep.
pub unsafe fn frame_is_binary(wsi: *mut Wsi) -> c_int {
    connection(wsi).is_some_and(|wsi| wsi.is_binary.load(Ordering::Relaxed)).into()
}

/// # Safety
/// There is nothing to keep.
pub unsafe fn ensure_user_space(wsi: *mut Wsi) -> *mut c_void {
    connection(wsi).map_or(ptr::null_mut(), |wsi| {
        wsi.make_session();
        user_of(wsi)
    })
}

/// # Safety
/// There is nothing to keep.
pub unsafe fn rx_flow_control(wsi: *mut Wsi, enable: c_int) -> c_int {
    let Some((wsi, context)) = connection(wsi).and_then(|wsi| Some((wsi, wsi.context()?))) else { return -1 };
    let id = wsi.id();
    let is_done = context.act(move |commands| {
        if let Ok(mut connection) = commands.connection(id) {
            if enable == 0 { connection.pause_reading() } else { connection.resume_reading() }
        }
    });
    if is_done { 0 } else { -1 }
}

/// # Safety
/// There is nothing to keep.
pub unsafe fn send_pipe_choked(wsi: *mut Wsi) -> c_int {
    let Some((wsi, context)) = connection(wsi).and_then(|wsi| Some((wsi, wsi.context()?))) else { return 1 };
    if wsi.queued.load(Ordering::Relaxed) > 0 {
        return 1;
    }
    if let Some(has_room) = context.door.with_port(wsi, |tx| tx.is_some()) {
        return (!has_room).into();
    }
    let id = wsi.id();
    let waiting = context.act_now(|commands| commands.connection(id).map_or(0, |connection| connection.queued_bytes()));
    (waiting.unwrap_or(0) > 0).into()
}

/// # Safety
/// There is nothing to keep.
pub unsafe fn get_socket_fd(wsi: *mut Wsi) -> c_int {
    connection(wsi).and_then(Wsi::descriptor).unwrap_or(-1)
}

/// # Safety
/// There is nothing to keep.
pub unsafe fn get_protocol(wsi: *mut Wsi) -> *const Protocols {
    let protocol = Wsi::find(wsi).and_then(|wsi| wsi.protocol.get());
    protocol.map_or(ptr::null(), |protocol| protocol.element.load(Ordering::Acquire).cast_const().cast())
}

/// Closes a connection: with a Close frame if it is open and there is a status, else at once. The callback comes later.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn close_and_free_session(context: *mut Context, wsi: *mut Wsi, status: c_uint) {
    let Some((wsi, context)) = connection(wsi).zip(Context::find(context)) else { return };
    if wsi.is_closing.load(Ordering::Acquire) || wsi.is(Phase::Closed) {
        return;
    }
    match u16::try_from(status) {
        Ok(status @ 1..) if wsi.is(Phase::Open) => {
            close_of(wsi, close_with(status, b""));
        }
        _ => context.abort(wsi),
    }
}

/// # Safety
/// There is nothing to keep.
pub unsafe fn hangup_on_client(context: *mut Context, fd: c_int) {
    let Some(context) = Context::find(context) else { return };
    match context.all().into_iter().find(|wsi| wsi.descriptor() == Some(fd)) {
        Some(wsi) => context.abort(wsi),
        None => process::close(fd),
    }
}

/// # Safety
/// As the header has it: two buffers and their sizes.
pub unsafe fn get_peer_addresses(
    _: *mut Context,
    wsi: *mut Wsi,
    _: c_int,
    name: *mut c_char,
    name_len: c_int,
    address: *mut c_char,
    address_len: c_int,
) {
    let peer = connection(wsi).and_then(|wsi| match wsi.rest().peer {
        Some(Address::Ip(peer)) => Some(peer.ip()),
        _ => None,
    });
    let numeric = peer.map_or(String::new(), |peer| peer.to_string());
    let found = peer.and_then(process::name_of).unwrap_or_else(|| numeric.clone());
    let size = |len: c_int| usize::try_from(len).unwrap_or(0);
    // SAFETY: the caller's.
    unsafe {
        caller::put(name, size(name_len), found.as_bytes());
        caller::put(address, size(address_len), numeric.as_bytes());
    }
}

/// # Safety
/// There is nothing to keep.
pub unsafe fn canonical_hostname(context: *mut Context) -> *const c_char {
    // It is set when the context is made, and stays until that is used anew.
    Context::find(context).map_or(c"".as_ptr(), |context| lock(&context.host_name).as_ptr())
}

/// # Safety
/// There are `len` bytes.
pub unsafe fn get_random(_: *mut Context, buffer: *mut c_void, len: c_int) -> c_int {
    let Ok(bytes) = usize::try_from(len) else { return 0 };
    // SAFETY: the caller's.
    let Some(room) = (unsafe { caller::room(buffer, bytes) }) else { return 0 };
    if getrandom::fill(room).is_ok() { len } else { 0 }
}

/// Sets what is logged, and where.
///
/// # Safety
/// The function stays good.
pub unsafe fn set_log_level(level: c_int, emit: Option<Emit>) {
    log::set_level(level, emit);
}

/// Whether a line of this kind is wanted, for the shim.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn log_wanted(level: c_int) -> c_int {
    log::is_wanted(level).into()
}

/// Logs a line, for the shim.
///
/// # Safety
/// A text that a NUL ends, or null.
pub unsafe fn log_line(level: c_int, line: *const c_char) {
    // SAFETY: the caller's.
    if let Some(line) = unsafe { caller::text(line) } {
        log::line_of(level, line);
    }
}

/// How many contexts there are, for the shim.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn contexts() -> c_int {
    c_int::try_from(crate::contexts()).unwrap_or(c_int::MAX)
}

/// # Safety
/// `in_len` bytes at `input`, `out_size` at `output`.
pub unsafe fn b64_encode_string(input: *const c_char, in_len: c_int, output: *mut c_char, out_size: c_int) -> c_int {
    let (Ok(in_len), Ok(out_size)) = (usize::try_from(in_len), usize::try_from(out_size)) else { return -1 };
    // SAFETY: the caller's.
    let Some(bytes) = (unsafe { caller::bytes(input.cast(), in_len) }) else { return -1 };
    // SAFETY: the caller's.
    unsafe { put_whole(output, out_size, STANDARD.encode(bytes).as_bytes()) }
}

/// # Safety
/// A text that a NUL ends, `out_size` bytes at `output`.
pub unsafe fn b64_decode_string(input: *const c_char, output: *mut c_char, out_size: c_int) -> c_int {
    let Ok(out_size) = usize::try_from(out_size) else { return -1 };
    // SAFETY: the caller's.
    let bytes = unsafe { caller::text(input) }.and_then(|text| STANDARD.decode(text.to_bytes()).ok());
    // SAFETY: the caller's.
    bytes.map_or(-1, |bytes| unsafe { put_whole(output, out_size, &bytes) })
}

/// Copies bytes and a NUL to a buffer that has room for all of them. Returns how many, without the NUL, or -1.
///
/// # Safety
/// There are `size` bytes.
unsafe fn put_whole(output: *mut c_char, size: usize, bytes: &[u8]) -> c_int {
    if output.is_null() || bytes.len() >= size {
        return -1;
    }
    // SAFETY: the caller's.
    unsafe { caller::put(output, size, bytes) };
    c_int::try_from(bytes.len()).unwrap_or(-1)
}

/// Feeding bytes past the socket is refused.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn read(_: *mut Context, _: *mut Wsi, _: *mut c_uchar, _: usize) -> c_int {
    log::err!("libwebsocket_read is refused: what a connection receives comes from its socket");
    -1
}
