//! Turns of a context's service, and its end.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sockeye::poll::Ready;
use sockeye::{Close, CloseCode, Error, Service};

use crate::callbacks::{With, call};
use crate::context::{CONTEXTS, Context, Movable};
use crate::hook::Hook;
use crate::lock::lock;
use crate::log;
use crate::reason::Reason;

/// What a turn begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// The program has waited in the library: whatever is ready.
    Any,
    /// The program's own loop has seen this.
    Descriptor(RawFd, Ready),
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    Done,
    /// It was asked for inside a callback.
    Nested,
    /// The context ended in it.
    Ended,
    /// The service has failed.
    Failed,
}

/// What a program waits on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) descriptor: RawFd,
    /// Until when at most; none: without limit.
    pub(crate) timeout: Option<Duration>,
}

impl Context {
    /// What to wait on for the next turn. From here to [`end_wait`](Self::end_wait) other threads wake the loop and leave it alone.
    pub(crate) fn begin_wait(&'static self) -> Result<Wait, Turn> {
        if self.door.is_in_callback() {
            log::err!("the service was called inside a callback: that would never end, so it does nothing");
            return Err(Turn::Nested);
        }
        if self.is_broken() {
            return Err(Turn::Failed);
        }
        let mut guard = self.lock_inner();
        let inner = guard.as_mut().ok_or(Turn::Ended)?;
        let timeout = inner.service.next_timeout();
        let descriptor = match self.own_poll().as_deref().and_then(Option::as_ref) {
            Some(poll) => poll.descriptor(),
            None => inner.service.descriptor().map_or(-1, |fd| fd.as_raw_fd()),
        };
        self.is_waiting.store(true, Ordering::Release);
        Ok(Wait { descriptor, timeout })
    }

    pub(crate) fn end_wait(&self) {
        self.is_waiting.store(false, Ordering::Release);
    }

    pub(crate) fn turn(&'static self, work: Work) -> Turn {
        if self.door.is_in_callback() {
            log::err!("the service was called inside a callback: that would never end, so it does nothing");
            return Turn::Nested;
        }
        if self.is_broken() {
            return Turn::Failed;
        }
        let mut guard = self.lock_inner();
        let Some(inner) = guard.as_mut() else { return Turn::Ended };
        CONTEXTS.remember(self);
        let result = {
            let _inside = self.door.enter();
            let result = self.work(&mut inner.service, work);
            self.ask_later_ones(&mut inner.service.control());
            result
        };
        if self.is_ending.load(Ordering::Acquire) {
            self.finish(guard);
            return Turn::Ended;
        }
        self.set_clock(guard.as_mut());
        drop(guard);
        if self.end_if_asked() {
            return Turn::Ended;
        }
        match result {
            Ok(()) => Turn::Done,
            Err(error) => {
                log::err!("the service has failed: {error}");
                Turn::Failed
            }
        }
    }

    fn work(&self, service: &mut Service, work: Work) -> Result<(), Error> {
        // One before it in a batch may have ended a descriptor: then it is not known.
        let report = |service: &mut Service, fd, ready| match service.report(fd, ready) {
            Err(error) if !error.is_unknown_descriptor() => log::err!("{error}"),
            _ => {}
        };
        match work {
            Work::Descriptor(fd, _) if self.is_clock(fd) => {}
            Work::Descriptor(fd, ready) => report(service, fd, ready),
            Work::Any => {
                let mut poll = self.own_poll();
                let poll = poll.as_deref_mut().and_then(Option::as_mut);
                if let Some(Err(error)) = poll.map(|poll| poll.look(|fd, ready| report(service, fd, ready))) {
                    log::err!("the descriptors cannot be asked: {error}");
                }
            }
        }
        service.run_once(Some(Duration::ZERO)).map(drop)
    }

    /// Whether it is the clock, which is read then.
    fn is_clock(&self, fd: RawFd) -> bool {
        lock(&self.poll).as_mut().filter(|poll| poll.clock() == fd).map(|poll| poll.read_clock()).is_some()
    }

    /// Has the clock ring when the service is due.
    #[inline]
    pub(crate) fn set_clock(&self, inner: Option<&mut Movable>) {
        let Some((inner, mut poll)) = inner.zip(self.own_poll()) else { return };
        if let Some(poll) = poll.as_mut() {
            poll.set_clock(inner.service.next_timeout());
        }
    }

    /// Ends the context: now, or once the thread that is in the service has left it.
    pub(crate) fn end(&'static self) {
        if !self.is_of_this_process() {
            self.leave_to_parent();
            return self.release();
        }
        self.is_ending.store(true, Ordering::Release);
        if !self.door.is_in_callback() && !self.end_if_asked() {
            // The thread that is in there does it when it leaves.
            let remote = lock(&self.remote).clone();
            let _ = remote.map(|remote| remote.run(|_| ()));
        }
    }

    /// Ends the context if that was asked for and no thread is in the service. Returns whether it did.
    pub(crate) fn end_if_asked(&'static self) -> bool {
        if !self.is_ending.load(Ordering::Acquire) {
            return false;
        }
        let Some(guard) = self.try_lock_inner() else { return false };
        if guard.is_none() {
            return false;
        }
        self.finish(guard);
        true
    }

    /// Says goodbye to all peers without waiting for them, and ends everything.
    fn finish(&'static self, mut guard: MutexGuard<'_, Option<Movable>>) {
        let Some(mut inner) = guard.take() else { return };
        {
            let _inside = self.door.enter();
            let service = &mut inner.service;
            if !self.is_broken() {
                for wsi in self.all() {
                    // RFC 6455 section 7.4.1: "1001 indicates that an endpoint is "going away"".
                    if let Ok(mut connection) = service.control().connection(wsi.id()) {
                        connection.close(Close::from(CloseCode::GOING_AWAY));
                    }
                }
                // The frames leave; what cannot leave now does not.
                let _ = service.run_once(Some(Duration::ZERO));
            }
            drop(inner);
            if lock(&self.poll).is_some() {
                Hook(self).remove_clock();
            }
            if self.has_begun.load(Ordering::Acquire) {
                self.tell_protocols(Reason::ProtocolDestroy);
            }
        }
        drop(guard);
        self.release();
    }

    /// Tells each protocol of each vhost of what is of no connection.
    pub(crate) fn tell_protocols(&self, reason: Reason) {
        let vhosts = lock(&self.vhosts).clone();
        for vhost in vhosts {
            for (index, protocol) in vhost.protocols().into_iter().enumerate() {
                if let Some(placeholder) = vhost.placeholder_of(index) {
                    call(protocol, placeholder, reason, With::NOTHING);
                }
            }
        }
    }
}
