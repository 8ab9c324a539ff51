//! The modules of a crate: what each defines, imports and re-exports, and where a path leads.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    files::Files,
    tokens::{Token, group, tokens},
};

/// `["conn", "raw"]` is `crate::conn::raw`; the root has no names.
pub(super) type ModulePath = Vec<String>;

/// A module, in a file of its own or inside that of another.
#[derive(Debug, Default)]
pub(super) struct Module {
    pub(super) file: String,
    /// What it defines itself, and whether that is `pub` without restriction.
    items: BTreeMap<String, bool>,
    children: BTreeMap<String, bool>,
    pub(super) imports: Vec<Import>,
    /// The paths in its code, imports apart.
    pub(super) paths: Vec<Named>,
    /// The names with which those paths begin, and the single ones.
    pub(super) names: BTreeSet<String>,
}

/// One name of a `use`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Import {
    pub(super) path: Named,
    /// What it is called here; nothing for `*`.
    pub(super) name: Option<String>,
    /// Whether it has any `pub`.
    pub(super) is_exported: bool,
    /// Whether that `pub` is without restriction.
    pub(super) is_public: bool,
}

/// A path as it is written, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Named {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
}

impl Named {
    pub(super) fn shown(&self) -> String {
        self.segments.join("::")
    }
}

/// Where a path leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Target {
    Module(ModulePath),
    /// Something that the module of this path defines.
    Item(ModulePath),
}

/// A crate, or those of its modules that are neither tests nor left out for another reason.
pub(super) struct Crate {
    pub(super) modules: BTreeMap<ModulePath, Module>,
}

impl Crate {
    /// Reads the crate whose sources are below `folder`, which ends with a slash.
    pub(super) fn read(files: &Files, folder: &str) -> Self {
        let mut reader = Reader { files, folder, modules: BTreeMap::new() };
        for root in ["lib.rs", "main.rs"] {
            if let Some(file) = files.get(&format!("{folder}{root}")) {
                reader.module(Vec::new(), &file.path, &tokens(&file.text));
                break;
            }
        }
        Self { modules: reader.modules }
    }

    /// Where a path leads that is written in `module`; nothing if that is another crate, or a name of the code itself.
    pub(super) fn resolve(&self, module: &ModulePath, segments: &[String]) -> Option<Target> {
        self.resolve_at(module, segments, 0)
    }

    fn resolve_at(&self, module: &ModulePath, segments: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = segments.split_first()?;
        match first.as_str() {
            "crate" => self.find(&Vec::new(), rest, depth),
            "self" => self.find(module, rest, depth),
            "super" => {
                let mut above = module.clone();
                above.pop()?;
                // `super::super` goes on from there.
                if rest.first().is_some_and(|next| next == "super") {
                    return self.resolve_at(&above, rest, depth);
                }
                self.find(&above, rest, depth)
            }
            _ => self.look_up(module, segments, depth),
        }
    }

    /// What `segments` name inside `module`. What the module gets from a macro is taken for its own.
    fn find(&self, module: &ModulePath, segments: &[String], depth: usize) -> Option<Target> {
        if segments.is_empty() {
            return Some(Target::Module(module.clone()));
        }
        self.look_up(module, segments, depth).or_else(|| Some(Target::Item(module.clone())))
    }

