//! Sockets that a service manager opened before it started the service, by the protocol of `sd_listen_fds(3)`.
//!
//! What to know before editing: numbers become owned descriptors here, in a safe function. The environment proves nothing: it
//! is the same when the program itself opened a file that got number 3. The proof is a look at the descriptors before `main`
//! ([`observe`]): what is open there came through `execve`, because no safe code has run that could own it.

use std::ffi::{CStr, c_int};
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::daemon::systemd::{Variables, environment, is_for_us, number};

/// A socket that this process was started with. Its type is not checked here: a [`ListenAddr`](crate::service::ListenAddr) made
/// from its descriptor (`OwnedFd::from`) accepts listening stream sockets and reports what anything else is.
#[derive(Debug)]
pub struct Socket {
    name: String,
    descriptor: OwnedFd,
}

impl Socket {
    /// `FileDescriptorName=` of the socket unit. By default that is the unit's name, such as `sockeye.socket`, and `unknown`
    /// if the manager gave no name.
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

/// The number of sockets that this process was started with, whether or not they were taken since: 0 without `LISTEN_PID`, or
/// if that names another process.
///
/// # Errors
/// `InvalidInput`: a variable is not a number, or is out of range.
pub fn passed() -> io::Result<usize> {
    count(&environment)
}

/// Takes the sockets that this process was started with, in the order of the unit. All of them are closed on `exec` from now
/// on. Only the first call that succeeds returns them; later calls return an empty list.
///
/// It may be called at any time: only descriptors are taken that were open before `main`. A program that also lets another
/// library take these descriptors has to choose one of the two. Those that libraries took in the usual way (marked as closed
/// on `exec`) are refused.
///
/// # Errors
/// `InvalidInput`: a variable is not a number or is out of range; or an announced descriptor is not open, was not open when
/// this process started, or belongs to another part of this program. Then none is taken, and all stay as they were.
pub fn sockets() -> io::Result<Vec<Socket>> {
    static TAKEN: Mutex<bool> = Mutex::new(false);
    // Nothing panics under the lock.
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let count = count(&environment)?;
    if *taken || count == 0 {
        return Ok(Vec::new());
    }
    let mut names = names(&environment).into_iter();
    let numbers = numbers(count);
    numbers.clone().try_for_each(check)?;
    if AT_START.load(Ordering::Relaxed) != count {
        return Err(invalid(format!(
            "LISTEN_FDS announces {count} descriptor(s), and this process was not started with all of them"
        )));
    }
    close_on_exec(numbers.clone())?;
    *taken = true;
    let socket = |number| {
        let name = names.next().filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned());
        // SAFETY: the descriptor is open, and this value becomes its only owner. It was open before `main` and not marked
        // (`observe`), so it came through `execve`, where owners end, and the manager made it for this process (`LISTEN_PID`).
        // Safe code gets no owner of a number that it did not open, and the number stayed open until now, so nothing else
        // got it. Others that make owners of inherited descriptors do that in unsafe code and mark them; a marked one is
        // refused. `taken` and the mark keep it from being taken twice, in this process; a fork has another `LISTEN_PID`.
        Socket { name, descriptor: unsafe { OwnedFd::from_raw_fd(number) } }
    };
    Ok(numbers.map(socket).collect())
}

fn count(variables: Variables<'_>) -> io::Result<usize> {
    if is_for_us(variables, "LISTEN_PID")? != Some(true) {
        return Ok(0);
    }
    let count = number(variables, "LISTEN_FDS")?.unwrap_or(0);
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= MOST)
        .ok_or_else(|| invalid(format!("the variable LISTEN_FDS is {count}, and {MOST} is the most")))
}

/// The names. There may be fewer than sockets.
fn names(variables: Variables<'_>) -> Vec<String> {
    let names = variables("LISTEN_FDNAMES").unwrap_or_default();
    names.to_string_lossy().split(':').map(str::to_owned).collect()
}

fn numbers(count: usize) -> Range<RawFd> {
    // At most `MOST`.
    FIRST..FIRST + count as RawFd
}

/// Refuses a descriptor that is not open or has an owner in this program.
fn check(number: RawFd) -> io::Result<()> {
    let wrong = |what| Err(invalid(format!("descriptor {number}, which LISTEN_FDS announces, {what}")));
    match flags(number) {
        None => wrong("is not open"),
        Some(flags) if flags & libc::FD_CLOEXEC != 0 => wrong("belongs to another part of this program"),
        Some(_) => Ok(()),
    }
}

