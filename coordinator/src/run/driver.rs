//! The loop of one run: wait for something, let the state machine say what it means, do what it wants.
//!
//! Owns the state, the aggregate and the roster of one run. Channels in: commands of the [`Runs`](super::Runs) actor, the
//! inbox that links fill, the registry's roll, two timers. Channels out: messages to agents, the event log, the overview.
//! Nothing is decided here: what a message means is [`RunState`]'s to say, what it measures is [`Aggregator`]'s.
use super::event::{Action, AgentIndex, Event, Lifecycle, PlanAtFault};
use super::inbox::{AgentInput, FromAgent, Messages};
use super::log::EventLog;
use super::roster::{Change, Roster, Standing};
use super::seal::Sealing;
use super::state::RunState;
use super::submission::{RunCommand, RunOverview, Submission};
use crate::aggregate::{Aggregator, Sliding};
use crate::fault::{FaultEvent, Timeline};
use crate::limits;
use crate::phase::Phases;
use crate::registry::{RegistryHandle, Reservation, Vitals};
use crate::report::model::{EventKind, Severity};
use crate::telemetry;
use crate::verdict::{Aborted, Process, Rules};
use std::collections::VecDeque;
use std::time::Duration;
use testmesh_proto::v1::{self, coordinator_message::Kind};
use testmesh_shared::clock::TimeAnchor;
use testmesh_shared::shutdown::{Shutdown, Tasks};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// What a run works with, and does not own.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where the agents are.
    pub registry: RegistryHandle,
    /// Coordinator time.
    pub anchor: TimeAnchor,
    /// For sending blobs, and for rendering.
    pub tasks: Tasks,
    /// What sealing needs.
    pub sealing: Sealing,
}

/// One run. [`Driver::run`] is its loop.
pub struct Driver {
    pub(super) submission: Submission,
    pub(super) surroundings: Surroundings,
    pub(super) state: RunState,
    pub(super) aggregator: Aggregator,
    pub(super) roster: Option<Roster>,
    pub(super) log: EventLog,
    pub(super) overview: watch::Sender<RunOverview>,
    pub(super) started: Option<Instant>,
    pub(super) ended: Option<Instant>,
    pub(super) span: tracing::Span,
    commands: mpsc::Receiver<RunCommand>,
    inbox: Messages,
    pub(super) saves: String,
    /// What the plan says of its verdict.
    pub(super) rules: Rules,
    /// The threshold that ended the run, if one did.
    pub(super) aborted: Option<Aborted>,
    pub(super) faults: Timeline,
    /// The agent of each proxy of the plan.
    pub(super) proxies: Vec<AgentIndex>,
    /// The faults were told that no session starts any more.
    faults_ended: bool,
    progress: Interval,
}

/// What the loop woke up for.
enum Input {
    Command(RunCommand),
    Message(FromAgent),
    Roll,
    Deadline,
    FaultDeadline,
    Progress,
    Draining,
    Aborting,
}

impl Driver {
    /// A run that waits for its agents.
    pub fn new(
        submission: Submission,
        surroundings: Surroundings,
        log: EventLog,
        overview: watch::Sender<RunOverview>,
        commands: mpsc::Receiver<RunCommand>,
        inbox: Messages,
    ) -> Self {
        let span = telemetry::run_span(&submission);
        let mut progress = tokio::time::interval(limits::PROGRESS_EVERY);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let rules = Rules::of(&submission.plan);
        let sliding = Sliding::new(&rules.criteria, limits::MAX_SLIDING_BYTES);
        Self {
            state: RunState::new(submission.terms()),
            aggregator: Aggregator::new(Phases::of(&submission.plan)).with_sliding(sliding),
            rules,
            aborted: None,
            faults: Timeline::new(Vec::new(), surroundings.anchor),
            proxies: Vec::new(),
            faults_ended: false,
            submission,
            surroundings,
            roster: None,
            log,
            overview,
            started: None,
            ended: None,
            span,
            commands,
            inbox,
            saves: String::new(),
            progress,
        }
    }

    /// Runs until the run is sealed, or the coordinator aborts.
    pub async fn run(mut self, shutdown: Shutdown) {
        self.announce(Lifecycle::Queued, "");
        let mut told_to_drain = false;
        loop {
            let input = self.next(&shutdown, told_to_drain).await;
            let now = Instant::now();
            let events = match input {
                Input::Aborting => return,
                Input::Draining => {
                    told_to_drain = true;
                    vec![Event::StopAsked {
                        mode: super::event::StopMode::Drain,
                    }]
                }
                Input::Command(command) => self.obey(command),
                Input::Message(message) => self.take(now, message).await,
                Input::Roll => self.read_roll(now).await,
                Input::Deadline => vec![Event::Tick],
                Input::FaultDeadline => self.fault_step(now, FaultEvent::Tick).await,
                Input::Progress => {
                    self.tell_progress(now);
                    self.judge_so_far(now)
                }
            };
            let mut events = VecDeque::from(events);
            while let Some(event) = events.pop_front() {
                for action in self.state.step(now, event) {
                    match action {
                        Action::Seal(ending) => return self.seal(ending).await,
                        action => self.perform(now, action).await,
                    }
                }
                if self.state.lifecycle() >= Lifecycle::Draining && !self.faults_ended {
                    self.faults_ended = true;
                    events.extend(self.fault_step(now, FaultEvent::RunEnds).await);
                }
            }
            // Merging takes its time, and links whose heartbeats tell that an agent lives may wait behind this very task.
            tokio::task::yield_now().await;
        }
    }

