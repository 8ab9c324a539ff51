//! `--expect`: what has to come, and in which order.

use regex_lite::Regex;
use serde_json::Value;
use sockeye::messages::Message;

use crate::connect::encoding::Encoding;

/// One `--expect`.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// As it was written.
    written: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Text(String),
    Regex(Regex),
    Json(Value),
    Binary(Vec<u8>),
}

impl Pattern {
    /// `text:`, `regex:`, `json:` or `hex:` says what the rest is; without one of them all of it is the text.
    ///
    /// # Errors
    /// An invalid regular expression or invalid JSON.
    pub(crate) fn parse(written: &str) -> Result<Self, String> {
        let rule = match written.split_once(':') {
            Some(("text", text)) => Rule::Text(text.to_owned()),
            Some(("regex", expression)) => {
                Rule::Regex(Regex::new(expression).map_err(|error| format!("not a regular expression: {error}"))?)
            }
            Some(("json", json)) => {
                Rule::Json(serde_json::from_str(json).map_err(|error| format!("not JSON: {error}"))?)
            }
            Some(("hex", digits)) => Rule::Binary(Encoding::Hex.decode(digits)?),
            _ => Rule::Text(written.to_owned()),
        };
        Ok(Self { written: written.to_owned(), rule })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.written
    }

    pub(crate) fn matches(&self, message: &Message<'_>) -> bool {
        match (&self.rule, message) {
            (Rule::Text(wanted), Message::Text(text)) => wanted == text,
            (Rule::Regex(regex), Message::Text(text)) => regex.is_match(text),
            (Rule::Json(wanted), Message::Text(text)) => {
                serde_json::from_str(text).is_ok_and(|found| contains(&found, wanted))
            }
            (Rule::Binary(wanted), Message::Binary(bytes)) => wanted[..] == bytes[..],
            (Rule::Binary(_), Message::Text(_)) | (_, Message::Binary(_)) => false,
        }
    }
}

/// Whether `found` has all that `wanted` has: each member of an object, at any depth; arrays item by item, none more and none
/// less; numbers by value. The parser bounds the depth.
fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| found.get(name).is_some_and(|found| contains(found, wanted)))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| contains(found, wanted))
        }
        // 1 and 1.0 are one number; of two integers every digit counts.
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => one.as_f64() == other.as_f64(),
        (found, wanted) => found == wanted,
    }
}

/// All `--expect`s, in order.
#[derive(Debug)]
pub(crate) struct Expectations {
    patterns: Vec<Pattern>,
    /// Invariant: `met <= patterns.len()`; the patterns before it have been met.
    met: usize,
    /// No other message may come between.
    strict: bool,
}

impl Expectations {
    pub(crate) fn new(patterns: Vec<Pattern>, strict: bool) -> Self {
        Self { patterns, met: 0, strict }
    }

    /// Looks at the next message.
    ///
    /// # Errors
    /// It is not the one that has to come now.
    pub(crate) fn message(&mut self, message: &Message<'_>) -> Result<(), Unexpected> {
        let Some(next) = self.patterns.get(self.met) else { return Ok(()) };
        if next.matches(message) {
            self.met += 1;
        } else if self.strict {
            return Err(Unexpected);
        }
        Ok(())
    }

