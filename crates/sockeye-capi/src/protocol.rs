//! The entries of a C program's table of protocols.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::pool::{Owner, Pool};

pub(crate) static PROTOCOLS: Pool<CProtocol> = Pool::new();

/// One protocol of a program: its callback, and how large the block of a session is.
#[derive(Default)]
pub(crate) struct CProtocol {
    /// The program's function; see [`callbacks`](crate::callbacks).
    pub(crate) callback: AtomicPtr<c_void>,
    /// What the program gets if it asks for the protocol of a connection.
    pub(crate) element: AtomicPtr<c_void>,
    /// A copy of the program's entry, for programs that look at their own again.
    copy: [AtomicUsize; 7],
    name: AtomicPtr<c_char>,
    /// Bytes of a session's block.
    pub(crate) session_bytes: AtomicUsize,
    /// The longest piece of a message; 0: the library's.
    pub(crate) piece_bytes: AtomicUsize,
    pub(crate) index: AtomicUsize,
    /// The vhost.
    pub(crate) owner: Owner,
}

/// What an entry is made of.
pub(crate) struct Description {
    pub(crate) callback: *mut c_void,
    pub(crate) element: *mut c_void,
    pub(crate) name: *const c_char,
    pub(crate) session_bytes: usize,
    pub(crate) piece_bytes: usize,
    pub(crate) index: usize,
}

impl CProtocol {
    pub(crate) fn new<V: Sync>(vhost: &'static V, of: &Description) -> &'static Self {
        let protocol = PROTOCOLS.take();
        protocol.callback.store(of.callback, Ordering::Release);
        protocol.element.store(of.element, Ordering::Release);
        protocol.name.store(of.name.cast_mut(), Ordering::Release);
        protocol.session_bytes.store(of.session_bytes, Ordering::Release);
        protocol.piece_bytes.store(of.piece_bytes, Ordering::Release);
        protocol.index.store(of.index, Ordering::Release);
        protocol.owner.set(Some(vhost));
        protocol
    }

    /// Keeps a copy of the program's entry, which programs get from here on.
    pub(crate) fn keep(&self, words: [usize; 7]) {
        for (place, word) in self.copy.iter().zip(words) {
            place.store(word, Ordering::Release);
        }
        self.element.store(ptr::from_ref(&self.copy).cast_mut().cast(), Ordering::Release);
    }

    /// The name, if it has one. The program's text stays good as long as the context.
    pub(crate) fn name(&self) -> Option<&CStr> {
        let name = self.name.load(Ordering::Acquire);
        // SAFETY: the program's text, terminated by NUL, which it keeps as long as the context; the interface asks for that.
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) })
    }

    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name().is_some_and(|own| own.to_bytes() == name.as_bytes())
    }

    pub(crate) fn release(&'static self) {
        self.callback.store(ptr::null_mut(), Ordering::Release);
        self.owner.set::<Self>(None);
        PROTOCOLS.give(self);
    }
}
