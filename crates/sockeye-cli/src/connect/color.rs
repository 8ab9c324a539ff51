//! Colours, for people at a terminal.

use std::ffi::OsStr;

use clap::ValueEnum;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal
    #[default]
    Auto,
    Always,
    Never,
}

impl When {
    /// Whether a stream is coloured. `variable` reads the environment.
    pub(crate) fn holds<V: AsRef<OsStr>>(self, is_terminal: bool, variable: impl Fn(&str) -> Option<V>) -> bool {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.as_ref().is_empty());
        let is_simple = || !is_set("TERM") || variable("TERM").is_some_and(|term| term.as_ref() == "dumb");
        match self {
            Self::Always => true,
            Self::Never => false,
            // no-color.org: "when present and not an empty string (regardless of its value)".
            Self::Auto => is_terminal && !is_set("NO_COLOR") && !is_simple(),
        }
    }
}

/// What a line is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Received,
    Sent,
    Note,
}

impl Kind {
    /// `text`, which must have nothing in it that a terminal obeys, in the colour of its kind.
    pub(crate) fn paint(self, text: &str) -> String {
        // They are readable on light and dark backgrounds.
        let color = match self {
            Self::Received => "36",
            Self::Sent => "32",
            Self::Note => "2",
        };
        format!("\x1b[{color}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_colours_unless_it_is_told_otherwise() {
        for (when, is_terminal, variables, colored) in [
            (When::Auto, true, &[("TERM", "xterm")][..], true),
            (When::Auto, false, &[("TERM", "xterm")], false),
            (When::Auto, true, &[("TERM", "dumb")], false),
            (When::Auto, true, &[("TERM", "")], false),
            (When::Auto, true, &[], false),
            (When::Auto, true, &[("TERM", "xterm"), ("NO_COLOR", "0")], false),
            (When::Auto, true, &[("TERM", "xterm"), ("NO_COLOR", "")], true),
            (When::Always, false, &[("NO_COLOR", "1")], true),
            (When::Never, true, &[("TERM", "xterm")], false),
        ] {
            let variable = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
            assert_eq!(when.holds(is_terminal, variable), colored, "{when:?} {is_terminal} {variables:?}");
        }
    }

    #[test]
    fn a_colour_ends_with_its_text() {
        assert_eq!(Kind::Received.paint("< a"), "\x1b[36m< a\x1b[0m");
    }
}
