//! What a driver measures one attempt of a stage with: [`StageMeter`], the recorder's side of the drivers' contract.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use testmesh_shared::metric::{LOOP_LAG_EVERY, MetricId};
use testmesh_shared::plan::ErrorKind;
use tokio::time::Instant;

use super::catalog::{CounterId, GaugeId, TrendId};
use super::recording::Recorder;
use super::witness::{GroupKey, NoRoom, RowWitness, SeenStream, SessionView};
use crate::driver::{DataFault, Meter, Note, RowCounts, RowKey};
use crate::limits;

/// How a stage or one try of it came out; none: it passed.
pub type Outcome = Option<ErrorKind>;

/// The word of an outcome in labels and reports.
pub fn outcome_word(outcome: Outcome) -> &'static str {
    outcome.map_or("passed", ErrorKind::as_str)
}

/// The series of one stage on one worker, each resolved when it is first needed. Shared by all sessions of the worker.
#[derive(Debug)]
pub struct StageSeries {
    recorder: Recorder,
    scenario: Arc<str>,
    stage: Arc<str>,
    stream: OnceCell<StreamSeries>,
    integrity: OnceCell<[CounterId; 7]>,
    durations: ByOutcome<TrendId>,
    attempts: ByOutcome<TrendId>,
    connects: ByOutcome<TrendId>,
    first_bytes: ByOutcome<TrendId>,
    errors: ByOutcome<CounterId>,
    retries: Cell<Option<CounterId>>,
    polls: Cell<Option<CounterId>>,
    statuses: RefCell<HashMap<i64, CounterId>>,
}

/// One series for each way in which a stage can end.
type ByOutcome<T> = [Cell<Option<T>>; ErrorKind::ALL.len() + 1];

fn slot<T>(of: &ByOutcome<T>, outcome: Outcome) -> &Cell<Option<T>> {
    &of[outcome.map_or(0, |kind| kind as usize + 1)]
}

/// The series that every stream of a stage needs.
#[derive(Debug)]
struct StreamSeries {
    open: GaugeId,
    first_message: TrendId,
    gap: TrendId,
    stall: TrendId,
    latency: TrendId,
    duration: TrendId,
    messages: CounterId,
    rows: CounterId,
    bytes: CounterId,
}

impl StageSeries {
    /// The series of a stage.
    pub fn new(recorder: &Recorder, scenario: &Arc<str>, stage: &Arc<str>) -> Rc<Self> {
        Rc::new(Self {
            recorder: recorder.clone(),
            scenario: Arc::clone(scenario),
            stage: Arc::clone(stage),
            stream: OnceCell::new(),
            integrity: OnceCell::new(),
            durations: Default::default(),
            attempts: Default::default(),
            connects: Default::default(),
            first_bytes: Default::default(),
            errors: Default::default(),
            retries: Cell::default(),
            polls: Cell::default(),
            statuses: RefCell::default(),
        })
    }

    /// The stage's name.
    pub fn stage(&self) -> &Arc<str> {
        &self.stage
    }

    /// The stage, with its retries and polls, took so long: `stage_duration`.
    pub fn duration(&self, started: Instant, took: Duration, outcome: Outcome) {
        self.trend(
            &self.durations,
            MetricId::StageDuration,
            started,
            took,
            outcome,
        );
    }

    /// One try took so long: `stage_attempt`.
    pub fn attempt(&self, started: Instant, took: Duration, outcome: Outcome) {
        self.trend(
            &self.attempts,
            MetricId::StageAttempt,
            started,
            took,
            outcome,
        );
    }

    /// The stage failed: `stage_errors`.
    pub fn error(&self, started: Instant, kind: ErrorKind) {
        let cell = slot(&self.errors, Some(kind));
        let id = cell.get().unwrap_or_else(|| {
            let [scenario, stage] = self.labels();
            self.recorder.counter(
                MetricId::StageErrors,
                &[scenario, stage, ("error", kind.as_str())],
            )
        });
        cell.set(Some(id));
        self.recorder.count(id, started, 1);
    }

    /// Tries after the first: `stage_retries`.
    pub fn retried(&self, started: Instant) {
        self.plain(&self.retries, MetricId::StageRetries, started);
    }

    /// Tries that were not there yet: `stage_polls`.
    pub fn polled(&self, started: Instant) {
        self.plain(&self.polls, MetricId::StagePolls, started);
    }

