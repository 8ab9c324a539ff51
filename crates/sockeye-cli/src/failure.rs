//! Why the command ends without success: a line for people, a number for scripts.

/// A message and an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Failure {
    /// Something failed that the command line has no part in.
    pub(crate) fn general(message: String) -> Self {
        Self { code: 1, message }
    }

    /// What the command line asks for cannot be: a folder or address that does not exist, a port in use.
    pub(crate) fn usage(message: String) -> Self {
        Self { code: 2, message }
    }
}
