//! HTTP requests that need more than one callback: uploads, long polls, streamed answers.
//!
//! [`http::Routes`](crate::http::Routes) answer most requests with a closure or a file. A [`Responder`] is for the others:
//! it has a session for each request, receives the body in pieces, and answers at once, later, from a job of another
//! thread, or piece by piece as the peer takes them. [`Routes::responder`](crate::http::Routes::responder) says for which
//! paths and methods.
//!
//! The rules are those of [`Protocol`](crate::Protocol): one object for all requests, a [context](RequestCx) that lives
//! for one callback, and sending only with the [permission](ResponseTx) that the writable callback is given. The
//! permission follows the state of the answer: first a [head](HeadPermission), then a [body](BodyPermission). A body
//! before its head, after its end, or twice does not compile.
//!
//! ```
//! use sockeye::Service;
//! use sockeye::http::{HttpRequest, Response, Routes};
//! use sockeye::responder::{RequestCx, Responder, ResponseTx};
//!
//! /// Streams the numbers from 0 to 999,999, no faster than the peer reads them.
//! struct Numbers;
//!
//! impl Responder for Numbers {
//!     type Session = u32;
//!
//!     fn name(&self) -> &str {
//!         "numbers"
//!     }
//!
//!     fn request(&mut self, cx: &mut RequestCx<'_>, _: &HttpRequest<'_>) -> Result<u32, Response> {
//!         cx.request_writable();
//!         Ok(0)
//!     }
//!
//!     fn writable(&mut self, cx: &mut RequestCx<'_>, next: &mut u32, tx: ResponseTx<'_>) {
//!         let mut permission = match tx {
//!             ResponseTx::Head(head) => head.stream(Response::text(""), None).more(),
//!             tx => tx.body(),
//!         };
//!         while let Some(body) = permission {
//!             if *next == 1_000_000 {
//!                 return body.end();
//!             }
//!             permission = body.write(format!("{next}\n").as_bytes()).more();
//!             *next += 1;
//!         }
//!         cx.request_writable(); // go on when there is room again
//!     }
//! }
//!
//! # fn main() -> Result<(), sockeye::Error> {
//! let mut builder = Service::builder();
//! let numbers = builder.add_responder(Numbers);
//! let service = builder.routes(Routes::new().responder("/numbers", numbers)).build()?;
//! # let _ = service;
//! # Ok(()) }
//! ```
//!
//! An answer from elsewhere: keep the [`RequestId`], and ask for the writable callback when the answer is known. The id
//! is that of one request, and not of its connection, which may carry another one by then.
//!
//! ```
//! use std::thread;
//!
//! use sockeye::Remote;
//! use sockeye::responder::RequestId;
//!
//! fn compute(remote: Remote, id: RequestId) {
//!     thread::spawn(move || {
//!         // .. then:
//!         let _ = remote.run(move |control| {
//!             if let Ok(mut request) = control.request(id) {
//!                 request.request_writable();
//!             }
//!         });
//!     });
//! }
//! ```

pub use crate::id::RequestId;
pub use crate::limits::RequestLimits;
pub use crate::protocol::answering::{AfterPiece, BodyPermission, HeadPermission, ResponseFault, ResponseTx};
pub use crate::protocol::handle::ResponderHandle;
pub use crate::protocol::request_views::{RequestClosedCx, RequestCx, RequestMut, ResponderMut};
pub use crate::protocol::responder::{RequestEnd, RequestTimeout, Responder};
