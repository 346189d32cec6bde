//! What became of one fault, for phases, verdict and report.
use crate::report::model;
use crate::run::AgentIndex;
use std::time::Duration;
use tokio::time::Instant;

/// From a fault's end to the first passing session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// How long that was.
    pub after: Duration,
    /// The session's scenario.
    pub scenario: String,
    /// The agent that ran it.
    pub agent: AgentIndex,
}

/// How a fault came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It is not over.
    #[default]
    Open,
    /// It was injected, and reverted when it was time.
    Reverted,
    /// The run was over before it began.
    NeverBegan(String),
    /// It was not injected, or not for as long as it should have been, and is reverted.
    Failed(String),
    /// It may still be there.
    NotReverted(String),
}

/// Everything that is known of one fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// When the coordinator ordered it: its phase begins.
    pub ordered: Option<Instant>,
    /// When the coordinator heard that it was over: its phase ends, and that of its recovery begins.
    pub over: Option<Instant>,
    /// When the coordinator heard of the first passing session: the recovery ends.
    pub recovered: Option<Instant>,
    /// When it was there, as its agent says, in coordinator time.
    pub started_ns: Option<i64>,
    /// When it was reverted, as its agent says.
    pub ended_ns: Option<i64>,
    /// Which agent reverted it; none: its lease.
    pub reverted_by: Option<AgentIndex>,
    /// It ended with its lease, or because its agent left.
    pub unasked: bool,
    /// What it did, as its agent says.
    pub detail: String,
    /// Why it was not injected, or not for as long as it should have been.
    pub failure: Option<String>,
    /// How it came out.
    pub outcome: Outcome,
    /// From its end to the first passing session.
    pub recovery: Option<Recovery>,
}

impl Record {
    /// As the report lists it. Times are since the run's start.
    pub fn report(&self, name: &str, started_ns: Option<i64>, agents: &[String]) -> model::Fault {
        let since = |ns: Option<i64>| Some(seconds(ns?.saturating_sub(started_ns?)));
        let reverted_by = self.over.is_some().then(|| match self.reverted_by {
            Some(agent) => {
                let unknown = || format!("#{agent}");
                agents.get(agent).cloned().unwrap_or_else(unknown)
            }
            None => "lease".to_owned(),
        });
        let not_reverted = matches!(self.outcome, Outcome::NotReverted(_) | Outcome::Open);
        let (outcome, problem) = match &self.outcome {
            Outcome::Open => ("not_reverted", Some("it was not over when the run was")),
            Outcome::Reverted => ("reverted", None),
            Outcome::NeverBegan(why) => ("never_began", Some(why.as_str())),
            Outcome::Failed(why) => ("failed", Some(why.as_str())),
            Outcome::NotReverted(why) => ("not_reverted", Some(why.as_str())),
        };
        model::Fault {
            name: name.to_owned(),
            started_at: since(self.started_ns),
            ended_at: since(self.ended_ns).filter(|_| !not_reverted),
            reverted_by: reverted_by.filter(|_| !not_reverted),
            recovery: self.recovery.as_ref().map(|one| one.after.as_secs_f64()),
            outcome: outcome.to_owned(),
            problem: problem.map(str::to_owned),
            detail: (!self.detail.is_empty()).then(|| self.detail.clone()),
        }
    }

    /// Whether it ever acted, as far as its agent says.
    pub fn was_there(&self) -> bool {
        self.started_ns.is_some()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times of a run are far below 2^53 microseconds"
)]
fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}