    fn labels(&self) -> [(&'static str, &str); 2] {
        [("scenario", &self.scenario), ("stage", &self.stage)]
    }

    fn plain(&self, cell: &Cell<Option<CounterId>>, metric: MetricId, started: Instant) {
        let id = cell
            .get()
            .unwrap_or_else(|| self.recorder.counter(metric, &self.labels()));
        cell.set(Some(id));
        self.recorder.count(id, started, 1);
    }

    fn trend(
        &self,
        of: &ByOutcome<TrendId>,
        metric: MetricId,
        started: Instant,
        took: Duration,
        outcome: Outcome,
    ) {
        let cell = slot(of, outcome);
        let id = cell.get().unwrap_or_else(|| {
            let [scenario, stage] = self.labels();
            self.recorder.trend(
                metric,
                &[scenario, stage, ("outcome", outcome_word(outcome))],
            )
        });
        cell.set(Some(id));
        self.recorder.observe(id, started, took);
    }

    /// Statuses come from the server under test, so their number is bounded; the rest count as `other`.
    fn status(&self, started: Instant, status: i64) {
        let mut known = self.statuses.borrow_mut();
        let id = known.get(&status).copied().unwrap_or_else(|| {
            let [scenario, stage] = self.labels();
            if known.len() >= limits::STATUSES {
                return self.recorder.counter(
                    MetricId::StageStatus,
                    &[scenario, stage, ("status", "other")],
                );
            }
            let id = self.recorder.counter(
                MetricId::StageStatus,
                &[scenario, stage, ("status", &status.to_string())],
            );
            known.insert(status, id);
            id
        });
        self.recorder.count(id, started, 1);
    }

    fn stream(&self) -> &StreamSeries {
        self.stream.get_or_init(|| {
            let labels = self.labels();
            let trend = |name| self.recorder.trend(name, &labels);
            let counter = |name| self.recorder.counter(name, &labels);
            StreamSeries {
                open: self.recorder.gauge(MetricId::StreamsOpen, &labels[..1]),
                first_message: trend(MetricId::StreamFirstMessage),
                gap: trend(MetricId::StreamGap),
                stall: trend(MetricId::StreamStall),
                latency: trend(MetricId::StreamLatency),
                duration: trend(MetricId::StreamDuration),
                messages: counter(MetricId::StreamMessages),
                rows: counter(MetricId::StreamRows),
                bytes: counter(MetricId::StreamBytes),
            }
        })
    }

    fn integrity(&self) -> &[CounterId; 7] {
        self.integrity.get_or_init(|| {
            let labels = self.labels();
            [
                MetricId::IntegrityVerified,
                MetricId::IntegrityMissing,
                MetricId::IntegrityRepeated,
                MetricId::IntegrityReordered,
                MetricId::IntegrityMismatched,
                MetricId::IntegrityUnwitnessed,
                MetricId::IntegrityUnverified,
            ]
            .map(|metric| self.recorder.counter(metric, &labels))
        })
    }
}

/// What the tries of one stage leave with its session: what it has seen already, and what was wrong with the data.
#[derive(Debug, Default)]
pub struct StageNotes {
    view: Rc<SessionView>,
    faults: RefCell<Vec<DataFault>>,
    notes: RefCell<Vec<Note>>,
}

impl StageNotes {
    /// Notes of a stage in a session that has this view.
    pub fn new(view: &Rc<SessionView>) -> Rc<Self> {
        Rc::new(Self {
            view: Rc::clone(view),
            faults: RefCell::default(),
            notes: RefCell::default(),
        })
    }

    /// Takes what was wrong with the data so far.
    pub fn take_faults(&self) -> Vec<DataFault> {
        self.faults.take()
    }

    /// Takes what drivers noticed so far.
    pub fn take_notes(&self) -> Vec<Note> {
        self.notes.take()
    }
}

/// A group, and where its rows are reported.
type Watched = (Rc<str>, Result<RowWitness, NoRoom>);

/// What a driver measures one try of a stage with. Never leaves its thread.
///
/// Everything is kept at the second in which the stage started, except messages, which are kept where they arrived.
#[derive(Debug)]
pub struct StageMeter {
    series: Rc<StageSeries>,
    /// When the stage started, not the try.
    started: Instant,
    connect: Cell<Option<Duration>>,
    first_byte: Cell<Option<Duration>>,
    /// The group that rows were last reported for: a stream has one.
    group: RefCell<Option<Watched>>,
    notes: Rc<StageNotes>,
}

impl StageMeter {
    /// A meter for one try of a stage that started at `started`.
    pub fn new(series: &Rc<StageSeries>, started: Instant, notes: &Rc<StageNotes>) -> Self {
        Self {
            series: Rc::clone(series),
            started,
            connect: Cell::new(None),
            first_byte: Cell::new(None),
            group: RefCell::new(None),
            notes: Rc::clone(notes),
        }
    }

