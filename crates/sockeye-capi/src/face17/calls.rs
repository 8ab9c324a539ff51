//! The functions of 4.1.6 that are about connections. What each does is in the header; here is why it is done so.

use std::ffi::{CStr, c_char, c_int, c_uchar, c_void};
use std::net::IpAddr;
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sockeye::proto::wire::MessageKind;
use sockeye::sys::Address;

use crate::caller;
use crate::context::Context;
use crate::frame::Kind;
use crate::lock::lock;
use crate::log;
use crate::protocol::CProtocol;
use crate::spoken::close_with;
use crate::vhost::{VHOSTS, Vhost};
use crate::write::write;
use crate::wsi::{Due, Phase, Wsi};

use super::connection;
use super::helpers::signed;
use super::numbers::write as flag;
use super::types::Protocols;

/// Writes a frame, or a part of the answer to a request. Returns `length`, all of which is accepted, or -1.
///
/// # Safety
/// There are `length` bytes at `buffer`. Those before them are not touched.
pub unsafe fn write_bytes(wsi: *mut Wsi, buffer: *mut c_uchar, length: usize, kind: c_int) -> c_int {
    let Some(wsi) = connection(wsi) else {
        log::err!("a write to something that is not a connection, or to one that has ended: nothing is sent");
        return -1;
    };
    // SAFETY: the caller's.
    let Some(payload) = (unsafe { caller::bytes(buffer.cast(), length) }) else {
        log::err!("a write of {length} bytes that are not there");
        return -1;
    };
    let is_last = kind & flag::NO_FIN == 0;
    let frame = match kind & 0x1f {
        flag::TEXT => Kind::Message(MessageKind::Text),
        flag::BINARY => Kind::Message(MessageKind::Binary),
        flag::CONTINUATION => Kind::Continuation,
        flag::PING => Kind::Ping,
        flag::PONG => Kind::Pong,
        part @ (flag::HTTP | flag::HTTP_FINAL | flag::HTTP_HEADERS | flag::HTTP_HEADERS_CONTINUATION) => {
            return write_part(wsi, part, payload, kind & flag::H2_STREAM_END != 0);
        }
        other => {
            log::err!("a write of kind {other}, which there is not");
            return -1;
        }
    };
    match write(wsi, frame, is_last, payload) {
        Ok(()) => signed(length),
        Err(error) => {
            log::err!("{}: nothing is written: {error:?}", wsi.id());
            -1
        }
    }
}

/// Writes a part of the answer to a request, which leaves when there is room.
fn write_part(wsi: &'static Wsi, part: c_int, payload: &[u8], is_last: bool) -> c_int {
    if !wsi.is(Phase::Http) {
        log::err!("{}: an answer is written without a request", wsi.id());
        return -1;
    }
    let written = {
        let mut rest = wsi.rest();
        match part {
            flag::HTTP_HEADERS => rest.reply.head(payload),
            flag::HTTP_HEADERS_CONTINUATION => Ok(()),
            _ => rest.reply.body(payload, part == flag::HTTP_FINAL || is_last),
        }
    };
    if let Err(error) = written {
        log::err!("{}: a part of an answer is not sent: {error:?}", wsi.id());
        return -1;
    }
    if let Some(context) = wsi.context() {
        context.ask_for_room(wsi);
    }
    signed(payload.len())
}

/// Asks for one writeable callback: 1, or 0 if there will be none.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn callback_on_writable(wsi: *mut Wsi) -> c_int {
    let Some((wsi, context)) = connection(wsi).and_then(|wsi| Some((wsi, wsi.context()?))) else {
        log::err!("a writeable callback is asked for without a connection, or after its end");
        return -1;
    };
    if wsi.is_closing.load(Ordering::Acquire) || wsi.is(Phase::Closed) {
        return 0;
    }
    context.ask_writeable(wsi);
    1
}

