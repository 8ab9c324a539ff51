//! Figures as people read them.

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in a second, which may be less than one.
pub(crate) fn per_second(rate: f64) -> String {
    if rate.fract() == 0.0 { count(rate as u64) } else { rate.to_string() }
}

/// Bytes with three digits and a unit.
pub(crate) fn bytes(number: f64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut number, mut unit) = (number, 0);
    while number >= 999.5 && unit + 1 < units.len() {
        number /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{number:.0} bytes") } else { format!("{} {}", three_digits(number), units[unit]) }
}

/// Nanoseconds with three digits and a unit.
pub(crate) fn time(nanos: u64) -> String {
    let nanos = nanos as f64;
    match nanos {
        ..1e3 => format!("{nanos} ns"),
        ..999.5e3 => format!("{} us", three_digits(nanos / 1e3)),
        ..999.5e6 => format!("{} ms", three_digits(nanos / 1e6)),
        _ => format!("{} s", three_digits(nanos / 1e9)),
    }
}

fn three_digits(number: f64) -> String {
    match number {
        ..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let all = [0, 999, 1000, 123_456, 1_234_567].map(count);
        assert_eq!(all, ["0", "999", "1,000", "123,456", "1,234,567"]);
    }

    #[test]
    fn times_and_bytes() {
        let all = [0, 999, 1_000, 9_994, 99_940, 999_400, 999_600, 1_234_567_890, 123_456_000_000].map(time);
        assert_eq!(all, ["0 ns", "999 ns", "1.00 us", "9.99 us", "99.9 us", "999 us", "1.00 ms", "1.23 s", "123 s"]);
        let all = [0.0, 999.0, 1000.0, 1536.0, 1e6, 1e15].map(bytes);
        assert_eq!(all, ["0 bytes", "999 bytes", "0.98 KiB", "1.50 KiB", "977 KiB", "909 TiB"]);
    }
}
