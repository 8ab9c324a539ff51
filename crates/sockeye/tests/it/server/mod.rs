//! What happens to one service in situations that are made, not met by chance: the simulated network without faults, unless
//! the test is about one.

mod backpressure;
mod closing;
mod crowds;
mod deadlines;
mod handshake;
mod http;
mod ids;
mod layers;
mod listeners;
mod long_frames;
mod memory;
mod message_limits;
mod messages;
mod outbox_order;
mod proxy_header;
mod scrambled;
mod shown;
mod stalls;
mod statistics;
mod system_errors;
mod turns;
mod undecided;
mod writing;
