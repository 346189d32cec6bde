//! From the domain to the wire.

use std::collections::HashMap;

use testmesh_proto::v1;

use crate::digest::{Digest, RowDigest};
use crate::id::{BatchSeq, Epoch, RunId, SessionIndex};
use crate::integrity::Key;
use crate::metric::{Histogram, LabelSet, MetricId};
use crate::plan::Narrowing;
use crate::segment::Share;

/// A part of a plan; none: the whole.
#[must_use]
pub fn narrowing(narrowing: &Narrowing) -> Option<v1::Narrowing> {
    (*narrowing != Narrowing::default()).then(|| v1::Narrowing {
        scenario: narrowing.scenario.clone().unwrap_or_default(),
        once: narrowing.once,
    })
}

/// A share, named by its scenario.
#[must_use]
pub fn share(scenario: &str, share: &Share) -> v1::Share {
    v1::Share {
        scenario: scenario.to_owned(),
        offsets: share.offsets().to_vec(),
        cycle: share.cycle(),
    }
}

/// A row that sessions of one agent saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRow<'a> {
    /// Which row it is.
    pub key: Key<'a>,
    /// What its payload digests to.
    pub digest: RowDigest,
    /// How many distinct sessions saw it so that were not told of before.
    pub sessions: u32,
    /// How many rows that was.
    pub rows: u64,
    /// One of the sessions.
    pub witness: SessionIndex,
}

/// A whole stream that a session saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenStream {
    /// What its payload digests to.
    pub digest: Digest,
    /// How many rows it had.
    pub rows: u64,
    /// The session.
    pub session: SessionIndex,
    /// The session was told of with an equal stream before.
    pub again: bool,
}

/// Fills a batch, whose string table it keeps.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    batch: v1::Batch,
    strings: HashMap<String, u32>,
}

impl BatchBuilder {
    /// An empty batch, cut in this second of the run.
    #[must_use]
    pub fn new(run: &RunId, epoch: Epoch, seq: BatchSeq, second: u32) -> Self {
        let batch = v1::Batch {
            run: run.to_string(),
            epoch: epoch.get(),
            seq: seq.get(),
            second,
            ..v1::Batch::default()
        };
        Self {
            batch,
            strings: HashMap::new(),
        }
    }

    /// A counter grew by this much. Zero counts: it says that the series is there.
    pub fn counter(&mut self, metric: MetricId, labels: &LabelSet<'_>, second: u32, value: u64) {
        let labels = Some(self.labels(metric, labels));
        self.batch.counters.push(v1::CounterDelta {
            labels,
            second,
            value,
        });
    }

    /// A gauge was at least this high throughout a second. Each second is shipped once, when it is over: batches add up.
    pub fn gauge(&mut self, metric: MetricId, labels: &LabelSet<'_>, second: u32, value: f64) {
        let labels = Some(self.labels(metric, labels));
        self.batch.gauges.push(v1::GaugeMinimum {
            labels,
            second,
            value,
        });
    }

    /// A trend gained these durations. Nothing is added for an empty histogram.
    pub fn trend(
        &mut self,
        metric: MetricId,
        labels: &LabelSet<'_>,
        second: u32,
        gained: &Histogram,
    ) {
        let (Some(min_ns), Some(max_ns)) = (gained.min_ns(), gained.max_ns()) else {
            return;
        };
        let labels = Some(self.labels(metric, labels));
        // 2^64 ns are 5 million durations of an hour: more than one second can gain.
        let sum_ns = u64::try_from(gained.sum_ns()).unwrap_or(u64::MAX);
        let buckets = gained.encode_buckets();
        self.batch.trends.push(v1::TrendDelta {
            labels,
            second,
            sum_ns,
            min_ns,
            max_ns,
            buckets,
        });
    }