/// The same for all connections of a protocol, in all vhosts: those with its callback and its name.
///
/// # Safety
/// An entry of a table of protocols, or null.
pub unsafe fn callback_on_writable_all_protocol(context: *const Context, protocol: *const Protocols) -> c_int {
    // SAFETY: the caller's.
    let (Some(context), Some(wanted)) = (Context::find(context), unsafe { caller::value(protocol) }) else { return -1 };
    ask_all(context, &wanted, None)
}

/// The same in one vhost.
///
/// # Safety
/// As [`callback_on_writable_all_protocol`].
pub unsafe fn callback_on_writable_all_protocol_vhost(vhost: *const Vhost, protocol: *const Protocols) -> c_int {
    let vhost = find_vhost(vhost);
    // SAFETY: the caller's.
    let wanted = unsafe { caller::value(protocol) };
    let (Some(context), Some(wanted)) = (vhost.and_then(|vhost| vhost.context()), wanted) else { return -1 };
    ask_all(context, &wanted, vhost)
}

fn ask_all(context: &'static Context, wanted: &Protocols, vhost: Option<&'static Vhost>) -> c_int {
    for wsi in context.all() {
        let Some(own) = wsi.protocol.get().filter(|_| wsi.is(Phase::Open)) else { continue };
        let is_there = vhost.is_none_or(|vhost| own.vhost().is_some_and(|own| ptr::eq(own, vhost)));
        if is_there && is_same(own, wanted) {
            context.ask_writeable(wsi);
        }
    }
    0
}

/// Whether a protocol is what the program means by an entry of its own.
fn is_same(own: &CProtocol, wanted: &Protocols) -> bool {
    let callback = wanted.callback.map_or(ptr::null_mut(), |callback| callback as *mut c_void);
    // SAFETY: an entry of the program's has a text, or null.
    own.callback.load(Ordering::Acquire) == callback && own.name() == unsafe { caller::text(wanted.name) }
}

/// The context of a connection, or of what stands for none.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn context_of(wsi: *const Wsi) -> *mut Context {
    let context = Wsi::find(wsi).and_then(|wsi| wsi.context());
    context.map_or(ptr::null_mut(), |context| ptr::from_ref(context).cast_mut())
}

/// Its protocol: a copy of the program's entry.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn protocol_of(wsi: *const Wsi) -> *const Protocols {
    let protocol = Wsi::find(wsi).and_then(|wsi| wsi.protocol.get());
    protocol.map_or(ptr::null(), |protocol| protocol.element.load(Ordering::Acquire).cast_const().cast())
}

/// Its vhost.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn vhost_of(wsi: *const Wsi) -> *mut Vhost {
    let vhost = Wsi::find(wsi).and_then(|wsi| wsi.protocol.get()?.vhost());
    vhost.map_or(ptr::null_mut(), |vhost| ptr::from_ref(vhost).cast_mut())
}

/// The connection that carries it: over HTTP/1 itself.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn network_of(wsi: *mut Wsi) -> *mut Wsi {
    Wsi::find(wsi).map_or(ptr::null_mut(), |_| wsi)
}

/// No connection has another above or below it here.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn no_relative(_: *const Wsi) -> *mut Wsi {
    ptr::null_mut()
}

/// Programs that want OpenSSL's object get none: it is not OpenSSL.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn ssl_of(_: *mut Wsi) -> *mut c_void {
    ptr::null_mut()
}

/// Writes the address of the peer in numbers, and returns `name`.
///
/// # Safety
/// There are `size` bytes.
pub unsafe fn peer_simple(wsi: *mut Wsi, name: *mut c_char, size: usize) -> *const c_char {
    let text = connection(wsi).and_then(|wsi| wsi.rest().peer.as_ref().map(numeric)).unwrap_or_default();
    // SAFETY: the caller's.
    unsafe { caller::put(name, size, text.as_bytes()) };
    name
}

/// IPv4 as IPv4, also that of a socket for both.
fn numeric(peer: &Address) -> String {
    match peer {
        Address::Ip(peer) => match peer.ip() {
            IpAddr::V6(address) => address.to_ipv4_mapped().map_or_else(|| address.to_string(), |own| own.to_string()),
            own => own.to_string(),
        },
        _ => "unknown".to_owned(),
    }
}

