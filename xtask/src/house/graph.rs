//! The import graph of each crate: which file names what of which other.
//!
//! The rule. A file has an arrow to another if its code names something that the other defines, by a `use` or by a path:
//!
//! * What is named through a re-export counts for the file that defines it, however many modules it is passed on by.
//! * A module is only a way to what is in it: `mod a;` and `use a;` are not arrows, `a::f()` is.
//! * A parent that passes on what its children define (`pub use child::Name`, `pub(crate)` included) has no arrow to them,
//!   unless its own code uses the name as well: that is its table of contents.
//! * So a child may use what its parent defines, or a parent what its child does, but not both: that is a circle like any
//!   other. What both need is a file of its own, beside the child.
//! * Tests and comments do not count. Methods and fields do not either: they are seen only where their type is named.
//!
//! The arrows of a crate make no circle, neither among its files nor among its rooms, which are the modules below the root;
//! so rooms have floors, and no arrow goes up.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use super::{
    files::Files,
    modules::{Crate, Import, Module, ModulePath, Named, Target},
};

/// Where the first of the names stands that make an arrow, and which it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reason {
    line: usize,
    name: String,
}

/// The arrows from each file, or room, to others.
#[derive(Debug, Default)]
pub(super) struct Graph {
    arrows: BTreeMap<String, BTreeMap<String, Reason>>,
}

/// Files, or rooms, of which each reaches each other.
#[derive(Clone, Debug)]
pub(super) struct Knot {
    pub(super) members: Vec<String>,
    /// The shortest ways from a member back to itself, each with the reasons for its arrows.
    pub(super) circles: Vec<String>,
}

impl fmt::Display for Knot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in one circle: {}", self.members.len(), self.members.join(", "))?;
        self.circles.iter().try_for_each(|circle| write!(f, "\n         {circle}"))
    }
}

impl Graph {
    /// The arrows among the files below `folder`; files are named without it.
    pub(super) fn of_files(files: &Files, folder: &str) -> Self {
        let tree = Crate::read(files, folder);
        let mut graph = Self::default();
        for (path, module) in &tree.modules {
            for (target, named) in arrows(&tree, path, module) {
                let file = &tree.modules[&target].file;
                let (from, to) = (&module.file[folder.len()..], &file[folder.len()..]);
                if from != to {
                    graph.add(from, to, Reason { line: named.line, name: named.shown() });
                }
            }
        }
        graph
    }

    /// The arrows among rooms. The root is none: it shows what all have.
    pub(super) fn of_rooms(&self) -> Self {
        let mut graph = Self::default();
        for (from, to, reason) in self.all() {
            let (Some(own), Some(other)) = (room(from), room(to)) else { continue };
            if own != other {
                let name = format!("{} ({from})", reason.name);
                graph.add(own, other, Reason { name, line: reason.line });
            }
        }
        graph
    }

    fn add(&mut self, from: &str, to: &str, reason: Reason) {
        self.arrows.entry(from.to_owned()).or_default().entry(to.to_owned()).or_insert(reason);
    }

    fn all(&self) -> impl Iterator<Item = (&str, &str, &Reason)> {
        self.arrows.iter().flat_map(|(from, to)| to.iter().map(|(to, reason)| (from.as_str(), to.as_str(), reason)))
    }

    /// How many arrows there are.
    pub(super) fn len(&self) -> usize {
        self.all().count()
    }

    /// The arrows to a room above, as `room` is of floor `floor(room)`: the smaller, the higher.
    pub(super) fn upward(&self, floor: impl Fn(&str) -> Option<usize>) -> Vec<String> {
        let mut found = Vec::new();
        for (from, to, Reason { line, name }) in self.all() {
            let (Some(own), other) = (room(from), room(to)) else { continue };
            let is_up = match (floor(own), other.map(&floor)) {
                (Some(own), Some(Some(other))) => other < own,
                // The root, and what stands beside the floors.
                (Some(_), Some(None) | None) => true,
                (None, _) => false,
            };
            if is_up {
                found.push(format!("{from}:{line}: {name} is of a layer above {own}"));
            }
        }
        found
    }

