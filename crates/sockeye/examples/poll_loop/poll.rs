//! A safe poll(2) for descriptors that a hook reported.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use sockeye::poll::{Mode, Ready};

/// Waits until one of the descriptors is ready, at most `timeout`, and returns those that are.
///
/// # Errors
/// The system's. After a signal nothing is ready, and that is not an error.
///
/// # Panics
/// A timeout of more seconds than the system can count.
pub(crate) fn poll(fds: &[(RawFd, Mode)], timeout: Option<Duration>) -> io::Result<Vec<(RawFd, Ready)>> {
    let mut asked: Vec<_> = fds.iter().map(|&(fd, mode)| PollFd::from_borrowed_fd(borrow(fd), flags(mode))).collect();
    match wait(&mut asked, timeout) {
        Ok(_) | Err(Errno::INTR) => {}
        // poll(2) refuses more descriptors than RLIMIT_NOFILE allows now, which may be fewer than are open.
        Err(Errno::INVAL) => wait_in_parts(&mut asked, timeout)?,
        Err(error) => return Err(error.into()),
    }
    let seen = fds.iter().zip(&asked).map(|(&(fd, _), seen)| (fd, Ready::from_revents(seen.revents().bits() as i16)));
    Ok(seen.filter(|(_, ready)| *ready != Ready::default()).collect())
}

fn wait(asked: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<usize, Errno> {
    let timeout = timeout.map(|timeout| Timespec::try_from(timeout).expect("a timeout that the system can count"));
    rustix::event::poll(asked, timeout.as_ref())
}

/// Polls as many at a time as the limit allows. Only the last part waits, and not for long.
fn wait_in_parts(asked: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<(), Errno> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let mut parts = asked.chunks_mut(usize::try_from(limit).unwrap_or(usize::MAX).max(1)).peekable();
    let mut ready = 0;
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none() && ready == 0;
        let longest = if is_last { PART } else { Duration::ZERO };
        match wait(part, Some(timeout.unwrap_or(longest).min(longest))) {
            Ok(count) => ready += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

const PART: Duration = Duration::from_millis(200);

/// Borrows a descriptor that the hook was told to watch.
#[expect(unsafe_code, reason = "the hook's numbers have no lifetime that the compiler could check")]
fn borrow<'fd>(fd: RawFd) -> BorrowedFd<'fd> {
    // SAFETY: the service keeps it open from `PollHook::add` to `remove`, and nothing is served between collecting and polling.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

fn flags(mode: Mode) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, mode.readable);
    flags.set(PollFlags::OUT, mode.writable);
    flags
}
