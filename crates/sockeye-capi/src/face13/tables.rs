//! The structures of the interface of 2013, as the program has them.

use std::ffi::{c_char, c_int, c_void};
use std::mem::offset_of;
use std::ptr;

use crate::caller;
use crate::context::Context;
use crate::protocol::{CProtocol, Description};
use crate::vhost::Vhost;

/// The longest table of protocols: one without an end is not read on and on.
const PROTOCOLS: usize = 1024;

/// An entry of the table of protocols. The last three are written by the library.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Protocols {
    name: *const c_char,
    callback: *mut c_void,
    per_session_data_size: usize,
    owning_server: *mut Context,
    broadcast_socket_port: c_int,
    broadcast_socket_user_fd: c_int,
    protocol_index: c_int,
}

const _: () = assert!(size_of::<Protocols>() == 48 && offset_of!(Protocols, owning_server) == 24);
const _: () =
    assert!(offset_of!(Protocols, broadcast_socket_port) == 32 && offset_of!(Protocols, protocol_index) == 40);

/// A header field of a handshake: its text, which a NUL ends, and its length.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Token {
    token: *mut c_char,
    token_len: c_int,
}

const _: () = assert!(size_of::<Token>() == 16 && offset_of!(Token, token_len) == 8);

impl Token {
    pub(super) const ABSENT: Self = Self { token: ptr::null_mut(), token_len: 0 };

    /// The text without its NUL.
    pub(super) fn of(text: &mut Vec<u8>) -> Self {
        let len = c_int::try_from(text.len()).unwrap_or(c_int::MAX);
        text.push(0);
        Self { token: text.as_mut_ptr().cast(), token_len: len }
    }
}

/// An extension, of which programs have the address only.
#[repr(C)]
#[derive(Debug)]
pub struct Extension([usize; 4]);

impl Extension {
    /// The end of a table: no name, no callback.
    pub const END: Self = Self([0; 4]);
}

/// Reads the table up to the entry without a callback, and writes the fields that are the library's. `None`: a null pointer, an empty
/// table, or one without an end.
///
/// # Safety
/// It is a table of the header, which is the library's for this call.
pub(super) unsafe fn read(context: &'static Context, vhost: &'static Vhost, table: *mut Protocols) -> Option<usize> {
    let mut count = 0;
    loop {
        let at = table.wrapping_add(count);
        // SAFETY: the entries before it have callbacks, so there is another.
        let entry = unsafe { caller::value(at) }?;
        if entry.callback.is_null() {
            return (count > 0).then_some(count);
        }
        if count == PROTOCOLS {
            return None;
        }
        let owner = ptr::from_ref(context).cast_mut();
        let index = c_int::try_from(count).unwrap_or(c_int::MAX);
        // SAFETY: the same entry; the interface has the library write to it.
        unsafe {
            (&raw mut (*at).owning_server).write_unaligned(owner);
            (&raw mut (*at).protocol_index).write_unaligned(index);
        }
        vhost.add(CProtocol::new(
            vhost,
            &Description {
                callback: entry.callback,
                element: at.cast(),
                name: entry.name,
                session_bytes: entry.per_session_data_size,
                piece_bytes: 0,
                index: count,
            },
        ));
        count += 1;
    }
}

/// The context that an entry of a table belongs to.
///
/// # Safety
/// It is an entry of a table that a context was made with, or null.
pub(super) unsafe fn owner(entry: *const Protocols) -> Option<&'static Context> {
    // SAFETY: the caller's.
    Context::find(unsafe { caller::value(entry) }?.owning_server)
}