/// Marks all of them, or none. They are open and without the mark.
fn close_on_exec(numbers: Range<RawFd>) -> io::Result<()> {
    for number in numbers.clone() {
        if !set_flags(number, libc::FD_CLOEXEC) {
            let error = io::Error::last_os_error();
            for number in numbers.start..number {
                set_flags(number, 0);
            }
            return Err(error);
        }
    }
    Ok(())
}

fn flags(number: RawFd) -> Option<c_int> {
    // SAFETY: it takes numbers, touches no memory, and changes nothing.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    (flags >= 0).then_some(flags)
}

fn set_flags(number: RawFd, flags: c_int) -> bool {
    // SAFETY: it takes numbers and touches no memory. The descriptor keeps its owner, if it has one.
    unsafe { libc::fcntl(number, libc::F_SETFD, flags) >= 0 }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// The number of descriptors from [`FIRST`] on that were announced, open and unmarked before `main`. 0 unless all were.
static AT_START: AtomicUsize = AtomicUsize::new(0);

/// Has the C library run [`observe`] before `main`, and before other such functions of programs. If a linker drops this, nothing was observed, and no descriptor is taken.
// SAFETY: entries of this section are functions that are called with arguments which a function without parameters ignores.
#[used]
#[unsafe(link_section = ".init_array.00101")]
static OBSERVE: extern "C" fn() = observe;

/// Looks at the descriptors that this process was started with, and changes nothing: the program may not want them, or may
/// execute another one that does.
///
/// The standard library is not ready here. Nothing below allocates or panics, or needs more of it than `getpid`.
extern "C" fn observe() {
    let own = std::process::id();
    if variable_at_start(c"LISTEN_PID") != Some(u64::from(own)) {
        return;
    }
    let count = variable_at_start(c"LISTEN_FDS").and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    if count <= MOST && numbers(count).all(|number| flags(number) == Some(0)) {
        AT_START.store(count, Ordering::Relaxed);
    }
}

/// A variable that is a number, read before `main`.
fn variable_at_start(name: &CStr) -> Option<u64> {
    // SAFETY: the name ends with a zero byte. No thread of safe code runs yet that could change the environment.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: `getenv` returns a string that ends with a zero byte, which stays until the environment is changed.
    unsafe { CStr::from_ptr(value) }.to_str().ok()?.parse().ok()
}

/// The first descriptor: `SD_LISTEN_FDS_START`.
const FIRST: RawFd = 3;

/// The most that is accepted. More cannot be meant.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn variables(list: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
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
            // Variables for another process are not checked.
            (&[("LISTEN_PID", &other), ("LISTEN_FDS", "many")], 0),
        ] {
            assert_eq!(count(&variables(list)).unwrap(), wanted, "{list:?}");
        }
        for (list, text) in [
            (&[("LISTEN_PID", "me")][..], "LISTEN_PID is \"me\""),
            (&[("LISTEN_PID", "")], "LISTEN_PID is \"\""),
            (&[("LISTEN_PID", &own), ("LISTEN_FDS", "-1")], "LISTEN_FDS is \"-1\""),
            (&[("LISTEN_PID", &own), ("LISTEN_FDS", "+1")], "LISTEN_FDS is \"+1\""),
            (&[("LISTEN_PID", &own), ("LISTEN_FDS", "4097")], "LISTEN_FDS is 4097, and 4096 is the most"),
        ] {
            let error = count(&variables(list)).unwrap_err();
            assert!(error.kind() == io::ErrorKind::InvalidInput && error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn names_are_in_order_and_may_be_missing() {
        assert_eq!(names(&variables(&[("LISTEN_FDNAMES", "http:admin.socket")])), ["http", "admin.socket"]);
        assert_eq!(names(&variables(&[])), [""]);
    }

    #[test]
    fn a_descriptor_with_an_owner_is_refused() {
        let error = check(1_000_000).unwrap_err();
        assert_eq!(error.to_string(), "descriptor 1000000, which LISTEN_FDS announces, is not open");
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = check(file.as_raw_fd()).unwrap_err();
        assert!(error.to_string().ends_with("belongs to another part of this program"), "{error}");
    }

    #[test]
    fn a_mark_that_cannot_be_set_leaves_none_behind() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let last =
            rustix::io::fcntl_dupfd_cloexec(&file, 900_000).or_else(|_| rustix::io::fcntl_dupfd_cloexec(&file, 900));
        let last = last.unwrap();
        rustix::io::fcntl_setfd(&last, rustix::io::FdFlags::empty()).unwrap();
        let number = last.as_raw_fd();
        assert!(close_on_exec(number..number + 2).is_err(), "there is no descriptor behind it");
        assert_eq!(flags(number), Some(0));
        close_on_exec(number..number + 1).unwrap();
        assert_eq!(flags(number), Some(libc::FD_CLOEXEC));
    }
}
