//! HTTP requests with a session, in the simulator: framing, answers, ends and limits.

mod access;
mod answers;
mod bench;
mod ends;
mod framing;
mod limits;
mod random;
mod streams;
