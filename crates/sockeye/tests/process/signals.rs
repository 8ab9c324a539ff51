//! Signals in the middle of system calls.

use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use sockeye::sys::{AdoptOptions, ForeignDescriptors, Real};

/// poll(2) fails with `EINTR` though it does not wait, if a signal is pending.
pub(crate) fn a_signal_does_not_end_what_is_watched() {
    let mut sys = Real::new().unwrap();
    // Nothing is ready: of what is ready poll(2) tells, whatever signal is pending.
    let (ours, _theirs) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let handle = sys.adopt(ours, &AdoptOptions::default()).unwrap().handle;
    let _alarms = Alarms::every(Duration::from_micros(50));
    for _ in 0..100_000 {
        assert!(!sys.look(handle, true, false).unwrap().readable);
    }
}

/// Sends this process SIGALRM again and again.
struct Alarms;

impl Alarms {
    fn every(interval: Duration) -> Self {
        extern "C" fn ignore(_: libc::c_int) {}
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGALRM, ignore as extern "C" fn(libc::c_int) as libc::sighandler_t) };
        Self::set(interval);
        Self
    }

    fn set(interval: Duration) {
        let interval = libc::timeval { tv_sec: 0, tv_usec: interval.subsec_micros().into() };
        let timer = libc::itimerval { it_interval: interval, it_value: interval };
        // SAFETY: the pointers are to a valid timer and to nothing, which is allowed.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
    }
}

impl Drop for Alarms {
    fn drop(&mut self) {
        Self::set(Duration::ZERO);
    }
}
