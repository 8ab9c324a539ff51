//! What the library does to the whole process, as the C interface has it.

use std::ffi::{CStr, c_char, c_int};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::log;

/// Runs what the thread may not be cancelled in. That unwinds the stack by force, and the process aborts at the first frame that catches
/// a panic; a write to a descriptor of the service is such a place, as are an open and a close.
pub(crate) fn uncancelled<R>(work: impl FnOnce() -> R) -> R {
    struct Restored(c_int);
    impl Drop for Restored {
        fn drop(&mut self) {
            // SAFETY: a number that the call has given, and no place for that before.
            unsafe { pthread_setcancelstate(self.0, ptr::null_mut()) };
        }
    }

    let mut before = 0;
    // SAFETY: the place is there for the call.
    unsafe { pthread_setcancelstate(CANCEL_DISABLE, &raw mut before) };
    let _restored = Restored(before);
    work()
}

// libc has no names for them on Linux.
unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}
/// `PTHREAD_CANCEL_DISABLE`, of glibc and musl.
const CANCEL_DISABLE: c_int = 1;

/// Has a write to a peer that is gone fail, instead of ending the program; the program's own sockets rely on it. A handler of the
/// program's stays.
pub(crate) fn ignore_sigpipe() {
    // SAFETY: the structure is one of numbers and a pointer, for which zero is a value; the calls have no other memory.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        if libc::sigaction(libc::SIGPIPE, ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_DFL {
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        }
    }
}

/// Closes a descriptor of the program's, because the program asks for it.
pub(crate) fn close(fd: RawFd) {
    if fd >= 0 {
        log::notice!("no connection of the context has descriptor {fd}, which is closed");
        // SAFETY: the program gives it up by this call.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

/// The name of an address, by reverse look-up, which blocks.
pub(crate) fn name_of(address: IpAddr) -> Option<String> {
    let mut name: [c_char; 256] = [0; 256];
    let storage = rustix::net::SocketAddrAny::from(SocketAddr::new(address, 0));
    let len = libc::socklen_t::try_from(name.len()).ok()?;
    // SAFETY: the address has the length that goes with it, and the buffer the one that is said.
    let result = unsafe {
        libc::getnameinfo(
            storage.as_ptr().cast(),
            storage.addr_len(),
            name.as_mut_ptr(),
            len,
            ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    let bytes = name.map(|byte| byte.to_ne_bytes()[0]);
    let found = CStr::from_bytes_until_nul(&bytes).ok()?;
    (result == 0).then(|| found.to_string_lossy().into_owned())
}
