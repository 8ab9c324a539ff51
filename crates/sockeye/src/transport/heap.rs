//! Gives the free memory of the heap back to the system once a crowd has gone.
//!
//! glibc's allocator gives back what is free at the end of its heap, and a few bytes that were allocated while the crowd was
//! there keep that from happening: of 9,900 connections over TLS 38 MB stayed resident, of 400 with compressed messages 8 MB. Its
//! `malloc_trim` gives back every free page, wherever it is. Where another allocator serves the program, it finds nothing to do.
#![expect(unsafe_code, reason = "malloc_trim(3) is in no safe interface")]

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
        if self.is_over(before, left) | account.is_peak_over(MUCH) {
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
/// So many bytes are worth the time, too.
const MUCH: usize = 4 << 20;

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
    use super::*;

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
