//! Which protocol is at which path.

use sockeye_proto::http::target::TargetPath;

use crate::state::EndpointIndex;

/// The paths of a service's protocols. A path that ends with a slash stands for everything below it.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// Longer paths first, so that the first that matches is the most specific.
    rules: Vec<(String, EndpointIndex)>,
}

impl Paths {
    /// Adds a path, decoded. The error says what is wrong with it.
    pub(crate) fn add(&mut self, path: String, endpoint: EndpointIndex) -> Result<(), String> {
        // What a request's path never is: its dot segments and empty segments are removed.
        let inner = path.strip_prefix('/').map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let is_possible =
            |inner: &str| inner.is_empty() || !inner.split('/').any(|part| matches!(part, "" | "." | ".."));
        if path == "//" || !inner.is_some_and(is_possible) {
            return Err(format!(
                "the path {path:?} can match no request: it begins with one slash and has no dot segments"
            ));
        }
        if self.rules.iter().any(|(other, _)| *other == path) {
            return Err(format!("two protocols are at the path {path:?}"));
        }
        let at = self.rules.partition_point(|(other, _)| other.len() >= path.len());
        self.rules.insert(at, (path, endpoint));
        Ok(())
    }

    /// The protocol at a path, if one is there.
    pub(crate) fn find(&self, path: &TargetPath) -> Option<EndpointIndex> {
        let is_at = |rule: &str| if rule.ends_with('/') { path.below(rule).is_some() } else { path.is(rule) };
        self.rules.iter().find(|(rule, _)| is_at(rule)).map(|&(_, endpoint)| endpoint)
    }

    /// Whether a protocol has a path.
    pub(crate) fn has(&self, endpoint: EndpointIndex) -> bool {
        self.rules.iter().any(|&(_, other)| other == endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_path_wins() {
        let mut paths = Paths::default();
        for (index, path) in ["/", "/rooms/", "/rooms/vip", "/rooms/vip/", "/a"].into_iter().enumerate() {
            paths.add(path.to_owned(), EndpointIndex(index as u16)).unwrap();
        }
        for (target, index) in [
            ("/", 0),
            ("/rooms", 0),
            ("/rooms/", 1),
            ("/rooms/x", 1),
            ("/rooms/x/y", 1),
            ("/rooms/vip", 2),
            ("/rooms/vip/", 3),
            ("/rooms/vip/x", 3),
            ("/rooms/vip%2Fx", 1),
            ("/rooms%2Fvip", 0),
            ("/a", 4),
            ("/a/", 0),
            ("/ab", 0),
            ("/x/../rooms//vip", 2),
        ] {
            let found = paths.find(&TargetPath::parse(target).unwrap());
            assert_eq!(found, Some(EndpointIndex(index)), "{target}");
        }
    }

    #[test]
    fn paths_that_cannot_match_are_refused() {
        let mut paths = Paths::default();
        for bad in ["", "a", "//", "/a//b", "/a/./b", "/..", "/../", "/a//", "//a"] {
            assert!(paths.add(bad.to_owned(), EndpointIndex(0)).is_err(), "{bad:?}");
        }
        for good in ["/", "/a", "/a/", "/.a/..b", "/größe", "/a b?"] {
            paths.add(good.to_owned(), EndpointIndex(0)).unwrap();
        }
        assert_eq!(
            paths.add("/a".to_owned(), EndpointIndex(1)),
            Err("two protocols are at the path \"/a\"".to_owned())
        );
        assert!(paths.has(EndpointIndex(0)) && !paths.has(EndpointIndex(1)));
    }
}
