//! From everything that is known of a run to its report. Pure.
use super::event::Ending;
use super::settings::settings;
use super::submission::Submission;
use crate::aggregate::{Aggregator, Rollup, Selector, Span};
use crate::report::model::{
    Agent, Fault, Integrity, Report, RunInfo, SCHEMA, Scenario, Site, SiteConnect, StartSkew, Tool,
};
use crate::verdict::{self, Aborted, Explained, FailedFault, Input, Process, Rules, ledger};
use std::collections::BTreeMap;
use std::time::Duration;
use testmesh_shared::metric::MetricId;

/// What is known of a run besides its measurements.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What was asked.
    pub submission: Submission,
    /// Coordinator time of the start, if it came to that.
    pub started_ns: Option<i64>,
    /// From the start until every agent was drained; the report says when the last session ended, if that is known.
    pub duration: Duration,
    /// How it ended.
    pub ending: Ending,
    /// Who measured.
    pub agents: Vec<Agent>,
    /// Runtimes of each agent.
    pub runtimes: Vec<u32>,
    /// How far apart they started.
    pub start_skew: Option<StartSkew>,
    /// Whether agents and coordinator share one process.
    pub process: Process,
    /// The threshold that ended the run, if one did.
    pub aborted: Option<Aborted>,
    /// What became of the plan's faults.
    pub faults: Vec<Fault>,
    /// Faults that were not injected as the plan wants it, and why.
    pub faults_failed: Vec<FailedFault>,
}

/// The report of a run whose aggregate is finished, and what renderers need besides.
pub fn report(aggregator: &Aggregator, mut facts: Facts) -> (Report, Rollup) {
    // Cleanup, an agent's lease and its last batches come after the last session, and take nobody's time but ours.
    let active = aggregator.active_for().unwrap_or(facts.duration);
    facts.duration = facts.duration.min(active);
    let plan = &facts.submission.plan;
    let rules = Rules::of(plan);
    let entries = aggregator.ledger();
    let agents: Vec<_> = facts.agents.iter().map(|agent| agent.id.clone()).collect();
    let clock = |agent: &Agent| Duration::try_from_secs_f64(agent.clock_uncertainty?).ok();
    let clocks: Vec<_> = facts.agents.iter().map(clock).collect();
    let missing = aggregator.missing_batches();
    let verdict = verdict::judge(&Input {
        rules: &rules,
        totals: aggregator.totals(),
        sliding: aggregator.sliding(),
        ledger: &entries,
        ending: &facts.ending,
        phases: aggregator.phases(),
        duration: facts.duration,
        agents: &agents,
        clocks: &clocks,
        aborted: facts.aborted.as_ref(),
        missing_batches: &missing,
        process: facts.process,
        faults_failed: &facts.faults_failed,
        explained: Explained {
            ended_early: aggregator.found("ended_early"),
            malformed_rows: Explained::MALFORMED
                .iter()
                .map(|code| aggregator.found(code))
                .fold(0, u64::saturating_add),
        },
    });
    let mut rollup = Rollup::of(aggregator, &entries);
    let report = Report {
        schema: SCHEMA.to_owned(),
        tool: Tool {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: testmesh_proto::PROTOCOL,
        },
        run: run_info(&facts),
        verdict: verdict.kind,
        exit_code: i32::from(verdict.exit_code.code()),
        reasons: verdict.reasons,
        sessions: ledger::sum(&entries),
        scenarios: entries
            .iter()
            .map(|entry| scenario(aggregator, entry))
            .collect(),
        thresholds: verdict.thresholds,
        integrity: integrity(aggregator),
        metrics: std::mem::take(&mut rollup.metrics),
        stages: std::mem::take(&mut rollup.stages),
        phases: aggregator.phases().report(facts.duration),
        series: std::mem::take(&mut rollup.series),
        sites: sites(aggregator, &facts.agents),
        settings: settings(&facts, rollup.windows.resolution_s),
        agents: facts.agents,
        start_skew: facts.start_skew,
        faults: facts.faults,
        findings: aggregator.findings(),
        slowest: aggregator.slowest(),
    };
    (report, rollup)
}

fn run_info(facts: &Facts) -> RunInfo {
    let submission = &facts.submission;
    let started = facts
        .started_ns
        .and_then(|ns| jiff::Timestamp::from_nanosecond(i128::from(ns)).ok());
    RunInfo {
        id: submission.id.to_string(),
        plan: submission.plan.name.clone(),
        part: submission.narrowing.part().cloned(),
        plan_digest: submission.plan.digest.to_string(),
        started_at: started.map(|at| format!("{at:.3}")),
        duration: facts.duration.as_secs_f64(),
        seed: submission.seed,
        vars: submission
            .plan
            .vars
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    }
}

fn scenario(aggregator: &Aggregator, entry: &ledger::Entry) -> Scenario {
    let selector = Selector::all().with("scenario", &entry.scenario);
    let levels = aggregator
        .totals()
        .extremes(MetricId::SessionsActive, &selector, Span::ALL);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a sum of counts"
    )]
    let concurrency_max = levels.map_or(0, |levels| levels.max as u64);
    Scenario {
        name: entry.scenario.clone(),
        sessions: entry.sessions,
        concurrency_max,
    }
}

fn integrity(aggregator: &Aggregator) -> Integrity {
    let totals = aggregator.totals();
    let count = |metric| totals.counter(metric, &Selector::all(), Span::ALL);
    Integrity {
        streams: totals
            .trend(MetricId::StreamDuration, &Selector::all(), Span::ALL)
            .count(),
        rows: count(MetricId::StreamRows),
        bytes: count(MetricId::StreamBytes),
        verified: count(MetricId::IntegrityVerified),
        missing: count(MetricId::IntegrityMissing),
        repeated: count(MetricId::IntegrityRepeated),
        reordered: count(MetricId::IntegrityReordered),
        mismatched: count(MetricId::IntegrityMismatched),
        unwitnessed: count(MetricId::IntegrityUnwitnessed),
        unverified: count(MetricId::IntegrityUnverified),
        disagreements: aggregator.disagreements(),
    }
}

fn sites(aggregator: &Aggregator, agents: &[Agent]) -> Vec<Site> {
    let mut sites: BTreeMap<&str, u64> = BTreeMap::new();
    for agent in agents {
        *sites.entry(&agent.site).or_default() += 1;
    }
    let site = |(name, agents): (&str, u64)| {
        let selector = Selector::all().with("site", name);
        let connects = aggregator
            .totals()
            .trend(MetricId::StageConnect, &selector, Span::ALL);
        let percentile = |percent| {
            connects
                .percentile(percent)
                .map(|ns| Duration::from_nanos(ns).as_secs_f64())
        };
        Site {
            name: name.to_owned(),
            agents,
            connect: SiteConnect {
                p50: percentile(50.0),
                p95: percentile(95.0),
            },
        }
    };
    sites.into_iter().map(site).collect()
}
