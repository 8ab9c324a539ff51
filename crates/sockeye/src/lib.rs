//! A WebSocket engine for programs that own their event loop.

pub mod http;
pub mod sys;
