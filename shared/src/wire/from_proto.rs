//! From the wire to the domain, with all validation.

use testmesh_proto::v1;

use super::batch::{Batch, Delta, Origin, RowWitnesses, StreamWitness};
use crate::clock::Probe;
use crate::digest::Digest;
use crate::id::{BatchSeq, Epoch, IdError, SessionIndex};
use crate::metric::delta::DELTA_COUNT_MAX;
use crate::metric::series::LabelError;
use crate::metric::{Change, DeltaError, Kind, LabelSet, Metric, MetricId, TrendDelta, by_name};
use crate::plan::Narrowing;
use crate::segment::{Share, ShareError};

/// Most strings of a batch: labels, scenarios, stages, and the groups whose rows were seen.
pub const STRINGS_MAX: usize = 65_536;
/// Longest string of a batch, in bytes.
pub const STRING_BYTES_MAX: usize = 4_096;
/// Most series deltas of a batch: all series of a run, for the seconds that an agent was away.
pub const DELTAS_MAX: usize = 500_000;
/// Most rows and streams of a batch that sessions saw.
pub const WITNESSES_MAX: usize = 2_000_000;
/// Most findings, slow sessions, scenarios in flight, or losses of a batch.
pub const ENTRIES_MAX: usize = 10_000;
/// Greatest value of a counter, a gauge, or a number of sessions or rows: far above what a second can hold, and far enough
/// below 2^64 that sums of them make sense. What trends count has the same bound.
pub const VALUE_MAX: u64 = DELTA_COUNT_MAX;
/// Latest second of a run: a year.
pub const SECOND_MAX: u32 = 366 * 24 * 3_600;

/// [`VALUE_MAX`] for gauges, which is exact.
const GAUGE_MAX: f64 = 281_474_976_710_656.0;

/// Why a batch is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It names no run.
    #[error("the batch names no run")]
    Run(#[source] IdError),
    /// Batches are numbered from 1.
    #[error("the batch has the number 0")]
    Seq,
    /// Too much of something.
    #[error("the batch has {count} {what}, and {most} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// An index that the string table does not have, or labels that do not come in pairs.
    #[error("the batch names string {index}, and has {count}")]
    String {
        /// The index.
        index: u32,
        /// The table's length.
        count: usize,
    },
    /// A second that no run has.
    #[error("the batch has measurements of second {second}")]
    Second {
        /// The second.
        second: u32,
    },
    /// A name that is not in the table of metrics.
    #[error("there is no metric `{name}`")]
    Metric {
        /// The name.
        name: String,
    },
    /// A value of another kind than the metric's.
    #[error("`{metric}` is a {kind}, and the batch has another kind of value for it")]
    Kind {
        /// The metric.
        metric: MetricId,
        /// Its kind.
        kind: Kind,
    },
    /// A label that the metric does not carry, or that is the coordinator's to add.
    #[error("`{metric}` carries no label `{label}` on the wire")]
    Label {
        /// The metric.
        metric: MetricId,
        /// The label.
        label: String,
    },
    /// Labels that are not a set.
    #[error("the labels of `{metric}` are no set")]
    Labels {
        /// The metric.
        metric: MetricId,
        /// Why not.
        #[source]
        source: LabelError,
    },
    /// More than can have been counted.
    #[error("the batch counts {value} {what}, and 2^48 are more than any run has")]
    Value {
        /// What is counted.
        what: String,
        /// How many of it.
        value: u64,
    },
    /// A gauge that is no number, or one beyond all measure.
    #[error("`{metric}` has a value that is no number, or beyond 2^48")]
    Gauge {
        /// The metric.
        metric: MetricId,
    },
    /// A histogram that cannot have been counted.
    #[error("the histogram of `{metric}` makes no sense")]
    Trend {
        /// The metric.
        metric: MetricId,
        /// Why not.
        #[source]
        source: DeltaError,
    },
    /// Lists of rows that do not run in step, or a digest that is none.
    #[error("the rows or streams of group `{group}` make no sense")]
    Witness {
        /// The group.
        group: String,
    },
}