    /// Rows that sessions saw in streams of a group, in any order.
    pub fn rows<'a>(
        &mut self,
        scenario: &str,
        stage: &str,
        group: &str,
        rows: impl IntoIterator<Item = SeenRow<'a>>,
    ) {
        let mut rows: Vec<SeenRow<'a>> = rows.into_iter().collect();
        if rows.is_empty() {
            return;
        }
        // Sorted, numbers are small differences.
        rows.sort_unstable_by(|a, b| (&a.key, a.digest).cmp(&(&b.key, b.digest)));
        let (keys, text_keys) = split_keys(&rows);
        let witness = v1::RowWitness {
            scenario: self.string(scenario),
            stage: self.string(stage),
            group: self.string(group),
            keys,
            text_keys,
            digests: rows.iter().map(|row| row.digest.as_u64()).collect(),
            sessions: rows.iter().map(|row| row.sessions).collect(),
            witness: rows.iter().map(|row| row.witness.get()).collect(),
            // Most rows are one for each session.
            rows: match rows.iter().all(|row| row.rows == u64::from(row.sessions)) {
                true => Vec::new(),
                false => rows.iter().map(|row| row.rows).collect(),
            },
        };
        self.batch.rows.push(witness);
    }

    /// A whole stream that a session saw.
    pub fn stream(&mut self, at: (&str, &str, &str), seen: SeenStream) {
        let (scenario, stage, group) = at;
        let witness = v1::StreamWitness {
            scenario: self.string(scenario),
            stage: self.string(stage),
            group: self.string(group),
            digest: seen.digest.to_bytes().to_vec(),
            rows: seen.rows,
            session: seen.session.get(),
            again: seen.again,
        };
        self.batch.streams.push(witness);
    }

    /// A finding.
    pub fn finding(&mut self, finding: v1::Finding) {
        self.batch.findings.push(finding);
    }

    /// One of the slowest sessions.
    pub fn slow_session(&mut self, session: v1::SlowSession) {
        self.batch.slowest.push(session);
    }

    /// How many sessions of a scenario are in flight.
    pub fn in_flight(&mut self, scenario: &str, sessions: u64) {
        let scenario = self.string(scenario);
        self.batch
            .in_flight
            .push(v1::InFlight { scenario, sessions });
    }

    /// What a bound cost since the last batch. Nothing is added for zero.
    pub fn loss(&mut self, what: &str, count: u64) {
        if count > 0 {
            self.batch.losses.push(v1::Loss {
                what: what.to_owned(),
                count,
            });
        }
    }

    /// The batch.
    #[must_use]
    pub fn build(self) -> v1::Batch {
        self.batch
    }

    fn labels(&mut self, metric: MetricId, labels: &LabelSet<'_>) -> v1::Labels {
        let mut pairs = Vec::with_capacity(2 * labels.pairs().len());
        for (name, value) in labels.pairs() {
            debug_assert!(
                metric.metric().allows(name),
                "{metric} carries no label {name}"
            );
            // Who an agent is and where, the coordinator knows.
            if !matches!(*name, "site" | "agent") {
                pairs.extend([self.string(name), self.string(value)]);
            }
        }
        v1::Labels {
            metric: self.string(metric.name()),
            pairs,
        }
    }

    fn string(&mut self, text: &str) -> u32 {
        if let Some(index) = self.strings.get(text) {
            return *index;
        }
        let index =
            u32::try_from(self.batch.strings.len()).expect("a batch has fewer than 2^32 strings");
        self.strings.insert(text.to_owned(), index);
        self.batch.strings.push(text.to_owned());
        index
    }
}

/// Numbers as differences, unless a key is text; then all are.
fn split_keys(rows: &[SeenRow<'_>]) -> (Vec<i64>, Vec<String>) {
    let mut last = 0i64;
    let numbers: Option<Vec<i64>> = rows
        .iter()
        .map(|row| match &row.key {
            Key::Number(number) => {
                let difference = number.wrapping_sub(last);
                last = *number;
                Some(difference)
            }
            Key::Text(_) => None,
        })
        .collect();
    match numbers {
        Some(numbers) => (numbers, Vec::new()),
        None => (
            Vec::new(),
            rows.iter().map(|row| row.key.to_string()).collect(),
        ),
    }
}