/// A peer of HTTP/1 gives no allowance: -1.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn write_allowance(_: *mut Wsi) -> i64 {
    -1
}

/// Whether the piece begins a message.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn is_first_fragment(wsi: *mut Wsi) -> c_int {
    connection(wsi).is_some_and(|wsi| wsi.is_first.load(Ordering::Relaxed)).into()
}

/// Whether the piece ends a message: its frame has the bit, and nothing is missing of it.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn is_final_fragment(wsi: *mut Wsi) -> c_int {
    connection(wsi).is_some_and(|wsi| wsi.is_final.load(Ordering::Relaxed)).into()
}

/// What the Close frame says, if the callback then wants the end.
///
/// # Safety
/// There are `length` bytes at `reason`.
pub unsafe fn close_reason(wsi: *mut Wsi, status: c_int, reason: *mut c_uchar, length: usize) {
    // SAFETY: the caller's.
    if let (Some(wsi), Some(reason)) = (connection(wsi), unsafe { caller::bytes(reason.cast(), length) }) {
        wsi.rest().close = Some(close_with(u16::try_from(status).unwrap_or(0), reason));
    }
}

/// The peer is alive: its silence begins anew.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn validity_confirmed(wsi: *mut Wsi) {
    if let Some((wsi, context)) = connection(wsi).and_then(|wsi| Some((wsi, wsi.context()?))) {
        let id = wsi.id();
        context.act(move |commands| {
            if let Ok(mut connection) = commands.connection(id) {
                connection.note_alive();
            }
        });
    }
}

/// Ends a connection after so many seconds; -1 or -2: now. 0: not any more.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn set_timeout(wsi: *mut Wsi, _: c_int, seconds: c_int) {
    let Some((wsi, context)) = connection(wsi).and_then(|wsi| Some((wsi, wsi.context()?))) else { return };
    match u64::try_from(seconds) {
        Err(_) => context.abort(wsi),
        Ok(0) => context.set_deadline(wsi, Due::Timeout, None),
        Ok(seconds) => context.set_deadline(wsi, Due::Timeout, Some(Duration::from_secs(seconds))),
    }
}

/// Has `TIMER` told once after so many microseconds; less than 0: not any more.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn set_timer(wsi: *mut Wsi, after: i64) {
    if let Some((wsi, context)) = connection(wsi).and_then(|wsi| Some((wsi, wsi.context()?))) {
        context.set_deadline(wsi, Due::Timer, u64::try_from(after).ok().map(Duration::from_micros));
    }
}

/// The block of a connection.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn user_of(wsi: *mut Wsi) -> *mut c_void {
    Wsi::find(wsi).map_or(ptr::null_mut(), |wsi| wsi.user.load(Ordering::Acquire))
}

/// Gives the connection a block of the program's.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn set_user(wsi: *mut Wsi, user: *mut c_void) {
    if let Some(wsi) = connection(wsi) {
        wsi.user.store(user, Ordering::Release);
        wsi.rest().session = Vec::new();
    }
}

/// The pointer that the library does not look at.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn opaque_of(wsi: *const Wsi) -> *mut c_void {
    Wsi::find(wsi).map_or(ptr::null_mut(), |wsi| wsi.opaque.load(Ordering::Acquire))
}

/// Sets it.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn set_opaque(wsi: *mut Wsi, opaque: *mut c_void) {
    if let Some(wsi) = Wsi::find(wsi) {
        wsi.opaque.store(opaque, Ordering::Release);
    }
}

/// Whether output waits in the library.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn partial_buffered(wsi: *mut Wsi) -> c_int {
    connection(wsi).is_some_and(|wsi| wsi.queued.load(Ordering::Relaxed) > 0 || wsi.rest().reply.waits()).into()
}

/// The number of the thread that serves it: there is one.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn thread_of(_: *mut Wsi) -> c_int {
    0
}

/// How many threads serve a context.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn count_threads(_: *mut Context) -> c_int {
    1
}

