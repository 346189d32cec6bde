//! A run in values, in the shorthand that the tests of the verdict are written in.
use super::ledger::{Counted, Entry, close};
use super::{
    Aborted, Criterion, Explained, Input, Operand, Process, Reading, Rules, StageFact, Verdict,
    judge,
};
use crate::aggregate::{Matcher, Selector, Sliding, Totals};
use crate::phase::{Class, Phases};
use crate::run::{Ending, Failure};
use std::time::Duration;
use testmesh_shared::metric::{Change, Histogram, LabelSet, MetricId, TrendDelta};
use testmesh_shared::plan::model::{Agg, Op};

/// A run in values, and the shorthand that the cases below are written in.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) rules: Rules,
    pub(super) totals: Totals,
    pub(super) ledger: Vec<Entry>,
    pub(super) ending: Ending,
    pub(super) missing: Vec<(String, u64)>,
    pub(super) process: Process,
    pub(super) explained: Explained,
    pub(super) phases: Phases,
    pub(super) sliding: Sliding,
    pub(super) clocks: Vec<Option<Duration>>,
    pub(super) aborted: Option<Aborted>,
    pub(super) faults_failed: Vec<super::FailedFault>,
    agents: Vec<String>,
}

impl Case {
    /// A healthy run of ten sessions with one stage, whose 100 rows are verified.
    pub(super) fn healthy() -> Self {
        let stage = |stage: &str, after: Option<&str>, has_truth| StageFact {
            scenario: "live".into(),
            stage: stage.into(),
            after: after.map(str::to_owned),
            has_truth,
        };
        let rules = Rules {
            dropped_sessions: 0.01,
            schedule_lag_p99: Duration::from_millis(100),
            agent_cpu: 0.9,
            stages: vec![
                stage("open", None, false),
                stage("stream", Some("open"), true),
            ],
            ..Rules::default()
        };
        let mut case = Self {
            rules,
            totals: Totals::default(),
            ledger: Vec::new(),
            ending: Ending::default(),
            missing: Vec::new(),
            process: Process::Apart,
            explained: Explained::default(),
            phases: Phases::default(),
            sliding: Sliding::default(),
            clocks: vec![Some(Duration::from_millis(1)); 2],
            aborted: None,
            faults_failed: Vec::new(),
            agents: vec!["a".into(), "b".into()],
        };
        case.sessions(Counted {
            started: 10,
            passed: 10,
            ..Counted::default()
        })
        .took("open", "passed", 10, 20)
        .took("stream", "passed", 10, 2_000)
        .rows(MetricId::StreamRows, 100)
        .rows(MetricId::IntegrityVerified, 100)
        .threshold(MetricId::SessionsFailed, Agg::Count, Op::Equal, 0.0);
        case
    }

    pub(super) fn sessions(&mut self, counted: Counted) -> &mut Self {
        self.ledger = vec![close("live", None, counted)];
        self
    }

    pub(super) fn rows(&mut self, metric: MetricId, count: u64) -> &mut Self {
        let labels =
            LabelSet::new(&[("scenario", "live"), ("site", "local"), ("stage", "stream")]).unwrap();
        let id = self.totals.intern(metric, &labels).unwrap();
        self.totals
            .add(id, 1, Class::JUDGED, &Change::Counter(count));
        self
    }

    pub(super) fn took(&mut self, stage: &str, outcome: &str, times: u32, ms: u64) -> &mut Self {
        let labels = [
            ("scenario", "live"),
            ("site", "local"),
            ("stage", stage),
            ("outcome", outcome),
        ];
        self.trend(MetricId::StageDuration, &labels, times, ms)
    }

    pub(super) fn errors(&mut self, error: &str, count: u64) -> &mut Self {
        let labels = [("scenario", "live"), ("stage", "stream"), ("error", error)];
        let labels = LabelSet::new(&labels).unwrap();
        let id = self.totals.intern(MetricId::StageErrors, &labels).unwrap();
        self.totals
            .add(id, 1, Class::JUDGED, &Change::Counter(count));
        self
    }

    pub(super) fn gauge(&mut self, metric: MetricId, level: f64) -> &mut Self {
        let labels = LabelSet::new(&[("scenario", "live"), ("site", "local")]).unwrap();
        let id = self.totals.intern(metric, &labels).unwrap();
        self.totals.add(id, 1, Class::JUDGED, &Change::Gauge(level));
        self
    }

    pub(super) fn loop_lag(&mut self, ms: u64) -> &mut Self {
        self.lag(100, ms)
    }

    /// The loop was so late so often.
    pub(super) fn lag(&mut self, times: u32, ms: u64) -> &mut Self {
        self.trend(
            MetricId::AgentLoopLag,
            &[("agent", "a"), ("site", "local")],
            times,
            ms,
        )
    }

