//! Redirects.

use std::error::Error;
use std::fmt;

use crate::client::connect::{Connect, ConnectError};
use crate::client::proxy::EnvironmentError;
use crate::client::refusal::Refusal;
use crate::client::url::UrlError;

impl Connect {
    /// The description of the connection that `refusal`, a redirect, leads to.
    pub(crate) fn redirected(&self, refusal: &Refusal) -> Result<Self, RedirectError> {
        let left = self.redirects.checked_sub(1).ok_or(RedirectError::TooMany)?;
        let location = refusal.location().ok_or(RedirectError::LocationMissing)?;
        let url = self.url().join(location).map_err(RedirectError::Location)?;
        if self.url().is_secure() && !url.is_secure() {
            return Err(RedirectError::Downgrade);
        }
        let moved = self.with_url(url).map_err(|error| match error {
            ConnectError::Environment(error) => RedirectError::Environment(error),
            // Only the URL changed, and every `Url` is valid in a request.
            _ => RedirectError::LocationMissing,
        })?;
        Ok(moved.redirects(left))
    }
}

/// Why a redirect is not followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RedirectError {
    /// More than [`Connect::redirects`] allows; most likely a loop.
    TooMany,
    /// `Location` is missing or not UTF-8.
    LocationMissing,
    /// `Location` is not a valid WebSocket URL.
    Location(UrlError),
    /// It leads from `wss` to `ws`, which would drop the encryption.
    Downgrade,
    /// The environment's proxy for the new URL is invalid.
    Environment(EnvironmentError),
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("too many redirects"),
            Self::LocationMissing => f.write_str("the server redirects without a valid Location"),
            Self::Location(error) => write!(f, "the server redirects to an invalid URL: {error}"),
            Self::Downgrade => f.write_str("the server redirects from wss to ws, which is not encrypted"),
            Self::Environment(error) => write!(f, "cannot follow a redirect: {error}"),
        }
    }
}

impl Error for RedirectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Location(error) => Some(error),
            Self::Environment(error) => Some(error),
            Self::TooMany | Self::LocationMissing | Self::Downgrade => None,
        }
    }
}
