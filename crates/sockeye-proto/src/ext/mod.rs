//! Extensions (RFC 6455 section 9). None is negotiated: offers are parsed and declined.

pub mod params;
