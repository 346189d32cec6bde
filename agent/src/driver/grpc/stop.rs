//! When a stream is enough, and how the server may end it.

use std::fmt;
use std::time::Duration;

use testmesh_shared::grpc_status;
use testmesh_shared::plan::expr::{Expr, Scope, Template};
use testmesh_shared::plan::{ErrorKind, Item, ProblemCode, nearest};
use tokio::time::Instant;

use super::watching;
use crate::driver::contract::StageError;
use crate::driver::forms;
use crate::driver::stream::Watch;

/// When a stream is enough, as the plan says it.
#[derive(Debug)]
pub(super) enum StopRule {
    Fixed(Stop<'static>),
    Messages(Count),
    When(Expr),
}

impl StopRule {
    /// Reads `stop`, but for `after`.
    pub(super) fn read(item: Item<'_>) -> Option<Self> {
        if !item.is_map() {
            return item.word(&["end"]).map(|_| Self::Fixed(Stop::End));
        }
        if let Some(messages) = item.key("messages") {
            return Count::read(messages).map(Self::Messages);
        }
        if let Some(duration) = item.key("for") {
            return Some(Self::Fixed(Stop::For(duration.duration()?)));
        }
        if let Some(idle) = item.key("idle") {
            return some_time(idle).map(|idle| Self::Fixed(Stop::Idle(idle)));
        }
        if let Some(when) = item.key("when") {
            return when.expr_over(watching::RESULTS).map(Self::When);
        }
        if let Some(end) = item.key("end") {
            if !end.bool()? {
                let message = "a stream that need not end needs another `stop`";
                let hint = "write `end: true`, or when the stream is enough";
                end.problem(ProblemCode::BadValue, message, hint);
                return None;
            }
            return Some(Self::Fixed(Stop::End));
        }
        if item.has("after") {
            return Some(Self::Fixed(Stop::Nothing));
        }
        let message = "`stop` needs one of `messages`, `for`, `end`, `idle`, `after`, `when`";
        item.problem(
            ProblemCode::MissingKey,
            message,
            "write when the stream is enough",
        );
        None
    }

    /// When a stream of one try is enough.
    pub(super) fn resolve(&self, scope: &Scope<'_>) -> Result<Stop<'_>, StageError> {
        Ok(match self {
            Self::Fixed(stop) => *stop,
            Self::Messages(count) => Stop::Messages(count.resolve(scope)?),
            Self::When(when) => Stop::When(when),
        })
    }
}

fn some_time(item: Item<'_>) -> Option<Duration> {
    let duration = item.duration()?;
    if duration.is_zero() {
        let hint = "write a duration above 0s";
        item.problem(ProblemCode::BadValue, "this is no time at all", hint);
        return None;
    }
    Some(duration)
}

/// Reads whether a stream goes on at least until the stages of `during` have run; `item` is the whole call.
pub(super) fn read_after(item: Item<'_>) -> Option<bool> {
    let Some(after) = item.key("stop").and_then(|stop| stop.key("after")) else {
        return Some(false);
    };
    after.word(&["during"])?;
    if !item.has("during") {
        let hint = "write the stages that run while the stream is open under `during`";
        let message = "`after: during` needs `during`, which this call does not have";
        after.problem(ProblemCode::Conflict, message, hint);
        return None;
    }
    Some(true)
}

/// A number of messages.
#[derive(Debug)]
pub(super) enum Count {
    Fixed(u64),
    Of(Template),
}

impl Count {
    fn read(item: Item<'_>) -> Option<Self> {
        let template = item.template()?;
        if template.literal().is_none() {
            return Some(Self::Of(template));
        }
        let count = item.int(1..=i64::MAX)?;
        u64::try_from(count).ok().map(Self::Fixed)
    }

    fn resolve(&self, scope: &Scope<'_>) -> Result<u64, StageError> {
        let template = match self {
            Self::Fixed(count) => return Ok(*count),
            Self::Of(template) => template,
        };
        let value = template
            .value(scope)
            .map_err(|error| StageError::template("a number of messages", &error))?;
        value.as_u64().filter(|count| *count > 0).ok_or_else(|| {
            let message = format!(
                "`{}` gave {value}, not a number of messages",
                template.source()
            );
            StageError::new(ErrorKind::Expectation, message).with_code("template")
        })
    }
}

/// When a stream is enough.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop<'a> {
    Messages(u64),
    For(Duration),
    Idle(Duration),
    /// As soon as nothing holds it any more.
    Nothing,
    When(&'a Expr),
    End,
}

impl<'a> Stop<'a> {
    /// The time at which the stream is enough, unless messages come that change it.
    pub(super) fn due(self, watch: &Watch<'_>) -> Option<Instant> {
        match self {
            Self::For(duration) => watch.seen().map(|seen| seen.first + duration),
            Self::Idle(duration) => watch.seen().map(|seen| seen.last + duration),
            Self::Messages(_) | Self::Nothing | Self::When(_) | Self::End => None,
        }
    }

    /// What must be true of a message, if it is that.
    pub(super) const fn when(self) -> Option<&'a Expr> {
        match self {
            Self::When(when) => Some(when),
            _ => None,
        }
    }

    /// Whether silence is what it waits for, and not a server that fails to send.
    pub(super) const fn is_silence(self) -> bool {
        matches!(self, Self::Idle(_))
    }
}

impl fmt::Display for Stop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Messages(count) => write!(f, "`stop: {{ messages: {count} }}` was met"),
            Self::For(duration) => write!(f, "`stop: {{ for: {duration:?} }}` was met"),
            Self::Idle(duration) => write!(f, "`stop: {{ idle: {duration:?} }}` was met"),
            Self::Nothing => f.write_str("the stages of `during` had run"),
            Self::When(when) => write!(f, "`{}` was true", when.source()),
            Self::End => f.write_str("it was to end so"),
        }
    }
}

/// A status with which the server may end a stream.
#[derive(Debug)]
pub(super) struct EndRule {
    pub(super) status: i32,
    pub(super) after_idle: Option<Duration>,
    pub(super) when: Option<Expr>,
}

/// Whether the plan accepts how the server ended a stream.
#[derive(Debug)]
pub(super) enum Accepted<'a> {
    Yes,
    /// If this is true of what the stream amounted to.
    When(&'a Expr),
    No,
}

/// Reads `end`.
pub(super) fn read_end(item: Item<'_>) -> Option<Vec<EndRule>> {
    let rules: Vec<_> = item
        .items()
        .into_iter()
        .map(|rule| {
            let after_idle = forms::optional(rule, "after_idle", Item::duration);
            let when = forms::optional(rule, "when", |when| when.expr_over(&["stream"]));
            let status = status_code(rule.key("status").unwrap_or(rule));
            Some(EndRule {
                status: status?,
                after_idle: after_idle?,
                when: when?,
            })
        })
        .collect();
    rules.into_iter().collect()
}

fn status_code(item: Item<'_>) -> Option<i32> {
    let text = item.text()?;
    let code = grpc_status::code_of(&text);
    if code.is_none() {
        let known = grpc_status::NAMES;
        let hint = nearest(&text, known.iter().copied()).map_or_else(
            || format!("write one of {}", known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        item.problem(
            ProblemCode::BadValue,
            format!("`{text}` is not a gRPC status"),
            hint,
        );
    }
    code
}
