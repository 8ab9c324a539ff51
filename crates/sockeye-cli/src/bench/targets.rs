//! What is connected to: one description for all connections, or one for each that is under way at a time.

use std::collections::HashMap;
use std::hash::Hash;

use sockeye::{ConnId, Connect};

/// Descriptions of connections.
pub(crate) struct Targets<Id = ConnId> {
    all: Vec<Connect>,
    /// Of several, those that no connection uses.
    free: Vec<usize>,
    /// Of several, those that one uses.
    used: HashMap<Id, usize>,
}

/// A description in use, by its number if there are several.
pub(crate) struct Target(Option<usize>);

impl<Id: Eq + Hash> Targets<Id> {
    /// The same for all connections.
    pub(crate) fn one(connect: Connect) -> Self {
        Self { all: vec![connect], free: Vec::new(), used: HashMap::new() }
    }

    /// One for each connection that is under way at a time; at least one.
    pub(crate) fn several(connects: impl Iterator<Item = Connect>) -> Self {
        let all: Vec<_> = connects.collect();
        // The first is used first.
        Self { free: (0..all.len()).rev().collect(), all, used: HashMap::new() }
    }

    /// What to connect to next. [`connecting`](Self::connecting) follows.
    pub(crate) fn take(&mut self) -> (Connect, Target) {
        let number = self.free.pop();
        (self.all[number.unwrap_or_default()].clone(), Target(number))
    }

    /// The connection that was made of it.
    pub(crate) fn connecting(&mut self, id: Id, target: &Target) {
        if let Some(number) = target.0 {
            self.used.insert(id, number);
        }
    }

    /// The connection is over.
    pub(crate) fn end(&mut self, id: Id) {
        if let Some(number) = self.used.remove(&id) {
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_several_is_used_by_one_at_a_time() {
        let connect = |path| Connect::new(&format!("ws://a/{path}")).unwrap();
        let mut targets = Targets::several((0..2).map(connect));
        let take = |targets: &mut Targets<u8>, id| {
            let (connect, target) = targets.take();
            targets.connecting(id, &target);
            connect.url().to_string()
        };
        let (first, second) = ("ws://a/0", "ws://a/1");
        assert_eq!([1, 2].map(|id| take(&mut targets, id)), [first, second]);
        targets.end(1);
        assert_eq!(take(&mut targets, 3), first);
        // The end of one that is over already changes nothing.
        targets.end(1);
        targets.end(2);
        assert_eq!(take(&mut targets, 4), second);
        assert!(targets.free.is_empty());
    }

    #[test]
    fn one_is_for_all() {
        let mut targets = Targets::one(Connect::new("ws://a/").unwrap());
        for id in 1..4_u8 {
            let (connect, target) = targets.take();
            targets.connecting(id, &target);
            assert_eq!(connect.url().to_string(), "ws://a/");
        }
        assert!(targets.used.is_empty() && targets.free.is_empty());
    }
}
