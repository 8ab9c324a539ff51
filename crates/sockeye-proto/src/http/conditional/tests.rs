use alloc::format;

use super::*;
use crate::limits::ProtocolLimits;

const MODIFIED: u64 = 784_111_777;
const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn outcome(method: &str, lines: &str, etag: &str) -> Precondition {
    let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
    let limits = ProtocolLimits { head_bytes: 64 * 1024, ..ProtocolLimits::default() };
    evaluate(&RequestHead::parse(head.as_bytes(), &limits).unwrap(), etag, MODIFIED)
}

#[test]
fn without_conditions_the_request_proceeds() {
    assert_eq!(outcome("GET", "A: b", "\"x\""), Precondition::Met);
}

#[test]
fn if_none_match_compares_weakly() {
    use Precondition::{Failed, Met, NotModified};
    for (value, result) in [
        ("\"x\"", NotModified),
        ("W/\"x\"", NotModified),
        ("\"y\", \"x\"", NotModified),
        ("\"y\",,\t\"x\" , \"z\"", NotModified),
        ("*", NotModified),
        ("\"a,b\", \"x\"", NotModified),
        ("\"y\"", Met),
        ("x", Met),
        ("\"x", Met),
        ("w/\"x\"", Met),
        ("\"y\" \"x\"", Met),
        ("\"a b\", \"x\"", Met),
        ("", Met),
        ("\"y\", *", Met),
    ] {
        assert_eq!(outcome("GET", &format!("If-None-Match: {value}"), "\"x\""), result, "{value}");
        assert_eq!(outcome("HEAD", &format!("If-None-Match: {value}"), "W/\"x\""), result, "{value}");
        let written = if result == NotModified { Failed } else { Met };
        assert_eq!(outcome("PUT", &format!("If-None-Match: {value}"), "\"x\""), written, "{value}");
    }
    assert_eq!(outcome("GET", "If-None-Match: \"y\"\r\nIf-None-Match: \"x\"", "\"x\""), NotModified);
}

#[test]
fn if_match_compares_strongly() {
    use Precondition::{Failed, Met};
    for (value, etag, result) in [
        ("\"x\"", "\"x\"", Met),
        ("*", "\"x\"", Met),
        ("\"y\", \"x\"", "\"x\"", Met),
        ("W/\"x\"", "\"x\"", Failed),
        ("\"x\"", "W/\"x\"", Failed),
        ("\"y\"", "\"x\"", Failed),
        ("", "\"x\"", Failed),
    ] {
        assert_eq!(outcome("GET", &format!("If-Match: {value}"), etag), result, "{value}");
    }
}

#[test]
fn dates_are_used_only_without_entity_tags() {
    use Precondition::{Failed, Met, NotModified};
    for (method, lines, result) in [
        ("GET", format!("If-Modified-Since: {THEN}"), NotModified),
        ("HEAD", format!("If-Modified-Since: {AFTER}"), NotModified),
        ("GET", format!("If-Modified-Since: {BEFORE}"), Met),
        ("POST", format!("If-Modified-Since: {THEN}"), Met),
        ("GET", "If-Modified-Since: yesterday".into(), Met),
        ("GET", format!("If-Modified-Since: {THEN}\r\nIf-Modified-Since: {THEN}"), Met),
        ("GET", format!("If-Modified-Since: {THEN}\r\nIf-None-Match: \"y\""), Met),
        ("GET", format!("If-Unmodified-Since: {THEN}"), Met),
        ("GET", format!("If-Unmodified-Since: {BEFORE}"), Failed),
        ("GET", format!("If-Unmodified-Since: {BEFORE}\r\nIf-Match: \"x\""), Met),
        ("GET", "If-Unmodified-Since: x".into(), Met),
        ("GET", format!("If-Match: \"x\"\r\nIf-Modified-Since: {THEN}"), NotModified),
    ] {
        assert_eq!(outcome(method, &lines, "\"x\""), result, "{method} {lines}");
    }
}

#[test]
fn what_is_not_known_fails_no_condition_on_it() {
    let unknown = |lines: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        evaluate(&RequestHead::parse(head.as_bytes(), &ProtocolLimits::default()).unwrap(), "", None)
    };
    assert_eq!(unknown(&format!("If-Unmodified-Since: {BEFORE}")), Precondition::Met);
    assert_eq!(unknown(&format!("If-Modified-Since: {AFTER}")), Precondition::Met);
    assert_eq!(unknown("If-None-Match: \"x\", \"\""), Precondition::Met);
    assert_eq!(unknown("If-Match: \"x\", \"\""), Precondition::Failed);
    assert_eq!(unknown("If-None-Match: *"), Precondition::NotModified);
}

#[test]
fn a_long_list_is_read_once() {
    let list = "\"no\", ".repeat(16 * 1024 / 6);
    assert_eq!(outcome("GET", &format!("If-None-Match: {list}\"x\""), "\"x\""), Precondition::NotModified);
    let open = "\"".repeat(16 * 1024);
    assert_eq!(outcome("GET", &format!("If-None-Match: {open}"), "\"x\""), Precondition::Met);
}
