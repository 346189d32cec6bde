//! A plan as the rest of the mesh sees it: validated, immutable, content-addressed.
//!
//! Values of these types are made by [`crate::plan::load`] only, which is why they need no checks
//! of their own: names are unique, expressions compile and see what they read, times are resolved.
//! The coordinator and every agent read the same text and get the same plan; a plan itself never
//! goes over the wire.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error_kind::ErrorKind;
use super::expr::{Expr, JsonTemplate, Template};
use super::fault_model::{Fault, Proxy};
use super::form::DriverStage;
use super::problem::Position;
use crate::digest::Digest;
use crate::feed::Feed;
use crate::integrity::Split;
use crate::load::LoadModel;

/// A versioned description of a test.
#[derive(Debug)]
#[non_exhaustive]
pub struct Plan {
    /// `name`.
    pub name: String,
    /// `description`.
    pub description: Option<String>,
    /// The name the plan was read under, as shown in problems.
    pub file: String,
    /// The text the plan was read from.
    pub source: Arc<str>,
    /// Of text and named files, whatever overrides the variables; its first 8 bytes are the default seed.
    pub digest: Digest,
    /// `vars`, overridden and resolved.
    pub vars: serde_json::Map<String, serde_json::Value>,
    /// Names of `secrets`; their values exist on agents only.
    pub secrets: Vec<String>,
    /// `targets`, in the plan's order.
    pub targets: Vec<Arc<Target>>,
    /// Stages run once, by one agent, before the first session.
    pub setup: Vec<Stage>,
    /// Stages run once, by one agent, after the last session, always.
    pub teardown: Vec<Stage>,
    /// `feeds`, in the plan's order.
    pub feeds: Vec<Arc<Feed>>,
    /// `scenarios`, in the plan's order; at least one.
    pub scenarios: Vec<Scenario>,
    /// `phases`, in the plan's order; at most [`MAX_PHASES`], which may overlap.
    pub phases: Vec<Phase>,
    /// `proxies`, in the plan's order; at most [`super::MAX_PROXIES`].
    pub proxies: Vec<Proxy>,
    /// `faults`, in the plan's order; at most [`super::MAX_FAULTS`].
    pub faults: Vec<Fault>,
    /// `thresholds`, with the one that every plan gets on failed sessions.
    pub thresholds: Vec<Threshold>,
    /// `validity`.
    pub validity: Validity,
    /// `trace`.
    pub trace: TraceRules,
    /// A run starts only with this many agents.
    pub min_agents: u32,
    /// `on_agent_loss`.
    pub on_agent_loss: OnAgentLoss,
    /// Every file that the plan names, each once, in the order of first mention.
    pub files: Vec<PlanFile>,
}

impl Plan {
    /// The scenario of that name.
    #[must_use]
    pub fn scenario(&self, name: &str) -> Option<&Scenario> {
        self.scenarios.iter().find(|scenario| scenario.name == name)
    }

    /// When a scenario begins, since the run's start; none if it waits for one that ends by its number of sessions.
    #[must_use]
    pub fn begins(&self, scenario: &Scenario) -> Option<Duration> {
        super::scenario::begins(&self.scenarios, scenario)
    }

    /// From when on no session of a scenario starts, since the run's start; none if that is not known beforehand.
    #[must_use]
    pub fn ends(&self, scenario: &Scenario) -> Option<Duration> {
        Some(self.begins(scenario)? + scenario.load.end()?)
    }

    /// The target of that name.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&Arc<Target>> {
        self.targets.iter().find(|target| target.name == name)
    }

    /// The proxy of that name.
    #[must_use]
    pub fn proxy(&self, name: &str) -> Option<&Proxy> {
        self.proxies.iter().find(|proxy| proxy.name == name)
    }

    /// The file of that path, as the plan wrote it.
    #[must_use]
    pub fn plan_file(&self, path: &str) -> Option<&PlanFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// A file that a plan names; it travels with the plan.
#[derive(Clone)]
#[non_exhaustive]
pub struct PlanFile {
    /// The path as the plan wrote it, or as an import named it.
    pub path: String,
    /// Of the content.
    pub digest: Digest,
    /// The content.
    pub bytes: Arc<[u8]>,
}

impl fmt::Debug for PlanFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanFile")
            .field("path", &self.path)
            .field("digest", &self.digest)
            .field("len", &self.bytes.len())
            .finish()
    }
}

/// A named thing that stages talk to.
#[non_exhaustive]
pub struct Target {
    /// Its name in `targets`.
    pub name: String,
    /// The driver whose target it is: `http`, `grpc`, ….
    pub form: &'static str,
    /// Where the plan says so.
    pub position: Position,
    /// What the driver read from it; downcast with [`Target::value`].
    pub value: Arc<dyn Any + Send + Sync>,
}

