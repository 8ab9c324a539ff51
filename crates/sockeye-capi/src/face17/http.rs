//! Answering requests: heads built in the program's buffer, pages, files.

use std::ffi::{c_char, c_int, c_uchar, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::atomic::Ordering;

use sockeye::http::Response;

use crate::answer::with_field;
use crate::caller;
use crate::lock::lock;
use crate::log;
use crate::reason::{Interface, Reason};
use crate::regular;
use crate::texts::kept;
use crate::wsi::{Phase, Wsi};

use super::builders::{Appender, CODE_MASK, page};
use super::calls::write_bytes;
use super::helpers::unsigned;
use super::numbers::write as flag;
use super::{connection, fields_of, tokens};

/// `LWS_ILLEGAL_HTTP_CONTENT_LEN`: the length is not known.
const UNKNOWN_LENGTH: u64 = u64::MAX;

/// Appends to the program's buffer from `*at` to `end`, and moves `*at`: 0, or 1 if it does not fit.
///
/// # Safety
/// There is a buffer from `*at` to `end`.
unsafe fn append(at: *mut *mut c_uchar, end: *mut c_uchar, build: impl FnOnce(&mut Appender<'_>) -> bool) -> c_int {
    // SAFETY: the caller's.
    let Some(start) = (unsafe { caller::value(at) }) else { return 1 };
    let size = end.addr().saturating_sub(start.addr());
    // SAFETY: the caller's.
    let Some(room) = (unsafe { caller::room(start.cast(), size) }) else { return 1 };
    let mut appender = Appender::new(room);
    if !build(&mut appender) {
        return 1;
    }
    let used = appender.used();
    // SAFETY: the caller's.
    unsafe { caller::set(at, start.wrapping_add(used)) };
    0
}

/// What answers of this connection say of the server.
fn server_of(wsi: *mut Wsi) -> Option<Vec<u8>> {
    let vhost = Wsi::find(wsi)?.protocol.get()?.vhost()?;
    lock(&vhost.settings).server.clone()
}

/// `lws_add_http_header_status`.
///
/// # Safety
/// There is a buffer from `*at` to `end`, as for all functions here.
pub unsafe fn add_status(wsi: *mut Wsi, code: c_uint, at: *mut *mut c_uchar, end: *mut c_uchar) -> c_int {
    let server = server_of(wsi);
    // SAFETY: the caller's.
    unsafe { append(at, end, |out| out.status(code, 1, server.as_deref())) }
}

/// `lws_add_http_header_by_token`.
///
/// # Safety
/// As [`add_status`], and there are `length` bytes at `value`.
pub unsafe fn add_by_token(
    _: *mut Wsi,
    token: c_int,
    value: *const c_uchar,
    length: c_int,
    at: *mut *mut c_uchar,
    end: *mut c_uchar,
) -> c_int {
    // SAFETY: the caller's.
    let (Some(name), Some(value)) = (tokens::text(token), unsafe { caller::bytes(value.cast(), unsigned(length)) })
    else {
        return 1;
    };
    // SAFETY: the caller's.
    unsafe { append(at, end, |out| out.field(name.to_bytes(), value)) }
}

/// `lws_add_http_header_by_name`: the name has its colon.
///
/// # Safety
/// As [`add_by_token`], and a text that a NUL ends, or null.
pub unsafe fn add_by_name(
    _: *mut Wsi,
    name: *const c_uchar,
    value: *const c_uchar,
    length: c_int,
    at: *mut *mut c_uchar,
    end: *mut c_uchar,
) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        let name = caller::text(name.cast()).map_or(&b""[..], |name| name.to_bytes());
        let Some(value) = caller::bytes(value.cast(), unsigned(length)) else { return 1 };
        append(at, end, |out| out.field(name, value))
    }
}

/// `lws_add_http_header_content_length`.
///
/// # Safety
/// As [`add_status`].
pub unsafe fn add_content_length(_: *mut Wsi, length: u64, at: *mut *mut c_uchar, end: *mut c_uchar) -> c_int {
    // SAFETY: the caller's.
    unsafe { append(at, end, |out| out.content_length(length)) }
}

/// `lws_add_http_common_headers`.
///
/// # Safety
/// As [`add_status`], and a text that a NUL ends, or null.
pub unsafe fn add_common(
    wsi: *mut Wsi,
    code: c_uint,
    media_type: *const c_char,
    length: u64,
    at: *mut *mut c_uchar,
    end: *mut c_uchar,
) -> c_int {
    let server = server_of(wsi);
    let length = (length != UNKNOWN_LENGTH).then_some(length);
    // SAFETY: the caller's.
    unsafe {
        let media_type = caller::text(media_type).map(|text| text.to_bytes());
        append(at, end, |out| out.common(code, 1, server.as_deref(), media_type, length))
    }
}

/// `lws_finalize_http_header`.
///
/// # Safety
/// As [`add_status`].
pub unsafe fn finalize(_: *mut Wsi, at: *mut *mut c_uchar, end: *mut c_uchar) -> c_int {
    // SAFETY: the caller's.
    unsafe { append(at, end, |out| out.finish()) }
}

