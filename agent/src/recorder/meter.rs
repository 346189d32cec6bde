//! What a driver measures one attempt of a stage with.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::catalog::{CounterId, GaugeId, TrendId};
use super::finding::{Finding, FindingKey, Severity};
use super::recording::Recorder;
use super::stream::StreamMeter;
use super::witness::{GroupKey, RowWitness, SeenStream};

/// Counts of rows by what integrity found about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntegrityCount {
    /// Equal to the truth.
    Verified,
    /// Listed or numbered, and never seen.
    Missing,
    /// Seen more than once.
    Repeated,
    /// Seen late.
    Reordered,
    /// Different from the truth.
    Mismatched,
    /// Seen by one session only.
    Unwitnessed,
    /// Their named truth could not be read.
    Unverified,
}

impl IntegrityCount {
    /// Its metric.
    pub fn metric(self) -> &'static str {
        match self {
            Self::Verified => "integrity_verified",
            Self::Missing => "integrity_missing",
            Self::Repeated => "integrity_repeated",
            Self::Reordered => "integrity_reordered",
            Self::Mismatched => "integrity_mismatched",
            Self::Unwitnessed => "integrity_unwitnessed",
            Self::Unverified => "integrity_unverified",
        }
    }
}

/// Who measures: what findings and witnesses name.
#[derive(Debug)]
pub struct SessionTag {
    /// The scenario.
    pub scenario: Arc<str>,
    /// The session's index in its scenario.
    pub index: u64,
    /// 32 lowercase hex digits.
    pub trace_id: String,
}

impl SessionTag {
    /// `SCENARIO/INDEX`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.scenario, self.index)
    }
}

/// The series of one stage on one worker, each resolved when it is first needed. Shared by all sessions of the worker.
#[derive(Debug)]
pub struct StageSeries {
    pub(super) recorder: Recorder,
    pub(super) scenario: Arc<str>,
    pub(super) stage: Arc<str>,
    pub(super) stream: OnceCell<StreamSeries>,
    integrity: [Cell<Option<CounterId>>; 7],
}

/// The series that every stream of a stage needs.
#[derive(Debug)]
pub(super) struct StreamSeries {
    pub(super) open: GaugeId,
    pub(super) first_message: TrendId,
    pub(super) gap: TrendId,
    pub(super) stall: TrendId,
    pub(super) latency: TrendId,
    pub(super) duration: TrendId,
    pub(super) messages: CounterId,
    pub(super) rows: CounterId,
    pub(super) bytes: CounterId,
}

impl StageSeries {
    /// The series of a stage.
    pub fn new(recorder: &Recorder, scenario: &Arc<str>, stage: &Arc<str>) -> Rc<Self> {
        Rc::new(Self {
            recorder: recorder.clone(),
            scenario: Arc::clone(scenario),
            stage: Arc::clone(stage),
            stream: OnceCell::new(),
            integrity: Default::default(),
        })
    }

    pub(super) fn labels(&self) -> [(&'static str, &str); 2] {
        [("scenario", &self.scenario), ("stage", &self.stage)]
    }

    pub(super) fn stream(&self) -> &StreamSeries {
        self.stream.get_or_init(|| {
            let labels = self.labels();
            let trend = |name| self.recorder.trend(name, &labels);
            let counter = |name| self.recorder.counter(name, &labels);
            StreamSeries {
                open: self.recorder.gauge("streams_open", &labels[..1]),
                first_message: trend("stream_first_message"),
                gap: trend("stream_gap"),
                stall: trend("stream_stall"),
                latency: trend("stream_latency"),
                duration: trend("stream_duration"),
                messages: counter("stream_messages"),
                rows: counter("stream_rows"),
                bytes: counter("stream_bytes"),
            }
        })
    }

    fn integrity(&self, count: IntegrityCount) -> CounterId {
        let slot = &self.integrity[count as usize];
        slot.get().unwrap_or_else(|| {
            let id = self.recorder.counter(count.metric(), &self.labels());
            slot.set(Some(id));
            id
        })
    }
}

/// What a driver measures one attempt of a stage with. Cheap to clone; never leaves its thread.
///
/// Everything is kept at the second in which the stage started, except messages, which are kept where they arrived.
#[derive(Clone, Debug)]
pub struct StageMeter {
    pub(super) inner: Rc<Meter>,
}

#[derive(Debug)]
pub(super) struct Meter {
    pub(super) series: Rc<StageSeries>,
    session: Rc<SessionTag>,
    /// When the stage started, not the attempt.
    pub(super) started: Instant,
    connect: Cell<Option<Duration>>,
    first_byte: Cell<Option<Duration>>,
}

impl StageMeter {
    /// A meter for one attempt of a stage that started at `started`.
    pub fn new(series: &Rc<StageSeries>, session: &Rc<SessionTag>, started: Instant) -> Self {
        Self {
            inner: Rc::new(Meter {
                series: Rc::clone(series),
                session: Rc::clone(session),
                started,
                connect: Cell::new(None),
                first_byte: Cell::new(None),
            }),
        }
    }