impl Target {
    /// The driver's own type, if it is `T`.
    #[must_use]
    pub fn value<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.value.downcast_ref()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("name", &self.name)
            .field("form", &self.form)
            .finish()
    }
}

/// One named workload of a plan: a load model over stages.
#[derive(Debug)]
#[non_exhaustive]
pub struct Scenario {
    /// Its name in `scenarios`.
    pub name: String,
    /// Where the plan says so.
    pub position: Position,
    /// Who starts sessions, and when; no more than its feeds have rows for.
    pub load: Box<dyn LoadModel>,
    /// The feeds of which each session takes a row: those that its stages read.
    pub feeds: Vec<Arc<Feed>>,
    /// When it begins.
    pub begin: Begin,
    /// Sites and their weights; empty: all agents, evenly.
    pub sites: Vec<(String, u32)>,
    /// The first part of the scenario, measured but not judged by thresholds.
    pub warm_up: Duration,
    /// How long sessions in flight may go on after the end.
    pub graceful_stop: Duration,
    /// What a session does; at least one.
    pub stages: Vec<Stage>,
    /// What a session does at its end, always.
    pub cleanup: Vec<Stage>,
}

/// When a scenario begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// So long after the run's start.
    At(Duration),
    /// When that scenario has ended.
    After(String),
}

/// One step of a session, run by one driver; the unit of timing.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stage {
    /// Unique in its scenario with cleanup, and its metrics' label; `PREFIX.name` after `use … as`.
    pub name: String,
    /// Where the plan says so (inside its block, for a stage that `use` brought).
    pub position: Position,
    /// What it does.
    pub action: Action,
    /// All must be true.
    pub expect: Vec<Expr>,
    /// Evaluated after `expect`, into `session` (`run` in setup); none sees another's value.
    pub save: Vec<(String, Expr)>,
    /// Repeat the attempt until this is true.
    pub until: Option<Until>,
    /// Skip the stage unless this is true.
    pub when: Option<Expr>,
    /// Bounds the stage with its retries and polls. `None`: unbounded, as stages with a stream
    /// and groups are; a stream then has 30 s to its first message and 60 s between two.
    pub timeout: Option<Duration>,
    /// Bounds one try.
    pub attempt_timeout: Option<Duration>,
    /// What is tried again; nothing unless written.
    pub retry: Option<Retry>,
    /// What a failure does to the session.
    pub on_failure: OnFailure,
    /// How the stream's data is verified.
    pub integrity: Option<Integrity>,
    /// Gaps between messages over this are stalls.
    pub stall: Duration,
    /// An `expect`, `until` or `save` reads `status`, so a bad status alone does not fail the stage.
    pub reads_status: bool,
    /// Names of results that `expect`, `until` or `save` read; others need not be kept.
    pub reads: Vec<&'static str>,
}

impl Stage {
    /// Whether one of the stage's expressions reads that result.
    #[must_use]
    pub fn reads(&self, result: &str) -> bool {
        self.reads.contains(&result)
    }

    /// The stages within: those that it repeats, runs side by side, or runs beside its stream.
    pub fn inner(&self) -> impl Iterator<Item = &Self> {
        let lists = match &self.action {
            Action::Repeat(repeat) => std::slice::from_ref(&repeat.stages),
            Action::Parallel(branches) => branches.as_slice(),
            Action::Drive { during, .. } => std::slice::from_ref(during),
        };
        lists.iter().flatten()
    }

    /// Whether a plan may mean this stage by that name: its own, or that without the prefixes of `use`.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        let prefix = self.name.strip_suffix(name);
        prefix.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
    }
}

/// What a stage does.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// A driver does it.
    Drive {
        /// The driver's name: `http`, `grpc`, ….
        form: &'static str,
        /// What the driver read; downcast through [`DriverStage::as_any`].
        stage: Box<dyn DriverStage>,
        /// Stages that run one after another while the driver's stream is open.
        during: Vec<Stage>,
    },
    /// Stages once for each time or item.
    Repeat(Repeat),
    /// Branches side by side; the stages of each one after another.
    Parallel(Vec<Vec<Stage>>),
}

/// Stages once for each time or item.
#[derive(Debug)]
#[non_exhaustive]
pub struct Repeat {
    /// How often.
    pub times: Times,
    /// The loop variable: the number from 0, or the item.
    pub variable: Option<String>,
    /// All at once, or one after another.
    pub parallel: bool,
    /// What is repeated; at least one.
    pub stages: Vec<Stage>,
}

/// How often a repeat goes round.
#[derive(Debug)]
#[non_exhaustive]
pub enum Times {
    /// This number of times.
    Count(Expr),
    /// Once for each item of this list.
    Each(Expr),
}

/// Polling.
#[derive(Debug)]
#[non_exhaustive]
pub struct Until {
    /// The attempt is repeated until this is true.
    pub expr: Expr,
    /// Between the starts of two attempts.
    pub every: Duration,
}

