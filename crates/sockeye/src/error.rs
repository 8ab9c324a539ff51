//! What can go wrong with a service itself. What goes wrong with a connection is told to that connection's protocol.

use std::any::Any;
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
    ListenAddr { address: String, error: io::Error },
    Poll(io::Error),
    System(io::Error),
    UnknownDescriptor(RawFd),
    Build(Box<dyn error::Error + Send + Sync>),
    Panicked(String),
    Thread { index: usize, error: Box<Error> },
}

impl Error {
    pub(crate) fn configuration(what: impl Into<String>) -> Self {
        Self(Kind::Configuration(what.into()))
    }

    pub(crate) fn listen(address: impl fmt::Display, error: io::Error) -> Self {
        Self(Kind::ListenAddr { address: address.to_string(), error })
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

    /// What the program said while it described a service; an error of ours among that stays what it was.
    pub(crate) fn build(error: Box<dyn error::Error + Send + Sync>) -> Self {
        error.downcast::<Self>().map_or_else(|error| Self(Kind::Build(error)), |own| *own)
    }

    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self(Kind::Panicked(text.unwrap_or("it did not say why").to_owned()))
    }

    /// In this one of the [`Threads`](crate::Threads).
    pub(crate) fn in_thread(self, index: usize) -> Self {
        Self(Kind::Thread { index, error: Box::new(self) })
    }

    /// Which of the [`Threads`](crate::Threads) it happened in.
    #[must_use]
    pub fn thread(&self) -> Option<usize> {
        match self.0 {
            Kind::Thread { index, .. } => Some(index),
            _ => None,
        }
    }

    /// Whether a callback panicked in one of the [`Threads`](crate::Threads).
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.cause(), Kind::Panicked(_))
    }

    /// What the closure said that describes the service of one of the [`Threads`](crate::Threads).
    #[must_use]
    pub fn build_error(&self) -> Option<&(dyn error::Error + Send + Sync + 'static)> {
        match self.cause() {
            Kind::Build(error) => Some(&**error),
            _ => None,
        }
    }

    /// The kind, wherever it happened.
    fn cause(&self) -> &Kind {
        match &self.0 {
            Kind::Thread { error, .. } => error.cause(),
            kind => kind,
        }
    }

    /// Whether a descriptor is none that the service has. The service goes on.
    #[must_use]
    pub fn is_unknown_descriptor(&self) -> bool {
        matches!(self.cause(), Kind::UnknownDescriptor(_))
    }

    /// Whether an address could not be listened on.
    #[must_use]
    pub fn is_listen(&self) -> bool {
        matches!(self.cause(), Kind::ListenAddr { .. })
    }

    /// The system's error, if that is the cause.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match self.cause() {
            Kind::Configuration(_)
            | Kind::UnknownDescriptor(_)
            | Kind::Build(_)
            | Kind::Panicked(_)
            | Kind::Thread { .. } => None,
            Kind::ListenAddr { error, .. } | Kind::Poll(error) | Kind::System(error) => Some(error),
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
            Kind::ListenAddr { address, error } => {
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
            Kind::Build(error) => error.fmt(f),
            Kind::Panicked(text) => write!(f, "it panicked: {text}"),
            Kind::Thread { index, error } => write!(f, "thread {index}: {error}"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self.cause() {
            // Its text is in ours already.
            Kind::Build(error) => error.source(),
            _ => self.io_error().map(|error| error as _),
        }
    }
}
