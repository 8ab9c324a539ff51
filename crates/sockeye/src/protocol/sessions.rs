//! The sessions of one endpoint, named by number, without an allocation for each.

use crate::number_set::NumberSet;

pub(super) struct Sessions<S> {
    /// Invariant: the last one is in use.
    entries: Vec<Option<S>>,
    /// Numbers that can be used again. The first one is next, so that the last ones become free and can be given back.
    free: NumberSet,
    len: usize,
}

/// So many entries without a session are kept in any case.
const SPARE: usize = 1024;

impl<S> Sessions<S> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), free: NumberSet::default(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, session: S) -> u32 {
        self.len += 1;
        let index = self.free.first().unwrap_or(self.entries.len());
        match self.entries.get_mut(index) {
            Some(entry) => {
                self.free.remove(index);
                *entry = Some(session);
            }
            None => self.entries.push(Some(session)),
        }
        // Connections are bounded by the descriptor limit, which is far below 2^32.
        index as u32
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut S> {
        self.entries.get_mut(index as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<S> {
        let session = self.entries.get_mut(index as usize)?.take()?;
        self.free.insert(index as usize);
        self.len -= 1;
        self.give_back();
        Some(session)
    }

    /// Drops the entries behind the last one in use.
    fn give_back(&mut self) {
        while let Some(None) = self.entries.last() {
            self.entries.pop();
            self.free.remove(self.entries.len());
        }
        if self.entries.capacity() > 4 * self.entries.len() + SPARE {
            self.entries.shrink_to(2 * self.entries.len());
            self.free.truncate(self.entries.len());
        }
    }
}

/// The program's object, and the sessions of its connections.
pub(super) struct WithSessions<P, S> {
    pub(super) object: P,
    pub(super) sessions: Sessions<S>,
}

impl<P, S> WithSessions<P, S> {
    /// Calls back for a session. A missing session has no connection, so nothing is called.
    #[inline(always)]
    pub(super) fn with<E>(
        &mut self,
        session: u32,
        call: impl FnOnce(&mut P, &mut S) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.sessions.get_mut(session) {
            Some(session) => call(&mut self.object, session),
            None => no_session(),
        }
    }

    /// As [`with`](Self::with). A result of one word costs the usual callback less than a close by value.
    #[inline(always)]
    pub(super) fn with_boxed<E>(
        &mut self,
        session: u32,
        call: impl FnOnce(&mut P, &mut S) -> Result<(), E>,
    ) -> Result<(), Box<E>> {
        self.with(session, call).map_err(Box::new)
    }
}

/// It never happens to a connection that is alive, and the compiler is to know.
#[cold]
#[inline(never)]
fn no_session<E>() -> Result<(), E> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_number_is_used_again_and_a_stale_one_finds_nothing() {
        let mut sessions = Sessions::new();
        let a = sessions.insert("a");
        let b = sessions.insert("b");
        assert_eq!(sessions.remove(a), Some("a"));
        assert_eq!(sessions.remove(a), None);
        assert!(sessions.get_mut(a).is_none());
        let c = sessions.insert("c");
        assert_eq!((c, sessions.get_mut(b).copied(), sessions.len()), (a, Some("b"), 2));
    }

    #[test]
    fn the_entries_of_a_crowd_are_given_back() {
        let mut sessions = Sessions::new();
        let stays = sessions.insert("stays");
        for step in [1, 7919] {
            let crowd: Vec<_> = (0..100_000).map(|_| sessions.insert("a")).collect();
            assert!(sessions.entries.capacity() > 100_000);
            // In any order; the step and the number of those have no common factor.
            for at in 0..crowd.len() {
                assert_eq!(sessions.remove(crowd[at * step % crowd.len()]), Some("a"));
            }
            assert_eq!((sessions.len(), sessions.entries.len()), (1, 1));
            assert!(sessions.entries.capacity() <= SPARE + 4, "{}", sessions.entries.capacity());
            assert_eq!(sessions.remove(crowd[99_999]), None);
        }
        assert_eq!((sessions.insert("b"), sessions.remove(stays)), (1, Some("stays")));
    }
}
