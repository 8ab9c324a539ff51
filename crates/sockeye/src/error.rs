//! Errors of a service as a whole. An error of one connection goes to the protocol of that connection.

use std::any::Any;
use std::error;
use std::fmt;
use std::io;
use std::os::fd::RawFd;

use crate::sys::Address;

pub use crate::limits::LimitError;

/// Why a service could not be built or cannot go on.
///
/// [`kind`](Self::kind) says what it is about, and the other methods give what is known of that. `Debug` prints the same as
/// `Display`, because that is what is shown when `main` returns an error.
///
/// ```
/// use sockeye::Service;
/// use sockeye::error::ErrorKind;
///
/// let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let error = Service::builder().listen(taken.local_addr()?).build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Listen);
/// println!("{error}"); // names the address, and what the system said
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Error(Repr);

/// What an [`Error`] is about, whichever of the [`Threads`](crate::Threads) it happened in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What the program asked for is contradictory or out of range.
    Configuration,
    /// A listener could not be opened; see [`Error::as_listen`].
    Listen,
    /// Waiting for events failed.
    Poll,
    /// The system refused something else that a service needs, such as a poller or a thread.
    System,
    /// The service has no such descriptor (any more). It goes on.
    UnknownDescriptor,
    /// The closure failed that describes the service of one of the [`Threads`](crate::Threads); see [`Error::build_error`].
    Build,
    /// A callback panicked: in one of the [`Threads`](crate::Threads), or earlier in this service, which cannot go on.
    Panicked,
}

#[derive(Debug)]
enum Repr {
    Configuration(String),
    Limit(Box<LimitError>),
    Listen(Box<ListenError>),
    Poll(io::Error),
    System(io::Error),
    UnknownDescriptor(RawFd),
    Build(Box<dyn error::Error + Send + Sync>),
    Panicked(String),
    Poisoned,
    Thread { index: usize, error: Box<Error> },
}

impl Error {
    pub(crate) fn configuration(what: impl Into<String>) -> Self {
        Self(Repr::Configuration(what.into()))
    }

    pub(crate) fn limit(error: LimitError) -> Self {
        Self(Repr::Limit(Box::new(error)))
    }

    pub(crate) fn listen(target: ListenTarget, source: io::Error) -> Self {
        Self(Repr::Listen(Box::new(ListenError { target, source })))
    }

    pub(crate) fn poll(error: io::Error) -> Self {
        Self(Repr::Poll(error))
    }

    pub(crate) fn system(error: io::Error) -> Self {
        Self(Repr::System(error))
    }

    pub(crate) fn unknown_descriptor(fd: RawFd) -> Self {
        Self(Repr::UnknownDescriptor(fd))
    }

    /// The error of the program's closure that describes a service. If it is one of ours it stays what it was.
    pub(crate) fn build(error: Box<dyn error::Error + Send + Sync>) -> Self {
        error.downcast::<Self>().map_or_else(|error| Self(Repr::Build(error)), |own| *own)
    }

