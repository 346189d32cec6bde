//! Expressions over the messages of a stream while they come: `stop: { when }` and `watch`.
//!
//! Only streams with one of them pay for it: a message is decoded when an expression reads it.

use prost_reflect::MessageDescriptor;
use testmesh_shared::plan::expr::{Expr, Scope, Value};
use testmesh_shared::plan::keys::{Form, Key, Keys};
use testmesh_shared::plan::{Item, ProblemCode, Stage};
use tokio::time::Instant;

use crate::driver::contract::{Attempt, StageError};
use crate::driver::message::decode;
use crate::driver::stream::Seen;

/// What stands behind a name in `watch`.
pub(super) const FORM: Form = Form::Either(&[Form::Expr, Form::Object(&WATCH)]);

static WATCH: Keys = Keys {
    name: "watch",
    doc: "A time that a stage of `during` takes to show in the data.",
    keys: &[
        Key::new("expr", Form::Expr, "What is to become true.").required(),
        Key::new(
            "since",
            Form::Name,
            "A stage of `during`: counts from its start, and looks only at messages that come after it. Without it, time counts from the start of the call.",
        ),
    ],
    groups: &[],
};

/// Names that expressions over a message may read, besides those of the stage.
pub(super) const RESULTS: &[&str] = &["message", "stream"];

/// One time that is taken.
#[derive(Debug)]
pub(super) struct WatchRule {
    name: String,
    expr: Expr,
    /// The stage of `during` that it counts from; none: the call.
    since: Option<String>,
}

impl WatchRule {
    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Reads `watch`.
    pub(super) fn read_all(item: Item<'_>) -> Option<Vec<Self>> {
        let rules: Vec<_> = item
            .entries()
            .into_iter()
            .map(|entry| {
                entry.check_name();
                let expr = match entry.value.is_map() {
                    true => entry.value.key("expr")?,
                    false => entry.value,
                };
                // `since` that is no name is a problem, and leaves no rule.
                let since = match entry.value.key("since") {
                    Some(since) => Some(since.name()?),
                    None => None,
                };
                Some(Self {
                    name: entry.key.to_owned(),
                    expr: expr.expr_over(RESULTS)?,
                    since,
                })
            })
            .collect();
        rules.into_iter().collect()
    }

    /// Reports a `since` that names no stage of `during`; `item` is the stage's call.
    pub(super) fn check(&self, during: &[Stage], item: Item<'_>) {
        let Some(since) = &self.since else { return };
        let exact = during.iter().any(|stage| stage.name == *since);
        let named = during.iter().filter(|stage| stage.is_named(since)).count();
        if exact || named == 1 {
            return;
        }
        let rule = item.key("watch").and_then(|watch| watch.key(&self.name));
        let Some(place) = rule.and_then(|rule| rule.key("since")) else {
            return;
        };
        let known: Vec<_> = during.iter().map(|stage| stage.name.as_str()).collect();
        let hint = match known.is_empty() {
            true => "write the stage under `during`".to_owned(),
            false => format!("`during` has {}", known.join(", ")),
        };
        let message = match named {
            0 => format!("`during` has no stage `{since}` of its own"),
            several => format!("`during` has {several} stages `{since}`, from different blocks"),
        };
        place.problem(ProblemCode::UnknownName, message, hint);
    }
}

/// Holds each message of one stream against the expressions of its stage.
#[derive(Debug)]
pub(super) struct Watching<'a> {
    attempt: &'a Attempt<'a>,
    output: &'a MessageDescriptor,
    /// When the stream was asked for.
    asked: Instant,
    /// What has not been true yet.
    waiting: Vec<&'a WatchRule>,
    when: Option<&'a Expr>,
    /// The first message, if an expression reads it.
    first: Option<Value>,
    reads: Reads,
}

/// Which messages the expressions read through `stream`.
#[derive(Debug, Clone, Copy)]
struct Reads {
    first: bool,
    last: bool,
}

