//! A log of events, to compare one run with another.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// Lines in the order they were noted. Clones share one list, so that a protocol and its test can both hold it.
#[derive(Clone, Default)]
pub struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line.
    pub fn note(&self, line: impl Into<String>) {
        self.0.borrow_mut().push(line.into());
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// How many lines begin with `prefix`.
    #[must_use]
    pub fn count(&self, prefix: &str) -> usize {
        self.0.borrow().iter().filter(|line| line.starts_with(prefix)).count()
    }

    /// Panics at the first line in which the two differ, with the line before it.
    ///
    /// # Panics
    ///
    /// When the logs are not the same.
    #[track_caller]
    pub fn assert_same(&self, other: &Self) {
        let (left, right) = (self.0.borrow(), other.0.borrow());
        if *left == *right {
            return;
        }
        let at = left.iter().zip(right.iter()).take_while(|(a, b)| a == b).count();
        let line = |log: &[String], at: usize| log.get(at).cloned().unwrap_or_else(|| "(ends here)".to_owned());
        let before = at.checked_sub(1).map_or_else(|| "(start)".to_owned(), |at| line(&left, at));
        panic!(
            "the logs differ at line {at}\nbefore: {before}\n  left: {}\n right: {}",
            line(&left, at),
            line(&right, at)
        );
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0.borrow().iter() {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}
