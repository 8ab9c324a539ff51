//! Stands for the module `tls` without a feature that brings it: there is no certificate, so no listener that has one.

#[derive(Clone)]
pub(crate) enum ServerTls {}
