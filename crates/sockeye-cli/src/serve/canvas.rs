//! The canvas of lws-mirror-protocol: one ring of messages for the connections of all threads, behind a lock.
//!
//! One lock, so that all readers see the messages in one order and the ring is as bounded for many threads as for one. It is
//! held for a few steps in memory, never while anything is sent or logged.
//!
//! What a change means for a connection of another thread (it has something to read, may write again, is to be closed) is an
//! [`Errand`] for that thread. Errands wait here, and a thread that has some is asked once to come for them.
//!
//! While the ring is paused, what a connection says is held here, behind what others said before it, and reading from that
//! connection is paused: so at most one message of each is held, however many write in however many threads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sockeye::ConnId;
use sockeye::proto::time::Instant;

use super::history::History;
use super::ring::{Flow, Ring};

/// A connection of one of the threads.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Reader {
    pub(crate) thread: usize,
    pub(crate) id: ConnId,
}

/// What a thread is to do for a connection of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Errand {
    /// There is something to read.
    Write(ConnId),
    /// What it said has found its place: it may say more.
    Resume(ConnId),
    /// It reads too slowly for the others. It has left already.
    Close(ConnId),
}

/// What is to be done after a change.
#[derive(Debug, Default, Eq, PartialEq)]
#[must_use]
pub(crate) struct Rounds {
    /// By the thread that made it.
    pub(crate) own: Vec<Errand>,
    /// Threads that are to come for their errands.
    pub(crate) ask: Vec<usize>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    Mirrored,
    /// It waits for the ring. Until its [`Errand::Resume`] nothing more of this connection is to be read.
    Held,
}

#[derive(Debug)]
pub(crate) struct Canvas {
    drawn: Mutex<Drawn>,
}

#[derive(Debug)]
struct Drawn {
    ring: Ring<Reader>,
    /// At most one message a connection, oldest first. None while the ring is not paused.
    held: VecDeque<(Reader, String)>,
    history: History,
    /// What readers that came late still have to get of the history, before the ring.
    late: HashMap<Reader, VecDeque<Arc<str>>>,
    /// The pages that show the canvas, each with the number of pages that it has heard last.
    pages: HashMap<Reader, usize>,
    /// The number that the pages were last woken for; 0 once one has heard another.
    announced: usize,
    threads: Vec<Errands>,
}

/// Those of one thread: for each of its connections at most one of each kind.
#[derive(Clone, Debug, Default)]
struct Errands {
    list: Vec<Errand>,
    /// It knows, and will come.
    asked: bool,
}

impl Canvas {
    pub(crate) fn new(threads: usize) -> Arc<Self> {
        let threads = vec![Errands::default(); threads];
        let drawn = Drawn {
            ring: Ring::new(),
            held: VecDeque::new(),
            history: History::default(),
            late: HashMap::new(),
            pages: HashMap::new(),
            announced: 0,
            threads,
        };
        Arc::new(Self { drawn: Mutex::new(drawn) })
    }

    /// Adds a reader of all messages from now on. A page also gets those before that draw the canvas as it is, and hears how many
    /// pages there are.
    pub(crate) fn join(&self, reader: Reader, is_page: bool) {
        let mut drawn = self.lock();
        drawn.ring.join(reader);
        if !is_page {
            return;
        }
        drawn.pages.insert(reader, 0);
        let missed = drawn.history.messages();
        if !missed.is_empty() {
            drawn.late.insert(reader, missed);
        }
    }

    /// Takes a message for all readers.
    pub(crate) fn say(&self, reader: Reader, text: String, now: Instant) -> (Said, Rounds) {
        let mut drawn = self.lock();
        if drawn.ring.is_paused() {
            drawn.held.push_back((reader, text));
            return (Said::Held, Rounds::default());
        }
        let paused = drawn.push(text, now);
        let rounds = drawn.rounds(reader.thread);
        drop(drawn);
        log_pause(paused);
        (Said::Mirrored, rounds)
    }

