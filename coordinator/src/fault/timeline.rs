//! The faults of a run as a pure function: `step(now, event) -> actions`. No I/O, no clock of its own.
//!
//! | state | leaves when | to |
//! | --- | --- | --- |
//! | `waiting` | its time has come | `injecting`, or over without an agent that can |
//! | | the run ends | over |
//! | `injecting` | its agent says that it is there | `active` |
//! | | its agent cannot, is silent for too long, or the run ends | `reverting` |
//! | | its agent is lost | `reverting` by another one, or `lease_ends` |
//! | `active` | it lasted long enough, or the run ends | `reverting` |
//! | | its agent is lost | `reverting` by another one, or `lease_ends` |
//! | `reverting` | its agent says that it is reverted | over |
//! | | its agent cannot, is silent for too long, or is lost | `reverting` by another one, `lease_ends`, or over: not reverted |
//! | `lease_ends` | the lease has ended | over |
//!
//! A fault that its agent reverts unasked is over in any state. Every state but `waiting` has a deadline, and the end of the
//! run ends that one: so every fault is over some time after the run's end, whatever its agents do.
//!
//! A phase begins when its fault is ordered and ends when its end is heard of. Both are moments at which the coordinator
//! knows it, so no measurement has been put into a phase that begins or ends before it; and nothing that the fault did lies
//! outside of its phase.
use super::record::{Outcome, Record, Recovery};
use super::spec::{Begin, Spec};
use crate::limits;
use crate::run::AgentIndex;
use std::time::Duration;
use testmesh_shared::clock::TimeAnchor;
use tokio::time::Instant;

/// A fault's number in the plan.
pub type FaultIndex = usize;

/// How a fault is on an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is there.
    Injected,
    /// It could not be injected, at least not in whole.
    InjectFailed,
    /// It is reverted.
    Reverted,
    /// It could not be reverted.
    RevertFailed,
}

/// What an agent says of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who.
    pub agent: AgentIndex,
    /// Of which.
    pub fault: FaultIndex,
    /// How it is.
    pub word: Word,
    /// Since when, in coordinator time.
    pub at_ns: i64,
    /// What failed, or what it did.
    pub detail: String,
    /// Nobody had told the agent to.
    pub unasked: bool,
}

/// Something that happened, in the past tense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultEvent {
    /// The run starts then.
    Started {
        /// When.
        at: Instant,
    },
    /// A session passed a stage for the first time on some agent.
    StagePassed {
        /// The scenario.
        scenario: String,
        /// The stage.
        stage: String,
    },
    /// An agent said how a fault is.
    Told(Heard),
    /// An agent saw a session pass that had started after a fault's end.
    Recovered {
        /// Which fault.
        fault: FaultIndex,
        /// Who.
        agent: AgentIndex,
        /// The session's scenario.
        scenario: String,
        /// When it had passed, in coordinator time.
        at_ns: i64,
    },
    /// What would revert a fault could not be stored, so that it must not be injected.
    NotStored {
        /// Which fault.
        fault: FaultIndex,
        /// Why.
        why: String,
    },
    /// An agent came back on a new link.
    Returned {
        /// Who.
        agent: AgentIndex,
    },
    /// An agent is given up.
    Lost {
        /// Who.
        agent: AgentIndex,
    },
    /// No session starts any more.
    RunEnds,
    /// Time went on; see [`Timeline::deadline`].
    Tick,
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// Store what reverts it, and then tell this agent to inject it.
    Inject {
        /// Which.
        fault: FaultIndex,
        /// Who.
        agent: AgentIndex,
    },
    /// Tell this agent again to inject it: it may not have heard.
    InjectAgain {
        /// Which.
        fault: FaultIndex,
        /// Who.
        agent: AgentIndex,
    },
    /// Give this agent another lease.
    Renew {
        /// Which.
        fault: FaultIndex,
        /// Who.
        agent: AgentIndex,
    },
    /// Tell this agent to revert it.
    Revert {
        /// Which.
        fault: FaultIndex,
        /// Who.
        agent: AgentIndex,
    },
    /// Its phases have changed.
    Phases {
        /// Which.
        fault: FaultIndex,
    },
    /// It is over: forget what was stored, unless it may still be there, and tell how it came out.
    Over {
        /// Which.
        fault: FaultIndex,
    },
    /// Let all agents look for the first passing session.
    Watch {
        /// Which.
        fault: FaultIndex,
        /// Only this agent: it may not have heard.
        agent: Option<AgentIndex>,
    },
    /// It is known how long the recovery took.
    Recovered {
        /// Which.
        fault: FaultIndex,
    },
    /// All faults are over, and no other will begin.
    Closed,
}

