//! A WebSocket engine for programs that own their event loop.

pub mod http;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod sys;
