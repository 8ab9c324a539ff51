//! What a log and its layers have in common.

use std::path::PathBuf;
use std::sync::Arc;

use tracing_subscriber::filter::Targets;

use super::backlog::Backlog;
use super::form::Form;
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

impl Drop for Shared {
    fn drop(&mut self) {
        self.backlog.close();
    }
}