/// Which failures are tried again.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Retry {
    /// All tries, the first included; at least 2.
    pub attempts: u32,
    /// Which failures; `refused`, `unavailable`, `reset` and `timeout` unless written.
    pub on: Vec<RetryOn>,
    /// Between two tries.
    pub backoff: Duration,
}

/// One kind of failure that is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryOn {
    /// An error of this kind.
    Error(ErrorKind),
    /// This status, as `stage_status` labels it for a numeric protocol.
    Status(i64),
    /// This status by name, lowercase with underscores: `resource_exhausted`.
    StatusName(String),
}

/// What a stage's failure does to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The session ends and goes to `cleanup`.
    End,
    /// The session goes on with the next stage; it has failed all the same.
    Continue,
}

/// How a stream's rows are verified.
#[derive(Debug)]
#[non_exhaustive]
pub struct Integrity {
    /// Where the plan says so.
    pub position: Position,
    /// The field that numbers the rows; `None` only where whole streams are compared.
    pub sequence: Option<FieldPath>,
    /// Each number is this much more than the one before; at least 1.
    pub step: i64,
    /// Where the number starts again, if before its 64 bits are used up.
    pub wrap: Option<Wrap>,
    /// Which row it is, for comparison with others; the sequence unless written.
    pub key: Option<FieldPath>,
    /// The bytes that the checksum covers; the whole message unless written.
    pub payload: Option<FieldPath>,
    /// How rows of one message share its payload; without it, a message has one row.
    pub split: Option<Split>,
    /// When the server sent a row.
    pub sent_at: Option<SentAt>,
    /// What rows are compared with; without one, their order alone is verified.
    pub truth: Option<Truth>,
    /// What a lossy stream may do to its rows.
    pub allow: Allow,
}

/// Where the numbers of a sequence start again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// There are so many, from 0 on; more than a step.
    At(i64),
    /// After the greatest of the field's type comes the least.
    Type,
}

/// The shares of a stage's rows that may be wrong before the data counts as corrupt; 0 unless written.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Allow {
    /// Rows that never come.
    pub missing: f64,
    /// Rows that come again.
    pub repeated: f64,
    /// Rows that come late.
    pub reordered: f64,
    /// Rows that differ from their truth.
    pub mismatched: f64,
}

/// Names a field of an encoded message; drivers resolve it to numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldPath {
    /// Where the plan says so.
    pub position: Position,
    /// The names from the message inwards; at least one.
    pub names: Vec<String>,
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join("."))
    }
}

/// A field that holds the time of sending.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentAt {
    /// The field.
    pub field: FieldPath,
    /// The field's unit, since the Unix epoch.
    pub unit: TimeUnit,
}

/// The unit of a time field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// `s`
    Seconds,
    /// `ms`
    Milliseconds,
    /// `us`
    Microseconds,
    /// `ns`
    Nanoseconds,
}

/// What the rows of a stream are compared with.
#[derive(Debug)]
#[non_exhaustive]
pub enum Truth {
    /// Sessions of the group that saw the same key saw the same bytes.
    Agree {
        /// The group's name.
        group: Template,
        /// Rows or whole streams.
        of: TruthOf,
    },
    /// A list of `{key, digest}` that an earlier stage saved.
    Rows {
        /// The list.
        list: Expr,
        /// Rows of the list that never come are missing, if the stream ends by itself.
        complete: bool,
    },
    /// Documents of a collection, in the order of their keys.
    Mongodb(Box<Documents>),
    /// The XXH3-128 of the payload of a stream that ended by itself.
    Digest {
        /// 32 lowercase hex digits.
        digest: Template,
    },
}

/// The documents that the rows of a stream are compared with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Documents {
    /// The database.
    pub target: Arc<Target>,
    /// The collection's name.
    pub collection: Template,
    /// Which documents; all unless written.
    pub filter: Option<JsonTemplate>,
    /// Their order; ascending by the key unless written.
    pub sort: Option<JsonTemplate>,
    /// The field that rows are matched by.
    pub key: FieldPath,
    /// The field that says what a row's bytes must be.
    pub proof: Proof,
    /// Documents before the first row and behind the last one are missing, if the stream ends by itself.
    pub complete: bool,
}

/// How a document says what the bytes of its row must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// This field has the bytes themselves.
    Payload(FieldPath),
    /// This field has their XXH3-64 in lowercase hex.
    Digest(FieldPath),
}

/// What sessions of a group agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TruthOf {
    /// Each row.
    Rows,
    /// The whole stream.
    Stream,
}

