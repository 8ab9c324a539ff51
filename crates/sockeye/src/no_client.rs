//! Stands for the module `client` without the feature of that name: there is nothing to connect to, so no plan, no failure and
//! no attempt after one.

/// Why a connect is given up.
#[derive(Debug)]
pub(crate) enum FailureCause {
    Cancelled,
    Dropped,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Retry {}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Url {}
