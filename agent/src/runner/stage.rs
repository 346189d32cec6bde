//! One stage of a session: when it runs, how often it is tried, what its results must be, and what is recorded of it.
//!
//! Time-outs and cancelled siblings drop futures, so what must be recorded in any case is recorded by [`Running`] when it is
//! dropped.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::SpanId;
use testmesh_shared::plan::expr::{EvalError, Field, Scope};
use testmesh_shared::plan::{Action, ErrorKind, OnFailure, Stage};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::during::{DuringStages, Left};
use super::results;
use super::retry;
use super::session::{Found, Session, bounded, defect};
use super::trace::StageSpan;
use super::transcript::Teller;
use crate::driver::transcript::Listener;
use crate::driver::{Attempt, Drives, During, Evidence, Results, StageError};
use crate::limits;
use crate::recorder::{Outcome, Severity, StageMeter, StageNotes, StageSeries};

/// How one try came out.
enum Try {
    Passed(Vec<Field>),
    /// `until` does not hold yet, and why.
    NotYet(StageError),
    Failed(StageError),
    /// A stage beside it failed, and cut it: no fault of its own, and nothing to try again.
    Cut(StageError),
}

/// What a driver gave, and what stages beside it saved.
type Done = (Results, Vec<Field>);

/// Whether a stage is not passed over.
pub(super) fn applies(stage: &Stage, scope: &Scope<'_>) -> Result<bool, EvalError> {
    stage
        .when
        .as_ref()
        .map_or(Ok(true), |when| when.holds(scope))
}

