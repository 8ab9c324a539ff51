//! What the service holds for its peers, counted where it is allocated and where it is freed.

use std::cell::Cell;
use std::rc::Rc;

/// The bytes held for all peers together.
#[derive(Debug, Default)]
pub(crate) struct Account {
    held: Cell<usize>,
    most: Cell<usize>,
    limit: Cell<usize>,
    /// Asked after each step, so it is one flag.
    is_over: Cell<bool>,
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
        self.held.get()
    }

    /// The most that was held at any time.
    pub(crate) fn most(&self) -> usize {
        self.most.get()
    }

    /// Whether more is held than the limit.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    fn change(&self, before: usize, now: usize) {
        let held = self.held.get() - before + now;
        self.held.set(held);
        self.most.set(self.most.get().max(held));
        self.is_over.set(held > self.limit.get());
    }
}

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

    /// So many bytes are held now.
    pub(crate) fn set(&mut self, account: &Rc<Account>, bytes: usize) {
        if bytes != self.bytes {
            let account = self.account.get_or_insert_with(|| Rc::clone(account));
            account.change(self.bytes, bytes);
            self.bytes = bytes;
        }
    }
}

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
        drop((one, two));
        assert_eq!((account.held(), account.most()), (0, 11));
    }
}
