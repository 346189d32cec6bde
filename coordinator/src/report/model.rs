//! `report.json` as plain data: the contract for scripts, and the one input of every renderer.
//!
//! `run/result.rs` fills it when a run is sealed; the renderers beside this file compute nothing. All durations are
//! seconds, all times `at` are seconds since the run's start, unless a field says otherwise. The shape is versioned by
//! [`SCHEMA`]: keys may be added, never renamed or given another meaning.
use crate::verdict::{ReasonCode, VerdictKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use testmesh_shared::plan::Narrowing;

/// The version of the shape below.
pub const SCHEMA: &str = "testmesh.report/v1";

/// Label names and values of one series.
pub type Labels = BTreeMap<String, String>;

/// Everything that is known of a sealed run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// What made this report.
    pub tool: Tool,
    /// Which run this is.
    pub run: RunInfo,
    /// The one answer.
    pub verdict: VerdictKind,
    /// The exit code of `testmesh run`, from the documented list.
    pub exit_code: i32,
    /// Why the verdict is not `passed`; the deciding reasons first.
    pub reasons: Vec<Reason>,
    /// The ledger over all scenarios.
    pub sessions: Sessions,
    /// The ledger per scenario, in the plan's order.
    pub scenarios: Vec<Scenario>,
    /// Every threshold with what was observed, in the plan's order.
    pub thresholds: Vec<Threshold>,
    /// What became of the rows.
    pub integrity: Integrity,
    /// One row per series, and one per name and labels merged over sites, without `site`.
    pub metrics: Vec<MetricRow>,
    /// One row per stage and site, and one per stage over all sites, without `site`.
    pub stages: Vec<Stage>,
    /// Named spans of the run's time.
    pub phases: Vec<Phase>,
    /// Values over time, merged over sites, and per site where there is more than one.
    pub series: Vec<Series>,
    /// Where the agents ran.
    pub sites: Vec<Site>,
    /// Who measured.
    pub agents: Vec<Agent>,
    /// How far apart the agents started; absent if fewer than two reported it.
    pub start_skew: Option<StartSkew>,
    /// Whatever changes what a number means: windows, runtimes, limits.
    pub settings: BTreeMap<String, serde_json::Value>,
    /// Faults that were injected.
    pub faults: Vec<Fault>,
    /// Observed problems, the worst first.
    pub findings: Vec<Finding>,
    /// The slowest sessions of the run, the slowest first.
    pub slowest: Vec<SlowSession>,
}

/// What made the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Version of the coordinator.
    pub version: String,
    /// Protocol version spoken with the agents.
    pub protocol: u32,
}

/// Which run this is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The run's id.
    pub id: String,
    /// The plan's name.
    pub plan: String,
    /// Which part of the plan was run, if not the whole: nothing else was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Narrowing>,
    /// XXH3-128 of the plan's text and the files that it names, whatever overrides its vars; lowercase hex. Without
    /// `--seed`, the first 16 digits are the seed.
    pub plan_digest: String,
    /// Wall clock of the coordinator at the start, RFC 3339 in UTC; absent if the run never started.
    pub started_at: Option<String>,
    /// From the start until the last session ended, in seconds; 0 if the run never started.
    pub duration: f64,
    /// The seed of every random choice.
    pub seed: u64,
    /// The plan's vars as the run used them.
    pub vars: BTreeMap<String, serde_json::Value>,
}

/// Why a verdict is what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// From the closed list in `docs/verdicts.md`.
    pub code: ReasonCode,
    /// One sentence with the numbers.
    pub message: String,
}

/// The ledger: `planned = started + dropped + unstarted`, `started = passed + failed + interrupted + lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the eight words of the glossary, in numbers")]
pub struct Sessions {
    pub planned: u64,
    pub started: u64,
    pub passed: u64,
    pub failed: u64,
    pub dropped: u64,
    pub unstarted: u64,
    pub interrupted: u64,
    pub lost: u64,
}

/// One scenario's part of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// The scenario's name.
    pub name: String,
    /// Its ledger.
    pub sessions: Sessions,
    /// The most sessions proven to be in flight at the same time.
    pub concurrency_max: u64,
}

/// What a number of a threshold measures, so that it can be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A duration in seconds.
    Seconds,
    /// A share from 0 to 1.
    Ratio,
    /// A number of bytes.
    Bytes,
    /// Something counted.
    Count,
    /// Something counted, per second.
    PerSecond,
}

/// How a threshold came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdOutcome {
    /// It holds.
    Passed,
    /// It is broken.
    Failed,
    /// Its stage could have been reached, and nothing was measured.
    NoData,
    /// Its stage was never reached, so there was nothing to measure.
    NotReached,
}

/// One threshold of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// As the plan writes it.
    pub expr: String,
    /// The left side's value; absent without data.
    pub observed: Option<f64>,
    /// The right side's value; absent without data.
    pub limit: Option<f64>,
    /// What `observed` and `limit` measure.
    pub unit: Unit,
    /// How it came out.
    pub outcome: ThresholdOutcome,
    /// Validity reasons that make `observed` doubtful.
    pub tainted_by: Vec<ReasonCode>,
}

