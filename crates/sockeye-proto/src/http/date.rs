//! HTTP dates (RFC 9110 section 5.6.7): written in one form, parsed in three.

use super::syntax;

/// The time `seconds` after the beginning of 1970, as `Sun, 06 Nov 1994 08:49:37 GMT`. Times after
/// the year 9999 become its last second.
#[must_use]
pub fn format(seconds: u64) -> [u8; 29] {
    let seconds = seconds.min(LAST);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    out[..3].copy_from_slice(DAYS[(days % 7) as usize]);
    two_digits(&mut out, 5, day);
    out[8..11].copy_from_slice(MONTHS[(month - 1) as usize]); // 1 <= month <= 12
    two_digits(&mut out, 12, year / 100);
    two_digits(&mut out, 14, year % 100);
    two_digits(&mut out, 17, of_day / 3600);
    two_digits(&mut out, 20, of_day / 60 % 60);
    two_digits(&mut out, 23, of_day % 60);
    out
}

/// Parses a date in any of the three forms. Returns seconds since 1970. `None`: it is not a date,
/// or is before 1970.
///
/// The day of the week must be valid, but need not match the date. Dates in the RFC 850 form have
/// years of two digits: 70 to 99 are 1970 to 1999, and the others are 2000 to 2069. The RFC asks
/// for a window that moves with the clock, but this crate has no clock, and such dates are
/// obsolete.
#[must_use]
pub fn parse(text: &[u8]) -> Option<u64> {
    // RFC 9110 section 5.6.7: "A recipient that parses a timestamp value in an HTTP field MUST
    // accept all three HTTP-date formats."
    match text.get(3)? {
        b',' => imf_fixdate(text),
        b' ' => asctime(text),
        _ => rfc850(text),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<u64> {
    let [w1, w2, w3, b',', b' ', d1, d2, b' ', m1, m2, m3, b' ', y1, y2, y3, y4, b' ', rest @ ..] = text else {
        return None;
    };
    let clock = rest.strip_suffix(b" GMT")?;
    is_day([*w1, *w2, *w3])?;
    let year = number(&[*y1, *y2, *y3, *y4])?;
    seconds(year, month([*m1, *m2, *m3])?, number(&[*d1, *d2])?, clock)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &[u8]) -> Option<u64> {
    let comma = text.iter().take(10).position(|&byte| byte == b',')?;
    let (day, rest) = text.split_at(comma);
    LONG_DAYS.iter().find(|known| **known == day)?;
    let [b',', b' ', d1, d2, b'-', m1, m2, m3, b'-', y1, y2, b' ', rest @ ..] = rest else { return None };
    let clock = rest.strip_suffix(b" GMT")?;
    let year = number(&[*y1, *y2])?;
    let century = if year < 70 { 2000 } else { 1900 };
    seconds(century + year, month([*m1, *m2, *m3])?, number(&[*d1, *d2])?, clock)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<u64> {
    let [w1, w2, w3, b' ', m1, m2, m3, b' ', d1, d2, b' ', clock @ .., b' ', y1, y2, y3, y4] = text else {
        return None;
    };
    is_day([*w1, *w2, *w3])?;
    let day = if *d1 == b' ' { number(&[*d2])? } else { number(&[*d1, *d2])? };
    seconds(number(&[*y1, *y2, *y3, *y4])?, month([*m1, *m2, *m3])?, day, clock)
}

fn is_day(name: [u8; 3]) -> Option<()> {
    DAYS.iter().find(|known| ***known == name).map(|_| ())
}

/// The month as a number: 1 to 12.
fn month(name: [u8; 3]) -> Option<u64> {
    MONTHS.iter().position(|known| **known == name).map(|index| index as u64 + 1)
}

/// A number of at most four digits.
fn number(digits: &[u8]) -> Option<u64> {
    syntax::decimal(digits)
}

/// `clock` is `08:49:37`.
fn seconds(year: u64, month: u64, day: u64, clock: &[u8]) -> Option<u64> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = clock else { return None };
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?);
    // Second 60 is a leap second, which the form allows.
    if year < 1970 || day == 0 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

const fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1 January 1970, for a year from 1970 on. Years are counted from March, so a leap day
/// is the last day of its year.
const fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - DAYS_TO_1970
}

/// Year, month and day of the date `days` days after 1 January 1970: the inverse of [`days`].
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let (era, of_era) = (days / 146_097, days % 146_097); // 400 years
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// `value < 100`
fn two_digits(out: &mut [u8; 29], at: usize, value: u64) {
    out[at] = b'0' + (value / 10 % 10) as u8;
    out[at + 1] = b'0' + (value % 10) as u8;
}

/// The days of the week, from the one on which 1970 began.
const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const LONG_DAYS: [&[u8]; 7] = [b"Thursday", b"Friday", b"Saturday", b"Sunday", b"Monday", b"Tuesday", b"Wednesday"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Days from 1 March of the year 0 to 1 January 1970.
const DAYS_TO_1970: u64 = 719_468;

/// The last second of the year 9999: the form has four digits for a year.
const LAST: u64 = 253_402_300_799;

#[cfg(test)]
mod tests;
