//! Merged equals pooled: however measurements are split over agents, and however their batches travel, what the coordinator
//! merges is what one histogram would hold that had seen everything.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use prost::Message as _;
use testmesh_coordinator::{
    aggregate::{Aggregator, Rollup, Selector, Span},
    phase::Phases,
};
use testmesh_proto::v1;
use testmesh_shared::{
    digest::RowDigest,
    id::{AgentId, BatchSeq, Epoch, SessionIndex, Site},
    integrity::Key,
    metric::{Histogram, LabelSet, MetricId},
    wire::{BatchBuilder, SeenRow},
};

const SECONDS: u32 = 12;
/// The coordinator's second of the run when everything has come.
const NOW: u64 = 100;
/// Batches of one agent that are under way at once.
const UNDER_WAY: usize = 8;

/// One measurement.
#[derive(Clone, Debug)]
struct Sample {
    /// Who measured it, of 64; of fewer agents, one of them.
    agent: usize,
    /// The second in which its batch was cut, and how many before that it began.
    cut: u32,
    age: u32,
    stage: u8,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Took(u64),
    Counted(u64),
    /// A session saw a row, as it is or as it is not.
    Row(i64, bool),
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let what = prop_oneof![
        4 => (0..5_000_000_000_u64).prop_map(What::Took),
        1 => (0..=3_600_000_000_000_u64).prop_map(What::Took),
        2 => (0..1_u64 << 40).prop_map(What::Counted),
        2 => (0..20_i64, prop::bool::weighted(0.9)).prop_map(|(key, right)| What::Row(key, right)),
    ];
    let sample = (0..64_usize, 0..SECONDS, 0..4_u32, 0..3_u8, what);
    let sample = sample.prop_map(|(agent, cut, age, stage, what)| Sample {
        agent,
        cut,
        age: age.min(cut),
        stage,
        what,
    });
    prop::collection::vec(sample, 0..400)
}

/// What one agent ships for one second.
#[derive(Default)]
struct Cut {
    trends: BTreeMap<(u8, u32), Histogram>,
    counters: BTreeMap<(u8, u32), u64>,
    rows: BTreeMap<(i64, u64), (u32, u64)>,
}

impl Cut {
    /// `session` is nobody else's.
    fn add(&mut self, sample: &Sample, session: u64) {
        let place = (sample.stage, sample.cut - sample.age);
        match sample.what {
            What::Took(ns) => {
                let trend = self.trends.entry(place).or_default();
                trend.record(ns).expect("an hour at most");
            }
            What::Counted(more) => *self.counters.entry(place).or_default() += more,
            What::Row(key, right) => {
                let seen = self.rows.entry((key, u64::from(right))).or_default();
                *seen = (seen.0 + 1, session);
            }
        }
    }

    /// As it goes over the wire, and comes from there.
    fn batch(&self, seq: u64, second: u32) -> v1::Batch {
        let run = "20261122-000000-0000".parse().expect("a run's id");
        let mut batch = BatchBuilder::new(&run, Epoch::new(7), BatchSeq::new(seq), second);
        for ((stage, second), trend) in &self.trends {
            let stage = format!("stage-{stage}");
            let labels = [("scenario", "s"), ("stage", &stage), ("outcome", "passed")];
            let labels = LabelSet::new(&labels).expect("few labels");
            batch.trend(MetricId::StageDuration, &labels, *second, trend);
        }
        for ((stage, second), more) in &self.counters {
            let stage = format!("stage-{stage}");
            let labels = [("scenario", "s"), ("stage", &*stage)];
            let labels = LabelSet::new(&labels).expect("few labels");
            batch.counter(MetricId::StagePolls, &labels, *second, *more);
        }
        let rows = self
            .rows
            .iter()
            .map(|((key, digest), (sessions, witness))| SeenRow {
                key: Key::Number(*key),
                digest: RowDigest::from_u64(*digest),
                sessions: *sessions,
                rows: u64::from(*sessions),
                witness: SessionIndex::new(*witness),
            });
        batch.rows("s", "stage-0", "g", rows);
        let bytes = batch.build().encode_to_vec();
        v1::Batch::decode(&*bytes).expect("a batch decodes")
    }
}

fn aggregator(agents: usize) -> Aggregator {
    let mut aggregator = Aggregator::new(Phases::default());
    let agent = |number: usize| -> (AgentId, Site) {
        let id = format!("agent-{number}").parse().expect("an agent's id");
        (id, "local".parse().expect("a site"))
    };
    let agents: Vec<_> = (0..agents).map(agent).collect();
    aggregator.begin(&agents, &[("s".to_owned(), None)]);
    aggregator
}

