use proptest::prelude::*;

use super::*;

#[test]
fn targets_become_decoded_absolute_paths() {
    for (target, path) in [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("//a//b//", "/a/b/"),
        ("/a/./b", "/a/b"),
        ("/a/.", "/a/"),
        ("/a/b/..", "/a/"),
        ("/a/b/../", "/a/"),
        ("/a/..", "/"),
        ("/a/../b", "/b"),
        ("/x/../admin", "/admin"),
        ("//admin", "/admin"),
        ("/%61dmin", "/admin"),
        ("/a?b/../..", "/a"),
        ("/?", "/"),
        ("/a%3Fb", "/a?b"),
        ("/a%20b%C3%a9", "/a b\u{e9}"),
        ("/%e2%82%ac", "/\u{20ac}"),
        ("/...", "/..."),
        ("/.a/..b/c..", "/.a/..b/c.."),
        ("/a;/..", "/"),
        ("/;/..", "/"),
        ("/a%0ab", "/a\nb"),
        ("//etc/passwd", "/etc/passwd"),
        ("/%252e%252e/x", "/%2e%2e/x"),
        ("/%25", "/%"),
        ("http://a", "/"),
        ("HTTP://a:80/b/../c?d", "/c"),
        ("ws://[::1]:7681/x", "/x"),
        ("http://a?b", "/"),
        ("/http://a/b", "/http:/a/b"),
    ] {
        assert_eq!(normalise(target).as_deref(), Ok(path), "{target}");
    }
}

#[test]
fn hostile_targets_are_refused() {
    use HeadError::{Target, TargetAboveRoot, TargetEscape, TargetPath};
    for (target, error) in [
        ("", Target),
        ("*", Target),
        ("a", Target),
        ("a:443", Target),
        ("ftp://a/", Target),
        ("http:///a", Target),
        ("http://u@a/", Target),
        ("http://a:99999/", Target),
        ("/a b", Target),
        ("/a#b", Target),
        ("/\u{e9}", Target),
        ("/a\0", Target),
        ("/..", TargetAboveRoot),
        ("/../../etc/passwd", TargetAboveRoot),
        ("/%2e%2e/", TargetAboveRoot),
        ("/%2E./x", TargetAboveRoot),
        ("/a/./../..", TargetAboveRoot),
        ("/a/../../b", TargetAboveRoot),
        ("//..", TargetAboveRoot),
        ("http://a/..", TargetAboveRoot),
        ("/..%2f", TargetPath),
        ("/a%2Fb", TargetPath),
        ("/..\\", TargetPath),
        ("/a%5cb", TargetPath),
        ("/%00", TargetPath),
        ("/a%00.html", TargetPath),
        ("/%c0%ae%c0%ae/", TargetPath),
        ("/%ff", TargetPath),
        ("/%ed%a0%80", TargetPath),
        ("/%zz", TargetEscape),
        ("/%", TargetEscape),
        ("/%4", TargetEscape),
        ("/%+1", TargetEscape),
        ("/%u0041", TargetEscape),
    ] {
        assert_eq!(normalise(target), Err(error), "{target}");
        assert_eq!(error.status(), 400);
    }
}

#[test]
fn a_handler_may_take_what_cannot_name_a_file() {
    for (target, path) in [
        ("/room/a%2Fb", "/room/a/b"),
        ("/room/a%2f..%2Fb", "/room/a/../b"),
        ("/%2F", "//"),
        ("/..%2f", "/../"),
        ("/a%2Fb/..", "/"),
        ("/a%2Fb/../c", "/c"),
        ("/x/a%2Fb/../c", "/x/c"),
        ("/a%5cb", "/a\\b"),
        ("/a\\b", "/a\\b"),
        ("/%00", "/\0"),
        ("/%ff%fe", "/\u{fffd}\u{fffd}"),
        ("/%ff%2f%e2", "/\u{fffd}/\u{fffd}"),
    ] {
        let parsed = TargetPath::parse(target).unwrap();
        assert_eq!((parsed.as_str(), parsed.is_plain()), (path, false), "{target}");
        assert_eq!(normalise(target), Err(HeadError::TargetPath), "{target}");
    }
    for (target, error) in [
        ("/%zz", HeadError::TargetEscape),
        ("/100%", HeadError::TargetEscape),
        ("/..", HeadError::TargetAboveRoot),
        ("/a%2Fb/../..", HeadError::TargetAboveRoot),
        ("*", HeadError::Target),
    ] {
        assert_eq!(TargetPath::parse(target), Err(error), "{target}");
    }
}