impl Session<'_> {
    /// Runs one stage, unless it is passed over.
    pub(super) async fn stage(
        &self,
        stage: &Stage,
        scope: &mut Scope<'_>,
        parent: SpanId,
    ) -> Result<(), StageError> {
        match applies(stage, scope) {
            Ok(false) => Ok(()),
            applies => self.run_stage(stage, applies, scope, parent).await,
        }
    }

    /// Runs a stage that is not passed over, or that fails because nobody can tell.
    pub(super) async fn run_stage(
        &self,
        stage: &Stage,
        applies: Result<bool, EvalError>,
        scope: &mut Scope<'_>,
        parent: SpanId,
    ) -> Result<(), StageError> {
        let running = Running::begin(self, stage, parent);
        let tries = async {
            applies.map_err(|error| {
                StageError::new(ErrorKind::Expectation, format!("when {error}"))
            })?;
            self.tries(stage, scope, &running).await
        };
        let result = match stage.timeout {
            None => tries.await,
            Some(limit) => timeout(limit, tries)
                .await
                .unwrap_or_else(|_| Err(running.timed_out(limit))),
        };
        running.over(&result);
        if result.is_ok() {
            let watched = &self.run.watched;
            watched.stage_passed(&self.scenario.name, &stage.name);
        }
        // The groups around it need not tell it again.
        let result = result.map_err(StageError::told);
        match (result, stage.on_failure) {
            (Err(_), OnFailure::Continue) => {
                self.failed.set(true);
                Ok(())
            }
            (result, _) => result,
        }
    }

    /// Tries, polls and tries again, as the plan says.
    async fn tries(
        &self,
        stage: &Stage,
        scope: &mut Scope<'_>,
        running: &Running<'_>,
    ) -> Result<(), StageError> {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            match self.attempt(stage, scope, running).await {
                Try::Passed(saved) => {
                    scope.absorb(saved);
                    return Ok(());
                }
                Try::NotYet(reason) => {
                    running.polled(reason);
                    let every = stage
                        .until
                        .as_ref()
                        .map_or(Duration::ZERO, |until| until.every);
                    sleep_until(began + every).await;
                }
                Try::Cut(cause) => return Err(cause),
                Try::Failed(error) => {
                    failures += 1;
                    match &stage.retry {
                        Some(retry)
                            if failures < retry.attempts && retry::applies(retry, &error) =>
                        {
                            running.retried(error);
                            sleep(retry.backoff).await;
                        }
                        _ => return Err(error),
                    }
                }
            }
        }
    }

    /// One try: the action, then what the plan says about its results.
    async fn attempt(&self, stage: &Stage, scope: &mut Scope<'_>, running: &Running<'_>) -> Try {
        let began = running.try_begins();
        let meter = StageMeter::new(&running.series, running.started, &running.notes);
        let act = self.act(stage, scope, &meter, running);
        let done = match stage.attempt_timeout {
            None => act.await,
            Some(limit) => timeout(limit, act).await.unwrap_or_else(|_| {
                Err(StageError::new(
                    ErrorKind::Timeout,
                    format!("no answer within {limit:?} (attempt_timeout)"),
                ))
            }),
        };
        let took = began.elapsed();
        let outcome = match done {
            Ok(done) => judge(stage, scope, done, took, self.scenario.saves_into()),
            Err(cause) if running.cut.get() => Try::Cut(cause),
            Err(error) if stage.until.is_some() && retry::is_transport(error.kind) => {
                Try::NotYet(error)
            }
            Err(error) => Try::Failed(error),
        };
        let kind = match &outcome {
            Try::Passed(_) => None,
            Try::Cut(_) => Some(ErrorKind::Cancelled),
            // A poll that got its answer has done its work.
            Try::NotYet(error) | Try::Failed(error) => Some(error.kind)
                .filter(|kind| matches!(outcome, Try::Failed(_)) || retry::is_transport(*kind)),
        };
        meter.end(kind);
        running.try_ends(kind);
        match (&outcome, self.teller(stage)) {
            (Try::NotYet(error), Some(teller)) => teller.failed("not yet:", error),
            (Try::Failed(error), Some(teller)) => teller.failed("try failed:", error),
            _ => {}
        }
        outcome
    }

    /// Who tells what the stage asks and is told, if anybody listens.
    fn teller<'s>(&'s self, stage: &'s Stage) -> Option<Teller<'s>> {
        let transcript = self.run.facts.transcript.as_ref()?;
        Some(Teller {
            transcript,
            secrets: &self.run.facts.secrets,
            session: self.name(),
            stage: &stage.name,
        })
    }

    /// What the stage does, once.
    async fn act(
        &self,
        stage: &Stage,
        scope: &mut Scope<'_>,
        meter: &StageMeter,
        running: &Running<'_>,
    ) -> Result<Done, StageError> {
        let done = |()| (Results::default(), Vec::new());
        match &stage.action {
            Action::Drive {
                form,
                stage: drives,
                during,
            } => {
                let driver = drives.as_any().downcast_ref::<Drives>();
                let driver =
                    driver.ok_or_else(|| defect(format!("`{form}` was read but cannot be run")))?;
                let during = DuringStages::new(self, during, scope, running.span);
                let teller = self.teller(stage);
                let attempt = Attempt {
                    deadline: running.deadline(),
                    stage,
                    scope,
                    connections: &self.connections,
                    meter,
                    traceparent: &running.traceparent,
                    session: self.index,
                    run_started: self.run_started,
                    clock: &self.run.clock,
                    truths: &self.run.facts.truths,
                    during: during.as_ref().map(|during| during as &dyn During),
                    listener: teller.as_ref().map(|teller| teller as &dyn Listener),
                };
                let result = driver.0.run(&attempt).await;
                match during.map(DuringStages::end) {
                    None => Ok((result?, Vec::new())),
                    Some(left) => running.beside(result, left),
                }
            }
            Action::Repeat(repeat) => self.repeat(repeat, scope, running.span).await.map(done),
            Action::Parallel(branches) => {
                self.parallel(branches, scope, running.span).await.map(done)
            }
            other => Err(defect(format!("this build cannot run {other:?}"))),
        }
    }
}

