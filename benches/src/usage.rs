//! What another process has used.

use std::fs;

/// Nanoseconds that all its threads have run. The kernel notes it exactly, where `stat` counts ticks.
#[must_use]
pub fn cpu_nanos(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let read = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("schedstat")).ok();
    threads.flatten().filter_map(read).filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum()
}

/// Bytes of its memory that are resident.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    resident(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()).unwrap_or(0)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_status() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1234 kB\nRssAnon:\t 9 kB\n"), Some(1234 * 1024));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_uses_something() {
        assert!(resident_bytes(std::process::id()) > 0);
    }
}
