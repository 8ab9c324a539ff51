//! An event with its fields, as text.
//!
//! What to know before editing: messages and values may be a peer's, and are kept as they came; each [`Form`](super::form::Form)
//! escapes them in its own way. Names of fields are the program's own.

use std::fmt::{self, Debug, Write};

use tracing::Event;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Record};

use super::level::Level;

/// An event, apart from its time.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) target: String,
    pub(super) message: String,
    pub(super) fields: Fields,
}

/// Fields of an event or a span, each name once.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) text: String,
    /// A number or a truth, which JSON writes without quotes.
    pub(super) bare: bool,
}

impl Line {
    pub(super) fn new(level: Level, target: &str, message: String) -> Self {
        Self { level, target: target.to_owned(), message, fields: Fields::default() }
    }

    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.take("message").unwrap_or_default();
        let metadata = event.metadata();
        Self { level: Level::of(*metadata.level()), target: metadata.target().to_owned(), message, fields }
    }
}

impl Fields {
    pub(super) fn of_span(attributes: &Attributes<'_>) -> Self {
        let mut fields = Self::default();
        attributes.record(&mut fields);
        fields
    }

    pub(super) fn of_record(record: &Record<'_>) -> Self {
        let mut fields = Self::default();
        record.record(&mut fields);
        fields
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(field, _)| *field == name).map(|(_, value)| value.text.as_str())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// Adds a field, or sets it.
    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(field, _)| *field == name) {
            Some((_, before)) => *before = value,
            None => self.0.push((name, value)),
        }
    }

    /// Adds those that are not there yet.
    pub(super) fn inherit(&mut self, outer: &Self) {
        for (name, value) in outer.iter() {
            if self.get(name).is_none() {
                self.0.push((name, value.clone()));
            }
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(field, _)| *field == name)?;
        Some(self.0.remove(index).1.text)
    }
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), bare: false }
    }

    pub(super) fn bare(value: impl fmt::Display) -> Self {
        Self { text: value.to_string(), bare: true }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = Bounded::default();
        // It is cut where it does not fit.
        _ = text.write_str(value);
        self.set(field.name(), Value::text(text.0));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = Bounded::default();
        _ = write!(text, "{value:?}");
        self.set(field.name(), Value::text(text.0));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), Value::bare(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), Value::bare(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity.
        self.set(field.name(), Value { text: value.to_string(), bare: value.is_finite() });
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), Value::bare(value));
    }
}

/// A text that ends with `…` if there was more than fits, which also ends the writing.
#[derive(Debug, Default)]
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut room = VALUE_BYTES.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        while !text.is_char_boundary(room) {
            room -= 1;
        }
        self.0.push_str(&text[..room]);
        self.0.push('…');
        Err(fmt::Error)
    }
}

/// The target of the log's own lines.
pub(super) const TARGET: &str = "sockeye::log";

/// The target of events of the access log.
pub(super) const ACCESS: &str = "sockeye::access";

/// Bytes of one value. A head of HTTP fits, and with it all that a peer causes in one line.
const VALUE_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_cut_at_a_character() {
        let mut text = Bounded::default();
        assert!(write!(text, "x{}", "ü".repeat(VALUE_BYTES)).is_err());
        assert!(text.0.len() <= VALUE_BYTES + '…'.len_utf8() && text.0.ends_with("üü…"), "{}", text.0.len());
        let mut text = Bounded::default();
        assert!(text.write_str(&"x".repeat(VALUE_BYTES)).is_ok() && text.0.len() == VALUE_BYTES);
    }

    #[test]
    fn an_inner_field_hides_an_outer_one() {
        let (mut inner, mut outer) = (Fields::default(), Fields::default());
        inner.set("a", Value::bare(1));
        outer.set("a", Value::bare(2));
        outer.set("b", Value::bare(3));
        inner.inherit(&outer);
        assert_eq!((inner.get("a"), inner.get("b"), inner.iter().count()), (Some("1"), Some("3"), 2));
    }
}
