//! What can go wrong with a service itself. What goes wrong with a connection is told to that connection's protocol.

use std::error;
use std::fmt;
use std::io;
use std::os::fd::RawFd;

/// Why a service could not be built or cannot go on.
///
/// Its `Debug` is its `Display`, since a `main` that returns it is ended with the former.
pub struct Error(Kind);

#[derive(Debug)]
enum Kind {
    Configuration(String),
    Listen { address: String, error: io::Error },
    Poll(io::Error),
    System(io::Error),
    UnknownDescriptor(RawFd),
}

impl Error {
    pub(crate) fn configuration(what: impl Into<String>) -> Self {
        Self(Kind::Configuration(what.into()))
    }

    pub(crate) fn listen(address: impl fmt::Display, error: io::Error) -> Self {
        Self(Kind::Listen { address: address.to_string(), error })
    }

    pub(crate) fn poll(error: io::Error) -> Self {
        Self(Kind::Poll(error))
    }

    pub(crate) fn system(error: io::Error) -> Self {
        Self(Kind::System(error))
    }

    pub(crate) fn unknown_descriptor(fd: RawFd) -> Self {
        Self(Kind::UnknownDescriptor(fd))
    }

    /// Whether a descriptor is none that the service has. The service goes on.
    #[must_use]
    pub fn is_unknown_descriptor(&self) -> bool {
        matches!(self.0, Kind::UnknownDescriptor(_))
    }

    /// Whether an address could not be listened on.
    #[must_use]
    pub fn is_listen(&self) -> bool {
        matches!(self.0, Kind::Listen { .. })
    }

    /// The system's error, if that is the cause.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match &self.0 {
            Kind::Configuration(_) | Kind::UnknownDescriptor(_) => None,
            Kind::Listen { error, .. } | Kind::Poll(error) | Kind::System(error) => Some(error),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Configuration(what) => f.write_str(what),
            Kind::Listen { address, error } => {
                // The real system's text names the address already.
                let text = error.to_string();
                if text.starts_with("cannot listen") {
                    f.write_str(&text)
                } else {
                    write!(f, "cannot listen on {address}: {text}")
                }
            }
            Kind::Poll(error) => write!(f, "the poller failed: {error}"),
            Kind::System(error) => write!(f, "cannot start: {error}"),
            Kind::UnknownDescriptor(fd) => write!(f, "descriptor {fd} is none of this service, or not any more"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.io_error().map(|error| error as _)
    }
}
