use proptest::prelude::*;

use super::*;

/// The example of RFC 9110 section 5.6.7.
const EXAMPLE: u64 = 784_111_777;

#[test]
fn all_three_forms_are_parsed() {
    assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 GMT"), Some(EXAMPLE));
    assert_eq!(parse(b"Sunday, 06-Nov-94 08:49:37 GMT"), Some(EXAMPLE));
    assert_eq!(parse(b"Sun Nov  6 08:49:37 1994"), Some(EXAMPLE));
    assert_eq!(parse(b"Sun Nov 16 08:49:37 1994"), Some(EXAMPLE + 10 * 86_400));
    assert_eq!(parse(b"Wednesday, 01-Jan-20 00:00:00 GMT"), Some(1_577_836_800));
    assert_eq!(parse(b"Thursday, 01-Jan-70 00:00:00 GMT"), Some(0));
    assert_eq!(parse(b"Tuesday, 01-Jan-69 00:00:00 GMT"), Some(3_124_224_000));
}

#[test]
fn dates_are_written_in_one_form() {
    for (seconds, text) in [
        (0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
        (EXAMPLE, b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_400, b"Tue, 29 Feb 2000 00:00:00 GMT"),
        (951_868_799, b"Tue, 29 Feb 2000 23:59:59 GMT"),
        (4_107_542_400, b"Mon, 01 Mar 2100 00:00:00 GMT"),
        (LAST, b"Fri, 31 Dec 9999 23:59:59 GMT"),
        (u64::MAX, b"Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        assert_eq!(format(seconds), *text);
    }
}

#[test]
fn every_day_of_four_centuries_survives_a_round_trip() {
    for day in 0..146_097 {
        let seconds = day * 86_400 + day % 86_400;
        assert_eq!(parse(&format(seconds)), Some(seconds));
    }
}

#[test]
fn anything_else_is_not_a_date() {
    for bad in [
        "",
        "x",
        "Sun",
        "Sun,",
        "Sun, ",
        "0",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1900 00:00:00 GMT",
        "Tue, 29 Feb 2100 00:00:00 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Xyz, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov +994 08:49:37 GMT",
        "Sun, 06 Nov 1969 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sund, 06-Nov-94 08:49:37 GMT",
        "Sun Nov 06 08:49:37 94",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 ",
    ] {
        assert_eq!(parse(bad.as_bytes()), None, "{bad}");
    }
    assert_eq!(parse(b"Sat, 31 Dec 2016 23:59:60 GMT"), Some(1_483_228_800), "a leap second is the next second");
}

proptest! {
    #[test]
    fn a_formatted_date_is_parsed(seconds in 0..=LAST) {
        prop_assert_eq!(parse(&format(seconds)), Some(seconds));
    }

    #[test]
    fn random_changes_do_not_panic(at in 0..29_usize, byte in any::<u8>(), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut text = *b"Sun, 06 Nov 1994 08:49:37 GMT";
        text[at] = byte;
        let _ = parse(&text);
        let _ = parse(&text[..at]);
        let _ = parse(&bytes);
    }
}