/// Named phases of a plan, at most: totals are kept for each set of phases that a second may belong to.
pub const MAX_PHASES: usize = 16;
/// Different times at which thresholds begin to judge, at most; each is a phase without a name.
pub const MAX_AFTERS: usize = 16;
/// Thresholds over a sliding span, at most: what they judge is kept by the second.
pub const MAX_SLIDING: usize = 32;
/// The longest sliding span.
pub const MAX_OVER: Duration = Duration::from_secs(600);

/// A named span of the run's time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Phase {
    /// Its name, which is not `warm_up`.
    pub name: String,
    /// Where the plan says so.
    pub position: Position,
    /// When it begins, since the run's start.
    pub from: Duration,
    /// When it is over; later than `from`.
    pub to: Duration,
}

/// A pass/fail expression over metrics.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Threshold {
    /// As the plan wrote it, with variables resolved.
    pub text: String,
    /// What is judged. A value that the plan wrote on the left is on the right here, and `op` is turned round.
    pub left: Reading,
    /// The comparison.
    pub op: Op,
    /// What it is compared with, in the same unit.
    pub right: Operand,
    /// The run ends as soon as it is broken.
    pub aborts: bool,
    /// Only seconds from this time of the run on are judged.
    pub after: Duration,
    /// Every span of this length is judged by itself; whole seconds, at most [`MAX_OVER`].
    pub over: Option<Duration>,
    /// Where the plan says so; `None` for the threshold that every plan gets.
    pub position: Option<Position>,
}

impl Threshold {
    /// The readings of both sides, the left one first.
    pub fn readings(&self) -> impl Iterator<Item = &Reading> {
        let right = match &self.right {
            Operand::Reading(reading) => Some(reading),
            Operand::Value { .. } => None,
        };
        std::iter::once(&self.left).chain(right)
    }
}

/// The right side of a threshold.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A value.
    Value {
        /// In the base unit of the left side: seconds, bytes, a ratio, or a number.
        value: f64,
        /// As the plan wrote it.
        text: String,
    },
    /// Another metric, or the same one elsewhere.
    Reading(Reading),
}

/// A metric's samples as one number: `[k *] AGG(METRIC{…})`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Reading {
    /// The aggregate is multiplied by this; 1 unless written.
    pub factor: f64,
    /// How the metric's samples become one number.
    pub agg: Agg,
    /// A name of `metric::table`.
    pub metric: String,
    /// Which series and seconds count; all must match.
    pub matchers: Vec<Matcher>,
}

impl fmt::Display for Reading {
    /// As a plan writes it, without factor and matchers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}({})`", self.agg, self.metric)
    }
}

/// Selects series by one label.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Matcher {
    /// The label.
    pub label: String,
    /// Keep the series with this value, or those without.
    pub equal: bool,
    /// The value.
    pub value: String,
}

/// How samples become one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Agg {
    /// How many (a counter's value; a trend's number of samples).
    Count,
    /// Their sum.
    Sum,
    /// The count divided by the metric's base.
    Rate,
    /// The count divided by the seconds of the run.
    PerSecond,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The mean.
    Mean,
    /// A percentile, above 0 and at most 100.
    Percentile(f64),
}

impl fmt::Display for Agg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count => f.write_str("count"),
            Self::Sum => f.write_str("sum"),
            Self::Rate => f.write_str("rate"),
            Self::PerSecond => f.write_str("per_second"),
            Self::Min => f.write_str("min"),
            Self::Max => f.write_str("max"),
            Self::Mean => f.write_str("mean"),
            Self::Percentile(percent) => write!(f, "p{percent}"),
        }
    }
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Op {
    /// Whether `left OP right` holds.
    #[must_use]
    #[expect(
        clippy::float_cmp,
        reason = "`==` in a threshold compares counts, which are exact"
    )]
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
        }
    }

    /// The same comparison with its sides exchanged.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
        }
    }

    /// As a plan writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }
}

/// Whether a run may be judged at all.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Validity {
    /// At most this many agents may be lost.
    pub agents_lost: u32,
    /// At most this share of planned sessions may be dropped.
    pub dropped_sessions: f64,
    /// At most this lag between planned and actual start (open model).
    pub schedule_lag_p99: Duration,
    /// At most this lag of an agent's event loop; `None`: 20 ms, and 100 ms in one process.
    pub agent_loop_lag_p99: Option<Duration>,
    /// At most this share of an agent's CPU quota; reported only in one process.
    pub agent_cpu: f64,
}

/// Which traces are exported.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TraceRules {
    /// The share of other sessions.
    pub sample: f64,
    /// Always those that failed.
    pub keep_failed: bool,
    /// Always the slowest.
    pub keep_slowest: bool,
}

/// What the loss of an agent means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAgentLoss {
    /// The run can no longer be judged.
    Inconclusive,
}

/// How connections to a target are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// Each session has its own.
    Session,
    /// Each virtual user has its own.
    VirtualUser,
    /// All sessions of an agent share this many.
    Shared(u32),
}
