//! The way of log lines to where they are read: over a thread of its own, so that a reader who stopped reading stops the
//! log and nothing else.

use std::io::Write;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lines that wait to be written, within a bound.
pub(super) struct Backlog {
    state: Mutex<State>,
    changed: Condvar,
}

/// Invariant: `waiting.len() <= MOST`.
struct State {
    waiting: Vec<u8>,
    /// The thread has taken lines that are not written yet.
    writing: bool,
    /// Lines for which there was no room since the last ones were taken.
    dropped: u64,
}

impl Backlog {
    pub(super) const fn new() -> Self {
        let state = State { waiting: Vec::new(), writing: false, dropped: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Appends a line; it is dropped and counted when too much waits already. Never blocks for the reader.
    pub(super) fn push(&self, line: &str) {
        let mut state = self.state();
        if line.len() > MOST - state.waiting.len() {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line.as_bytes());
        drop(state);
        self.changed.notify_all();
    }

    /// Writes what comes, for ever. `missed` makes a line of the number of those that were dropped. A log that cannot be
    /// written is no reason to stop: errors are ignored.
    pub(super) fn write_to(&self, mut out: impl Write, missed: impl Fn(u64) -> String) {
        let mut state = self.state();
        loop {
            state = self.changed.wait_while(state, |state| state.is_empty()).unwrap_or_else(PoisonError::into_inner);
            let mut lines = mem::take(&mut state.waiting);
            let dropped = mem::take(&mut state.dropped);
            state.writing = true;
            drop(state);
            if dropped > 0 {
                lines.extend_from_slice(missed(dropped).as_bytes());
            }
            let _ = out.write_all(&lines);
            drop(lines);
            state = self.state();
            state.writing = false;
            self.changed.notify_all();
        }
    }

    /// Waits until all is written, but not for long: whoever does not read now will not read then.
    pub(super) fn flush(&self, within: Duration) {
        let busy = |state: &mut State| state.writing || !state.is_empty();
        drop(self.changed.wait_timeout_while(self.state(), within, busy));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.dropped == 0
    }
}

/// Bytes that may wait: some thousand lines.
const MOST: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::thread;

    use super::*;

    /// Takes what is written only when there is a place in the channel.
    struct Pipe(SyncSender<String>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8(bytes.to_vec()).map_err(io::Error::other)?;
            self.0.send(text).map(|()| bytes.len()).map_err(io::Error::other)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn started(places: usize) -> (Arc<Backlog>, Receiver<String>) {
        let (sender, receiver) = sync_channel(places);
        let backlog = Arc::new(Backlog::new());
        let writing = Arc::clone(&backlog);
        thread::spawn(move || writing.write_to(Pipe(sender), |count| format!("{count} missed\n")));
        (backlog, receiver)
    }

    #[test]
    fn lines_arrive_in_order_and_flush_waits_for_them() {
        let (backlog, written) = started(1000);
        for number in 0..100 {
            backlog.push(&format!("{number}\n"));
        }
        backlog.flush(Duration::from_secs(60));
        let all: String = written.try_iter().collect();
        assert!(all.lines().map(str::to_owned).eq((0..100).map(|number| number.to_string())), "{all}");
    }

    #[test]
    fn a_reader_that_does_not_read_stops_nobody_and_is_told_what_it_missed() {
        let (backlog, written) = started(0);
        let line = format!("{}\n", "x".repeat(999));
        for _ in 0..2 * MOST / line.len() {
            backlog.push(&line);
        }
        backlog.flush(Duration::from_millis(1));
        let (mut count, mut missed) = (0, String::new());
        while missed.is_empty() {
            for text in written.recv_timeout(Duration::from_secs(60)).unwrap().lines() {
                if text.ends_with("missed") { text.clone_into(&mut missed) } else { count += 1 }
            }
        }
        assert!((MOST / line.len()..2 * MOST / line.len()).contains(&count), "{count}");
        assert_eq!(missed, format!("{} missed", 2 * MOST / line.len() - count));
        backlog.push("again\n");
        assert_eq!(written.recv_timeout(Duration::from_secs(60)).unwrap(), "again\n");
    }
}
