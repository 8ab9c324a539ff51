//! Memory of the program: texts, buffers and tables that it passes by pointers.
//!
//! Nothing here can be checked but a null pointer and a length that no memory has: what a pointer means is the contract of the
//! header, and the program's to keep.

use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::ptr;
use std::slice;

/// A text that a NUL ends; `None` for a null pointer.
///
/// # Safety
/// The text stays as it is for `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char) -> Option<&'a CStr> {
    // SAFETY: it is not null, and the caller says the rest.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
}

/// A text as UTF-8; `None` for a null pointer and for other bytes.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn utf8<'a>(pointer: *const c_char) -> Option<&'a str> {
    // SAFETY: the caller's.
    unsafe { text(pointer) }.and_then(|text| text.to_str().ok())
}

/// The path of a file, in whatever bytes; `None` for a null pointer.
///
/// # Safety
/// As [`text`], for this call.
pub(crate) unsafe fn path(pointer: *const c_char) -> Option<PathBuf> {
    // SAFETY: the caller's.
    unsafe { text(pointer) }.map(|text| PathBuf::from(OsStr::from_bytes(text.to_bytes())))
}

/// Bytes to read; `None` for a null pointer with a length, and for a length that no memory has.
///
/// # Safety
/// There are `len` bytes, which stay as they are for `'a`.
pub(crate) unsafe fn bytes<'a>(pointer: *const c_void, len: usize) -> Option<&'a [u8]> {
    if len == 0 {
        return Some(&[]);
    }
    if pointer.is_null() || isize::try_from(len).is_err() || pointer.addr().checked_add(len).is_none() {
        return None;
    }
    // SAFETY: it is not null, no length over `isize::MAX`, and the caller says the rest.
    Some(unsafe { slice::from_raw_parts(pointer.cast(), len) })
}

/// Bytes to fill.
///
/// # Safety
/// There are `len` bytes, which are this call's alone for `'a`.
pub(crate) unsafe fn room<'a>(pointer: *mut c_void, len: usize) -> Option<&'a mut [u8]> {
    if len == 0 {
        return Some(&mut []);
    }
    if pointer.is_null() || isize::try_from(len).is_err() || pointer.addr().checked_add(len).is_none() {
        return None;
    }
    // The program's buffer may never have been written.
    // SAFETY: as in `bytes`, and it is the caller's to write.
    unsafe {
        ptr::write_bytes(pointer.cast::<u8>(), 0, len);
        Some(slice::from_raw_parts_mut(pointer.cast(), len))
    }
}

/// Copies a text to a buffer of the program, cut to its size, with a NUL behind it.
///
/// # Safety
/// As [`room`].
pub(crate) unsafe fn put(pointer: *mut c_char, size: usize, text: &[u8]) {
    // SAFETY: the caller's.
    let Some(room) = (unsafe { room(pointer.cast(), size) }) else { return };
    if let Some(most) = room.len().checked_sub(1) {
        let len = text.len().min(most);
        room[..len].copy_from_slice(&text[..len]);
        room[len] = 0;
    }
}

/// The value behind a pointer; `None` for a null pointer.
///
/// # Safety
/// There is such a value, for this call.
pub(crate) unsafe fn value<T: Copy>(pointer: *const T) -> Option<T> {
    // SAFETY: it is not null, and the caller says the rest; it may be at any address.
    (!pointer.is_null()).then(|| unsafe { pointer.read_unaligned() })
}

/// Sets the value behind a pointer, unless that is null.
///
/// # Safety
/// There is room for such a value.
pub(crate) unsafe fn set<T>(pointer: *mut T, value: T) {
    if !pointer.is_null() {
        // SAFETY: it is not null, and the caller says the rest.
        unsafe { pointer.write_unaligned(value) }
    }
}
