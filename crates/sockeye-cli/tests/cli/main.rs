//! The built command, from outside.

mod bench;
mod connect;
mod editor;
mod endings;
mod fraggle;
mod peer;
mod served;
mod shell;
mod support;
