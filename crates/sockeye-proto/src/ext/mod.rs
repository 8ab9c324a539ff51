//! Extensions (RFC 6455 section 9): the grammar of offers and answers, and the negotiation of
//! `permessage-deflate`.

pub mod deflate;
pub mod params;
