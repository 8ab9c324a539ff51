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
//! An answer from elsewhere goes into the session by its [`RequestId`], and the writable callback sends it. The id is that
//! of one request, and not of its connection, which may carry another one by then. The handle and the
//! [`Remote`](crate::Remote) exist after `build`, so they are put into the object then.
//!
//! ```
//! use std::thread;
//!
//! use sockeye::http::{HttpRequest, Response, Routes};
//! use sockeye::responder::{RequestCx, Responder, ResponderHandle, ResponseTx};
//! use sockeye::{Remote, Service};
//!
//! #[derive(Default)]
//! struct Compute {
//!     from_elsewhere: Option<(Remote, ResponderHandle<Self>)>,
//! }
//!
//! impl Responder for Compute {
//!     /// The answer, once it is known.
//!     type Session = Option<String>;
//!
//!     fn name(&self) -> &str {
//!         "compute"
//!     }
//!
//!     fn request(&mut self, cx: &mut RequestCx<'_>, _: &HttpRequest<'_>) -> Result<Option<String>, Response> {
//!         let (remote, handle) = self.from_elsewhere.clone().ok_or(Response::error(503))?;
//!         let id = cx.id();
//!         thread::spawn(move || {
//!             let answer = (1..=20_u64).product::<u64>().to_string();
//!             let _ = remote.run(move |control| {
//!                 // An error: the peer has gone.
//!                 let _ = control.with_request_session(handle, id, |_, cx, session| {
//!                     *session = Some(answer);
//!                     cx.request_writable();
//!                 });
//!             });
//!         });
//!         Ok(None)
//!     }
//!
//!     fn writable(&mut self, _: &mut RequestCx<'_>, answer: &mut Option<String>, tx: ResponseTx<'_>) {
//!         if let (Some(answer), Some(head)) = (answer.take(), tx.head()) {
//!             head.respond(Response::text(answer));
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut builder = Service::builder();
//! let compute = builder.add_responder(Compute::default());
//! let mut service = builder.routes(Routes::new().responder("/compute", compute)).build()?;
//! let remote = service.remote();
//! service.control().responder_object(compute)?.from_elsewhere = Some((remote, compute));
//! # Ok(()) }
//! ```

pub use crate::id::RequestId;
pub use crate::limits::RequestLimits;
pub use crate::protocol::answering::{AfterPiece, BodyPermission, HeadPermission, ResponseFault, ResponseTx};
pub use crate::protocol::handle::ResponderHandle;
pub use crate::protocol::request_views::{RequestClosedCx, RequestCx, RequestMut, ResponderMut};
pub use crate::protocol::responder::{RequestEnd, RequestTimeout, Responder};
