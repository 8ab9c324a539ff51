//! Running in the background: [`detach`], the file with the daemon's process id ([`PidFile`]), and the user that it runs as
//! ([`Identity`]); or under a service manager ([`systemd`]). Nothing here depends on a service, and a service does
//! not know whether it is in a daemon.

// What to know before editing: a daemon is not a copy that `fork` makes. The program is executed again, twice: the starter
// executes a session leader, which executes the daemon and exits. So nothing of the starter is in it by accident: no
// lock without the thread that holds it, no random number that both would use, and no descriptor, since the kernel closes
// them. The price is that `main` runs in all three processes: `detach` belongs at its beginning.
//
//  starter ── executes ──▶ session leader ── executes ──▶ daemon
//     ▲                        └ a handle of the daemon     │
//     └──────── one socket: ready, failed, or the end ──────┘

mod identity;
#[expect(unsafe_code, reason = "descriptors without an owner are marked by number, and no crate wraps that")]
mod inherited;
mod leash;
mod pid_file;
mod report;
mod starter;
pub mod systemd;

use std::env;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{self, Child, Command};

use nix::sys::signal::SigSet;
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};
use rustix::process::{Pid, PidfdFlags, chdir, pidfd_open, setsid, umask};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use self::leash::Leash;
use self::report::Report;

pub use self::identity::{Identity, IdentityError};
pub use self::pid_file::{PidFile, PidFileError};
pub use self::starter::{Outcome, Starter};

/// Which of the two this process is.
#[derive(Debug)]
#[must_use]
#[expect(clippy::exhaustive_enums, reason = "there are two sides")]
pub enum Side {
    /// The program as it was started. It should wait for the daemon and exit.
    Starter(Starter),
    /// The daemon. It should do its work, and report when it is ready.
    Daemon(Daemon),
}

/// Starts this program again, in the background: with the same arguments, in a session of its own without a terminal.
///
/// Call it at the beginning of `main`, right after reading the arguments: everything before it runs in the daemon
/// again. In the daemon the working directory is `/`, so make paths absolute before. The umask is that of the starter plus
/// 022, so other users cannot write what the daemon creates. Standard input is `/dev/null`; output and error are those of the
/// starter until [`Daemon::ready`]. No other descriptor of the starter is open, and no signal is blocked.
///
/// ```no_run
/// use std::process::ExitCode;
/// use std::time::Duration;
///
/// use sockeye::daemon::{self, Outcome, Side};
///
/// fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
///     let daemon = match daemon::detach()? {
///         Side::Daemon(daemon) => daemon,
///         Side::Starter(starter) => match starter.wait(Duration::from_secs(30))? {
///             Outcome::Ready(_) => return Ok(ExitCode::SUCCESS),
///             other => return Err(format!("{other:?}").into()),
///         },
///     };
///     let mut service = sockeye::Service::builder().listen("127.0.0.1:7681").build()?;
///     daemon.ready("")?;
///     service.run()?;
///     Ok(ExitCode::SUCCESS)
/// }
/// ```
///
/// # Errors
/// The system's; most likely `/proc` is not mounted, where the program is found. In the daemon also `NotConnected`: the starter is
/// gone already.
pub fn detach() -> io::Result<Side> {
    match (Stage::of_this_process(), link()?) {
        (Some(Stage::Leader), Some(link)) => lead(link),
        (Some(Stage::Daemon), Some(link)) => {
            name_process();
            SigSet::empty().thread_set_mask()?;
            let kept = umask(Mode::from(0o022));
            umask(kept | Mode::from(0o022));
            chdir("/")?;
            Ok(Side::Daemon(Daemon { _leash: Leash::new(link.as_fd())?, link }))
        }
        // A mark without a link was inherited: a daemon started this program.
        _ => {
            let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
            inherited::close_on_exec();
            let leader = execute(Stage::Leader, far)?;
            Ok(Side::Starter(Starter::new(near, leader)))
        }
    }
}

