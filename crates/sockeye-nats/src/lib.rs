//! [NATS](https://nats.io) between [hubs](sockeye_hub): the protocol of its clients without I/O and without a clock.
//!
//! ```
//! use std::time::Duration;
//!
//! use sockeye_nats::{History, Nats};
//!
//! // Subjects: at most once, and nothing is kept.
//! let plain = Nats::new("nats://broker.example")?;
//! // A stream: the last 100 messages of each topic, for at most an hour.
//! let kept = Nats::new("tls://hub:secret@broker.example:4222")?
//!     .history(History::new(100).age(Duration::from_secs(3600)))?;
//! # let _ = (plain, kept);
//! # Ok::<_, sockeye_nats::NatsError>(())
//! ```
//!
//! # Subjects
//!
//! A topic is one token of a subject, whatever its name: letters, digits, `-` and `_` stand for themselves, any other byte is `=` and two
//! hexadecimal digits. So the topic `news` is `sockeye.news`, and `a.*` is `sockeye.a=2E=2A`. `nats pub sockeye.news hello` reaches the clients of
//! all hubs; what is not UTF-8 arrives as a binary message. Headers carry what NATS does not know: `Sockeye-Kind: binary` if the payload could be text, and
//! `Sockeye-Key`, encoded like a name. What is published while the broker has not answered goes together: `Sockeye-Messages` says how many messages a payload has.
//!
//! # With history
//!
//! One stream of JetStream takes what is published to `sockeye.in.TOPIC`, and publishes again what it has stored to `sockeye.out.TOPIC`, with its
//! number and that of the message before it. A hub has one plain subscription a topic to that. The stream is made if it is not there. If it is,
//! its configuration is checked, and the error names what differs. This needs nats-server 2.8.3 or newer with JetStream. The time at which the
//! stream was created is the epoch, so one that was deleted and made anew begins a new epoch.
//!
//! What an administrator deletes by hand from the stream is not reported as lost. Domains of JetStream are not supported.
//!
//! # Rights
//!
//! With users that may not do everything, a hub needs: to publish to `sockeye.>` and to subscribe to `sockeye.>`; with history also to publish to
//! `$JS.API.>` and to subscribe to `_INBOX.>`. No other user should be allowed to publish to `sockeye.out.>`, which is the stream's.
//!
//! # Credentials
//!
//! User and password or a token, in the URL or by [`Nats::credentials`]. NKeys and files of JWTs are not supported: they need Ed25519, which no small
//! crate brings. TLS begins behind the broker's first line, as its clients do it by default; `handshake_first` is not supported.

#![forbid(unsafe_code)]

mod names;
mod nats;
mod session;
mod settings;
mod wire;

pub use nats::Nats;
pub use settings::{Credentials, History, NatsError};

/// The code of the README as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
