//! The protocol of NATS as bytes: what a server sends is decoded, what a client sends is encoded.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod headers;
pub(crate) mod info;
pub(crate) mod several;
