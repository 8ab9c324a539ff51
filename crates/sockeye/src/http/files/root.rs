//! The root directory, and opening files without leaving it.
//!
//! Before editing: the root is a descriptor, not a path, and each file is opened relative to it. There are two
//! resolvers with the same results (the tests run each case through both):
//!
//! * the kernel resolves the whole path with `RESOLVE_BENEATH` (Linux 5.6 and later);
//! * where that call is missing or filtered, [`walk`](Root::walk) resolves name by name: it never lets the kernel
//!   follow a link, and reads each link itself.
//!
//! Both follow a link that stays below the root. A link that leaves it, or any absolute link, even to a path below the
//! root, fails with `EXDEV`. The magic links of `/proc` are rejected too (`RESOLVE_NO_MAGICLINKS`).

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
#[cfg(target_os = "linux")]
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;

use crate::http::files::path::Below;

/// A directory opened once, when the service is built.
#[derive(Debug)]
pub(super) struct Root {
    directory: OwnedFd,
    pub(super) resolve: Resolve,
}

/// How symbolic links are kept below the root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resolve {
    /// By the kernel; by [`Root::walk`] where it cannot.
    #[cfg(target_os = "linux")]
    Beneath,
    /// By [`Root::walk`].
    Walk,
    /// Not at all: the program allowed links to lead anywhere.
    Anywhere,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let directory = retry_on_intr(|| openat(CWD, path, DIRECTORY, Mode::empty()))?;
        // ENOSYS: a kernel before 5.6. EPERM: a system call filter without this call.
        #[cfg(target_os = "linux")]
        if !matches!(beneath(directory.as_fd(), ".", FILE), Err(Errno::NOSYS | Errno::PERM)) {
            return Ok(Self { directory, resolve: Resolve::Beneath });
        }
        Ok(Self { directory, resolve: Resolve::Walk })
    }

    /// Opens `path`, of any file type. The caller checks the type of the open descriptor, which unlike the path
    /// cannot change. What is neither a file nor a directory is not opened, which could do something to a FIFO or a device:
    /// its descriptor only says what it is.
    pub(super) fn file(&self, path: Below<'_>) -> Result<File, Errno> {
        let opened = match self.resolve {
            #[cfg(target_os = "linux")]
            Resolve::Beneath => match plain(|flags| beneath(self.directory.as_fd(), path.as_str(), flags)) {
                // ENOSYS, EPERM: a system call filter was installed since. EAGAIN: a concurrent rename, with a `..` in
                // a link. The walk decides, and returns EPERM or EAGAIN itself if that is the true result.
                Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => self.walk(path),
                other => other,
            },
            Resolve::Walk => self.walk(path),
            Resolve::Anywhere => plain(|flags| open(self.directory.as_fd(), path.as_str(), flags)),
        };
        opened.map(File::from)
    }

    /// Resolves `path` name by name, without letting the kernel follow a link.
    ///
    /// ```text
    /// request  a/link/c     link -> ../x/y
    /// reached  [a]          ahead [link, c]          the link's target replaces its name;
    /// reached  []           ahead [a, .., x, y, c]   the walk restarts at the root
    /// reached  [a]          ahead [.., x, y, c]      `..` drops a, and the walk restarts
    /// reached  []           ahead [x, y, c]
    /// ```
    ///
    /// The names in `reached` were directories, not links, so `..` means dropping the last of them. As the walk
    /// restarts, it holds at most two descriptors, however deep the path is.
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
            let opened = if last {
                plain(|flags| open(here, &name, flags | OFlags::NOFOLLOW))
            } else {
                open(here, &name, DIRECTORY | OFlags::NOFOLLOW)
            };
            match opened {
                Ok(file) if last => return Ok(Pass::Opened(file)),
                Ok(directory) => held = Some(directory),
                // O_NOFOLLOW found a link: ELOOP, or EMLINK on FreeBSD; ENOTDIR together with O_DIRECTORY.
                Err(refused @ (Errno::LOOP | Errno::MLINK | Errno::NOTDIR)) => {
                    let target = readlinkat(here, &name, Vec::new()).map_err(|_| refused)?;
                    return splice(reached, target.as_bytes(), ahead).map(Pass::Link);
                }
                Err(error) => return Err(error),
            }
            reached.push_back(name);
        }
        // A link such as `a -> .` leaves no name: the path is the root itself.
        open(self.directory.as_fd(), c".", FILE).map(Pass::Opened)
    }
}

/// The result of one pass of the walk, with the names for the next pass.
enum Pass {
    Opened(OwnedFd),
    Again(VecDeque<CString>),
    Link(VecDeque<CString>),
}

fn open<P: Arg + Copy>(directory: BorrowedFd<'_>, name: P, flags: OFlags) -> Result<OwnedFd, Errno> {
    retry_on_intr(|| openat(directory, name, flags, Mode::empty()))
}

/// Opens what `open` opens with the flags of a file, unless it is something else: then it is not opened, and the descriptor
/// is good for asking what it is.
fn plain(open: impl Fn(OFlags) -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    #[cfg(target_os = "linux")]
    {
        let found = open(OFlags::PATH | OFlags::CLOEXEC)?;
        match FileType::from_raw_mode(fstat(&found)?.st_mode) {
            FileType::RegularFile | FileType::Directory => {}
            // Found by `O_NOFOLLOW`.
            FileType::Symlink => return Err(Errno::LOOP),
            _ => return Ok(found),
        }
    }
    open(FILE)
}

#[cfg(target_os = "linux")]
fn beneath(directory: BorrowedFd<'_>, path: &str, file_flags: OFlags) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};

    let flags = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    retry_on_intr(|| openat2(directory, path, file_flags, Mode::empty(), flags))
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

/// The names of a path. A trailing slash becomes a `.`, which only a directory has.
fn names(path: &[u8]) -> Result<VecDeque<CString>, Errno> {
    if path.len() > PATH_BYTES {
        return Err(Errno::NAMETOOLONG);
    }
    let dot = path.ends_with(b"/").then_some(&b"."[..]);
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).chain(dot);
    names.map(|name| CString::new(name).map_err(|_| Errno::INVAL)).collect()
}

/// `O_NONBLOCK`: a FIFO or a device never blocks. `O_NOCTTY`: a terminal does not become the controlling one.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOCTTY).union(OFlags::NONBLOCK);

/// A directory to resolve from. `O_PATH` needs only search permission, as path resolution in the kernel does.
#[cfg(target_os = "linux")]
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Maximum number of links followed for one path, as in the kernel.
const LINKS: usize = 40;

/// Maximum length of a path with its links resolved, in bytes, as in the kernel.
const PATH_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