/// Chance, by `SplitMix64`: proptest keeps the seed, and shrinks what is sent rather than how.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).expect("below a usize")
    }
}

/// One agent's batches, numbered from 1, and what of them was acknowledged.
struct Spool {
    batches: Vec<v1::Batch>,
    acknowledged: usize,
}

/// Carries batches to the aggregator until all are acknowledged: in any order, some lost, some twice, and what was not
/// acknowledged again.
fn carry(aggregator: &mut Aggregator, mut spools: Vec<Spool>, chance: &mut Chance) {
    let mut open: BTreeSet<usize> = (0..spools.len()).collect();
    while !open.is_empty() {
        let place = chance.below(open.len());
        let agent = *open.iter().nth(place).expect("it is one of them");
        let spool = &mut spools[agent];
        let waiting = spool.batches.len() - spool.acknowledged;
        if waiting == 0 {
            open.remove(&agent);
            continue;
        }
        let mut under_way: Vec<usize> = (0..waiting.min(1 + chance.below(UNDER_WAY)))
            .map(|ahead| spool.acknowledged + ahead)
            .collect();
        while !under_way.is_empty() {
            let next = under_way.swap_remove(chance.below(under_way.len()));
            let times = [0, 1, 1, 2][chance.below(4)];
            for _ in 0..times {
                let taken = aggregator.take(agent, NOW, &spool.batches[next]);
                let through = taken.expect("a batch makes sense").through;
                spool.acknowledged = usize::try_from(through).expect("few batches");
            }
        }
    }
}

/// What rows come to that were seen so: verified, mismatched, unwitnessed.
fn rows(samples: &[Sample]) -> [u64; 3] {
    let mut seen: BTreeMap<i64, [u64; 2]> = BTreeMap::new();
    for sample in samples {
        if let What::Row(key, right) = sample.what {
            seen.entry(key).or_default()[usize::from(right)] += 1;
        }
    }
    let settle = |[wrong, right]: [u64; 2]| match (wrong + right, wrong.cmp(&right)) {
        (1, _) => [0, 0, 1],
        (all, std::cmp::Ordering::Equal) => [0, all, 0],
        _ => [wrong.max(right), wrong.min(right), 0],
    };
    seen.into_values().map(settle).fold([0; 3], |sum, one| {
        [sum[0] + one[0], sum[1] + one[1], sum[2] + one[2]]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn merged_equals_pooled_bit_for_bit(
        samples in samples(),
        agents in prop_oneof![Just(1_usize), Just(64), 1..=64_usize],
        seed in any::<u64>(),
    ) {
        let mut cuts: Vec<Vec<Cut>> = (0..agents)
            .map(|_| (0..SECONDS).map(|_| Cut::default()).collect())
            .collect();
        let mut pooled = Cut::default();
        let (mut durations, mut counted) = (Histogram::new(), 0);
        for (session, sample) in (0..).zip(&samples) {
            cuts[sample.agent % agents][sample.cut as usize].add(sample, session);
            pooled.add(sample, session);
            match sample.what {
                What::Took(ns) => durations.record(ns).expect("an hour at most"),
                What::Counted(more) => counted += more,
                What::Row(..) => {}
            }
        }
        let spool = |seconds: &Vec<Cut>| Spool {
            batches: (0..).zip(seconds).map(|(second, cut)| cut.batch(u64::from(second) + 1, second)).collect(),
            acknowledged: 0,
        };
        let mut merged = aggregator(agents);
        carry(&mut merged, cuts.iter().map(spool).collect(), &mut Chance(seed));
        merged.finish();
        prop_assert_eq!(merged.missing_batches(), []);

        // What no testmesh touched.
        let all = Selector::all();
        let totals = merged.totals();
        prop_assert_eq!(&totals.trend(MetricId::StageDuration, &all, Span::ALL), &durations);
        prop_assert_eq!(totals.counter(MetricId::StagePolls, &all, Span::ALL), counted);
        let settled = [MetricId::IntegrityVerified, MetricId::IntegrityMismatched, MetricId::IntegrityUnwitnessed];
        prop_assert_eq!(settled.map(|metric| totals.counter(metric, &all, Span::ALL)), rows(&samples));

        // And what one agent would have shipped in one batch, to the last line of the report.
        let mut whole = aggregator(1);
        whole.take(0, NOW, &pooled.batch(1, SECONDS)).expect("a batch makes sense");
        whole.finish();
        let shown = |aggregator: &Aggregator| {
            let rollup = Rollup::of(aggregator, &[]);
            let mut rows: Vec<String> = rollup.metrics.iter().map(|row| format!("{row:?}")).collect();
            rows.sort_unstable();
            rows
        };
        prop_assert_eq!(shown(&merged), shown(&whole));
    }
}
