//! What a log and its layers have in common.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tracing_subscriber::filter::Targets;

use super::backlog::Backlog;
use super::form::Form;
use super::line::Line;
use super::pace::Pace;

/// What a log and its layers share. The thread that writes ends with the last of them.
pub(super) struct Shared {
    pub(super) filter: Targets,
    pub(super) form: Form,
    pub(super) pace: Pace,
    pub(super) backlog: Arc<Backlog>,
    /// Where packets go.
    pub(super) socket: Option<PathBuf>,
    pub(super) reopens: bool,
}

impl Shared {
    /// Has a line written.
    pub(super) fn push(&self, line: &Line) {
        self.backlog.push(&self.form.record(line, SystemTime::now()));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.backlog.close();
    }
}