    /// A meter that belongs to no run, for tests; read it with `recorder().cut(now)`.
    pub fn detached(scenario: &str, stage: &str) -> Self {
        let series = StageSeries::new(
            &Recorder::detached(),
            &Arc::from(scenario),
            &Arc::from(stage),
        );
        Self::new(&series, Instant::now(), &Rc::default())
    }

    /// The worker's recorder.
    pub fn recorder(&self) -> &Recorder {
        &self.series.recorder
    }

    /// The try has ended so: what was measured before is recorded with that outcome.
    pub fn end(&self, outcome: Outcome) {
        let series = &self.series;
        if let Some(took) = self.connect.take() {
            series.trend(
                &series.connects,
                MetricId::StageConnect,
                self.started,
                took,
                outcome,
            );
        }
        if let Some(took) = self.first_byte.take() {
            series.trend(
                &series.first_bytes,
                MetricId::StageFirstByte,
                self.started,
                took,
                outcome,
            );
        }
    }

    /// Rows that there is no room for cannot be compared.
    fn no_room(&self, rows: u64) {
        self.integrity(&RowCounts {
            unverified: rows,
            ..RowCounts::default()
        });
        self.loss("witnesses", rows);
    }

    fn group_key(&self, group: &str) -> GroupKey {
        GroupKey {
            scenario: Arc::clone(&self.series.scenario),
            stage: Arc::clone(&self.series.stage),
            group: Arc::from(group),
        }
    }
}

impl Meter for StageMeter {
    fn connect(&self, took: Duration) {
        // A redirect may need several.
        let before = self.connect.get().unwrap_or_default();
        self.connect.set(Some(before + took));
    }

    fn first_byte(&self, took: Duration) {
        self.first_byte.set(Some(took));
    }

    fn status(&self, status: i64) {
        self.series.status(self.started, status);
    }

    fn first_message(&self, at: Instant, took: Duration) {
        let series = self.series.stream();
        self.recorder().observe(series.first_message, at, took);
    }

    fn messages(&self, at: Instant, messages: u64, rows: u64, bytes: u64) {
        let series = self.series.stream();
        self.recorder().frames(|frames| {
            frames.count(series.messages, at, messages);
            frames.count(series.rows, at, rows);
            frames.count(series.bytes, at, bytes);
        });
    }

    fn gap(&self, at: Instant, gap: Duration, times: u64) {
        let series = self.series.stream();
        self.recorder()
            .frames(|frames| (0..times).for_each(|_| frames.observe(series.gap, at, gap)));
    }

    fn stall(&self, at: Instant, gap: Duration) {
        self.recorder().observe(self.series.stream().stall, at, gap);
    }

    fn latency(&self, at: Instant, latency: Duration) {
        self.recorder()
            .observe(self.series.stream().latency, at, latency);
    }

    fn stream_duration(&self, took: Duration) {
        self.recorder()
            .observe(self.series.stream().duration, self.started, took);
    }

    fn watch(&self, name: &str, at: Instant, took: Duration) {
        let [scenario, stage] = self.series.labels();
        let labels = [scenario, stage, ("watch", name)];
        let id = self.recorder().trend(MetricId::StreamWatch, &labels);
        self.recorder().observe(id, at, took);
    }

    fn stream_opened(&self, at: Instant) {
        self.recorder().open(self.series.stream().open, at);
    }

    fn stream_closed(&self, at: Instant) {
        self.recorder().close(self.series.stream().open, at);
    }

    fn integrity(&self, rows: &RowCounts) {
        let values = [
            rows.verified,
            rows.missing,
            rows.repeated,
            rows.reordered,
            rows.mismatched,
            rows.unwitnessed,
            rows.unverified,
        ];
        let ids = self.series.integrity();
        self.recorder().frames(|frames| {
            for (id, value) in ids.iter().zip(values) {
                frames.count(*id, self.started, value);
            }
        });
    }

    fn agree_row(&self, group: &Rc<str>, key: &RowKey, digest: u64, session: u64) {
        let mut held = self.group.borrow_mut();
        let witness = match &mut *held {
            Some((known, witness)) if Rc::ptr_eq(known, group) => witness,
            other => {
                let key = self.group_key(group);
                let witness = self.recorder().witness(key, session, &self.notes.view);
                &mut other.insert((Rc::clone(group), witness)).1
            }
        };
        let seen = witness.as_ref().map_err(|full| *full);
        if seen.and_then(|witness| witness.row(key, digest)).is_err() {
            self.no_room(1);
        }
    }

    fn is_short_of_room(&self) -> bool {
        self.recorder().is_short_of_room()
    }

