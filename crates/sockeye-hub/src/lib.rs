//! Topics with history and recovery over WebSockets, on one server or on several with a broker between them.
//!
//! Begin with [`client`] for a program that talks to a hub, and with [`backplane`] for what connects servers. The sub-protocol of clients is described in
//! `docs/topics.md`.

#![forbid(unsafe_code)]

pub mod backplane;
pub mod client;
