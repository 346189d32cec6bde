//! The recorder of one worker: owner of everything measured there since the last cut.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use testmesh_shared::metric::MetricId;
use tokio::time::Instant;

use super::catalog::{Catalog, CounterId, GaugeId, SeriesKey, TrendId};
use super::delta::Delta;
use super::finding::{Finding, Findings};
use super::frame::Frames;
use super::gauge::Gauges;
use super::slow::{SlowSession, Slowest};
use super::witness::{GroupKey, NoRoom, RowWitness, SeenStream, SessionView, Witnesses};
use crate::limits;

/// The time of a run on one worker. Until the run has started, everything belongs to second 0.
#[derive(Clone, Debug, Default)]
pub struct RunClock {
    start: Rc<Cell<Option<Instant>>>,
}

impl RunClock {
    /// A clock that has not started.
    pub fn new() -> Self {
        Self::default()
    }

    /// The run starts, or will start, at this instant.
    pub fn start_at(&self, start: Instant) {
        self.start.set(Some(start));
    }

    /// When the run starts; none before that is known.
    pub fn started_at(&self) -> Option<Instant> {
        self.start.get()
    }

    /// The second of the run that an instant belongs to.
    pub fn second(&self, at: Instant) -> u32 {
        u32::try_from(self.elapsed(at).as_secs()).unwrap_or(u32::MAX)
    }

    /// Time since the run's start; zero before it.
    pub fn elapsed(&self, at: Instant) -> Duration {
        self.start
            .get()
            .map_or(Duration::ZERO, |start| at.saturating_duration_since(start))
    }

    /// Nanoseconds since the run's start; negative before it.
    pub fn nanos(&self, at: Instant) -> i64 {
        let Some(start) = self.start.get() else {
            return 0;
        };
        let signed = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        if at >= start {
            signed(at - start)
        } else {
            -signed(start - at)
        }
    }

    /// The second of an instant, and the instants between which it is that second.
    pub(crate) fn bounds(&self, at: Instant) -> (u32, Instant, Instant) {
        let second = self.second(at);
        match self.start.get() {
            None => (second, at, at),
            Some(start) if at < start => (second, at, start),
            Some(start) => {
                let from = start + Duration::from_secs(u64::from(second));
                (second, from, from + Duration::from_secs(1))
            }
        }
    }
}

/// Where everything on one worker is recorded. Cheap to clone; never leaves its thread.
#[derive(Clone, Debug)]
pub struct Recorder {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: RunClock,
    catalog: Arc<Catalog>,
    frames: RefCell<Frames>,
    gauges: RefCell<Gauges>,
    witnesses: RefCell<Witnesses>,
    findings: RefCell<Findings>,
    slowest: RefCell<Slowest>,
    in_flight: RefCell<HashMap<Arc<str>, u64>>,
    losses: RefCell<HashMap<&'static str, u64>>,
    /// Where lags of the loop go, once it is watched.
    loop_lag: Cell<Option<TrendId>>,
}

impl Recorder {
    /// An empty recorder whose series are numbered by `catalog`.
    pub fn new(clock: RunClock, catalog: Arc<Catalog>) -> Self {
        let frames = RefCell::new(Frames::new(clock.clone(), Instant::now()));
        Self {
            inner: Rc::new(Inner {
                clock,
                catalog,
                frames,
                gauges: RefCell::default(),
                witnesses: RefCell::default(),
                findings: RefCell::default(),
                slowest: RefCell::new(Slowest::new(limits::SLOWEST)),
                in_flight: RefCell::default(),
                losses: RefCell::default(),
                loop_lag: Cell::new(None),
            }),
        }
    }

    /// A recorder that belongs to no run, for tests of what records.
    pub fn detached() -> Self {
        Self::new(RunClock::new(), Arc::new(Catalog::new(limits::SERIES)))
    }

    pub(super) fn loop_lag(&self) -> Option<TrendId> {
        self.inner.loop_lag.get()
    }

    pub(super) fn set_loop_lag(&self, lag: TrendId) {
        self.inner.loop_lag.set(Some(lag));
    }

    /// The run's clock.
    pub fn clock(&self) -> &RunClock {
        &self.inner.clock
    }

