//! The aggregate of one run: everything that its agents measured, merged exactly once.
//!
//! Owned by the run's driver. [`Aggregator::take`] is the only way in for measurements; nothing it refuses has changed
//! anything that is judged.
use super::activity::Activity;
use super::agree::{Agree, Key, Place, Sighting};
use super::findings::{Findings, Novelty, Slowest};
use super::ingest::{Admission, Ingest};
use super::screenshots::Screenshots;
use super::sliding::Sliding;
use super::totals::{Selector, Totals};
use super::windows::Windows;
use crate::limits;
use crate::phase::{Phases, Span};
use crate::report::model::{Disagreement, Evidence, Finding, Severity, SlowSession, SlowStage};
use crate::run::{AgentIndex, Progress, ScenarioProgress};
use crate::verdict::ledger::{self, Counted};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testmesh_proto::v1;
use testmesh_shared::id::{AgentId, Site};
use testmesh_shared::integrity::Key as RowKey;
use testmesh_shared::metric::{Change, Histogram, LabelSet, MetricId, TrendDelta};
use testmesh_shared::wire::{self, BatchError, Origin};

/// Seconds that a batch may be ahead of the coordinator's own clock.
const AHEAD_MAX: u64 = 30;

/// Why a batch is refused. Its agent cannot be trusted any more.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// It is not a batch.
    #[error("it is malformed")]
    Malformed(#[source] BatchError),
    /// Its number is impossible.
    #[error("number {seq} of epoch {epoch} cannot follow {through}")]
    Sequence {
        /// The batch's epoch.
        epoch: u64,
        /// The batch's number.
        seq: u64,
        /// What is merged.
        through: u64,
    },
    /// It measures the future.
    #[error("it measures second {second}, and the run is in second {now}")]
    Future {
        /// The second.
        second: u32,
        /// The coordinator's.
        now: u64,
    },
    /// It names a scenario that the plan does not have.
    #[error("it counts sessions of scenario `{0}`, which the plan does not have")]
    Scenario(String),
    /// The agent is none of this run.
    #[error("agent {0} is none of this run")]
    Agent(AgentIndex),
}

/// What became of a batch.
#[derive(Debug)]
pub struct Taken {
    /// Everything up to this number is merged.
    pub through: u64,
    /// Findings that are the first of their kind.
    pub news: Vec<Finding>,
}

#[derive(Debug)]
struct Source {
    origin: Arc<Origin>,
    ingest: Ingest,
    last_seq: Option<u64>,
    /// By scenario.
    counted: BTreeMap<Arc<str>, Counted>,
    in_flight: BTreeMap<Arc<str>, u64>,
    /// The second in which its latest batch was cut.
    second: u32,
    /// It is given up.
    gone: bool,
}

/// Everything that was measured in one run.
#[derive(Debug)]
pub struct Aggregator {
    phases: Phases,
    sources: Vec<Source>,
    planned: Vec<(Arc<str>, Option<u64>)>,
    pub(super) totals: Totals,
    pub(super) windows: Windows,
    sliding: Sliding,
    pub(super) agree: Agree,
    pub(super) findings: Findings,
    screenshots: Screenshots,
    pub(super) slowest: Slowest,
    rows: u64,
    activity: Activity,
    series_limit_told: bool,
}

impl Aggregator {
    /// An empty aggregate.
    pub fn new(phases: Phases) -> Self {
        Self {
            phases,
            sources: Vec::new(),
            planned: Vec::new(),
            totals: Totals::default(),
            windows: Windows::default(),
            sliding: Sliding::default(),
            agree: Agree::default(),
            findings: Findings::default(),
            screenshots: Screenshots::default(),
            slowest: Slowest::default(),
            rows: 0,
            activity: Activity::default(),
            series_limit_told: false,
        }
    }

    /// The same, which also keeps what sliding thresholds judge.
    #[must_use]
    pub fn with_sliding(mut self, sliding: Sliding) -> Self {
        self.sliding = sliding;
        self
    }

