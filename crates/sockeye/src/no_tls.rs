//! Stands for the module `tls` without a feature that brings it: there is no certificate, so no listener that has one, and nothing
//! to trust.

#[derive(Clone)]
pub(crate) enum ServerTls {}

pub(crate) enum Session {}

#[cfg(feature = "client")]
#[derive(Clone)]
pub(crate) enum ClientTls {}