    /// Every knot, the largest first.
    pub(super) fn knots(&self) -> Vec<Knot> {
        let reach: BTreeMap<&str, BTreeSet<&str>> =
            self.arrows.keys().map(|from| (&**from, self.reached(from))).collect();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut knots = Vec::new();
        for (from, reached) in &reach {
            if !reached.contains(from) || seen.contains(from) {
                continue;
            }
            let is_member = |to: &&&str| reach.get(**to).is_some_and(|back| back.contains(from));
            let members: Vec<&str> = reached.iter().filter(is_member).copied().collect();
            seen.extend(&members);
            knots.push(Knot {
                circles: self.circles(&members),
                members: members.into_iter().map(str::to_owned).collect(),
            });
        }
        knots.sort_by_key(|knot| std::cmp::Reverse(knot.members.len()));
        knots
    }

    fn reached<'g>(&'g self, from: &str) -> BTreeSet<&'g str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from];
        while let Some(next) = open.pop() {
            for to in self.arrows.get(next).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(to.as_str()) {
                    open.push(to);
                }
            }
        }
        reached
    }

    /// The shortest way back for each member, each circle once.
    fn circles(&self, members: &[&str]) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for member in members {
            let way = self.way_back(member);
            let mut sorted = way.clone();
            sorted.sort_unstable();
            if seen.insert(sorted) {
                circles.push(self.shown(&way));
            }
        }
        circles.sort_by_key(String::len);
        circles
    }

    /// From `from` on, without coming to it again: the last has an arrow to it.
    fn way_back<'g>(&'g self, from: &'g str) -> Vec<&'g str> {
        let mut before = BTreeMap::new();
        let mut open = VecDeque::from([from]);
        while let Some(next) = open.pop_front() {
            for to in self.arrows.get(next).into_iter().flat_map(BTreeMap::keys) {
                if to == from {
                    let mut way = vec![next];
                    while let Some(&previous) = before.get(way[way.len() - 1]) {
                        way.push(previous);
                    }
                    way.reverse();
                    return way;
                }
                if !before.contains_key(to.as_str()) {
                    before.insert(to.as_str(), next);
                    open.push_back(to);
                }
            }
        }
        Vec::new()
    }

    /// `a -> b -> a`, and why.
    fn shown(&self, way: &[&str]) -> String {
        let Some(first) = way.first() else { return String::new() };
        let mut text = way.join(" -> ");
        text += &format!(" -> {first}  (");
        for (index, from) in way.iter().enumerate() {
            let to = way.get(index + 1).unwrap_or(first);
            let Reason { line, name } = &self.arrows[*from][*to];
            text += &format!("{}:{line} {name}; ", from.rsplit('/').next().unwrap_or(from));
        }
        text.truncate(text.len() - 2);
        text + ")"
    }
}

/// The module below the root that a file is of; nothing for the root.
fn room(file: &str) -> Option<&str> {
    let room = file.split(['/', '.']).next()?;
    (!["lib", "main"].contains(&room)).then_some(room)
}

/// The modules that this one has arrows to, and the names that make them.
fn arrows<'m>(tree: &Crate, path: &ModulePath, module: &'m Module) -> Vec<(ModulePath, &'m Named)> {
    let mut found = Vec::new();
    for import in &module.imports {
        let target = match tree.resolve(path, &import.path.segments) {
            Some(Target::Item(target)) => target,
            Some(Target::Module(target)) if import.name.is_none() && !import.is_exported => target,
            _ => continue,
        };
        if !is_contents(path, module, import, &target) {
            found.push((target, &import.path));
        }
    }
    for named in &module.paths {
        if let Some(Target::Item(target)) = tree.resolve(path, &named.segments) {
            found.push((target, named));
        }
    }
    found
}