    /// Names the agents, `(id, site)` by their number, and the sessions that the plan asks of each scenario.
    pub fn begin(&mut self, agents: &[(AgentId, Site)], planned: &[(String, Option<u64>)]) {
        let source = |(agent, site): &(AgentId, Site)| Source {
            origin: Arc::new(Origin {
                agent: agent.clone(),
                site: site.clone(),
            }),
            ingest: Ingest::default(),
            last_seq: None,
            counted: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            second: 0,
            gone: false,
        };
        self.sources = agents.iter().map(source).collect();
        self.planned = planned
            .iter()
            .map(|(name, planned)| (name.as_str().into(), *planned))
            .collect();
    }

    /// Merges a batch, unless it was merged before. `now` is the coordinator's second of the run.
    ///
    /// # Errors
    ///
    /// If it is nonsense. Nothing was merged then.
    pub fn take(
        &mut self,
        agent: AgentIndex,
        now: u64,
        batch: &v1::Batch,
    ) -> Result<Taken, IngestError> {
        let origin = Arc::clone(
            &self
                .sources
                .get(agent)
                .ok_or(IngestError::Agent(agent))?
                .origin,
        );
        let decoded = wire::batch(batch, &origin).map_err(IngestError::Malformed)?;
        self.check(now, &decoded)?;
        let source = &mut self.sources[agent];
        let (epoch, seq) = (batch.epoch, batch.seq);
        let admission = source.ingest.admit(epoch, seq);
        let through = source.ingest.through();
        match admission {
            Admission::Nonsense => {
                return Err(IngestError::Sequence {
                    epoch,
                    seq,
                    through,
                });
            }
            Admission::Repeat => {
                return Ok(Taken {
                    through,
                    news: Vec::new(),
                });
            }
            Admission::Merge => {}
        }
        self.merge_changes(agent, &decoded);
        self.merge_rows(agent, &decoded);
        let mut news = self.merge_findings(agent, batch);
        news.extend(self.losses(agent, batch));
        self.count_settled();
        Ok(Taken { through, news })
    }

    /// Refuses what decodes and cannot be true.
    fn check(&self, now: u64, batch: &wire::Batch<'_>) -> Result<(), IngestError> {
        let seconds = batch.deltas.iter().map(|change| change.second);
        let latest = seconds.fold(batch.second, u32::max);
        if u64::from(latest) > now.saturating_add(AHEAD_MAX) {
            let second = latest;
            return Err(IngestError::Future { second, now });
        }
        for change in &batch.deltas {
            let scenario = change.labels.value("scenario");
            let of_ledger = counted_field(change.metric).is_some();
            if let Some(scenario) = scenario.filter(|name| {
                of_ledger && !self.planned.iter().any(|(known, _)| **known == **name)
            }) {
                return Err(IngestError::Scenario(
                    scenario.chars().take(limits::MAX_NAME).collect(),
                ));
            }
        }
        Ok(())
    }

    fn merge_changes(&mut self, agent: AgentIndex, batch: &wire::Batch<'_>) {
        for change in &batch.deltas {
            if let Change::Counter(more) = change.change {
                self.count(agent, change.metric, change.labels.value("scenario"), more);
            }
            self.activity.note(change);
            // What is planned, unstarted or lost is the ledger's to say: an agent that is lost cannot.
            if ledger_alone_says(change.metric) {
                continue;
            }
            self.add(change.metric, &change.labels, change.second, &change.change);
        }
        let source = &mut self.sources[agent];
        source.second = source.second.max(batch.second);
        source.in_flight = batch
            .in_flight
            .iter()
            .map(|(scenario, count)| (Arc::from(*scenario), *count))
            .collect();
    }

    fn count(&mut self, agent: AgentIndex, metric: MetricId, scenario: Option<&str>, more: u64) {
        if metric == MetricId::StreamRows {
            self.rows = self.rows.saturating_add(more);
        }
        let (Some(field), Some(scenario)) = (counted_field(metric), scenario) else {
            return;
        };
        let counted = self.sources[agent]
            .counted
            .entry(Arc::from(scenario))
            .or_default();
        let value = field(counted);
        *value = value.saturating_add(more);
    }

