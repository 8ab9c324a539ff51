//! Connections of our own, stage by stage, on the simulated network: its clock is virtual, so that each deadline is exact.
//! `sockets` alone is over real ones.

mod callbacks;
mod cancel;
mod deadlines;
mod heads;
mod messages;
mod over;
mod race;
mod reconnect;
mod redirects;
mod requests;
mod resolver;
mod responses;
mod scrambled;
mod sockets;
mod statistics;
