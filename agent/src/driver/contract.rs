//! What a driver is, and what it may ask of the session that runs it.
//!
//! A driver does one try of one stage, and nothing else: retries, polls, `expect`, `save`, time-outs and the trace are the
//! session runner's, written once. A driver owns the protocol: it renders its templates from the scope, speaks to the server,
//! measures what only it can see (connects, first bytes, gaps between messages) through a [`Meter`], and returns [`Results`].
//! A stream's default time-outs (30 s to the first message, 60 s between two, if the stage has no `timeout`) are the driver's.
//!
//! Every session lives on one single-threaded runtime, so nothing here is `Send`, and dropping the future of
//! [`Driver::run`] cancels the try for real: the call is reset at the server, what was measured until then is kept.

use std::any::Any;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use testmesh_shared::metric::MetricId;
use testmesh_shared::plan::expr::{EvalError, Scope, Value};
use testmesh_shared::plan::form::STAGE_TIMEOUT;
use testmesh_shared::plan::{DriverStage, ErrorKind, Integrity, Item, ProblemCode, Stage};
use tokio::time::Instant;

use super::connections::Connections;
use super::during::During;
use super::limits;
use super::message::Encoded;
use super::transcript::Listener;
use crate::integrity::{MeshClock, Truths};
use crate::recorder::Severity;

/// One stage's driver, read from the plan and ready to run any number of times.
pub trait Driver: fmt::Debug + Send + Sync {
    /// Whether the stage is a stream: its time-out has no default then.
    fn streams(&self) -> bool {
        false
    }

    /// What bounds the stage where the plan does not.
    fn default_timeout(&self) -> Option<Duration> {
        (!self.streams()).then_some(STAGE_TIMEOUT)
    }

    /// Names that expressions of the stage may read, besides `elapsed`.
    fn results(&self) -> &'static [&'static str] {
        &[]
    }

    /// Values of the label `watch` that the stage measures.
    fn watches(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Checks, while the plan is read, what refers to the stages of `during`; `item` is the value behind the driver's key.
    fn check_during(&self, during: &[Stage], item: Item<'_>) {
        let _ = (during, item);
    }

    /// Checks, while the plan is read, that the stage's stream has the fields that `integrity` names.
    fn check_integrity(&self, integrity: &Integrity, item: Item<'_>) {
        let _ = integrity;
        let hint = "remove `integrity`, or move it to a stage with a stream";
        item.problem(
            ProblemCode::Conflict,
            "this stage has no stream whose rows could be verified",
            hint,
        );
    }

    /// Does one try of the stage.
    ///
    /// # Errors
    ///
    /// The returned future gives a [`StageError`] if no complete answer came. An answer that is itself a refusal (HTTP 404,
    /// gRPC `NOT_FOUND`) is `Ok`, with [`Results::failure`] set: whether it fails the stage depends on the plan's expressions.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the request or stream at once and records what was measured so far.
    fn run<'a>(
        &'a self,
        attempt: &'a Attempt<'a>,
    ) -> LocalBoxFuture<'a, Result<Results, StageError>>;
}

/// What every form's reader returns behind the plan's opaque stage, so that the runner needs exactly one downcast.
#[derive(Debug)]
pub struct Drives(pub Box<dyn Driver>);

impl Drives {
    /// A stage that this driver runs.
    pub(crate) fn stage(driver: impl Driver + 'static) -> Box<dyn DriverStage> {
        Box::new(Self(Box::new(driver)))
    }
}

impl DriverStage for Drives {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn streams(&self) -> bool {
        self.0.streams()
    }

    fn default_timeout(&self) -> Option<Duration> {
        self.0.default_timeout()
    }

    fn results(&self) -> &'static [&'static str] {
        self.0.results()
    }

    fn watches(&self) -> Vec<&str> {
        self.0.watches()
    }

    fn check_during(&self, during: &[Stage], item: Item<'_>) {
        self.0.check_during(during, item);
    }

    fn check_integrity(&self, integrity: &Integrity, item: Item<'_>) {
        self.0.check_integrity(integrity, item);
    }
}