/// Where one fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// None: its stage has not passed yet, or the run has not started.
    Waiting(Option<Instant>),
    Injecting {
        agent: AgentIndex,
        deadline: Instant,
        lease: Lease,
    },
    Active {
        agent: AgentIndex,
        until: Instant,
        lease: Lease,
    },
    Reverting {
        agent: AgentIndex,
        deadline: Instant,
        lease: Lease,
    },
    LeaseEnds(Instant),
    Over,
}

/// What an agent was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    until: Instant,
    renew_at: Instant,
}

impl Lease {
    fn from(now: Instant) -> Self {
        Self {
            until: now + limits::FAULT_LEASE,
            renew_at: now + limits::FAULT_RENEW,
        }
    }
}

#[derive(Debug)]
struct Line {
    spec: Spec,
    state: State,
    record: Record,
    /// Agents that were told to revert it and did not.
    tried: Vec<AgentIndex>,
    /// The best recovery so far, in coordinator time, and when no better one is waited for.
    best: Option<(i64, String, AgentIndex)>,
    settled_at: Option<Instant>,
}

/// The faults of one run. See the table in the module's documentation.
#[derive(Debug)]
pub struct Timeline {
    anchor: TimeAnchor,
    lines: Vec<Line>,
    gone: Vec<AgentIndex>,
    ended: bool,
    closed: bool,
}

impl Timeline {
    /// Faults that wait. The anchor says what the coordinator's time is.
    pub fn new(specs: Vec<Spec>, anchor: TimeAnchor) -> Self {
        let line = |spec| Line {
            spec,
            state: State::Waiting(None),
            record: Record::default(),
            tried: Vec::new(),
            best: None,
            settled_at: None,
        };
        Self {
            anchor,
            lines: specs.into_iter().map(line).collect(),
            gone: Vec::new(),
            ended: false,
            closed: false,
        }
    }

    /// The number of the fault of that name.
    pub fn find(&self, name: &str) -> Option<FaultIndex> {
        self.lines.iter().position(|line| line.spec.name == name)
    }

    /// What is known of a fault, with its name; none if there is no such fault.
    pub fn fault(&self, fault: FaultIndex) -> Option<(&Spec, &Record)> {
        let line = self.lines.get(fault)?;
        Some((&line.spec, &line.record))
    }

    /// What is known of all of them, in the plan's order.
    pub fn faults(&self) -> impl Iterator<Item = (&Spec, &Record)> {
        self.lines.iter().map(|line| (&line.spec, &line.record))
    }

    /// When [`FaultEvent::Tick`] is due; `None`: nothing happens by time alone.
    pub fn deadline(&self) -> Option<Instant> {
        let due = |line: &Line| {
            let state = match line.state {
                State::Waiting(due) => due,
                State::Injecting {
                    deadline, lease, ..
                } => Some(deadline.min(lease.renew_at)),
                State::Active { until, lease, .. } => Some(until.min(lease.renew_at)),
                State::Reverting { deadline, .. } => Some(deadline),
                State::LeaseEnds(at) => Some(at),
                State::Over => None,
            };
            state.into_iter().chain(line.settled_at).min()
        };
        self.lines.iter().filter_map(due).min()
    }

    /// Takes what happened, and says what is to be done.
    pub fn step(&mut self, now: Instant, event: FaultEvent) -> Vec<FaultAction> {
        let mut actions = Vec::new();
        match event {
            FaultEvent::Started { at } => self.started(at),
            FaultEvent::StagePassed { scenario, stage } => {
                self.stage_passed(now, &scenario, &stage)
            }
            FaultEvent::Told(heard) => self.told(now, heard, &mut actions),
            FaultEvent::Recovered {
                fault,
                agent,
                scenario,
                at_ns,
            } => self.recovered(now, fault, (at_ns, scenario, agent), &mut actions),
            FaultEvent::NotStored { fault, why } => self.not_stored(now, fault, why, &mut actions),
            FaultEvent::Returned { agent } => self.returned(agent, &mut actions),
            FaultEvent::Lost { agent } => self.lost(now, agent, &mut actions),
            FaultEvent::RunEnds => self.run_ends(now, &mut actions),
            FaultEvent::Tick => {
                for fault in 0..self.lines.len() {
                    self.tick(now, fault, &mut actions);
                }
            }
        }
        let all_over = self.lines.iter().all(|line| line.state == State::Over);
        if self.ended && all_over && !std::mem::replace(&mut self.closed, true) {
            actions.push(FaultAction::Closed);
        }
        actions
    }

