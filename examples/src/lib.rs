//! Examples of Sockeye; each is a program in this folder and is compiled by the tests.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use sockeye::poll::{Mode, Ready};

/// poll(2): waits until one of the descriptors is ready, at most `timeout`, and says which are.
///
/// # Errors
/// The system's. A signal is none: nothing is ready then.
///
/// # Panics
/// A timeout of more seconds than the system can count.
pub fn poll(fds: &[(RawFd, Mode)], timeout: Option<Duration>) -> io::Result<Vec<(RawFd, Ready)>> {
    let mut asked: Vec<_> = fds.iter().map(|&(fd, mode)| PollFd::from_borrowed_fd(borrow(fd), flags(mode))).collect();
    let timeout = timeout.map(|timeout| Timespec::try_from(timeout).expect("a timeout that the system can count"));
    match rustix::event::poll(&mut asked, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let seen = fds.iter().zip(&asked).map(|(&(fd, _), seen)| (fd, Ready::from_revents(seen.revents().bits() as i16)));
    Ok(seen.filter(|(_, ready)| *ready != Ready::default()).collect())
}

/// The hook has said that it is open, and will say before it is closed.
#[expect(unsafe_code, reason = "a number from the hook has no lifetime that the compiler could see")]
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
