//! The life of a run as a pure function: `step(now, event) -> actions`. No I/O, no async, no clock of its own.
//!
//! | state | leaves when | to | meanwhile |
//! | --- | --- | --- | --- |
//! | `queued` | placed | `preparing` | |
//! | | not placed, stop | `sealed` | |
//! | `preparing` | all armed | `setting_up`, or `starting` without setup | |
//! | | refused, lost, time-out, stop | `sealed` | |
//! | `setting_up` | setup passed | `starting` | |
//! | | setup failed, lost, time-out, stop | `tearing_down`, or `sealed` without teardown | a stop reaches the agent at once |
//! | `starting` | the start time | `running` | a lost agent is written off |
//! | | stop | `draining` | |
//! | `running` | planned end, first agent drained, stop, a broken threshold that aborts | `draining` | a lost agent is written off |
//! | `draining` | every agent drained and merged, or lost | `tearing_down`, or `sealed` without teardown | an abort reaches the agents; one whose batches do not follow its last word is written off |
//! | | the latest end | the same, agents still at work written off | |
//! | `tearing_down` | teardown ended, its agent lost, time-out, abort | `sealed` | |
//! | `sealed` | never | | every event is ignored |
//!
//! A run with faults does not leave `draining` before all of them are over, which they are some time after it began.
//!
//! An agent that comes back on a new link is told again what it must know in that state, because it may never have heard
//! it; agents ignore what they know.
//!
//! Every state but `queued` and `sealed` has a deadline, so every run ends whatever its agents do. Losing an agent before
//! the start ends the run, because its share would be missing from the first second on; later it only costs its share.
use super::event::{Action, AgentIndex, Ending, Event, Failure, Lifecycle, PlanAtFault, StopMode};
use crate::limits;
use std::time::Duration;
use tokio::time::Instant;

/// What of a plan decides over the life of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The plan has setup stages.
    pub has_setup: bool,
    /// The plan has teardown stages.
    pub has_teardown: bool,
    /// From the start until the last planned end; `None` if the plan names none.
    pub planned: Option<Duration>,
    /// The longest graceful stop with its cleanup.
    pub wind_down: Duration,
    /// How long it takes at most until every fault is over; none: there are no faults.
    pub faults: Option<Duration>,
}

impl Terms {
    /// From an abort until the run is sealed, whatever its agents do.
    pub fn longest_abort(&self) -> Duration {
        let once = if self.has_setup || self.has_teardown {
            limits::SETUP_TIMEOUT
        } else {
            Duration::ZERO
        };
        self.wind_down.max(self.faults.unwrap_or_default()) + limits::SEAL_GRACE + once
    }
}

/// How far one agent has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    armed: bool,
    /// Half the width of its clock's interval; none: unknown.
    uncertainty: Option<Duration>,
    drained: Option<u64>,
    /// When the batches that it has told of must have come.
    batches_due: Option<Instant>,
    merged: u64,
    gone: bool,
}

impl Progress {
    fn finished(self) -> bool {
        self.gone || self.drained.is_some_and(|last| self.merged >= last)
    }
}

/// The state of one run. See the table in the module's documentation.
#[derive(Debug)]
pub struct RunState {
    terms: Terms,
    state: Lifecycle,
    agents: Vec<Progress>,
    deadline: Option<Instant>,
    latest_end: Option<Instant>,
    worker: AgentIndex,
    set_up: bool,
    /// What the agents were told, by a user or because of a threshold.
    told_to_stop: Option<StopMode>,
    /// Faults may be there that have to be reverted.
    faults_open: bool,
    ending: Ending,
}

