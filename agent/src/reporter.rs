//! The reporter: merges what the workers measured, makes one batch a second of it (more, if there are too many rows for one), and keeps batches until the coordinator
//! has them.
//!
//! Pure bookkeeping, owned by an assignment. Batches are numbered 1, 2, 3 … without gaps. While the spool is full nothing
//! is taken from the merge, where measurements of one series and second add up; rows beyond the bound count as unverified.

use std::borrow::Cow;
use std::sync::Arc;

use testmesh_proto::v1;
use testmesh_shared::digest::{Digest, RowDigest};
use testmesh_shared::id::{BatchSeq, Epoch, RunId, SessionIndex};
use testmesh_shared::integrity::Key;
use testmesh_shared::metric::{LabelSet, MetricId};
use testmesh_shared::telemetry::SpanSink;
use testmesh_shared::wire::to_proto::{BatchBuilder, SeenRow, SeenStream};

use crate::driver::RowKey;
use crate::recorder::{Catalog, Delta, Finding, GroupKey, Merge, SeriesKey, Severity, SlowSession};
use crate::spool::Spool;
use crate::telemetry::Vitals;

/// Makes the batches of one run on one agent.
#[derive(Debug)]
pub struct Reporter {
    run: RunId,
    epoch: Epoch,
    catalog: Arc<Catalog>,
    merge: Merge,
    spool: Box<dyn Spool>,
    seq: u64,
    vitals: Vitals,
    /// The process's span sink, if this agent alone uses it, and how many spans it had lost before.
    spans: Option<(SpanSink, u64)>,
    /// The first second whose CPU and memory were not reported yet; none before the run starts.
    next_vitals: Option<u32>,
}

impl Reporter {
    /// Reports what so many workers measure in a run.
    pub fn new(
        run: RunId,
        epoch: Epoch,
        catalog: Arc<Catalog>,
        workers: usize,
        spool: Box<dyn Spool>,
        spans: Option<SpanSink>,
    ) -> Self {
        let spans = spans.map(|sink| {
            let before = sink.dropped();
            (sink, before)
        });
        Self {
            run,
            epoch,
            catalog,
            merge: Merge::new(workers),
            spool,
            seq: 0,
            vitals: Vitals::new(),
            spans,
            next_vitals: None,
        }
    }

    /// The run starts: from now on CPU and memory are reported.
    pub fn started(&mut self) {
        self.next_vitals = Some(0);
        self.vitals.read();
    }

    /// Takes in what a worker measured.
    pub fn add(&mut self, worker: usize, delta: Delta) {
        let second = delta.second;
        for (group, rows) in self.merge.add(worker, delta) {
            let labels = [("scenario", &*group.scenario), ("stage", &*group.stage)];
            let key = SeriesKey::new(MetricId::IntegrityUnverified, &labels);
            self.merge.count(self.catalog.counter(key), second, rows);
            self.merge.loss("witnesses", rows);
        }
    }

    /// Whether so many rows came that a batch should be made before the second is over.
    pub fn is_large(&self) -> bool {
        self.merge.is_large()
    }

    /// Makes a batch of what came since the last one, if anything did and the spool has room.
    pub fn report(&mut self) {
        if self.spool.room().is_ok() {
            self.make();
        }
    }

    /// Makes a batch of everything that came, whatever the spool says: nothing will come after it.
    pub fn report_all(&mut self) {
        self.merge.complete_gauges();
        self.make();
    }

    /// The number of the last batch; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.seq
    }

    /// The first batch that is not acknowledged, of those numbered `seq` and above.
    pub fn batch_from(&self, seq: u64) -> Option<&v1::Batch> {
        self.spool.from(seq)
    }

    /// Forgets what the coordinator has.
    pub fn acknowledge(&mut self, seq: u64) {
        self.spool.acknowledge(seq.min(self.seq));
    }

    /// Whether the coordinator has everything.
    pub fn is_acknowledged(&self) -> bool {
        self.spool.is_empty()
    }

    fn make(&mut self) {
        let mut delta = self.merge.take();
        let refused = self.catalog.take_refused();
        if refused > 0 {
            *delta.losses.entry("series").or_default() += refused;
        }
        if let Some((sink, before)) = &mut self.spans {
            let dropped = sink.dropped();
            let lost = dropped - std::mem::replace(before, dropped);
            if lost > 0 {
                *delta.losses.entry("spans").or_default() += lost;
            }
        }
        if delta.is_empty() {
            return;
        }
        self.seq += 1;
        let mut batch =
            BatchBuilder::new(&self.run, self.epoch, BatchSeq::new(self.seq), delta.second);
        self.add_vitals(&mut batch, delta.second);
        self.spool.push(fill(batch, delta, &self.catalog));
    }

    /// Once for each second, like every gauge.
    fn add_vitals(&mut self, batch: &mut BatchBuilder, second: u32) {
        if self.next_vitals.is_none_or(|next| second < next) {
            return;
        }
        self.next_vitals = Some(second + 1);
        let vitals = self.vitals.read();
        batch.gauge(MetricId::AgentCpu, &LabelSet::EMPTY, second, vitals.cpu);
        #[expect(
            clippy::cast_precision_loss,
            reason = "memory below 2^53 bytes is exact"
        )]
        batch.gauge(
            MetricId::AgentMemory,
            &LabelSet::EMPTY,
            second,
            vitals.memory as f64,
        );
    }
}

