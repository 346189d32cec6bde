//! What a run's driver does about faults: it tells the timeline what happened, and does what that wants.
use super::driver::{Driver, bounded};
use super::event::{AgentIndex, Ending, Event};
use super::roster::Roster;
use crate::fault::{
    self, FaultAction, FaultEvent, FaultIndex, Heard, Outcome, Record, Timeline, Word,
};
use crate::limits;
use crate::report::model::{self, Evidence, Severity};
use crate::store::StoredRevert;
use crate::verdict::FailedFault;
use std::collections::VecDeque;
use std::time::Duration;
use testmesh_proto::v1::fault::Order;
use testmesh_proto::v1::fault_state::State;
use testmesh_proto::v1::{self, coordinator_message::Kind};
use testmesh_shared::error::Chain;
use tokio::time::Instant;

impl Driver {
    /// Finds an agent for each proxy and fault of the plan.
    ///
    /// # Errors
    /// If one has none, for people.
    pub(super) fn plan_faults(&mut self, roster: &Roster) -> Result<(), String> {
        let plan = &self.submission.plan;
        let proxies = fault::proxies(plan, &roster.entries);
        self.proxies = proxies.map_err(|error| error.to_string())?;
        let specs = fault::specs(plan, &roster.entries);
        let specs = specs.map_err(|error| error.to_string())?;
        self.faults = Timeline::new(specs, self.surroundings.anchor);
        Ok(())
    }

    /// The proxies that an agent runs.
    pub(super) fn proxies_of(&self, agent: AgentIndex) -> Vec<String> {
        let proxies = self.submission.plan.proxies.iter().zip(&self.proxies);
        let here = proxies.filter(|(_, host)| **host == agent);
        here.map(|(proxy, _)| proxy.name.clone()).collect()
    }

    /// The run starts: times of faults count from then.
    pub(super) fn faults_start(&mut self, at: Instant) {
        // Nothing begins before the start, so there is nothing to do yet.
        self.faults.step(Instant::now(), FaultEvent::Started { at });
    }