    fn held_up(&self, took: Duration) {
        if took >= LOOP_LAG_EVERY {
            self.recorder().held_up(Instant::now(), took);
        }
    }

    fn agree_stream(&self, group: &Rc<str>, digest: u128, rows: u64, session: u64) {
        let stream = SeenStream {
            group: self.group_key(group),
            digest,
            rows,
            session,
            again: self.notes.view.has_streamed(group, digest),
        };
        if self.recorder().witness_stream(stream).is_err() {
            self.no_room(rows);
        }
    }

    fn data_fault(&self, fault: DataFault) {
        let mut faults = self.notes.faults.borrow_mut();
        if faults.len() < limits::FAULTS_OF_A_STAGE {
            faults.push(fault);
        } else {
            self.recorder().loss("findings", 1);
        }
    }

    fn note(&self, note: Note) {
        let mut notes = self.notes.notes.borrow_mut();
        if notes.len() < limits::NOTES_OF_A_STAGE {
            notes.push(note);
        } else {
            self.recorder().loss("findings", 1);
        }
    }

    fn observe(&self, metric: MetricId, at: Instant, value: Duration) {
        let id = self.recorder().trend(metric, &self.series.labels());
        self.recorder().observe(id, at, value);
    }

    fn count(&self, metric: MetricId, at: Instant, by: u64) {
        let id = self.recorder().counter(metric, &self.series.labels());
        self.recorder().count(id, at, by);
    }

    fn loss(&self, what: &'static str, count: u64) {
        self.recorder().loss(what, count);
    }
}

impl Drop for StageMeter {
    /// A try that was cut short keeps what it measured.
    fn drop(&mut self) {
        self.end(Some(ErrorKind::Cancelled));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn messages_are_kept_where_they_arrive_and_streams_count_as_open() {
        let meter = StageMeter::detached("live", "stream");
        let recorder = meter.recorder().clone();
        let start = Instant::now();
        recorder.clock().start_at(start);
        meter.stream_opened(start);
        meter.messages(start, 1, 1, 200);
        tokio::time::sleep(Duration::from_secs(2)).await;
        meter.gap(Instant::now(), Duration::from_secs(2), 1);
        meter.messages(Instant::now(), 2, 2, 400);
        let delta = recorder.cut(Instant::now());
        assert_eq!(delta.counter(&recorder, "stream_messages"), 3);
        assert_eq!(delta.counter(&recorder, "stream_bytes"), 600);
        assert_eq!(
            delta.counters.keys().map(|(second, _)| *second).max(),
            Some(2)
        );
        let open: Vec<_> = delta
            .gauges
            .iter()
            .map(|&(second, _, least)| (second, least))
            .collect();
        assert_eq!(open, [(0, 0), (1, 1)]);
        meter.stream_closed(Instant::now());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let delta = recorder.cut(Instant::now());
        let open: Vec<_> = delta
            .gauges
            .iter()
            .map(|&(second, _, least)| (second, least))
            .collect();
        assert_eq!(open, [(2, 0), (3, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn any_metric_of_a_stage_can_be_recorded() {
        let meter = StageMeter::detached("live", "stream");
        let now = Instant::now();
        meter.observe(MetricId::StageAttempt, now, Duration::from_millis(3));
        meter.count(MetricId::StageRetries, now, 2);
        let delta = meter.recorder().cut(now);
        assert_eq!(delta.observed(meter.recorder(), "stage_attempt"), 1);
        assert_eq!(delta.counter(meter.recorder(), "stage_retries"), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn rows_that_there_is_no_room_for_count_as_unverified() {
        let meter = StageMeter::detached("live", "stream");
        let group: Rc<str> = Rc::from("g");
        let fitting = limits::WITNESS_BYTES / 24;
        for row in 0..fitting as i64 + 3 {
            meter.agree_row(&group, &RowKey::Number(row), 1, 7);
        }
        for stream in 0..limits::WITNESS_STREAMS as u128 + 2 {
            meter.agree_stream(&group, stream, 10, 7);
        }
        let delta = meter.recorder().cut(Instant::now());
        assert_eq!(delta.counter(meter.recorder(), "integrity_unverified"), 23);
        assert_eq!(delta.losses["witnesses"], 23);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_invents_statuses_fills_no_catalog() {
        let meter = StageMeter::detached("s", "a");
        for status in 0..1_000 {
            meter.status(status);
        }
        let delta = meter.recorder().cut(Instant::now());
        assert_eq!(delta.counter(meter.recorder(), "stage_status"), 1_000);
        assert!(delta.counters.len() <= limits::STATUSES + 1);
    }
}
