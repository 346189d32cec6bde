//! W3C trace context: how a span's identity travels in HTTP headers, gRPC metadata and the mesh's own messages.

use std::fmt;
use std::str::FromStr;

use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use rand::Rng;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header's name.
pub const TRACEPARENT: &str = "traceparent";

/// Identity of a span: what a callee needs so that its spans join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Traceparent {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that a callee's spans are children of.
    pub span_id: SpanId,
    /// Whether the trace is meant to be kept.
    pub sampled: bool,
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent has the form 00-TRACE_ID-SPAN_ID-FLAGS, in lowercase hex")]
pub struct TraceparentError;

impl Traceparent {
    /// Begins a trace. The stream of random numbers must be this run's own (mix the run's id into its place in the seed
    /// tree), or runs with one seed would share their traces.
    pub fn root(rng: &mut impl Rng, sampled: bool) -> Self {
        let [high, low] = [rng.next_u64(), rng.next_u64()];
        // Zero stands for no trace, and comes up once in 2^128.
        let trace_id = (u128::from(high) << 64 | u128::from(low)).max(1);
        Self {
            trace_id: TraceId::from(trace_id),
            span_id: span_id(rng),
            sampled,
        }
    }

    /// A new span of the same trace.
    #[must_use]
    pub fn child(&self, rng: &mut impl Rng) -> Self {
        Self {
            span_id: span_id(rng),
            ..*self
        }
    }

    /// The current `tracing` span, if spans are exported.
    #[must_use]
    pub fn current() -> Option<Self> {
        Self::of(&tracing::Span::current())
    }

    /// A `tracing` span, if spans are exported.
    #[must_use]
    pub fn of(span: &tracing::Span) -> Option<Self> {
        let context = span.context();
        let context = context.span().span_context().clone();
        context.is_valid().then(|| Self {
            trace_id: context.trace_id(),
            span_id: context.span_id(),
            sampled: context.is_sampled(),
        })
    }

    /// Makes a `tracing` span a child of this one. Before the span is entered for the first time; without an exporter it
    /// does nothing.
    pub fn adopt(&self, span: &tracing::Span) {
        let context = opentelemetry::Context::new()
            .with_remote_span_context(self.span_context(Origin::Remote));
        if let Err(error) = span.set_parent(context) {
            tracing::debug!(%error, "a span was not joined to its caller's trace");
        }
    }

    /// The form that spans carry in OpenTelemetry.
    #[must_use]
    pub fn span_context(&self, origin: Origin) -> SpanContext {
        let flags = if self.sampled {
            TraceFlags::SAMPLED
        } else {
            TraceFlags::default()
        };
        SpanContext::new(
            self.trace_id,
            self.span_id,
            flags,
            origin == Origin::Remote,
            TraceState::NONE,
        )
    }

    /// Puts it into HTTP headers.
    pub fn inject(&self, headers: &mut HeaderMap) {
        let value = HeaderValue::try_from(self.to_string())
            .expect("hex digits and dashes make a header value");
        headers.insert(TRACEPARENT, value);
    }

    /// Puts it into gRPC metadata.
    pub fn inject_metadata(&self, metadata: &mut MetadataMap) {
        let value: MetadataValue<Ascii> = MetadataValue::try_from(self.to_string())
            .expect("hex digits and dashes make a metadata value");
        metadata.insert(TRACEPARENT, value);
    }

    /// Reads it from HTTP headers. One that is absent or malformed is none: the callee begins its own trace.
    #[must_use]
    pub fn extract(headers: &HeaderMap) -> Option<Self> {
        headers.get(TRACEPARENT)?.to_str().ok()?.parse().ok()
    }

    /// Reads it from gRPC metadata, as [`Traceparent::extract`].
    #[must_use]
    pub fn extract_metadata(metadata: &MetadataMap) -> Option<Self> {
        metadata.get(TRACEPARENT)?.to_str().ok()?.parse().ok()
    }
}

/// Where a span lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In this process.
    Local,
    /// In a caller's.
    Remote,
}

fn span_id(rng: &mut impl Rng) -> SpanId {
    SpanId::from(rng.next_u64().max(1))
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{}-{}-{:02x}",
            self.trace_id,
            self.span_id,
            u8::from(self.sampled)
        )
    }
}

impl FromStr for Traceparent {
    type Err = TraceparentError;

    fn from_str(text: &str) -> Result<Self, TraceparentError> {
        let mut parts = text.splitn(5, '-');
        let mut part = || parts.next().ok_or(TraceparentError);
        let (version, trace_id, span_id, flags) = (part()?, part()?, part()?, part()?);
        let version = hex(version, 2)?;
        // A later version may append fields, version 00 may not; 255 is forbidden.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return Err(TraceparentError);
        }
        let trace_id = hex(trace_id, 32)?;
        let span_id = u64::try_from(hex(span_id, 16)?).map_err(|_| TraceparentError)?;
        let sampled = hex(flags, 2)? & 1 == 1;
        if trace_id == 0 || span_id == 0 {
            return Err(TraceparentError);
        }
        Ok(Self {
            trace_id: TraceId::from(trace_id),
            span_id: SpanId::from(span_id),
            sampled,
        })
    }
}

fn hex(text: &str, digits: usize) -> Result<u128, TraceparentError> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.bytes().all(lower) {
        return Err(TraceparentError);
    }
    u128::from_str_radix(text, 16).map_err(|_| TraceparentError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeedTree;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn it_travels_in_headers_and_metadata() {
        let span: Traceparent = EXAMPLE.parse().unwrap();
        assert_eq!(span.to_string(), EXAMPLE);
        assert!(span.sampled);
        let mut headers = HeaderMap::new();
        span.inject(&mut headers);
        assert_eq!(headers[TRACEPARENT], EXAMPLE);
        assert_eq!(Traceparent::extract(&headers), Some(span));
        let mut metadata = MetadataMap::new();
        span.inject_metadata(&mut metadata);
        assert_eq!(Traceparent::extract_metadata(&metadata), Some(span));
        assert_eq!(Traceparent::extract(&HeaderMap::new()), None);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(bad.parse::<Traceparent>(), Err(TraceparentError), "{bad}");
        }
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-more";
        assert!(!later.parse::<Traceparent>().unwrap().sampled);
    }

    #[test]
    fn children_share_the_trace() {
        let mut rng = SeedTree::new(1).child("20261122-171530-3fa9").rng();
        let root = Traceparent::root(&mut rng, true);
        let child = root.child(&mut rng);
        assert_eq!(child.trace_id, root.trace_id);
        assert_ne!(child.span_id, root.span_id);
        let context = child.span_context(Origin::Local);
        assert!(context.is_valid() && context.is_sampled() && !context.is_remote());
    }

    #[test]
    fn without_an_exporter_there_is_no_current_span() {
        let span = tracing::info_span!("alone");
        Traceparent::root(&mut SeedTree::new(1).rng(), true).adopt(&span);
        assert_eq!(span.in_scope(Traceparent::current), None);
    }
}
