//! Connections that are not WebSockets: the raw connections of a listener in the simulator, and descriptors of the system that
//! are adopted, in the service's own loop and in one outside.

mod adopted;
mod closing;
mod connects;
mod datagrams;
mod failures_logged;
mod half_close;
mod random;
mod traffic;
mod watched;
mod with_others;