    fn look_up(&self, module: &ModulePath, segments: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = segments.split_first()?;
        let known = self.modules.get(module)?;
        if known.items.contains_key(first) {
            return Some(Target::Item(module.clone()));
        }
        if known.children.contains_key(first) {
            let child = [module.as_slice(), std::slice::from_ref(first)].concat();
            // Modules that are not read, such as tests, are not there.
            return self.modules.contains_key(&child).then(|| self.find(&child, rest, depth))?;
        }
        // Imports may lead in a circle.
        if depth > 16 {
            return None;
        }
        let import = known.imports.iter().find(|import| import.name.as_ref() == Some(first));
        if let Some(import) = import {
            // `use a;` of another crate's is not a path into itself.
            if import.path.segments.first() == Some(first) && import.path.segments.len() == 1 {
                return None;
            }
            return match self.resolve_at(module, &import.path.segments, depth + 1)? {
                Target::Module(target) => self.find(&target, rest, depth + 1),
                item @ Target::Item(_) => Some(item),
            };
        }
        known.imports.iter().filter(|import| import.name.is_none()).find_map(|glob| {
            match self.resolve_at(module, &glob.path.segments, depth + 1)? {
                Target::Module(target) if target != *module => self.look_up(&target, segments, depth + 1),
                _ => None,
            }
        })
    }

    /// Whether `segments`, which begin below the root, are a path that a user of the crate could write.
    pub(super) fn is_public(&self, segments: &[String]) -> bool {
        self.is_public_in(&Vec::new(), segments, 0)
    }

    fn is_public_in(&self, module: &ModulePath, segments: &[String], depth: usize) -> bool {
        let Some((first, rest)) = segments.split_first() else { return true };
        let Some(known) = self.modules.get(module).filter(|_| depth < 16) else { return false };
        if let Some(is_public) = known.items.get(first) {
            return *is_public;
        }
        if let Some(is_public) = known.children.get(first) {
            let child = [module.as_slice(), std::slice::from_ref(first)].concat();
            return *is_public && self.is_public_in(&child, rest, depth + 1);
        }
        // What is exported is public wherever it is defined.
        let exports = known.imports.iter().filter(|import| import.is_public);
        exports.clone().any(|import| {
            import.name.as_ref() == Some(first)
                && match self.resolve_at(module, &import.path.segments, depth + 1) {
                    Some(Target::Module(target)) => self.is_public_in(&target, rest, depth + 1),
                    _ => true,
                }
        }) || exports.filter(|import| import.name.is_none()).any(|import| {
            match self.resolve_at(module, &import.path.segments, depth + 1) {
                Some(Target::Module(target)) => self.is_public_in(&target, segments, depth + 1),
                _ => false,
            }
        })
    }

    /// A path of `module` as one that begins below the root; nothing if it is not one of this crate's.
    pub(super) fn absolute(&self, module: &ModulePath, segments: &[String]) -> Option<Vec<String>> {
        let (first, rest) = segments.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module.as_slice(), rest].concat()),
            "super" => {
                let steps = segments.iter().take_while(|segment| *segment == "super").count();
                let above = module.get(..module.len().checked_sub(steps)?)?;
                Some([above, &segments[steps..]].concat())
            }
            _ => {
                let known = self.modules.get(module)?;
                if known.items.contains_key(first) || known.children.contains_key(first) {
                    return Some([module.as_slice(), segments].concat());
                }
                let import = known.imports.iter().find(|import| import.name.as_ref() == Some(first))?;
                if import.path.segments.first() == Some(first) {
                    return None;
                }
                Some([self.absolute(module, &import.path.segments)?.as_slice(), rest].concat())
            }
        }
    }
}

struct Reader<'f> {
    files: &'f Files,
    folder: &'f str,
    modules: BTreeMap<ModulePath, Module>,
}