/// What a session lends to one try of one stage.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The stage: its `integrity`, `stall` and the results that its expressions read.
    pub stage: &'a Stage,
    /// The values that templates and expressions of this stage see.
    pub scope: &'a Scope<'a>,
    /// The connections of the session, its virtual user and its worker.
    pub connections: &'a Connections,
    /// Where measurements of this stage go.
    pub meter: &'a dyn Meter,
    /// The session's index in its scenario, over all agents: the witness of rows that it saw.
    pub session: u64,
    /// The `traceparent` that outgoing requests carry.
    pub traceparent: &'a str,
    /// When the run started: `wait: { at: D }` counts from here.
    pub run_started: Instant,
    /// When the runner will cut the try. A driver that has more to say of a time-out than that it was one ends before.
    pub deadline: Option<Instant>,
    /// The coordinator's clock, for servers whose own is declared by it.
    pub clock: &'a MeshClock,
    /// The truths that the agent has read in this run.
    pub truths: &'a Truths,
    /// What goes on while the stream is open.
    pub during: Option<&'a dyn During>,
    /// Hears what is asked and answered, if anybody wants to.
    pub listener: Option<&'a dyn Listener>,
}

/// Where a driver records what it sees. Bound to one scenario and stage; recording is cheap and never waits.
///
/// Measurements belong to the second in which the stage started, those of messages to the second in which they arrived.
pub trait Meter: fmt::Debug {
    /// `stage_connect`: name look-up, TCP and TLS until the connection can be used.
    fn connect(&self, took: Duration);
    /// `stage_first_byte`: from the request's start to its response's headers.
    fn first_byte(&self, took: Duration);
    /// `stage_status`: counts one answer with this HTTP or gRPC status.
    fn status(&self, status: i64);
    /// `stream_first_message`: from the call's start to its first message, which came at `at`.
    fn first_message(&self, at: Instant, took: Duration);
    /// `stream_messages`, `stream_rows`, `stream_bytes`: what arrived at `at`. The driver reads the clock once for all
    /// messages that it finds at the same time.
    fn messages(&self, at: Instant, messages: u64, rows: u64, bytes: u64);
    /// `stream_gap`: so many times this much time lay between two messages, the last of which came at `at`.
    fn gap(&self, at: Instant, gap: Duration, times: u64);
    /// `stream_stall`: a gap over the stage's `stall` that ended at `at`.
    fn stall(&self, at: Instant, gap: Duration);
    /// `stream_latency` of what came at `at`.
    fn latency(&self, at: Instant, latency: Duration);
    /// `stream_duration`: from the first message to the stream's end.
    fn stream_duration(&self, took: Duration);
    /// `stream_watch`: it took so long until what is watched under that name was true of the message that came at `at`.
    fn watch(&self, name: &str, at: Instant, took: Duration);
    /// `streams_open`: a stream had its first message at `at`.
    fn stream_opened(&self, at: Instant);
    /// `streams_open`: an opened stream ended at `at`. Called exactly once for each [`Meter::stream_opened`].
    fn stream_closed(&self, at: Instant);
    /// `integrity_*`: rows since the last call.
    fn integrity(&self, rows: &RowCounts);
    /// Something wrong with the data of one stream: called at its end, once for each kind.
    fn data_fault(&self, fault: DataFault);
    /// Something worth knowing that is no failure of the stage: a finding of the session, whatever becomes of the stage.
    fn note(&self, note: Note) {
        let _ = note;
    }
    /// A row for `truth: agree`. The worker collapses equal rows of its sessions; `verified`, `mismatched` and
    /// `unwitnessed` of these rows are the coordinator's to count. Rows that there is no room for count as `unverified`.
    fn agree_row(&self, group: &Rc<str>, key: &RowKey, digest: u64, session: u64);
    /// Whether there is little room left for such rows: a driver that finds many at once should
    /// wait until the worker has taken them.
    fn is_short_of_room(&self) -> bool {
        false
    }
    /// The agent held a stream up for so long: no fault of the server's, and so a lag of the agent's loop.
    fn held_up(&self, took: Duration) {
        let _ = took;
    }
    /// A whole stream for `truth: agree` with `of: stream`: the XXH3-128 of its payload.
    fn agree_stream(&self, group: &Rc<str>, digest: u128, rows: u64, session: u64);
    /// Adds a duration to a trend of the stage that no other method of this is for, in the second that `at` belongs to.
    fn observe(&self, metric: MetricId, at: Instant, value: Duration);
    /// Adds to a counter of the stage that no other method of this is for, in the second that `at` belongs to.
    fn count(&self, metric: MetricId, at: Instant, by: u64);
    /// Counts something that could not be kept or recorded, by its name in `Batch.losses`.
    fn loss(&self, what: &'static str, count: u64);
}

/// Rows by what the integrity check found. `missing`, `repeated` and `reordered` stand beside the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows equal to their truth; without a truth, rows in sequence.
    pub verified: u64,
    /// Numbers of the sequence that never came.
    pub missing: u64,
    /// Numbers that came again.
    pub repeated: u64,
    /// Numbers that came late.
    pub reordered: u64,
    /// Rows that differ from their truth, or that could not be cut from their message.
    pub mismatched: u64,
    /// Rows that no other session can have seen: those of a stream that was cut before it could be compared as a whole.
    pub unwitnessed: u64,
    /// Rows whose named truth could not be read.
    pub unverified: u64,
}

