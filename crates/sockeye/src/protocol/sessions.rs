//! The sessions of one endpoint, named by number, without an allocation for each.

pub(super) struct Sessions<S> {
    entries: Vec<Entry<S>>,
    /// The first free entry, or `u32::MAX`.
    free: u32,
    len: usize,
}

enum Entry<S> {
    Used(S),
    Free(u32),
}

impl<S> Sessions<S> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), free: u32::MAX, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, session: S) -> u32 {
        self.len += 1;
        if let Some(entry) = self.entries.get_mut(self.free as usize) {
            let index = self.free;
            if let Entry::Free(next) = *entry {
                self.free = next;
                *entry = Entry::Used(session);
                return index;
            }
        }
        self.entries.push(Entry::Used(session));
        // Connections are bounded by the descriptor limit, which is far below 2^32.
        (self.entries.len() - 1) as u32
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut S> {
        match self.entries.get_mut(index as usize) {
            Some(Entry::Used(session)) => Some(session),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<S> {
        let entry = self.entries.get_mut(index as usize)?;
        if matches!(entry, Entry::Free(_)) {
            return None;
        }
        let Entry::Used(session) = std::mem::replace(entry, Entry::Free(self.free)) else { return None };
        self.free = index;
        self.len -= 1;
        Some(session)
    }
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
}
