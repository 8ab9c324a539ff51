//! The WebSocket protocol without I/O.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod close;
pub mod conn;
pub mod error;
pub mod event;
pub mod ext;
pub mod handshake;
pub mod http;
pub mod limits;
pub mod message;
pub mod time;
pub mod wire;

mod buf;