    async fn next(&mut self, shutdown: &Shutdown, told_to_drain: bool) -> Input {
        let (deadline, fault_deadline) = (self.state.deadline(), self.faults.deadline());
        let due = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let fault_due = async {
            match fault_deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let roll = async {
            match &mut self.roster {
                Some(roster) => roster.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // What was said before a link ended comes before its end, and both before time.
            biased;
            () = shutdown.aborting() => Input::Aborting,
            () = shutdown.draining(), if !told_to_drain => Input::Draining,
            Some(command) = self.commands.recv() => Input::Command(command),
            Some(message) = self.inbox.recv() => Input::Message(message),
            () = roll => Input::Roll,
            () = fault_due => Input::FaultDeadline,
            () = due => Input::Deadline,
            _ = self.progress.tick() => Input::Progress,
        }
    }

    fn obey(&mut self, command: RunCommand) -> Vec<Event> {
        match command {
            RunCommand::Stop(mode) => vec![Event::StopAsked { mode }],
            RunCommand::NotPlaced(message, plan_at_fault) => vec![Event::NotPlaced {
                message,
                plan_at_fault,
            }],
            RunCommand::Placed(reservation) => self.placed(*reservation),
        }
    }

    fn placed(&mut self, reservation: Reservation) -> Vec<Event> {
        for reason in &reservation.schedule.reasons {
            tracing::info!(parent: &self.span, run = %self.submission.id, reason, "scheduled");
        }
        let roster = Roster::new(reservation);
        let agents = roster.entries.len();
        self.overview
            .send_modify(|overview| overview.agents = u32::try_from(agents).unwrap_or(u32::MAX));
        self.aggregator
            .begin(&roster.names(), &self.submission.planned(agents));
        let vitals: Vec<_> = roster.entries.iter().map(|entry| entry.vitals).collect();
        let planned = self.plan_faults(&roster);
        self.roster = Some(roster);
        if let Err(message) = planned {
            let plan_at_fault = PlanAtFault::No;
            return vec![Event::NotPlaced {
                message,
                plan_at_fault,
            }];
        }
        for agent in 0..agents {
            self.tell_agent_event(agent, "connected");
        }
        // An agent that heard an answer to its probes before it was placed need not wait for its next heartbeat.
        let clocks = vitals.into_iter().enumerate();
        let clocks = clocks.map(|(agent, vitals)| self.clock_heard(agent, vitals));
        [Event::Placed { agents }]
            .into_iter()
            .chain(clocks)
            .collect()
    }

    /// Agents of a local run read the coordinator's own clock, whether they know that or not.
    fn clock_heard(&self, agent: AgentIndex, vitals: Vitals) -> Event {
        let uncertainty = match self.surroundings.sealing.process {
            Process::Shared => vitals.clock().map_or(Duration::ZERO, |(_, by)| by).into(),
            Process::Apart => vitals.clock().map(|(_, by)| by),
        };
        Event::ClockHeard { agent, uncertainty }
    }

    /// What a message of an agent means. One that makes no sense costs the agent its link, and nobody else anything.
    async fn take(&mut self, now: Instant, from: FromAgent) -> Vec<Event> {
        let FromAgent { agent, message } = from;
        match message {
            AgentInput::Heartbeat(vitals) => {
                if let Some(roster) = &mut self.roster {
                    roster.heard(agent, vitals);
                }
                vec![self.clock_heard(agent, vitals)]
            }
            AgentInput::Refused(refused) => vec![refusal(agent, &self.name(agent), refused)],
            AgentInput::Armed => {
                // It says so again after each reconnect, however far it has come by then.
                if self.standing(agent) == Some(Standing::Preparing) {
                    self.stand(agent, Standing::Armed);
                }
                vec![Event::Armed { agent }]
            }
            // A repetition, or an agent that nobody asked: what it saved must not become the run's.
            AgentInput::SetUpDone(_) if !self.state.sets_up(agent) => Vec::new(),
            AgentInput::SetUpDone(done) => {
                let mut error = (!done.error.is_empty()).then(|| bounded(done.error));
                if done.saves.len() > limits::MAX_SAVES {
                    error.get_or_insert_with(|| {
                        format!("it saved more than {} bytes", limits::MAX_SAVES)
                    });
                } else {
                    self.saves = done.saves;
                }
                vec![Event::SetUpEnded { agent, error }]
            }
            AgentInput::Batch(batch) => self.merge(now, agent, &batch).await,
            AgentInput::Drained(drained) => {
                if let Some(roster) = &mut self.roster {
                    roster.started_late(agent, drained.started_late_ns);
                }
                self.aggregator.drained(agent, drained.last_seq);
                self.stand(agent, Standing::Drained);
                vec![Event::Drained {
                    agent,
                    last_seq: drained.last_seq,
                }]
            }
            AgentInput::TearDownDone(done) => {
                let error = (!done.error.is_empty()).then(|| bounded(done.error));
                vec![Event::TearDownEnded { agent, error }]
            }
            AgentInput::FaultState(state) => self.fault_told(now, agent, state).await,
            AgentInput::StageFirstPassed(first) => {
                let passed = FaultEvent::StagePassed {
                    scenario: first.scenario,
                    stage: first.stage,
                };
                self.fault_step(now, passed).await
            }
        }
    }

    async fn merge(&mut self, now: Instant, agent: AgentIndex, batch: &v1::Batch) -> Vec<Event> {
        if self.state.is_gone(agent) {
            let message = format!(
                "{} sent measurements after it was given up; they are not counted",
                self.name(agent)
            );
            self.note(Severity::Warning, "late_batch", message, agent);
            return Vec::new();
        }
        let elapsed = self.started.map_or(0, |started| {
            now.saturating_duration_since(started).as_secs()
        });
        match self.aggregator.take(agent, elapsed, batch) {
            Ok(taken) => {
                for finding in taken.news {
                    self.log.push(
                        self.now_ns(),
                        EventKind::Finding {
                            finding: Box::new(finding),
                        },
                    );
                }
                let ack = v1::Ack {
                    run: batch.run.clone(),
                    epoch: batch.epoch,
                    seq: taken.through,
                };
                self.tell(agent, Kind::Ack(ack)).await;
                telemetry::merged(batch);
                vec![Event::Merged {
                    agent,
                    through: taken.through,
                }]
            }
            Err(error) => {
                let why = format!(
                    "its batch {} cannot be merged: {}",
                    batch.seq,
                    testmesh_shared::error::Chain(&error)
                );
                self.note(
                    Severity::Error,
                    "nonsense",
                    format!("{}: {why}", self.name(agent)),
                    agent,
                );
                if let Some(roster) = &self.roster {
                    roster.eject(agent, why, &self.surroundings.registry).await;
                }
                Vec::new()
            }
        }
    }

    fn standing(&self, agent: AgentIndex) -> Option<Standing> {
        let roster = self.roster.as_ref()?;
        roster.entries.get(agent).map(|entry| entry.standing)
    }

    async fn read_roll(&mut self, now: Instant) -> Vec<Event> {
        let changes = self
            .roster
            .as_mut()
            .map(Roster::take_changes)
            .unwrap_or_default();
        let mut events = Vec::new();
        for change in changes {
            match change {
                Change::Suspected { agent, suspect } => {
                    let status = if suspect { "suspect" } else { "connected" };
                    self.tell_agent_event(agent, status);
                }
                Change::Returned { agent } => {
                    events.push(Event::Returned { agent });
                    let returned = FaultEvent::Returned { agent };
                    events.extend(self.fault_step(now, returned).await);
                }
                Change::Lost { agent, why } => {
                    // One that has drained may have nothing left to lose, which is for the state to say.
                    if !self.state.is_drained(agent) {
                        self.stand(agent, Standing::Lost);
                    }
                    events.push(Event::Lost { agent, why });
                    let lost = FaultEvent::Lost { agent };
                    events.extend(self.fault_step(now, lost).await);
                }
            }
        }
        events
    }
}

fn refusal(agent: AgentIndex, name: &str, refused: v1::Refused) -> Event {
    let first = refused.problems.first();
    let problems = first.map_or_else(String::new, |first| {
        format!(
            " ({}:{}:{}: {}; {} problems in all)",
            first.file,
            first.line,
            first.column,
            first.message,
            refused.problems.len()
        )
    });
    let plan_at_fault = if refused.problems.is_empty() {
        PlanAtFault::No
    } else {
        PlanAtFault::Yes
    };
    let reason = bounded(format!(
        "agent {name} refused the plan: {}{problems}",
        refused.reason
    ));
    Event::Refused {
        agent,
        reason,
        plan_at_fault,
    }
}

/// Cuts what an agent said to a length that reports can carry.
pub(super) fn bounded(mut text: String) -> String {
    if text.len() > limits::MAX_TEXT {
        let cut = (0..=limits::MAX_TEXT)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(cut);
    }
    text
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