/// Holds the results of a try against the stage's expressions, and evaluates what it saves.
fn judge(
    stage: &Stage,
    scope: &Scope<'_>,
    (results, saved): Done,
    took: Duration,
    saves_into: &'static str,
) -> Try {
    let failed = |message: String| {
        let error =
            StageError::new(ErrorKind::Expectation, message).with_evidence(results.evidence());
        match results.status {
            Some(status) => error.with_status(status),
            None => error,
        }
    };
    if let Some(failure) = results.failure.as_ref().filter(|_| !stage.reads_status) {
        let failure = failure.clone().with_evidence(results.evidence());
        // A server that says that it is not there is no more an answer than one that is not.
        return if stage.until.is_some() && retry::is_transport(failure.kind) {
            Try::NotYet(failure)
        } else {
            Try::Failed(failure)
        };
    }
    let mut layer = Scope::over(scope);
    layer.absorb(saved);
    results::bind(&mut layer, stage, &results, took);
    if let Some(until) = &stage.until {
        match until.expr.holds(&layer) {
            Ok(true) => {}
            Ok(false) => {
                return Try::NotYet(failed(format!(
                    "`{}` was not yet true",
                    until.expr.source()
                )));
            }
            // A server that is coming up may well answer something else first.
            Err(error) => return Try::NotYet(failed(format!("until {error}"))),
        }
    }
    for expect in &stage.expect {
        match expect.holds(&layer) {
            Ok(true) => {}
            Ok(false) => return Try::Failed(failed(format!("`{}` is false", expect.source()))),
            Err(error) => return Try::Failed(failed(format!("expect {error}"))),
        }
    }
    for (name, save) in &stage.save {
        match save.evaluate(&layer) {
            Ok(value) => layer.set_field(saves_into, name.clone(), value),
            Err(error) => return Try::Failed(failed(format!("save {name}: {error}"))),
        }
    }
    Try::Passed(layer.into_fields())
}

/// A stage that runs. Whatever becomes of its future, it is recorded once.
pub(super) struct Running<'s> {
    session: &'s Session<'s>,
    stage: &'s Stage,
    series: Rc<StageSeries>,
    started: Instant,
    pub(super) span: SpanId,
    parent: SpanId,
    traceparent: String,
    tries: Cell<u64>,
    trying_since: Cell<Option<Instant>>,
    /// What the last try that did not end the stage said.
    last: RefCell<Option<StageError>>,
    ended: Cell<bool>,
    /// A stage beside it failed.
    cut: Cell<bool>,
    notes: Rc<StageNotes>,
}

impl<'s> Running<'s> {
    fn begin(session: &'s Session<'_>, stage: &'s Stage, parent: SpanId) -> Self {
        let span = session.trace.begin();
        Self {
            session,
            stage,
            series: session.run.series(&session.scenario.name, stage),
            started: Instant::now(),
            span,
            parent,
            traceparent: session
                .trace
                .traceparent(span, session.run.tracer.sampled()),
            tries: Cell::new(0),
            trying_since: Cell::new(None),
            last: RefCell::new(None),
            ended: Cell::new(false),
            cut: Cell::new(false),
            notes: StageNotes::new(&session.view),
        }
    }

    /// When the try will be cut, by its own time-out or that of the stage.
    fn deadline(&self) -> Option<Instant> {
        let stage = self.stage.timeout.map(|limit| self.started + limit);
        let began = self.trying_since.get().unwrap_or(self.started);
        let attempt = self.stage.attempt_timeout.map(|limit| began + limit);
        [stage, attempt].into_iter().flatten().min()
    }

    fn try_begins(&self) -> Instant {
        let now = Instant::now();
        self.tries.set(self.tries.get() + 1);
        self.trying_since.set(Some(now));
        now
    }

    fn try_ends(&self, outcome: Outcome) {
        if let Some(since) = self.trying_since.take() {
            self.series.attempt(self.started, since.elapsed(), outcome);
        }
    }

    fn polled(&self, reason: StageError) {
        self.series.polled(self.started);
        self.last.replace(Some(reason));
    }

    fn retried(&self, error: StageError) {
        self.series.retried(self.started);
        self.last.replace(Some(error));
    }

    /// The stage's time-out elapsed; the last try says why it was not done.
    fn timed_out(&self, limit: Duration) -> StageError {
        match self.last.take() {
            None => StageError::new(ErrorKind::Timeout, format!("not done within {limit:?}")),
            Some(last) => StageError {
                kind: ErrorKind::Timeout,
                code: None,
                message: format!("not done within {limit:?}; at last: {}", last.message),
                ..last
            },
        }
    }

