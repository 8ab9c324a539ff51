//! The side that waits until the daemon is ready.
//!
//! What to know before editing: nothing may survive that the starter does not report as ready. Three things see to that, because
//! each can fail alone. The process group of the leader is killed: the daemon is in it from its first moment, so it does not
//! matter whether the leader could report it; but a daemon can leave a group. The handle of the daemon is killed: a daemon cannot
//! leave it; but the leader may end before it sends the handle. And the link ends with the starter, however that ends, and with it the
//! daemon ([`leash`](super::leash)); but a stopped daemon does not notice.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_send_signal, waitid};

use crate::daemon::report::Report;

/// The process that started a daemon. Dropping it ends a daemon that is not ready yet.
#[derive(Debug)]
pub struct Starter {
    link: OwnedFd,
    leader: Child,
    /// A handle of the daemon, which means no other process later.
    daemon: Option<OwnedFd>,
}

/// The result of starting a daemon.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The daemon is ready, with this text for the starter.
    Ready(String),
    /// The daemon reported a failure, and has ended.
    Failed {
        /// The exit code that it asks the starter to end with.
        code: u8,
        /// Why it failed.
        text: String,
    },
    /// The daemon ended without a report.
    Died,
    /// The daemon was not ready in time, and was ended.
    TimedOut,
}

impl Starter {
    pub(super) fn new(link: OwnedFd, leader: Child) -> Self {
        Self { link, leader, daemon: None }
    }

    /// Waits until the daemon is ready or will not be, for `within` at most.
    ///
    /// After every other outcome than [`Outcome::Ready`], and after an error, the daemon has ended: a daemon that reported a failure has the
    /// rest of the time to end by itself, and is killed then.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(mut self, within: Duration) -> io::Result<Outcome> {
        let deadline = Instant::now().checked_add(within);
        let outcome = self.outcome(deadline);
        match &outcome {
            Ok(Outcome::Ready(_)) => {
                // It has nothing left to do, and may be stopped.
                self.kill_leader();
                self.reap_leader();
                // The daemon closes its end now. Once this process has exited nothing should find it open.
                wait_for(&self.link, PollFlags::empty(), deadline)?;
            }
            Ok(Outcome::Failed { .. } | Outcome::Died) => {
                if let Some(daemon) = &self.daemon {
                    wait_for(daemon, PollFlags::IN, deadline)?;
                }
                self.end();
            }
            Ok(Outcome::TimedOut) | Err(_) => self.end(),
        }
        outcome
    }

    fn outcome(&mut self, deadline: Option<Instant>) -> io::Result<Outcome> {
        while wait_for(&self.link, PollFlags::IN, deadline)? {
            if let Some(outcome) = self.take()? {
                return Ok(outcome);
            }
        }
        // From here on the daemon cannot become ready: it gets an error. What it sent before counts.
        shutdown(&self.link, Shutdown::Read)?;
        loop {
            match self.take()? {
                None => {}
                Some(Outcome::Died) => return Ok(Outcome::TimedOut),
                Some(outcome) => return Ok(outcome),
            }
        }
    }

    /// Takes one report. `None`: more will come.
    fn take(&mut self) -> io::Result<Option<Outcome>> {
        Ok(match Report::receive(self.link.as_fd())? {
            Some(Report::Started(handle)) => {
                self.daemon = Some(handle);
                None
            }
            Some(Report::Ready(text)) => Some(Outcome::Ready(text)),
            Some(Report::Failed(code, text)) => Some(Outcome::Failed { code, text }),
            None => Some(Outcome::Died),
        })
    }

    /// Ends what was started.
    fn end(&mut self) {
        self.kill_leader();
        // Until the leader is reaped its number belongs to it and to its group. It ends first, so nothing joins the group
        // later. Where SIGCHLD is ignored the system has reaped it, and the group may be another by now.
        let leader = Pid::from_child(&self.leader);
        if waitid(WaitId::Pid(leader), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).is_ok() {
            // There is none when the leader ended before it had made its session.
            let _ = kill_process_group(leader, Signal::KILL);
        }
        self.reap_leader();
        let deadline = Instant::now().checked_add(END);
        if let Some(daemon) = &self.daemon {
            let _ = pidfd_send_signal(daemon, Signal::KILL);
            let _ = wait_for(daemon, PollFlags::IN, deadline);
        }
        let _ = wait_for(&self.link, PollFlags::empty(), deadline);
        // A copy of this process may have the link too.
        let _ = shutdown(&self.link, Shutdown::Both);
    }

    fn kill_leader(&mut self) {
        // One that was reaped already has no number any more.
        if matches!(self.leader.try_wait(), Ok(None)) {
            let _ = self.leader.kill();
        }
    }

    /// Waits for the end of the leader. Fails where SIGCHLD is ignored: then the system has reaped it.
    fn reap_leader(&mut self) {
        let _ = self.leader.wait();
    }
}

/// Waits for these events, or for the other end of a link to close. False: not until the deadline.
fn wait_for(descriptor: &OwnedFd, events: PollFlags, deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(descriptor, events)], left.as_ref()) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// For a killed daemon to be gone. It takes longer only while the kernel holds it, such as on a file system that hangs.
const END: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    use super::*;

    fn link() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn the_end_of_the_link_is_waited_for_behind_a_late_report_of_the_leader() {
        let (near, far) = link();
        Report::Ready("here".to_owned()).send(far.as_fd()).unwrap();
        Report::Started(pidfd_open(getpid(), PidfdFlags::empty()).unwrap()).send(far.as_fd()).unwrap();
        let starter = Starter::new(near, Command::new("true").spawn().unwrap());
        // The daemon holds the link all the time.
        assert_eq!(starter.wait(Duration::from_millis(50)).unwrap(), Outcome::Ready("here".to_owned()));
        drop(far);
    }

    /// A leader that started the daemon and is killed before it could report that.
    #[test]
    fn a_daemon_that_was_not_reported_is_ended() {
        let (near, far) = link();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 <&0 & echo; exec sleep 60"]).process_group(0);
        let mut leader = command.stdin(far).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        drop(command);
        let mut output = leader.stdout.take().unwrap();
        output.read_exact(&mut [0]).unwrap();
        let starter = Starter::new(near, leader);
        assert_eq!(starter.wait(Duration::ZERO).unwrap(), Outcome::TimedOut);
        // Both had it open.
        let patience = Instant::now().checked_add(Duration::from_secs(20));
        assert!(wait_for(&output.into(), PollFlags::empty(), patience).unwrap(), "waited for the end of the daemon");
    }

    #[test]
    fn a_report_that_came_before_the_deadline_counts() {
        let (near, far) = link();
        let starter = Starter::new(near, Command::new("true").spawn().unwrap());
        Report::Ready(String::new()).send(far.as_fd()).unwrap();
        drop(far);
        assert_eq!(starter.wait(Duration::ZERO).unwrap(), Outcome::Ready(String::new()));
    }

    #[test]
    fn a_daemon_cannot_become_ready_once_it_is_given_up() {
        let (near, far) = link();
        let mut starter = Starter::new(near, Command::new("true").spawn().unwrap());
        assert_eq!(starter.outcome(Some(Instant::now())).unwrap(), Outcome::TimedOut);
        assert!(Report::Ready(String::new()).send(far.as_fd()).is_err());
        drop(far);
        starter.end();
    }
}
