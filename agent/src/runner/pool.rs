//! The sessions of one scenario that are in flight on one worker, and their ledger.
//!
//! Every session that starts here ends here, whatever becomes of it: one that panics is a failure of testmesh and counts as
//! failed.

use std::collections::HashMap;
use std::rc::Rc;

use testmesh_shared::load::{Freed, Planned};
use testmesh_shared::metric::MetricId;
use testmesh_shared::plan::ErrorKind;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::context::{RunContext, ScenarioContext};
use super::session::{self, Ending, SessionEnd, SessionStart};
use crate::driver::Connections;
use crate::recorder::{CounterId, Finding, FindingKey, GaugeId, Recorder, Severity, TrendId};

/// The series of a scenario's sessions.
#[derive(Debug)]
struct SessionSeries {
    planned: CounterId,
    started: CounterId,
    passed: CounterId,
    failed: CounterId,
    dropped: CounterId,
    interrupted: CounterId,
    unstarted: CounterId,
    active: GaugeId,
    duration: TrendId,
    response: TrendId,
    lag: TrendId,
}

impl SessionSeries {
    fn new(recorder: &Recorder, scenario: &str) -> Self {
        let labels = [("scenario", scenario)];
        let counter = |name| recorder.counter(name, &labels);
        let trend = |name| recorder.trend(name, &labels);
        Self {
            planned: counter(MetricId::SessionsPlanned),
            started: counter(MetricId::SessionsStarted),
            passed: counter(MetricId::SessionsPassed),
            failed: counter(MetricId::SessionsFailed),
            dropped: counter(MetricId::SessionsDropped),
            interrupted: counter(MetricId::SessionsInterrupted),
            unstarted: counter(MetricId::SessionsUnstarted),
            active: recorder.gauge(MetricId::SessionsActive, &labels),
            duration: trend(MetricId::SessionDuration),
            response: trend(MetricId::SessionResponse),
            lag: trend(MetricId::ScheduleLag),
        }
    }
}

/// A session in flight.
#[derive(Debug)]
struct InFlight {
    planned: Planned,
    planned_at: Instant,
    started: Instant,
}

/// The sessions of one scenario on one worker.
#[derive(Debug)]
pub struct SessionPool {
    run: Rc<RunContext>,
    scenario: Rc<ScenarioContext>,
    series: SessionSeries,
    /// How many were promised beforehand; none: planned means started.
    promised: Option<u64>,
    /// Started or dropped.
    due: u64,
    begun: Instant,
    users: HashMap<u64, Connections>,
    running: JoinSet<SessionEnd>,
    in_flight: HashMap<Id, InFlight>,
    interrupt: CancellationToken,
}

impl SessionPool {
    /// An empty pool for a scenario that promises so many sessions.
    pub fn new(
        run: &Rc<RunContext>,
        scenario: &Rc<ScenarioContext>,
        promised: Option<u64>,
    ) -> Self {
        let series = SessionSeries::new(&run.recorder, &scenario.name);
        if let Some(promised) = promised {
            run.recorder.count(series.planned, Instant::now(), promised);
        }
        Self {
            run: Rc::clone(run),
            scenario: Rc::clone(scenario),
            series,
            promised,
            due: 0,
            begun: Instant::now(),
            users: HashMap::new(),
            running: JoinSet::new(),
            in_flight: HashMap::new(),
            interrupt: CancellationToken::new(),
        }
    }

    /// Whether no session is in flight.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The scenario begins: planned times count from now.
    pub fn begin(&mut self, at: Instant) {
        self.begun = at;
    }

    /// When the scenario began.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// A session was due, and there was no place for it.
    pub fn drop_one(&mut self) {
        let now = Instant::now();
        let (recorder, series) = (&self.run.recorder, &self.series);
        if self.promised.is_none() {
            recorder.count(series.planned, now, 1);
        }
        recorder.count(series.dropped, now, 1);
        self.due += 1;
    }

