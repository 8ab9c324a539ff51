//! Servers of topics with a broker between them, which lose each other: no message comes twice or out of order, and each one that was
//! acknowledged is seen by every subscriber, or lies within a gap that it was told of.
//!
//! Servers, broker and sockets are real ones; the clients are all in one loop of the library. `SOCKEYE_MESSAGES` says how many messages have to
//! be acknowledged. Tests of a link that is taken away make network namespaces, which needs root.

mod cluster;
mod ledger;
mod machine;
mod member;
mod parts;
mod proxy;

use cluster::{Keeps, Plan};
use parts::Kind;

#[test]
fn redis_streams() {
    cluster::run(&Plan::new(Kind::Redis, Keeps::Much));
}

#[test]
fn short_redis_streams() {
    cluster::run(&Plan::new(Kind::Redis, Keeps::Little));
}

#[test]
fn redis_without_history() {
    cluster::run(&Plan::new(Kind::Redis, Keeps::Nothing));
}

#[test]
fn jetstream() {
    cluster::run(&Plan::new(Kind::Nats, Keeps::Much));
}

#[test]
fn short_jetstream() {
    cluster::run(&Plan::new(Kind::Nats, Keeps::Little));
}

#[test]
fn nats_without_history() {
    cluster::run(&Plan::new(Kind::Nats, Keeps::Nothing));
}

#[test]
fn unplugged_redis_streams() {
    machine::isolated(|| cluster::run(&Plan::unplugged(Kind::Redis, Keeps::Much)));
}

#[test]
fn unplugged_redis_without_history() {
    machine::isolated(|| cluster::run(&Plan::unplugged(Kind::Redis, Keeps::Nothing)));
}

#[test]
fn unplugged_jetstream() {
    machine::isolated(|| cluster::run(&Plan::unplugged(Kind::Nats, Keeps::Much)));
}

#[test]
fn unplugged_nats_without_history() {
    machine::isolated(|| cluster::run(&Plan::unplugged(Kind::Nats, Keeps::Nothing)));
}