    /// A meter that belongs to no run, for tests of drivers; read it with `recorder().cut(now)`.
    pub fn detached(scenario: &str, stage: &str) -> Self {
        let series = StageSeries::new(&Recorder::detached(), &Arc::from(scenario), &Arc::from(stage));
        let session = SessionTag { scenario: Arc::from(scenario), index: 0, trace_id: "0".repeat(32) };
        Self::new(&series, &Rc::new(session), Instant::now())
    }

    /// The worker's recorder.
    pub fn recorder(&self) -> &Recorder {
        &self.inner.series.recorder
    }

    /// Who measures.
    pub fn session(&self) -> &SessionTag {
        &self.inner.session
    }

    /// A connection was opened for this attempt: `stage_connect`. Several (redirects) add up. Not called for one reused.
    pub fn connected(&self, took: Duration) {
        let before = self.inner.connect.get().unwrap_or_default();
        self.inner.connect.set(Some(before + took));
    }

    /// The first byte of an answer came so long after the request was sent: `stage_first_byte`. The last call counts.
    pub fn first_byte(&self, took: Duration) {
        self.inner.first_byte.set(Some(took));
    }

    /// A stream is asked for at `asked`. Gaps longer than `stall` are stalls.
    pub fn stream(&self, asked: Instant, stall: Duration) -> StreamMeter {
        StreamMeter::new(self.clone(), asked, stall)
    }

    /// So many rows were found to be so.
    pub fn integrity(&self, count: IntegrityCount, rows: u64) {
        let series = &self.inner.series;
        series.recorder.count(series.integrity(count), self.inner.started, rows);
    }

    /// This session's view of an `agree` group, for one stream.
    pub fn witness(&self, group: &str) -> RowWitness {
        self.recorder().witness(self.group(group), self.inner.session.index)
    }

    /// The session saw this whole stream, of an `agree` group `of: stream`.
    pub fn witness_stream(&self, group: &str, digest: u128, rows: u64) {
        let session = self.inner.session.index;
        self.recorder().witness_stream(SeenStream { group: self.group(group), digest, rows, session });
    }

    /// Something was observed now that the report should show. `detail` is its evidence: masked, at most a few KiB.
    pub fn finding(&self, severity: Severity, code: &'static str, message: String, detail: String) {
        let series = &self.inner.series;
        self.recorder().finding(Finding {
            key: FindingKey {
                severity,
                code,
                scenario: series.scenario.to_string(),
                stage: series.stage.to_string(),
            },
            message,
            count: 1,
            session: self.inner.session.name(),
            trace_id: self.inner.session.trace_id.clone(),
            at_ns: self.recorder().clock().nanos(Instant::now()),
            detail,
        });
    }

    /// Counts something that a bound cost: spans, findings, series, witnesses, evidence, samples_out_of_range.
    pub fn loss(&self, what: &'static str, count: u64) {
        self.recorder().loss(what, count);
    }

    /// The attempt has ended so: connect and first byte are recorded with that outcome.
    pub(crate) fn end(&self, outcome: &str) {
        let series = &self.inner.series;
        let [scenario, stage] = series.labels();
        let labels = [scenario, stage, ("outcome", outcome)];
        for (metric, cell) in [("stage_connect", &self.inner.connect), ("stage_first_byte", &self.inner.first_byte)] {
            if let Some(took) = cell.take() {
                series.recorder.observe(series.recorder.trend(metric, &labels), self.inner.started, took);
            }
        }
    }

    fn group(&self, group: &str) -> GroupKey {
        let series = &self.inner.series;
        GroupKey {
            scenario: Arc::clone(&series.scenario),
            stage: Arc::clone(&series.stage),
            group: Arc::from(group),
        }
    }
}
