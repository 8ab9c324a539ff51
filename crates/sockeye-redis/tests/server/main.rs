//! `sockeye-redis` against a real server, Debian's `redis-server`, which each test starts for itself on a socket in a folder of its own.

mod access;
mod driver;
mod history;
mod names;
mod plain;
mod redis;