/// Something wrong with the data of one stream, for a finding of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFault {
    /// The reason in a verdict that it stands for, or `truth_unreadable`.
    pub code: &'static str,
    /// How many rows, and where the first of them is.
    pub message: String,
}

/// Something that a driver noticed, for a finding of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How grave it is.
    pub severity: Severity,
    /// From a closed set.
    pub code: &'static str,
    /// What it is: not yet masked.
    pub message: String,
    /// A PNG that shows it. It cannot be masked: it shows no secret.
    pub screenshot: Option<Bytes>,
}

/// Which row of a stream: what rows of different sessions are matched by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowKey {
    /// Integer fields.
    Number(i64),
    /// Strings, and everything else in its printed form.
    Text(Box<str>),
}

/// What a try gave to the stage's expressions.
#[derive(Debug, Default)]
pub struct Results {
    /// HTTP or gRPC status.
    pub status: Option<i64>,
    /// Response headers or metadata, lower-case names; a name that came twice has two entries.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The body, converted only when an expression reads it.
    pub body: Body,
    /// What a stream amounted to.
    pub stream: Option<StreamResults>,
    /// The documents of an answer, a list.
    pub docs: Option<Value>,
    /// What a page shows.
    pub page: Option<Value>,
    /// What the stage fails with unless one of its expressions reads `status`.
    pub failure: Option<StageError>,
}

/// A response's body as it came.
#[derive(Debug, Clone, Default)]
pub enum Body {
    /// No body.
    #[default]
    None,
    /// Bytes: `text` as they are, `body` as JSON.
    Bytes(Bytes),
    /// A protobuf message with its descriptor: `body` as a map.
    Message(Encoded),
    /// Something that never was text: `body` as it is, `text` as JSON.
    Value(Value),
}

impl Body {
    /// The body as expressions see it.
    ///
    /// # Errors
    ///
    /// Why it has no value, as the rest of a sentence about it.
    pub(crate) fn value(&self) -> Result<Value, String> {
        match self {
            Self::None => Err("is empty".into()),
            Self::Bytes(bytes) if bytes.is_empty() => Err("is empty".into()),
            Self::Bytes(bytes) => {
                Value::from_json_slice(bytes).map_err(|error| format!("is not JSON: {error}"))
            }
            Self::Message(message) => message
                .to_value()
                .map_err(|error| format!("cannot be decoded: {error}")),
            Self::Value(value) => Ok(value.clone()),
        }
    }
}

/// What `stream` is in expressions.
#[derive(Debug, Clone)]
pub struct StreamResults {
    /// Messages that came.
    pub messages: u64,
    /// Rows in them; without `integrity`, as many as messages.
    pub rows: u64,
    /// Encoded bytes of all messages.
    pub bytes: u64,
    /// The first message.
    pub first: Body,
    /// The last message.
    pub last: Body,
    /// The gRPC status that ended it; `None` if the stage's `stop` did.
    pub status: Option<i64>,
    /// XXH3-128 of the stream's payload, if the stage has `integrity` with a payload.
    pub digest: Option<u128>,
    /// From the first message to the end.
    pub duration: Duration,
}

