//! The service manager, such as systemd, if one started this process and wants to hear of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sockeye::daemon::systemd::{self, Notify, Watchdog};
use sockeye::sys::Address;
use sockeye::threads::Group;

use super::addresses::{self, Scheme};
use crate::failure::Failure;

/// The connection to the service manager, if there is one. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Manager(Option<Arc<Told>>);

#[derive(Debug)]
struct Told {
    notify: Arc<Notify>,
    /// Said with each "ready": where it serves.
    status: String,
    stopping: AtomicBool,
}

impl Manager {
    /// Says that the service serves, there. A daemon is not the process that the manager started, and says so.
    pub(super) fn ready(addresses: &[Address], scheme: Scheme, is_daemon: bool) -> Self {
        let notify = match Notify::from_env() {
            Ok(Some(notify)) => Arc::new(notify),
            Ok(None) => return Self(None),
            Err(error) => {
                tracing::warn!(%error, "cannot notify the service manager");
                return Self(None);
            }
        };
        let mut status = String::from("Serving on ");
        for (index, address) in addresses.iter().enumerate() {
            status.push_str(if index == 0 { "" } else { ", " });
            addresses::describe(&mut status, address, scheme);
        }
        if is_daemon {
            notify.ready_as_main(&status);
        } else {
            notify.ready(&status);
        }
        Self(Some(Arc::new(Told { notify, status, stopping: AtomicBool::new(false) })))
    }

    /// Has `reload` run, between two words.
    pub(super) fn around_reload(&self, reload: impl FnOnce()) {
        let Some(told) = &self.0 else { return reload() };
        told.notify.reloading();
        reload();
        told.notify.ready(&told.status);
    }

    /// Says that the service ends; once.
    pub(super) fn stopping(&self) {
        if let Some(told) = self.0.as_ref().filter(|told| !told.stopping.swap(true, Ordering::Relaxed)) {
            told.notify.stopping("Closing connections");
        }
    }

    /// Has the loops of all threads give signs of life from now on, if the manager wants them. A thread asks each at
    /// half of the time that there is; the answer comes from within the loop, so one that is stuck gives none.
    pub(super) fn watch(&self, group: &Group, threads: usize) -> Result<(), Failure> {
        let Some(told) = &self.0 else { return Ok(()) };
        let time = match systemd::watchdog_time() {
            Ok(Some(time)) => time,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "cannot answer the watchdog of the service manager");
                return Ok(());
            }
        };
        let (group, watchdog) = (group.clone(), Arc::new(Watchdog::new(told.notify.clone(), threads)));
        let ask = move || {
            loop {
                if !ask_all(&group, &watchdog, threads) {
                    return;
                }
                // At least a millisecond, so that an impossibly short time does not occupy a core.
                thread::sleep((time / 2).max(Duration::from_millis(1)));
            }
        };
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn(ask);
        thread.map(drop).map_err(|error| Failure::general(format!("cannot spawn a thread for the watchdog: {error}")))
    }
}

/// Asks each loop that owes no answer. False: all of them are over.
fn ask_all(group: &Group, watchdog: &Arc<Watchdog>, threads: usize) -> bool {
    let mut over = 0;
    for index in 0..threads {
        if !watchdog.ask(index) {
            continue;
        }
        let answering = Arc::clone(watchdog);
        let asked = group.remote(index).and_then(|remote| remote.run(move |_| answering.alive(index)));
        if let Err(error) = asked {
            // One with 65,536 other jobs is asked again the next time.
            watchdog.withdraw(index);
            over += usize::from(error == sockeye::service::RemoteError::Gone);
        }
    }
    over < threads
}
