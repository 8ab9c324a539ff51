//! A limit with its range, and the error of a value that is out of it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A limit: one row of the table.
#[derive(Debug)]
pub(crate) struct Limit {
    /// As a program writes it: `Limits::turn_bytes`.
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    /// `None`: there is no such limit, or the service computes it.
    pub(crate) default: Option<Amount>,
    pub(crate) least: Amount,
    pub(crate) most: Amount,
    /// What it bounds, for the document.
    #[cfg(test)]
    pub(crate) bounds: &'static str,
    /// What happens beyond it, for the document.
    #[cfg(test)]
    pub(crate) beyond: &'static str,
}

/// What an amount counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
    Bytes,
    Count,
    Time,
}

/// The value of a limit. Those of one limit are all of one kind.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Amount {
    Number(u64),
    Time(Duration),
}

impl Limit {
    /// Whether a value is in the range.
    pub(crate) fn check(&'static self, value: Amount) -> Result<(), LimitError> {
        if value < self.least {
            return Err(LimitError { limit: self, value, bound: self.least });
        }
        if value > self.most {
            return Err(LimitError { limit: self, value, bound: self.most });
        }
        Ok(())
    }

    pub(crate) fn check_number(&'static self, value: u64) -> Result<(), LimitError> {
        self.check(Amount::Number(value))
    }

    pub(crate) fn check_time(&'static self, value: Duration) -> Result<(), LimitError> {
        self.check(Amount::Time(value))
    }

    /// The default, of a limit in time that has one.
    pub(crate) const fn default_time(&self) -> Duration {
        match self.default {
            Some(Amount::Time(time)) => time,
            _ => Duration::ZERO,
        }
    }

    /// A value as a person writes it.
    pub(crate) fn show(&self, value: Amount) -> impl fmt::Display + use<> {
        Shown { unit: self.unit, value }
    }
}

struct Shown {
    unit: Unit,
    value: Amount,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.value, self.unit) {
            (Amount::Number(bytes), Unit::Bytes) => {
                let (mut value, mut unit) = (bytes, 0);
                while value > 0 && value % 1024 == 0 && unit + 1 < BYTE_UNITS.len() {
                    value /= 1024;
                    unit += 1;
                }
                match bytes {
                    1 => f.write_str("1 byte"),
                    _ => write!(f, "{} {}", Grouped(value), BYTE_UNITS[unit]),
                }
            }
            (Amount::Number(number), _) => Grouped(number).fmt(f),
            (Amount::Time(Duration::ZERO), _) => f.write_str("0 s"),
            (Amount::Time(time), _) if time.as_nanos() % DAY.as_nanos() == 0 => {
                write!(f, "{} days", Grouped(time.as_secs() / DAY.as_secs()))
            }
            (Amount::Time(time), _) => {
                // `Debug` of a time, with a space before the unit.
                let text = format!("{time:?}");
                let unit = text.find(|letter: char| letter.is_alphabetic()).unwrap_or(text.len());
                write!(f, "{} {}", &text[..unit], &text[unit..])
            }
        }
    }
}

/// A number with commas between groups of three digits.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index) % 3 == 0 {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A limit that is below its least or above its most value. `Display` names the limit, the value, and the bound that it
/// breaks.
///
/// ```
/// let mut limits = sockeye::Limits::default();
/// limits.turn_frames = 0;
/// let error = sockeye::Service::builder().limits(limits).build().unwrap_err();
/// assert_eq!(error.to_string(), "Limits::turn_frames is 0, and the least is 1");
/// assert_eq!(error.as_limit().unwrap().name(), "Limits::turn_frames");
/// ```
#[derive(Clone, Copy)]
pub struct LimitError {
    pub(crate) limit: &'static Limit,
    pub(crate) value: Amount,
    /// The least or the most.
    pub(crate) bound: Amount,
}

impl LimitError {
    /// The limit, as a program writes it: `Limits::turn_frames`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.limit.name
    }

    /// Whether the value is below the least value, and not above the most.
    #[must_use]
    pub fn is_too_small(&self) -> bool {
        self.value < self.bound
    }
}

impl PartialEq for LimitError {
    fn eq(&self, other: &Self) -> bool {
        (self.name(), self.value) == (other.name(), other.value)
    }
}

impl Eq for LimitError {}

impl fmt::Debug for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, value, bound } = *self;
        let which = if self.is_too_small() { "least" } else { "most" };
        write!(f, "{} is {}, and the {which} is {}", limit.name, limit.show(value), limit.show(bound))
    }
}

impl Error for LimitError {}

/// The unit of long times.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const BYTE_UNITS: [&str; 7] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
