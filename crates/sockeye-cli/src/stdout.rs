//! Standard output, written by a thread of its own, so that a slow reader slows the peer down and never blocks the loop.
//! Nothing is dropped: while [`Output::is_full`], the command stops reading from the peer. At the end it waits for the reader,
//! however slow; after a signal ([`Output::hurry`]) only as long as the reader makes progress.

use std::io::{self, Write as _};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
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
pub(crate) struct Output {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Grows with each piece that was taken.
    moved: Arc<AtomicU64>,
    grace: Duration,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// The thread has taken bytes that are not written yet.
    writing: bool,
    /// The reader is gone, or writing fails.
    closed: bool,
    /// Why writing failed, unless the reader just stopped early.
    error: Option<io::Error>,
    /// The end is waited for.
    hurried: bool,
}

impl Output {
    /// To standard output.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn to_stdout(waker: Waker) -> io::Result<Self> {
        let moved = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&moved);
        Self::with(waker, moved, GRACE, move |bytes| {
            let mut stdout = io::stdout().lock();
            for piece in bytes.chunks(PIECE) {
                stdout.write_all(piece).and_then(|()| stdout.flush())?;
                counter.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
    }

    /// `write` is called with all bytes pushed since the last call. `waker` wakes the loop when there is room again, and when
    /// the reader is gone.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(waker: Waker, write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        Self::with(waker, Arc::default(), GRACE, write)
    }

    fn with(
        waker: Waker,
        moved: Arc<AtomicU64>,
        grace: Duration,
        mut write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), moved, grace });
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

    /// Whether the reader is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.state().closed
    }

    /// Fails if something could not be written, as on a full disk. A reader that closed the pipe is not a failure.
    ///
    /// # Errors
    /// The reason, for people.
    pub(crate) fn written(&self) -> Result<(), Failure> {
        match &self.shared.state().error {
            Some(error) => Err(unwritten(error)),
            None => Ok(()),
        }
    }

    /// The process is asked to end: from now on it does not wait for a reader that takes nothing.
    pub(crate) fn hurry(&self) {
        self.shared.state().hurried = true;
        self.shared.changed.notify_all();
    }

    /// Waits until everything is written or the reader is gone. False: the reader stalled, and the thread may be blocked in a
    /// write.
    pub(crate) fn finish(&self) -> bool {
        let busy = |state: &State| !state.closed && (state.writing || !state.waiting.is_empty());
        let Shared { changed, moved, grace, .. } = &*self.shared;
        let calm = |state: &mut State| busy(state) && !state.hurried;
        let mut state = changed.wait_while(self.shared.state(), calm).unwrap_or_else(PoisonError::into_inner);
        let mut before = None;
        while busy(&state) {
            let now = Some(moved.load(Ordering::Relaxed));
            if now == before {
                state.closed = true;
                state.error = Some(io::Error::other("its reader stopped reading; the rest is lost"));
                return false;
            }
            before = now;
            let waited = changed.wait_timeout_while(state, *grace, |state| busy(state));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Shared {
    /// What has to be written next; `None` when the reader is gone.
    fn take(&self) -> Option<Vec<u8>> {
        let idle = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let mut state = self.changed.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        if state.closed { None } else { Some(mem::take(&mut state.waiting)) }
    }

    fn written(&self, error: Option<io::Error>) {
        let mut state = self.state();
        state.writing = false;
        self.moved.fetch_add(1, Ordering::Relaxed);
        if let Some(error) = error {
            state.closed = true;
            state.error = Some(error).filter(|error| !is_gone(error));
        }
        drop(state);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the error means that the reader stopped early. A socket may report this as a reset.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// What is said of standard output that takes nothing.
pub(crate) fn unwritten(error: &io::Error) -> Failure {
    Failure::general(format!("cannot write to standard output: {error}"))
}

/// Waiting bytes from which on reading pauses.
const FULL: usize = 1 << 20;
/// What is written at a time, so that a slow reader can be told from one that stopped.
const PIECE: usize = 16 << 10;
/// In such a time one who is waited for takes something.
const GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn all_is_written_in_order_before_the_end() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let stdout =
            Output::start(Waker::default(), move |bytes| sender.send(bytes.to_vec()).map_err(io::Error::other))
                .unwrap();
        for number in 0..1000 {
            stdout.push(format!("{number}\n").as_bytes());
        }
        assert!(stdout.finish());
        let all = String::from_utf8(receiver.try_iter().flatten().collect()).unwrap();
        assert!(all.lines().map(str::to_owned).eq((0..1000).map(|number| number.to_string())));
    }

    #[test]
    fn a_reader_that_stops_fills_it_and_one_that_leaves_empties_it() {
        let (sender, receiver) = sync_channel::<usize>(0);
        let stdout =
            Output::start(Waker::default(), move |bytes| sender.send(bytes.len()).map_err(io::Error::other)).unwrap();
        stdout.push(b"x");
        while stdout.shared.state().waiting.len() == 1 {
            thread::yield_now();
        }
        assert!(!stdout.is_full());
        stdout.push(&vec![0; FULL]);
        assert!(stdout.is_full());
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.recv(), Ok(FULL));
        assert!(!stdout.is_full());
        drop(receiver);
        stdout.push(b"y");
        assert!(stdout.finish());
        assert!(stdout.is_closed());
        stdout.push(b"z");
        assert!(stdout.finish());
    }

    #[test]
    fn one_who_is_in_a_hurry_waits_for_a_reader_that_reads_and_no_other() {
        let (sender, receiver) = sync_channel::<()>(0);
        let write = move |_: &[u8]| sender.send(()).map_err(io::Error::other);
        let stdout = Output::with(Waker::default(), Arc::default(), Duration::from_millis(10), write).unwrap();
        stdout.push(b"x");
        stdout.hurry();
        assert!(!stdout.finish());
        assert!(stdout.is_closed());
        assert!(stdout.written().unwrap_err().message.contains("stopped reading"));
        // The thread comes to its end.
        receiver.recv().unwrap();
        assert!(receiver.recv().is_err());

        // A long grace, in which a slow one takes something each time.
        let (sender, receiver) = sync_channel::<()>(0);
        let write = move |_: &[u8]| sender.send(()).map_err(io::Error::other);
        let stdout = Output::with(Waker::default(), Arc::default(), Duration::from_secs(60), write).unwrap();
        stdout.hurry();
        let reading = thread::spawn(move || receiver.into_iter().count());
        for _ in 0..100 {
            stdout.push(b"x");
        }
        assert!(stdout.finish() && stdout.written().is_ok());
        drop(stdout);
        drop(reading);
    }
}