    pub(super) fn trend(
        &mut self,
        metric: MetricId,
        labels: &[(&str, &str)],
        times: u32,
        ms: u64,
    ) -> &mut Self {
        let mut histogram = Histogram::new();
        (0..times).for_each(|_| histogram.record(ms * 1_000_000).unwrap());
        let buckets = histogram.encode_buckets();
        let sum = u64::try_from(histogram.sum_ns()).unwrap();
        let delta = TrendDelta::new(sum, ms * 1_000_000, ms * 1_000_000, &buckets).unwrap();
        let id = self
            .totals
            .intern(metric, &LabelSet::new(labels).unwrap())
            .unwrap();
        self.totals.add(id, 1, Class::JUDGED, &Change::Trend(delta));
        self
    }

    pub(super) fn threshold(
        &mut self,
        metric: MetricId,
        agg: Agg,
        op: Op,
        limit: f64,
    ) -> &mut Self {
        self.threshold_on(metric, &[], agg, op, limit)
    }

    pub(super) fn threshold_on(
        &mut self,
        metric: MetricId,
        on: &[(&str, &str)],
        agg: Agg,
        op: Op,
        limit: f64,
    ) -> &mut Self {
        let matcher = |(label, value): &(&str, &str)| Matcher {
            label: (*label).into(),
            equal: true,
            value: (*value).into(),
        };
        self.rules.criteria.push(Criterion {
            text: format!("{metric} {} {limit}", op.as_str()),
            left: Reading {
                agg,
                metric,
                selector: Selector::new(on.iter().map(matcher), &self.phases),
                factor: 1.0,
            },
            op,
            right: Operand::Value(limit),
            aborts: false,
            after: Duration::ZERO,
            over: None,
        });
        self
    }

    /// Lets the last threshold be judged over spans of so many seconds, and measures this trend of the stream in a second.
    pub(super) fn over(&mut self, seconds: u32) -> &mut Self {
        if let Some(last) = self.rules.criteria.last_mut() {
            last.over = Some(seconds);
        }
        self.sliding = Sliding::new(&self.rules.criteria, usize::MAX / 2);
        self
    }

    /// A stage of the stream that began in this second, and took so long.
    pub(super) fn slid(&mut self, second: u32, ms: u64) -> &mut Self {
        self.slid_at("local", second, ms)
    }

    /// The same at a site.
    pub(super) fn slid_at(&mut self, site: &str, second: u32, ms: u64) -> &mut Self {
        let labels = [
            ("scenario", "live"),
            ("site", site),
            ("stage", "stream"),
            ("outcome", "passed"),
        ];
        let mut histogram = Histogram::new();
        histogram.record(ms * 1_000_000).unwrap();
        let buckets = histogram.encode_buckets();
        let ns = ms * 1_000_000;
        let change = Change::Trend(TrendDelta::new(ns, ns, ns, &buckets).unwrap());
        let id = self
            .totals
            .intern(MetricId::StageDuration, &LabelSet::new(&labels).unwrap())
            .unwrap();
        let class = self.phases.class(Some("live"), second);
        self.totals.add(id, second, class, &change);
        self.sliding
            .add(id, self.totals.key(id), second, class, &change);
        self
    }

    pub(super) fn failure(&mut self, failure: Failure) -> &mut Self {
        self.ending.failure = Some(failure);
        self.totals = Totals::default();
        self.sessions(Counted::default())
    }

    pub(super) fn judge(&self) -> Verdict {
        judge(&self.input())
    }

    /// What is known, as a verdict is made from it.
    pub(super) fn input(&self) -> Input<'_> {
        Input {
            rules: &self.rules,
            totals: &self.totals,
            sliding: &self.sliding,
            ledger: &self.ledger,
            ending: &self.ending,
            phases: &self.phases,
            clocks: &self.clocks,
            aborted: self.aborted.as_ref(),
            faults_failed: &self.faults_failed,
            duration: Duration::from_secs(10),
            agents: &self.agents,
            missing_batches: &self.missing,
            process: self.process,
            explained: self.explained,
        }
    }

    /// `VERDICT CODE [reason…]`
    pub(super) fn check(&self, expect: &str) {
        let verdict = self.judge();
        let reasons: Vec<_> = verdict
            .reasons
            .iter()
            .map(|reason| reason.code.as_str())
            .collect();
        let got = format!(
            "{} {} {}",
            verdict.kind,
            verdict.exit_code.code(),
            reasons.join(" ")
        );
        assert_eq!(got.trim_end(), expect, "{:#?}", verdict.reasons);
    }
}
