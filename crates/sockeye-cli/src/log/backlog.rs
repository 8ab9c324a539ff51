//! Log lines that wait to be written by a thread of the log's own, so that a reader who stops reading stops the log and
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

/// Invariant: `waiting.len() <= MOST`, and so is 16 times the number of `ends`.
struct State {
    waiting: Vec<u8>,
    /// Where each record of `waiting` ends.
    ends: Vec<usize>,
    /// The thread has taken records that are not written yet.
    writing: bool,
    /// Records for which there was no room since the last ones were taken.
    dropped: u64,
    /// The sink is to be reopened once what waits is written.
    reopen: bool,
    /// Whether the sink can be reopened.
    reopens: bool,
}

/// What the log has to say of itself.
#[derive(Debug)]
pub(super) enum Note {
    Lost(u64),
    Reopened,
    NotReopened(io::Error),
}

impl Backlog {
    pub(super) const fn new() -> Self {
        let state =
            State { waiting: Vec::new(), ends: Vec::new(), writing: false, dropped: 0, reopen: false, reopens: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Appends a record; it is dropped and counted when too much waits already. Never blocks for the reader.
    pub(super) fn push(&self, record: &[u8]) {
        let mut state = self.state();
        if record.len() > MOST - state.waiting.len() || state.ends.len() >= MOST / 16 {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(record);
        let end = state.waiting.len();
        state.ends.push(end);
        drop(state);
        self.changed.notify_all();
    }

    /// Has the sink begin anew. False: it is of a kind that does not.
    pub(super) fn reopen(&self) -> bool {
        let mut state = self.state();
        state.reopen = state.reopens;
        let reopens = state.reopens;
        drop(state);
        self.changed.notify_all();
        reopens
    }

    /// Records that the sink can be reopened.
    pub(super) fn set_reopens(&self) {
        self.state().reopens = true;
    }

    /// Writes records in an endless loop. `note` makes a record about the log itself. A log that cannot be written does not stop
    /// the process: lost records are counted, and reported once something can be written again.
    pub(super) fn write_to(&self, mut sink: impl Sink, note: impl Fn(Note) -> Vec<u8>) {
        let mut lost = 0;
        let mut state = self.state();
        loop {
            state = self.changed.wait_while(state, |state| state.is_empty()).unwrap_or_else(PoisonError::into_inner);
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

/// Bytes that may wait: some thousand lines.
const MOST: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::thread;

    use super::*;

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
        let backlog = Arc::new(Backlog::new());
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
    fn beginning_anew_is_said() {
        let (backlog, written) = started(1000);
        assert!(!backlog.reopen(), "not yet");
        backlog.set_reopens();
        assert!(backlog.reopen());
        assert_eq!(written.recv_timeout(Duration::from_secs(60)).unwrap(), "Reopened\n");
    }
}
