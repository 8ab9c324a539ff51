//! The queue of lines from standard input to the loop. It is bounded, so that a peer that does not read blocks our input.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use sockeye::messages::Message;

use crate::connect::command::Command;
use crate::connect::encoding::Encoding;
use crate::stdout::Waker;

/// What came of standard input, or of the editor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Input {
    Message(Message<'static>),
    Command(Command),
    /// A line that means nothing; why.
    Wrong(String),
    /// The end of the input.
    End,
}

impl Input {
    /// Reads a line. With `commands` one that begins with `/` may be one.
    pub(crate) fn of_line(line: String, commands: bool, encoding: Option<Encoding>) -> Self {
        let line = match Command::parse(&line) {
            _ if !commands => line,
            Ok(Command::Send(line)) => line,
            Ok(command) => return Self::Command(command),
            Err(error) => return Self::Wrong(error),
        };
        match encoding.map(|encoding| encoding.decode(&line)) {
            None => Self::Message(line.into()),
            Some(Ok(bytes)) => Self::Message(bytes.into()),
            Some(Err(error)) => Self::Wrong(error),
        }
    }

    fn cost(&self) -> usize {
        match self {
            Self::Message(message) => message.as_bytes().len() + EACH,
            _ => EACH,
        }
    }
}

/// Both ends of the queue.
#[derive(Clone)]
pub(crate) struct Stdin {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    waker: Waker,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Input>,
    /// Invariant: what `waiting` costs.
    load: usize,
    interrupted: bool,
}

impl Stdin {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), waker }) }
    }

    /// Waits for room, appends, and wakes the loop.
    pub(crate) fn push(&self, input: Input) {
        let full = |state: &mut State| state.load >= FULL;
        let mut state =
            self.shared.changed.wait_while(self.shared.state(), full).unwrap_or_else(PoisonError::into_inner);
        let first = state.waiting.is_empty();
        state.load += input.cost();
        state.waiting.push_back(input);
        drop(state);
        if first {
            self.shared.waker.wake();
        }
    }

    /// The next one, if there is one. Never waits.
    pub(crate) fn pop(&self) -> Option<Input> {
        let mut state = self.shared.state();
        let input = state.waiting.pop_front()?;
        state.load -= input.cost();
        drop(state);
        self.shared.changed.notify_all();
        Some(input)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shared.state().waiting.is_empty()
    }

    /// Whether the next one is the wish to close.
    pub(crate) fn wants_to_close(&self) -> bool {
        matches!(self.shared.state().waiting.front(), Some(Input::Command(Command::Close(_))))
    }

    /// The process is asked to end, even if input still waits.
    pub(crate) fn interrupt(&self) {
        self.shared.state().interrupted = true;
        self.shared.waker.wake();
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.shared.state().interrupted
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waiting bytes from which on nothing more is read: one message may cross it.
const FULL: usize = 256 * 1024;
/// What each input costs beside its payload.
const EACH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Input {
        Input::Message(text.to_owned().into())
    }

    #[test]
    fn lines_are_messages_or_commands() {
        let of = |line: &str, commands, encoding| Input::of_line(line.to_owned(), commands, encoding);
        assert_eq!(of("/help", true, None), Input::Command(Command::Help));
        assert_eq!(of("/help", false, None), message("/help"), "a filter sends what it is given");
        assert_eq!(of("//help", true, None), message("/help"));
        assert_eq!(of("//help", false, None), message("//help"));
        assert_eq!(of("00ff", false, Some(Encoding::Hex)), Input::Message(vec![0, 255].into()));
        assert_eq!(of("/help", true, Some(Encoding::Hex)), Input::Command(Command::Help));
        assert!(matches!(of("x", false, Some(Encoding::Hex)), Input::Wrong(_)));
        assert!(matches!(of("/nothing", true, None), Input::Wrong(_)));
    }

    #[test]
    fn a_full_one_waits_until_something_is_taken() {
        let stdin = Stdin::new(Waker::default());
        let large = "x".repeat(FULL);
        stdin.push(message(&large));
        let other = stdin.clone();
        let pushing = std::thread::spawn(move || other.push(Input::End));
        assert_eq!(stdin.shared.state().waiting.len(), 1);
        assert_eq!(stdin.pop(), Some(message(&large)));
        pushing.join().unwrap();
        assert_eq!(stdin.pop(), Some(Input::End));
        assert_eq!(stdin.pop(), None);
        assert_eq!(stdin.shared.state().load, 0);
    }
}
