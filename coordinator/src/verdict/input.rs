//! What a verdict is made from: plain values, so that every case can be written down in a test.
use super::ledger;
use crate::aggregate::{Matcher, Selector, Sliding, Totals};
use crate::phase::{Phases, Span};
use crate::run::Ending;
use std::time::Duration;
use testmesh_shared::load::Model;
use testmesh_shared::metric::{self, MetricId, RateBase};
use testmesh_shared::plan::model::{self, Agg, Allow, Op, Plan, Stage, Threshold};
use testmesh_shared::plan::{FaultAction, recovery_phase};

/// Everything that is known when a run is over.
#[derive(Debug)]
pub struct Input<'a> {
    /// The plan's part.
    pub rules: &'a Rules,
    /// What was measured.
    pub totals: &'a Totals,
    /// What sliding thresholds judge, by the second.
    pub sliding: &'a Sliding,
    /// The closed ledger, one entry per scenario.
    pub ledger: &'a [ledger::Entry],
    /// How the run ended.
    pub ending: &'a Ending,
    /// Which seconds are judged.
    pub phases: &'a Phases,
    /// From the start to the end of the last session.
    pub duration: Duration,
    /// The agents' ids, by their number.
    pub agents: &'a [String],
    /// Half the width of the interval that each agent's clock offset lies in, as far as it is known.
    pub clocks: &'a [Option<Duration>],
    /// Batches that agents numbered and that never came, by agent.
    pub missing_batches: &'a [(String, u64)],
    /// Whether agents and coordinator share one process.
    pub process: Process,
    /// Failures of stages that say by themselves what is wrong with the data.
    pub explained: Explained,
    /// The threshold that ended the run, if one did.
    pub aborted: Option<&'a Aborted>,
    /// Faults that were not injected as the plan wants it, and why.
    pub faults_failed: &'a [FailedFault],
}

/// A fault that was not injected as the plan wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedFault {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

impl FailedFault {
    /// Whether a threshold asks for what is measured while the fault is there or being overcome.
    pub(super) fn is_asked_by(&self, criterion: &Criterion) -> bool {
        let text = criterion.text.replace(' ', "");
        let asks = |value: &str| {
            let matcher = format!("=\"{value}\"");
            let mut places = text.match_indices(&matcher);
            places.any(|(at, _)| !text[..at].ends_with('!'))
        };
        asks(&self.name) || asks(&recovery_phase(&self.name))
    }
}

/// A threshold that was broken while the run went on, and ended it.
#[derive(Clone, Debug, PartialEq)]
pub struct Aborted {
    /// Its number among the criteria.
    pub criterion: usize,
    /// As the plan wrote it.
    pub text: String,
    /// What it was then.
    pub observed: f64,
    /// What it was compared with.
    pub limit: f64,
    /// How far the run was.
    pub at: Duration,
}

/// How many stages failed because of the data, by their findings. Each ends a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// Streams that ended before their `stop`: `ended_early`.
    pub ended_early: u64,
    /// Rows that could not be cut from their message or told apart, which count as mismatched too.
    pub malformed_rows: u64,
}

impl Explained {
    /// The codes that malformed rows are found under.
    pub const MALFORMED: [&'static str; 2] = ["row_shape", "key_not_unique"];
}

/// Whether agents and coordinator share one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// A local run: their loops disturb each other, so they may lag more, and their CPU cannot be told apart.
    Shared,
    /// Each agent has its own.
    Apart,
}

/// What a plan says of its verdict.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// In the plan's order.
    pub criteria: Vec<Criterion>,
    /// At most this many agents may be lost.
    pub agents_lost: u32,
    /// At most this share of planned sessions may be dropped.
    pub dropped_sessions: f64,
    /// At most this lag between planned and actual start, in the open model.
    pub schedule_lag_p99: Duration,
    /// At most this lag of an agent's event loop; none: the default of the kind of run.
    pub agent_loop_lag_p99: Option<Duration>,
    /// At most this share of an agent's CPU quota.
    pub agent_cpu: f64,
    /// Every stage, with what comes before it.
    pub stages: Vec<StageFact>,
    /// Stages whose streams may lose or change rows.
    pub lossy: Vec<Lossy>,
    /// Scenarios with planned arrivals.
    pub open_scenarios: Vec<String>,
}

