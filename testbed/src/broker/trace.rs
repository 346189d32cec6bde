//! Trace context in AMQP headers, and the spans of messages.

use lapin::types::{AMQPValue, FieldTable};
use testmesh_shared::telemetry::Traceparent;
use tracing::Span;

const TRACEPARENT: &str = "traceparent";

/// The context that a message carries, if it carries one.
pub(super) fn extract(headers: Option<&FieldTable>) -> Option<Traceparent> {
    match headers?.inner().get(TRACEPARENT)? {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.parse().ok(),
        AMQPValue::ShortString(text) => text.as_str().parse().ok(),
        _ => None,
    }
}

/// Headers that carry a span's context; none without an exporter.
pub(super) fn inject(span: &Span) -> FieldTable {
    let mut headers = FieldTable::default();
    if let Some(trace) = Traceparent::of(span) {
        let value = AMQPValue::LongString(trace.to_string().into());
        headers.insert(TRACEPARENT.into(), value);
    }
    headers
}

/// The span of a message on its way out.
pub(super) fn producer(exchange: &str, routing_key: &str) -> Span {
    tracing::info_span!(
        "publish",
        otel.name = format!("publish {exchange}"),
        otel.kind = "producer",
        messaging.system = "rabbitmq",
        messaging.operation.type = "send",
        messaging.destination.name = exchange,
        messaging.rabbitmq.destination.routing_key = routing_key,
        error.type = tracing::field::Empty,
    )
}

/// The span of a command that a job takes.
pub(super) fn consumer(queue: &str, routing_key: &str) -> Span {
    tracing::info_span!(
        "process",
        otel.name = format!("process {queue}"),
        otel.kind = "consumer",
        messaging.system = "rabbitmq",
        messaging.operation.type = "process",
        messaging.destination.name = queue,
        messaging.rabbitmq.destination.routing_key = routing_key,
        command = tracing::field::Empty,
        rejected = tracing::field::Empty,
    )
}
