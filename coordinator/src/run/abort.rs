//! Judging a run that goes on: a threshold with `abort` ends it as soon as it is broken beyond doubt.
use super::driver::Driver;
use super::event::{Ending, Event, Lifecycle};
use crate::report::model::{Evidence, Severity};
use crate::verdict::{self, Explained, Input};
use std::time::Duration;
use tokio::time::Instant;

impl Driver {
    /// Judges what is known so far, each second. Seconds that some agent has not told of are not judged yet.
    pub(super) fn judge_so_far(&mut self, now: Instant) -> Vec<Event> {
        let aborts = self.rules.criteria.iter().any(|one| one.aborts);
        let (Some(started), Lifecycle::Running) = (self.started, self.state.lifecycle()) else {
            return Vec::new();
        };
        if !aborts || self.aborted.is_some() {
            return Vec::new();
        }
        let elapsed = now.saturating_duration_since(started).as_secs();
        let until = self.aggregator.told_until(elapsed);
        let Some(aborted) = self.broken_until(until) else {
            self.aggregator.judged_until(until);
            return Vec::new();
        };
        let message = format!(
            "{} does not hold after {until} s, which ends the run",
            aborted.text
        );
        self.aborted = Some(aborted);
        let evidence = Evidence {
            at: Some(f64::from(until)),
            ..Evidence::default()
        };
        self.note_at(Severity::Error, "aborted", message, evidence);
        vec![Event::ThresholdBroken]
    }

    fn broken_until(&self, until: u32) -> Option<verdict::Aborted> {
        let roster = self.roster.as_ref()?;
        let ending = Ending {
            lost: self.state.lost_agents().to_vec(),
            ..Ending::default()
        };
        let agents: Vec<_> = roster
            .entries
            .iter()
            .map(|entry| entry.id.to_string())
            .collect();
        verdict::broken(&Input {
            faults_failed: &[],
            rules: &self.rules,
            totals: self.aggregator.totals(),
            sliding: self.aggregator.sliding(),
            ledger: &self.aggregator.ledger(),
            ending: &ending,
            phases: self.aggregator.phases(),
            duration: Duration::from_secs(until.into()),
            agents: &agents,
            clocks: &roster.clocks(),
            missing_batches: &[],
            process: self.surroundings.sealing.process,
            explained: Explained::default(),
            aborted: None,
        })
    }
}
