//! What became of a job's commands, as `GET /_testbed` tells it. All are counted, the last are listed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::limits::COMMANDS_LISTED;

/// The commands of one job.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    applied: u64,
    rejected: u64,
    last: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    at_ms: u64,
    routing_key: String,
    /// None: it is no command.
    command: Option<&'static str>,
    /// None: it was applied.
    rejected: Option<String>,
}

impl Journal {
    /// Enters what became of a command.
    pub(crate) fn enter(
        &self,
        at_ms: u64,
        routing_key: &str,
        command: Option<&'static str>,
        outcome: Result<(), String>,
    ) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => kept.applied += 1,
            Err(_) => kept.rejected += 1,
        }
        if kept.last.len() == COMMANDS_LISTED {
            kept.last.pop_front();
        }
        kept.last.push_back(Entry {
            at_ms,
            routing_key: routing_key.to_owned(),
            command,
            rejected: outcome.err(),
        });
    }

    /// `{"applied", "rejected", "last": [{"at", "routing_key", "type", "outcome", "reason"}]}`, oldest first.
    pub(crate) fn describe(&self) -> Value {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<_> = kept
            .last
            .iter()
            .map(|entry| {
                json!({
                    "at": entry.at_ms,
                    "routing_key": entry.routing_key,
                    "type": entry.command,
                    "outcome": if entry.rejected.is_some() { "rejected" } else { "applied" },
                    "reason": entry.rejected,
                })
            })
            .collect();
        json!({ "applied": kept.applied, "rejected": kept.rejected, "last": last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_last_are_listed() {
        let journal = Journal::default();
        for number in 0..200 {
            let outcome = if number % 2 == 0 {
                Ok(())
            } else {
                Err("no".to_owned())
            };
            journal.enter(number, "key", Some("KeepaliveCommand"), outcome);
        }
        let told = journal.describe();
        assert_eq!(
            (&told["applied"], &told["rejected"]),
            (&json!(100), &json!(100))
        );
        let last = told["last"].as_array().unwrap();
        assert_eq!(last.len(), COMMANDS_LISTED);
        assert_eq!(
            (&last[49]["at"], &last[49]["reason"]),
            (&json!(199), &json!("no"))
        );
    }
}