/// A stage whose stream may lose or change rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Lossy {
    /// The scenario, or `setup`, `teardown`.
    pub scenario: String,
    /// The stage's name.
    pub stage: String,
    /// How many of its rows.
    pub allow: Allow,
}

/// What a verdict must know of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageFact {
    /// The scenario, or `setup`, `teardown`.
    pub scenario: String,
    /// The stage's name.
    pub stage: String,
    /// The stage of the session that must pass before; none: the first, or cleanup, which always runs.
    pub after: Option<String>,
    /// Its rows are compared with a truth.
    pub has_truth: bool,
}

/// A threshold, ready to be judged.
#[derive(Clone, Debug)]
pub struct Criterion {
    /// As the plan wrote it.
    pub text: String,
    /// What is judged.
    pub left: Reading,
    /// The comparison.
    pub op: Op,
    /// What it is compared with.
    pub right: Operand,
    /// The run ends as soon as it is broken.
    pub aborts: bool,
    /// From when on it is judged; its readings select no seconds before.
    pub after: Duration,
    /// Every span of so many seconds is judged by itself.
    pub over: Option<u32>,
}

/// A metric's samples as one number.
#[derive(Clone, Debug)]
pub struct Reading {
    /// How samples become one number.
    pub agg: Agg,
    /// The metric.
    pub metric: MetricId,
    /// Which series and seconds count.
    pub selector: Selector,
    /// The aggregate is multiplied by this.
    pub factor: f64,
}

/// The right side of a threshold.
#[derive(Clone, Debug)]
pub enum Operand {
    /// In the base unit of the left side.
    Value(f64),
    /// Another metric, or the same one elsewhere.
    Reading(Reading),
}

impl Rules {
    /// Reads them from a plan.
    pub fn of(plan: &Plan) -> Self {
        let mut stages = Vec::new();
        let mut lossy = Vec::new();
        for scenario in &plan.scenarios {
            collect(&scenario.name, &scenario.stages, &mut stages);
            for stage in &scenario.cleanup {
                flatten(&scenario.name, stage, None, &mut stages);
            }
            let all = scenario.stages.iter().chain(&scenario.cleanup);
            all.for_each(|stage| collect_lossy(&scenario.name, stage, &mut lossy));
        }
        for (part, of) in [("setup", &plan.setup), ("teardown", &plan.teardown)] {
            collect(part, of, &mut stages);
            of.iter()
                .for_each(|stage| collect_lossy(part, stage, &mut lossy));
        }
        for fault in &plan.faults {
            if let FaultAction::Stage { inject, revert } = &fault.action {
                let all = inject.iter().chain(revert);
                all.for_each(|stage| flatten("faults", stage, None, &mut stages));
            }
        }
        let validity = &plan.validity;
        let phases = Phases::of(plan);
        let criteria = plan.thresholds.iter();
        Self {
            criteria: criteria
                .filter_map(|threshold| Criterion::of(threshold, &phases))
                .collect(),
            agents_lost: validity.agents_lost,
            dropped_sessions: validity.dropped_sessions,
            schedule_lag_p99: validity.schedule_lag_p99,
            agent_loop_lag_p99: validity.agent_loop_lag_p99,
            agent_cpu: validity.agent_cpu,
            stages,
            lossy,
            open_scenarios: (plan.scenarios.iter())
                .filter(|scenario| scenario.load.model() == Model::Open)
                .map(|scenario| scenario.name.clone())
                .collect(),
        }
    }
}

impl Criterion {
    /// Reads one from a plan, whose loader has refused unknown metrics.
    fn of(threshold: &Threshold, phases: &Phases) -> Option<Self> {
        let reading = |reading: &model::Reading| Reading::of(reading, threshold.after, phases);
        let over = threshold.over.map(|over| over.as_secs());
        Some(Self {
            text: threshold.text.clone(),
            left: reading(&threshold.left)?,
            op: threshold.op,
            right: match &threshold.right {
                model::Operand::Value { value, .. } => Operand::Value(*value),
                model::Operand::Reading(right) => Operand::Reading(reading(right)?),
            },
            aborts: threshold.aborts,
            after: threshold.after,
            over: over.map(|over| u32::try_from(over).unwrap_or(u32::MAX)),
        })
    }

