//! The bytes of an open file, pulled by the loop as the socket takes them.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

/// A stretch of an open file. Nothing of it is in memory.
#[derive(Clone, Debug)]
pub(crate) struct FileBody {
    file: Arc<File>,
    offset: u64,
    /// Bytes still to be sent; `offset + remaining` was within the file when it was opened.
    remaining: u64,
}

impl FileBody {
    pub(super) fn new(file: File, offset: u64, remaining: u64) -> Self {
        Self { file: Arc::new(file), offset, remaining }
    }

    /// Bytes still to be sent.
    pub(crate) const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Reads the next bytes into `buffer` without advancing: what the socket then takes is passed to [`advance`](Self::advance),
    /// and the rest may be read again.
    ///
    /// `Ok(0)` means that nothing remains (or that `buffer` is empty). A file that has become shorter is an error of kind
    /// `UnexpectedEof`: the promised Content-Length cannot be kept, so that the connection must be aborted.
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