    /// The run is sealed: recoveries that waited for a better one are what they are.
    pub fn finish(&mut self) -> Vec<FaultAction> {
        let mut actions = Vec::new();
        for fault in 0..self.lines.len() {
            self.settle(fault, &mut actions);
        }
        actions
    }

    fn started(&mut self, start: Instant) {
        for line in &mut self.lines {
            if let (State::Waiting(due @ None), Begin::At(at)) = (&mut line.state, &line.spec.begin)
            {
                *due = Some(start + *at);
            }
        }
    }

    fn stage_passed(&mut self, now: Instant, scenario: &str, stage: &str) {
        for line in &mut self.lines {
            if let (
                State::Waiting(due @ None),
                Begin::After {
                    scenario: of,
                    stage: awaited,
                    delay,
                },
            ) = (&mut line.state, &line.spec.begin)
                && of == scenario
                && awaited == stage
            {
                *due = Some(now + *delay);
            }
        }
    }

    fn tick(&mut self, now: Instant, fault: FaultIndex, actions: &mut Vec<FaultAction>) {
        let line = &mut self.lines[fault];
        if line.settled_at.is_some_and(|at| now >= at) {
            self.settle(fault, actions);
        }
        let line = &mut self.lines[fault];
        match &mut line.state {
            State::Waiting(Some(due)) if now >= *due => self.begin(now, fault, actions),
            State::Injecting {
                agent, deadline, ..
            } if now >= *deadline => {
                let agent = *agent;
                let within = line.spec.inject_within;
                self.fail(
                    fault,
                    format!("its agent did not say within {within:?} that it is there"),
                );
                self.revert(now, fault, agent, actions);
            }
            State::Active { agent, until, .. } if now >= *until => {
                let agent = *agent;
                self.revert(now, fault, agent, actions);
            }
            State::Injecting { agent, lease, .. } | State::Active { agent, lease, .. }
                if now >= lease.renew_at =>
            {
                *lease = Lease::from(now);
                let agent = *agent;
                actions.push(FaultAction::Renew { fault, agent });
            }
            State::Reverting {
                agent,
                deadline,
                lease,
            } if now >= *deadline => {
                let (agent, lease) = (*agent, *lease);
                let within = line.spec.revert_within;
                let why = format!("its agent did not say within {within:?} that it is reverted");
                self.revert_elsewhere(now, fault, agent, lease, &why, actions);
            }
            State::LeaseEnds(at) if now >= *at => self.over(now, fault, actions),
            _ => {}
        }
    }

    fn begin(&mut self, now: Instant, fault: FaultIndex, actions: &mut Vec<FaultAction>) {
        let line = &mut self.lines[fault];
        let mut capable = line.spec.capable.iter().copied();
        let Some(agent) = capable.find(|agent| !self.gone.contains(agent)) else {
            let why = "no agent is left that can inject it".to_owned();
            line.record.outcome = Outcome::Failed(why);
            line.state = State::Over;
            actions.push(FaultAction::Over { fault });
            return;
        };
        line.record.ordered = Some(now);
        line.state = State::Injecting {
            agent,
            deadline: now + line.spec.inject_within,
            lease: Lease::from(now),
        };
        actions.push(FaultAction::Phases { fault });
        actions.push(FaultAction::Inject { fault, agent });
    }

