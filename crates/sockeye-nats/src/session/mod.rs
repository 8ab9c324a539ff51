//! One connection to the broker: its phases, and who answers what it says.
//!
//! [`sending`] does what the hub asks for, [`receiving`] what the broker says of topics, [`reading`] loads histories. All of them number what they send, so that
//! a PONG says how far the broker has come, and an answer names its request.

mod load;
mod publishes;
mod reading;
mod receiving;
mod sending;
mod state;
mod stream;
mod topics;
mod waiting;

pub(crate) use state::Session;
pub(crate) use stream::MAX_ANSWER_BYTES;