    /// What comes of a stream and the stages beside it: a failure of those comes first, for it cut the stream.
    fn beside(&self, result: Result<Results, StageError>, left: Left) -> Result<Done, StageError> {
        if let Some(cause) = left.failure {
            self.cut.set(true);
            return Err(cause);
        }
        let results = result?;
        if let Some(cut) = left.cut {
            let stage = &self.stage.name;
            let message = format!(
                "stage `{stage}`: its stream was over before its `during` had run: {cut} (`stop: {{ after: during }}` waits)"
            );
            self.session
                .find("during_cut", Severity::Warning, stage, &message, "");
        }
        Ok((results, left.saved))
    }

    /// The stage is over. One that was cut is recorded when this is dropped.
    fn over(self, result: &Result<(), StageError>) {
        if !self.cut.get() {
            self.end(result);
        }
    }

    fn end(&self, result: &Result<(), StageError>) {
        self.ended.set(true);
        let error = result.as_ref().err();
        let outcome = error.map(|error| error.kind);
        self.try_ends(outcome);
        self.series
            .duration(self.started, self.started.elapsed(), outcome);
        // A group that fails because of a stage in it has nothing to add: that stage has been counted and told.
        if let Some(error) = error.filter(|error| !error.told) {
            if let Some(teller) = self.session.teller(self.stage) {
                teller.failed("failed:", error);
            }
            self.series.error(self.started, error.kind);
            self.tell(error);
        }
        self.tell_faults();
        self.close_span(outcome, error);
    }

    /// What is wrong with the data is told whatever became of the stage, which may well have passed.
    fn tell_faults(&self) {
        for fault in self.notes.take_faults() {
            let stage = &self.stage.name;
            let message = format!("stage `{stage}`: {}", fault.message);
            self.session.trace.keep();
            self.session
                .find(fault.code, Severity::Error, stage, &message, "");
        }
        for note in self.notes.take_notes() {
            let stage = &self.stage.name;
            let found = Found {
                message: &format!("stage `{stage}`: {}", note.message),
                detail: "",
                screenshot: note.screenshot,
            };
            self.session
                .find_all(note.code, note.severity, stage, found);
        }
    }

    fn tell(&self, error: &StageError) {
        let code = error.code.unwrap_or(error.kind.as_str());
        let message = format!("stage `{}`: {error}", self.stage.name);
        let detail = error.evidence.as_deref().map(show).unwrap_or_default();
        let found = Found {
            message: &message,
            detail: &detail,
            screenshot: error.screenshot.clone(),
        };
        self.session
            .find_all(code, Severity::Error, &self.stage.name, found);
    }

    fn close_span(&self, outcome: Outcome, error: Option<&StageError>) {
        let mask = |error: &StageError| {
            self.session
                .run
                .facts
                .secrets
                .mask(&error.to_string())
                .into_owned()
        };
        self.session.trace.ended(StageSpan {
            id: self.span,
            parent: self.parent,
            stage: Arc::clone(self.series.stage()),
            started: self.started,
            ended: Instant::now(),
            outcome,
            error: error.map(|error| bounded(mask(error), limits::FINDING_MESSAGE)),
            tries: self.tries.get(),
        });
    }
}

impl Drop for Running<'_> {
    /// Cut by a stop, by an enclosing time-out, or because a sibling failed: counted as such, and no cause of anything.
    fn drop(&mut self) {
        if self.ended.get() {
            return;
        }
        let cancelled = Some(ErrorKind::Cancelled);
        self.try_ends(cancelled);
        self.series
            .duration(self.started, self.started.elapsed(), cancelled);
        self.series.error(self.started, ErrorKind::Cancelled);
        self.tell_faults();
        self.close_span(cancelled, None);
    }
}

/// Evidence as a finding shows it.
fn show(evidence: &Evidence) -> String {
    let mut text = String::new();
    if let Some(status) = evidence.status {
        let _ = writeln!(text, "status {status}");
    }
    for (name, value) in &evidence.headers {
        let _ = writeln!(text, "{name}: {value}");
    }
    if !evidence.body.is_empty() {
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(&evidence.body));
    }
    text
}
