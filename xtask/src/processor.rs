//! How long processors have worked for the programs that a thread ran, with all that those ran and waited for. On a machine with other
//! work it tells what a step costs, and the clock does not.

use std::{
    cell::Cell,
    fs, io,
    process::{Child, ExitStatus},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::param::clock_ticks_per_second;

thread_local! {
    static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// What this thread's programs have taken since the last call.
pub(crate) fn take_spent() -> Duration {
    SPENT.take()
}

/// The same, without beginning anew.
pub(crate) fn spent() -> Duration {
    SPENT.get()
}

/// Collects a child if it has ended, and adds its time to this thread's.
pub(crate) fn collect(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    /// That of all children that were collected. One thread collects at a time: what is added meanwhile is the child's.
    static ALL: Mutex<Duration> = Mutex::new(Duration::ZERO);
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let status = child.try_wait()?;
    if status.is_some() {
        let now = of_children(&fs::read_to_string("/proc/self/stat")?).unwrap_or(*all);
        SPENT.set(SPENT.get() + now.saturating_sub(*all));
        *all = now;
    }
    Ok(status)
}

/// `cutime` and `cstime` of proc(5). The name of the program is in parentheses and may have spaces.
fn of_children(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(13).map(|field| field.parse::<u64>().ok());
    let ticks = fields.next()?? + fields.next()??;
    Some(Duration::from_millis(ticks * 1000 / clock_ticks_per_second()))
}

#[cfg(test)]
mod tests {
    use std::{process::Command, thread};

    use super::*;

    #[test]
    fn both_times_are_added() {
        let second = clock_ticks_per_second();
        let stat = format!("7 (a b) c) S 1 7 7 0 -1 0 1 2 3 4 9 9 {} {} 20 0 1 0 5", 2 * second, second);
        assert_eq!(of_children(&stat), Some(Duration::from_secs(3)));
        assert_eq!(of_children("7 (a) S 1"), None);
    }

    #[test]
    fn a_program_is_of_the_thread_that_collects_it() {
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";
        let mut child = Command::new("sh").args(["-c", script]).spawn().expect("there is a shell");
        child.wait().expect("it ends");
        collect(&mut child).expect("it has ended");
        assert!(take_spent() > Duration::ZERO);
        assert_eq!(take_spent(), Duration::ZERO);
        assert_eq!(thread::spawn(take_spent).join().expect("it does not panic"), Duration::ZERO);
    }
}