    fn told(&mut self, now: Instant, heard: Heard, actions: &mut Vec<FaultAction>) {
        let fault = heard.fault;
        let Some(line) = self.lines.get_mut(fault) else {
            return;
        };
        let serving = match line.state {
            State::Injecting { agent, .. }
            | State::Active { agent, .. }
            | State::Reverting { agent, .. } => Some(agent) == Some(heard.agent),
            State::Waiting(_) | State::LeaseEnds(_) | State::Over => false,
        };
        if !serving {
            return;
        }
        match (heard.word, &line.state) {
            (Word::Injected, State::Injecting { agent, lease, .. }) => {
                line.record.started_ns.get_or_insert(heard.at_ns);
                line.state = State::Active {
                    agent: *agent,
                    until: now + line.spec.length,
                    lease: *lease,
                };
            }
            // It came when it was not wanted any more, and is being reverted.
            (Word::Injected, State::Reverting { .. }) => {
                line.record.started_ns.get_or_insert(heard.at_ns);
            }
            (Word::InjectFailed, State::Injecting { .. }) => {
                self.fail(fault, heard.detail);
                self.revert(now, fault, heard.agent, actions);
            }
            (Word::Reverted, state) => {
                let sooner = !matches!(state, State::Reverting { .. });
                line.record.ended_ns = Some(heard.at_ns);
                line.record.reverted_by = Some(heard.agent);
                line.record.unasked = heard.unasked;
                line.record.detail = heard.detail;
                if sooner {
                    self.fail(
                        fault,
                        "its agent ended it before it was time, with its lease or because it left"
                            .into(),
                    );
                }
                self.over(now, fault, actions);
            }
            (Word::RevertFailed, State::Reverting { agent, lease, .. }) => {
                let (agent, lease) = (*agent, *lease);
                if line.spec.ends_with_lease {
                    // A proxy that does not answer may have done anything to its connections.
                    self.fail(fault, heard.detail.clone());
                }
                self.revert_elsewhere(now, fault, agent, lease, &heard.detail, actions);
            }
            // By its lease, which the agent could not; others may.
            (Word::RevertFailed, State::Injecting { agent, lease, .. })
            | (Word::RevertFailed, State::Active { agent, lease, .. }) => {
                let (agent, lease) = (*agent, *lease);
                self.fail(fault, format!("its lease ended: {}", heard.detail));
                self.revert_elsewhere(now, fault, agent, lease, &heard.detail, actions);
            }
            (Word::Injected | Word::InjectFailed, _) => {}
            (Word::RevertFailed, _) => {}
        }
    }

    fn not_stored(
        &mut self,
        now: Instant,
        fault: FaultIndex,
        why: String,
        actions: &mut Vec<FaultAction>,
    ) {
        // Its agent has not been told yet.
        if matches!(self.lines.get(fault), Some(line) if matches!(line.state, State::Injecting { .. }))
        {
            self.fail(fault, format!("what reverts it could not be stored: {why}"));
            self.over(now, fault, actions);
        }
    }

    fn returned(&self, agent: AgentIndex, actions: &mut Vec<FaultAction>) {
        for (fault, line) in self.lines.iter().enumerate() {
            match line.state {
                State::Injecting { agent: of, .. } if of == agent => {
                    actions.push(FaultAction::InjectAgain { fault, agent });
                }
                State::Active { agent: of, .. } if of == agent => {
                    actions.push(FaultAction::Renew { fault, agent });
                }
                State::Reverting { agent: of, .. } if of == agent => {
                    actions.push(FaultAction::Revert { fault, agent });
                }
                State::Over if line.is_watched() => actions.push(FaultAction::Watch {
                    fault,
                    agent: Some(agent),
                }),
                _ => {}
            }
        }
    }

    fn lost(&mut self, now: Instant, agent: AgentIndex, actions: &mut Vec<FaultAction>) {
        if !self.gone.contains(&agent) {
            self.gone.push(agent);
        }
        for fault in 0..self.lines.len() {
            let (of, lease, early) = match self.lines[fault].state {
                State::Injecting { agent, lease, .. } => (agent, lease, true),
                State::Active {
                    agent,
                    lease,
                    until,
                } => (agent, lease, now < until),
                State::Reverting { agent, lease, .. } => (agent, lease, false),
                State::Waiting(_) | State::LeaseEnds(_) | State::Over => continue,
            };
            if of != agent {
                continue;
            }
            let why = "its agent was lost";
            if early {
                self.fail(fault, why.into());
            }
            self.revert_elsewhere(now, fault, agent, lease, why, actions);
        }
    }

    fn run_ends(&mut self, now: Instant, actions: &mut Vec<FaultAction>) {
        self.ended = true;
        for fault in 0..self.lines.len() {
            let line = &mut self.lines[fault];
            match line.state {
                State::Waiting(due) => {
                    let why = match (&line.spec.begin, due) {
                        (
                            Begin::After {
                                scenario, stage, ..
                            },
                            None,
                        ) => format!(
                            "no session of `{scenario}` passed the stage `{stage}` that it waits for"
                        ),
                        _ => "the run was over before it began".to_owned(),
                    };
                    line.record.outcome = Outcome::NeverBegan(why);
                    line.state = State::Over;
                    actions.push(FaultAction::Over { fault });
                }
                State::Injecting { agent, .. } => {
                    self.fail(fault, "the run was over before it was there".into());
                    self.revert(now, fault, agent, actions);
                }
                State::Active { agent, .. } => self.revert(now, fault, agent, actions),
                State::Reverting { .. } | State::LeaseEnds(_) | State::Over => {}
            }
        }
    }

