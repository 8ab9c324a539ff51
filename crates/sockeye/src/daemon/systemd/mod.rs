//! Running under systemd or another service manager: listening sockets that it opened ([`sockets`]), and reports of the
//! service's state ([`Notify`], [`Watchdog`]).
//!
//! The protocols are those of `sd_listen_fds(3)`, `sd_notify(3)` and `sd_watchdog_enabled(3)`: a few environment
//! variables, some descriptors from number 3 on, and datagrams of text. Nothing here waits, and nothing here needs
//! systemd to be present.
//!
//! The environment variables stay as they are. That does no harm to programs that this one executes: `LISTEN_PID` and
//! `WATCHDOG_PID` name this process only, the sockets close on `exec`, and datagrams of other processes to `NOTIFY_SOCKET` count
//! only where the unit allows it (`NotifyAccess=`). Removing variables is `unsafe` in a program with threads, and a library cannot
//! know whether there are any.
//!
//! ```no_run
//! use std::os::fd::OwnedFd;
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//!
//! use sockeye::{Service, messages};
//! use sockeye::daemon::systemd::{Notify, Watchdog, self};
//! use sockeye::service::ServiceState;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut builder = Service::builder().protocol(messages::echo("echo"));
//! let sockets = systemd::sockets()?;
//! if sockets.is_empty() {
//!     builder = builder.listen("127.0.0.1:7681");
//! }
//! for socket in sockets {
//!     builder = builder.listen(OwnedFd::from(socket));
//! }
//! let mut service = builder.build()?;
//! let Some(notify) = Notify::from_env()?.map(Arc::new) else { return Ok(service.run()?) };
//! notify.ready("serving");
//! // A loop that is stuck sends nothing, and the manager restarts the service.
//! let every = systemd::watchdog_time()?.map_or(Duration::MAX, |time| time / 2);
//! let (watchdog, mut last) = (Watchdog::new(notify.clone(), 1), Instant::now());
//! while service.run_once(Some(every.saturating_sub(last.elapsed())))? == ServiceState::Running {
//!     if last.elapsed() >= every {
//!         watchdog.alive(0);
//!         last = Instant::now();
//!     }
//! }
//! notify.stopping("");
//! # Ok(()) }
//! ```

mod notify;
#[expect(unsafe_code, reason = "passed descriptors are numbers, which need an owner")]
mod sockets;
mod watchdog;

use std::env;
use std::ffi::OsString;
use std::io;
use std::process;

pub use self::notify::Notify;
pub use self::sockets::{Socket, passed, sockets};
pub use self::watchdog::{Watchdog, watchdog_time};

/// Where variables come from: the environment, or a list in tests.
type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn environment(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// The value of a variable that must be a number.
fn number(variables: Variables<'_>, name: &str) -> io::Result<Option<u64>> {
    let Some(value) = variables(name) else { return Ok(None) };
    let number = value.to_str().filter(|text| !text.starts_with('+')).and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("the variable {name} is {value:?}, which is not a number"))
    })
}

/// Whether the variable `name` holds the id of this process; `None` when it is not set.
fn is_for_us(variables: Variables<'_>, name: &str) -> io::Result<Option<bool>> {
    Ok(number(variables, name)?.map(|process| process == u64::from(process::id())))
}
