//! Who may touch the service now.
//!
//! While a callback of the program runs, the loop is borrowed by it, and the program's calls act on what the callback was lent:
//! this file keeps a pointer to that, for the time of the callback. Between turns a call takes the lock of the context. A call
//! from another thread does neither; it is posted.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use sockeye::{Commands, Cx, Tx};

use crate::wsi::Wsi;

/// A number that no other thread has while this one lives.
#[inline]
pub(crate) fn this_thread() -> usize {
    // SAFETY: it has no conditions. A thread-local of a shared library costs more.
    unsafe { libc::pthread_self() }.try_into().unwrap_or(usize::MAX)
}

/// What the callback that runs was lent.
#[derive(Default)]
pub(crate) struct Door {
    /// The thread that is in the service; 0: none.
    holder: AtomicUsize,
    commands: AtomicPtr<Commands>,
    /// In place of `commands`, in the callbacks of `cx_of` in which it may answer.
    cx: AtomicPtr<Cx<'static>>,
    cx_of: AtomicPtr<Wsi>,
    /// The permission to send of `port_of`, if its writeable callback runs: an `Option<Tx>`.
    port: AtomicPtr<Option<Tx<'static>>>,
    port_of: AtomicPtr<Wsi>,
    /// A writeable callback of the program runs.
    is_in_writeable: AtomicBool,
    /// The thread that is in a callback which the program's own call made, and not in the service; 0: none.
    caller: AtomicUsize,
}

impl Door {
    /// Whether this thread is in the service.
    #[inline]
    pub(crate) fn is_inside(&self) -> bool {
        self.holder.load(Ordering::Relaxed) == this_thread()
    }

    /// This thread is in the service, until the value is dropped. It has the lock of the context.
    pub(crate) fn enter(&self) -> Inside<'_> {
        self.holder.store(this_thread(), Ordering::Release);
        Inside(self)
    }

    /// Whether a callback runs on this thread, or may.
    pub(crate) fn is_in_callback(&self) -> bool {
        self.is_inside() || self.caller.load(Ordering::Relaxed) == this_thread()
    }

    /// Calls a callback from a call of the program, outside of the service.
    pub(crate) fn outside<R>(&self, callback: impl FnOnce() -> R) -> R {
        let before = self.caller.swap(this_thread(), Ordering::Relaxed);
        let result = callback();
        self.caller.store(before, Ordering::Relaxed);
        result
    }

    pub(crate) fn is_in_writeable(&self) -> bool {
        self.is_in_writeable.load(Ordering::Relaxed)
    }

    /// Calls `callback`, in which the program's calls act on `commands`.
    #[inline]
    pub(crate) fn lend<R>(&self, commands: &mut Commands, callback: impl FnOnce() -> R) -> R {
        let _lent = Lent::new(&self.commands, commands);
        callback()
    }

    /// Calls a callback of `wsi`, in which the program's calls act on `cx`, which can answer.
    #[inline]
    pub(crate) fn lend_cx<R>(&self, wsi: &Wsi, cx: &mut Cx<'_>, callback: impl FnOnce() -> R) -> R {
        let _lent = Lent::new(&self.cx, ptr::from_mut(cx).cast::<Cx<'static>>());
        let _of = Lent::new(&self.cx_of, ptr::from_ref(wsi).cast_mut());
        callback()
    }

    /// Calls the writeable callback of `wsi`, in which it sends through `tx`. Returns what is left of it.
    #[inline]
    pub(crate) fn lend_port<'t, R>(
        &self,
        wsi: &Wsi,
        commands: &mut Commands,
        tx: Option<Tx<'t>>,
        callback: impl FnOnce() -> R,
    ) -> (Option<Tx<'t>>, R) {
        let mut tx = tx;
        let result = {
            let _lent = Lent::new(&self.port, ptr::from_mut(&mut tx).cast::<Option<Tx<'static>>>());
            let _of = Lent::new(&self.port_of, ptr::from_ref(wsi).cast_mut());
            self.is_in_writeable.store(true, Ordering::Relaxed);
            let result = self.lend(commands, callback);
            self.is_in_writeable.store(false, Ordering::Relaxed);
            result
        };
        (tx, result)
    }

    /// What a callback was lent, if one runs on this thread. It is away meanwhile, so nothing has it twice.
    #[inline]
    pub(crate) fn with_commands<R>(&self, act: impl FnOnce(&mut Commands) -> R) -> Option<R> {
        if !self.is_inside() {
            return None;
        }
        let pointer = self.commands.load(Ordering::Relaxed);
        if pointer.is_null() {
            return self.with_any_cx(|cx| act(cx));
        }
        let _away = Lent::new(&self.commands, ptr::null_mut());
        // SAFETY: `lend` stored it of a reference that it has as long as the callback runs, and clears it after; this thread is the
        // one that is in there. It was taken out of its place, so this is the only reference made of it.
        Some(act(unsafe { &mut *pointer }))
    }

    /// What the callback that runs on this thread was lent, if it is one in which this connection may answer.
    #[inline(always)]
    pub(crate) fn with_cx<R>(&self, wsi: &Wsi, act: impl FnOnce(&mut Cx<'_>) -> R) -> Option<R> {
        if !self.is_inside() || !ptr::eq(self.cx_of.load(Ordering::Relaxed), wsi) {
            return None;
        }
        self.with_any_cx(act)
    }

    /// As [`with_cx`](Self::with_cx), of whichever connection. This thread is inside.
    #[inline(always)]
    fn with_any_cx<R>(&self, act: impl FnOnce(&mut Cx<'_>) -> R) -> Option<R> {
        let pointer = self.cx.load(Ordering::Relaxed);
        if pointer.is_null() {
            return None;
        }
        let _away = Lent::new(&self.cx, ptr::null_mut());
        // SAFETY: as in `with_commands`. The lifetime is longer than that of what was stored, and `act` cannot tell: it is for any
        // lifetime.
        Some(act(unsafe { &mut *pointer }))
    }

    /// The permission to send, if the writeable callback of this connection runs on this thread.
    #[inline]
    pub(crate) fn with_port<R>(&self, wsi: &Wsi, act: impl FnOnce(&mut Option<Tx<'_>>) -> R) -> Option<R> {
        if !self.is_inside() || !ptr::eq(self.port_of.load(Ordering::Relaxed), wsi) {
            return None;
        }
        let pointer = self.port.load(Ordering::Relaxed);
        if pointer.is_null() {
            return None;
        }
        let _away = Lent::new(&self.port, ptr::null_mut());
        // SAFETY: as in `with_commands`. The lifetime is longer than that of what was stored, and `act` cannot tell: it is for any
        // lifetime.
        Some(act(unsafe { &mut *pointer }))
    }
}

/// A thread is in the service.
pub(crate) struct Inside<'d>(&'d Door);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.holder.store(0, Ordering::Release);
    }
}

/// A pointer is in its place, and goes when this is dropped.
struct Lent<'p, T> {
    place: &'p AtomicPtr<T>,
    before: *mut T,
}

impl<'p, T> Lent<'p, T> {
    #[inline]
    fn new(place: &'p AtomicPtr<T>, pointer: *mut T) -> Self {
        // One thread at a time is inside: no exchange is needed.
        let before = place.load(Ordering::Relaxed);
        place.store(pointer, Ordering::Relaxed);
        Self { place, before }
    }
}

impl<T> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        self.place.store(self.before, Ordering::Relaxed);
    }
}