impl Reader<'_> {
    fn module(&mut self, path: ModulePath, file: &str, tokens: &[Token<'_>]) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        let (mut at, mut depth, mut visibility) = (0, 0_usize, Visibility::Private);
        while let Some(token) = tokens.get(at) {
            let next = tokens.get(at + 1);
            let name = next.filter(|next| next.is_name()).map(|next| next.text.to_owned());
            let begins = at == 0 || matches!(tokens[at - 1].text, ";" | "{" | "}" | "]" | ")" | "pub");
            match (token.text, name) {
                ("pub", _) => {
                    let restricted = next.is_some_and(|next| next.text == "(");
                    visibility = if restricted { Visibility::Restricted } else { Visibility::Public };
                    at += if restricted { 1 + group(&tokens[at + 1..]) } else { 1 };
                    continue;
                }
                ("use", _) if begins => {
                    let length = tokens[at..].iter().take_while(|token| token.text != ";").count();
                    imports(&tokens[at + 1..at + length], &visibility, &mut module.imports);
                    at += length;
                }
                ("mod", Some(name)) if begins && depth == 0 => {
                    // Without a feature another file may stand for it.
                    *module.children.entry(name.clone()).or_default() |= visibility == Visibility::Public;
                    let below = [path.as_slice(), &[name]].concat();
                    at += 2;
                    if tokens.get(at).is_some_and(|token| token.text == "{") {
                        let length = group(&tokens[at..]);
                        self.module(below, file, &tokens[at + 1..at + length - 1]);
                        at += length;
                    } else {
                        self.file(below);
                    }
                    visibility = Visibility::Private;
                    continue;
                }
                ("fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union", Some(name))
                    if depth == 0 && name != "fn" && name != "unsafe" =>
                {
                    module.items.insert(name, visibility == Visibility::Public);
                }
                ("macro_rules", _) if depth == 0 => {
                    module.items.extend(tokens.get(at + 2).map(|name| (name.text.to_owned(), false)));
                }
                ("{" | "(" | "[", _) => depth += 1,
                ("}" | ")" | "]", _) => depth = depth.saturating_sub(1),
                _ => {}
            }
            if matches!(token.text, ";" | "{" | "}") {
                visibility = Visibility::Private;
            }
            at += code_path(tokens, at, &mut module).max(1);
        }
        self.modules.insert(path, module);
    }

    fn file(&mut self, path: ModulePath) {
        let place = format!("{}{}", self.folder, path.join("/"));
        let names = [format!("{place}.rs"), format!("{place}/mod.rs")];
        if let Some(file) = names.iter().find_map(|name| self.files.get(name)).filter(|file| file.is_library()) {
            self.module(path, &file.path, &tokens(&file.text));
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Visibility {
    Private,
    Restricted,
    Public,
}

/// Notes the path that begins at `at`, if one does; says how many tokens it has.
fn code_path(tokens: &[Token<'_>], at: usize, module: &mut Module) -> usize {
    let is_inside = at > 0 && matches!(tokens[at - 1].text, "." | "::" | "'");
    let Some(first) = tokens.get(at).filter(|token| token.is_name() && !is_inside) else { return 0 };
    let mut segments = vec![first.text.to_owned()];
    let mut length = 1;
    while let [colons, name, ..] = &tokens[at + length..] {
        if colons.text != "::" || !name.is_name() {
            break;
        }
        segments.push(name.text.to_owned());
        length += 2;
    }
    module.names.insert(first.text.to_owned());
    if segments.len() > 1 {
        module.paths.push(Named { segments, line: first.line });
        return length;
    }
    0
}

/// The names of a `use`, from its tokens without the word and the semicolon.
fn imports(tokens: &[Token<'_>], visibility: &Visibility, into: &mut Vec<Import>) {
    tree(tokens, &[], visibility, into);
}

fn tree(tokens: &[Token<'_>], before: &[String], visibility: &Visibility, into: &mut Vec<Import>) {
    let mut segments = before.to_vec();
    let mut at = 0;
    let line = tokens.first().map_or(0, |token| token.line);
    let import = |segments: Vec<String>, name: Option<String>| Import {
        path: Named { segments, line },
        name,
        is_exported: *visibility != Visibility::Private,
        is_public: *visibility == Visibility::Public,
    };
    while let Some(token) = tokens.get(at) {
        match token.text {
            "::" => {}
            "*" => return into.push(import(segments, None)),
            "{" => {
                let inner = &tokens[at + 1..at + group(&tokens[at..]) - 1];
                return branches(inner).for_each(|branch| tree(branch, &segments, visibility, into));
            }
            "as" => {
                let name = tokens.get(at + 1).map(|name| name.text.to_owned());
                return into.push(import(segments, name));
            }
            // `a::{self}` is `a`.
            "self" if !segments.is_empty() => {}
            name => segments.push(name.to_owned()),
        }
        at += 1;
    }
    if let Some(name) = segments.last().cloned() {
        into.push(import(segments, Some(name)));
    }
}

/// What is between the commas of `{}`.
fn branches<'t, 's>(tokens: &'t [Token<'s>]) -> impl Iterator<Item = &'t [Token<'s>]> {
    let mut depth = 0;
    let is_comma = move |token: &Token<'_>| {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        token.text == "," && depth == 0
    };
    tokens.split(is_comma).filter(|branch| !branch.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const N: usize>(files: [(&str, &str); N]) -> Crate {
        Crate::read(&Files::of(files), "crates/a/src/")
    }

    fn path(text: &str) -> Vec<String> {
        text.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn every_form_of_a_use_is_read() {
        let read = read([("crates/a/src/lib.rs", "pub use a::{b, c::{self, d as e}, f::*}; pub(crate) use g::h;")]);
        let found: Vec<_> =
            read.modules[&Vec::new()].imports.iter().map(|i| (i.path.shown(), i.name.clone())).collect();
        let name = |name: &str| Some(name.to_owned());
        let expected =
            [("a::b", name("b")), ("a::c", name("c")), ("a::c::d", name("e")), ("a::f", None), ("g::h", name("h"))];
        assert_eq!(found, expected.map(|(path, name)| (path.to_owned(), name)));
    }

    #[test]
    fn paths_lead_to_where_things_are_defined() {
        let read = read([
            ("crates/a/src/lib.rs", "pub mod b; mod d; pub use b::*; pub use d::D;"),
            ("crates/a/src/b/mod.rs", "mod c; pub use c::C; pub struct B;"),
            ("crates/a/src/b/c.rs", "pub struct C;"),
            ("crates/a/src/d.rs", "use super::b; pub struct D; mod inside { struct I; }"),
        ]);
        let leads = |from: &str, to: &str| read.resolve(&path(from), &path(to));
        let item = |module: &str| Some(Target::Item(path(module)));
        assert_eq!(leads("d", "crate::b::C"), item("b::c"));
        assert_eq!(leads("d", "crate::b::C::new"), item("b::c"));
        assert_eq!(leads("d", "b::B"), item("b"));
        assert_eq!(leads("d", "super::C"), item("b::c"));
        assert_eq!(leads("b::c", "super::super::D"), item("d"));
        assert_eq!(leads("d::inside", "super::b::C"), item("b::c"));
        assert_eq!(leads("d", "std::mem::take"), None);
        assert_eq!(leads("d", "crate::d"), Some(Target::Module(path("d"))));
    }

    #[test]
    fn what_a_user_can_name_is_public() {
        let read = read([
            ("crates/a/src/lib.rs", "#[cfg(f)] pub mod b; #[cfg(not(f))] mod b; mod d; pub use d::D;"),
            ("crates/a/src/b.rs", "pub struct B; pub(crate) struct Own; pub(crate) use crate::d::D;"),
            ("crates/a/src/d.rs", "pub struct D;"),
        ]);
        let public = |text: &str| read.is_public(&path(text));
        assert!(public("D") && public("b::B") && public("b") && public("D::new"));
        assert!(!public("d::D") && !public("b::Own") && !public("b::D") && !public("d"));
        let absolute = |from: &str, text: &str| read.absolute(&path(from), &path(text));
        assert_eq!(absolute("b", "super::d::D"), Some(path("d::D")));
        assert_eq!(absolute("b", "D::new"), Some(path("d::D::new")));
        assert_eq!(absolute("b", "std::io"), None);
    }
}
