//! Turns of a context of 4.1.6, and the callbacks between them: beginnings, cancelled waits, timers.

use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sockeye::poll::Ready;

use crate::callbacks::{With, call, call_timer};
use crate::caller;
use crate::context::Context;
use crate::lock::lock;
use crate::log;
use crate::process::uncancelled;
use crate::reason::Reason;
use crate::turn::{Turn, Work};
use crate::vhost::Vhost;
use crate::wsi::Wsi;

use super::helpers::now_usecs;
use super::types::{Dll2, Sul, SulCallback};

/// Tells the protocols of a context that it has begun, once: before its first turn, or before a connection of the program's.
#[inline]
pub(super) fn begin(context: &'static Context) {
    if !context.has_begun.load(Ordering::Acquire) {
        begin_now(context);
    }
}

#[cold]
fn begin_now(context: &'static Context) {
    // Under the lock, so that another thread that finds it begun does nothing before the protocols know.
    context.between(|| {
        if !context.has_begun.swap(true, Ordering::AcqRel) {
            context.tell_protocols(Reason::ProtocolInit);
        }
    });
}

/// Tells the protocols of a vhost that was made later.
pub(super) fn begin_vhost(context: &'static Context, vhost: &'static Vhost) {
    if context.has_begun.load(Ordering::Acquire) {
        context.between(|| {
            for (index, protocol) in vhost.protocols().into_iter().enumerate() {
                if let Some(placeholder) = vhost.placeholder_of(index) {
                    call(protocol, placeholder, Reason::ProtocolInit, With::NOTHING);
                }
            }
        });
    }
}

/// Begins a turn that waits; see `shim/wait.c`. It waits for the loop and for the bell, until the next deadline.
///
/// # Safety
/// `fds` has room for two, and `count` for one.
pub unsafe fn wait_begin(context: *mut Context, timeout: c_int, fds: *mut libc::pollfd, count: *mut c_int) -> c_int {
    let Some(found) = Context::find(context) else {
        log::err!("this is not a context, or it has ended: it cannot be served");
        return refuse(count, -1);
    };
    begin(found);
    let Ok(wait) = found.begin_wait() else { return refuse(count, -1) };
    let due = lock(&found.schedule).next().map(|due| Duration::from_micros(unsigned(due.saturating_sub(now_usecs()))));
    let asked = u64::try_from(timeout).ok().map(Duration::from_millis);
    let wait_for = [wait.timeout, due, asked].into_iter().flatten().min();
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let bell = found.bell().map_or(-1, |bell| bell.as_raw_fd());
    // SAFETY: the caller's.
    unsafe {
        caller::set(fds, entry(wait.descriptor));
        caller::set(fds.wrapping_add(1), entry(bell));
        caller::set(count, 2);
    }
    // Rounded up, so that what is due is due then.
    wait_for.map_or(-1, |wait| {
        let millis = wait.as_secs().saturating_mul(1000).saturating_add(wait.subsec_micros().div_ceil(1000).into());
        c_int::try_from(millis).unwrap_or(c_int::MAX)
    })
}

/// Has the shim return `result` without waiting.
fn refuse(count: *mut c_int, result: c_int) -> c_int {
    // SAFETY: the shim's own variable.
    unsafe { caller::set(count, result) };
    c_int::MIN
}

/// Does the turn, and calls back between turns. A signal only ends the wait.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn wait_end(context: *mut Context, polled: c_int) -> c_int {
    let Some(context) = Context::find(context) else { return -1 };
    context.end_wait();
    if polled < 0 && polled != -libc::EINTR {
        log::err!("waiting has failed: {}", std::io::Error::from_raw_os_error(-polled));
        return -1;
    }
    turn(context, Work::Any)
}

fn turn(context: &'static Context, work: Work) -> c_int {
    let result = match context.turn(work) {
        Turn::Done => 0,
        Turn::Nested | Turn::Failed => -1,
        Turn::Ended => return -1,
    };
    if fire(context) && tell_cancelled(context) { result } else { -1 }
}

/// Serves the descriptor of a loop of the program's: all that is ready, as the library watches its own.
///
/// # Safety
/// As the header has it: an entry of poll(2), or null.
pub unsafe fn service_fd(context: *mut Context, entry: *mut libc::pollfd) -> c_int {
    // SAFETY: the caller's.
    let (Some(context), Some(mut seen)) = (Context::find(context), unsafe { caller::value(entry) }) else { return -1 };
    begin(context);
    let _ = Ready::from_revents(seen.revents);
    seen.revents = 0;
    // SAFETY: the caller's.
    unsafe { caller::set(entry, seen) };
    turn(context, Work::Any)
}

/// Wakes a wait, and has all protocols told of that. From any thread, and from a signal handler.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn cancel(context: *mut Context) {
    if let Some(context) = Context::find(context) {
        context.is_cancelled.store(true, Ordering::Release);
        context.ring();
    }
}