    /// The first failure is the one that counts.
    fn fail(&mut self, fault: FaultIndex, why: String) {
        self.lines[fault].record.failure.get_or_insert(why);
    }

    fn revert(
        &mut self,
        now: Instant,
        fault: FaultIndex,
        agent: AgentIndex,
        actions: &mut Vec<FaultAction>,
    ) {
        let line = &mut self.lines[fault];
        let (lease, rest) = match line.state {
            // What is still being injected is reverted after that.
            State::Injecting {
                lease, deadline, ..
            } => (lease, deadline.saturating_duration_since(now)),
            State::Active { lease, .. } | State::Reverting { lease, .. } => (lease, Duration::ZERO),
            State::Waiting(_) | State::LeaseEnds(_) | State::Over => {
                (Lease::from(now), Duration::ZERO)
            }
        };
        line.state = State::Reverting {
            agent,
            deadline: now + rest + line.spec.revert_within,
            lease,
        };
        actions.push(FaultAction::Revert { fault, agent });
    }

    /// This agent cannot, so another one has to; or the lease, if it ends by itself.
    fn revert_elsewhere(
        &mut self,
        now: Instant,
        fault: FaultIndex,
        agent: AgentIndex,
        lease: Lease,
        why: &str,
        actions: &mut Vec<FaultAction>,
    ) {
        let line = &mut self.lines[fault];
        line.tried.push(agent);
        if line.spec.ends_with_lease {
            line.state = State::LeaseEnds(lease.until.max(now) + limits::FAULT_LEASE_SLACK);
            return;
        }
        let mut others = line.spec.capable.iter().copied();
        let other = others.find(|other| !self.gone.contains(other) && !line.tried.contains(other));
        match other {
            Some(other) => self.revert(now, fault, other, actions),
            None => {
                line.record.outcome = Outcome::NotReverted(why.to_owned());
                line.record.over = Some(now);
                line.state = State::Over;
                actions.push(FaultAction::Phases { fault });
                actions.push(FaultAction::Over { fault });
            }
        }
    }

    fn over(&mut self, now: Instant, fault: FaultIndex, actions: &mut Vec<FaultAction>) {
        let line = &mut self.lines[fault];
        line.record.outcome = match &line.record.failure {
            Some(why) => Outcome::Failed(why.clone()),
            None => Outcome::Reverted,
        };
        line.record.over = Some(now);
        line.record
            .ended_ns
            .get_or_insert_with(|| self.anchor.unix_ns(now));
        line.record.unasked |= matches!(line.state, State::LeaseEnds(_));
        line.state = State::Over;
        actions.push(FaultAction::Phases { fault });
        actions.push(FaultAction::Over { fault });
        if line.is_watched() {
            actions.push(FaultAction::Watch { fault, agent: None });
        }
    }

    fn recovered(
        &mut self,
        now: Instant,
        fault: FaultIndex,
        seen: (i64, String, AgentIndex),
        actions: &mut Vec<FaultAction>,
    ) {
        let Some(line) = self.lines.get_mut(fault).filter(|line| line.is_watched()) else {
            return;
        };
        if line.record.recovered.is_none() {
            line.record.recovered = Some(now);
            // Another agent may have seen one that was sooner.
            line.settled_at = Some(now + limits::RECOVERY_SETTLES);
            actions.push(FaultAction::Phases { fault });
        }
        if line.best.as_ref().is_none_or(|best| seen.0 < best.0) {
            line.best = Some(seen);
        }
    }

    fn settle(&mut self, fault: FaultIndex, actions: &mut Vec<FaultAction>) {
        let line = &mut self.lines[fault];
        line.settled_at = None;
        let Some((at_ns, scenario, agent)) = line.best.take() else {
            return;
        };
        let Some(ended_ns) = line.record.ended_ns else {
            return;
        };
        // Two agents' clocks may disagree a little.
        let after = u64::try_from(at_ns.saturating_sub(ended_ns)).unwrap_or(0);
        line.record.recovery = Some(Recovery {
            after: Duration::from_nanos(after),
            scenario,
            agent,
        });
        actions.push(FaultAction::Recovered { fault });
    }
}

impl Line {
    /// Whether its first passing session is looked for.
    fn is_watched(&self) -> bool {
        self.state == State::Over
            && self.record.was_there()
            && self.record.recovery.is_none()
            && matches!(self.record.outcome, Outcome::Reverted | Outcome::Failed(_))
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
