//! Joins the caller's trace: a server span per request and per call, whose parent is the incoming `traceparent`.
//!
//! Without a subscriber that wants these spans, the cost is one disabled-span check.

use http::HeaderMap;
use testmesh_shared::telemetry::Traceparent;
use tracing::Span;

/// Gives a span the parent that the headers (or gRPC metadata) name, if they name one.
pub(crate) fn join(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() {
        return;
    }
    if let Some(parent) = Traceparent::extract(headers) {
        parent.adopt(span);
    }
}
