//! The side that waits until the daemon is ready.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::report::Report;

/// The process that started a daemon.
#[derive(Debug)]
pub struct Starter {
    link: OwnedFd,
    leader: Child,
    /// A handle that stays with the daemon, whatever its number is given to later.
    daemon: Option<OwnedFd>,
}

/// What became of a daemon.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is ready, and this is what it had to say.
    Ready(String),
    /// It gave up.
    Failed {
        /// The exit code that it asks the starter to end with.
        code: u8,
        /// Why.
        text: String,
    },
    /// It ended without a word.
    Died,
    /// The time was over before it was ready. It was ended.
    TimedOut,
}

impl Starter {
    pub(super) fn new(link: OwnedFd, leader: Child) -> Self {
        Self { link, leader, daemon: None }
    }

    /// Waits until the daemon is ready or is not going to be, `within` at most.
    ///
    /// # Errors
    /// The system's: then it is not known what became of the daemon.
    pub fn wait(mut self, within: Duration) -> io::Result<Outcome> {
        let end = Instant::now().checked_add(within);
        let outcome = loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if !self.readable(left)? {
                break self.give_up()?;
            }
            if let Some(outcome) = self.take()? {
                // Whoever looks at the daemon when this process has ended is not to find the link still open. What
                // comes before its end is the word of a leader that was slow.
                let left = end.map(|end| end.saturating_duration_since(Instant::now()));
                while self.readable(left)? && self.take()?.is_none() {}
                break outcome;
            }
        };
        // It has nothing left to do but to end, or was ended.
        self.bury_leader()?;
        Ok(outcome)
    }

    /// Waits for the end of the leader. Where SIGCHLD is ignored the system has buried it by then, and says that there
    /// is no child.
    fn bury_leader(&mut self) -> io::Result<()> {
        match self.leader.wait() {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::CHILD) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Takes one report. `None`: more will come.
    fn take(&mut self) -> io::Result<Option<Outcome>> {
        Ok(match Report::receive(self.link.as_fd())? {
            Some(Report::Started(process)) => {
                let process = i32::try_from(process).ok().and_then(Pid::from_raw);
                self.daemon = process.and_then(|process| pidfd_open(process, PidfdFlags::empty()).ok());
                None
            }
            Some(Report::Ready(text)) => Some(Outcome::Ready(text)),
            Some(Report::Failed(code, text)) => Some(Outcome::Failed { code, text }),
            None => Some(Outcome::Died),
        })
    }

    /// Ends what was started. What comes to be ready in this very moment is ready.
    fn give_up(&mut self) -> io::Result<Outcome> {
        // One that ended already is no matter, and may be buried: then its number is not its own any more.
        if matches!(self.leader.try_wait(), Ok(None)) {
            let _ = self.leader.kill();
        }
        self.bury_leader()?;
        while self.readable(Some(Duration::ZERO))? {
            if let Some(outcome) = self.take()? {
                return Ok(if outcome == Outcome::Died { Outcome::TimedOut } else { outcome });
            }
        }
        // The other end is still open, so the daemon lives, and the handle is its own and not that of a later process with its
        // number. Without a handle it learns from a closed link that nobody waits for it.
        if let Some(daemon) = &self.daemon {
            let _ = pidfd_send_signal(daemon, Signal::KILL);
        }
        Ok(Outcome::TimedOut)
    }

    fn readable(&self, within: Option<Duration>) -> io::Result<bool> {
        let end = within.and_then(|within| Instant::now().checked_add(within));
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut descriptors = [PollFd::new(&self.link, PollFlags::IN)];
            match poll(&mut descriptors, left.as_ref()) {
                Ok(count) => return Ok(count > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn the_end_of_the_link_is_waited_for_behind_a_late_word_of_the_leader() {
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        Report::Ready("here".to_owned()).send(far.as_fd()).unwrap();
        Report::Started(std::process::id()).send(far.as_fd()).unwrap();
        let begun = Instant::now();
        let starter = Starter::new(near, Command::new("true").spawn().unwrap());
        // The daemon holds the link all the time.
        let time = Duration::from_millis(50);
        assert_eq!(starter.wait(time).unwrap(), Outcome::Ready("here".to_owned()));
        assert!(begun.elapsed() >= time);
        drop(far);
    }
}