/// Turns a delta into a batch.
fn fill(mut batch: BatchBuilder, delta: Delta, catalog: &Catalog) -> v1::Batch {
    let mut counters: Vec<_> = delta.counters.into_iter().collect();
    counters.sort_unstable_by_key(|(key, _)| *key);
    for ((second, id), value) in counters {
        let Some(key) = catalog.counter_key(id) else {
            continue;
        };
        batch.counter(key.metric, &key.label_set(), second, value);
    }
    let mut trends: Vec<_> = delta.trends.into_iter().collect();
    trends.sort_unstable_by_key(|(key, _)| *key);
    for ((second, id), gained) in trends {
        let Some(key) = catalog.trend_key(id) else {
            continue;
        };
        batch.trend(key.metric, &key.label_set(), second, &gained);
    }
    for (second, id, least) in delta.gauges {
        let Some(key) = catalog.gauge_key(id) else {
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "no agent has 2^53 sessions")]
        batch.gauge(key.metric, &key.label_set(), second, least as f64);
    }
    for (group, rows) in delta.rows {
        let rows = rows.iter().map(|((key, digest), seen)| SeenRow {
            key: match key {
                RowKey::Number(number) => Key::Number(*number),
                RowKey::Text(text) => Key::Text(Cow::Borrowed(text)),
            },
            digest: RowDigest::from_u64(*digest),
            sessions: seen.sessions,
            rows: seen.rows,
            witness: SessionIndex::new(seen.witness),
        });
        batch.rows(&group.scenario, &group.stage, &group.group, rows);
    }
    for stream in delta.streams {
        let GroupKey {
            scenario,
            stage,
            group,
        } = &stream.group;
        let digest = Digest::from_u128(stream.digest);
        batch.stream(
            (scenario, stage, group),
            SeenStream {
                digest,
                rows: stream.rows,
                session: SessionIndex::new(stream.session),
                again: stream.again,
            },
        );
    }
    delta
        .findings
        .into_iter()
        .for_each(|one| batch.finding(finding(one)));
    delta
        .slowest
        .into_iter()
        .for_each(|one| batch.slow_session(slow_session(one)));
    delta
        .in_flight
        .iter()
        .for_each(|(scenario, sessions)| batch.in_flight(scenario, *sessions));
    delta
        .losses
        .iter()
        .for_each(|(what, count)| batch.loss(what, *count));
    batch.build()
}

fn finding(finding: Finding) -> v1::Finding {
    let severity = match finding.key.severity {
        Severity::Info => v1::Severity::Info,
        Severity::Warning => v1::Severity::Warning,
        Severity::Error => v1::Severity::Error,
    };
    v1::Finding {
        severity: severity.into(),
        code: finding.key.code.into(),
        message: finding.message,
        count: finding.count,
        evidence: Some(v1::Evidence {
            session: finding.session,
            trace_id: finding.trace_id,
            scenario: finding.key.scenario,
            stage: finding.key.stage,
            at_ns: finding.at_ns,
            detail: finding.detail,
            screenshot: finding.screenshot.map(Vec::from).unwrap_or_default(),
        }),
    }
}

fn slow_session(session: SlowSession) -> v1::SlowSession {
    let stages = session.stages.into_iter().map(|stage| v1::SlowStage {
        stage: stage.stage,
        duration_ns: stage.duration_ns,
        outcome: stage.outcome.into(),
    });
    v1::SlowSession {
        session: session.session,
        trace_id: session.trace_id,
        duration_ns: session.duration_ns,
        stages: stages.collect(),
    }
}
