//! Logs and traces: set-up once per process, a sink for spans per service, and W3C trace context on the way in and out.
//!
//! Nothing is exported unless `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set, and then spans
//! that do not fit a bounded queue are counted and dropped: a collector that is slow or absent costs spans, never a session.
//!
//! Two kinds of spans go out. Sessions make theirs by hand and hand them over once they have ended, when it is known
//! whether they are worth keeping ([`SpanSink`]). What else a process does uses `tracing` spans, which [`init`] connects to
//! a sink of its own.

pub mod setup;
pub mod sink;
pub mod traceparent;

pub use setup::{Config, Guest, LogFormat, LogLevel, Telemetry, TelemetryError, init};
pub use sink::{SinkError, SpanSink};
pub use traceparent::Traceparent;