    /// Whether there is a message for this reader. When there is none, a later message will wake it.
    pub(crate) fn has_next(&self, reader: Reader) -> bool {
        let mut drawn = self.lock();
        drawn.has_news(reader) || drawn.late.contains_key(&reader) || drawn.ring.next(reader).is_some()
    }

    /// How many pages show the canvas, if this one has heard of another number. Those that have nothing else to write are woken
    /// for it by [`look`](Self::look), so that a crowd that comes does not wake all pages for each of its members.
    pub(crate) fn take_news(&self, reader: Reader) -> Option<usize> {
        let mut drawn = self.lock();
        let count = drawn.pages.len();
        let told = drawn.pages.get_mut(&reader)?;
        let is_new = std::mem::replace(told, count) != count;
        if count != drawn.announced {
            drawn.announced = 0;
        }
        is_new.then_some(count)
    }

    /// Takes the next message for this reader. When there is none, a later message will wake it.
    pub(crate) fn take(&self, reader: Reader, now: Instant) -> Option<(Arc<str>, Rounds)> {
        let mut drawn = self.lock();
        if let Some(text) = drawn.take_late(reader) {
            return Some((text, Rounds::default()));
        }
        let text = Arc::clone(drawn.ring.next(reader)?);
        let flow = drawn.ring.taken(reader);
        drawn.apply(flow, now);
        let rounds = drawn.rounds(reader.thread);
        Some((text, rounds))
    }

    pub(crate) fn leave(&self, reader: Reader, now: Instant) -> Rounds {
        let mut drawn = self.lock();
        drawn.late.remove(&reader);
        drawn.pages.remove(&reader);
        let flow = drawn.ring.leave(reader);
        drawn.apply(flow, now);
        drawn.rounds(reader.thread)
    }

    /// Has those leave that others have waited for too long, and says how many; and tells the pages how many there are. To be called
    /// regularly, by any thread.
    pub(crate) fn look(&self, thread: usize, now: Instant) -> (usize, Rounds) {
        let mut drawn = self.lock();
        let overdue = drawn.ring.overdue(now);
        for reader in &overdue {
            drawn.add(*reader, Errand::Close(reader.id));
            // It has nothing more to take: the others need not wait for the end of its closing handshake.
            let flow = drawn.ring.leave(*reader);
            drawn.apply(flow, now);
        }
        drawn.announce();
        (overdue.len(), drawn.rounds(thread))
    }

    /// The errands of a thread that was asked to come for them.
    pub(crate) fn errands(&self, thread: usize) -> Vec<Errand> {
        let mut drawn = self.lock();
        let Some(errands) = drawn.threads.get_mut(thread) else { return Vec::new() };
        errands.asked = false;
        std::mem::take(&mut errands.list)
    }

