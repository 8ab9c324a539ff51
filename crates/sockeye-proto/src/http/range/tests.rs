use alloc::format;

use proptest::prelude::*;

use super::*;
use crate::limits::ProtocolLimits;

const MODIFIED: u64 = 784_111_777;

fn range_with(method: &str, lines: &str, len: u64) -> Range {
    let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
    let limits = ProtocolLimits { head_bytes: 128 * 1024, ..ProtocolLimits::default() };
    single(&RequestHead::parse(head.as_bytes(), &limits).unwrap(), len, "\"x\"", MODIFIED)
}

fn range(value: &str, len: u64) -> Range {
    range_with("GET", &format!("Range: {value}"), len)
}

const fn part(start: u64, end_inclusive: u64) -> Range {
    Range::Part { start, end_inclusive }
}

#[test]
fn a_single_range_is_limited_to_the_representation() {
    use Range::{Unsatisfiable, Whole};
    for (value, result) in [
        ("bytes=0-0", part(0, 0)),
        ("bytes=0-9", part(0, 9)),
        ("bytes=0-99", part(0, 9)),
        ("Bytes=3-5", part(3, 5)),
        ("bytes= 3-5 ", part(3, 5)),
        ("bytes=9-", part(9, 9)),
        ("bytes=-1", part(9, 9)),
        ("bytes=-10", part(0, 9)),
        ("bytes=-99", part(0, 9)),
        ("bytes=0-18446744073709551615", part(0, 9)),
        ("bytes=0-99999999999999999999999", part(0, 9)),
        ("bytes=-18446744073709551616", part(0, 9)),
        ("bytes=10-", Unsatisfiable),
        ("bytes=10-20", Unsatisfiable),
        ("bytes=18446744073709551616-", Unsatisfiable),
        ("bytes=-0", Unsatisfiable),
        ("bytes=9-5", Whole),
        ("bytes=-", Whole),
        ("bytes=--5", Whole),
        ("bytes=1--5", Whole),
        ("bytes=1-2-3", Whole),
        ("bytes=+1-2", Whole),
        ("bytes=1 - 2", Whole),
        ("bytes=a-b", Whole),
        ("bytes=0x1-2", Whole),
        ("bytes=", Whole),
        ("bytes", Whole),
        ("", Whole),
        ("=0-1", Whole),
        ("lines=0-1", Whole),
        ("bytes =0-1", Whole),
        ("bytes=0-0,2-3", Whole),
        ("bytes=0-0,", Whole),
    ] {
        assert_eq!(range(value, 10), result, "{value}");
    }
}

#[test]
fn an_empty_representation_has_no_parts() {
    assert_eq!(range("bytes=0-", 0), Range::Unsatisfiable);
    assert_eq!(range("bytes=-5", 0), Range::Whole);
    assert_eq!(range("bytes=-0", 0), Range::Unsatisfiable);
}

#[test]
fn a_flood_of_ranges_gets_the_whole() {
    assert_eq!(range(&format!("bytes={}", "0-0,".repeat(1300)), 10), Range::Whole);
    assert_eq!(range(&format!("bytes={}", "9".repeat(64 * 1024)), 10), Range::Whole);
    assert_eq!(range(&format!("bytes={}-", "9".repeat(64 * 1024)), 10), Range::Unsatisfiable);
    assert_eq!(range_with("GET", "Range: bytes=0-0\r\nRange: bytes=1-1", 10), Range::Whole);
}

#[test]
fn ranges_are_for_get() {
    assert_eq!(range_with("HEAD", "Range: bytes=0-0", 10), Range::Whole);
    assert_eq!(range_with("POST", "Range: bytes=0-0", 10), Range::Whole);
    assert_eq!(range_with("GET", "A: b", 10), Range::Whole);
}

#[test]
fn if_range_must_be_the_current_representation() {
    for (value, current) in [
        ("\"x\"", true),
        ("Sun, 06 Nov 1994 08:49:37 GMT", true),
        ("\"y\"", false),
        ("W/\"x\"", false),
        ("\"x\", \"y\"", false),
        ("Sun, 06 Nov 1994 08:49:38 GMT", false),
        ("Sun, 06 Nov 1994 08:49:36 GMT", false),
        ("*", false),
        ("", false),
        ("\"x\"\r\nIf-Range: \"x\"", false),
    ] {
        let result = range_with("GET", &format!("Range: bytes=0-0\r\nIf-Range: {value}"), 10);
        assert_eq!(result, if current { part(0, 0) } else { Range::Whole }, "{value}");
    }
}

proptest! {
    #[test]
    fn a_part_is_within_the_representation(value in "bytes=[0-9]{0,21}-[0-9]{0,21}", len in prop_oneof![0..5_u64, any::<u64>()]) {
        if let Range::Part { start, end_inclusive } = range(&value, len) {
            prop_assert!(start <= end_inclusive && end_inclusive < len);
        }
    }
}
