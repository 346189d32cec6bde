//! The trace of one session: its spans in bounded memory, and what becomes of them at its end.
//!
//! Ids come from the seeds, so that a session costs no entropy; the run's id is mixed in, or two runs of one plan would
//! share their traces. See `docs/design/003-traces.md`.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use testmesh_shared::clock::TimeAnchor;
use testmesh_shared::plan::TraceRules;
use testmesh_shared::rng::SeedTree;
use testmesh_shared::telemetry::{SpanSink, Traceparent};
use tokio::time::Instant;

use crate::limits;
use crate::recorder::{Outcome, SlowStage, outcome_word};

/// Makes and keeps traces on one worker.
#[derive(Clone, Debug)]
pub struct Tracer {
    /// Where kept spans go; none: nothing is exported, and no spans are made.
    pub sink: Option<SpanSink>,
    /// Which sessions are kept.
    pub rules: TraceRules,
    /// The run's span.
    pub run: Option<SpanContext>,
    /// The root of the ids.
    pub seeds: SeedTree,
    /// Turns instants into wire times.
    pub anchor: TimeAnchor,
}

/// Why a session's spans may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) failed: bool,
    pub(super) slow: bool,
}

/// The trace of one session.
#[derive(Debug)]
pub(super) struct SessionTrace {
    trace_id: TraceId,
    root: SpanId,
    joined: bool,
    seeds: SeedTree,
    next: Cell<u64>,
    spans: RefCell<Vec<StageSpan>>,
    lost: Cell<u64>,
    /// Something was found in it that a finding points to.
    kept: Cell<bool>,
}

/// One stage that has ended.
#[derive(Debug)]
pub(super) struct StageSpan {
    pub(super) id: SpanId,
    pub(super) parent: SpanId,
    pub(super) stage: Arc<str>,
    pub(super) started: Instant,
    pub(super) ended: Instant,
    pub(super) outcome: Outcome,
    /// In words, masked.
    pub(super) error: Option<String>,
    pub(super) tries: u64,
}

/// A session, for its root span.
#[derive(Debug)]
pub(super) struct SessionSpan<'a> {
    pub(super) scenario: &'a str,
    pub(super) index: u64,
    pub(super) virtual_user: u64,
    pub(super) started: Instant,
    pub(super) ended: Instant,
    pub(super) outcome: &'static str,
}

impl Tracer {
    /// Begins the trace of a session.
    pub(super) fn session(&self, scenario: &str, index: u64, joins_run: bool) -> SessionTrace {
        let seeds = self.seeds.child(scenario).child_index(index);
        let joined = self.run.as_ref().filter(|_| joins_run);
        let own = || {
            TraceId::from(
                (u128::from(seeds.number()) << 64) | u128::from(seeds.child_index(0).number()),
            )
        };
        SessionTrace {
            trace_id: joined.map_or_else(own, SpanContext::trace_id),
            root: span_id(&seeds, 1),
            joined: joined.is_some(),
            seeds,
            next: Cell::new(2),
            spans: RefCell::default(),
            lost: Cell::new(0),
            kept: Cell::new(false),
        }
    }

    /// Ends a trace: exports it if it is kept. Returns how many spans were lost to a bound.
    pub(super) fn end(
        &self,
        trace: SessionTrace,
        session: &SessionSpan<'_>,
        ending: Ending,
    ) -> u64 {
        let Some(sink) = self.sink.as_ref().filter(|_| self.keeps(&trace, ending)) else {
            return 0;
        };
        let mut spans = Vec::with_capacity(trace.spans.borrow().len() + 1);
        spans.push(self.root_span(&trace, session));
        spans.extend(
            trace
                .spans
                .take()
                .into_iter()
                .map(|span| self.stage_span(&trace, span)),
        );
        // The sink counts what does not fit its queue.
        spans.into_iter().for_each(|span| sink.export(span));
        trace.lost.get()
    }

    fn keeps(&self, trace: &SessionTrace, ending: Ending) -> bool {
        let rules = &self.rules;
        trace.joined
            || ((ending.failed || trace.kept.get()) && rules.keep_failed)
            || (ending.slow && rules.keep_slowest)
            || share(trace.seeds.child("sample").number()) < rules.sample
    }

