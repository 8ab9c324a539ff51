//! The functions of 4.1.6 that need neither a context nor a connection.

use std::ffi::{CStr, c_char, c_int, c_long, c_ulong, c_void};
use std::net::{IpAddr, SocketAddr};
use std::ptr;
use std::slice;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::caller;
use crate::face17::ring::{Destroy, Ring};
use crate::face17::text::{self, Alphabet};
use crate::face17::{interfaces, tokens, uri};
use crate::heads::unescape;

/// `lws_ring_create`.
///
/// # Safety
/// The contract of the header, as for all functions here.
pub unsafe fn ring_create(element: usize, count: usize, destroy: Option<Destroy>) -> *mut Ring {
    Ring::create(element, count, destroy).map_or(ptr::null_mut(), |ring| ptr::from_ref(ring).cast_mut())
}

/// `lws_ring_destroy`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn ring_destroy(ring: *mut Ring) {
    if let Some(ring) = Ring::find(ring) {
        ring.release();
    }
}

/// `lws_ring_insert`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn ring_insert(ring: *mut Ring, from: *const c_void, count: usize) -> usize {
    if from.is_null() {
        return 0;
    }
    // SAFETY: the program says that there are so many.
    Ring::find(ring).map_or(0, |ring| unsafe { ring.insert(from, count) })
}

/// `lws_ring_consume`. Without a tail it is the oldest that moves, and what it has passed is destroyed.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn ring_consume(ring: *mut Ring, tail: *mut u32, to: *mut c_void, count: usize) -> usize {
    let Some(ring) = Ring::find(ring) else { return 0 };
    // SAFETY: the program's variable, and the room that it says.
    unsafe {
        let from = caller::value(tail).unwrap_or_else(|| ring.offsets().oldest());
        let (count, after) = ring.consume(from, to, count);
        if tail.is_null() {
            ring.forget_until(after);
        } else {
            caller::set(tail, after);
        }
        count
    }
}

/// `lws_ring_get_element`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn ring_element(ring: *mut Ring, tail: *mut u32) -> *const c_void {
    let Some(ring) = Ring::find(ring) else { return ptr::null() };
    // SAFETY: the program's variable.
    let tail = unsafe { caller::value(tail) }.unwrap_or_else(|| ring.offsets().oldest());
    ring.element(tail).map_or(ptr::null(), |element| element.cast_const())
}

/// `lws_ring_get_oldest_tail`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn ring_oldest_tail(ring: *mut Ring) -> u32 {
    Ring::find(ring).map_or(0, |ring| ring.offsets().oldest())
}

/// `lws_ring_update_oldest_tail`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn ring_update_oldest_tail(ring: *mut Ring, tail: u32) {
    if let Some(ring) = Ring::find(ring) {
        ring.forget_until(tail);
    }
}

/// `lws_ring_get_count_waiting_elements`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn ring_waiting(ring: *mut Ring, tail: *mut u32) -> usize {
    let Some(ring) = Ring::find(ring) else { return 0 };
    // SAFETY: the program's variable.
    let tail = unsafe { caller::value(tail) }.unwrap_or_else(|| ring.offsets().oldest());
    ring.offsets().waiting(tail)
}

/// `lws_ring_get_count_free_elements`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn ring_free(ring: *mut Ring) -> usize {
    Ring::find(ring).map_or(0, |ring| ring.offsets().free())
}

/// `lws_strncpy`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn strncpy(to: *mut c_char, from: *const c_char, size: usize) -> *mut c_char {
    if !to.is_null() && !from.is_null() && size > 0 {
        // SAFETY: both are the program's; the text may be longer than what is read of it, and need no NUL behind that.
        unsafe {
            let length = (0..size - 1).position(|at| *from.add(at) == 0).unwrap_or(size - 1);
            ptr::copy(from, to, length);
            *to.add(length) = 0;
        }
    }
    to
}

