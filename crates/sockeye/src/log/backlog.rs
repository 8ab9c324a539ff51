//! Records that wait to be written by a thread of the log's own, so that a reader who stops reading stops the log and
//! nothing else.

use std::io;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::sink::{Records, Sink};

/// Records that wait to be written, within a bound.
pub(super) struct Backlog {
    state: Mutex<State>,
    changed: Condvar,
}

/// Invariant: `waiting.len() <= most`, and so is 16 times the number of `ends`.
struct State {
    most: usize,
    waiting: Vec<u8>,
    /// Where each record of `waiting` ends.
    ends: Vec<usize>,
    /// The thread has taken records that are not written yet.
    writing: bool,
    /// Records for which there was no room since the last ones were taken.
    dropped: u64,
    /// Records that were dropped here or by the sink.
    lost: u64,
    /// The sink is to be reopened once what waits is written.
    reopen: bool,
    /// Nothing will be appended.
    closed: bool,
}

/// What the log has to say of itself.
#[derive(Debug)]
pub(super) enum Note {
    Lost(u64),
    Reopened,
    NotReopened(io::Error),
}

impl Backlog {
    /// For at most so many bytes.
    pub(super) fn new(most: usize) -> Self {
        let (waiting, ends) = (Vec::new(), Vec::new());
        let state = State { most, waiting, ends, writing: false, dropped: 0, lost: 0, reopen: false, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Appends a record; it is dropped and counted when too much waits already. Never blocks for the reader.
    pub(super) fn push(&self, record: &[u8]) {
        let mut state = self.state();
        if record.len() > state.most - state.waiting.len() || state.ends.len() >= state.most / 16 {
            state.dropped += 1;
            state.lost += 1;
            return;
        }
        state.waiting.extend_from_slice(record);
        let end = state.waiting.len();
        state.ends.push(end);
        drop(state);
        self.changed.notify_all();
    }

    /// Reopens the sink once the waiting lines are written.
    pub(super) fn reopen(&self) {
        self.state().reopen = true;
        self.changed.notify_all();
    }

    /// Ends [`write_to`](Self::write_to), once what waits is written.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Records that were dropped here or by the sink.
    pub(super) fn lost(&self) -> u64 {
        self.state().lost
    }

    /// Writes records until the backlog is closed. `note` makes a record about the log itself. A log that cannot be written does
    /// not stop the process: lost records are counted, and reported once something can be written again.
    pub(super) fn write_to(&self, mut sink: impl Sink, note: impl Fn(Note) -> Vec<u8>) {
        let mut lost = 0;
        let mut state = self.state();
        loop {
            state = self
                .changed
                .wait_while(state, |state| state.is_empty() && !state.closed)
                .unwrap_or_else(PoisonError::into_inner);
            if state.is_empty() {
                return;
            }
            let waiting = mem::take(&mut state.waiting);
            let ends = mem::take(&mut state.ends);
            lost += mem::take(&mut state.dropped);
            let reopen = mem::take(&mut state.reopen);
            state.writing = true;
            drop(state);
            let failed = if ends.is_empty() { 0 } else { sink.write(Records { bytes: &waiting, ends: &ends }) };
            lost += failed;
            // After the waiting records: they belong to the old file.
            let reopened = reopen.then(|| sink.reopen()).flatten();
            let mut tell = |what| {
                let record = note(what);
                sink.write(Records { bytes: &record, ends: &[record.len()] }) == 0
            };
            if let Some(result) = reopened {
                tell(result.map_or_else(Note::NotReopened, |()| Note::Reopened));
            }
            if lost > 0 && (failed as usize) < ends.len() && tell(Note::Lost(lost)) {
                lost = 0;
            }
            drop((waiting, ends));
            state = self.state();
            state.lost += failed;
            state.writing = false;
            self.changed.notify_all();
        }
    }

    /// Waits until everything is written, but not long: a reader that has stalled will not recover.
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
        self.ends.is_empty() && self.dropped == 0 && !self.reopen
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::thread;

    use super::*;

    const MOST: usize = 256 * 1024;

    /// Takes what is written only when there is a place in the channel.
    struct Pipe(SyncSender<String>);

    impl Sink for Pipe {
        fn write(&mut self, records: Records<'_>) -> u64 {
            let text = String::from_utf8(records.bytes.to_vec()).unwrap();
            if text.contains("refuse") {
                return records.ends.len() as u64;
            }
            self.0.send(text).unwrap();
            0
        }

        fn reopen(&mut self) -> Option<io::Result<()>> {
            Some(Ok(()))
        }
    }

    fn started(places: usize) -> (Arc<Backlog>, Receiver<String>) {
        let (sender, receiver) = sync_channel(places);
        let backlog = Arc::new(Backlog::new(MOST));
        let writing = Arc::clone(&backlog);
        thread::spawn(move || {
            writing.write_to(Pipe(sender), |note| match note {
                Note::Lost(count) => format!("{count} missed\n").into_bytes(),
                other => format!("{other:?}\n").into_bytes(),
            })
        });
        (backlog, receiver)
    }

    #[test]
    fn lines_arrive_in_order_and_flush_waits_for_them() {
        let (backlog, written) = started(1000);
        for number in 0..100 {
            backlog.push(format!("{number}\n").as_bytes());
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
            backlog.push(line.as_bytes());
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
        assert_eq!(backlog.lost(), (2 * MOST / line.len() - count) as u64);
        backlog.push(b"again\n");
        assert_eq!(written.recv_timeout(Duration::from_secs(60)).unwrap(), "again\n");
    }

    #[test]
    fn what_the_sink_could_not_write_is_told_once_it_can() {
        let (backlog, written) = started(1000);
        for _ in 0..3 {
            backlog.push(b"refuse\n");
            backlog.flush(Duration::from_secs(60));
        }
        backlog.push(b"take\n");
        backlog.flush(Duration::from_secs(60));
        assert_eq!(written.try_iter().collect::<String>(), "take\n3 missed\n");
        backlog.push(b"more\n");
        backlog.flush(Duration::from_secs(60));
        assert_eq!(written.try_iter().collect::<String>(), "more\n", "and only once");
    }

    #[test]
    fn opening_anew_is_said() {
        let (backlog, written) = started(1000);
        backlog.reopen();
        assert_eq!(written.recv_timeout(Duration::from_secs(60)).unwrap(), "Reopened\n");
    }

    #[test]
    fn what_waits_at_the_end_is_written() {
        let (backlog, written) = started(1000);
        backlog.push(b"last\n");
        backlog.close();
        // The channel ends with the thread.
        assert_eq!(written.iter().collect::<String>(), "last\n");
    }
}
