//! Merging at the coordinator: CPU per second of a run of many agents, each of which ships a batch a second.
//!
//! Batches are made and encoded here, and come to a process of their own through a pipe, as they would from the wire.
//! It decodes and merges them, and sums up progress once a second, as the driver of a run does.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use prost::Message as _;
use testmesh_coordinator::aggregate::Aggregator;
use testmesh_coordinator::phase::{Phases, WarmUp};
use testmesh_proto::v1;
use testmesh_shared::id::{AgentId, BatchSeq, Epoch, RunId, Site};
use testmesh_shared::metric::{Histogram, LabelSet, MetricId};
use testmesh_shared::wire::BatchBuilder;

use crate::cpu;
use crate::figures::{Figures, Must, Quantity, TESTMESH};
use crate::programs::itself;
use crate::slope::{Client, Effort, in_turn};

const AGENTS: u32 = 1_000;
const SITES: u32 = 4;
const SCENARIO: &str = "live";
/// Stages, each with eleven series; one more makes a hundred.
const STAGES: u32 = 9;
/// Durations that each trend gained in a second.
const SAMPLES: u32 = 100;
/// Different batches; agents take turns with them.
const PATTERNS: u32 = 64;
const TRENDS: [MetricId; 5] = [
    MetricId::StageDuration,
    MetricId::StageAttempt,
    MetricId::StreamFirstMessage,
    MetricId::StreamGap,
    MetricId::StreamLatency,
];
const COUNTERS: [MetricId; 6] = [
    MetricId::StageRetries,
    MetricId::StagePolls,
    MetricId::StreamMessages,
    MetricId::StreamRows,
    MetricId::StreamBytes,
    MetricId::IntegrityVerified,
];

/// How many agents the merging process expects.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    agents: u32,
}

/// Runs the benchmark.
pub(crate) fn run(effort: &Effort) -> Result<Figures> {
    let agents = if effort.quick { AGENTS / 10 } else { AGENTS };
    let command = move |_: &str, _| {
        let mut command = Command::new(itself()?);
        command.args(["merge-batches", "--agents", &agents.to_string()]);
        Ok(command)
    };
    let client = Client {
        name: TESTMESH,
        does: "decodes, checks and merges",
        amounts: effort.amounts((10, 40), 5),
        command: Box::new(command),
    };
    let patterns: Vec<_> = (0..PATTERNS).map(pattern).collect();
    let lines = in_turn(&[client], effort, |client, seconds| {
        let feed = |out: &mut dyn Write| feed(out, agents, u32::try_from(seconds)?, &patterns);
        let cpu = cpu::of_fed(&mut (client.command)("", seconds)?, feed)?;
        Ok(cpu.as_secs_f64())
    })?;
    Ok(Figures {
        title: format!("Merging batches of {agents} agents"),
        quantity: Quantity {
            what: "CPU per second of the run",
            unit: "cores",
            work: "seconds",
            digits: 3,
        },
        lines,
        musts: vec![Must::AtMost(1.0)],
    })
}

/// What an agent ships in a second; who and when is filled in later.
fn pattern(number: u32) -> v1::Batch {
    let mut batch = BatchBuilder::new(&RunId::generate(0), Epoch::new(1), BatchSeq::new(1), 0);
    let common = LabelSet::EMPTY
        .with("scenario", SCENARIO)
        .expect("one label is a set");
    batch.counter(MetricId::SessionsStarted, &common, 0, 1);
    batch.in_flight(SCENARIO, u64::from(number));
    for stage in 0..STAGES {
        let name = format!("stage-{stage}");
        let of_stage = common.with("stage", &name).expect("two labels are a set");
        for metric in COUNTERS {
            batch.counter(metric, &of_stage, 0, u64::from(number + stage));
        }
        for (at, metric) in (0..).zip(TRENDS) {
            let labels = if metric.metric().allows("outcome") {
                of_stage
                    .with("outcome", "passed")
                    .expect("three labels are a set")
            } else {
                of_stage
            };
            batch.trend(
                metric,
                &labels,
                0,
                &durations((number * STAGES + stage) * 5 + at),
            );
        }
    }
    batch.build()
}

