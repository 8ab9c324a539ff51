//! The bytes of an open file, read by the loop as the socket accepts them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A range of an open file, none of it in memory.
#[derive(Clone, Debug)]
pub(crate) struct FileBody {
    file: Arc<File>,
    offset: u64,
    /// Bytes still to send; `offset + remaining` was within the file when it was opened.
    remaining: u64,
}

impl FileBody {
    pub(in crate::http) fn new(file: File, offset: u64, remaining: u64) -> Self {
        Self { file: Arc::new(file), offset, remaining }
    }

    /// Bytes still to send.
    pub(crate) const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Reads the next bytes into `buffer` without advancing: call [`advance`](Self::advance) with what the socket
    /// accepted; the rest may be read again.
    ///
    /// `Ok(0)`: nothing remains, or `buffer` is empty. If the file was truncated meanwhile, the error is
    /// `UnexpectedEof`: the Content-Length that was sent cannot be met, so the connection must be aborted.
    pub(crate) fn read_at(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        loop {
            match self.file.read_at(&mut buffer[..wanted], self.offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Notes that `count` bytes were sent.
    pub(crate) fn advance(&mut self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX).min(self.remaining);
        self.offset += count;
        self.remaining -= count;
    }
}
