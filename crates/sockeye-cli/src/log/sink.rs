//! Where the log goes. Everything here runs on the log's own thread, and may wait.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// A place for records.
pub(super) trait Sink {
    /// Writes all of them, and says how many were lost.
    fn write(&mut self, records: Records<'_>) -> u64;

    /// Begins anew where the place may have become another one. `None`: nothing to do.
    fn reopen(&mut self) -> Option<io::Result<()>> {
        None
    }
}

/// Records behind each other, and where each of them ends.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) ends: &'a [usize],
}

impl<'a> Records<'a> {
    fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(self.ends).map(move |(begin, &end)| &self.bytes[begin..end])
    }
}

pub(super) enum Target {
    /// Standard error, or whoever draws on the terminal that it is.
    Stderr,
    File {
        path: PathBuf,
        file: File,
    },
    Socket {
        path: PathBuf,
        socket: Option<UnixDatagram>,
    },
}

impl Target {
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::File { path: path.to_owned(), file: open(path)? })
    }

    /// One that takes packets. It may come and go.
    pub(super) fn socket(path: &Path) -> Self {
        Self::Socket { path: path.to_owned(), socket: None }
    }
}

impl Sink for Target {
    fn write(&mut self, records: Records<'_>) -> u64 {
        match self {
            Self::Stderr => {
                if !super::DIVERTED.get().is_some_and(|show| show(records.bytes)) {
                    // Nobody reads it: nobody misses it.
                    let _ = io::stderr().write_all(records.bytes);
                }
                0
            }
            Self::File { file, .. } => {
                if file.write_all(records.bytes).is_ok() {
                    0
                } else {
                    records.ends.len() as u64
                }
            }
            Self::Socket { path, socket } => records.iter().filter(|record| !send(path, socket, record)).count() as u64,
        }
    }

    fn reopen(&mut self) -> Option<io::Result<()>> {
        let Self::File { path, file } = self else { return None };
        Some(open(path).map(|opened| *file = opened))
    }
}

/// Sends a packet; once more on a new socket if the daemon behind the old one is gone, as when it was started anew.
fn send(path: &Path, socket: &mut Option<UnixDatagram>, record: &[u8]) -> bool {
    for _ in 0..2 {
        if socket.is_none() {
            *socket = connect(path).ok();
        }
        let Some(connected) = socket else { return false };
        loop {
            match connected.send(record) {
                Ok(_) => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        *socket = None;
    }
    false
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

fn open(path: &Path) -> io::Result<File> {
    // A terminal is not to become that of this process.
    let flags = rustix::fs::OFlags::NOCTTY.bits() as i32;
    OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)
}