/// What became of the rows: `rows = verified + mismatched + unwitnessed + unverified`; the others are counted beside it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words of the glossary, in numbers")]
pub struct Integrity {
    pub streams: u64,
    pub rows: u64,
    pub bytes: u64,
    pub verified: u64,
    pub missing: u64,
    pub repeated: u64,
    pub reordered: u64,
    pub mismatched: u64,
    pub unwitnessed: u64,
    pub unverified: u64,
    /// The first keys whose sessions saw different bytes.
    pub disagreements: Vec<Disagreement>,
}

/// One key that sessions saw with different bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// The group that should agree.
    pub group: String,
    /// The row's key; `stream` where whole streams are compared.
    pub key: String,
    /// Who saw what, the majority first.
    pub digests: Vec<SeenDigest>,
}

/// One of the contents that were seen under one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenDigest {
    /// Lowercase hex, as `xxhsum` prints it.
    pub digest: String,
    /// Distinct sessions that saw it.
    pub sessions: u64,
    /// Agents that those sessions ran on.
    pub agents: Vec<String>,
    /// Sites of those agents.
    pub sites: Vec<String>,
    /// Not the majority's: its rows count as mismatched. In a tie all digests are.
    pub minority: bool,
    /// One of the sessions, `SCENARIO/INDEX`.
    pub witness: String,
}

/// How a metric's values merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// Values add up.
    Counter,
    /// The minimum within each second on each agent, summed over agents.
    Gauge,
    /// A distribution.
    Trend,
}

/// One series in numbers. What does not apply to the kind is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// From the table of metrics.
    pub name: String,
    /// How its values merge.
    pub kind: MetricKind,
    /// `seconds`, `bytes`, `count` or `ratio`.
    pub unit: String,
    /// Without `site`: merged over sites.
    pub labels: Labels,
    /// A counter's value, a trend's number of measurements, a gauge's number of seconds.
    pub count: u64,
    /// A trend's sum.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sum: Option<f64>,
    /// The least value; of a gauge, over seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min: Option<f64>,
    /// The greatest value; of a gauge, over seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max: Option<f64>,
    /// The exact mean; of a gauge, over seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mean: Option<f64>,
    /// Percentiles of a trend.
    #[serde(flatten)]
    pub percentiles: Percentiles,
}

/// The percentiles that every trend row carries; absent without measurements and for other kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "percentile names")]
pub struct Percentiles {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p90: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p95: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p99: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p999: Option<f64>,
}

/// One stage in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The scenario, or `setup`, `teardown`.
    pub scenario: String,
    /// The stage's own name.
    pub stage: String,
    /// Absent: over all sites.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub site: Option<String>,
    /// How often it ended.
    pub runs: u64,
    /// How often it failed, by error kind.
    pub errors: BTreeMap<String, u64>,
    /// Replies by status code.
    pub status: BTreeMap<String, u64>,
    /// Of all runs, whatever their outcome.
    pub duration: StageDuration,
}

/// How long a stage took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "percentile names")]
pub struct StageDuration {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

/// A named span of the run's time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// `warm_up`, a fault's name, …
    pub name: String,
    /// Start, included.
    pub from: f64,
    /// End, not included.
    pub to: f64,
    /// The scenario whose time this is; absent: all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scenario: Option<String>,
}

/// Values over time. All vectors of `values` are as long as `at`; null where nothing was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Name of the metric.
    pub metric: String,
    /// Labels; without `site`: merged over sites.
    pub labels: Labels,
    /// Starts of the windows, which are as long as the distance of two.
    pub at: Vec<f64>,
    /// Counter: `count`. Gauge: `value`. Trend: `count`, `p50`, `p95`, `p99`, `max`.
    pub values: BTreeMap<String, Vec<Option<f64>>>,
}

/// One site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// The label that its agents carry.
    pub name: String,
    /// How many agents of the run were there.
    pub agents: u64,
    /// `stage_connect` from there.
    pub connect: SiteConnect,
}

/// How long a connection took from one site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "percentile names")]
pub struct SiteConnect {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
}

/// One agent of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// Where it ran.
    pub site: String,
    /// `drained`, `lost`, or how far it came: `preparing`, `armed`, `running`.
    pub status: String,
    /// Sessions that it is known to have started.
    pub sessions: u64,
    /// Coordinator time minus agent time; null if the agent never knew.
    pub clock_offset: Option<f64>,
    /// Half the width of the offset's interval; null if the agent never knew.
    pub clock_uncertainty: Option<f64>,
    /// The greatest share of its CPU quota.
    pub cpu_max: f64,
    /// The greatest resident set, in bytes.
    pub memory_max: u64,
}

/// How far apart the first and the last agent started.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartSkew {
    /// The best estimate.
    pub value: f64,
    /// It is at least this.
    pub lo: f64,
    /// It is at most this.
    pub hi: f64,
}