/// `lws_b64_encode_string`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn b64_encode(from: *const c_char, length: c_int, to: *mut c_char, size: c_int) -> c_int {
    // SAFETY: the program's.
    unsafe { encode(from, length, to, size, Alphabet::Standard) }
}

/// `lws_b64_encode_string_url`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn b64_encode_url(from: *const c_char, length: c_int, to: *mut c_char, size: c_int) -> c_int {
    // SAFETY: the program's.
    unsafe { encode(from, length, to, size, Alphabet::Url) }
}

unsafe fn encode(from: *const c_char, length: c_int, to: *mut c_char, size: c_int, alphabet: Alphabet) -> c_int {
    // SAFETY: the program's, of the lengths that it says.
    let (Some(bytes), Some(room)) =
        (unsafe { (caller::bytes(from.cast(), unsigned(length)), caller::room(to.cast(), unsigned(size))) })
    else {
        return -1;
    };
    text::encode_base64(bytes, room, alphabet).map_or(-1, signed)
}

/// `lws_b64_decode_string`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn b64_decode(from: *const c_char, to: *mut c_char, size: c_int) -> c_int {
    // SAFETY: the program's.
    let (Some(text), Some(room)) = (unsafe { (caller::text(from), caller::room(to.cast(), unsigned(size))) }) else {
        return -1;
    };
    signed(text::decode_base64(text.to_bytes(), room))
}

/// `lws_b64_decode_string_len`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn b64_decode_len(from: *const c_char, length: c_int, to: *mut c_char, size: c_int) -> c_int {
    // SAFETY: the program's, of the lengths that it says.
    let (Some(text), Some(room)) =
        (unsafe { (caller::bytes(from.cast(), unsigned(length)), caller::room(to.cast(), unsigned(size))) })
    else {
        return -1;
    };
    signed(text::decode_base64(text, room))
}

/// `lws_urlencode`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn urlencode(to: *mut c_char, from: *const c_char, size: c_int) -> *const c_char {
    // SAFETY: the program's.
    unsafe {
        let escaped = caller::text(from).map_or_else(Vec::new, |from| text::escape(from.to_bytes()));
        caller::put(to, unsigned(size), &escaped);
    }
    to
}

/// `lws_urldecode`: in place or not.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn urldecode(to: *mut c_char, from: *const c_char, size: c_int) -> c_int {
    // SAFETY: the program's. What is written is a copy, so both may be the same.
    unsafe {
        let plain = caller::text(from).map_or_else(Vec::new, |from| unescape(from.to_bytes(), true));
        caller::put(to, unsigned(size), &plain);
    }
    0
}

/// `lws_parse_uri`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn parse_uri(
    address: *mut c_char,
    scheme: *mut *const c_char,
    host: *mut *const c_char,
    port: *mut c_int,
    path: *mut *const c_char,
) -> c_int {
    // SAFETY: the program's text, to be cut where it lies, and its variables.
    unsafe {
        let Some(length) = caller::text(address).map(CStr::count_bytes) else { return 1 };
        let parts = uri::cut(slice::from_raw_parts_mut(address.cast(), length));
        let at = |at: usize| address.add(at).cast_const();
        caller::set(scheme, if parts.scheme.is_empty() { c"".as_ptr() } else { at(parts.scheme.start) });
        caller::set(host, if parts.address.is_empty() { c"".as_ptr() } else { at(parts.address.start) });
        if let Some(number) = parts.port {
            caller::set(port, number);
        }
        caller::set(path, parts.path.map_or(c"/".as_ptr(), at));
    }
    0
}

