//! Ends a daemon whose starter is gone before the daemon was ready.
//!
//! What to know before editing: the daemon's own code may hang meanwhile, so a thread watches. A signal at the parent's death
//! (`PR_SET_PDEATHSIG`) cannot do it: the parent is the session leader, which ends first, and the kernel forgets the signal when
//! the daemon changes its user.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};
use rustix::process::{Signal, getpid, kill_process};

/// While it lives, the end of the starter kills this process. Dropping it waits until the watching thread is gone.
#[derive(Debug)]
pub(super) struct Leash {
    /// Closing it ends the thread. `None` only while this value is dropped.
    release: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Leash {
    /// `link`: the socket whose other end the starter has.
    ///
    /// # Errors
    /// `NotConnected`: the starter is gone already. The system's.
    pub(super) fn new(link: BorrowedFd<'_>) -> io::Result<Self> {
        let link = link.try_clone_to_owned()?;
        if poll(&mut [PollFd::new(&link, PollFlags::empty())], Some(&Timespec::default()))? > 0 {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the process that started this daemon is gone"));
        }
        let (release, released) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // A new thread has the mask of its creator. The program's signals are for the program's threads.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let thread = thread::Builder::new().name("starter".to_owned()).spawn(move || watch(&link, &released));
        mask.thread_set_mask()?;
        Ok(Self { release: Some(release), thread: Some(thread?) })
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            // Closing it alone would not do while a process that the program forked has it open, too.
            let _ = shutdown(&release, Shutdown::Both);
        }
        // It does not panic, and it is about to end.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Waits for the end of the starter, which this process does not survive, or for the end of the leash.
fn watch(link: &OwnedFd, released: &OwnedFd) {
    loop {
        // A closed other end is reported whether or not it is requested.
        let mut ends = [PollFd::new(released, PollFlags::empty()), PollFd::new(link, PollFlags::empty())];
        match poll(&mut ends, None) {
            Err(Errno::INTR) => {}
            Ok(_) if ends[0].revents().is_empty() => _ = kill_process(getpid(), Signal::KILL),
            Ok(_) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_forked_process_that_has_the_descriptors_does_not_hold_the_daemon_up() {
        let (link, _starter) = UnixStream::pair().unwrap();
        let leash = Leash::new(link.as_fd()).unwrap();
        // A fork has a copy of each descriptor.
        let _copy = leash.release.as_ref().unwrap().try_clone().unwrap();
        let (over, is_over) = mpsc::channel();
        thread::spawn(move || {
            drop(leash);
            over.send(()).unwrap();
        });
        assert_eq!(is_over.recv_timeout(Duration::from_secs(10)), Ok(()));
    }
}