    fn add(&mut self, metric: MetricId, labels: &LabelSet<'_>, second: u32, change: &Change<'_>) {
        // A refusal is counted by the totals, and told as a finding.
        let Ok(id) = self.totals.intern(metric, labels) else {
            return;
        };
        let class = self.phases.class(labels.value("scenario"), second);
        self.totals.add(id, second, class, change);
        self.sliding
            .add(id, self.totals.key(id), second, class, change);
        if !metric.metric().is_of_agent() {
            self.windows.add(id, second, change);
        }
    }

    fn merge_rows(&mut self, agent: AgentIndex, batch: &wire::Batch<'_>) {
        let site: Arc<str> = self.sources[agent].origin.site.as_str().into();
        let agent =
            u16::try_from(agent).expect("a run has at most as many agents as a coordinator takes");
        for group in &batch.rows {
            let place = Place {
                scenario: group.scenario.into(),
                stage: group.stage.into(),
                site: Arc::clone(&site),
            };
            let place = self.agree.place(&place);
            let id = self.agree.group(group.group);
            for row in group.iter() {
                let key = match row.key {
                    RowKey::Number(number) => Key::Number(number),
                    RowKey::Text(text) => Key::Text(text.into()),
                };
                let digest = u128::from(row.digest.as_u64());
                let (sessions, rows, witness) = (row.sessions, row.rows, row.witness.get());
                self.agree.see(
                    id,
                    key,
                    batch.second,
                    place,
                    Sighting {
                        digest,
                        sessions,
                        rows,
                        witness,
                        agent,
                    },
                );
            }
        }
        for stream in &batch.streams {
            let place = Place {
                scenario: stream.scenario.into(),
                stage: stream.stage.into(),
                site: Arc::clone(&site),
            };
            let place = self.agree.place(&place);
            let id = self.agree.group(stream.group);
            let (digest, rows, witness) =
                (stream.digest.as_u128(), stream.rows, stream.session.get());
            self.agree.see(
                id,
                Key::Stream,
                batch.second,
                place,
                Sighting {
                    digest,
                    sessions: u32::from(!stream.again),
                    rows,
                    witness,
                    agent,
                },
            );
        }
    }

    fn merge_findings(&mut self, agent: AgentIndex, batch: &v1::Batch) -> Vec<Finding> {
        let origin = &self.sources[agent].origin;
        let (id, site) = (origin.agent.to_string(), origin.site.to_string());
        for session in &batch.slowest {
            let stages = session
                .stages
                .iter()
                .take(limits::MAX_LABELS)
                .map(|stage| SlowStage {
                    stage: short(&stage.stage),
                    duration: seconds(stage.duration_ns),
                    outcome: short(&stage.outcome),
                });
            self.slowest.add(SlowSession {
                session: short(&session.session),
                trace_id: short(&session.trace_id),
                agent: id.clone(),
                site: site.clone(),
                duration: seconds(session.duration_ns),
                stages: stages.collect(),
            });
        }
        let mut news = Vec::new();
        for finding in &batch.findings {
            let picture = finding.evidence.as_ref().map(|one| &one.screenshot);
            let picture = picture.filter(|picture| !picture.is_empty());
            let mut finding = finding_of(finding, &id, &site);
            if let Some(picture) = picture.filter(|_| self.findings.keeps(&finding)) {
                let stage = finding.evidence.stage.as_deref();
                finding.evidence.screenshot = self.screenshots.keep(stage, picture);
            }
            if self.findings.add(finding.clone()) == Novelty::First {
                news.push(finding);
            }
        }
        news
    }

    /// What bounds cost, on the agent and here.
    fn losses(&mut self, agent: AgentIndex, batch: &v1::Batch) -> Vec<Finding> {
        let origin = Arc::clone(&self.sources[agent].origin);
        let evidence = Evidence {
            agent: Some(origin.agent.to_string()),
            site: Some(origin.site.to_string()),
            ..Evidence::default()
        };
        let mut news = Vec::new();
        for loss in batch.losses.iter().filter(|loss| loss.count > 0) {
            let what = short(&loss.what);
            let finding = Finding {
                severity: Severity::Warning,
                code: format!("lost_{what}"),
                message: format!("agent {} could not keep all {what}", origin.agent),
                count: loss.count,
                evidence: evidence.clone(),
                more_evidence: Vec::new(),
            };
            if self.findings.add(finding.clone()) == Novelty::First {
                news.push(finding);
            }
        }
        if self.totals.refused() > 0 && !self.series_limit_told {
            self.series_limit_told = true;
            let message = format!(
                "the run has more than {} series; what exceeds them is not kept: use fewer labels",
                testmesh_shared::metric::SERIES_MAX
            );
            let (_, finding) = self.note(Severity::Error, "series_limit", message, evidence);
            news.push(finding);
        }
        news
    }

