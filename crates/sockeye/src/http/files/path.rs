//! A path below the root, validated before any system call sees it.

/// One or more ordinary names joined by single slashes.
///
/// Invariant: no name is empty, `.` or `..`, and none has a NUL. A `Below` cannot leave the root by itself; symbolic
/// links could, and [`Root`](crate::http::files::root::Root) guards against them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Below<'p>(&'p str);

impl<'p> Below<'p> {
    /// The routes pass normalised paths; this checks again, because all files outside the root depend on it.
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