/// What there is to do before the first turn: nothing that was not done.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn finalize_startup(context: *mut Context) -> c_int {
    if Context::find(context).is_some() { 0 } else { -1 }
}

pub(super) fn find_vhost(vhost: *const Vhost) -> Option<&'static Vhost> {
    VHOSTS.find(vhost).filter(|vhost| vhost.context().is_some())
}

/// The port that a vhost listens on.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn vhost_port(vhost: *mut Vhost) -> c_int {
    find_vhost(vhost).map_or(-1, |vhost| vhost.port.load(Ordering::Acquire).into())
}

/// Its name.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn vhost_name(vhost: *mut Vhost) -> *const c_char {
    // It is set when the vhost is made, and stays until that is used anew.
    find_vhost(vhost).map_or(ptr::null(), |vhost| lock(&vhost.settings).name.as_ptr())
}

/// The pointer that it was made with.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn vhost_user(vhost: *mut Vhost) -> *mut c_void {
    find_vhost(vhost).map_or(ptr::null_mut(), |vhost| vhost.user.load(Ordering::Acquire))
}

/// The vhost of this name.
///
/// # Safety
/// As the header has it: a text that a NUL ends, or null.
pub unsafe fn vhost_by_name(context: *mut Context, name: *const c_char) -> *mut Vhost {
    // SAFETY: the caller's.
    let (Some(context), Some(name)) = (Context::find(context), unsafe { caller::text(name) }) else {
        return ptr::null_mut();
    };
    let vhosts = lock(&context.vhosts).clone();
    let found = vhosts.into_iter().find(|vhost| lock(&vhost.settings).name.as_c_str() == name);
    found.map_or(ptr::null_mut(), |vhost| ptr::from_ref(vhost).cast_mut())
}

/// Its protocol of this name.
///
/// # Safety
/// As [`vhost_by_name`].
pub unsafe fn protocol_by_name(vhost: *mut Vhost, name: *const c_char) -> *const Protocols {
    // SAFETY: the caller's.
    let name = unsafe { caller::text(name) }.map(CStr::to_bytes).and_then(|name| std::str::from_utf8(name).ok());
    let found = find_vhost(vhost).zip(name).and_then(|(vhost, name)| vhost.named(name));
    found.map_or(ptr::null(), |protocol| protocol.element.load(Ordering::Acquire).cast_const().cast())
}

/// The block of the program for a protocol of a vhost, made of zeros.
///
/// # Safety
/// As the header has it: an entry of the table of the vhost, or null.
pub unsafe fn private_zalloc(vhost: *mut Vhost, protocol: *const Protocols, size: c_int) -> *mut c_void {
    // SAFETY: the caller's.
    unsafe { private(vhost, protocol, usize::try_from(size).unwrap_or(0)) }
}

/// That block, if there is one.
///
/// # Safety
/// As [`private_zalloc`].
pub unsafe fn private_get(vhost: *mut Vhost, protocol: *const Protocols) -> *mut c_void {
    // SAFETY: the caller's.
    unsafe { private(vhost, protocol, 0) }
}

unsafe fn private(vhost: *mut Vhost, protocol: *const Protocols, size: usize) -> *mut c_void {
    let Some(vhost) = find_vhost(vhost) else { return ptr::null_mut() };
    let found = vhost.of_element(protocol.cast()).or_else(|| {
        // SAFETY: the caller's.
        let wanted = unsafe { caller::value(protocol) }?;
        vhost.protocols().into_iter().find(|own| is_same(own, &wanted))
    });
    found.map_or(ptr::null_mut(), |own| vhost.private(own.index.load(Ordering::Acquire), size))
}

/// The address that programs name the compression by. It is not called by anybody.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn pm_deflate() -> c_int {
    0
}

/// The status and reason of the peer's Close frame come with `WS_PEER_INITIATED_CLOSE`, and are not kept.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn close_length(_: *mut Wsi) -> c_int {
    0
}

/// See [`close_length`].
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn close_payload(_: *mut Wsi) -> *mut c_uchar {
    ptr::null_mut()
}