impl<'a> Watching<'a> {
    /// None if there is nothing to look for.
    pub(super) fn new(
        attempt: &'a Attempt<'a>,
        output: &'a MessageDescriptor,
        rules: &'a [WatchRule],
        when: Option<&'a Expr>,
    ) -> Option<Self> {
        if rules.is_empty() && when.is_none() {
            return None;
        }
        let exprs = || rules.iter().map(|rule| &rule.expr).chain(when);
        let reads = |field| exprs().any(|expr| expr.reads_field("stream", field));
        Some(Self {
            attempt,
            output,
            asked: Instant::now(),
            waiting: rules.iter().collect(),
            when,
            first: None,
            reads: Reads {
                first: reads("first"),
                last: reads("last"),
            },
        })
    }

    /// A message came, which `seen` counts already. Says whether `stop: { when }` is true.
    ///
    /// # Errors
    ///
    /// An expression that has no value.
    pub(super) fn message(
        &mut self,
        at: Instant,
        message: &[u8],
        seen: &Seen,
    ) -> Result<bool, StageError> {
        if self.reads.first && self.first.is_none() {
            self.first = Some(self.decode(message).map_err(undecodable)?);
        }
        if self.waiting.is_empty() && self.when.is_none() {
            return Ok(false);
        }
        let (output, reads, first) = (self.output, self.reads, self.first.clone());
        let mut layer = Scope::over(self.attempt.scope);
        if let Some(during) = self.attempt.during {
            during.bind(&mut layer);
        }
        layer.set_lazy("message", || value(output, message));
        layer.set_lazy("stream", || {
            let last = reads.last.then(|| value(output, message)).transpose()?;
            Ok(so_far(at, seen, first.clone(), last))
        });
        self.waiting = self.still_waiting(at, &layer)?;
        match self.when {
            Some(when) => self.holds(when, &layer, || "stop.when".to_owned()),
            None => Ok(false),
        }
    }

    /// Takes the times of what is true now, and gives the rest.
    fn still_waiting(
        &self,
        at: Instant,
        layer: &Scope<'_>,
    ) -> Result<Vec<&'a WatchRule>, StageError> {
        let mut waiting = Vec::new();
        for rule in &self.waiting {
            let what = || format!("watch.{}", rule.name);
            match self.since(rule) {
                Some(since) if self.holds(&rule.expr, layer, what)? => {
                    let took = at.saturating_duration_since(since);
                    self.attempt.meter.watch(&rule.name, at, took);
                }
                _ => waiting.push(*rule),
            }
        }
        Ok(waiting)
    }

    /// From when it counts; none: that has not begun.
    fn since(&self, rule: &WatchRule) -> Option<Instant> {
        match &rule.since {
            None => Some(self.asked),
            Some(stage) => self.attempt.during?.began(stage),
        }
    }

    fn holds(
        &self,
        expr: &Expr,
        layer: &Scope<'_>,
        what: impl FnOnce() -> String,
    ) -> Result<bool, StageError> {
        match expr.holds(layer) {
            Ok(holds) => Ok(holds),
            // What a stage beside the stream is still to save is no mistake: nothing is true of it yet.
            Err(_) if self.is_to_be_saved(expr, layer) => Ok(false),
            Err(error) => Err(StageError::template(&what(), &error)),
        }
    }

    fn is_to_be_saved(&self, expr: &Expr, layer: &Scope<'_>) -> bool {
        let runs = self.attempt.during.is_some_and(|during| !during.is_over());
        runs && expr.lacks_saves(layer)
    }

    fn decode(&self, message: &[u8]) -> Result<Value, String> {
        value(self.output, message)
    }
}

fn value(output: &MessageDescriptor, message: &[u8]) -> Result<Value, String> {
    decode(output, message).map_err(|error| format!("cannot be decoded: {error}"))
}

fn undecodable(reason: String) -> StageError {
    let message = format!("the first message {reason}");
    StageError::new(testmesh_shared::plan::ErrorKind::Protocol, message).with_code("bad_message")
}

/// What `stream` is while messages come: what has come so far, this message being the last.
fn so_far(at: Instant, seen: &Seen, first: Option<Value>, last: Option<Value>) -> Value {
    let count = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    let duration = at.saturating_duration_since(seen.first).as_secs_f64();
    let mut entries = vec![
        ("messages", count(seen.messages)),
        ("rows", count(seen.rows)),
        ("bytes", count(seen.bytes)),
        ("duration", Value::from(duration)),
    ];
    entries.extend(first.map(|first| ("first", first)));
    entries.extend(last.map(|last| ("last", last)));
    Value::map(entries)
}
