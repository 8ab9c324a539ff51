//! The file with the daemon's process id. Its lock shows that the daemon is running.
//!
//! What to know before editing: only the lock counts; the number is for people. The system releases a lock when its
//! holder ends, however it ends, so a stale number is never taken for a running process. The lock belongs to an
//! open file, and another file may have the name by the time it is locked: a lock counts only if the name still leads to it.

use std::error::Error;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// A file with a process id, locked as long as this value lives. Dropping it removes the file.
///
/// ```no_run
/// use sockeye::daemon::PidFile;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pid_file = PidFile::lock("/run/chat.pid")?; // an error if another one is running
/// pid_file.write()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "dropping it removes the file"]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Creates the file, or takes over one that a process left behind, and locks it. It stays empty until
    /// [`write`](Self::write).
    ///
    /// An existing file must be empty or hold a number, belong to this user or to root, and have no other name. Symbolic links
    /// are not followed.
    ///
    /// # Errors
    /// [`PidFileError::Running`] when another process has it, [`PidFileError::Refused`] for a file that is not a pid file.
    pub fn lock(path: impl Into<PathBuf>) -> Result<Self, PidFileError> {
        let path = path.into();
        for _ in 0..ATTEMPTS {
            let mut file = open(&path)?;
            let opened = file.metadata().map_err(PidFileError::System)?;
            if opened.nlink() > 0 {
                check(&opened)?;
            }
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::INTR) => continue,
                Err(Errno::WOULDBLOCK) => return Err(PidFileError::Running(number(&mut file).unwrap_or_default())),
                Err(error) => return Err(PidFileError::System(error.into())),
            }
            // The last holder of the lock may have removed the file in between.
            if !is_same(&path, &opened) {
                continue;
            }
            number(&mut file).ok_or(PidFileError::Refused("it holds something other than a process id"))?;
            file.set_len(0).map_err(|error| failed("it cannot be emptied", &error))?;
            file.set_permissions(Permissions::from_mode(0o644))
                .map_err(|error| failed("its mode cannot be set to 0644, which only its owner may do", &error))?;
            return Ok(Self { path, file });
        }
        Err(PidFileError::Refused("it is created and removed again and again"))
    }

    /// Writes the id of this process, and a line feed.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self) -> io::Result<()> {
        self.file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)
    }

    /// The path that it was locked by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    /// Removes the file if it is still the one that was locked, or empties it if this user may not remove it.
    fn drop(&mut self) {
        let ours = self.file.metadata().is_ok_and(|metadata| is_same(&self.path, &metadata));
        if !ours || fs::remove_file(&self.path).is_err() {
            // The locked file is ours to empty, whatever its name is now. The lock ends in any case, so the next daemon
            // takes the file over.
            let _ = self.file.set_len(0);
        }
    }
}

fn open(path: &Path) -> Result<File, PidFileError> {
    // Without waiting: opening a FIFO would wait for the other end.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o644).custom_flags(flags.bits() as i32);
    options.open(path).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => PidFileError::Refused("it is a symbolic link"),
        Some(Errno::ISDIR) => PidFileError::Refused("it is a directory"),
        Some(Errno::NXIO) => PidFileError::Refused("it is not a regular file"),
        _ => PidFileError::System(error),
    })
}

/// Adds what failed, which the system's error does not say.
fn failed(what: &str, error: &io::Error) -> PidFileError {
    PidFileError::System(io::Error::new(error.kind(), format!("{what}: {error}")))
}

fn check(metadata: &Metadata) -> Result<(), PidFileError> {
    let own = rustix::process::geteuid().as_raw();
    if !metadata.is_file() {
        return Err(PidFileError::Refused("it is not a regular file"));
    }
    if metadata.nlink() != 1 {
        return Err(PidFileError::Refused("it has another name too (a hard link)"));
    }
    if metadata.uid() != own && metadata.uid() != 0 {
        return Err(PidFileError::Refused("it belongs to another user"));
    }
    Ok(())
}

/// Whether the name leads to this file, and to it alone.
fn is_same(path: &Path, file: &Metadata) -> bool {
    fs::symlink_metadata(path).is_ok_and(|now| (now.dev(), now.ino(), now.nlink()) == (file.dev(), file.ino(), 1))
}

/// The process id in the file, if there is one; `None`: it holds something else.
fn number(file: &mut File) -> Option<Option<u32>> {
    let mut text = String::new();
    file.rewind().ok()?;
    match file.take(64).read_to_string(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::InvalidData => return None,
        Err(_) => return Some(None),
    }
    match text.trim_ascii() {
        "" => Some(None),
        digits => digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit())).map(Some),
    }
}

/// Why a pid file could not be locked.
#[derive(Debug)]
#[non_exhaustive]
pub enum PidFileError {
    /// Another process has it: its id, unless it is still starting.
    Running(Option<u32>),
    /// The file is not one that a daemon left behind.
    Refused(&'static str),
    /// The system's error.
    System(io::Error),
}

impl fmt::Display for PidFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(Some(process)) => write!(f, "already running as pid {process}"),
            Self::Running(None) => f.write_str("another process is just starting"),
            Self::Refused(why) => f.write_str(why),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl Error for PidFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::System(error) => Some(error),
            _ => None,
        }
    }
}

/// More than enough: each attempt fails only if the file is removed between opening and locking it.
const ATTEMPTS: usize = 100;

#[cfg(test)]
mod tests;