/// Takes a batch in, whole or not at all.
///
/// # Errors
/// [`BatchError`] with the first thing that makes no sense.
pub fn batch<'a>(batch: &'a v1::Batch, origin: &'a Origin) -> Result<Batch<'a>, BatchError> {
    check_limits(batch)?;
    let strings = Strings(&batch.strings);
    let run = batch.run.parse().map_err(BatchError::Run)?;
    if batch.seq == 0 {
        return Err(BatchError::Seq);
    }
    let in_flight = batch.in_flight.iter().map(|entry| {
        let sessions = check_value("sessions in flight", entry.sessions)?;
        Ok((strings.at(entry.scenario)?, sessions))
    });
    let losses = batch.losses.iter().map(|loss| {
        let count = check_value("losses", loss.count)?;
        Ok((loss.what.as_str(), count))
    });
    for finding in &batch.findings {
        check_value("findings", finding.count)?;
    }
    Ok(Batch {
        run,
        epoch: Epoch::new(batch.epoch),
        seq: BatchSeq::new(batch.seq),
        second: check_second(batch.second)?,
        deltas: deltas(batch, strings, origin)?,
        rows: batch
            .rows
            .iter()
            .map(|rows| row_witnesses(rows, strings))
            .collect::<Result<_, _>>()?,
        streams: batch
            .streams
            .iter()
            .map(|stream| stream_witness(stream, strings))
            .collect::<Result<_, _>>()?,
        findings: &batch.findings,
        slowest: &batch.slowest,
        in_flight: in_flight.collect::<Result<_, _>>()?,
        losses: losses.collect::<Result<_, _>>()?,
    })
}

/// A share.
///
/// # Errors
/// [`ShareError`] if its numbers are none.
pub fn share(share: &v1::Share) -> Result<Share, ShareError> {
    Share::new(share.offsets.clone(), share.cycle)
}

/// A part of a plan; none: the whole.
#[must_use]
pub fn narrowing(narrowing: Option<&v1::Narrowing>) -> Narrowing {
    let scenario = narrowing.map(|narrowing| narrowing.scenario.clone());
    Narrowing {
        scenario: scenario.filter(|name| !name.is_empty()),
        once: narrowing.is_some_and(|narrowing| narrowing.once),
    }
}

/// A probe, whose reply came at `returned_ns` of the agent's time.
#[must_use]
pub const fn probe(reply: &v1::ClockReply, returned_ns: i64) -> Probe {
    Probe {
        sent_ns: reply.probe_sent_ns,
        received_ns: reply.received_ns,
        replied_ns: reply.replied_ns,
        returned_ns,
    }
}

fn check_limits(batch: &v1::Batch) -> Result<(), BatchError> {
    let witnesses = batch
        .rows
        .iter()
        .fold(batch.rows.len() + batch.streams.len(), |sum, rows| {
            sum + rows.digests.len()
        });
    let longest = batch
        .strings
        .iter()
        .chain(batch.losses.iter().map(|loss| &loss.what))
        .map(String::len)
        .max();
    let limits = [
        ("strings", batch.strings.len(), STRINGS_MAX),
        (
            "bytes in one string",
            longest.unwrap_or(0),
            STRING_BYTES_MAX,
        ),
        (
            "series deltas",
            batch.counters.len() + batch.gauges.len() + batch.trends.len(),
            DELTAS_MAX,
        ),
        ("rows and streams", witnesses, WITNESSES_MAX),
        ("findings", batch.findings.len(), ENTRIES_MAX),
        ("slow sessions", batch.slowest.len(), ENTRIES_MAX),
        ("scenarios in flight", batch.in_flight.len(), ENTRIES_MAX),
        ("losses", batch.losses.len(), ENTRIES_MAX),
    ];
    match limits.into_iter().find(|(_, count, most)| count > most) {
        Some((what, count, most)) => Err(BatchError::TooMany { what, count, most }),
        None => Ok(()),
    }
}

const fn check_second(second: u32) -> Result<u32, BatchError> {
    if second > SECOND_MAX {
        Err(BatchError::Second { second })
    } else {
        Ok(second)
    }
}

fn check_value(what: &str, value: u64) -> Result<u64, BatchError> {
    if value > VALUE_MAX {
        let what = what.to_owned();
        Err(BatchError::Value { what, value })
    } else {
        Ok(value)
    }
}

fn deltas<'a>(
    batch: &'a v1::Batch,
    strings: Strings<'a>,
    origin: &'a Origin,
) -> Result<Vec<Delta<'a>>, BatchError> {
    let mut deltas =
        Vec::with_capacity(batch.counters.len() + batch.gauges.len() + batch.trends.len());
    let mut add = |labels: &'a Option<v1::Labels>, second: u32, kind: Kind, value: Value<'a>| {
        let (metric, labels) = series(labels.as_ref(), strings, origin)?;
        if metric.kind != kind {
            return Err(BatchError::Kind {
                metric: metric.id,
                kind: metric.kind,
            });
        }
        let change = change(metric.id, value)?;
        deltas.push(Delta {
            metric: metric.id,
            labels,
            second: check_second(second)?,
            change,
        });
        Ok(())
    };
    for delta in &batch.counters {
        add(
            &delta.labels,
            delta.second,
            Kind::Counter,
            Value::Counter(delta.value),
        )?;
    }
    for delta in &batch.gauges {
        add(
            &delta.labels,
            delta.second,
            Kind::Gauge,
            Value::Gauge(delta.value),
        )?;
    }
    for delta in &batch.trends {
        add(
            &delta.labels,
            delta.second,
            Kind::Trend,
            Value::Trend(delta),
        )?;
    }
    Ok(deltas)
}

