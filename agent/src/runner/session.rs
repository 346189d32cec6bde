//! One session: its stages in order, then its cleanup, and what is told about it at the end.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::trace::SpanId;
use testmesh_shared::metric::MetricId;
use testmesh_shared::plan::expr::{Random, Scope};
use testmesh_shared::plan::{ErrorKind, Stage};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::context::{RunContext, ScenarioContext};
use super::trace::{Ending as TraceEnding, SessionSpan, SessionTrace};
use crate::driver::{Connections, StageError};
use crate::limits;
use crate::recorder::{Finding, FindingKey, SessionView, Severity, SlowSession, nanos};

/// A session that is about to run.
#[derive(Debug)]
pub struct SessionStart {
    /// Its number in the scenario.
    pub index: u64,
    /// The virtual user that runs it.
    pub virtual_user: u64,
    /// The connections of that user.
    pub connections: Connections,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All stages passed.
    Passed,
    /// A stage failed.
    Failed,
    /// Cut by a stop.
    Interrupted,
}

impl Ending {
    /// As traces say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a session leaves behind.
#[derive(Debug)]
pub struct SessionEnd {
    /// How it ended.
    pub ending: Ending,
    /// When it started.
    pub started: Instant,
    /// When its last stage ended; cleanup is not counted.
    pub ended: Instant,
    /// What it saved, as JSON; for setup.
    pub saves: serde_json::Map<String, serde_json::Value>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// A session that runs: what its stages share.
#[derive(Debug)]
pub(super) struct Session<'r> {
    pub(super) run: &'r RunContext,
    pub(super) scenario: &'r ScenarioContext,
    pub(super) index: u64,
    pub(super) connections: Connections,
    pub(super) trace: SessionTrace,
    pub(super) run_started: Instant,
    /// A stage failed and the session went on all the same.
    pub(super) failed: Cell<bool>,
    /// The rows that it has seen.
    pub(super) view: Rc<SessionView>,
}

/// Runs one session to its end. `interrupt` cuts its stages short; its cleanup runs all the same, within its own bounds.
///
/// # Cancel safety
///
/// Dropping the future skips the cleanup: only for a worker that is ending.
pub async fn run(
    run: Rc<RunContext>,
    scenario: Rc<ScenarioContext>,
    start: SessionStart,
    interrupt: CancellationToken,
) -> SessionEnd {
    let started = Instant::now();
    let session = Session {
        run: &run,
        scenario: &scenario,
        index: start.index,
        connections: start.connections.for_session(),
        trace: run
            .tracer
            .session(&scenario.name, start.index, scenario.joins_run_trace()),
        run_started: run.recorder.clock().started_at().unwrap_or(started),
        failed: Cell::new(false),
        view: Rc::default(),
    };
    let root = run.scope();
    let mut scope = Scope::over(&root);
    session.enter(&mut scope, start.virtual_user);
    let result = tokio::select! {
        biased;
        result = session.stages(scenario.stages(), &mut scope, session.trace.root()) => Some(result),
        () = interrupt.cancelled() => None,
    };
    let ended = Instant::now();
    let (ending, error) = match result {
        None => (Ending::Interrupted, None),
        Some(Err(error)) => (Ending::Failed, Some(error.to_string())),
        Some(Ok(())) if session.failed.get() => (Ending::Failed, None),
        Some(Ok(())) => (Ending::Passed, None),
    };
    session.clean_up(&mut scope).await;
    let saves = session.saves(scope);
    session.tell(&start, ending, started, ended);
    let error = error.map(|error| run.facts.secrets.mask(&error).into_owned());
    SessionEnd {
        ending,
        started,
        ended,
        saves,
        error,
    }
}

/// What a finding says and shows, not yet masked.
#[derive(Debug)]
pub(super) struct Found<'f> {
    pub(super) message: &'f str,
    pub(super) detail: &'f str,
    /// A PNG without secrets.
    pub(super) screenshot: Option<Bytes>,
}