    /// Rows whose witnesses are complete become counters.
    fn count_settled(&mut self) {
        for ((place, second), counts) in self.agree.take_settled() {
            let Place {
                scenario,
                stage,
                site,
            } = self.agree.place_of(place).clone();
            let labels = [
                ("scenario", &*scenario),
                ("site", &*site),
                ("stage", &*stage),
            ];
            let labels = LabelSet::new(&labels).expect("three different labels");
            for (metric, count) in counts.metrics() {
                if count > 0 {
                    self.add(metric, &labels, second, &Change::Counter(count));
                }
            }
        }
    }

    /// An agent said which batch is its last.
    pub fn drained(&mut self, agent: AgentIndex, last_seq: u64) {
        if let Some(source) = self.sources.get_mut(agent) {
            source.last_seq = Some(last_seq);
        }
    }

    /// An agent is given up: what it has in flight is lost.
    pub fn write_off(&mut self, agent: AgentIndex) {
        if let Some(source) = self.sources.get_mut(agent) {
            source.gone = true;
            for counted in source.counted.values_mut() {
                counted.lost = counted.lost.saturating_add(counted.in_flight());
            }
        }
    }

    /// Adds a finding of the coordinator's own.
    pub fn note(
        &mut self,
        severity: Severity,
        code: &str,
        message: String,
        evidence: Evidence,
    ) -> (Novelty, Finding) {
        let (code, more_evidence) = (code.to_owned(), Vec::new());
        let finding = Finding {
            severity,
            code,
            message,
            count: 1,
            evidence,
            more_evidence,
        };
        (self.findings.add(finding.clone()), finding)
    }

    /// A fault of the plan begins, is over, is overcome: as far as that is known, in time since the run's start.
    pub fn set_fault(&mut self, fault: usize, times: [Option<Duration>; 3]) {
        self.phases.set_fault(fault, times);
    }

    /// How long it took from a fault's end, which was in that second, to the first passing session, which an agent ran.
    pub fn fault_recovered(
        &mut self,
        fault: &str,
        second: u32,
        after: Duration,
        (agent, scenario): (AgentIndex, &str),
    ) {
        let Some(source) = self.sources.get(agent) else {
            return;
        };
        let origin = Arc::clone(&source.origin);
        let labels = [
            ("fault", fault),
            ("scenario", scenario),
            ("site", origin.site.as_str()),
        ];
        let mut one = Histogram::new();
        // One that took longer than a trend holds is not recorded; the report's list of faults has it.
        let (Ok(labels), Ok(())) = (LabelSet::new(&labels), one.record_duration(after)) else {
            return;
        };
        let (ns, buckets) = (one.max_ns().unwrap_or_default(), one.encode_buckets());
        if let Ok(delta) = TrendDelta::new(ns, ns, ns, &buckets) {
            self.add(
                MetricId::FaultRecovery,
                &labels,
                second,
                &Change::Trend(delta),
            );
        }
    }

    /// Settles what waited for more: the run is over.
    pub fn finish(&mut self) {
        self.agree.finish();
        self.count_settled();
        let (evicted, late) = (self.agree.evicted(), self.agree.late());
        let told = [
            (
                evicted,
                "had no room to wait for a second session that saw them",
            ),
            (
                late,
                "came after their key was settled without a majority, so there was nothing to compare them with",
            ),
        ];
        let told = told.into_iter().filter(|(count, _)| *count > 0);
        let message: Vec<_> = told
            .map(|(rows, what)| format!("{rows} rows {what}"))
            .collect();
        if !message.is_empty() {
            let (message, evidence) = (message.join("; "), Evidence::default());
            self.note(Severity::Warning, "agree_horizon", message, evidence);
        }
    }

