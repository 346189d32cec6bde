//! Joins the caller's trace: a server span per request and per call, whose parent is the incoming `traceparent`.
//!
//! Without a subscriber that wants these spans, the cost is one disabled-span check.

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Gives a span the parent that the headers (or gRPC metadata) name, if they name one.
pub(crate) fn join(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() || !headers.contains_key("traceparent") {
        return;
    }
    let context = TraceContextPropagator::new().extract(&Headers(headers));
    if !context.span().span_context().is_valid() {
        return;
    }
    // Fails only if no OpenTelemetry layer listens, and then there is nothing to join.
    if let Err(error) = span.set_parent(context) {
        tracing::trace!(%error, "the caller's trace was not joined");
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