    /// Starts a session that is due.
    pub fn start(&mut self, planned: Planned) {
        let now = Instant::now();
        let planned_at = self.begun + planned.at;
        let (recorder, series) = (&self.run.recorder, &self.series);
        if self.promised.is_none() {
            recorder.count(series.planned, now, 1);
        }
        recorder.count(series.started, now, 1);
        recorder.observe(series.lag, now, now.saturating_duration_since(planned_at));
        recorder.open(series.active, now);
        recorder.started(&self.scenario.name);
        self.due += 1;
        let user = planned.virtual_user;
        let connections = self
            .users
            .entry(user)
            .or_insert_with(|| self.run.connections.for_virtual_user());
        let start = SessionStart {
            index: planned.index,
            virtual_user: user,
            connections: connections.clone(),
        };
        let session = session::run(
            Rc::clone(&self.run),
            Rc::clone(&self.scenario),
            start,
            self.interrupt.child_token(),
        );
        let task = self.running.spawn_local(session);
        self.in_flight.insert(
            task.id(),
            InFlight {
                planned,
                planned_at,
                started: now,
            },
        );
    }

    /// Waits for a session to end and does its books; none if no session is in flight. Cancel safe.
    pub async fn ended(&mut self) -> Option<Freed> {
        let ended = self.running.join_next_with_id().await?;
        Some(self.book(ended))
    }

    /// Cuts every session in flight; their cleanup still runs.
    pub fn interrupt(&self) {
        self.interrupt.cancel();
    }

    /// No session will start any more: what was promised and did not start is said so.
    pub fn close(&self) {
        let unstarted = self
            .promised
            .map_or(0, |promised| promised.saturating_sub(self.due));
        self.run
            .recorder
            .count(self.series.unstarted, Instant::now(), unstarted);
    }

    fn book(&mut self, ended: Result<(Id, SessionEnd), JoinError>) -> Freed {
        let now = Instant::now();
        let (id, ending, last_stage_ended) = match ended {
            Ok((id, end)) => (id, end.ending, end.ended),
            Err(error) => {
                self.panicked(&error);
                (error.id(), Ending::Failed, now)
            }
        };
        let flight = self
            .in_flight
            .remove(&id)
            .expect("every task of the pool is in flight until it is booked");
        let (recorder, series) = (&self.run.recorder, &self.series);
        let counter = match ending {
            Ending::Passed => series.passed,
            Ending::Failed => series.failed,
            Ending::Interrupted => series.interrupted,
        };
        recorder.count(counter, flight.started, 1);
        recorder.observe(
            series.duration,
            flight.started,
            last_stage_ended - flight.started,
        );
        recorder.observe(
            series.response,
            flight.started,
            last_stage_ended.saturating_duration_since(flight.planned_at),
        );
        if ending == Ending::Passed {
            let watched = &self.run.watched;
            watched.session_passed(&self.scenario.name, flight.started, last_stage_ended);
        }
        recorder.close(series.active, now);
        recorder.ended(&self.scenario.name);
        let since = |at: Instant| at.saturating_duration_since(self.begun);
        Freed {
            virtual_user: flight.planned.virtual_user,
            started: since(flight.started),
            ended: since(now),
            failed: ending == Ending::Failed,
        }
    }

    fn panicked(&self, error: &JoinError) {
        tracing::error!(scenario = %self.scenario.name, %error, "a session panicked");
        self.run.recorder.finding(Finding {
            key: FindingKey {
                severity: Severity::Error,
                code: ErrorKind::Internal.as_str(),
                scenario: self.scenario.name.to_string(),
                stage: String::new(),
            },
            message: format!("a session panicked, which is a defect of testmesh: {error}"),
            count: 1,
            session: String::new(),
            trace_id: String::new(),
            at_ns: self.run.recorder.clock().nanos(Instant::now()),
            detail: String::new(),
            screenshot: None,
        });
    }
}