/// The same, by a connection.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn cancel_of(wsi: *mut Wsi) {
    if let Some(context) = Wsi::find(wsi).and_then(|wsi| wsi.context()) {
        // SAFETY: there is nothing to keep.
        unsafe { cancel(ptr::from_ref(context).cast_mut()) };
    }
}

fn tell_cancelled(context: &'static Context) -> bool {
    // The bell first: the next ring is heard again.
    context.quiet();
    if !context.is_cancelled.swap(false, Ordering::AcqRel) {
        return true;
    }
    context.between(|| context.tell_protocols(Reason::EventWaitCancelled))
}

/// Calls the timers that are due. Returns whether the context is still there.
fn fire(context: &'static Context) -> bool {
    let mark = {
        let schedule = lock(&context.schedule);
        if schedule.is_empty() {
            return true;
        }
        schedule.mark()
    };
    loop {
        let due = lock(&context.schedule).fire(now_usecs(), mark);
        let Some(node) = due else { return true };
        let node = ptr::with_exposed_provenance_mut::<Sul>(node);
        // SAFETY: it is scheduled, so the program keeps it, and it has a callback.
        let callback = unsafe {
            set_owner(node, ptr::null_mut());
            caller::value(node).and_then(|sul| sul.cb)
        };
        let Some(callback) = callback else { continue };
        if !context.between(|| call_timer(callback, node)) {
            return false;
        }
    }
}

/// # Safety
/// There is a node.
unsafe fn set_owner(node: *mut Sul, owner: *mut Context) {
    let list = Dll2 { prev: ptr::null_mut(), next: ptr::null_mut(), owner: owner.cast() };
    // SAFETY: the caller's.
    unsafe { caller::set((&raw mut (*node).list).cast(), list) };
}

/// Has `callback` called once after so many microseconds; less than 0: not at all any more.
///
/// # Safety
/// As the header has it: a node that the program keeps while it is scheduled.
pub unsafe fn sul_schedule(context: *mut Context, _: c_int, node: *mut Sul, callback: Option<SulCallback>, after: i64) {
    if node.is_null() {
        return;
    }
    let Some(found) = Context::find(context) else {
        log::err!("a timer without a context, or after its end");
        return;
    };
    let address = node.expose_provenance();
    if after < 0 {
        lock(&found.schedule).cancel(address);
        // SAFETY: the caller's.
        return unsafe { set_owner(node, ptr::null_mut()) };
    }
    let due = now_usecs().saturating_add(after);
    // SAFETY: the caller's.
    unsafe {
        set_owner(node, context);
        caller::set(&raw mut (*node).us, due);
        caller::set(&raw mut (*node).cb, callback);
    }
    lock(&found.schedule).schedule(address, due);
    if found.is_waiting.load(Ordering::Acquire) {
        found.ring();
    }
}

/// Takes a timer out.
///
/// # Safety
/// As [`sul_schedule`].
pub unsafe fn sul_cancel(node: *mut Sul) {
    // SAFETY: the caller's.
    unsafe { remove(node.cast()) };
}

/// `lws_dll2_remove`: takes a link out of its list, or a timer out of the schedule whose owner is a context.
///
/// # Safety
/// As the header has it: a link in a list, or in none.
pub unsafe fn remove(link: *mut Dll2) {
    // SAFETY: the caller's.
    let Some(own) = (unsafe { caller::value(link) }) else { return };
    if own.owner.is_null() {
        return;
    }
    if let Some(context) = Context::find(own.owner.cast()) {
        lock(&context.schedule).cancel(link.expose_provenance());
    } else {
        // SAFETY: it is in a list, so its neighbours and its owner are there.
        unsafe {
            match own.prev.is_null() {
                true => (*own.owner).head = own.next,
                false => (*own.prev).next = own.next,
            }
            match own.next.is_null() {
                true => (*own.owner).tail = own.prev,
                false => (*own.next).prev = own.prev,
            }
            (*own.owner).count = (*own.owner).count.saturating_sub(1);
        }
    }
    // SAFETY: the caller's.
    unsafe { caller::set(link, Dll2 { prev: ptr::null_mut(), next: ptr::null_mut(), owner: ptr::null_mut() }) };
}

fn unsigned(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0)
}

/// The user pointer of a context.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn context_user(context: *mut Context) -> *mut c_void {
    Context::find(context).map_or(ptr::null_mut(), |context| context.user.load(Ordering::Acquire))
}

/// Ends a context. Inside a callback, or while another thread is in it, it ends when that is over.
///
/// # Safety
/// There is nothing to keep.
pub unsafe fn context_destroy(context: *mut Context) {
    if let Some(context) = Context::find(context) {
        // Nodes are the program's, and not looked at any more.
        while let Some(node) = { lock(&context.schedule).take() } {
            // SAFETY: it is scheduled, so the program keeps it.
            unsafe { set_owner(ptr::with_exposed_provenance_mut(node), ptr::null_mut()) };
        }
        uncancelled(|| context.end());
        context.ring();
    } else if !context.is_null() {
        log::err!("this is not a context, or it has ended: nothing is done with it");
    }
}