impl RunState {
    /// A run that waits for agents.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            state: Lifecycle::Queued,
            agents: Vec::new(),
            deadline: None,
            latest_end: None,
            worker: 0,
            set_up: false,
            told_to_stop: None,
            faults_open: false,
            ending: Ending::default(),
        }
    }

    /// Where the run is.
    pub fn lifecycle(&self) -> Lifecycle {
        self.state
    }

    /// When [`Event::Tick`] is due; `None`: nothing happens by time alone.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether this agent is given up.
    pub fn is_gone(&self, agent: AgentIndex) -> bool {
        self.agents.get(agent).is_none_or(|progress| progress.gone)
    }

    /// Whether this agent is running setup.
    pub fn sets_up(&self, agent: AgentIndex) -> bool {
        self.state == Lifecycle::SettingUp && agent == self.worker
    }

    /// Whether this agent has said that it is done.
    pub fn is_drained(&self, agent: AgentIndex) -> bool {
        self.agents
            .get(agent)
            .is_some_and(|progress| progress.drained.is_some())
    }

    /// Agents that were lost so far, with the reason.
    pub fn lost_agents(&self) -> &[(AgentIndex, String)] {
        &self.ending.lost
    }

    /// Takes what happened, and says what is to be done.
    pub fn step(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.state == Lifecycle::Sealed {
            return actions;
        }
        match event {
            Event::Placed { agents } => self.placed(now, agents, &mut actions),
            Event::NotPlaced {
                message,
                plan_at_fault,
            } => {
                self.fail(
                    match plan_at_fault {
                        PlanAtFault::Yes => Failure::PlanRefused(message, plan_at_fault),
                        PlanAtFault::No => Failure::NotEnoughAgents(message),
                    },
                    Lifecycle::Queued,
                    now,
                    &mut actions,
                );
            }
            Event::ClockHeard { agent, uncertainty } => {
                if let Some(progress) = self.agents.get_mut(agent) {
                    progress.uncertainty = uncertainty;
                }
            }
            Event::Returned { agent } => self.returned(agent, &mut actions),
            Event::Refused {
                agent,
                reason,
                plan_at_fault,
            } => {
                self.refused(now, agent, reason, plan_at_fault, &mut actions);
            }
            Event::Armed { agent } => self.armed(now, agent, &mut actions),
            Event::SetUpEnded { agent, error } => {
                self.set_up_ended(now, agent, error, &mut actions)
            }
            Event::Drained { agent, last_seq } => self.drained(now, agent, last_seq, &mut actions),
            Event::Merged { agent, through } => self.merged(now, agent, through, &mut actions),
            Event::Lost { agent, why } => self.lost(now, agent, why, &mut actions),
            Event::TearDownEnded { agent, error } => {
                self.tear_down_ended(agent, error, &mut actions)
            }
            Event::StopAsked { mode } => self.stop_asked(now, mode, &mut actions),
            Event::FaultsClosed => {
                self.faults_open = false;
                self.finish_if_all_did(now, &mut actions);
            }
            Event::ThresholdBroken => self.threshold_broken(now, &mut actions),
            Event::Tick => self.tick(now, &mut actions),
        }
        actions
    }

    fn placed(&mut self, now: Instant, agents: usize, actions: &mut Vec<Action>) {
        if self.state == Lifecycle::Queued {
            self.agents = vec![Progress::default(); agents];
            self.go(Lifecycle::Preparing, "", actions);
            self.deadline = Some(now + limits::PREPARE_TIMEOUT);
            actions.push(Action::Prepare);
        }
    }

    fn refused(
        &mut self,
        now: Instant,
        agent: AgentIndex,
        reason: String,
        fault: PlanAtFault,
        actions: &mut Vec<Action>,
    ) {
        if self.state == Lifecycle::Preparing && agent < self.agents.len() {
            self.fail(
                Failure::PlanRefused(reason, fault),
                Lifecycle::Preparing,
                now,
                actions,
            );
        }
    }

    fn armed(&mut self, now: Instant, agent: AgentIndex, actions: &mut Vec<Action>) {
        if self.state != Lifecycle::Preparing {
            return;
        }
        if let Some(progress) = self.agents.get_mut(agent) {
            progress.armed = true;
        }
        if !self.agents.iter().all(|progress| progress.armed) {
            return;
        }
        if self.terms.has_setup {
            self.set_up = true;
            self.go(Lifecycle::SettingUp, "", actions);
            self.deadline = Some(now + limits::SETUP_TIMEOUT);
            actions.push(Action::SetUp { agent: self.worker });
        } else {
            self.start(now, actions);
        }
    }

    fn set_up_ended(
        &mut self,
        now: Instant,
        agent: AgentIndex,
        error: Option<String>,
        actions: &mut Vec<Action>,
    ) {
        if self.state != Lifecycle::SettingUp || agent != self.worker {
            return;
        }
        match error {
            // Stopping makes setup fail; the stop is then the reason, not the failure that it caused.
            _ if self.ending.stopped.is_some() => self.wind_up(now, "stopped", actions),
            Some(error) => self.fail(
                Failure::SetupFailed(error),
                Lifecycle::SettingUp,
                now,
                actions,
            ),
            None => self.start(now, actions),
        }
    }

    fn start(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let at = now + self.start_margin();
        self.faults_open = self.terms.faults.is_some();
        self.go(Lifecycle::Starting, "", actions);
        self.deadline = Some(at);
        let length = self
            .terms
            .planned
            .map_or(limits::MAX_RUN, |planned| planned + self.terms.wind_down);
        self.latest_end = Some(at + length + limits::SEAL_GRACE);
        actions.push(Action::Start { at });
    }

    fn start_margin(&self) -> Duration {
        let here = self.agents.iter().filter(|progress| !progress.gone);
        let worst = here.map(|progress| progress.uncertainty);
        // Three round trips: the message arrives in half of one, unless its first packet is lost.
        let margin = |worst: Duration| {
            worst
                .saturating_mul(6)
                .clamp(limits::START_MARGIN_MIN, limits::START_MARGIN_MAX)
        };
        worst
            .map(|known| known.map_or(limits::START_MARGIN_UNKNOWN, margin))
            .max()
            .unwrap_or(limits::START_MARGIN_MIN)
    }

    /// Says again what the state implies.
    fn returned(&mut self, agent: AgentIndex, actions: &mut Vec<Action>) {
        let Some(progress) = self.agents.get(agent).filter(|progress| !progress.gone) else {
            return;
        };
        let stop = self
            .told_to_stop
            .map(|mode| Action::StopAgain { agent, mode });
        match self.state {
            Lifecycle::Preparing if !progress.armed => actions.push(Action::PrepareAgain { agent }),
            Lifecycle::SettingUp if agent == self.worker => {
                actions.push(Action::SetUp { agent });
                actions.extend(stop);
            }
            Lifecycle::Starting | Lifecycle::Running | Lifecycle::Draining
                if progress.drained.is_none() =>
            {
                actions.push(Action::StartAgain { agent });
                actions.extend(stop);
            }
            Lifecycle::TearingDown if agent == self.worker => {
                actions.push(Action::TearDown { agent });
            }
            _ => {}
        }
    }

    fn drained(
        &mut self,
        now: Instant,
        agent: AgentIndex,
        last_seq: u64,
        actions: &mut Vec<Action>,
    ) {
        if !self.in_flight() {
            return;
        }
        let Some(progress) = self.agents.get_mut(agent).filter(|progress| !progress.gone) else {
            return;
        };
        progress.drained = Some(last_seq);
        // It has sent them before it said so, and says it again after a reconnect: the first time counts.
        progress.batches_due.get_or_insert(now + limits::SEAL_GRACE);
        self.drain(now, "", actions);
    }

    fn merged(&mut self, now: Instant, agent: AgentIndex, through: u64, actions: &mut Vec<Action>) {
        if let Some(progress) = self.agents.get_mut(agent) {
            progress.merged = progress.merged.max(through);
            self.finish_if_all_did(now, actions);
        }
    }

    fn lost(&mut self, now: Instant, agent: AgentIndex, why: String, actions: &mut Vec<Action>) {
        let Some(progress) = self.agents.get_mut(agent).filter(|progress| !progress.gone) else {
            return;
        };
        let was_finished = progress.finished();
        progress.gone = true;
        // What is left of a run after its last session needs any agent, not this one.
        if was_finished && self.state == Lifecycle::TearingDown && agent != self.worker {
            return;
        }
        if !was_finished {
            self.ending.lost.push((agent, why.clone()));
            actions.push(Action::WriteOff {
                agent,
                why: why.clone(),
            });
        }
        match self.state {
            Lifecycle::Preparing | Lifecycle::SettingUp if self.ending.stopped.is_none() => {
                let message = format!("agent {agent} was lost before the start: {why}");
                self.fail(Failure::StartFailed(message), self.state, now, actions);
            }
            Lifecycle::SettingUp if agent == self.worker => self.wind_up(now, "stopped", actions),
            Lifecycle::TearingDown if agent == self.worker => {
                actions.push(Action::NoteTearDownFailed {
                    error: format!("its agent was lost: {why}"),
                });
                self.seal(actions);
            }
            _ => self.finish_if_all_did(now, actions),
        }
    }

    fn tear_down_ended(
        &mut self,
        agent: AgentIndex,
        error: Option<String>,
        actions: &mut Vec<Action>,
    ) {
        if self.state == Lifecycle::TearingDown && agent == self.worker {
            if let Some(error) = error {
                actions.push(Action::NoteTearDownFailed { error });
            }
            self.seal(actions);
        }
    }

    fn stop_asked(&mut self, now: Instant, mode: StopMode, actions: &mut Vec<Action>) {
        if self.told_to_stop >= Some(mode) {
            return;
        }
        // A run that is winding up by itself was not stopped: it is only in more of a hurry.
        let by_itself = self.told_to_stop.is_some() && self.ending.stopped.is_none();
        if self.state < Lifecycle::TearingDown && !by_itself {
            self.ending.stopped = Some(mode);
        }
        self.told_to_stop = Some(mode);
        match self.state {
            Lifecycle::Queued | Lifecycle::Preparing => self.wind_up(now, "stopped", actions),
            Lifecycle::SettingUp => actions.push(Action::Stop { mode }),
            Lifecycle::Starting | Lifecycle::Running | Lifecycle::Draining => {
                self.cut_short(now, mode, "stopped", actions);
            }
            Lifecycle::TearingDown if mode == StopMode::Abort => self.seal(actions),
            Lifecycle::TearingDown | Lifecycle::Sealed => {}
        }
    }

    /// A run that drains already has nothing left to save.
    fn threshold_broken(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.state == Lifecycle::Running {
            self.told_to_stop = Some(StopMode::Drain);
            self.cut_short(now, StopMode::Drain, "threshold_broken", actions);
        }
    }

    fn cut_short(&mut self, now: Instant, mode: StopMode, reason: &str, actions: &mut Vec<Action>) {
        actions.push(Action::Stop { mode });
        let end = now + self.terms.wind_down + limits::SEAL_GRACE;
        self.latest_end = self.latest_end.map(|latest| latest.min(end));
        self.drain(now, reason, actions);
    }

    fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.state {
            Lifecycle::Preparing => {
                let late: Vec<_> = self.unarmed().map(|agent| agent.to_string()).collect();
                let message = format!("agents {} were not ready in time", late.join(", "));
                self.fail(
                    Failure::StartFailed(message),
                    Lifecycle::Preparing,
                    now,
                    actions,
                );
            }
            Lifecycle::SettingUp => {
                let message = format!("setup did not end within {:?}", limits::SETUP_TIMEOUT);
                self.fail(
                    Failure::SetupFailed(message),
                    Lifecycle::SettingUp,
                    now,
                    actions,
                );
            }
            Lifecycle::Starting => {
                self.go(Lifecycle::Running, "", actions);
                let planned_end = self.terms.planned.map(|planned| now + planned);
                self.deadline = planned_end.or(self.latest_end);
            }
            Lifecycle::Running if self.latest_end.is_none_or(|latest| now < latest) => {
                self.drain(now, "", actions)
            }
            Lifecycle::Running | Lifecycle::Draining
                if self.latest_end.is_none_or(|latest| now >= latest) =>
            {
                self.overrun(now, actions);
            }
            Lifecycle::Running | Lifecycle::Draining => self.give_up_late(now, actions),
            Lifecycle::TearingDown => {
                let error = format!("it did not end within {:?}", limits::SETUP_TIMEOUT);
                actions.push(Action::NoteTearDownFailed { error });
                self.seal(actions);
            }
            Lifecycle::Queued | Lifecycle::Sealed => {}
        }
    }

    fn overrun(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for agent in 0..self.agents.len() {
            if !self.agents[agent].finished() {
                self.ending.overran.push(agent);
                self.agents[agent].gone = true;
                actions.push(Action::WriteOff {
                    agent,
                    why: "it had not drained when the run had to end".into(),
                });
            }
        }
        self.finish_if_all_did(now, actions);
    }

    /// Agents whose batches have not come although they said that all are on their way.
    fn give_up_late(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for agent in 0..self.agents.len() {
            let progress = &mut self.agents[agent];
            if progress.finished() || progress.batches_due.is_none_or(|due| now < due) {
                continue;
            }
            progress.gone = true;
            let why = format!(
                "its last batches did not come within {:?} after it had drained",
                limits::SEAL_GRACE
            );
            self.ending.lost.push((agent, why.clone()));
            actions.push(Action::WriteOff { agent, why });
        }
        self.drain(now, "", actions);
    }

    fn drain(&mut self, now: Instant, reason: &str, actions: &mut Vec<Action>) {
        if self.state != Lifecycle::Draining {
            self.go(Lifecycle::Draining, reason, actions);
        }
        let unfinished = self.agents.iter().filter(|progress| !progress.finished());
        let due = unfinished.filter_map(|progress| progress.batches_due);
        self.deadline = due.chain(self.latest_end).min();
        self.finish_if_all_did(now, actions);
    }

    fn finish_if_all_did(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.in_flight() || !self.agents.iter().all(|progress| progress.finished()) {
            return;
        }
        if !self.faults_open {
            return self.wind_up(now, "", actions);
        }
        // No agent has anything to do any more, so only the faults are waited for, which end by themselves.
        if self.state != Lifecycle::Draining {
            self.go(Lifecycle::Draining, "", actions);
        }
        self.deadline = None;
    }

    /// Ends a run that never started, for this reason, unless it is past that state.
    fn fail(
        &mut self,
        failure: Failure,
        while_in: Lifecycle,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if self.state == while_in {
            let reason = match &failure {
                Failure::NotEnoughAgents(why)
                | Failure::PlanRefused(why, _)
                | Failure::StartFailed(why)
                | Failure::SetupFailed(why) => why.clone(),
            };
            self.ending.failure = Some(failure);
            self.wind_up(now, &reason, actions);
        }
    }

    /// Teardown if there is one and an agent to run it, and then the end.
    fn wind_up(&mut self, now: Instant, reason: &str, actions: &mut Vec<Action>) {
        let began = self.set_up || self.in_flight();
        let worker = (0..self.agents.len()).find(|&agent| !self.agents[agent].gone);
        match worker {
            Some(agent) if began && self.terms.has_teardown => {
                self.worker = agent;
                self.go(Lifecycle::TearingDown, reason, actions);
                self.deadline = Some(now + limits::SETUP_TIMEOUT);
                actions.push(Action::TearDown { agent });
            }
            _ => self.seal(actions),
        }
    }

    fn seal(&mut self, actions: &mut Vec<Action>) {
        self.go(Lifecycle::Sealed, "", actions);
        self.deadline = None;
        actions.push(Action::Release);
        actions.push(Action::Seal(std::mem::take(&mut self.ending)));
    }

    fn go(&mut self, state: Lifecycle, reason: &str, actions: &mut Vec<Action>) {
        self.state = state;
        actions.push(Action::Announce {
            state,
            reason: reason.to_owned(),
        });
    }

    fn in_flight(&self) -> bool {
        matches!(
            self.state,
            Lifecycle::Starting | Lifecycle::Running | Lifecycle::Draining
        )
    }

    fn unarmed(&self) -> impl Iterator<Item = AgentIndex> + '_ {
        self.agents
            .iter()
            .enumerate()
            .filter(|(_, progress)| !progress.armed)
            .map(|(agent, _)| agent)
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
