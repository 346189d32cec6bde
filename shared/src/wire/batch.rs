//! A batch that came through the door: it makes sense, and borrows from the message it came in.

use testmesh_proto::v1;

use crate::digest::{Digest, RowDigest};
use crate::id::{AgentId, BatchSeq, Epoch, RunId, SessionIndex, Site};
use crate::integrity::Key;
use crate::metric::{Change, LabelSet, MetricId};

/// Who sent a batch: what its series are labelled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The agent.
    pub agent: AgentId,
    /// Where it runs.
    pub site: Site,
}

/// A batch that makes sense. It borrows from the message it came in.
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    /// The run.
    pub run: RunId,
    /// The start of the agent's process.
    pub epoch: Epoch,
    /// Its number.
    pub seq: BatchSeq,
    /// The second of the run in which it was cut.
    pub second: u32,
    /// What series gained.
    pub deltas: Vec<Delta<'a>>,
    /// Rows that were seen.
    pub rows: Vec<RowWitnesses<'a>>,
    /// Streams that were seen.
    pub streams: Vec<StreamWitness<'a>>,
    /// Findings.
    pub findings: &'a [v1::Finding],
    /// Slowest sessions.
    pub slowest: &'a [v1::SlowSession],
    /// Scenarios, and how many of their sessions are in flight.
    pub in_flight: Vec<(&'a str, u64)>,
    /// What bounds cost, by reason.
    pub losses: Vec<(&'a str, u64)>,
}

/// What one series gained in one second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Delta<'a> {
    /// The metric.
    pub metric: MetricId,
    /// Its labels, `site` included, and `agent` if the metric carries it.
    pub labels: LabelSet<'a>,
    /// The second that the measurements belong to.
    pub second: u32,
    /// What it gained; of the metric's kind.
    pub change: Change<'a>,
}

/// Rows that sessions of one agent saw in streams of one group.
#[derive(Debug, Clone, Copy)]
pub struct RowWitnesses<'a> {
    /// The scenario.
    pub scenario: &'a str,
    /// The stage.
    pub stage: &'a str,
    /// The group.
    pub group: &'a str,
    pub(super) rows: &'a v1::RowWitness,
}

/// One row that sessions of one agent saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessedRow<'a> {
    /// Which row it is.
    pub key: Key<'a>,
    /// What its payload digests to.
    pub digest: RowDigest,
    /// How many distinct sessions of the agent saw it so that had not been told of before; none: all had been.
    pub sessions: u32,
    /// How many rows that was; at least one, and one for each session.
    pub rows: u64,
    /// One of them.
    pub witness: SessionIndex,
}

impl<'a> RowWitnesses<'a> {
    /// How many rows there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.digests.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.digests.is_empty()
    }

    /// The rows.
    pub fn iter(&self) -> impl Iterator<Item = WitnessedRow<'a>> + use<'a> {
        let rows = self.rows;
        let mut last = 0i64;
        let mut numbers = rows.keys.iter();
        let mut texts = rows.text_keys.iter();
        // One of both lists is empty: `row_witnesses` has seen to it.
        let keys = std::iter::from_fn(move || match numbers.next() {
            Some(difference) => {
                last = last.wrapping_add(*difference);
                Some(Key::Number(last))
            }
            None => texts.next().map(|text| Key::Text(text.as_str().into())),
        });
        let each = rows.rows.iter().copied().map(Some);
        let each = each.chain(std::iter::repeat(None));
        keys.zip(&rows.digests)
            .zip(&rows.sessions)
            .zip(&rows.witness)
            .zip(each)
            .map(|((((key, digest), sessions), witness), rows)| {
                let (digest, witness) = (RowDigest::from_u64(*digest), SessionIndex::new(*witness));
                WitnessedRow {
                    key,
                    digest,
                    sessions: *sessions,
                    rows: rows.unwrap_or_else(|| u64::from(*sessions)),
                    witness,
                }
            })
    }
}

/// One whole stream that a session saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamWitness<'a> {
    /// The scenario.
    pub scenario: &'a str,
    /// The stage.
    pub stage: &'a str,
    /// The group.
    pub group: &'a str,
    /// What its payload digests to.
    pub digest: Digest,
    /// How many rows it had.
    pub rows: u64,
    /// The session.
    pub session: SessionIndex,
    /// The session has been told with an equal stream before: it is no further witness.
    pub again: bool,
}
