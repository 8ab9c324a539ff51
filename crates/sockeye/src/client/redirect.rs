//! Following a redirect.

use std::error::Error;
use std::fmt;

use crate::client::connect::{Connect, ConnectError};
use crate::client::proxy::EnvironmentError;
use crate::client::refusal::Refusal;
use crate::client::url::UrlError;

impl Connect {
    /// The connection that `refusal`, a redirect, asks for instead of this one.
    pub(crate) fn redirected(&self, refusal: &Refusal) -> Result<Self, RedirectError> {
        let left = self.redirects.checked_sub(1).ok_or(RedirectError::TooMany)?;
        let location = refusal.location().ok_or(RedirectError::LocationMissing)?;
        let url = self.url().join(location).map_err(RedirectError::Location)?;
        if self.url().is_secure() && !url.is_secure() {
            return Err(RedirectError::Downgrade);
        }
        let moved = self.with_url(url).map_err(|error| match error {
            ConnectError::Environment(error) => RedirectError::Environment(error),
            // A URL is all that changed, and one that exists can stand in a request.
            _ => RedirectError::LocationMissing,
        })?;
        Ok(moved.redirects(left))
    }
}

/// Why a redirect is not followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RedirectError {
    /// One more than [`Connect::redirects`] allows: a loop, most likely.
    TooMany,
    /// It does not say where to, or not in text.
    LocationMissing,
    /// Where it leads is no URL of a WebSocket.
    Location(UrlError),
    /// It leads from `wss` to `ws`: what was to be encrypted would not be.
    Downgrade,
    /// The environment names a proxy for the new place that is none.
    Environment(EnvironmentError),
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("the server redirects once more than is allowed"),
            Self::LocationMissing => f.write_str("the server redirects and does not say where to"),
            Self::Location(error) => write!(f, "the server redirects to what is no place: {error}"),
            Self::Downgrade => f.write_str("the server redirects from wss to ws, which is not encrypted"),
            Self::Environment(error) => write!(f, "the server redirects, but {error}"),
        }
    }
}

impl Error for RedirectError {}
