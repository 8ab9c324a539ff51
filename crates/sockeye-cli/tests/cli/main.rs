//! The built command, from outside.

mod bench;
mod fraggle;
mod served;
mod shell;
mod support;
