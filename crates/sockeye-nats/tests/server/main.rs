//! Hubs' backplanes against a real nats-server, and against dialogues that none would have.

mod cut;
mod dialogue;
mod driver;
mod history;
mod plain;
mod scripted;
mod server;