    /// A thread could not be asked; the next change does it again.
    pub(crate) fn not_asked(&self, thread: usize) {
        if let Some(errands) = self.lock().threads.get_mut(thread) {
            errands.asked = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Drawn> {
        // Nothing under the lock is meant to panic; if it did, the other threads are about to end.
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drawn {
    fn has_news(&self, reader: Reader) -> bool {
        self.pages.get(&reader).is_some_and(|told| *told != self.pages.len())
    }

    /// Wakes the pages that have not heard how many there are.
    fn announce(&mut self) {
        let count = self.pages.len();
        if std::mem::replace(&mut self.announced, count) == count {
            return;
        }
        for (reader, _) in self.pages.iter().filter(|(_, told)| **told != count) {
            add(&mut self.threads, *reader, Errand::Write(reader.id));
        }
    }

    fn take_late(&mut self, reader: Reader) -> Option<Arc<str>> {
        // Most of the time there is none.
        if self.late.is_empty() {
            return None;
        }
        let missed = self.late.get_mut(&reader)?;
        let text = missed.pop_front();
        if missed.is_empty() {
            self.late.remove(&reader);
        }
        text
    }

    /// Puts a message into the ring, which is not paused; true when it is now.
    fn push(&mut self, text: String, now: Instant) -> bool {
        self.history.note(&text);
        // It is paused before it is full, so there is room.
        let flow = self.ring.push(text, now).unwrap_or(Flow::Unchanged);
        let Self { ring, threads, .. } = self;
        ring.wake(|reader| add(threads, reader, Errand::Write(reader.id)));
        flow == Flow::Pause
    }

    /// When the ring goes on, what is held goes into it, as far as there is room.
    fn apply(&mut self, flow: Flow, now: Instant) {
        if flow != Flow::Resume {
            return;
        }
        while !self.ring.is_paused() {
            let Some((writer, text)) = self.held.pop_front() else { return };
            self.push(text, now);
            self.add(writer, Errand::Resume(writer.id));
        }
    }

    fn add(&mut self, reader: Reader, errand: Errand) {
        add(&mut self.threads, reader, errand);
    }

    /// What `thread` has to do, and which threads it has to ask.
    fn rounds(&mut self, thread: usize) -> Rounds {
        let own = self.threads.get_mut(thread).map(|errands| std::mem::take(&mut errands.list)).unwrap_or_default();
        let mut ask = Vec::new();
        for (other, errands) in self.threads.iter_mut().enumerate() {
            if !errands.list.is_empty() && !errands.asked {
                errands.asked = true;
                ask.push(other);
            }
        }
        Rounds { own, ask }
    }
}

fn add(threads: &mut [Errands], reader: Reader, errand: Errand) {
    if let Some(errands) = threads.get_mut(reader.thread) {
        errands.list.push(errand);
    }
}

fn log_pause(paused: bool) {
    if paused {
        tracing::debug!("the mirror stops reading until its slowest reader has caught up");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::ring::{PATIENCE, PAUSE, RESUME};

    const START: Instant = Instant::from_nanos(0);

    /// One reader in each of so many threads.
    fn canvas(threads: usize) -> (Arc<Canvas>, Vec<Reader>) {
        let canvas = Canvas::new(threads);
        // Told apart by their threads alone.
        let readers: Vec<_> = (0..threads).map(|thread| Reader { thread, id: ConnId::default() }).collect();
        readers.iter().for_each(|reader| canvas.join(*reader, false));
        (canvas, readers)
    }

    fn read(canvas: &Canvas, reader: Reader) -> Option<String> {
        canvas.take(reader, START).map(|(text, _)| text.to_string())
    }

    #[test]
    fn each_thread_is_asked_once_until_it_comes() {
        let (canvas, readers) = canvas(3);
        let (said, rounds) = canvas.say(readers[0], "a".into(), START);
        assert_eq!(said, Said::Mirrored);
        assert_eq!(rounds, Rounds { own: vec![Errand::Write(readers[0].id)], ask: vec![1, 2] });
        assert_eq!(canvas.say(readers[1], "b".into(), START).1.ask, [0_usize; 0], "1 was asked, and 2");
        assert_eq!(canvas.errands(2), [Errand::Write(readers[2].id)]);
        assert_eq!(canvas.errands(2), []);
        for reader in &readers {
            assert_eq!([read(&canvas, *reader), read(&canvas, *reader)], [Some("a".into()), Some("b".into())]);
            assert!(!canvas.has_next(*reader));
        }
        assert_eq!(canvas.errands(1), [], "it did that on its way");
        // It rests again, and is asked again; and once more if that failed.
        assert_eq!(canvas.say(readers[0], "c".into(), START).1.ask, [1, 2]);
        canvas.not_asked(2);
        assert_eq!(canvas.leave(readers[0], START).ask, [2]);
    }

    #[test]
    fn who_comes_late_gets_what_was_drawn_and_then_the_rest() {
        let (canvas, readers) = canvas(2);
        let [one, late] = readers[..] else { panic!("two were asked for") };
        let _ = canvas.leave(late, START);
        for text in ["d #fff 1 2 3 4;", "hello", "c #000 1 2 3;"] {
            let _ = canvas.say(one, text.into(), START);
        }
        canvas.join(late, true);
        assert!(canvas.has_next(late));
        let _ = canvas.say(one, "d #fff 5 6 7 8;".into(), START);
        assert_eq!(read(&canvas, late).as_deref(), Some("d #fff 1 2 3 4;c #000 1 2 3;"));
        assert_eq!(read(&canvas, late).as_deref(), Some("d #fff 5 6 7 8;"));
        assert_eq!(read(&canvas, late), None);
        assert_eq!(canvas.take_news(late), Some(1));
        assert!(!canvas.has_next(late));
        // One that leaves at once leaves nothing, and one that asks for nothing gets nothing.
        let _ = canvas.leave(late, START);
        canvas.join(late, true);
        let _ = canvas.leave(late, START);
        assert!(canvas.lock().late.is_empty() && canvas.lock().pages.is_empty());
        canvas.join(late, false);
        assert!(!canvas.has_next(late));
    }

    #[test]
    fn pages_hear_how_many_there_are_and_programs_do_not() {
        let (canvas, readers) = canvas(4);
        let [first, second, third, program] = readers[..] else { panic!("four were asked for") };
        canvas.join(first, true);
        assert_eq!((canvas.take_news(first), canvas.take_news(first)), (Some(1), None));
        let _ = canvas.look(0, START);
        // Those who come hear it at once; the others, once, when somebody looks.
        canvas.join(second, true);
        canvas.join(third, true);
        assert!(canvas.has_next(first) && canvas.has_next(second) && !canvas.has_next(program));
        assert_eq!(canvas.take_news(third), Some(3));
        let (count, rounds) = canvas.look(0, START);
        assert_eq!((count, rounds), (0, Rounds { own: vec![Errand::Write(first.id)], ask: vec![1] }));
        assert_eq!(canvas.look(0, START).1, Rounds::default());
        assert_eq!((canvas.take_news(first), canvas.take_news(second)), (Some(3), Some(3)));
        // One that hears another number between two looks hears the old one again.
        let _ = canvas.leave(second, START);
        assert_eq!(canvas.take_news(first), Some(2));
        canvas.join(second, true);
        assert_eq!(canvas.take_news(second), Some(3));
        assert_eq!(canvas.look(0, START).1.own, [Errand::Write(first.id)]);
        assert_eq!(canvas.take_news(first), Some(3));
        // One that came and went between two looks is not heard of.
        let _ = canvas.leave(third, START);
        canvas.join(third, true);
        assert_eq!(canvas.look(0, START).1, Rounds::default());
        let _ = (canvas.leave(third, START), canvas.leave(second, START));
        assert_eq!(canvas.look(0, START).1.own, [Errand::Write(first.id)]);
        assert_eq!(
            (canvas.take_news(first), canvas.take_news(second), canvas.take_news(program)),
            (Some(1), None, None)
        );
    }

    #[test]
    fn while_one_is_behind_each_connection_has_one_message_held_and_the_order_stands() {
        let (canvas, readers) = canvas(3);
        let [slow, a, b] = readers[..] else { panic!("three were asked for") };
        let mut expected: Vec<_> = (0..PAUSE).map(|number| number.to_string()).collect();
        for text in &expected {
            assert_eq!(canvas.say(a, text.clone(), START).0, Said::Mirrored);
        }
        expected.extend(["of b".to_owned(), "of a".to_owned()]);
        assert_eq!(canvas.say(b, "of b".into(), START), (Said::Held, Rounds::default()));
        assert_eq!(canvas.say(a, "of a".into(), START), (Said::Held, Rounds::default()));
        assert_eq!(canvas.lock().held.len(), 2);
        for reader in [a, b] {
            (0..PAUSE).for_each(|number| assert_eq!(read(&canvas, reader), Some(number.to_string())));
            assert_eq!(read(&canvas, reader), None, "what is held is nobody's yet");
        }
        let _ = (canvas.errands(1), canvas.errands(2));
        let mut heard = Vec::new();
        while let Some((text, rounds)) = canvas.take(slow, START) {
            heard.push(text.to_string());
            if heard.len() == PAUSE - RESUME {
                assert_eq!(rounds.ask, [1, 2]);
                // Both have something to read, and both may say more.
                let woken = [a, b].map(|reader| {
                    let mut errands = canvas.errands(reader.thread);
                    errands.sort_by_key(|errand| matches!(errand, Errand::Resume(_)));
                    errands
                });
                assert_eq!(woken, [a, b].map(|reader| vec![Errand::Write(reader.id), Errand::Resume(reader.id)]));
            }
        }
        assert_eq!(heard, expected);
        assert_eq!([read(&canvas, a), read(&canvas, a)], [Some("of b".into()), Some("of a".into())]);
    }

    #[test]
    fn what_is_held_of_one_that_left_is_mirrored_all_the_same() {
        let (canvas, readers) = canvas(2);
        let [slow, writer] = readers[..] else { panic!("two were asked for") };
        (0..PAUSE).for_each(|_| _ = canvas.say(writer, "x".into(), START));
        assert_eq!(canvas.say(writer, "last".into(), START).0, Said::Held);
        let _ = canvas.leave(writer, START);
        let all: Vec<_> = std::iter::from_fn(|| read(&canvas, slow)).collect();
        assert_eq!((all.len(), all.last().map(String::as_str)), (PAUSE + 1, Some("last")));
    }

    #[test]
    fn a_reader_that_others_wait_for_is_closed_by_its_own_thread() {
        let (canvas, readers) = canvas(2);
        let [alive, dead] = readers[..] else { panic!("two were asked for") };
        (0..PAUSE).for_each(|_| _ = canvas.say(alive, "x".into(), START));
        while read(&canvas, alive).is_some() {}
        assert_eq!(canvas.say(alive, "held".into(), START).0, Said::Held);
        assert_eq!(canvas.look(0, START + PATIENCE / 2).0, 0);
        let _ = canvas.errands(1);
        let (count, rounds) = canvas.look(0, START + PATIENCE);
        assert_eq!(count, 1);
        assert_eq!(rounds.ask, [1]);
        assert_eq!(canvas.errands(1), [Errand::Close(dead.id)]);
        // The others go on.
        assert!(rounds.own.contains(&Errand::Resume(alive.id)) && rounds.own.contains(&Errand::Write(alive.id)));
        assert_eq!(read(&canvas, alive).as_deref(), Some("held"));
        assert_eq!(canvas.look(1, START + PATIENCE * 2).0, 0, "it is closed once");
    }

    /// Two threads that say and take at the same time: every reader hears the same, and never is more kept than the ring holds
    /// and one message for each connection.
    #[test]
    fn threads_that_write_at_the_same_time_are_heard_in_one_order() {
        const EACH: usize = 20_000;
        let (canvas, readers) = canvas(2);
        let heard: Vec<Vec<String>> = std::thread::scope(|scope| {
            let threads: Vec<_> = readers
                .iter()
                .map(|&reader| {
                    let canvas = &canvas;
                    scope.spawn(move || {
                        let (mut said, mut may_say, mut heard) = (0, true, Vec::new());
                        while heard.len() < 2 * EACH {
                            if may_say && said < EACH {
                                let text = format!("{} {said}", reader.thread);
                                said += 1;
                                may_say = canvas.say(reader, text, START).0 == Said::Mirrored;
                            }
                            if let Some((text, rounds)) = canvas.take(reader, START) {
                                heard.push(text.to_string());
                                may_say |= rounds.own.contains(&Errand::Resume(reader.id));
                            }
                            may_say |= canvas.errands(reader.thread).contains(&Errand::Resume(reader.id));
                            let drawn = canvas.lock();
                            assert!(drawn.held.len() <= 2 && drawn.threads.iter().all(|of| of.list.len() <= 3));
                        }
                        heard
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(heard[0] == heard[1], "both heard the same");
        for writer in 0..2 {
            let own = heard[0].iter().filter_map(|text| text.strip_prefix(&format!("{writer} ")));
            assert!(own.eq((0..EACH).map(|number| number.to_string())), "in the order in which it was said");
        }
    }
}
