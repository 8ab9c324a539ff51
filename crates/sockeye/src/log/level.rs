//! How severe an event is.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use tracing::metadata::LevelFilter;

/// How severe an event is, from the most severe on. The names are those of syslog, and a program sees [`Notice`](Self::Notice)
/// and above by default.
///
/// The levels of `tracing` have other names for the same five:
///
/// | here | `tracing` | syslog |
/// |---|---|---|
/// | `err` | ERROR | 3 |
/// | `warn` | WARN | 4 |
/// | `notice` | INFO | 5 |
/// | `info` | DEBUG | 6 |
/// | `debug` | TRACE | 7 |
///
/// ```
/// use sockeye::log::Level;
///
/// assert_eq!("info".parse(), Ok(Level::Info));
/// assert!(Level::Err < Level::default());
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "`tracing` has five levels")]
pub enum Level {
    /// A fault of the program, or something that it cannot do.
    Err,
    /// Trouble that it goes on with.
    Warn,
    /// What an operator should see in normal operation, such as a start.
    #[default]
    Notice,
    /// One line for each connection.
    Info,
    /// What a developer of the program wants to know.
    Debug,
}

impl Level {
    /// The number that syslog and the journal have for it, from 3 to 7.
    #[must_use]
    pub fn severity(self) -> u8 {
        self as u8 + 3
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Err => "err",
            Self::Warn => "warn",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    pub(super) fn filter(self) -> LevelFilter {
        match self {
            Self::Err => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Notice => LevelFilter::INFO,
            Self::Info => LevelFilter::DEBUG,
            Self::Debug => LevelFilter::TRACE,
        }
    }

    pub(super) fn of(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Err,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Notice,
            tracing::Level::DEBUG => Self::Info,
            tracing::Level::TRACE => Self::Debug,
        }
    }

    pub(super) const ALL: [Self; 5] = [Self::Err, Self::Warn, Self::Notice, Self::Info, Self::Debug];
}

/// As `err`, `warn`, `notice`, `info` or `debug`.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    /// From the name that [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL.into_iter().find(|level| level.name() == text).ok_or(UnknownLevel(()))
    }
}

/// A text is not the name of a [`Level`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownLevel(());

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write err, warn, notice, info or debug")
    }
}

impl Error for UnknownLevel {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (level, severity) in Level::ALL.into_iter().zip(3..) {
            assert_eq!((level.severity(), level.to_string().parse()), (severity, Ok(level)));
            assert_eq!(level.filter().into_level().map(Level::of), Some(level));
        }
        assert!("INFO ".parse::<Level>().is_err_and(|error| error.to_string().contains("notice")));
    }
}