/// A daemon that is not ready yet.
///
/// Until it is ready or has failed, it does not outlive its starter: when the starter ends, is killed or gives up, this process is
/// killed too. A thread sees to that, so code that must run before any other thread exists belongs before [`detach`].
/// Dropping this value without either reports that the daemon died, and the starter then ends it.
#[derive(Debug)]
#[must_use = "dropping it reports that the daemon died"]
pub struct Daemon {
    /// Let go first: behind the report of a failure the starter may end at any time.
    _leash: Leash,
    link: OwnedFd,
}

impl Daemon {
    /// Reports that the daemon does its work, with a text for the starter, of which at most 32 KiB arrive. From here on
    /// standard output and standard error are `/dev/null`, and the daemon is independent of its starter.
    ///
    /// # Errors
    /// The starter is gone or has given the daemon up: the daemon has to end. Or there is no `/dev/null`.
    pub fn ready(self, text: &str) -> io::Result<()> {
        // Before the starter exits: a reader of its output waits for the last process that has it open.
        let null = null()?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        drop(null);
        Report::Ready(text.to_owned()).send(self.release().as_fd())
    }

    /// Reports why the daemon ends before it is ready: an exit code and a text for the starter. The daemon should end at once.
    pub fn failed(self, code: u8, text: &str) {
        // There may be no starter any more.
        let _ = Report::Failed(code, text.to_owned()).send(self.release().as_fd());
    }

    fn release(self) -> OwnedFd {
        let Self { _leash: leash, link } = self;
        drop(leash);
        link
    }
}

/// The leader of the session. All it does is not to be the daemon, which as a leader would get the first terminal that it
/// opens as its controlling terminal.
fn lead(link: OwnedFd) -> ! {
    let daemon = setsid().map_err(io::Error::from).and_then(|_| execute(Stage::Daemon, link.try_clone()?));
    let report = match daemon {
        // The number is the daemon's until this process, its parent, has ended. Old kernels have no handles.
        Ok(daemon) => pidfd_open(Pid::from_child(&daemon), PidfdFlags::empty()).ok().map(Report::Started),
        Err(error) => Some(Report::Failed(1, format!("cannot start the daemon: {error}"))),
    };
    let _ = report.map(|report| report.send(link.as_fd()));
    process::exit(0)
}

/// Runs this program again, with `link` as its standard input.
fn execute(stage: Stage, link: OwnedFd) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;
    let mut arguments = env::args_os();
    // Not by its path: another program may be there by now.
    let mut command =
        Command::new(if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { env::current_exe()? });
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env(MARK, stage.mark()).stdin(link).spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::new(error.kind(), "this program is found through /proc, which is not mounted")
        }
        _ => error,
    })
}

/// Takes the socket that a process of this module has as its standard input, and puts `/dev/null` there.
fn link() -> io::Result<Option<OwnedFd>> {
    let stdin = io::stdin();
    if sockopt::socket_type(&stdin).ok() != Some(SocketType::SEQPACKET) || Stage::of_this_process().is_none() {
        return Ok(None);
    }
    let link = stdin.as_fd().try_clone_to_owned()?;
    dup2_stdin(null()?)?;
    Ok(Some(link))
}

fn null() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/null")
}

/// Names this process after the program: the system would call it `exe`, the name of the file that was executed.
fn name_process() {
    let first = env::args_os().next().unwrap_or_default();
    let name = Path::new(&first).file_name().and_then(|name| CString::new(name.as_bytes()).ok());
    if let Some(name) = name {
        #[cfg(target_os = "linux")]
        let _ = rustix::thread::set_name(&name);
    }
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Leader,
    Daemon,
}

impl Stage {
    fn of_this_process() -> Option<Self> {
        let mark = env::var_os(MARK)?;
        [Self::Leader, Self::Daemon].into_iter().find(|stage| mark == stage.mark())
    }

    fn mark(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Daemon => "daemon",
        }
    }
}

/// The variable that tells a process which one it is.
const MARK: &str = "SOCKEYE_DAEMON_STAGE";
