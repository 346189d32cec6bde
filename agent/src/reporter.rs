//! The reporter: merges what the workers measured, makes one batch a second of it, and keeps batches until the coordinator
//! has them.
//!
//! Pure bookkeeping, owned by an assignment. Batches are numbered 1, 2, 3 … without gaps. While the spool is full nothing
//! is taken from the merge, where measurements of one series and second add up; rows beyond the bound are counted as lost.

use std::collections::HashMap;
use std::sync::Arc;

use testmesh_proto::v1;
use testmesh_shared::telemetry::SpanSink;
use tokio::time::Instant;

use crate::driver::RowKey;
use crate::recorder::{Catalog, Delta, Finding, Merge, SeriesKey, Severity, SlowSession};
use crate::spool::Spool;
use crate::telemetry::Vitals;

/// Makes the batches of one run on one agent.
#[derive(Debug)]
pub struct Reporter {
    run: String,
    epoch: u64,
    agent: String,
    catalog: Arc<Catalog>,
    merge: Merge,
    spool: Box<dyn Spool>,
    seq: u64,
    vitals: Vitals,
    /// The process's span sink, if this agent alone uses it, and how many spans it had lost before.
    spans: Option<(SpanSink, u64)>,
    start: Option<Instant>,
}

impl Reporter {
    /// Reports what so many workers measure in a run.
    pub fn new(
        run: String,
        epoch: u64,
        agent: String,
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
            agent,
            catalog,
            merge: Merge::new(workers),
            spool,
            seq: 0,
            vitals: Vitals::new(),
            spans,
            start: None,
        }
    }

    /// The run starts at this instant: from then on CPU and memory are reported.
    pub fn started(&mut self, at: Instant) {
        self.start = Some(at);
        self.vitals.read();
    }

    /// Takes in what a worker measured.
    pub fn add(&mut self, worker: usize, delta: Delta) {
        self.merge.add(worker, delta);
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
        let mut builder = Builder::new(self.run.clone(), self.epoch, self.seq, delta.second);
        if self.start.is_some_and(|start| Instant::now() >= start) {
            let vitals = self.vitals.read();
            builder.agent_gauge("agent_cpu", &self.agent, vitals.cpu);
            #[expect(clippy::cast_precision_loss, reason = "memory below 2^53 bytes is exact")]
            builder.agent_gauge("agent_memory", &self.agent, vitals.memory as f64);
        }
        self.spool.push(builder.build(delta, &self.catalog));
    }
}

/// Turns a delta into a batch with its own string table.
struct Builder {
    batch: v1::Batch,
    strings: HashMap<String, u32>,
}

impl Builder {
    fn new(run: String, epoch: u64, seq: u64, second: u32) -> Self {
        let batch = v1::Batch { run, epoch, seq, second, ..v1::Batch::default() };
        Self { batch, strings: HashMap::new() }
    }

    fn build(mut self, delta: Delta, catalog: &Catalog) -> v1::Batch {
        let mut counters: Vec<_> = delta.counters.into_iter().collect();
        counters.sort_unstable_by_key(|(key, _)| *key);
        for ((second, id), value) in counters {
            let labels = catalog.counter_key(id).map(|key| self.labels(&key));
            self.batch.counters.extend(labels.map(|labels| v1::CounterDelta { labels: Some(labels), second, value }));
        }
        let mut trends: Vec<_> = delta.trends.into_iter().collect();
        trends.sort_unstable_by_key(|(key, _)| *key);
        for ((second, id), trend) in trends {
            let Some(key) = catalog.trend_key(id) else { continue };
            let labels = Some(self.labels(&key));
            self.batch.trends.push(v1::TrendDelta {
                labels,
                second,
                sum_ns: u64::try_from(trend.sum_ns()).unwrap_or(u64::MAX),
                min_ns: trend.min_ns().unwrap_or_default(),
                max_ns: trend.max_ns().unwrap_or_default(),
                buckets: trend.encode_buckets(),
            });
        }
        for (second, id, least) in delta.gauges {
            let Some(key) = catalog.gauge_key(id) else { continue };
            let labels = Some(self.labels(&key));
            #[expect(clippy::cast_precision_loss, reason = "no agent has 2^53 sessions")]
            let value = least as f64;
            self.batch.gauges.push(v1::GaugeMinimum { labels, second, value });
        }
        self.rows(delta.rows);
        for stream in delta.streams {
            let witness = v1::StreamWitness {
                scenario: self.string(&stream.group.scenario),
                stage: self.string(&stream.group.stage),
                group: self.string(&stream.group.group),
                digest: stream.digest.to_be_bytes().to_vec(),
                rows: stream.rows,
                session: stream.session,
            };
            self.batch.streams.push(witness);
        }
        self.batch.findings = delta.findings.into_iter().map(finding).collect();
        self.batch.slowest = delta.slowest.into_iter().map(slow_session).collect();
        for (scenario, sessions) in delta.in_flight {
            let scenario = self.string(&scenario);
            self.batch.in_flight.push(v1::InFlight { scenario, sessions });
        }
        self.batch.losses =
            delta.losses.into_iter().map(|(what, count)| v1::Loss { what: what.into(), count }).collect();
        self.batch
    }

    /// One list per group for numeric keys, and one for text; numbers ascend, so that their differences are small.
    fn rows(&mut self, groups: HashMap<crate::recorder::GroupKey, crate::recorder::Rows>) {
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (group, rows) in groups {
            let (mut numbers, mut texts) = (Vec::new(), Vec::new());
            for ((key, digest), seen) in rows {
                match key {
                    RowKey::Number(number) => numbers.push((number, digest, seen)),
                    RowKey::Text(text) => texts.push((String::from(text), digest, seen)),
                }
            }
            numbers.sort_unstable_by_key(|(number, digest, _)| (*number, *digest));
            let [scenario, stage, name] = [&group.scenario, &group.stage, &group.group].map(|text| self.string(text));
            let empty = || v1::RowWitness { scenario, stage, group: name, ..v1::RowWitness::default() };
            let (mut witness, mut before) = (empty(), 0);
            for (number, digest, seen) in &numbers {
                witness.keys.push(number.wrapping_sub(before));
                before = *number;
                witness.digests.push(*digest);
                witness.sessions.push(seen.sessions());
                witness.witness.push(seen.witness);
            }
            let mut text_witness = empty();
            for (text, digest, seen) in texts {
                text_witness.text_keys.push(text);
                text_witness.digests.push(digest);
                text_witness.sessions.push(seen.sessions());
                text_witness.witness.push(seen.witness);
            }
            self.batch.rows.extend([witness, text_witness].into_iter().filter(|one| !one.digests.is_empty()));
        }
    }

    fn agent_gauge(&mut self, metric: &'static str, agent: &str, value: f64) {
        let labels = Some(self.labels(&SeriesKey::new(metric, &[("agent", agent)])));
        let second = self.batch.second;
        self.batch.gauges.push(v1::GaugeMinimum { labels, second, value });
    }

    fn labels(&mut self, key: &SeriesKey) -> v1::Labels {
        let metric = self.string(key.metric);
        let pairs = key.labels.iter().flat_map(|(name, value)| [self.string(name), self.string(value)]).collect();
        v1::Labels { metric, pairs }
    }

    fn string(&mut self, text: &str) -> u32 {
        if let Some(&at) = self.strings.get(text) {
            return at;
        }
        let at = u32::try_from(self.batch.strings.len()).expect("a batch's strings are bounded by its series");
        self.batch.strings.push(text.to_owned());
        self.strings.insert(text.to_owned(), at);
        at
    }
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
