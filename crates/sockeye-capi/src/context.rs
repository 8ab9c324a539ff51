//! What a program's pointer to a context points to: a service, and what belongs to it.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use sockeye::http::ResponderTarget;
use sockeye::service::ListenerHandle;
use sockeye::{Commands, ConnId, Remote, Service};

use crate::door::Door;
use crate::lock::lock;
use crate::poll::Poll;
use crate::pool::Pool;
use crate::process::uncancelled;
use crate::reason::Interface;
use crate::timers::Schedule;
use crate::vhost::Vhost;
use crate::wsi::{Due, Phase, Silence, Wsi};

pub(crate) static CONTEXTS: Pool<Context> = Pool::new();

/// How many contexts there are.
static LIVING: AtomicU32 = AtomicU32::new(0);

/// How many contexts the process has.
#[must_use]
pub fn contexts() -> u32 {
    LIVING.load(Ordering::Acquire)
}

/// A service that C programs know by a pointer. What is behind the lock `inner` belongs to the thread that is in the service.
#[derive(Default)]
pub struct Context {
    /// The number of the [`Interface`]; 0: the record is not in use.
    interface: AtomicU8,
    pub(crate) door: Door,
    pub(crate) user: AtomicPtr<c_void>,
    /// The process that made it. A child has the same descriptors, and must not use them.
    process: AtomicU32,
    inner: Mutex<Option<Movable>>,
    pub(crate) remote: Mutex<Option<Remote>>,
    /// All connections, by their ids.
    pub(crate) wsis: Mutex<HashMap<u64, &'static Wsi>>,
    pub(crate) vhosts: Mutex<Vec<&'static Vhost>>,
    pub(crate) listeners: Mutex<Vec<(ListenerHandle, &'static Vhost)>>,
    /// Connections that asked for a writeable callback inside one, and whether there are any.
    later: Mutex<Vec<&'static Wsi>>,
    has_later: AtomicBool,
    /// The program has ended it, and the thread that is in the service is to do that.
    pub(crate) is_ending: AtomicBool,
    /// A thread waits for the service's descriptor.
    pub(crate) is_waiting: AtomicBool,
    /// The longest piece of a message; 0: the library's.
    pub(crate) piece_bytes: AtomicUsize,
    /// It may compress messages.
    pub(crate) compresses: AtomicBool,
    /// The protocols have been told that there is a context.
    pub(crate) has_begun: AtomicBool,
    /// The thread that is in the service, or the next, is to tell the protocols that its wait was cancelled.
    pub(crate) is_cancelled: AtomicBool,
    /// It was rung.
    is_rung: AtomicBool,
    /// Wakes a wait. It stays with the record, so that a signal handler may write to it at any time.
    bell: OnceLock<OwnedFd>,
    pub(crate) schedule: Mutex<Schedule>,
    /// How long connections may be silent, and how long connecting takes, unless they have their own.
    pub(crate) silence: Mutex<Silence>,
    pub(crate) connect_seconds: AtomicU32,
    pub(crate) poll: Mutex<Option<Poll>>,
    pub(crate) host_name: Mutex<CString>,
}

/// The service, and its responder.
pub(crate) struct Inner {
    pub(crate) service: Service,
    pub(crate) requests: ResponderTarget,
}

/// What may go from thread to thread because a lock is around it.
pub(crate) struct Movable(Inner);

// SAFETY: a service has no thread-locals, and may be moved while no thread is inside (documentation of `Service`). The lock of the
// context sees to that. What this library puts into it (protocol, responder, hooks) refers to records that any thread may use.
unsafe impl Send for Movable {}

impl Movable {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(inner)
    }
}

impl Deref for Movable {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl DerefMut for Movable {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.0
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("interface", &self.interface()).finish_non_exhaustive()
    }
}

