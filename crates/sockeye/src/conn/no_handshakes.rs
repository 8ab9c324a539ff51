//! Stands for `handshakes` without a feature that brings TLS.

#[derive(Debug, Default)]
pub(crate) struct Handshakes {}
