//! The integration tests that share a process, one module for each subject.
//! `cargo test -p sockeye --test it SUBJECT` runs it.
//!
//! * `server`: what happens to a service that is connected to;
//! * `client`: connections of our own, stage by stage;
//! * `compression`: permessage-deflate, both roles;
//! * `raw`: raw connections, adopted and watched descriptors;
//! * `responder`: HTTP requests with a session;
//! * `threads`: services in several threads;
//! * `keepalive`: pings of both roles, to the instant;
//! * `external_loop`: services inside loops of the test's own;
//! * `tls`: servers and clients with TLS;
//! * `views`: views of connections and protocols, order and ids;
//! * `examples`: chat, feed and resume, by the tests beside them;
//! * `log`: the log of a program;
//! * `moved`: a service that goes from thread to thread;
//! * `short_reads`: reads that end before all was read;
//! * `stopped_readers`: a busy topic, and many that have stopped reading it.
//!
//! Random services on random networks, thousands of seeds, are in `tests/simulator`, which has its
//! own profile. Tests that count descriptors or memory of the whole process, fork, or run
//! themselves again are in `tests/process`; code that must not compile is in `compile_fail`.
//! Shared helpers are in the crate `sockeye-testing`.

mod client;
mod compression;
mod examples;
mod external_loop;
mod idle;
mod keepalive;
mod log;
mod moved;
mod raw;
mod responder;
mod server;
mod short_reads;
mod stopped_readers;
mod threads;
mod tls;
mod views;