impl Session<'_> {
    /// Says who the session is, to its expressions.
    fn enter(&self, scope: &mut Scope<'_>, virtual_user: u64) {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let seeds = self
            .run
            .facts
            .seeds()
            .child(&self.scenario.name)
            .child_index(self.index);
        scope.set_random(Arc::new(Random::new(seeds.number())));
        if let Some(scenario) = self.scenario.scenario() {
            scope.set_field("session", "id", self.name());
            scope.set_field("session", "index", number(self.index));
            scope.set_field("session", "virtual_user", number(virtual_user));
            for (feed, row) in self.run.facts.rows(scenario, self.index) {
                scope.set_field("feed", feed.to_owned(), row);
            }
        }
    }

    /// `SCENARIO/INDEX`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.scenario.name, self.index)
    }

    async fn clean_up(&self, scope: &mut Scope<'_>) {
        let stages = self.scenario.cleanup();
        if stages.is_empty() {
            return;
        }
        let failed_before = self.failed.replace(false);
        let started = Instant::now();
        let bound = cleanup_bound(stages);
        let cleaning = self.stages(stages, scope, self.trace.root());
        let error = match timeout(bound, cleaning).await {
            Ok(Ok(())) if !self.failed.get() => None,
            Ok(Ok(())) => Some("a stage of it failed".to_owned()),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("not done within {bound:?}")),
        };
        self.failed.set(failed_before);
        if let Some(error) = error {
            let recorder = &self.run.recorder;
            let scenario = ("scenario", &*self.scenario.name);
            recorder.count(
                recorder.counter(MetricId::CleanupFailed, &[scenario]),
                started,
                1,
            );
            self.find(
                "cleanup_failed",
                Severity::Warning,
                "",
                &format!("cleanup failed: {error}"),
                "",
            );
        }
    }

    /// Reports a finding of the session, masked and bounded.
    pub(super) fn find(
        &self,
        code: &'static str,
        severity: Severity,
        stage: &str,
        message: &str,
        detail: &str,
    ) {
        let found = Found {
            message,
            detail,
            screenshot: None,
        };
        self.find_all(code, severity, stage, found);
    }

    /// Reports a finding of the session, masked and bounded, with all that belongs to it.
    pub(super) fn find_all(
        &self,
        code: &'static str,
        severity: Severity,
        stage: &str,
        found: Found<'_>,
    ) {
        let masked =
            |text: &str, limit| bounded(self.run.facts.secrets.mask(text).into_owned(), limit);
        let key = FindingKey {
            severity,
            code,
            scenario: self.scenario.name.to_string(),
            stage: stage.to_owned(),
        };
        self.run.recorder.finding(Finding {
            key,
            message: masked(found.message, limits::FINDING_MESSAGE),
            count: 1,
            session: self.name(),
            trace_id: self.trace.trace_id(),
            at_ns: self.run.recorder.clock().nanos(Instant::now()),
            detail: masked(found.detail, limits::FINDING_DETAIL),
            screenshot: found.screenshot,
        });
    }

    /// What the session saved, without what every session has.
    fn saves(&self, scope: Scope<'_>) -> serde_json::Map<String, serde_json::Value> {
        let into = self.scenario.saves_into();
        let fields = scope
            .into_fields()
            .into_iter()
            .filter(|field| field.of == into);
        fields
            .map(|field| (field.name.into_owned(), field.value.to_json()))
            .collect()
    }

    /// The slowest sessions and the trace.
    fn tell(self, start: &SessionStart, ending: Ending, started: Instant, ended: Instant) {
        let recorder = &self.run.recorder;
        let duration = ended - started;
        let slow = self.scenario.scenario().is_some() && recorder.is_slow(duration);
        if slow {
            recorder.slow(SlowSession {
                session: self.name(),
                trace_id: self.trace.trace_id(),
                duration_ns: nanos(duration),
                stages: self.trace.stages(),
            });
        }
        let span = SessionSpan {
            scenario: &self.scenario.name,
            index: start.index,
            virtual_user: start.virtual_user,
            started,
            ended,
            outcome: ending.as_str(),
        };
        let lost = self.run.tracer.end(
            self.trace,
            &span,
            TraceEnding {
                failed: ending == Ending::Failed,
                slow,
            },
        );
        recorder.loss("spans", lost);
    }

    /// Runs stages one after another, until one fails.
    pub(super) async fn stages(
        &self,
        stages: &[Stage],
        scope: &mut Scope<'_>,
        parent: SpanId,
    ) -> Result<(), StageError> {
        for stage in stages {
            // A future of a stage may hold a group, which holds stages.
            Box::pin(self.stage(stage, scope, parent)).await?;
        }
        Ok(())
    }
}

/// Its stages' own time-outs, and some for those that have none: cleanup ends, whatever the server does.
fn cleanup_bound(stages: &[Stage]) -> Duration {
    let stages = stages
        .iter()
        .map(|stage| stage.timeout.unwrap_or(limits::CLEANUP_STAGE));
    stages.fold(limits::CLEANUP_SLACK, Duration::saturating_add)
}

/// Cuts a text at a character's border.
pub(super) fn bounded(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push('…');
    }
    text
}

/// The failure of a testmesh that contradicts itself.
pub(super) fn defect(message: impl Into<String>) -> StageError {
    StageError::new(ErrorKind::Internal, message)
}
