//! One test of the suite and how it shares the machine with the others.

use std::cell::RefCell;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libtest_mimic::Trial;

/// How a row spends its time; in the order in which the runner starts them.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Class {
    /// Waits for a long deadline.
    Slow,
    /// Loads the processor: one at a time.
    Heavy,
    Quick,
}

#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) class: Class,
    name: &'static str,
    body: fn(),
    needs_root: bool,
    needs_strace: bool,
}

static PROCESSOR: Mutex<()> = Mutex::new(());

thread_local! {
    /// The turn of the row that runs on this thread, if it is a heavy one.
    static TURN: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// What a heavy row holds until its end, however that is reached: the thread runs other rows later.
struct Turn;

impl Turn {
    fn take() -> Self {
        await_turn();
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURN.take();
    }
}

fn await_turn() {
    TURN.set(Some(PROCESSOR.lock().unwrap_or_else(PoisonError::into_inner)));
}

/// Does what only waits: another heavy row runs meanwhile.
pub(crate) fn lend_turn<T>(wait: impl FnOnce() -> T) -> T {
    let is_heavy = TURN.take().is_some();
    let result = wait();
    if is_heavy {
        await_turn();
    }
    result
}

impl Case {
    pub(crate) fn new(name: &'static str, class: Class, body: fn()) -> Self {
        Self { class, name: name.trim_start_matches("abuse::"), body, needs_root: false, needs_strace: false }
    }

    /// Of its file, and its own.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Needs a network namespace of its own, thus root.
    pub(crate) fn with_root(mut self) -> Self {
        self.needs_root = true;
        self
    }

    /// Injects faults or counts system calls.
    pub(crate) fn with_strace(mut self) -> Self {
        self.needs_strace = true;
        self
    }

    pub(crate) fn trial(self) -> Trial {
        let missing =
            self.needs_root && !rustix::process::geteuid().is_root() || self.needs_strace && !on_path("strace");
        let ignored = missing && std::env::var_os("CI").is_none();
        Trial::test(self.name, move || {
            let _turn = (self.class == Class::Heavy).then(Turn::take);
            (self.body)();
            Ok(())
        })
        .with_ignored_flag(ignored)
    }
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).exists()))
}

/// `rows![Quick: first, second; Slow: third]`: the rows of a file.
macro_rules! rows {
    ($($class:ident: $($name:ident $(. $need:ident)*),+);+ $(;)?) => {
        vec![$($(
            $crate::support::Case::new(
                concat!(module_path!(), "::", stringify!($name)), $crate::support::Class::$class, $name,
            )$(.$need())*
        ),+),+]
    };
}
pub(crate) use rows;
