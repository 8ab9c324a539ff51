//! What /proc says about a process.

use std::fs;
use std::time::Duration;

/// A process by its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Open descriptors.
    pub(crate) fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).expect("the server is alive").count()
    }

    /// Open sockets. Other descriptors come and go while a program begins.
    pub(crate) fn sockets(self) -> usize {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.0)).expect("the server is alive");
        let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// Resident bytes, counted in the page tables: the sums in /proc/PID/status are kept by processor, and may be off by hundreds
    /// of kilobytes.
    pub(crate) fn resident(self) -> u64 {
        number_after("Rss:", &self.text("smaps_rollup")) * 1024
    }

    /// The most it ever had resident since [`Self::forget_peak`].
    pub(crate) fn peak(self) -> u64 {
        self.status("VmHWM:") * 1024
    }

    /// Lets [`Self::peak`] start anew.
    pub(crate) fn forget_peak(self) {
        fs::write(format!("/proc/{}/clear_refs", self.0), "5").expect("own child");
    }

    /// Time spent on a processor by all its threads, in user and kernel mode.
    pub(crate) fn cpu(self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0)).expect("the server is alive");
        let spent = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }

    /// How often it went to sleep by itself.
    pub(crate) fn naps(self) -> u64 {
        self.status("voluntary_ctxt_switches:")
    }

    fn status(self, name: &str) -> u64 {
        number_after(name, &self.text("status"))
    }

    fn text(self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0)).expect("the server is alive")
    }
}

/// The number in the line of `text` that begins with `name`.
fn number_after(name: &str, text: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name)).expect("a running process has this line");
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
}