    /// What numbers this recorder's series.
    pub fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    /// The slot of a counter. Resolve once and keep it.
    pub fn counter(&self, metric: MetricId, labels: &[(&'static str, &str)]) -> CounterId {
        self.inner.catalog.counter(SeriesKey::new(metric, labels))
    }

    /// The slot of a trend. Resolve once and keep it.
    pub fn trend(&self, metric: MetricId, labels: &[(&'static str, &str)]) -> TrendId {
        self.inner.catalog.trend(SeriesKey::new(metric, labels))
    }

    /// The slot of a gauge. Resolve once and keep it.
    pub fn gauge(&self, metric: MetricId, labels: &[(&'static str, &str)]) -> GaugeId {
        self.inner.catalog.gauge(SeriesKey::new(metric, labels))
    }

    /// Adds to a counter in the second that `at` belongs to.
    #[inline]
    pub fn count(&self, id: CounterId, at: Instant, by: u64) {
        self.inner.frames.borrow_mut().count(id, at, by);
    }

    /// Adds a duration to a trend in the second that `at` belongs to.
    #[inline]
    pub fn observe(&self, id: TrendId, at: Instant, value: Duration) {
        self.inner.frames.borrow_mut().observe(id, at, value);
    }

    /// Several measurements of one instant under one borrow: what a message costs.
    #[inline]
    pub(crate) fn frames<R>(&self, act: impl FnOnce(&mut Frames) -> R) -> R {
        act(&mut self.inner.frames.borrow_mut())
    }

    /// One more is open from now on.
    pub fn open(&self, id: GaugeId, at: Instant) {
        self.inner
            .gauges
            .borrow_mut()
            .open(id, self.inner.clock.second(at));
    }

    /// One less is open from now on.
    pub fn close(&self, id: GaugeId, at: Instant) {
        self.inner
            .gauges
            .borrow_mut()
            .close(id, self.inner.clock.second(at));
    }

    /// Adds a finding.
    pub fn finding(&self, finding: Finding) {
        self.inner.findings.borrow_mut().add(finding);
    }

    /// Counts something that a bound cost.
    pub fn loss(&self, what: &'static str, count: u64) {
        if count > 0 {
            *self.inner.losses.borrow_mut().entry(what).or_default() += count;
        }
    }

    /// Where one stream of a session reports its rows.
    ///
    /// # Errors
    ///
    /// If there are too many groups since the last cut.
    pub fn witness(
        &self,
        group: GroupKey,
        session: u64,
        view: &SessionView,
    ) -> Result<RowWitness, NoRoom> {
        let mut witnesses = self.inner.witnesses.borrow_mut();
        witnesses.group(group, session, view)
    }

    /// A whole stream that a session saw.
    ///
    /// # Errors
    ///
    /// If there are too many streams since the last cut.
    pub fn witness_stream(&self, stream: SeenStream) -> Result<(), NoRoom> {
        self.inner.witnesses.borrow_mut().stream(stream)
    }

    /// Whether half of the room for rows is taken.
    pub fn is_short_of_room(&self) -> bool {
        self.inner.witnesses.borrow().is_short_of_room()
    }

    /// Waits until half of the room for rows is taken: a cut then loses none.
    ///
    /// # Cancel safety
    ///
    /// Being told is not lost.
    pub async fn room_is_short(&self) {
        let short = self.inner.witnesses.borrow().short();
        short.notified().await;
    }

    /// Whether a session of this duration would be among this worker's slowest.
    pub fn is_slow(&self, duration: Duration) -> bool {
        self.inner.slowest.borrow().would_enter(nanos(duration))
    }

    /// Enters a session into the list of the slowest.
    pub fn slow(&self, session: SlowSession) {
        self.inner.slowest.borrow_mut().enter(session);
    }

    /// A session of a scenario is in flight.
    pub fn started(&self, scenario: &Arc<str>) {
        *self
            .inner
            .in_flight
            .borrow_mut()
            .entry(Arc::clone(scenario))
            .or_default() += 1;
    }

    /// A session of a scenario has ended.
    pub fn ended(&self, scenario: &Arc<str>) {
        if let Some(count) = self.inner.in_flight.borrow_mut().get_mut(scenario) {
            *count = count.saturating_sub(1);
        }
    }

    /// Takes everything measured since the last cut.
    pub fn cut(&self, now: Instant) -> Delta {
        let second = self.inner.clock.second(now);
        let frames = self.inner.frames.borrow_mut().take();
        let (rows, streams) = self.inner.witnesses.borrow_mut().take();
        let (findings, findings_lost) = self.inner.findings.borrow_mut().take();
        self.loss("findings", findings_lost);
        self.loss("samples_out_of_range", frames.out_of_range);
        Delta {
            second,
            counters: frames.counters,
            trends: frames.trends,
            gauges: self.inner.gauges.borrow_mut().take(second),
            rows,
            streams,
            findings,
            slowest: self.inner.slowest.borrow_mut().take(),
            in_flight: self.inner.in_flight.borrow().clone(),
            losses: std::mem::take(&mut *self.inner.losses.borrow_mut()),
        }
    }
}

/// Whole nanoseconds; a duration beyond 584 years stays there.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
