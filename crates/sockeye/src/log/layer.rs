//! The layer of `tracing-subscriber`: from events to records in the backlog.

use std::sync::Arc;
use std::time::Instant;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::level::Level;
use super::line::{Fields, Line, TARGET};
use super::shared::Shared;

pub(super) struct LogLayer(pub(super) Arc<Shared>);

/// What a span keeps, for each log of the subscriber alike. Values are made before the lock of a span is taken: the program's
/// code makes them, and may log.
struct SpanFields(Fields);

impl<S> Layer<S> for LogLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let fields = SpanFields(Fields::of_span(attributes));
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let recorded = Fields::of_record(values);
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(SpanFields(fields)) = extensions.get_mut() {
            recorded.iter().for_each(|(name, value)| fields.set(name, value.clone()));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Line::of(event);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(fields)) = span.extensions().get() {
                line.fields.inherit(fields);
            }
        }
        if self.0.pace.admits(&mut line, Instant::now()) {
            self.0.push(&line);
        }
        let forgotten = self.0.pace.take_forgotten();
        if forgotten > 0 {
            let message = format!("{forgotten} lines about peers that have become quiet were left out");
            self.0.push(&Line::new(Level::Notice, TARGET, message));
        }
    }
}
