//! The directory that nothing leaves.
//!
//! What to know before editing: the root is a descriptor, not a path, and each file is opened relative to it. Two ways lead
//! to a file, and they agree on every answer (the tests run each case through both):
//!
//! * the kernel resolves the whole path under `RESOLVE_BENEATH` (Linux 5.6 and later);
//! * where that call is missing or filtered out, [`walk`](Root::walk) resolves name by name, never lets the kernel follow a
//!   link, and reads each link itself.
//!
//! Either way a link is followed as long as it stays below the root, and a link that climbs out or is absolute ends with
//! `EXDEV`; an absolute link does so even if it points to a place below the root. The links of `/proc` that jump without a
//! path (`RESOLVE_NO_MAGICLINKS`) are refused too.

use std::{
    collections::VecDeque,
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat, readlinkat},
    io::{Errno, retry_on_intr},
    path::Arg,
};

use crate::http::files::path::Below;

/// A directory opened once, when the service is built.
#[derive(Debug)]
pub(super) struct Root {
    directory: OwnedFd,
    pub(super) resolve: Resolve,
}

/// Who keeps symbolic links below the root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resolve {
    /// The kernel does; [`Root::walk`] helps out where it cannot.
    #[cfg(target_os = "linux")]
    Beneath,
    /// [`Root::walk`] does.
    Walk,
    /// Nobody: the user said that links may lead anywhere.
    Anywhere,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let directory = retry_on_intr(|| openat(CWD, path, DIRECTORY, Mode::empty()))?;
        // ENOSYS: a kernel before 5.6. EPERM: a system call filter that does not know the call.
        #[cfg(target_os = "linux")]
        if !matches!(beneath(directory.as_fd(), "."), Err(Errno::NOSYS | Errno::PERM)) {
            return Ok(Self { directory, resolve: Resolve::Beneath });
        }
        Ok(Self { directory, resolve: Resolve::Walk })
    }

    /// Opens what stands at `path`, whatever it is: the caller looks at the open descriptor, because only there is the answer
    /// not out of date. Never blocks on a FIFO or a device.
    pub(super) fn file(&self, path: Below<'_>) -> Result<File, Errno> {
        let opened = match self.resolve {
            #[cfg(target_os = "linux")]
            Resolve::Beneath => match beneath(self.directory.as_fd(), path.as_str()) {
                // ENOSYS, EPERM: a system call filter set up since, which does not know the call. EAGAIN: a rename elsewhere
                // made the kernel unsure of a `..` in a link. The walk answers, with the true EPERM or EAGAIN if it was one.
                Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => self.walk(path),
                other => other,
            },
            Resolve::Walk => self.walk(path),
            Resolve::Anywhere => open(self.directory.as_fd(), path.as_str(), FILE),
        };
        opened.map(File::from)
    }

    /// Resolves `path` name by name without letting the kernel follow anything.
    ///
    /// ```text
    /// request  a/link/c     link -> ../x/y
    /// reached  [a]          ahead [link, c]          the link is read and put in place of its name;
    /// reached  []           ahead [a, .., x, y, c]   the walk begins again at the root
    /// reached  [a]          ahead [.., x, y, c]      `..` drops a, and the walk begins again
    /// reached  []           ahead [x, y, c]
    /// ```
    ///
    /// Names in `reached` were directories and no links when passed: that is why dropping the last one is what `..` means.
    /// Beginning again holds two descriptors at most, however deep the path is.
    fn walk(&self, path: Below<'_>) -> Result<OwnedFd, Errno> {
        let mut ahead = names(path.as_str().as_bytes())?;
        let mut links = 0;
        loop {
            match self.pass(ahead)? {
                Pass::Opened(file) => return Ok(file),
                Pass::Again(rest) => ahead = rest,
                Pass::Link(rest) => {
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::LOOP);
                    }
                    ahead = rest;
                }
            }
        }
    }

    /// One pass from the root, up to the end of `ahead`, a link or a `..`.
    fn pass(&self, mut ahead: VecDeque<CString>) -> Result<Pass, Errno> {
        let mut reached = VecDeque::new();
        let mut held: Option<OwnedFd> = None;
        while let Some(name) = ahead.pop_front() {
            let here = held.as_ref().map_or_else(|| self.directory.as_fd(), AsFd::as_fd);
            let last = ahead.is_empty();
            match name.as_bytes() {
                b"." if last => return Ok(Pass::Again(reached)),
                b"." => continue,
                b".." => {
                    reached.pop_back().ok_or(Errno::XDEV)?;
                    reached.append(&mut ahead);
                    return Ok(Pass::Again(reached));
                }
                _ => {}
            }
            let flags = if last { FILE } else { DIRECTORY };
            match open(here, &name, flags | OFlags::NOFOLLOW) {
                Ok(file) if last => return Ok(Pass::Opened(file)),
                Ok(directory) => held = Some(directory),
                // O_NOFOLLOW met a link: ELOOP, EMLINK on FreeBSD; together with O_DIRECTORY it is ENOTDIR.
                Err(refused @ (Errno::LOOP | Errno::MLINK | Errno::NOTDIR)) => {
                    let target = readlinkat(here, &name, Vec::new()).map_err(|_| refused)?;
                    return splice(reached, target.as_bytes(), ahead).map(Pass::Link);
                }
                Err(error) => return Err(error),
            }
            reached.push_back(name);
        }
        // A link such as `a -> .` leaves no name: what it means is the root itself.
        open(self.directory.as_fd(), c".", FILE).map(Pass::Opened)
    }
}

/// How one pass of the walk ended; the names are those of the next pass.
enum Pass {
    Opened(OwnedFd),
    Again(VecDeque<CString>),
    Link(VecDeque<CString>),
}

fn open<P: Arg + Copy>(directory: BorrowedFd<'_>, name: P, flags: OFlags) -> Result<OwnedFd, Errno> {
    retry_on_intr(|| openat(directory, name, flags, Mode::empty()))
}

#[cfg(target_os = "linux")]
fn beneath(directory: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};

    let flags = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    retry_on_intr(|| openat2(directory, path, FILE, Mode::empty(), flags))
}

/// `reached`, then the names of the link's `target`, then `ahead`.
fn splice(
    mut reached: VecDeque<CString>,
    target: &[u8],
    mut ahead: VecDeque<CString>,
) -> Result<VecDeque<CString>, Errno> {
    if target.first() == Some(&b'/') {
        return Err(Errno::XDEV);
    }
    reached.append(&mut names(target)?);
    reached.append(&mut ahead);
    if reached.iter().map(|name| name.as_bytes().len() + 1).sum::<usize>() > PATH_BYTES {
        return Err(Errno::NAMETOOLONG);
    }
    Ok(reached)
}

/// The names of a path; a slash at its end becomes a `.`, which only a directory has.
fn names(path: &[u8]) -> Result<VecDeque<CString>, Errno> {
    if path.len() > PATH_BYTES {
        return Err(Errno::NAMETOOLONG);
    }
    let dot = path.ends_with(b"/").then_some(&b"."[..]);
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).chain(dot);
    names.map(|name| CString::new(name).map_err(|_| Errno::INVAL)).collect()
}

/// `O_NONBLOCK` so that a FIFO or a device never blocks, `O_NOCTTY` so that a terminal does not become ours.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOCTTY).union(OFlags::NONBLOCK);

/// A place to start from: with `O_PATH`, permission to search is enough, as it is for the kernel.
#[cfg(target_os = "linux")]
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Links followed for one path, as in the kernel.
const LINKS: usize = 40;

/// Bytes of a path with its links resolved, as in the kernel.
const PATH_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