/// `lws_finalize_write_http_header`.
///
/// # Safety
/// As [`add_status`], and the head begins at `start`.
pub unsafe fn finalize_write(wsi: *mut Wsi, start: *mut c_uchar, at: *mut *mut c_uchar, end: *mut c_uchar) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        if finalize(wsi, at, end) != 0 {
            return 1;
        }
        let length = caller::value(at).map_or(0, |at| at.addr().saturating_sub(start.addr()));
        (write_bytes(wsi, start, length, flag::HTTP_HEADERS) < 0).into()
    }
}

/// `lws_return_http_status`: answers with a page that says the status.
///
/// # Safety
/// A text that a NUL ends, or null.
pub unsafe fn return_status(wsi: *mut Wsi, code: c_uint, body: *const c_char) -> c_int {
    let Some(wsi) = connection(wsi) else { return -1 };
    // SAFETY: the caller's.
    let body = unsafe { caller::text(body) }.map_or(&b""[..], |body| body.to_bytes());
    let status = u16::try_from(code & CODE_MASK).unwrap_or(500);
    let mut response = Response::bytes("text/html", page(code, body)).with_status(status);
    if let Some(server) = server_of(ptr::from_ref(wsi).cast_mut()).and_then(|server| String::from_utf8(server).ok()) {
        response = with_field(response, "server", &server);
    }
    answer(wsi, response, false)
}

/// Has a whole answer sent, when there is room.
fn answer(wsi: &'static Wsi, response: Response, is_file: bool) -> c_int {
    {
        let mut rest = wsi.rest();
        if rest.reply.whole(response).is_err() {
            log::err!("{}: the request has an answer already", wsi.id());
            return -1;
        }
        rest.reply.is_file = is_file;
    }
    if let Some(context) = wsi.context().filter(|_| wsi.is(Phase::Http)) {
        context.ask_for_room(wsi);
    }
    0
}

/// `lws_serve_http_file`: answers with a file, whose end brings a callback. Without the file: 404, and more than 0.
///
/// # Safety
/// Texts that NULs end, or null, and `length` bytes of header lines.
pub unsafe fn serve_file(
    wsi: *mut Wsi,
    file: *const c_char,
    media_type: *const c_char,
    lines: *const c_char,
    length: c_int,
) -> c_int {
    let Some(wsi) = connection(wsi).filter(|wsi| wsi.is(Phase::Http)) else { return -1 };
    // SAFETY: the caller's.
    let (file, media_type, lines) =
        unsafe { (caller::text(file), caller::utf8(media_type), caller::bytes(lines.cast(), unsigned(length))) };
    let opened = file.and_then(|path| regular::open(std::ffi::OsStr::from_bytes(path.to_bytes()).as_ref()).ok());
    let media_type = kept(media_type.unwrap_or("application/octet-stream"));
    let Some(mut response) = opened.and_then(|(file, _)| Response::file(media_type, file).ok()) else {
        let answered = answer(wsi, Response::error(404), false);
        return if answered < 0 { -1 } else { 1 };
    };
    response = response.with_etag();
    let fields = lines.and_then(fields_of).unwrap_or_default();
    if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("cache-control")) {
        response = with_field(response, "cache-control", "no-store");
    }
    for (name, value) in fields {
        response = with_field(response, &name, &value);
    }
    answer(wsi, response, true)
}

/// `lws_http_transaction_completed`: the answer is complete. 1 if the connection ends with it.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn transaction_completed(wsi: *mut Wsi) -> c_int {
    // An answer that is complete may have left already, and its request with it.
    let Some(wsi) = connection(wsi).filter(|wsi| wsi.is(Phase::Http)) else { return 0 };
    let closes = {
        let mut rest = wsi.rest();
        if !rest.reply.is_ended() {
            let _ = rest.reply.end();
        }
        rest.reply.closes
    };
    if let Some(context) = wsi.context() {
        context.ask_for_room(wsi);
    }
    closes.into()
}

/// `lws_callback_http_dummy`: what programs fall through to.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn dummy(wsi: *mut Wsi, why: c_int, _: *mut c_void, _: *mut c_void, _: usize) -> c_int {
    let is = |reason: Reason| reason.number(Interface::Lws17) == Some(why);
    if is(Reason::Http) {
        // SAFETY: a text that a NUL ends.
        if unsafe { return_status(wsi, 404, c"".as_ptr()) } != 0 {
            return -1;
        }
    } else if !is(Reason::HttpBodyCompletion) && !is(Reason::HttpFileCompletion) {
        return 0;
    }
    // SAFETY: there is nothing to keep.
    let closes = unsafe { transaction_completed(wsi) };
    if closes == 0 { 0 } else { -1 }
}

/// Whether a connection is encrypted.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn is_ssl(wsi: *mut Wsi) -> c_int {
    connection(wsi).is_some_and(|wsi| wsi.is_encrypted.load(Ordering::Relaxed)).into()
}
