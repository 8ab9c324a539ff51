//! Sizes and spans of time as people write them.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Bytes, with a suffix as `dd` and others read it: `K` and `KiB` are 1024, `KB` is 1000; the case does not matter.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    const HELP: &str = "write a number of bytes, with a suffix if you like: 4096, 64KiB, 16M";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(HELP.to_owned()),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HELP.to_owned());
    }
    let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match size {
        Some(0) => Err("it must be at least one byte".to_owned()),
        Some(size) => Ok(size),
        None => Err("it is larger than any message can be".to_owned()),
    }
}

/// A span of time: seconds, or a number with `ms`, `s`, `m` or `h`. Fractions are fine; a year is the most.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    const HELP: &str = "write seconds, or a number with ms, s, m or h: 5, 0.25, 250ms, 2m";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(HELP.to_owned()),
    };
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number = digits.parse::<f64>().ok().filter(|_| plain).ok_or_else(|| HELP.to_owned())?;
    let seconds = number * unit;
    if seconds > YEAR {
        return Err("that is more than a year".to_owned());
    }
    // Whole nanoseconds, so that what was written as a decimal fraction stays one.
    Ok(Duration::from_nanos((seconds * 1e9).round() as u64))
}

/// As [`parse_span`], for what has to take some time.
pub(crate) fn parse_some_time(text: &str) -> Result<Duration, String> {
    match parse_span(text)? {
        Duration::ZERO => Err("it must be greater than 0".to_owned()),
        span => Ok(span),
    }
}

const YEAR: f64 = 365.0 * 86_400.0;

/// A whole number within `range`.
pub(crate) fn whole<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| is_number && range.contains(number));
        let (least, most) = (range.start(), range.end());
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            if *most == u64::MAX {
                format!("write a whole number of at least {least}")
            } else {
                format!("write a whole number from {least} to {most}")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [
            ("1", 1),
            ("4096", 4096),
            ("12b", 12),
            ("64KiB", 65_536),
            ("64k", 65_536),
            ("16M", 16 << 20),
            ("16MB", 16_000_000),
            ("2g", 2 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for text in
            ["", "M", "-1", "+1", "1.5M", "1 M", "0", "0K", "9x", "18446744073709551616", "99999999999999G", "1é"]
        {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans() {
        for (text, millis) in [
            ("0", 0),
            ("5", 5_000),
            ("0.25", 250),
            (".5", 500),
            ("250ms", 250),
            ("1.5s", 1_500),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse_span(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1", "+1", "1e9", "inf", "nan", "1 s", "1S", "1d", "1.2.3", "9999h", "é"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
        assert!(parse_some_time("0").is_err());
        assert_eq!(parse_some_time("0.001"), Ok(Duration::from_millis(1)));
    }

    #[test]
    fn whole_numbers_say_what_they_may_be() {
        let port = whole::<u16>(0..=65_535);
        assert_eq!((port("0"), port("65535")), (Ok(0), Ok(65_535)));
        for bad in ["", "-1", "+1", "1.5", "65536", "http", "99999999999999999999"] {
            assert_eq!(port(bad).unwrap_err(), "write a whole number from 0 to 65535", "{bad}");
        }
        assert!(whole::<u64>(1..=u64::MAX)("x").unwrap_err().ends_with("of at least 1"));
    }
}
