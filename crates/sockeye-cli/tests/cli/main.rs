//! The built command, from outside.

mod admission;
mod bench;
mod broker;
mod compression;
mod connect;
mod daemon;
mod editor;
mod endings;
mod fraggle;
mod hostile;
mod hub;
mod logs;
mod peer;
mod ping;
mod proxied;
mod publish;
mod served;
mod shell;
mod support;
mod systemd;
mod threads;
mod tls;
mod topics;