impl Context {
    pub(crate) fn new(interface: Interface, user: *mut c_void) -> &'static Self {
        let context = CONTEXTS.take();
        context.user.store(user, Ordering::Release);
        context.process.store(std::process::id(), Ordering::Release);
        context.inner.clear_poison();
        context.interface.store(interface as u8, Ordering::Release);
        LIVING.fetch_add(1, Ordering::AcqRel);
        context
    }

    /// The context that a pointer of the program's means. `None`: it means none, or one that has ended.
    #[inline]
    pub(crate) fn find(pointer: *const Self) -> Option<&'static Self> {
        CONTEXTS.find(pointer).filter(|context| context.interface.load(Ordering::Acquire) != 0)
    }

    #[inline]
    pub(crate) fn interface(&self) -> Option<Interface> {
        match self.interface.load(Ordering::Acquire) {
            1 => Some(Interface::Lws13),
            2 => Some(Interface::Lws17),
            _ => None,
        }
    }

    /// Whether the library has failed inside it, which is a fault of the library: then nothing works any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.inner.is_poisoned()
    }

    /// Whether this process made it. A child of fork(2) shares its descriptors with the parent, and may only forget it.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.process.load(Ordering::Acquire) == std::process::id()
    }

    pub(crate) fn set_inner(&self, inner: Movable) {
        *lock(&self.remote) = Some(inner.service.remote());
        *lock(&self.inner) = Some(inner);
    }

    /// The service, once no other thread is in it.
    pub(crate) fn lock_inner(&self) -> MutexGuard<'_, Option<Movable>> {
        lock(&self.inner)
    }

    /// The service, if no thread is in it.
    pub(crate) fn try_lock_inner(&self) -> Option<MutexGuard<'_, Option<Movable>>> {
        match self.inner.try_lock() {
            Ok(inner) => Some(inner),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Acts on the loop: now, if a callback runs on this thread or no thread is in the service, else soon on the thread that is.
    /// Returns whether it was or will be done.
    pub(crate) fn act(&'static self, act: impl FnOnce(&mut Commands) + Send + 'static) -> bool {
        let mut act = Some(act);
        if self.act_now(|commands| act.take().map(|act| act(commands))).is_some() {
            return true;
        }
        let Some(act) = act else { return false };
        uncancelled(|| {
            let remote = lock(&self.remote).clone();
            remote.is_some_and(|remote| remote.run(move |control| act(control)).is_ok())
        })
    }

    /// Acts on the loop, if a callback runs on this thread or no thread is in the service.
    pub(crate) fn act_now<R>(&'static self, act: impl FnOnce(&mut Commands) -> R) -> Option<R> {
        if self.door.is_inside() {
            return self.door.with_commands(act);
        }
        if self.is_waiting.load(Ordering::Acquire) {
            return None;
        }
        uncancelled(|| {
            let mut guard = self.try_lock_inner()?;
            let result = {
                let _inside = self.door.enter();
                act(&mut guard.as_mut()?.service.control())
            };
            self.set_clock(guard.as_mut());
            drop(guard);
            self.end_if_asked();
            Some(result)
        })
    }

    /// The table of descriptors. Only contexts of 2013 have one, and others do not look.
    #[inline]
    pub(crate) fn own_poll(&self) -> Option<MutexGuard<'_, Option<Poll>>> {
        (self.interface() == Some(Interface::Lws13)).then(|| lock(&self.poll))
    }

    /// What wakes a wait, if the system has it.
    #[inline]
    pub(crate) fn bell(&self) -> Option<BorrowedFd<'_>> {
        match self.bell.get() {
            Some(bell) => Some(bell.as_fd()),
            None => self.make_bell(),
        }
    }

    #[cold]
    fn make_bell(&self) -> Option<BorrowedFd<'_>> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
        let _ = self.bell.set(bell);
        self.bell.get().map(AsFd::as_fd)
    }

    /// Wakes the wait that there is, or the next. From any thread, and from a signal handler.
    pub(crate) fn ring(&self) {
        self.is_rung.store(true, Ordering::Release);
        if let Some(bell) = self.bell.get() {
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    /// The bell is quiet until it is rung again.
    pub(crate) fn quiet(&self) {
        let was_rung = self.is_rung.swap(false, Ordering::AcqRel);
        if let Some(bell) = self.bell.get().filter(|_| was_rung) {
            let _ = rustix::io::read(bell, &mut [0; 8]);
        }
    }

    /// Calls the program between turns: what it asks for is done at once. Returns whether the context is still there.
    pub(crate) fn between(&'static self, tell: impl FnOnce()) -> bool {
        if self.door.is_inside() {
            tell();
            return true;
        }
        let mut guard = self.lock_inner();
        let Some(inner) = guard.as_mut() else { return false };
        {
            let _inside = self.door.enter();
            let mut control = inner.service.control();
            self.door.lend(&mut control, tell);
        }
        self.set_clock(guard.as_mut());
        drop(guard);
        // The thread that waits does not know of what was asked for.
        if self.is_waiting.load(Ordering::Acquire) {
            self.ring();
        }
        !self.end_if_asked()
    }

    /// Asks the loop for the writeable callback of the program, for `wsi`.
    pub(crate) fn ask_writeable(&'static self, wsi: &'static Wsi) {
        if wsi.is(Phase::Http) {
            wsi.wish.store(true, Ordering::Release);
            return self.ask_for_room(wsi);
        }
        if !wsi.is(Phase::Open) {
            wsi.wish.store(true, Ordering::Release);
            return;
        }
        if self.door.is_inside() {
            // "Next time around the service loop" (README.coding): what is asked for inside a writeable callback comes in the
            // next turn, so that a program whose callback always asks again gets its thread back.
            if self.door.is_in_writeable() {
                if !wsi.wish_later.swap(true, Ordering::AcqRel) {
                    lock(&self.later).push(wsi);
                    self.has_later.store(true, Ordering::Release);
                }
                return;
            }
            wsi.wish.store(true, Ordering::Release);
            return self.ask_for_room(wsi);
        }
        wsi.wish.store(true, Ordering::Release);
        // One of them is enough: a thread that asks in a loop fills no queue.
        if !wsi.wish_posted.swap(true, Ordering::AcqRel) {
            let id = wsi.id();
            let asked = self.act(move |commands| {
                wsi.wish_posted.store(false, Ordering::Release);
                request_writable(commands, id);
            });
            if !asked {
                wsi.wish_posted.store(false, Ordering::Release);
            }
        }
    }

    /// Asks the loop to call when there is room for output.
    pub(crate) fn ask_for_room(&'static self, wsi: &'static Wsi) {
        let (id, request) = (wsi.id(), wsi.rest().request);
        self.act(move |commands| match request {
            None => request_writable(commands, id),
            Some(request) => {
                if let Ok(mut request) = commands.request(request) {
                    request.request_writable();
                }
            }
        });
    }

    /// Asks the loop for what was asked for inside a writeable callback.
    pub(crate) fn ask_later_ones(&self, commands: &mut Commands) {
        if !self.has_later.load(Ordering::Acquire) {
            return;
        }
        self.has_later.store(false, Ordering::Release);
        let later = std::mem::take(&mut *lock(&self.later));
        for wsi in later {
            // One that has ended since has no such wish.
            if wsi.wish_later.swap(false, Ordering::AcqRel) && wsi.is(Phase::Open) {
                wsi.wish.store(true, Ordering::Release);
                request_writable(commands, wsi.id());
            }
        }
    }

    /// Sets or clears a deadline of a connection that is open, or that carries a request.
    pub(crate) fn set_deadline(&'static self, wsi: &'static Wsi, due: Due, after: Option<Duration>) {
        let id = wsi.id();
        let request = {
            let Some(mut rest) = wsi.rest_of(id) else { return };
            rest.deadlines[due as usize] = after.and_then(|after| Instant::now().checked_add(after));
            rest.request
        };
        let next = wsi.next_deadline().map(|next| next.saturating_duration_since(Instant::now()));
        self.act(move |commands| match request {
            None => {
                if let Ok(mut connection) = commands.connection(id) {
                    match next {
                        None => connection.clear_timer(),
                        Some(next) => connection.set_timer(next),
                    }
                }
            }
            Some(request) => {
                if let Ok(mut request) = commands.request(request) {
                    match next {
                        None => request.clear_timer(),
                        Some(next) => request.set_timer(next),
                    }
                }
            }
        });
    }

    /// Ends a connection at once.
    pub(crate) fn abort(&'static self, wsi: &'static Wsi) {
        let id = wsi.id();
        if wsi.rest_of(id).map(|_| wsi.is_closing.store(true, Ordering::Release)).is_none() {
            return;
        }
        self.act(move |commands| {
            if let Ok(mut connection) = commands.connection(id) {
                connection.abort();
            }
        });
    }

    pub(crate) fn add(&self, wsi: &'static Wsi, id: ConnId) {
        wsi.set_id(id);
        lock(&self.wsis).insert(id.as_u64(), wsi);
    }

    pub(crate) fn of(&self, id: ConnId) -> Option<&'static Wsi> {
        lock(&self.wsis).get(&id.as_u64()).copied()
    }

    pub(crate) fn all(&self) -> Vec<&'static Wsi> {
        lock(&self.wsis).values().copied().collect()
    }

    pub(crate) fn forget(&self, wsi: &'static Wsi) {
        lock(&self.wsis).remove(&wsi.id().as_u64());
        wsi.release();
    }

    /// The vhost of a listener; without one, the first.
    pub(crate) fn vhost_of(&self, listener: Option<ListenerHandle>) -> Option<&'static Vhost> {
        let found = listener.and_then(|listener| {
            lock(&self.listeners).iter().find(|(own, _)| *own == listener).map(|(_, vhost)| *vhost)
        });
        found.or_else(|| self.first_vhost())
    }

    pub(crate) fn first_vhost(&self) -> Option<&'static Vhost> {
        lock(&self.vhosts).first().copied()
    }

    /// The service of a child of fork(2) is forgotten: to end it would speak to peers that are the parent's.
    pub(crate) fn leave_to_parent(&self) {
        if let Some(inner) = lock(&self.inner).take() {
            let _ = ManuallyDrop::new(inner);
        }
    }

    /// Clears the record, which is free from here on.
    pub(crate) fn release(&'static self) {
        self.interface.store(0, Ordering::Release);
        *lock(&self.remote) = None;
        lock(&self.wsis).drain().for_each(|(_, wsi)| wsi.release());
        lock(&self.listeners).clear();
        std::mem::take(&mut *lock(&self.vhosts)).into_iter().for_each(Vhost::release);
        lock(&self.later).clear();
        *lock(&self.poll) = None;
        *lock(&self.schedule) = Schedule::default();
        *lock(&self.silence) = Silence::default();
        self.quiet();
        self.connect_seconds.store(0, Ordering::Release);
        self.piece_bytes.store(0, Ordering::Release);
        self.compresses.store(false, Ordering::Release);
        for flag in [&self.is_ending, &self.is_waiting, &self.has_begun, &self.is_cancelled, &self.has_later] {
            flag.store(false, Ordering::Release);
        }
        self.user.store(ptr::null_mut(), Ordering::Release);
        LIVING.fetch_sub(1, Ordering::AcqRel);
        CONTEXTS.give(self);
    }
}

fn request_writable(commands: &mut Commands, id: ConnId) {
    if let Ok(mut connection) = commands.connection(id) {
        connection.request_writable();
    }
}

impl Wsi {
    /// The context that it belongs to, if it is in use.
    #[inline]
    pub(crate) fn context(&self) -> Option<&'static Context> {
        CONTEXTS.owner(&self.owner)
    }
}

impl Vhost {
    /// The context that it belongs to, if it is in use.
    pub(crate) fn context(&self) -> Option<&'static Context> {
        CONTEXTS.owner(&self.owner)
    }
}
