//! Plain HTTP next to WebSockets: routes, handlers and files.
//!
//! [`Routes`] choose the handler of an [`HttpRequest`]; the handler or [`Files`] make a [`Response`]; the loop writes
//! it. Nothing here reads or writes a socket, or reads a clock.
//!
//! A handler gets the whole body and answers at once. For requests that need more, such as uploads, long polls and
//! streams, see [`responder`](crate::responder).
//!
//! Handlers run on the loop's thread, and files are read on it: a slow handler or disk holds up every connection.

pub(crate) mod access;
mod fields;
#[cfg(feature = "files")]
mod files;
#[cfg(not(feature = "files"))]
#[path = "no_files.rs"]
mod files;
mod framing;
pub(crate) mod precondition;
mod request;
mod response;
mod route;
mod routes;

pub use fields::InvalidHeader;
#[cfg(feature = "files")]
pub use files::Files;
pub use request::HttpRequest;
pub use response::{Content, Response};
pub use route::{ResponderTarget, Route};
pub use routes::Routes;

pub(crate) use fields::Fields;
pub(crate) use files::FileBody;
pub(crate) use framing::Framing;
pub(crate) use response::Body;

#[cfg(test)]
mod testing;