/// Whether a parent only passes on what is below it.
fn is_contents(path: &ModulePath, module: &Module, import: &Import, target: &ModulePath) -> bool {
    let is_used = import.name.as_ref().is_some_and(|name| module.names.contains(name));
    import.is_exported && target.starts_with(path) && !is_used
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph<const N: usize>(files: [(&str, &str); N]) -> Graph {
        Graph::of_files(&Files::of(files), "crates/a/src/")
    }

    fn circles(graph: &Graph) -> Vec<String> {
        graph.knots().iter().map(|knot| knot.members.join(" ")).collect()
    }

    #[test]
    fn circles_are_found_through_uses_and_paths() {
        let found = graph([
            ("crates/a/src/lib.rs", "mod b; mod c; mod d;"),
            ("crates/a/src/b.rs", "use crate::c::C;\npub struct B;"),
            ("crates/a/src/c.rs", "pub struct C;\nfn f() { super::d::g() }"),
            ("crates/a/src/d.rs", "use crate::b;\npub fn g(_: b::B) {}"),
        ]);
        assert_eq!(circles(&found), ["b.rs c.rs d.rs"]);
        let way = &found.knots()[0].circles;
        assert_eq!(way[0], "b.rs -> c.rs -> d.rs -> b.rs  (b.rs:1 crate::c::C; c.rs:2 super::d::g; d.rs:2 b::B)");
        assert_eq!(circles(&found.of_rooms()), ["b c d"]);
    }

    #[test]
    fn tests_and_comments_make_no_circle() {
        let found = graph([
            ("crates/a/src/lib.rs", "mod b; mod c;"),
            ("crates/a/src/b.rs", "use crate::c::C;\npub struct B;"),
            (
                "crates/a/src/c.rs",
                "/// [`B`](crate::b::B)\npub struct C;\n#[cfg(test)]\nmod tests { use crate::b::B; }",
            ),
        ]);
        assert!(circles(&found).is_empty());
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_parent_may_list_its_children_but_not_need_them_while_they_need_it() {
        let child = ("crates/a/src/b/c.rs", "use super::B;\npub struct C(B);");
        let root = ("crates/a/src/lib.rs", "mod b;");
        let lists = graph([root, ("crates/a/src/b/mod.rs", "mod c;\npub use c::C;\npub struct B;"), child]);
        assert!(circles(&lists).is_empty());
        let needs = graph([root, ("crates/a/src/b/mod.rs", "mod c;\npub use c::C;\npub struct B(Vec<C>);"), child]);
        assert_eq!(circles(&needs), ["b/c.rs b/mod.rs"]);
        let calls = graph([root, ("crates/a/src/b/mod.rs", "mod c;\npub struct B;\nfn f() { c::C::new() }"), child]);
        assert_eq!(circles(&calls), ["b/c.rs b/mod.rs"]);
    }

    #[test]
    fn what_is_passed_on_counts_where_it_is_defined() {
        let found = graph([
            ("crates/a/src/lib.rs", "pub mod b; mod e; pub use b::C;"),
            ("crates/a/src/b/mod.rs", "mod c; mod d; pub use c::C; pub use d::D;"),
            ("crates/a/src/b/c.rs", "use super::D;\npub struct C;"),
            ("crates/a/src/b/d.rs", "pub struct D;"),
            ("crates/a/src/e.rs", "use crate::C;"),
        ]);
        let arrows: Vec<_> = found.all().map(|(from, to, _)| (from, to)).collect();
        assert_eq!(arrows, [("b/c.rs", "b/d.rs"), ("e.rs", "b/c.rs")]);
    }

    #[test]
    fn an_arrow_to_a_floor_above_is_found() {
        let found = graph([
            ("crates/a/src/lib.rs", "mod b; mod c; mod d; pub use b::B; struct Root;"),
            ("crates/a/src/b.rs", "use crate::c::C;\npub struct B;"),
            ("crates/a/src/c.rs", "use crate::B;\npub struct C;"),
            ("crates/a/src/d.rs", "use crate::{Root, b::B};"),
        ]);
        let floor = |room: &str| ["b", "c"].iter().position(|name| *name == room);
        assert_eq!(found.upward(floor), ["c.rs:1: crate::B is of a layer above c"]);
        let all = |room: &str| ["b", "c", "d"].iter().position(|name| *name == room);
        assert_eq!(found.upward(all).len(), 3);
    }
}
