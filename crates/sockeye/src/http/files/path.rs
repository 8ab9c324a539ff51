//! A path below the root, proven harmless before any system call sees it.

/// One or more ordinary names joined by single slashes.
///
/// Invariant: no name is empty, `.` or `..`, and none holds a NUL. What exists as a `Below` cannot climb by itself; only
/// symbolic links are left to guard against, and that is the work of [`Root`](super::root::Root).
#[derive(Clone, Copy, Debug)]
pub(super) struct Below<'p>(&'p str);

impl<'p> Below<'p> {
    /// The path as handed in by the routes has been normalised already; it is checked again because everything outside the
    /// root depends on it.
    pub(super) fn parse(path: &'p str) -> Option<Self> {
        let ordinary = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
        path.split('/').all(ordinary).then_some(Self(path))
    }

    pub(super) const fn as_str(self) -> &'p str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Below;

    #[test]
    fn only_ordinary_names_exist() {
        for good in ["a", "a/b", "..a/b..", "...", ".hidden", "line\nbreak", "größe/ß", "a b", "%2e%2e"] {
            assert!(Below::parse(good).is_some(), "{good:?}");
        }
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "./a", "a\0b", "\0"] {
            assert!(Below::parse(bad).is_none(), "{bad:?}");
        }
    }
}