    /// Passes an event on to the timeline, and does what it wants. Returns what that means for the run.
    pub(super) async fn fault_step(&mut self, now: Instant, event: FaultEvent) -> Vec<Event> {
        let mut meant = Vec::new();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.faults.step(now, event) {
                match action {
                    FaultAction::Inject { fault, agent } => {
                        if let Err(why) = self.store_revert(fault).await {
                            events.push_back(FaultEvent::NotStored { fault, why });
                        } else {
                            self.order(fault, agent, Order::Inject).await;
                        }
                    }
                    FaultAction::InjectAgain { fault, agent } => {
                        self.order(fault, agent, Order::Inject).await;
                    }
                    FaultAction::Renew { fault, agent } => {
                        self.order(fault, agent, Order::Renew).await;
                    }
                    FaultAction::Revert { fault, agent } => {
                        self.order(fault, agent, Order::Revert).await;
                    }
                    FaultAction::Phases { fault } => self.set_phases(fault),
                    FaultAction::Over { fault } => self.fault_over(fault).await,
                    FaultAction::Watch { fault, agent } => self.watch(fault, agent).await,
                    FaultAction::Recovered { fault } => self.fault_recovered(fault),
                    FaultAction::Closed => meant.push(Event::FaultsClosed),
                }
            }
        }
        meant
    }

    /// What an agent says of a fault. What makes no sense is nothing that happened.
    pub(super) async fn fault_told(
        &mut self,
        now: Instant,
        agent: AgentIndex,
        state: v1::FaultState,
    ) -> Vec<Event> {
        let Some(fault) = self.faults.find(&state.fault) else {
            return Vec::new();
        };
        let at_ns = state.at_ns;
        let word = match state.state() {
            State::Injected => Word::Injected,
            State::InjectFailed => Word::InjectFailed,
            State::Reverted => Word::Reverted,
            State::RevertFailed => Word::RevertFailed,
            State::Recovered => {
                let known = self.submission.plan.scenario(&state.scenario).is_some();
                let recovered = FaultEvent::Recovered {
                    fault,
                    agent,
                    scenario: state.scenario,
                    at_ns,
                };
                return match known {
                    true => self.fault_step(now, recovered).await,
                    false => Vec::new(),
                };
            }
            State::Unspecified => return Vec::new(),
        };
        tracing::info!(parent: &self.span, fault = state.fault, agent = self.name(agent), ?word, "fault");
        let heard = Heard {
            agent,
            fault,
            word,
            at_ns,
            detail: bounded(state.detail),
            unasked: state.unasked,
        };
        self.fault_step(now, FaultEvent::Told(heard)).await
    }

    /// The run is sealed. Returns what became of the faults, and those that were not injected as the plan wants it.
    pub(super) fn finish_faults(
        &mut self,
        ending: &Ending,
    ) -> (Vec<model::Fault>, Vec<FailedFault>) {
        // A run that never started has faults that never began.
        self.faults.step(Instant::now(), FaultEvent::RunEnds);
        for action in self.faults.finish() {
            if let FaultAction::Recovered { fault } = action {
                self.fault_recovered(fault);
            }
        }
        let faults: Vec<(String, Record)> = self
            .faults
            .faults()
            .map(|(spec, record)| (spec.name.clone(), record.clone()))
            .collect();
        for (name, record) in &faults {
            self.note_not_recovered(name, record);
        }
        let started_ns = self.started.map(|at| self.surroundings.anchor.unix_ns(at));
        let agents: Vec<String> = (0..self.agents()).map(|agent| self.name(agent)).collect();
        let listed = faults
            .iter()
            .map(|(name, record)| record.report(name, started_ns, &agents));
        let listed = listed.collect();
        // A run that ended before its time had no time for its faults either, and has a reason of its own.
        let cut_short = ending.stopped.is_some() || ending.failure.is_some();
        if cut_short || self.aborted.is_some() {
            return (listed, Vec::new());
        }
        let failed = faults.iter().filter_map(|(name, record)| {
            let why = match &record.outcome {
                Outcome::Failed(why) | Outcome::NeverBegan(why) => Some(why),
                Outcome::Open | Outcome::Reverted | Outcome::NotReverted(_) => {
                    record.failure.as_ref()
                }
            };
            why.map(|why| FailedFault {
                name: name.clone(),
                why: why.clone(),
            })
        });
        (listed, failed.collect())
    }

    /// What reverts a fault is stored before it is there.
    async fn store_revert(&self, fault: FaultIndex) -> Result<(), String> {
        let Some((spec, _)) = self.faults.fault(fault) else {
            return Ok(());
        };
        let revert = StoredRevert {
            run: self.submission.id.clone(),
            fault: spec.name.clone(),
            by_hand: spec.by_hand.clone(),
        };
        let stored = self.surroundings.sealing.store.put_revert(revert).await;
        stored.map_err(|error| Chain(&error).to_string())
    }

    async fn order(&self, fault: FaultIndex, agent: AgentIndex, order: Order) {
        let Some((spec, _)) = self.faults.fault(fault) else {
            return;
        };
        let lease = limits::FAULT_LEASE.as_millis();
        let message = v1::Fault {
            run: self.run_id(),
            fault: spec.name.clone(),
            lease_ms: u32::try_from(lease).unwrap_or(u32::MAX),
            order: order.into(),
            since_ns: 0,
        };
        self.tell(agent, Kind::Fault(message)).await;
    }

    async fn watch(&self, fault: FaultIndex, agent: Option<AgentIndex>) {
        let Some((spec, record)) = self.faults.fault(fault) else {
            return;
        };
        let Some(since_ns) = record.ended_ns else {
            return;
        };
        let agents = match agent {
            Some(agent) => agent..agent + 1,
            None => 0..self.agents(),
        };
        for agent in agents {
            let message = v1::Fault {
                run: self.run_id(),
                fault: spec.name.clone(),
                lease_ms: 0,
                order: Order::Watch.into(),
                since_ns,
            };
            self.tell(agent, Kind::Fault(message)).await;
        }
    }

    fn set_phases(&mut self, fault: FaultIndex) {
        let (Some((_, record)), Some(start)) = (self.faults.fault(fault), self.started) else {
            return;
        };
        let times = [record.ordered, record.over, record.recovered];
        let times = times.map(|time| Some(time?.saturating_duration_since(start)));
        self.aggregator.set_fault(fault, times);
    }

    async fn fault_over(&mut self, fault: FaultIndex) {
        let Some((spec, record)) = self.faults.fault(fault) else {
            return;
        };
        let (spec, record) = (spec.clone(), record.clone());
        let name = &spec.name;
        match &record.outcome {
            Outcome::NotReverted(why) => {
                let by_hand = &spec.by_hand;
                let message =
                    format!("fault `{name}` may still be there: {why}; to put it right, {by_hand}");
                self.note_fault(Severity::Error, "fault_not_reverted", message);
                return;
            }
            Outcome::Failed(why) => {
                let message = format!("fault `{name}` failed: {why}");
                self.note_fault(Severity::Warning, "fault_failed", message);
            }
            Outcome::Open | Outcome::Reverted | Outcome::NeverBegan(_) => {}
        }
        let store = &self.surroundings.sealing.store;
        let run = &self.submission.id;
        if let Err(error) = store.drop_revert(run, name).await {
            tracing::warn!(parent: &self.span, fault = name, error = %Chain(&error), "a revert that was done is still stored");
        }
    }

    fn fault_recovered(&mut self, fault: FaultIndex) {
        let found = self.faults.fault(fault).and_then(|(spec, record)| {
            let recovery = record.recovery.clone()?;
            Some((spec.name.clone(), recovery, record.over?))
        });
        let (Some((name, recovery, over)), Some(start)) = (found, self.started) else {
            return;
        };
        let second = over.saturating_duration_since(start).as_secs();
        let second = u32::try_from(second).unwrap_or(u32::MAX);
        let of = (recovery.agent, recovery.scenario.as_str());
        self.aggregator
            .fault_recovered(&name, second, recovery.after, of);
    }

    fn note_not_recovered(&mut self, name: &str, record: &Record) {
        let ended = matches!(record.outcome, Outcome::Reverted | Outcome::Failed(_));
        if !record.was_there() || !ended || record.recovery.is_some() {
            return;
        }
        let left = match (self.ended, record.over) {
            (Some(ended), Some(over)) => ended.saturating_duration_since(over),
            _ => Duration::ZERO,
        };
        let message = format!(
            "no session that started after fault `{name}` had ended has passed; the run went on for {left:.1?} after it"
        );
        self.note_fault(Severity::Warning, "not_recovered", message);
    }

    fn note_fault(&mut self, severity: Severity, code: &str, message: String) {
        let evidence = Evidence {
            at: self.started.map(|start| start.elapsed().as_secs_f64()),
            ..Evidence::default()
        };
        self.note_at(severity, code, message, evidence);
    }
}
