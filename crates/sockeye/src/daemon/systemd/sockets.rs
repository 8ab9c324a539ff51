//! Sockets that a service manager opened before it started the service, by the protocol of `sd_listen_fds(3)`.
//!
//! What to know before editing: numbers become owned descriptors here. What makes that right is `execve`: whatever is
//! open in this process and has no mark to end with `exec` came with its start, or was made by somebody who does not
//! care; a descriptor with the mark belongs to somebody here, and is refused.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

use super::{Variables, environment, is_for_us, number};

/// A socket that this process was started with. What it is, whoever uses it finds out: a [`Listen`](crate::Listen) is made of its
/// descriptor (`OwnedFd::from`), takes stream sockets that listen, and says of others what they are.
#[derive(Debug)]
pub struct Socket {
    name: String,
    descriptor: OwnedFd,
}

impl Socket {
    /// `FileDescriptorName=` of the socket unit: by default the name of that unit, such as `sockeye.socket`, and `unknown` where
    /// nobody said any.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.descriptor
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// How many sockets this process was started with, whether they were taken or not: 0 without `LISTEN_PID`, or when that names
/// another process.
///
/// # Errors
/// `InvalidInput`: a variable is no number, or is one that cannot be.
pub fn passed() -> io::Result<usize> {
    count(&environment)
}

/// Takes the sockets that this process was started with, in the order of the unit. Each is handed out once: a second call finds
/// none. They end with `exec` from now on.
///
/// It belongs at the beginning of `main`, before anything that might open descriptors that do not end with `exec`.
///
/// # Errors
/// `InvalidInput`: a variable is no number, or a descriptor that was announced is not there or belongs to somebody in
/// this program.
pub fn sockets() -> io::Result<Vec<Socket>> {
    static TAKEN: Mutex<bool> = Mutex::new(false);
    // Nothing panics under the lock.
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let count = count(&environment)?;
    if *taken || count == 0 {
        return Ok(Vec::new());
    }
    let names = names(&environment);
    let mut sockets = Vec::new();
    for (index, number) in (FIRST..).take(count).enumerate() {
        let name = names.get(index).filter(|name| !name.is_empty());
        let name = name.cloned().unwrap_or_else(|| "unknown".to_owned());
        sockets.push(Socket { name, descriptor: take(number)? });
    }
    *taken = true;
    Ok(sockets)
}

fn count(variables: Variables<'_>) -> io::Result<usize> {
    if is_for_us(variables, "LISTEN_PID")? != Some(true) {
        return Ok(0);
    }
    let count = number(variables, "LISTEN_FDS")?.unwrap_or(0);
    usize::try_from(count).ok().filter(|count| *count <= MOST).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the variable LISTEN_FDS is {count}, and {MOST} is the most"),
        )
    })
}

/// The names, of which there may be fewer than sockets.
fn names(variables: Variables<'_>) -> Vec<String> {
    let names = variables("LISTEN_FDNAMES").unwrap_or_default();
    names.to_string_lossy().split(':').map(str::to_owned).collect()
}

/// Makes the descriptor with this number ours.
fn take(number: RawFd) -> io::Result<OwnedFd> {
    let wrong = |what: &str| {
        let text = format!("descriptor {number}, which LISTEN_FDS announces, {what}");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    // SAFETY: it takes numbers, touches no memory, and changes nothing.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(wrong("is not open"));
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(wrong("belongs to another part of this program"));
    }
    // SAFETY: as above; of a descriptor that is ours from here on, it sets the mark, which also keeps it from being taken twice.
    if unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open. It has no owner in this process: it came through `execve`, for which alone it was made
    // (`LISTEN_PID` names this process), and it had no mark, which everything has that the standard library and this
    // crate open. The mark and the lock of the caller keep it from being taken again.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Where they begin: `SD_LISTEN_FDS_START`.
const FIRST: RawFd = 3;

/// More than anybody hands on, and than could be meant.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn told(list: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        let list: Vec<_> = list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        move |asked| list.iter().find(|(name, _)| name == asked).map(|(_, value)| value.into())
    }

    #[test]
    fn sockets_are_for_the_process_that_is_named() {
        let own = std::process::id().to_string();
        let other = (std::process::id() + 1).to_string();
        for (list, wanted) in [
            (&[][..], 0),
            (&[("LISTEN_FDS", "2")], 0),
            (&[("LISTEN_PID", &other), ("LISTEN_FDS", "2")], 0),
            (&[("LISTEN_PID", &own)], 0),
            (&[("LISTEN_PID", &own), ("LISTEN_FDS", "0")], 0),
            (&[("LISTEN_PID", &own), ("LISTEN_FDS", "2")], 2),
            // Who is not meant does not judge.
            (&[("LISTEN_PID", &other), ("LISTEN_FDS", "many")], 0),
        ] {
            assert_eq!(count(&told(list)).unwrap(), wanted, "{list:?}");
        }
        for (list, text) in [
            (&[("LISTEN_PID", "me")][..], "LISTEN_PID is \"me\""),
            (&[("LISTEN_PID", "")], "LISTEN_PID is \"\""),
            (&[("LISTEN_PID", &own), ("LISTEN_FDS", "-1")], "LISTEN_FDS is \"-1\""),
            (&[("LISTEN_PID", &own), ("LISTEN_FDS", "+1")], "LISTEN_FDS is \"+1\""),
            (&[("LISTEN_PID", &own), ("LISTEN_FDS", "4097")], "LISTEN_FDS is 4097, and 4096 is the most"),
        ] {
            let error = count(&told(list)).unwrap_err();
            assert!(error.kind() == io::ErrorKind::InvalidInput && error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn names_are_in_order_and_may_be_missing() {
        assert_eq!(names(&told(&[("LISTEN_FDNAMES", "http:admin.socket")])), ["http", "admin.socket"]);
        assert_eq!(names(&told(&[])), [""]);
    }

    #[test]
    fn what_is_not_open_or_somebody_elses_is_not_taken() {
        let error = take(1_000_000).unwrap_err();
        assert_eq!(error.to_string(), "descriptor 1000000, which LISTEN_FDS announces, is not open");
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = take(file.as_raw_fd()).unwrap_err();
        assert!(error.to_string().ends_with("belongs to another part of this program"), "{error}");
    }
}
