//! The built command, from outside.

mod served;
mod shell;
mod support;
