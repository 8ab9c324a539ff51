//! Commands. Every argument has its length in front, so that no byte of a topic or a message can end it, or begin another command.

use std::io::Write as _;

/// A command that is being written.
#[derive(Debug)]
pub(crate) struct Command<'a> {
    out: &'a mut Vec<u8>,
    /// Arguments that are still to come.
    left: usize,
}

impl<'a> Command<'a> {
    /// Begins a command with its name and `count` arguments.
    pub(crate) fn new(out: &'a mut Vec<u8>, name: &str, count: usize) -> Self {
        write_length(out, b'*', count + 1);
        Self { out, left: count + 1 }.argument(name.as_bytes())
    }

    /// Adds an argument.
    pub(crate) fn argument(self, bytes: &[u8]) -> Self {
        self.parts(&[bytes])
    }

    /// Adds an argument that is made of several parts.
    pub(crate) fn parts(mut self, parts: &[&[u8]]) -> Self {
        write_length(self.out, b'$', parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
        self.out.extend_from_slice(b"\r\n");
        debug_assert!(self.left > 0, "more arguments than were announced");
        self.left = self.left.saturating_sub(1);
        self
    }
}

impl Drop for Command<'_> {
    fn drop(&mut self) {
        debug_assert_eq!(self.left, 0, "fewer arguments than were announced");
    }
}

fn write_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    // Writing into memory does not fail.
    let _ = write!(out, "{}{length}\r\n", char::from(kind));
}

/// The most that the lengths and ends of one argument take.
pub(crate) const ARGUMENT_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_their_length_in_front() {
        let mut out = Vec::new();
        Command::new(&mut out, "PUBLISH", 2).argument(b"a\r\n*1\r\n").parts(&[b"one", b"", b"two"]);
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$7\r\na\r\n*1\r\n\r\n$6\r\nonetwo\r\n");
    }
}
