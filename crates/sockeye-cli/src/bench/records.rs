//! Text like the messages of many programs: objects of JSON, whose names and forms come again and whose values change.

use std::fmt::Write as _;

use crate::random::Random;

/// `len` bytes of records or a few more, in ASCII.
pub(crate) fn text(len: usize, random: &mut Random) -> String {
    let mut text = String::with_capacity(len + LONGEST);
    let (mut id, mut price) = (random.below(1_000_000), 10_000 + random.below(90_000));
    while text.len() < len {
        id += 1 + random.below(3);
        price = (price + random.below(41)).saturating_sub(20).max(100);
        let symbol = SYMBOLS[random.below(SYMBOLS.len() as u32) as usize];
        let side = if random.below(2) == 0 { "buy" } else { "sell" };
        let (size, spread) = (1 + random.below(500), 1 + random.below(9));
        let (second, millisecond) = (id / 40 % 60, random.below(1000));
        // Writing to a `String` does not fail.
        _ = writeln!(
            text,
            r#"{{"type":"order","id":{id},"symbol":"{symbol}","side":"{side}","bid":{}.{:02},"ask":{}.{:02},"size":{size},"time":"2026-11-29T21:16:{second:02}.{millisecond:03}Z"}}"#,
            price / 100,
            price % 100,
            (price + spread) / 100,
            (price + spread) % 100,
        );
    }
    text
}

const SYMBOLS: [&str; 8] = ["AAPL", "ASML", "BMW", "HEIA", "NOVO", "SAP", "SHEL", "UNA"];

/// Bytes of a record, at most.
const LONGEST: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_an_object() {
        let text = text(10_000, &mut Random::new(1));
        assert!(text.len() >= 10_000 && text.len() < 10_000 + LONGEST && text.is_ascii());
        for line in text.lines() {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(object["bid"].as_f64() < object["ask"].as_f64(), "{line}");
        }
    }
}