/// `lws_interface_to_sa`: 0, -1 for an unknown interface, 1 for one without such an address.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn interface_to_sa(ipv6: c_int, name: *const c_char, to: *mut c_void, size: usize) -> c_int {
    // SAFETY: the program's.
    let Some(name) = (unsafe { caller::utf8(name) }) else { return -1 };
    match interfaces::address(name, ipv6 != 0) {
        Err(interfaces::Missing::Interface) => -1,
        Err(interfaces::Missing::Family) => 1,
        Ok(address) => {
            let address = match address {
                IpAddr::V4(own) if ipv6 != 0 => IpAddr::V6(own.to_ipv6_mapped()),
                own => own,
            };
            let storage = rustix::net::SocketAddrAny::from(SocketAddr::new(address, 0));
            let length = size.min(storage.addr_len() as usize);
            if !to.is_null() {
                // SAFETY: the program has `size` bytes there, and so many are copied at most.
                unsafe { ptr::copy_nonoverlapping(storage.as_ptr().cast::<u8>(), to.cast(), length) };
            }
            0
        }
    }
}

/// `lws_token_to_string`.
#[must_use]
pub fn token_to_string(token: c_int) -> *const u8 {
    tokens::text(token).map_or(ptr::null(), |text| text.as_ptr().cast())
}

/// `lws_get_library_version`: the version whose interface it is.
#[must_use]
pub fn version() -> *const c_char {
    c"4.1.6-sockeye".as_ptr()
}

/// `lws_now_secs`: since 1970.
#[must_use]
pub fn now_secs() -> c_ulong {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `lws_now_usecs`: of a clock that does not go back.
#[must_use]
pub fn now_usecs() -> i64 {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Not 0, which programs take for "never".
    i64::try_from(BEGIN.elapsed().as_micros()).unwrap_or(i64::MAX).saturating_add(1_000_000)
}

/// `lws_timingsafe_bcmp`: 0 if both are equal, in a time that does not say where they differ.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn timingsafe_bcmp(one: *const c_void, other: *const c_void, length: u32) -> c_int {
    // SAFETY: the program's, of that length.
    let (Some(one), Some(other)) =
        (unsafe { (caller::bytes(one, length as usize), caller::bytes(other, length as usize)) })
    else {
        return 1;
    };
    let differences = one.iter().zip(other).fold(0, |sum, (one, other)| std::hint::black_box(sum | (one ^ other)));
    c_int::from(differences != 0)
}

/// `lws_explicit_bzero`.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn explicit_bzero(to: *mut c_void, length: usize) {
    // SAFETY: the program's, of that length.
    std::hint::black_box(unsafe { caller::room(to, length) });
}

/// `lws_nstrstr`: where a text is in another, without regard to NULs.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn nstrstr(text: *const c_char, length: usize, name: *const c_char, name_length: usize) -> *const c_char {
    // SAFETY: the program's, of those lengths.
    let (Some(bytes), Some(wanted)) =
        (unsafe { (caller::bytes(text.cast(), length), caller::bytes(name.cast(), name_length)) })
    else {
        return ptr::null();
    };
    if wanted.is_empty() {
        return text;
    }
    let found = bytes.windows(wanted.len()).position(|window| window == wanted);
    found.map_or(ptr::null(), |at| text.wrapping_add(at))
}

/// `lws_hex_to_byte_array`: the number of bytes, or -1 if the text is not hexadecimal.
///
/// # Safety
/// See [`ring_create`].
pub unsafe fn hex_to_bytes(from: *const c_char, to: *mut u8, size: c_int) -> c_int {
    // SAFETY: the program's.
    let (Some(text), Some(room)) = (unsafe { (caller::text(from), caller::room(to.cast(), unsigned(size))) }) else {
        return -1;
    };
    let pairs = text.to_bytes().chunks(2);
    if pairs.len() > room.len() {
        return -1;
    }
    let mut count = 0;
    for (pair, byte) in pairs.zip(room) {
        let digits = std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some(value) = digits.filter(|pair| pair.len() == 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())
        else {
            return -1;
        };
        *byte = value;
        count += 1;
    }
    count
}

pub(crate) fn unsigned(length: c_int) -> usize {
    usize::try_from(length).unwrap_or(0)
}

pub(crate) fn signed(length: usize) -> c_int {
    c_int::try_from(length).unwrap_or(c_int::MAX)
}

/// A `long` that is a `long` here.
const _: () = assert!(size_of::<c_long>() == 8);