    pub(crate) fn are_met(&self) -> bool {
        self.met == self.patterns.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The first one that was not met, as `expectation 2 of 3, json:{"id":7}`.
    pub(crate) fn missing(&self) -> Option<String> {
        let next = self.patterns.get(self.met)?;
        Some(match self.patterns.len() {
            1 => format!("the expectation {}", next.as_str()),
            all => format!("expectation {} of {all}, {}", self.met + 1, next.as_str()),
        })
    }
}

/// A message came that is not the one expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Unexpected;

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, message: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(&message.into())
    }

    #[test]
    fn text_is_exact() {
        assert!(matches("hello", "hello"));
        assert!(!matches("hello", "hello "));
        assert!(!matches("hello", "Hello"));
        assert!(matches("", ""));
        assert!(matches("text:json:1", "json:1"), "the prefix says that the rest is text");
        assert!(matches("http://x", "http://x"), "other words before a colon are none");
    }

    #[test]
    fn a_regex_is_searched() {
        assert!(matches("regex:^a+$", "aaa"));
        assert!(!matches("regex:^a+$", "aab"));
        assert!(matches("regex:b", "abc"));
        assert!(Pattern::parse("regex:(").unwrap_err().contains("expression"));
    }

    #[test]
    fn json_has_to_have_what_is_given_and_may_have_more() {
        for (wanted, found, good) in [
            (r#"{"id":7}"#, r#"{"name":"x","id":7}"#, true),
            (r#"{"id":7}"#, r#"{"id":8}"#, false),
            (r#"{"id":7}"#, r#"{"id":"7"}"#, false),
            (r#"{"id":7}"#, "[7]", false),
            (r#"{"id":7}"#, "no JSON", false),
            (r#"{"a":{"b":null}}"#, r#"{"a":{"b":null,"c":1},"d":2}"#, true),
            (r#"{"a":{"b":null}}"#, r#"{"a":{}}"#, false),
            ("{}", r#"{"a":1}"#, true),
            ("{}", "[]", false),
            (r#"[1,{"a":2}]"#, r#"[1.0,{"a":2,"b":3}]"#, true),
            ("[1]", "[1,2]", false),
            ("[2,1]", "[1,2]", false),
            ("true", " true ", true),
            ("1", "1.0", true),
            ("18446744073709551615", "18446744073709551615", true),
            ("18446744073709551615", "18446744073709551614", false),
        ] {
            assert_eq!(matches(&format!("json:{wanted}"), found), good, "{wanted} in {found}");
        }
        assert!(Pattern::parse("json:{").is_err());
        let deep = "[".repeat(100_000);
        assert!(!matches("json:[]", &deep), "and no stack overflow");
    }

    #[test]
    fn bytes_are_exact_and_of_binary_messages() {
        let pattern = Pattern::parse("hex:00 ff").unwrap();
        assert!(pattern.matches(&vec![0, 255].into()));
        assert!(!pattern.matches(&vec![0].into()));
        assert!(!Pattern::parse("hex:61").unwrap().matches(&"a".into()));
        assert!(!Pattern::parse("a").unwrap().matches(&vec![b'a'].into()));
        assert!(Pattern::parse("hex:0").is_err());
    }

    fn expectations(strict: bool) -> Expectations {
        Expectations::new(["a", "regex:b", "a"].map(|text| Pattern::parse(text).unwrap()).to_vec(), strict)
    }

    #[test]
    fn others_may_come_between() {
        let mut wanted = expectations(false);
        for (message, missing) in [("b", "1 of 3, a"), ("a", "2 of 3, regex:b"), ("a", "2 of 3"), ("abc", "3 of 3, a")]
        {
            assert_eq!(wanted.message(&message.into()), Ok(()));
            assert!(wanted.missing().unwrap().contains(missing), "{message}");
        }
        assert!(!wanted.are_met());
        assert_eq!(wanted.message(&"a".into()), Ok(()));
        assert!(wanted.are_met());
        assert_eq!(wanted.missing(), None);
        assert_eq!(wanted.message(&"more".into()), Ok(()));
    }

    #[test]
    fn none_may_come_between_when_it_is_strict() {
        let mut wanted = expectations(true);
        assert_eq!(wanted.message(&"a".into()), Ok(()));
        assert_eq!(wanted.message(&"a".into()), Err(Unexpected));
        let mut wanted = expectations(true);
        for message in ["a", "b", "a", "what comes after is nobody's business"] {
            assert_eq!(wanted.message(&message.into()), Ok(()));
        }
    }

    #[test]
    fn nothing_expected_is_met() {
        let mut nothing = Expectations::new(Vec::new(), true);
        assert!(nothing.is_empty() && nothing.are_met());
        assert_eq!(nothing.message(&"x".into()), Ok(()));
    }
}