    /// A callback panicked in an earlier turn.
    pub(crate) fn poisoned() -> Self {
        Self(Repr::Poisoned)
    }

    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self(Repr::Panicked(text.unwrap_or("it gave no reason").to_owned()))
    }

    /// The same error, in this one of the [`Threads`](crate::Threads).
    pub(crate) fn in_thread(self, index: usize) -> Self {
        Self(Repr::Thread { index, error: Box::new(self) })
    }

    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self.cause() {
            Repr::Configuration(_) | Repr::Limit(_) => ErrorKind::Configuration,
            Repr::Listen(_) => ErrorKind::Listen,
            Repr::Poll(_) => ErrorKind::Poll,
            Repr::System(_) => ErrorKind::System,
            Repr::UnknownDescriptor(_) => ErrorKind::UnknownDescriptor,
            Repr::Build(_) => ErrorKind::Build,
            Repr::Panicked(_) | Repr::Poisoned => ErrorKind::Panicked,
            Repr::Thread { error, .. } => error.kind(),
        }
    }

    /// Which of the [`Threads`](crate::Threads) it happened in.
    #[must_use]
    pub fn thread(&self) -> Option<usize> {
        match self.0 {
            Repr::Thread { index, .. } => Some(index),
            _ => None,
        }
    }

    /// Whether a callback panicked, in one of the [`Threads`](crate::Threads) or in an earlier turn of this service.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.kind() == ErrorKind::Panicked
    }

    /// The error of the closure that describes the service of one of the [`Threads`](crate::Threads).
    #[must_use]
    pub fn build_error(&self) -> Option<&(dyn error::Error + Send + Sync + 'static)> {
        match self.cause() {
            Repr::Build(error) => Some(&**error),
            _ => None,
        }
    }

    /// Whether the service has no such descriptor (any more). The service goes on.
    #[must_use]
    pub fn is_unknown_descriptor(&self) -> bool {
        self.kind() == ErrorKind::UnknownDescriptor
    }

    /// The limit that is out of its range.
    #[must_use]
    pub fn as_limit(&self) -> Option<&LimitError> {
        match self.cause() {
            Repr::Limit(error) => Some(error),
            _ => None,
        }
    }

    /// The listener that could not be opened, and why.
    #[must_use]
    pub fn as_listen(&self) -> Option<&ListenError> {
        match self.cause() {
            Repr::Listen(error) => Some(error),
            _ => None,
        }
    }

    /// The system's error, if that is the cause.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match self.cause() {
            Repr::Listen(error) => Some(&error.source),
            Repr::Poll(error) | Repr::System(error) => Some(error),
            Repr::Configuration(_)
            | Repr::Limit(_)
            | Repr::UnknownDescriptor(_)
            | Repr::Build(_)
            | Repr::Panicked(_)
            | Repr::Poisoned
            | Repr::Thread { .. } => None,
        }
    }

    /// The error itself, whichever thread it happened in.
    fn cause(&self) -> &Repr {
        match &self.0 {
            Repr::Thread { error, .. } => error.cause(),
            repr => repr,
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
            Repr::Configuration(what) => f.write_str(what),
            Repr::Limit(error) => error.fmt(f),
            Repr::Listen(error) => error.fmt(f),
            Repr::Poll(error) => write!(f, "the poller failed: {error}"),
            Repr::System(error) => write!(f, "cannot start: {error}"),
            Repr::UnknownDescriptor(fd) => write!(f, "descriptor {fd} is not registered with this service"),
            Repr::Build(error) => error.fmt(f),
            Repr::Panicked(text) => write!(f, "it panicked: {text}"),
            Repr::Poisoned => f.write_str("a callback panicked in an earlier turn; the service cannot go on"),
            Repr::Thread { index, error } => write!(f, "thread {index}: {error}"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self.cause() {
            // Its text is in ours already.
            Repr::Build(error) => error.source(),
            _ => self.io_error().map(|error| error as _),
        }
    }
}

/// A listener that could not be opened.
#[derive(Debug)]
pub struct ListenError {
    target: ListenTarget,
    source: io::Error,
}

impl ListenError {
    /// Where the service should listen.
    #[must_use]
    pub fn target(&self) -> &ListenTarget {
        &self.target
    }

    /// Why it cannot. The kinds `AddrInUse`, `AddrNotAvailable` and `PermissionDenied` are the usual ones; `InvalidInput` is an
    /// option that does not fit, or a descriptor that is not a listener.
    #[must_use]
    pub fn io_error(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.target, self.source)
    }
}

impl error::Error for ListenError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Where a service should listen.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ListenTarget {
    /// This address.
    Address(Address),
    /// A text whose addresses could not be looked up.
    Name(String),
    /// A listener that was passed as this descriptor.
    Descriptor(RawFd),
}

impl fmt::Display for ListenTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(text) => f.write_str(text),
            Self::Descriptor(fd) => write!(f, "descriptor {fd}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn in_use() -> Error {
        Error::listen(ListenTarget::Descriptor(7), io::ErrorKind::AddrInUse.into())
    }

    #[test]
    fn errors_are_small() {
        assert!(size_of::<Error>() <= 4 * size_of::<usize>());
        assert!(size_of::<Result<(), Error>>() <= 4 * size_of::<usize>());
    }

    #[test]
    fn a_kind_is_the_same_in_a_thread() {
        let errors = [
            (Error::configuration("x"), ErrorKind::Configuration),
            (in_use(), ErrorKind::Listen),
            (Error::poll(io::ErrorKind::Other.into()), ErrorKind::Poll),
            (Error::system(io::ErrorKind::Other.into()), ErrorKind::System),
            (Error::unknown_descriptor(3), ErrorKind::UnknownDescriptor),
            (Error::build("x".into()), ErrorKind::Build),
            (Error::panicked(&"x"), ErrorKind::Panicked),
        ];
        for (error, kind) in errors {
            assert_eq!(error.kind(), kind);
            assert_eq!(error.in_thread(1).kind(), kind);
        }
    }

    #[test]
    fn a_listener_is_known_by_type() {
        let error = in_use().in_thread(2);
        let listen = error.as_listen().unwrap();
        assert_eq!(
            (listen.target(), listen.io_error().kind()),
            (&ListenTarget::Descriptor(7), io::ErrorKind::AddrInUse)
        );
        assert_eq!(error.to_string(), format!("thread 2: {listen}"));
        assert_eq!(listen.to_string(), "cannot listen on descriptor 7: address in use");
        assert_eq!(error.source().unwrap().to_string(), "address in use");
        assert!(Error::configuration("x").as_listen().is_none());
    }

    #[test]
    fn an_error_of_ours_passes_through_a_closure() {
        assert_eq!(Error::build(Box::new(in_use())).kind(), ErrorKind::Listen);
        let other = Error::build("no such folder".into());
        assert_eq!(other.build_error().unwrap().to_string(), "no such folder");
    }
}
