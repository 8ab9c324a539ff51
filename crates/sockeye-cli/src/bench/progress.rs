//! The progress bar. It is shown on a terminal only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::figures::count;

/// Drawn on standard error, so that it does not mix with the output, and only if that is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Moment and messages of the last drawing.
    shown: (u64, u64),
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr());
        // The template is a constant that is right; if it were not, the bar would only look otherwise.
        if let Ok(style) = ProgressStyle::with_template("{prefix:>10} [{bar:30}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, shown: (0, 0) }
    }

    /// What is going on now.
    pub(crate) fn stage(&self, name: &'static str) {
        self.bar.set_prefix(name);
    }

    /// `share` of the stage is done; `messages` were answered until `now`, in nanoseconds.
    pub(crate) fn show(&mut self, now: u64, share: f64, messages: u64, connections: usize) {
        let (then, before) = self.shown;
        if now.saturating_sub(then) < EVERY || self.bar.is_hidden() {
            return;
        }
        let rate = messages.saturating_sub(before) as f64 * 1e9 / (now - then) as f64;
        self.shown = (now, messages);
        self.bar.set_position((share.clamp(0.0, 1.0) * STEPS as f64) as u64);
        self.bar.set_message(format!("{} a second, {} connections", count(rate as u64), count(connections as u64)));
    }

    /// Takes it away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

const STEPS: u64 = 1_000;

/// Nanoseconds from one drawing to the next.
const EVERY: u64 = 200_000_000;