/// One injected fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Its name in the plan.
    pub name: String,
    /// When it was there, as its agent says.
    pub started_at: Option<f64>,
    /// When it was reverted, as its agent says; absent if it was not.
    pub ended_at: Option<f64>,
    /// The agent that reverted it; `lease`: it ended by itself.
    pub reverted_by: Option<String>,
    /// From its end to the first passing session.
    pub recovery: Option<f64>,
    /// `reverted`; `failed` (not injected, or for too short a time); `never_began`; `not_reverted`.
    #[serde(default)]
    pub outcome: String,
    /// Why, unless it was reverted in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What it did, as its agent says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// May change what the numbers mean.
    Warning,
    /// Something is broken.
    Error,
}

/// One observed problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// A reason code, or the error kind of a stage.
    pub code: String,
    /// What was seen.
    pub message: String,
    /// How often.
    pub count: u64,
    /// Where it was seen first.
    pub evidence: Evidence,
    /// Where else, a few.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub more_evidence: Vec<Evidence>,
}

/// Where and when. Absent is what does not apply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// `SCENARIO/INDEX`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session: Option<String>,
    /// 32 lowercase hex digits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trace_id: Option<String>,
    /// The agent that saw it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agent: Option<String>,
    /// The agent's site.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub site: Option<String>,
    /// The scenario.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scenario: Option<String>,
    /// The stage.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stage: Option<String>,
    /// Seconds since the run's start.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at: Option<f64>,
    /// Status, headers and the first 2 KiB of a body, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// The file beside the report that shows it: `screenshots/NAME.png`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub screenshot: Option<String>,
}

/// One of the slowest sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlowSession {
    /// `SCENARIO/INDEX`.
    pub session: String,
    /// 32 lowercase hex digits; empty if it was not traced.
    pub trace_id: String,
    /// The agent that ran it.
    pub agent: String,
    /// The agent's site.
    pub site: String,
    /// From its start to its end.
    pub duration: f64,
    /// Its stages in the order they ended.
    pub stages: Vec<SlowStage>,
}

/// One stage of a slow session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlowStage {
    /// The stage's name.
    pub stage: String,
    /// How long it took.
    pub duration: f64,
    /// `passed`, or an error kind.
    pub outcome: String,
}

/// What the renderers need besides the report, and what is too large for `report.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Extras {
    /// One per trend, merged over sites, for plots.
    pub distributions: Vec<Distribution>,
    /// The run's events in order: one line each in `events.jsonl`.
    pub events: Vec<EventLine>,
    /// The merged series over time: `windows.bin`.
    pub windows: Windows,
    /// The plan's text, for whoever opens the report later.
    pub plan_text: String,
    /// Pictures that findings name, by the name of their file.
    pub screenshots: Vec<(String, Vec<u8>)>,
}

/// The shape of one trend over the whole run, warm-up included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Name of the metric.
    pub metric: String,
    /// Labels, without `site`.
    pub labels: Labels,
    /// `(upper bound in seconds, measurements)` of every bucket that is not empty, ascending, at most 200.
    pub buckets: Vec<(f64, u64)>,
}

/// One line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// 1, 2, 3 … within the run.
    pub number: u64,
    /// Coordinator time, nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened in a run. Progress is not kept: the windows say it better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The run went on to another state.
    State {
        /// queued, preparing, setting_up, starting, running, draining, tearing_down, sealed
        state: String,
        /// Why, where it is not the usual way.
        #[serde(skip_serializing_if = "String::is_empty", default)]
        reason: String,
    },
    /// Something was observed for the first time.
    Finding {
        /// The finding as it was then.
        finding: Box<Finding>,
    },
    /// An agent of the run went on to another status.
    Agent {
        /// Its id.
        agent: String,
        /// Its site.
        site: String,
        /// connected, armed, started, drained, suspect, lost
        status: String,
    },
    /// The run has its verdict.
    Ended {
        /// The verdict.
        verdict: VerdictKind,
        /// The exit code.
        exit_code: i32,
        /// The reasons, as `code: message`.
        reasons: Vec<String>,
    },
}

/// The merged series over time, in windows of one length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Windows {
    /// Length of a window in seconds.
    pub resolution_s: u32,
    /// One per series, sites apart.
    pub series: Vec<WindowSeries>,
}

/// One series over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowSeries {
    /// Name of the metric.
    pub metric: String,
    /// Labels, `site` included.
    pub labels: Labels,
    /// How its values merge.
    pub kind: MetricKind,
    /// `(start of the window in seconds, value)`, ascending; empty windows are left out.
    pub cells: Vec<(u32, WindowCell)>,
}

/// What one series measured in one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowCell {
    /// What it gained.
    Counter(u64),
    /// Its least value.
    Gauge(f64),
    /// Its distribution.
    Trend {
        /// Measurements.
        count: u64,
        /// Exact sum in nanoseconds.
        sum_ns: u64,
        /// Least, in nanoseconds.
        min_ns: u64,
        /// Greatest, in nanoseconds.
        max_ns: u64,
        /// Pairs of varints: the gap from the last bucket, then its count; the layout is fixed, see metric/histogram.rs.
        buckets: Vec<u8>,
    },
}
