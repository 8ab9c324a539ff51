//! Gives the free memory of the heap back to the system once a crowd has gone, or what waited for slow readers.
//!
//! glibc's allocator gives back what is free at the end of its heap, and a few bytes that were allocated while the crowd was
//! there keep that from happening: of 9,900 connections over TLS 38 MB stayed resident, of 400 with compressed messages 8 MB,
//! and of 30 MB in short messages that had waited for a reader all. Its
//! `malloc_trim` gives back every free page, wherever it is. Where another allocator serves the program, it finds nothing to do.
#![expect(unsafe_code, reason = "malloc_trim(3) is in no safe interface")]

use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::transport::account::Account;

/// How many there have been, to see that most of them have gone.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    most: usize,
}

impl Crowd {
    /// Some of `before` have gone, and `left` are left. If a crowd has gone, or few for which much was held, its memory is given
    /// back.
    pub(crate) fn shrinks(&mut self, before: usize, left: usize, account: &Account) {
        // Both are asked, since each remembers that it was.
        if self.is_over(before, left) | account.is_peak_over() {
            give_back();
        }
    }

    /// Whether so many have gone since the last time that it is worth the time: a millisecond or several.
    fn is_over(&mut self, before: usize, left: usize) -> bool {
        self.most = self.most.max(before);
        let is_over = self.most - left.min(self.most) >= WORTHWHILE && left <= self.most / 4;
        if is_over {
            self.most = left;
        }
        is_over
    }
}

/// Fewer hold little, unless they have messages.
const WORTHWHILE: usize = 500;

/// Much was held and most of it is free again, though all are still there: slow readers have caught up.
#[derive(Debug, Default)]
pub(super) struct Fall {
    look_at: Option<Instant>,
}

impl Fall {
    /// A turn ends. The memory is given back once little has been held for some time: readers that fall behind and catch up
    /// again and again need it.
    pub(super) fn tidy(&mut self, now: Instant, account: &Account) {
        if self.is_over(now, account) {
            give_back();
        }
    }

    fn is_over(&mut self, now: Instant, account: &Account) -> bool {
        if account.take_fall() {
            self.look_at.get_or_insert_with(|| now.saturating_add(CALM));
        }
        if self.look_at.is_none_or(|at| at > now) {
            return false;
        }
        self.look_at = None;
        account.is_peak_over()
    }

    /// When [`tidy`](Self::tidy) has something to do.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }
}

/// How long little is held before memory is given back.
const CALM: Duration = Duration::from_secs(1);

/// Gives every free page of the heap back.
pub(super) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: the declaration is that of malloc_trim(3), which has no conditions: any thread may call it at any time, and it
        // changes nothing but pages that no allocation has.
        unsafe { malloc_trim(0) };
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::transport::account::Charge;

    #[test]
    fn a_fall_is_over_when_little_stays_held() {
        let at = |millis| Instant::from_nanos(0).saturating_add(Duration::from_millis(millis));
        let (account, mut charge, mut fall) = (Rc::<Account>::default(), Charge::default(), Fall::default());
        charge.set(&account, 100 << 20);
        assert!(!fall.is_over(at(0), &account) && fall.look_at().is_none());
        // It comes back in time.
        charge.set(&account, 1 << 20);
        assert!(!fall.is_over(at(100), &account));
        charge.set(&account, 90 << 20);
        assert_eq!((fall.look_at(), fall.is_over(at(1100), &account)), (Some(at(1100)), false));
        assert!(fall.look_at().is_none(), "nothing wakes an idle loop");
        // It does not.
        charge.set(&account, 1 << 20);
        assert!(!fall.is_over(at(2000), &account));
        charge.set(&account, 0);
        assert!(!fall.is_over(at(2999), &account) && fall.is_over(at(3000), &account));
        assert!(!fall.is_over(at(9000), &account) && fall.look_at().is_none(), "once");
    }

    #[test]
    fn a_crowd_is_over_when_most_of_it_has_gone() {
        let mut crowd = Crowd::default();
        assert!(!crowd.is_over(WORTHWHILE - 1, 0));
        assert!(crowd.is_over(WORTHWHILE, 0));
        assert!(!crowd.is_over(1, 0), "it begins anew");
        assert!(!crowd.is_over(4000, 1001));
        assert!(crowd.is_over(1001, 1000));
        assert!(!crowd.is_over(1000, WORTHWHILE + 1));
        assert!(crowd.is_over(900, 1000 - 3 * 1000 / 4));
    }
}
