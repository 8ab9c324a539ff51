//! Sockeye inside a loop of the program's own.
//!
//! There are two ways. A loop that can watch one more descriptor watches [`Service::descriptor`](crate::Service::descriptor)
//! and calls [`run_once`](crate::Service::run_once) when it is readable or when
//! [`next_timeout`](crate::Service::next_timeout) is over. A loop that watches every descriptor itself passes a
//! [`PollHook`], which receives the descriptors and what to watch them for, and reports what it saw with
//! [`service_fd`](crate::Service::service_fd). The service works the same in both, and in [`run`](crate::Service::run).
//!
//! A loop over poll(2):
//!
//! ```no_run
//! use std::{cell::RefCell, collections::BTreeMap, io, os::fd::RawFd, rc::Rc};
//! use sockeye::{Service, messages};
//! use sockeye::poll::{Mode, PollHook, Ready};
//! use sockeye::service::ServiceState;
//!
//! #[derive(Clone, Default)]
//! struct Watched(Rc<RefCell<BTreeMap<RawFd, Mode>>>);
//!
//! impl PollHook for Watched {
//!     fn add(&mut self, fd: RawFd, mode: Mode) -> io::Result<()> {
//!         self.0.borrow_mut().insert(fd, mode);
//!         Ok(())
//!     }
//!     fn remove(&mut self, fd: RawFd) { self.0.borrow_mut().remove(&fd); }
//!     fn set_mode(&mut self, fd: RawFd, mode: Mode) { *self.0.borrow_mut().get_mut(&fd).unwrap() |= mode; }
//!     fn clear_mode(&mut self, fd: RawFd, mode: Mode) { *self.0.borrow_mut().get_mut(&fd).unwrap() -= mode; }
//! }
//!
//! # fn poll(fds: &[(RawFd, Mode)], timeout: Option<std::time::Duration>) -> Vec<(RawFd, Ready)> { let _ = (fds, timeout); Vec::new() }
//! # fn main() -> Result<(), sockeye::Error> {
//! let watched = Watched::default();
//! let mut service = Service::builder().protocol(messages::echo("echo")).listen("127.0.0.1:0").build_external(watched.clone())?;
//! loop {
//!     let fds: Vec<_> = watched.0.borrow().iter().map(|(&fd, &mode)| (fd, mode)).collect();
//!     for (fd, ready) in poll(&fds, service.next_timeout()) {
//!         match service.service_fd(fd, ready) {
//!             Err(error) if error.is_unknown_descriptor() => {} // one before it in the batch ended it
//!             result => drop(result?),
//!         }
//!     }
//!     // Deadlines, and what callbacks requested.
//!     if service.run_once(None)? == ServiceState::Drained {
//!         return Ok(());
//!     }
//! }
//! # }
//! ```
//!
//! Over epoll(7), level-triggered as it is by default, it is the same: on Linux its bits are those of poll(2), so pass
//! `Ready::from_revents(events as i16)`.

pub use crate::sys::hook::{Mode, PollHook, Ready};