/// Durations over three decades, most of them short, as those of a server are.
fn durations(seed: u32) -> Histogram {
    let mut histogram = Histogram::new();
    let mut state = u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for _ in 0..SAMPLES {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Two numbers from 1 to 32, whose product leans towards the short ones.
        let (one, other) = (1 + (state >> 59), 1 + ((state >> 40) & 31));
        let jitter = (state >> 20) & 0xFFFF;
        histogram
            .record(200_000 * one * other + jitter)
            .expect("less than an hour is in range");
    }
    histogram
}

/// Writes the batches of all agents, second by second.
fn feed(out: &mut dyn Write, agents: u32, seconds: u32, patterns: &[v1::Batch]) -> Result<()> {
    let mut frames = Vec::new();
    for second in 0..seconds {
        frames.clear();
        for (agent, pattern) in
            (0..agents).zip(patterns.iter().cycle().skip(7 * usize::try_from(second)?))
        {
            let batch = at(pattern, second);
            let length = u32::try_from(batch.encoded_len())?;
            for number in [agent, second, length] {
                frames.extend_from_slice(&number.to_le_bytes());
            }
            batch.encode(&mut frames)?;
        }
        out.write_all(&frames)?;
    }
    Ok(())
}

/// The batch as it is cut in this second.
fn at(pattern: &v1::Batch, second: u32) -> v1::Batch {
    let mut batch = pattern.clone();
    batch.seq = u64::from(second) + 1;
    batch.second = second;
    for delta in &mut batch.counters {
        delta.second = second;
    }
    for delta in &mut batch.trends {
        delta.second = second;
    }
    batch
}

/// Merges the batches that come on standard input, until it closes.
pub(crate) fn merge(options: &Options) -> Result<()> {
    let stdin = BufReader::with_capacity(1 << 20, std::io::stdin().lock());
    let merged = merge_from(stdin, options.agents)?;
    anyhow::ensure!(
        merged > 0 && merged.is_multiple_of(options.agents.into()),
        "{merged} batches came of {} agents",
        options.agents
    );
    Ok(())
}

/// Merges all batches, and tells how many there were.
fn merge_from(mut input: impl Read, agents: u32) -> Result<u64> {
    let mut aggregator = Aggregator::new(Phases::new([(SCENARIO, WarmUp::default())]));
    let named = |agent: u32| -> Result<(AgentId, Site)> {
        let (agent, site) = (format!("agent-{agent}"), format!("site-{}", agent % SITES));
        Ok((agent.parse()?, site.parse()?))
    };
    let names = (0..agents).map(named).collect::<Result<Vec<_>>>()?;
    aggregator.begin(&names, &[(SCENARIO.to_owned(), None)]);
    let (mut merged, mut now) = (0, 0);
    let mut bytes = Vec::new();
    while let Some([agent, second, length]) = header(&mut input)? {
        if second != now {
            now = second;
            let _told = aggregator.progress();
        }
        bytes.resize(usize::try_from(length)?, 0);
        input.read_exact(&mut bytes)?;
        let batch = v1::Batch::decode(&*bytes)?;
        let taken = aggregator.take(usize::try_from(agent)?, second.into(), &batch);
        let taken = taken.with_context(|| format!("agent {agent} in second {second}"))?;
        anyhow::ensure!(taken.through == batch.seq, "a batch is missing");
        merged += 1;
    }
    aggregator.finish();
    let active = aggregator.active_for().unwrap_or_default();
    anyhow::ensure!(
        active <= Duration::from_secs(u64::from(now) + 1),
        "the run lasted {active:?}"
    );
    Ok(merged)
}

/// Agent, second and length of the next batch.
fn header(input: &mut impl Read) -> Result<Option<[u32; 3]>> {
    let mut numbers = [[0; 4]; 3];
    match input.read_exact(numbers.as_flattened_mut()) {
        Ok(()) => Ok(Some(numbers.map(u32::from_le_bytes))),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_batch_has_a_hundred_series_and_is_merged() {
        let patterns = [pattern(0), pattern(1)];
        assert_eq!(patterns[0].counters.len() + patterns[0].trends.len(), 100);
        let mut fed = Vec::new();
        feed(&mut fed, 3, 4, &patterns).unwrap();
        assert_eq!(merge_from(&*fed, 3).unwrap(), 12);
        assert!(merge_from(&fed[1..], 3).is_err());
    }
}
