//! Where the log goes. Everything here runs on the log's own thread, and may wait.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::level::Level;

/// A place for records.
pub(super) trait Sink {
    /// Writes all of them, and says how many were lost.
    fn write(&mut self, records: Records<'_>) -> u64;

    /// Reopens a destination that may have been replaced. `None`: nothing to do.
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
    Stream {
        stream: Box<dyn Write + Send>,
        /// Its last line is not whole.
        torn: bool,
    },
    File {
        path: PathBuf,
        file: File,
        /// Its last line is not whole: the disk was full.
        torn: bool,
    },
    Socket {
        path: PathBuf,
        socket: Option<UnixDatagram>,
    },
    /// A function of the program. Records are a level, a target, a zero byte and a line.
    Emitter(Emit),
}

/// Gets level, target and line.
pub(super) type Emit = Box<dyn FnMut(Level, &str, &str) + Send>;

impl Target {
    pub(super) fn stream(stream: impl Write + Send + 'static) -> Self {
        Self::Stream { stream: Box::new(stream), torn: false }
    }

    pub(super) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::File { path: path.to_owned(), file: open(path)?, torn: false })
    }

    /// One that takes packets. It may come and go.
    pub(super) fn socket(path: &Path) -> Self {
        Self::Socket { path: path.to_owned(), socket: None }
    }
}

impl Sink for Target {
    fn write(&mut self, records: Records<'_>) -> u64 {
        match self {
            Self::Stream { stream, torn } => write_lines(stream, records, torn),
            Self::File { file, torn, .. } => write_lines(file, records, torn),
            Self::Socket { path, socket } => records.iter().filter(|record| !send(path, socket, record)).count() as u64,
            Self::Emitter(emit) => {
                for (level, target, line) in records.iter().filter_map(emitted) {
                    emit(level, target, line);
                }
                0
            }
        }
    }

    fn reopen(&mut self) -> Option<io::Result<()>> {
        let Self::File { path, file, torn } = self else { return None };
        Some(open(path).map(|opened| (*file, *torn) = (opened, false)))
    }
}

/// Takes a record for an emitter apart.
fn emitted(record: &[u8]) -> Option<(Level, &str, &str)> {
    let (level, rest) = record.split_first()?;
    let (target, line) = std::str::from_utf8(rest).ok()?.split_once('\0')?;
    Some((*Level::ALL.get(usize::from(*level))?, target, line))
}

/// Writes lines as far as it goes, and says how many are not there as a whole. What is left of one is ended before the next.
fn write_lines(file: &mut impl Write, records: Records<'_>, torn: &mut bool) -> u64 {
    if *torn && file.write_all(b"\n").is_err() {
        return records.ends.len() as u64;
    }
    let mut written = 0;
    while written < records.bytes.len() {
        match file.write(&records.bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // One that keeps them back says at the next line what became of them.
    let _ = file.flush();
    let whole = records.ends.partition_point(|&end| end <= written);
    *torn = written > whole.checked_sub(1).map_or(0, |last| records.ends[last]);
    (records.ends.len() - whole) as u64
}

/// Sends a packet; once more on a new socket if the daemon behind the old one is gone, as after a restart.
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

/// Whether the socket accepts packets at the moment.
pub(super) fn check(path: &Path) -> io::Result<()> {
    connect(path).map(drop)
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

fn open(path: &Path) -> io::Result<File> {
    // A terminal is not to become that of this process, and a pipe without a reader would have us wait for one.
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits() as i32;
    let opened = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NXIO) if is_pipe(path) => io::Error::new(error.kind(), "it is a pipe without a reader"),
        _ => error,
    })?;
    // From here on waiting is right: it is the log's own thread.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

fn is_pipe(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room.
    struct Disk(Vec<u8>, usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.1);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.0.extend_from_slice(&bytes[..count]);
            self.1 -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_behind_a_full_disk_are_lines_again_wherever_it_was_full() {
        let records = Records { bytes: b"one\ntwo\n", ends: &[4, 8] };
        for room in 0..=8 {
            let (mut disk, mut torn) = (Disk(Vec::new(), room), false);
            let whole = room / 4;
            assert_eq!(write_lines(&mut disk, records, &mut torn), 2 - whole as u64, "{room}");
            assert_eq!(torn, room % 4 != 0, "{room}");
            assert_eq!(write_lines(&mut disk, records, &mut torn), 2, "{room}: still full");
            disk.1 = 100;
            assert_eq!(write_lines(&mut disk, records, &mut torn), 0);
            assert!(!torn);
            let text = String::from_utf8(disk.0).unwrap();
            assert!(text.ends_with("one\ntwo\n"), "{room}: {text:?}");
            // The last byte of a line is its end: one without it is counted as lost, and then ended.
            let known = |line: &str| "one".starts_with(line) || "two".starts_with(line);
            assert!(text.lines().all(|line| !line.is_empty() && known(line)), "{room}: {text:?}");
        }
    }
}