    fn root_span(&self, trace: &SessionTrace, session: &SessionSpan<'_>) -> SpanData {
        let attributes = vec![
            KeyValue::new("testmesh.scenario", session.scenario.to_owned()),
            KeyValue::new(
                "testmesh.session",
                format!("{}/{}", session.scenario, session.index),
            ),
            KeyValue::new(
                "testmesh.virtual_user",
                i64::try_from(session.virtual_user).unwrap_or(i64::MAX),
            ),
            KeyValue::new("testmesh.outcome", session.outcome),
        ];
        let run = self.run.as_ref();
        let mut links = SpanLinks::default();
        if let Some(run) = run.filter(|_| !trace.joined) {
            links.links.push(Link::new(run.clone(), Vec::new(), 0));
        }
        let parent = run
            .filter(|_| trace.joined)
            .map_or(SpanId::INVALID, SpanContext::span_id);
        let status = match session.outcome {
            "failed" => Status::error("a stage failed"),
            _ => Status::Unset,
        };
        SpanData {
            parent_span_is_remote: parent != SpanId::INVALID,
            links,
            ..self.span(
                trace,
                trace.root,
                parent,
                format!("session {}", session.scenario),
                attributes,
                status,
                (session.started, session.ended),
            )
        }
    }

    fn stage_span(&self, trace: &SessionTrace, span: StageSpan) -> SpanData {
        let mut attributes = vec![
            KeyValue::new("testmesh.stage", span.stage.to_string()),
            KeyValue::new("testmesh.outcome", outcome_word(span.outcome)),
        ];
        if span.tries > 1 {
            attributes.push(KeyValue::new(
                "testmesh.tries",
                i64::try_from(span.tries).unwrap_or(i64::MAX),
            ));
        }
        let status = match (span.outcome, span.error) {
            (None, _) => Status::Unset,
            (Some(kind), None) => Status::error(kind.as_str()),
            (Some(_), Some(message)) => Status::error(message),
        };
        SpanData {
            span_kind: SpanKind::Client,
            ..self.span(
                trace,
                span.id,
                span.parent,
                span.stage.to_string(),
                attributes,
                status,
                (span.started, span.ended),
            )
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a span is that many things, and only two callers fill them in"
    )]
    fn span(
        &self,
        trace: &SessionTrace,
        id: SpanId,
        parent: SpanId,
        name: String,
        attributes: Vec<KeyValue>,
        status: Status,
        (started, ended): (Instant, Instant),
    ) -> SpanData {
        SpanData {
            span_context: SpanContext::new(
                trace.trace_id,
                id,
                TraceFlags::SAMPLED,
                false,
                TraceState::NONE,
            ),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: self.anchor.system_time(started),
            end_time: self.anchor.system_time(ended),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: InstrumentationScope::builder("testmesh").build(),
        }
    }

    /// Whether servers should record their spans of our requests: whether a trace is kept is decided at its end, so all of
    /// them if any can be.
    pub(super) fn sampled(&self) -> bool {
        self.sink.is_some()
    }
}

impl SessionTrace {
    /// 32 lowercase hex digits.
    pub(super) fn trace_id(&self) -> String {
        self.trace_id.to_string()
    }

    /// A finding points to it: it is kept as if the session had failed.
    pub(super) fn keep(&self) {
        self.kept.set(true);
    }

    /// The session's own span.
    pub(super) fn root(&self) -> SpanId {
        self.root
    }

    /// The id of a span that begins.
    pub(super) fn begin(&self) -> SpanId {
        let number = self.next.get();
        self.next.set(number + 1);
        span_id(&self.seeds, number)
    }

    /// What the outgoing requests of a span carry.
    pub(super) fn traceparent(&self, span_id: SpanId, sampled: bool) -> String {
        Traceparent {
            trace_id: self.trace_id,
            span_id,
            sampled,
        }
        .to_string()
    }

    /// A stage has ended.
    pub(super) fn ended(&self, span: StageSpan) {
        let mut spans = self.spans.borrow_mut();
        if spans.len() < limits::SPANS_PER_SESSION {
            spans.push(span);
        } else {
            self.lost.set(self.lost.get() + 1);
        }
    }

    /// The stages so far, for the list of the slowest sessions.
    pub(super) fn stages(&self) -> Vec<SlowStage> {
        let spans = self.spans.borrow();
        let stages = spans
            .iter()
            .take(limits::SLOW_SESSION_STAGES)
            .map(|span| SlowStage {
                stage: span.stage.to_string(),
                duration_ns: crate::recorder::nanos(span.ended - span.started),
                outcome: outcome_word(span.outcome),
            });
        stages.collect()
    }
}

/// A span's id is never all zeros, which stands for none.
fn span_id(seeds: &SeedTree, number: u64) -> SpanId {
    SpanId::from(seeds.child_index(number).number().max(1))
}

/// A random number as a share of all.
fn share(number: u64) -> f64 {
    // The upper 53 bits are what a double holds exactly.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are left")]
    let upper = (number >> 11) as f64;
    upper / f64::from(1_u32 << 31) / f64::from(1_u32 << 22)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_lie_between_zero_and_one() {
        assert!(share(0) < f64::EPSILON);
        assert!(share(u64::MAX) < 1.0 && share(u64::MAX) > 0.999_999);
    }
}
