use alloc::format;

use super::*;
use crate::limits::Limits;

const MODIFIED: u64 = 784_111_777;
const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn outcome(method: &str, lines: &str, etag: &str) -> Outcome {
    let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
    let limits = Limits { head_bytes: 64 * 1024, ..Limits::default() };
    evaluate(&RequestHead::parse(head.as_bytes(), &limits).unwrap(), etag, MODIFIED)
}

#[test]
fn without_conditions_the_request_proceeds() {
    assert_eq!(outcome("GET", "A: b", "\"x\""), Outcome::Proceed);
}

#[test]
fn if_none_match_compares_weakly() {
    use Outcome::{NotModified, PreconditionFailed, Proceed};
    for (value, result) in [
        ("\"x\"", NotModified),
        ("W/\"x\"", NotModified),
        ("\"y\", \"x\"", NotModified),
        ("\"y\",,\t\"x\" , \"z\"", NotModified),
        ("*", NotModified),
        ("\"a,b\", \"x\"", NotModified),
        ("\"y\"", Proceed),
        ("x", Proceed),
        ("\"x", Proceed),
        ("w/\"x\"", Proceed),
        ("\"y\" \"x\"", Proceed),
        ("\"a b\", \"x\"", Proceed),
        ("", Proceed),
        ("\"y\", *", Proceed),
    ] {
        assert_eq!(outcome("GET", &format!("If-None-Match: {value}"), "\"x\""), result, "{value}");
        assert_eq!(outcome("HEAD", &format!("If-None-Match: {value}"), "W/\"x\""), result, "{value}");
        let written = if result == NotModified { PreconditionFailed } else { Proceed };
        assert_eq!(outcome("PUT", &format!("If-None-Match: {value}"), "\"x\""), written, "{value}");
    }
    assert_eq!(outcome("GET", "If-None-Match: \"y\"\r\nIf-None-Match: \"x\"", "\"x\""), NotModified);
}

#[test]
fn if_match_compares_strongly() {
    use Outcome::{PreconditionFailed, Proceed};
    for (value, etag, result) in [
        ("\"x\"", "\"x\"", Proceed),
        ("*", "\"x\"", Proceed),
        ("\"y\", \"x\"", "\"x\"", Proceed),
        ("W/\"x\"", "\"x\"", PreconditionFailed),
        ("\"x\"", "W/\"x\"", PreconditionFailed),
        ("\"y\"", "\"x\"", PreconditionFailed),
        ("", "\"x\"", PreconditionFailed),
    ] {
        assert_eq!(outcome("GET", &format!("If-Match: {value}"), etag), result, "{value}");
    }
}

#[test]
fn dates_count_only_without_entity_tags() {
    use Outcome::{NotModified, PreconditionFailed, Proceed};
    for (method, lines, result) in [
        ("GET", format!("If-Modified-Since: {THEN}"), NotModified),
        ("HEAD", format!("If-Modified-Since: {AFTER}"), NotModified),
        ("GET", format!("If-Modified-Since: {BEFORE}"), Proceed),
        ("POST", format!("If-Modified-Since: {THEN}"), Proceed),
        ("GET", "If-Modified-Since: yesterday".into(), Proceed),
        ("GET", format!("If-Modified-Since: {THEN}\r\nIf-Modified-Since: {THEN}"), Proceed),
        ("GET", format!("If-Modified-Since: {THEN}\r\nIf-None-Match: \"y\""), Proceed),
        ("GET", format!("If-Unmodified-Since: {THEN}"), Proceed),
        ("GET", format!("If-Unmodified-Since: {BEFORE}"), PreconditionFailed),
        ("GET", format!("If-Unmodified-Since: {BEFORE}\r\nIf-Match: \"x\""), Proceed),
        ("GET", "If-Unmodified-Since: x".into(), Proceed),
        ("GET", format!("If-Match: \"x\"\r\nIf-Modified-Since: {THEN}"), NotModified),
    ] {
        assert_eq!(outcome(method, &lines, "\"x\""), result, "{method} {lines}");
    }
}

#[test]
fn what_is_not_known_fails_no_condition_on_it() {
    let unknown = |lines: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        evaluate(&RequestHead::parse(head.as_bytes(), &Limits::default()).unwrap(), "", None)
    };
    assert_eq!(unknown(&format!("If-Unmodified-Since: {BEFORE}")), Outcome::Proceed);
    assert_eq!(unknown(&format!("If-Modified-Since: {AFTER}")), Outcome::Proceed);
    assert_eq!(unknown("If-None-Match: \"x\", \"\""), Outcome::Proceed);
    assert_eq!(unknown("If-Match: \"x\", \"\""), Outcome::PreconditionFailed);
    assert_eq!(unknown("If-None-Match: *"), Outcome::NotModified);
}

#[test]
fn a_long_list_is_read_once() {
    let list = "\"no\", ".repeat(16 * 1024 / 6);
    assert_eq!(outcome("GET", &format!("If-None-Match: {list}\"x\""), "\"x\""), Outcome::NotModified);
    let open = "\"".repeat(16 * 1024);
    assert_eq!(outcome("GET", &format!("If-None-Match: {open}"), "\"x\""), Outcome::Proceed);
}