#[test]
fn an_encoded_slash_separates_nothing() {
    let path = |target| TargetPath::parse(target).unwrap();
    assert!(path("/a/b").is("/a/b") && !path("/a%2Fb").is("/a/b"));
    assert!(path("/a%2Fb/../c").is("/c"), "the segment that had one is gone");
    for (target, prefix, rest) in [
        ("/rooms/a%2Fb", "/rooms/", Some("a/b")),
        ("/rooms%2Fa", "/rooms/", None),
        ("/rooms%2Fa/b", "/rooms/", None),
        ("/rooms%2Fa/b", "/rooms", Some("/a/b")),
        ("/%ff/a%2Fb", "/\u{fffd}/a", Some("/b")),
        ("/%ff/a%2Fb", "/\u{fffd}/a/", None),
        ("/rooms", "/rooms/", None),
        ("/rooms/", "/rooms/", Some("")),
        ("/x", "/", Some("x")),
    ] {
        assert_eq!(path(target).below(prefix), rest, "{target} below {prefix}");
    }
}

#[test]
fn values_of_a_query_are_decoded_as_forms() {
    for (query, value) in [
        ("name=a+b%20c", Some("a b c")),
        ("x=1&name=2&name=3", Some("2")),
        ("na%6De=%C3%a9", Some("\u{e9}")),
        ("name", Some("")),
        ("name=a=b", Some("a=b")),
        ("name=%&", Some("%")),
        ("name=%4", Some("%4")),
        ("name=%zz%41", Some("%zzA")),
        ("name=%ff", Some("\u{fffd}")),
        ("names=1&Name=2", None),
        ("", None),
        ("&&=&", None),
    ] {
        assert_eq!(query_value(query, "name").as_deref(), value, "{query}");
    }
}

#[test]
fn the_query_is_what_follows_the_first_question_mark() {
    assert_eq!(query("/a"), None);
    assert_eq!(query("/a?"), Some(""));
    assert_eq!(query("/a?b?c"), Some("b?c"));
    assert_eq!(query("http://a?b"), Some("b"));
}

#[test]
fn deep_paths_take_linear_time() {
    // 8 KiB of each: no step reads more than the segments that it removes.
    let down = "/a".repeat(2000);
    let up = "/..".repeat(2000);
    assert_eq!(normalise(&[&down, &up[..]].concat()).as_deref(), Ok("/"));
    let slashes = "/".repeat(8000);
    assert_eq!(normalise(&slashes).as_deref(), Ok("/"));
}

proptest! {
    #[test]
    fn a_normalised_path_needs_no_further_interpretation(target in "(/|//|/\\.|/\\.\\.|/a|%2e|%2E|%2f|%5c|%00|%c3%a9|%e2|\\?|%25|é|;|.){0,12}") {
        if let Ok(path) = TargetPath::parse(&target) {
            prop_assert!(path.as_str().starts_with('/'));
            prop_assert_eq!(path.below(""), Some(path.as_str()));
            prop_assert!(path.is(path.as_str()) || !path.is_plain());
        }
        if let Ok(path) = normalise(&target) {
            prop_assert!(path.starts_with('/'));
            prop_assert!(!path.contains("//") && !path.contains('\0') && !path.contains('\\'));
            prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
            prop_assert!(path.len() <= target.len().max(1));
        }
    }
}
