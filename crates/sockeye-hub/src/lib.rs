//! Topics with history and recovery over WebSockets, on one server or on several with a broker between them.
//!
//! A [`Hub`] is a server of topics for clients that speak the sub-protocol `sockeye.topics.v1`, which `docs/topics.md` describes: they subscribe to
//! names and publish to names, and after a break they go on where they were, or hear that something is missing. Who may do what is the
//! program's decision ([`Permissions`]). It is built on the topics of the loop ([`sockeye::topics`]), in one service or in several threads.
//!
//! ```no_run
//! use sockeye::Service;
//! use sockeye_hub::{Everybody, History, Hub};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::builder().history(History::of_messages(100));
//! let (hub, builder) = hub.install(Service::builder().listen("127.0.0.1:7681"), Everybody)?;
//! builder.build()?.run()?;
//! println!("{:?}", hub.statistics());
//! # Ok(()) }
//! ```
//!
//! # What is promised
//! At every subscriber the messages of one topic arrive in the order of their offsets, each at most once, and none is missing without
//! being seen: each names the one before it, and a client that comes back is recovered or learns of a gap. A publisher learns that its
//! message is in the topic, or was refused, or that its fate is unknown.
//!
//! For a program that talks to a hub there is [`client`].
//!
//! # Several servers
//! A [`Backplane`](backplane::Backplane) connects hubs through a broker. With one that keeps messages, all servers have one history and one
//! numbering, and any server recovers a client. With one that only passes messages on, each server numbers them itself, and a client
//! that comes back to another server learns of a gap.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backplane;
pub mod client;
mod config;
mod handler;
mod history;
mod http;
mod hub;
mod link;
mod outlet;
mod permissions;
mod random;
mod shared;
mod state;
mod statistics;
mod topic;
mod wire;

/// The client for JavaScript, to be served to pages: an ES module without dependencies, which exports `Topics`.
pub const JAVASCRIPT: &str = include_str!("../js/sockeye-topics.js");

/// The name of the sub-protocol.
pub const SUBPROTOCOL: &str = "sockeye.topics.v1";

pub use history::History;
pub use hub::{Hub, HubBuilder, HubError, HubThreads, PublishRefused, Receipt};
pub use permissions::{Everybody, Permissions};
pub use statistics::{BrokerStatus, HubStatistics};
