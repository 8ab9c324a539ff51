//! Calling the functions of a C program.

use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::Ordering;

use crate::context::Context;
use crate::protocol::CProtocol;
use crate::reason::{Interface, Reason};
use crate::wsi::{WSIS, Wsi};

/// A callback of January 2013.
type Callback13 = unsafe extern "C" fn(*mut Context, *mut Wsi, c_int, *mut c_void, *mut c_void, usize) -> c_int;

/// A callback of version 4.1.6.
type Callback17 = unsafe extern "C" fn(*mut Wsi, c_int, *mut c_void, *mut c_void, usize) -> c_int;

/// What comes with a reason.
#[derive(Clone, Copy)]
pub(crate) struct With {
    pub(crate) user: *mut c_void,
    pub(crate) input: *mut c_void,
    pub(crate) len: usize,
}

impl With {
    pub(crate) const NOTHING: Self = Self { user: ptr::null_mut(), input: ptr::null_mut(), len: 0 };

    /// The connection's block, or what the program gave in its place.
    pub(crate) fn user_of(wsi: &Wsi) -> Self {
        Self { user: wsi.user.load(Ordering::Acquire), ..Self::NOTHING }
    }

    /// With a text that says why, which programs print.
    pub(crate) fn dropped(wsi: &Wsi) -> Self {
        Self::user_of(wsi).input(c"closed".as_ptr().cast_mut().cast(), 0)
    }

    pub(crate) fn number(number: i32) -> Self {
        Self { user: ptr::without_provenance_mut(usize::try_from(number).unwrap_or(usize::MAX)), ..Self::NOTHING }
    }

    pub(crate) fn input(self, input: *mut c_void, len: usize) -> Self {
        Self { input, len, ..self }
    }
}

/// Calls the callback of `protocol`. Returns what that returns; 0 if the interface does not know the reason.
pub(crate) fn call(protocol: &CProtocol, wsi: &'static Wsi, reason: Reason, with: With) -> c_int {
    call_of(wsi.context(), protocol, Some(wsi), reason, with)
}

/// As [`call`], also for no connection.
pub(crate) fn call_of(
    context: Option<&'static Context>,
    protocol: &CProtocol,
    wsi: Option<&'static Wsi>,
    reason: Reason,
    with: With,
) -> c_int {
    let callback = protocol.callback.load(Ordering::Acquire);
    let Some((context, interface)) = context.and_then(|context| Some((context, context.interface()?))) else {
        return 0;
    };
    let Some(number) = reason.number(interface) else { return 0 };
    if callback.is_null() {
        return 0;
    }
    let wsi = wsi.map_or(ptr::null_mut(), |wsi| {
        WSIS.remember(wsi);
        ptr::from_ref(wsi).cast_mut()
    });
    let With { user, input, len } = with;
    match interface {
        Interface::Lws13 => {
            let context = ptr::from_ref(context).cast_mut();
            // SAFETY: the program gave this pointer as a callback of this interface, in a table whose pointers stay good as long
            // as the context. It gets pointers to what lives as long as the call, at least; records are never freed.
            unsafe { mem::transmute::<*mut c_void, Callback13>(callback)(context, wsi, number, user, input, len) }
        }
        // SAFETY: as above.
        Interface::Lws17 => unsafe {
            mem::transmute::<*mut c_void, Callback17>(callback)(wsi, number, user, input, len)
        },
    }
}

/// Calls a timer of the program.
pub(crate) fn call_timer<N>(function: unsafe extern "C" fn(*mut N), node: *mut N) {
    // SAFETY: the program gave this function for this node, which it keeps while it is scheduled.
    unsafe { function(node) }
}