    /// From the start until the last session ended, as far as measurements tell; none without any.
    pub fn active_for(&self) -> Option<Duration> {
        self.activity.until()
    }

    /// The closed ledger, one entry per scenario in the plan's order.
    pub fn ledger(&self) -> Vec<ledger::Entry> {
        let close = |(scenario, planned): &(Arc<str>, Option<u64>)| {
            let mut entry = ledger::close(scenario, *planned, self.counted(scenario));
            entry.lost_by_site = self.lost_by_site(scenario);
            entry
        };
        self.planned.iter().map(close).collect()
    }

    /// Every site that has lost an agent, with the sessions of this scenario that it lost.
    fn lost_by_site(&self, scenario: &str) -> BTreeMap<String, u64> {
        let mut by_site: BTreeMap<String, u64> = BTreeMap::new();
        for source in self.sources.iter().filter(|source| source.gone) {
            let lost = source.counted.get(scenario).map_or(0, |one| one.lost);
            let sum = by_site.entry(source.origin.site.to_string()).or_default();
            *sum = sum.saturating_add(lost);
        }
        by_site
    }

    fn counted(&self, scenario: &str) -> Counted {
        let of_scenario = self
            .sources
            .iter()
            .filter_map(|source| source.counted.get(scenario));
        of_scenario.fold(Counted::default(), |sum, one| Counted {
            started: sum.started.saturating_add(one.started),
            passed: sum.passed.saturating_add(one.passed),
            failed: sum.failed.saturating_add(one.failed),
            dropped: sum.dropped.saturating_add(one.dropped),
            interrupted: sum.interrupted.saturating_add(one.interrupted),
            lost: sum.lost.saturating_add(one.lost),
        })
    }

    /// Sessions that each agent is known to have started.
    pub fn started_by_agent(&self) -> Vec<u64> {
        let started = |source: &Source| {
            let counted = source.counted.values().map(|counted| counted.started);
            counted.fold(0, u64::saturating_add)
        };
        self.sources.iter().map(started).collect()
    }

    /// Batches that agents numbered and that never came, by agent.
    pub fn missing_batches(&self) -> Vec<(String, u64)> {
        let missing = |source: &Source| {
            (
                source.origin.agent.to_string(),
                source.ingest.missing(source.last_seq),
            )
        };
        self.sources
            .iter()
            .map(missing)
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Ids and sites, by the agents' numbers.
    pub fn agents(&self) -> Vec<(String, String)> {
        let named = |source: &Source| {
            (
                source.origin.agent.to_string(),
                source.origin.site.to_string(),
            )
        };
        self.sources.iter().map(named).collect()
    }

    /// The first keys whose sessions saw different bytes.
    pub fn disagreements(&self) -> Vec<Disagreement> {
        self.agree.disagreements(&self.agents())
    }

    /// The worst and most frequent findings first.
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.report()
    }

    /// Takes the pictures that findings name, by the name of their file.
    pub fn take_screenshots(&mut self) -> Vec<(String, Vec<u8>)> {
        self.screenshots.take()
    }

    /// How often this code was found.
    pub fn found(&self, code: &str) -> u64 {
        self.findings.count(code)
    }

    /// The slowest sessions first.
    pub fn slowest(&self) -> Vec<SlowSession> {
        self.slowest.report()
    }

    /// Which seconds are judged.
    pub fn phases(&self) -> &Phases {
        &self.phases
    }

    /// The totals.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What sliding thresholds judge.
    pub fn sliding(&self) -> &Sliding {
        &self.sliding
    }

    /// All sliding spans that end before this second have been judged.
    pub fn judged_until(&mut self, second: u32) {
        self.sliding.judged(second);
    }

    /// Seconds of the run that every agent has told of, apart from sessions and stages that have not ended. `now` is the
    /// coordinator's second of the run. An agent that is silent is not waited for.
    pub fn told_until(&self, now: u64) -> u32 {
        let telling = self.sources.iter();
        let telling = telling.filter(|source| !source.gone && source.last_seq.is_none());
        let told = telling.map(|source| source.second).min();
        let bounded = |second: u64| u32::try_from(second).unwrap_or(u32::MAX);
        let waited = bounded(now.saturating_sub(limits::JUDGE_WITHOUT_AFTER));
        told.unwrap_or_else(|| bounded(now)).max(waited)
    }