impl StreamResults {
    /// The stream as expressions see it.
    ///
    /// # Errors
    ///
    /// Why it has no value, as the rest of a sentence about it.
    pub(crate) fn value(&self) -> Result<Value, String> {
        let count = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
        let mut entries = vec![
            ("messages", count(self.messages)),
            ("rows", count(self.rows)),
            ("bytes", count(self.bytes)),
            ("duration", Value::from(self.duration.as_secs_f64())),
        ];
        if self.messages > 0 {
            let message = |which, body: &Body| {
                body.value()
                    .map_err(|reason| format!("has a {which} message that {reason}"))
            };
            entries.push(("first", message("first", &self.first)?));
            entries.push(("last", message("last", &self.last)?));
        }
        if let Some(status) = self.status {
            entries.push(("status", Value::from(status)));
        }
        if let Some(digest) = self.digest {
            entries.push(("digest", Value::from(format!("{digest:032x}"))));
        }
        Ok(Value::map(entries))
    }
}

/// Why a try failed: data, not a program's failure. The kind and code are metric labels, the message is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageError {
    /// The label `error` of `stage_errors`, and what `retry.on` names.
    pub kind: ErrorKind,
    /// A finer word from a closed set (`too_large`, `ended_early`, `row_shape`, …).
    pub code: Option<&'static str>,
    /// What happened, with addresses and causes. May hold secrets: masked when it is shown.
    pub message: String,
    /// The HTTP or gRPC status that came with it; `retry.on` may name it.
    pub status: Option<i64>,
    /// Headers and the start of the body that came before the failure.
    pub evidence: Option<Box<Evidence>>,
    /// A PNG of what was there then. It cannot be masked: it shows no secret.
    pub screenshot: Option<Bytes>,
    /// It has been counted and told as the failure of a stage within the one that it passes through.
    pub(crate) told: bool,
}

impl StageError {
    /// A failure that is told by its kind and message alone.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: None,
            message: message.into(),
            status: None,
            evidence: None,
            screenshot: None,
            told: false,
        }
    }

    /// A template that has no value: the plan reads what is not there, or gives a type that has no place.
    pub(crate) fn template(of: &str, error: &EvalError) -> Self {
        Self::new(ErrorKind::Expectation, format!("{of}: {error}")).with_code("template")
    }

    /// The same failure with a finer word.
    #[must_use]
    pub fn with_code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    /// The same failure with the status that came with it.
    #[must_use]
    pub fn with_status(self, status: i64) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }

    /// The same failure, of which the stages around need not tell any more.
    #[must_use]
    pub(crate) fn told(self) -> Self {
        Self { told: true, ..self }
    }

    /// The same failure with a PNG of what was there, if there is one.
    #[must_use]
    pub fn with_screenshot(self, screenshot: Option<Bytes>) -> Self {
        Self { screenshot, ..self }
    }

    /// The same failure with what came before it.
    #[must_use]
    pub fn with_evidence(self, evidence: Evidence) -> Self {
        Self {
            evidence: Some(Box::new(evidence)),
            ..self
        }
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}",
            self.code.unwrap_or(self.kind.as_str()),
            self.message
        )
    }
}

impl std::error::Error for StageError {}

/// What a finding shows of an answer: not yet masked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// HTTP or gRPC status.
    pub status: Option<i64>,
    /// Response headers or metadata.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The start of the body; 2 KiB of it are shown.
    pub body: Bytes,
}

impl Results {
    /// What a finding shows of this answer, should an expression find it wanting.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let body = match &self.body {
            Body::None => Bytes::new(),
            Body::Bytes(bytes) => bytes.slice(..bytes.len().min(limits::EVIDENCE_BYTES)),
            Body::Message(message) => message.evidence(limits::EVIDENCE_BYTES),
            Body::Value(value) => match self.docs.as_ref().and_then(Value::as_list) {
                Some(docs) if !docs.is_empty() => start_of(docs),
                _ => start_of(std::slice::from_ref(value)),
            },
        };
        Evidence {
            status: self.status,
            headers: self.headers.clone(),
            body,
        }
    }
}

/// As much of these values, one on each line, as a finding has room for.
fn start_of(values: &[Value]) -> Bytes {
    let mut text = String::new();
    for value in values {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&value.to_json().to_string());
        if text.len() >= limits::EVIDENCE_BYTES {
            break;
        }
    }
    text.truncate(text.floor_char_boundary(limits::EVIDENCE_BYTES));
    text.into()
}