/// A value as it came.
enum Value<'a> {
    Counter(u64),
    Gauge(f64),
    Trend(&'a v1::TrendDelta),
}

fn change(metric: MetricId, value: Value<'_>) -> Result<Change<'_>, BatchError> {
    match value {
        Value::Counter(value) => check_value(metric.name(), value).map(Change::Counter),
        Value::Gauge(value) if value.abs() <= GAUGE_MAX => Ok(Change::Gauge(value)),
        Value::Gauge(_) => Err(BatchError::Gauge { metric }),
        Value::Trend(delta) => {
            TrendDelta::new(delta.sum_ns, delta.min_ns, delta.max_ns, &delta.buckets)
                .map(Change::Trend)
                .map_err(|source| BatchError::Trend { metric, source })
        }
    }
}

fn series<'a>(
    labels: Option<&'a v1::Labels>,
    strings: Strings<'a>,
    origin: &'a Origin,
) -> Result<(&'static Metric, LabelSet<'a>), BatchError> {
    let labels = labels.ok_or_else(|| BatchError::Metric {
        name: String::new(),
    })?;
    let name = strings.at(labels.metric)?;
    let metric = by_name(name).ok_or_else(|| BatchError::Metric { name: cut(name) })?;
    let no_set = |source| BatchError::Labels {
        metric: metric.id,
        source,
    };
    let mut set = LabelSet::EMPTY
        .with("site", origin.site.as_str())
        .map_err(no_set)?;
    if metric.is_of_agent() {
        set = set.with("agent", origin.agent.as_str()).map_err(no_set)?;
    }
    let (pairs, rest) = labels.pairs.as_chunks::<2>();
    if let [index] = rest {
        return Err(BatchError::String {
            index: *index,
            count: strings.0.len(),
        });
    }
    for [name, value] in pairs {
        let (name, value) = (strings.at(*name)?, strings.at(*value)?);
        if matches!(name, "site" | "agent") || !metric.allows(name) {
            return Err(BatchError::Label {
                metric: metric.id,
                label: cut(name),
            });
        }
        set = set.with(name, value).map_err(no_set)?;
    }
    Ok((metric, set))
}

fn row_witnesses<'a>(
    rows: &'a v1::RowWitness,
    strings: Strings<'a>,
) -> Result<RowWitnesses<'a>, BatchError> {
    let group = strings.at(rows.group)?;
    let count = rows.digests.len();
    let keys = (rows.keys.len(), rows.text_keys.len());
    let in_step = (keys == (count, 0) || keys == (0, count))
        && rows.sessions.len() == count
        && rows.witness.len() == count
        && [0, count].contains(&rows.rows.len());
    // Somebody saw each: for the first time, or again.
    let sane = match rows.rows.as_slice() {
        [] => rows.sessions.iter().all(|sessions| *sessions > 0),
        counts => (counts.iter().zip(&rows.sessions))
            .all(|(rows, sessions)| *rows >= u64::from(*sessions).max(1)),
    } && rows
        .text_keys
        .iter()
        .all(|key| key.len() <= STRING_BYTES_MAX);
    if !in_step || !sane {
        return Err(BatchError::Witness { group: cut(group) });
    }
    Ok(RowWitnesses {
        scenario: strings.at(rows.scenario)?,
        stage: strings.at(rows.stage)?,
        group,
        rows,
    })
}

fn stream_witness<'a>(
    stream: &'a v1::StreamWitness,
    strings: Strings<'a>,
) -> Result<StreamWitness<'a>, BatchError> {
    let group = strings.at(stream.group)?;
    let bytes = <[u8; 16]>::try_from(stream.digest.as_slice());
    let bytes = bytes.map_err(|_| BatchError::Witness { group: cut(group) })?;
    Ok(StreamWitness {
        scenario: strings.at(stream.scenario)?,
        stage: strings.at(stream.stage)?,
        group,
        digest: Digest::from_bytes(bytes),
        rows: check_value("rows of one stream", stream.rows)?,
        session: SessionIndex::new(stream.session),
        again: stream.again,
    })
}

/// A batch's string table.
#[derive(Clone, Copy)]
struct Strings<'a>(&'a [String]);

impl<'a> Strings<'a> {
    fn at(self, index: u32) -> Result<&'a str, BatchError> {
        let found = usize::try_from(index)
            .ok()
            .and_then(|place| self.0.get(place));
        found.map(String::as_str).ok_or(BatchError::String {
            index,
            count: self.0.len(),
        })
    }
}

/// As much of a hostile text as a message needs.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
#[path = "from_proto_tests.rs"]
mod tests;