    /// How far the run is, as far as measurements tell.
    pub fn progress(&self) -> Progress {
        let scenarios = self.planned.iter().map(|(scenario, planned)| {
            let counted = self.counted(scenario);
            let in_flight = self
                .sources
                .iter()
                .filter_map(|source| source.in_flight.get(scenario))
                .fold(0, |sum: u64, more| sum.saturating_add(*more));
            ScenarioProgress {
                scenario: scenario.to_string(),
                planned: planned.unwrap_or(counted.started.saturating_add(counted.dropped)),
                started: counted.started,
                active: in_flight,
                passed: counted.passed,
                failed: counted.failed,
            }
        });
        let bad = [
            MetricId::IntegrityMissing,
            MetricId::IntegrityRepeated,
            MetricId::IntegrityReordered,
            MetricId::IntegrityMismatched,
        ];
        let counted_bad: u64 = bad
            .map(|metric| self.totals.counter(metric, &Selector::all(), Span::ALL))
            .into_iter()
            .fold(0, u64::saturating_add);
        Progress {
            scenarios: scenarios.collect(),
            streams_open: self.streams_open(),
            rows: self.rows,
            rows_bad: counted_bad.max(self.agree.disagreeing()),
            ..Progress::default()
        }
    }

    /// The latest second that every agent can have told.
    fn streams_open(&self) -> u64 {
        let levels = self
            .totals
            .levels(MetricId::StreamsOpen, &Selector::all(), Span::ALL);
        let lately = levels.values().rev().take(3).copied().fold(0.0, f64::max);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a sum of counts"
        )]
        let whole = lately as u64;
        whole
    }
}

/// Where the ledger keeps a counter of the agents.
fn counted_field(metric: MetricId) -> Option<fn(&mut Counted) -> &mut u64> {
    Some(match metric {
        MetricId::SessionsStarted => |counted| &mut counted.started,
        MetricId::SessionsPassed => |counted| &mut counted.passed,
        MetricId::SessionsFailed => |counted| &mut counted.failed,
        MetricId::SessionsDropped => |counted| &mut counted.dropped,
        MetricId::SessionsInterrupted => |counted| &mut counted.interrupted,
        _ => return None,
    })
}

/// Counters whose values only the ledger knows.
fn ledger_alone_says(metric: MetricId) -> bool {
    matches!(
        metric,
        MetricId::SessionsPlanned | MetricId::SessionsUnstarted | MetricId::SessionsLost
    )
}

fn finding_of(finding: &v1::Finding, agent: &str, site: &str) -> Finding {
    let severity = match finding.severity() {
        v1::Severity::Info | v1::Severity::Unspecified => Severity::Info,
        v1::Severity::Warning => Severity::Warning,
        v1::Severity::Error => Severity::Error,
    };
    let evidence = finding.evidence.as_ref();
    let text = |pick: fn(&v1::Evidence) -> &String| {
        evidence
            .map(pick)
            .filter(|text| !text.is_empty())
            .map(|text| cut(text))
    };
    Finding {
        severity,
        code: short(&finding.code),
        message: cut(&finding.message),
        count: finding.count.max(1),
        evidence: Evidence {
            session: text(|one| &one.session),
            trace_id: text(|one| &one.trace_id),
            agent: Some(agent.to_owned()),
            site: Some(site.to_owned()),
            scenario: text(|one| &one.scenario),
            stage: text(|one| &one.stage),
            at: evidence.map(|one| signed_seconds(one.at_ns)),
            detail: text(|one| &one.detail),
            screenshot: None,
        },
        more_evidence: Vec::new(),
    }
}

fn short(text: &str) -> String {
    text.chars().take(limits::MAX_NAME).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(limits::MAX_TEXT).collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times of a run are far below 2^53 microseconds"
)]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times of a run are far below 2^53 microseconds"
)]
fn signed_seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
#[path = "aggregator_tests.rs"]
mod tests;