    /// The readings of both sides, the left one first.
    pub fn readings(&self) -> impl Iterator<Item = &Reading> {
        let right = match &self.right {
            Operand::Reading(reading) => Some(reading),
            Operand::Value(_) => None,
        };
        std::iter::once(&self.left).chain(right)
    }
}

impl Reading {
    fn of(reading: &model::Reading, after: Duration, phases: &Phases) -> Option<Self> {
        let matchers = reading.matchers.iter().map(|matcher| Matcher {
            label: matcher.label.clone(),
            equal: matcher.equal,
            value: matcher.value.clone(),
        });
        Some(Self {
            agg: reading.agg,
            metric: metric::by_name(&reading.metric)?.id,
            selector: Selector::new(matchers, phases).from_time(phases.after(after)),
            factor: reading.factor,
        })
    }

    /// The seconds that count.
    pub fn span(&self) -> Span {
        self.selector.span_or(Span::usual(self.metric))
    }

    /// What `rate` divides by: a metric, its series, and the seconds that count.
    pub fn base(&self) -> Option<(RateBase, MetricId, Selector, Span)> {
        if self.agg != Agg::Rate {
            return None;
        }
        let selector = self.selector.without("error");
        let base = self.metric.metric().rate_base?;
        let (metric, usual) = match base {
            RateBase::Planned => (MetricId::SessionsPlanned, Span::ALL),
            RateBase::Started => (MetricId::SessionsStarted, Span::ALL),
            // Of the same seconds as what is divided.
            RateBase::StageRuns => (MetricId::StageDuration, Span::usual(self.metric)),
            RateBase::Rows => (MetricId::StreamRows, Span::ALL),
        };
        let span = selector.span_or(usual);
        Some((base, metric, selector, span))
    }
}

fn collect(scenario: &str, stages: &[Stage], into: &mut Vec<StageFact>) {
    let mut after = None;
    for stage in stages {
        flatten(scenario, stage, after, into);
        after = Some(stage.name.as_str());
    }
}

fn flatten(scenario: &str, stage: &Stage, after: Option<&str>, into: &mut Vec<StageFact>) {
    into.push(StageFact {
        scenario: scenario.to_owned(),
        stage: stage.name.clone(),
        after: after.map(str::to_owned),
        has_truth: stage
            .integrity
            .as_ref()
            .is_some_and(|integrity| integrity.truth.is_some()),
    });
    for stage in stage.inner() {
        flatten(scenario, stage, after, into);
    }
}

fn collect_lossy(scenario: &str, stage: &Stage, into: &mut Vec<Lossy>) {
    let allow = stage.integrity.as_ref().map(|integrity| integrity.allow);
    let allow = allow.filter(|allow| *allow != Allow::default());
    into.extend(allow.map(|allow| Lossy {
        scenario: scenario.to_owned(),
        stage: stage.name.clone(),
        allow,
    }));
    stage
        .inner()
        .for_each(|stage| collect_lossy(scenario, stage, into));
}

#[cfg(test)]
mod tests {
    use testmesh_shared::plan::{self, NoFiles, Source, VarOverrides};

    use super::*;

    #[test]
    fn stages_beside_a_stream_are_known_and_have_their_turn_with_it() {
        let text = "testmesh: v1\nname: t\ntargets: { a: { grpc: { reflection: true }, address: 'a:1' } }\nscenarios:\n  s:\n    load: once\n    stages:\n      - { name: first, wait: { for: 1s } }\n      - name: stream\n        grpc:\n          target: a\n          call: s/m\n          during: [ { name: beside, grpc: { target: a, call: s/n, stop: end }, integrity: { sequence: n, allow: { missing: 1% } } } ]\n";
        let source = Source {
            name: "t.yaml",
            text,
            files: &NoFiles,
        };
        let loaded = plan::load(
            source,
            &VarOverrides::default(),
            testmesh_agent::driver::DRIVERS,
        );
        let rules = Rules::of(&loaded.expect("a plan").0);
        let facts: Vec<_> = rules
            .stages
            .iter()
            .map(|fact| (fact.stage.as_str(), fact.after.as_deref()))
            .collect();
        assert_eq!(
            facts,
            [
                ("first", None),
                ("stream", Some("first")),
                ("beside", Some("first"))
            ]
        );
        assert_eq!(rules.lossy[0].stage, "beside");
    }
}
