//! What the service holds for its peers, counted where it is allocated and where it is freed.

use std::cell::Cell;
use std::rc::Rc;

/// The bytes held for all peers together.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Wide enough for the sum of all that programs may say.
    held: Cell<u64>,
    /// The most since [`is_peak_over`](Self::is_peak_over) said so.
    most: Cell<usize>,
    /// The most before that.
    most_before: Cell<usize>,
    limit: Cell<usize>,
    /// Asked after each step, so it is one flag.
    is_over: Cell<bool>,
    /// As above, after each turn.
    has_fallen: Cell<bool>,
}

impl Account {
    /// More than this is too much.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.set(limit);
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.get()
    }

    /// How much is held now.
    pub(crate) fn held(&self) -> usize {
        usize::try_from(self.held.get()).unwrap_or(usize::MAX)
    }

    /// The most that was held at any time.
    pub(crate) fn most(&self) -> usize {
        self.most.get().max(self.most_before.get())
    }

    /// Whether most of what was held at one time is free again, and was [much](MUCH). Says so once.
    pub(crate) fn is_peak_over(&self) -> bool {
        let is_over = self.is_below_peak();
        if is_over {
            self.most_before.set(self.most());
            self.most.set(self.held());
        }
        is_over
    }

    fn is_below_peak(&self) -> bool {
        let (held, most) = (self.held(), self.most.get());
        most.saturating_sub(held) >= MUCH && held <= most / 4
    }

    /// Whether a peak may be over since [`take_fall`](Self::take_fall).
    #[inline]
    pub(crate) fn has_fallen(&self) -> bool {
        self.has_fallen.get()
    }

    /// The same, and forgets it.
    pub(super) fn take_fall(&self) -> bool {
        self.has_fallen.take()
    }

    /// Whether more is held than the limit.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    fn change(&self, before: usize, now: usize) {
        self.held.set(self.held.get() - before as u64 + now as u64);
        let held = self.held();
        self.most.set(self.most.get().max(held));
        self.is_over.set(held > self.limit.get());
        if now < before && self.is_below_peak() {
            self.has_fallen.set(true);
        }
    }
}

/// So many bytes are worth the time that it takes to give the heap back to the system.
const MUCH: usize = 4 << 20;

/// A part of what an account counts. Dropping it gives it back.
#[derive(Debug, Default)]
pub(crate) struct Charge {
    account: Option<Rc<Account>>,
    bytes: usize,
}

impl Charge {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many bytes are held now. A program may say any number, so it is bounded.
    pub(crate) fn set(&mut self, account: &Rc<Account>, bytes: usize) {
        let bytes = bytes.min(MOST_OF_ONE);
        if bytes != self.bytes {
            let account = self.account.get_or_insert_with(|| Rc::clone(account));
            account.change(self.bytes, bytes);
            self.bytes = bytes;
        }
    }

    /// No more than so many bytes are held now.
    #[cfg(any(test, feature = "tls-aws-lc", feature = "tls-ring"))]
    pub(crate) fn reduce(&mut self, bytes: usize) {
        if let Some(account) = self.account.as_ref().filter(|_| bytes < self.bytes) {
            account.change(self.bytes, bytes);
            self.bytes = bytes;
        }
    }
}

/// The most that counts for one connection, which is more than any memory: 1 TiB, or all that a pointer reaches. There are at
/// most 2^22 connections in a service, so the sum has room in 64 bits.
const MOST_OF_ONE: usize = if usize::BITS > 40 { 1 << 40 } else { usize::MAX };

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(account) = &self.account {
            account.change(self.bytes, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let account = Rc::new(Account::default());
        account.set_limit(10);
        let (mut one, mut two) = (Charge::default(), Charge::default());
        one.set(&account, 7);
        two.set(&account, 3);
        assert_eq!((account.held(), account.is_over()), (10, false));
        two.set(&account, 4);
        assert_eq!((account.held(), account.is_over()), (11, true));
        one.set(&account, 1);
        assert_eq!((account.held(), account.is_over(), one.bytes()), (5, false, 1));
        one.reduce(2);
        assert_eq!((account.held(), one.bytes()), (5, 1), "it is less already");
        two.reduce(2);
        assert_eq!((account.held(), two.bytes()), (3, 2));
        Charge::default().reduce(0);
        drop((one, two));
        assert_eq!((account.held(), account.most()), (0, 11));
        let (mut one, mut two) = (Charge::default(), Charge::default());
        one.set(&account, usize::MAX);
        two.set(&account, usize::MAX);
        assert_eq!((account.held(), account.is_over()), (2 * MOST_OF_ONE, true));
        drop((one, two));
        assert_eq!((account.held(), account.is_over()), (0, false));
    }

    #[test]
    fn a_peak_is_over_once() {
        let (account, mut one, mut two) = (Rc::new(Account::default()), Charge::default(), Charge::default());
        account.set_limit(usize::MAX);
        one.set(&account, 3 * MUCH);
        assert!(!account.is_peak_over() && !account.has_fallen(), "all of it is held");
        two.set(&account, MUCH);
        one.set(&account, 1);
        assert!(!account.is_peak_over() && !account.has_fallen(), "more than a quarter is held");
        two.set(&account, MUCH - 2);
        assert!(account.has_fallen() && account.take_fall() && !account.has_fallen());
        assert!(account.is_peak_over());
        assert!(!account.is_peak_over(), "it was said");
        drop((one, two));
        assert!(!account.is_peak_over() && !account.has_fallen(), "that was little");
        assert_eq!((account.held(), account.most()), (0, 4 * MUCH));
    }
}
