//! Redis between the hubs of [`sockeye_hub`]: topics of several servers.
//!
//! [`Redis`] speaks the protocol of Redis without I/O; the hub owns the connection. It needs Redis 6 or later, or a server that speaks RESP3
//! as Redis does, such as Valkey.
//!
//! ```
//! use sockeye_redis::Redis;
//!
//! let redis = Redis::new("redis://chat:secret@127.0.0.1:6379")?;
//! # Ok::<(), sockeye_redis::ConfigError>(())
//! ```
//!
//! What others publish by `PUBLISH sockeye:TOPIC text` arrives too: as text if it is UTF-8, else as bytes.
//!
//! # Layers
//!
//! | module | what it is |
//! |---|---|
//! | `redis` | what the hub sees |
//! | `session` | one connection: the order of commands and answers |
//! | `topics` | the subscriptions of one connection |
//! | `batches` | messages that are numbered together |
//! | `history` | what Redis keeps, and the scripts for it |
//! | `envelope` | what is around a message |
//! | `address`, `refusal`, `text` | URLs, what errors mean, texts of the server |
//! | `resp` | the protocol: replies and commands |

#![forbid(unsafe_code)]

mod address;
mod batches;
mod envelope;
mod history;
mod redis;
mod refusal;
mod resp;
mod session;
mod text;
mod topics;

pub use address::ConfigError;
pub use history::History;
pub use redis::Redis;
