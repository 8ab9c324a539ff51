//! Replaces the module `tls` where no feature brings it. Its types have no values, so no listener has a certificate.

#[derive(Clone)]
pub(crate) enum ServerTls {}

pub(crate) enum Session {}

#[cfg(feature = "client")]
#[derive(Clone)]
pub(crate) enum ClientTls {}

#[derive(Clone, Debug)]
pub(crate) enum TlsRole {}
