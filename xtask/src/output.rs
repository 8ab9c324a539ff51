//! What is printed. Two steps may run at the same time; each line of them then begins with the name of its step.

use std::{cell::Cell, fmt};

thread_local! {
    /// Whose lines this thread prints.
    static NAME: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// What this thread prints during `work` begins with `name`.
pub(crate) fn named<T>(name: &'static str, work: impl FnOnce() -> T) -> T {
    NAME.set(Some(name));
    let result = work();
    NAME.set(None);
    result
}

/// What [`say!`] does.
pub(crate) fn print(text: fmt::Arguments<'_>) {
    match NAME.get() {
        // In one piece: standard output is locked once.
        Some(name) => println!("{}", prefixed(name, &text.to_string())),
        None => println!("{text}"),
    }
}

fn prefixed(name: &str, text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| format!("{name:10}| {line}")).collect();
    lines.join("\n")
}

/// Prints a line, or several, as `println!` does.
macro_rules! say {
    ($($words:tt)*) => { $crate::output::print(format_args!($($words)*)) };
}
pub(crate) use say;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_begins_with_the_name() {
        assert_eq!(prefixed("abuse", "one\n\ntwo"), "abuse     | one\nabuse     | \nabuse     | two");
    }
}
