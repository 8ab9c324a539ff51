//! Plain HTTP beside the WebSockets: routes, small handlers and files.
//!
//! From the top: [`Routes`] find who answers a [`HttpRequest`]; a handler or [`Files`] make a [`Response`]; the loop writes it.
//! Nothing here reads or writes a socket, and nothing here looks at a clock.
//!
//! Handlers run on the thread of the loop, and so does reading files: what a disk is slow to give holds up everybody.

pub(crate) mod access;
mod body;
mod files;
mod precondition;
mod request;
mod response;
mod routes;

pub use files::Files;
pub use request::HttpRequest;
pub use response::{InvalidHeader, Response};
pub use routes::Routes;

pub(crate) use body::FileBody;
pub(crate) use response::Body;

#[cfg(test)]
mod testing;
