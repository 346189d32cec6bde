//! What a driver is, and what it may ask of the session that runs it.
//!
//! A driver does one try of one stage, and nothing else: retries, polls, `expect`, `save`, time-outs and the trace are the
//! session runner's, written once. A driver owns the protocol: it renders its templates from the scope, speaks to the server,
//! measures what only it can see (connects, first bytes, gaps between messages) through a [`StageMeter`], and returns [`Results`].
//! A stream's default time-outs (30 s to the first message, 60 s between two, if the stage has no `timeout`) are the driver's.
//!
//! Every session lives on one single-threaded runtime, so nothing here is `Send`, and dropping the future of
//! [`Driver::run`] cancels the try for real: the call is reset at the server, what was measured until then is kept.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use testmesh_shared::plan::{ErrorKind, Stage};
use testmesh_shared::plan::expr::Scope;

use super::connections::Connections;
use super::limits;
use super::message::Encoded;
use crate::recorder::StageMeter;

/// One stage's driver, read from the plan and ready to run any number of times.
pub trait Driver: fmt::Debug + Send + Sync {
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
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>) -> LocalBoxFuture<'a, Result<Results, StageError>>;
}

/// What every form's reader returns behind the plan's opaque stage, so that the runner needs exactly one downcast.
#[derive(Debug)]
pub struct Drives(pub Box<dyn Driver>);

/// What a session lends to one try of one stage.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The stage: its `integrity`, `stall` and the results that its expressions read.
    pub stage: &'a Stage,
    /// The values that templates and expressions of this stage see.
    pub scope: &'a Scope,
    /// The connections of this session, its virtual user and its worker.
    pub connections: &'a Connections,
    /// Where measurements of this stage go.
    pub meter: &'a StageMeter,
    /// The `traceparent` that outgoing requests carry.
    pub traceparent: &'a str,
    /// When the run started: `wait: { at: D }` counts from here.
    pub run_started: tokio::time::Instant,
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
}

impl StageError {
    /// A failure that is told by its kind and message alone.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into(), status: None, evidence: None }
    }

    /// The same failure with a finer word.
    #[must_use]
    pub fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The same failure with the status that came with it.
    #[must_use]
    pub fn with_status(self, status: i64) -> Self {
        Self { status: Some(status), ..self }
    }

    /// The same failure with what came before it.
    #[must_use]
    pub fn with_evidence(self, evidence: Evidence) -> Self {
        Self { evidence: Some(Box::new(evidence)), ..self }
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.unwrap_or(self.kind.as_str()), self.message)
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
    /// The first 2 KiB of the body.
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
        };
        Evidence { status: self.status, headers: self.headers.clone(), body }
    }
}

