//! The way to whoever reads standard output: over a thread of its own, so that a slow reader stops the peer and never the
//! loop. Nothing is dropped; who fills it asks [`Outlet::is_full`] and reads no more from the peer meanwhile.

use std::io::{self, Write as _};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use sockeye::Remote;

use crate::failure::Failure;

/// Has the loop look around. Before it is [`tied`](Self::tie) to a service there is nothing to wake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waker(Arc<OnceLock<Remote>>);

impl Waker {
    pub(crate) fn tie(&self, remote: Remote) {
        // One service in a process.
        let _ = self.0.set(remote);
    }

    pub(crate) fn wake(&self) {
        if let Some(remote) = self.0.get() {
            // A loop with too many jobs is awake; one that is over does not care.
            let _ = remote.run(|_| ());
        }
    }
}

/// Bytes on their way out.
#[derive(Clone)]
pub(crate) struct Outlet {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// The thread has taken bytes that are not written yet.
    writing: bool,
    /// Nobody reads any more, or nothing can be written.
    closed: bool,
    /// Why, if it is not that whoever reads has seen enough.
    error: Option<io::Error>,
}

impl Outlet {
    /// To standard output.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn stdout(waker: Waker) -> io::Result<Self> {
        Self::start(waker, |bytes| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes).and_then(|()| stdout.flush())
        })
    }

    /// `write` is called with what has come together since the last call. `waker` is told when there is room again, and
    /// when nobody reads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        waker: Waker,
        mut write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let ours = Arc::clone(&shared);
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            while let Some(bytes) = ours.take() {
                let written = write(&bytes);
                let failed = written.is_err();
                ours.written(written.err());
                if bytes.len() >= FULL || failed {
                    waker.wake();
                }
            }
        })?;
        Ok(Self { shared })
    }

    /// Never waits. After the end of the reader it goes nowhere.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut state = self.shared.state();
        if !state.closed {
            state.waiting.extend_from_slice(bytes);
            drop(state);
            self.shared.changed.notify_all();
        }
    }

    /// So much waits that no more should be asked for. The waker tells when that is over.
    pub(crate) fn is_full(&self) -> bool {
        self.shared.state().waiting.len() >= FULL
    }

    /// Nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.state().closed
    }

    /// Fails if something could not be written, as on a full disk. A reader that has left is no failure.
    ///
    /// # Errors
    /// The reason, for people.
    pub(crate) fn written(&self) -> Result<(), Failure> {
        match &self.shared.state().error {
            Some(error) => Err(unwritten(error)),
            None => Ok(()),
        }
    }

    /// Waits until all is written or nobody reads; for ever if `within` is `None`.
    pub(crate) fn finish(&self, within: Option<Duration>) {
        let busy = |state: &mut State| !state.closed && (state.writing || !state.waiting.is_empty());
        let state = self.shared.state();
        match within {
            Some(within) => drop(self.shared.changed.wait_timeout_while(state, within, busy)),
            None => drop(self.shared.changed.wait_while(state, busy)),
        }
    }
}

impl Shared {
    /// What has to be written next; `None` when nobody reads.
    fn take(&self) -> Option<Vec<u8>> {
        let idle = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let mut state = self.changed.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        if state.closed { None } else { Some(mem::take(&mut state.waiting)) }
    }

    fn written(&self, error: Option<io::Error>) {
        let mut state = self.state();
        state.writing = false;
        state.closed = error.is_some();
        state.error = error.filter(|error| !is_gone(error));
        drop(state);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it means that whoever reads has seen enough. A socket may say it as a reset.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// What is said of standard output that takes nothing.
pub(crate) fn unwritten(error: &io::Error) -> Failure {
    Failure::general(format!("standard output cannot be written: {error}"))
}

/// Waiting bytes from which on reading pauses.
const FULL: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn all_is_written_in_order_before_the_end() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let outlet =
            Outlet::start(Waker::default(), move |bytes| sender.send(bytes.to_vec()).map_err(io::Error::other))
                .unwrap();
        for number in 0..1000 {
            outlet.push(format!("{number}\n").as_bytes());
        }
        outlet.finish(None);
        let all = String::from_utf8(receiver.try_iter().flatten().collect()).unwrap();
        assert!(all.lines().map(str::to_owned).eq((0..1000).map(|number| number.to_string())));
    }

    #[test]
    fn a_reader_that_stops_fills_it_and_one_that_leaves_empties_it() {
        let (sender, receiver) = sync_channel::<usize>(0);
        let outlet =
            Outlet::start(Waker::default(), move |bytes| sender.send(bytes.len()).map_err(io::Error::other)).unwrap();
        outlet.push(b"x");
        while outlet.shared.state().waiting.len() == 1 {
            thread::yield_now();
        }
        assert!(!outlet.is_full());
        outlet.push(&vec![0; FULL]);
        assert!(outlet.is_full());
        outlet.finish(Some(Duration::from_millis(1)));
        assert!(!outlet.is_closed());
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.recv(), Ok(FULL));
        assert!(!outlet.is_full());
        drop(receiver);
        outlet.push(b"y");
        outlet.finish(None);
        assert!(outlet.is_closed());
        outlet.push(b"z");
        outlet.finish(None);
    }
}
