//! The loop of one run: wait for something, let the state machine say what it means, do what it wants.
//!
//! Owns the state, the aggregate and the roster of one run. Channels in: commands of the [`Runs`](super::Runs) actor, the
//! inbox that links fill, the registry's roll, two timers. Channels out: messages to agents, the event log, the overview.
//! Nothing is decided here: what a message means is [`RunState`]'s to say, what it measures is [`Aggregator`]'s.
use super::event::{Action, AgentIndex, Event, Lifecycle, PlanAtFault};
use super::inbox::{AgentInput, FromAgent};
use super::log::EventLog;
use super::message;
use super::roster::{Roster, Standing};
use super::seal::Sealing;
use super::state::RunState;
use super::submission::{RunCommand, RunOverview, Submission};
use crate::aggregate::{Aggregator, Novelty};
use crate::limits;
use crate::phase::Phases;
use crate::registry::lease::Liveness;
use crate::registry::{RegistryHandle, Reservation};
use crate::report::model::{EventKind, Evidence, Severity};
use crate::telemetry;
use std::sync::Arc;
use testmesh_proto::v1::{self, coordinator_message::Kind};
use testmesh_shared::clock::TimeAnchor;
use testmesh_shared::shutdown::{Shutdown, Tasks};
use testmesh_shared::telemetry::Traceparent;
use testmesh_shared::wire::to_proto;
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
    inbox: mpsc::Receiver<FromAgent>,
    saves: String,
    progress: Interval,
}

/// What the loop woke up for.
enum Input {
    Command(RunCommand),
    Message(FromAgent),
    Roll,
    Deadline,
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
        inbox: mpsc::Receiver<FromAgent>,
    ) -> Self {
        let span = telemetry::run_span(&submission);
        let mut progress = tokio::time::interval(limits::PROGRESS_EVERY);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            state: RunState::new(submission.terms()),
            aggregator: Aggregator::new(Phases::of(&submission.plan)),
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
                Input::Command(command) => vec![self.obey(command)],
                Input::Message(message) => self.take(now, message).await,
                Input::Roll => self.read_roll(),
                Input::Deadline => vec![Event::Tick],
                Input::Progress => {
                    self.tell_progress(now);
                    Vec::new()
                }
            };
            for event in events {
                for action in self.state.step(now, event) {
                    match action {
                        Action::Seal(ending) => return self.seal(ending).await,
                        action => self.perform(now, action).await,
                    }
                }
            }
        }
    }

    async fn next(&mut self, shutdown: &Shutdown, told_to_drain: bool) -> Input {
        let deadline = self.state.deadline();
        let due = async {
            match deadline {
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
            () = due => Input::Deadline,
            _ = self.progress.tick() => Input::Progress,
        }
    }

    fn obey(&mut self, command: RunCommand) -> Event {
        match command {
            RunCommand::Stop(mode) => Event::StopAsked { mode },
            RunCommand::NotPlaced(message) => Event::NotPlaced { message },
            RunCommand::Placed(reservation) => self.placed(*reservation),
        }
    }

    fn placed(&mut self, reservation: Reservation) -> Event {
        for reason in &reservation.schedule.reasons {
            tracing::info!(parent: &self.span, run = %self.submission.id, reason, "scheduled");
        }
        let roster = Roster::new(reservation);
        let agents = roster.entries.len();
        self.overview
            .send_modify(|overview| overview.agents = u32::try_from(agents).unwrap_or(u32::MAX));
        self.aggregator
            .begin(&roster.names(), &self.submission.planned(agents));
        self.roster = Some(roster);
        for agent in 0..agents {
            self.tell_agent_event(agent, "connected");
        }
        Event::Placed { agents }
    }

    /// What a message of an agent means. One that makes no sense costs the agent its link, and nobody else anything.
    async fn take(&mut self, now: Instant, from: FromAgent) -> Vec<Event> {
        let FromAgent { agent, message } = from;
        match message {
            AgentInput::Heartbeat(vitals) => {
                let uncertainty = self
                    .roster
                    .as_mut()
                    .and_then(|roster| roster.heard(agent, vitals));
                uncertainty
                    .map(|uncertainty| Event::ClockHeard { uncertainty })
                    .into_iter()
                    .collect()
            }
            AgentInput::Refused(refused) => vec![refusal(agent, &self.name(agent), refused)],
            AgentInput::Armed => {
                self.stand(agent, Standing::Armed);
                vec![Event::Armed { agent }]
            }
            AgentInput::SetUpDone(done) => {
                let mut error = (!done.error.is_empty()).then(|| bounded(done.error));
                if done.saves.len() > limits::MAX_SAVES {
                    error.get_or_insert(format!("it saved more than {} bytes", limits::MAX_SAVES));
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
            AgentInput::Unused(what) => {
                let message = format!(
                    "{} sent {what}, which this build has no use for",
                    self.name(agent)
                );
                self.note(Severity::Info, "unused_message", message, agent);
                Vec::new()
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

    fn read_roll(&mut self) -> Vec<Event> {
        let changes = self
            .roster
            .as_mut()
            .map(Roster::take_changes)
            .unwrap_or_default();
        let mut events = Vec::new();
        for (agent, liveness, why) in changes {
            match liveness {
                Liveness::Suspect => self.tell_agent_event(agent, "suspect"),
                Liveness::Alive => self.tell_agent_event(agent, "connected"),
                Liveness::Lost => {
                    if self.state.is_drained(agent) {
                        // It has nothing left to lose; the roll keeps saying so, and once is enough.
                        continue;
                    }
                    self.stand(agent, Standing::Lost);
                    events.push(Event::Lost { agent, why });
                }
            }
        }
        events
    }

    async fn perform(&mut self, now: Instant, action: Action) {
        match action {
            Action::Announce { state, reason } => self.entered(now, state, &reason),
            Action::Prepare => self.prepare(),
            Action::SetUp { agent } => {
                let run = self.run_id();
                self.tell(agent, Kind::SetUp(v1::SetUp { run })).await;
            }
            Action::Start { at } => self.start(at).await,
            Action::Stop { mode } => {
                let stop = message::stop(&self.run_id(), mode);
                if let Some(roster) = &self.roster {
                    for agent in 0..roster.entries.len() {
                        roster
                            .tell(agent, stop.clone(), &self.surroundings.registry)
                            .await;
                    }
                }
            }
            Action::TearDown { agent } => {
                let tear_down = v1::TearDown {
                    run: self.run_id(),
                    saves: self.saves.clone(),
                };
                self.tell(agent, Kind::TearDown(tear_down)).await;
            }
            Action::WriteOff { agent, why } => {
                self.aggregator.write_off(agent);
                self.stand(agent, Standing::Lost);
                let message = format!("agent {} is lost: {why}", self.name(agent));
                self.note(Severity::Error, "agent_lost", message, agent);
            }
            Action::NoteTearDownFailed { error } => {
                let evidence = Evidence {
                    scenario: Some("teardown".into()),
                    ..Evidence::default()
                };
                self.note_at(
                    Severity::Error,
                    "teardown_failed",
                    format!("teardown failed: {error}"),
                    evidence,
                );
            }
            Action::Release => self.release().await,
            // The loop takes it before it comes here.
            Action::Seal(_) => {}
        }
    }

    /// Blobs go in tasks of their own, one per agent, because they wait for room.
    fn prepare(&mut self) {
        let Some(roster) = &self.roster else { return };
        let plan = Arc::clone(&self.submission.plan);
        let text_digest = self.submission.text_digest().to_string();
        let files = plan.files.iter().map(|file| v1::FileRef {
            path: file.path.clone(),
            digest: file.digest.to_string(),
            size: u64::try_from(file.bytes.len()).unwrap_or(u64::MAX),
        });
        let files: Vec<_> = files.collect();
        let traceparent = Traceparent::of(&self.span)
            .or(self.submission.parent)
            .map(|parent| parent.to_string());
        for (index, entry) in roster.entries.iter().enumerate() {
            let Some(outbound) = roster.outbound(index) else {
                continue;
            };
            let prepare = v1::Prepare {
                run: self.run_id(),
                plan_file: plan.file.clone(),
                plan_digest: text_digest.clone(),
                files: files.clone(),
                vars: self.submission.vars.clone(),
                seed: self.submission.seed,
                agent_index: u32::try_from(index).unwrap_or(u32::MAX),
                agent_count: u32::try_from(roster.entries.len()).unwrap_or(u32::MAX),
                shares: entry
                    .shares
                    .iter()
                    .map(|(scenario, share)| to_proto::share(scenario, share))
                    .collect(),
                traceparent: traceparent.clone().unwrap_or_default(),
            };
            let (plan, text_digest) = (Arc::clone(&plan), text_digest.clone());
            self.surroundings.tasks.spawn("prepare", async move {
                let blobs = plan
                    .files
                    .iter()
                    .map(|file| (file.digest.to_string(), &*file.bytes));
                for (digest, content) in blobs.chain([(text_digest, plan.source.as_bytes())]) {
                    for chunk in message::chunks(&digest, content) {
                        // A link that ended is told by the registry.
                        let _ = outbound.send(chunk).await;
                    }
                }
                let _ = outbound
                    .send(message::outgoing(Kind::Prepare(prepare)))
                    .await;
            });
        }
    }

    async fn start(&mut self, at: Instant) {
        self.started = Some(at);
        let at_ns = self.surroundings.anchor.unix_ns(at);
        self.overview
            .send_modify(|overview| overview.started_ns = at_ns);
        let agents = self
            .roster
            .as_ref()
            .map_or(0, |roster| roster.entries.len());
        for agent in (0..agents)
            .filter(|agent| !self.state.is_gone(*agent))
            .collect::<Vec<_>>()
        {
            let start = v1::Start {
                run: self.run_id(),
                at_ns,
                saves: self.saves.clone(),
            };
            self.tell(agent, Kind::Start(start)).await;
            self.stand(agent, Standing::Started);
        }
    }

    async fn release(&mut self) {
        if let Some(roster) = &self.roster {
            for agent in 0..roster.entries.len() {
                let release = message::outgoing(Kind::Release(v1::Release { run: self.run_id() }));
                roster
                    .tell(agent, release, &self.surroundings.registry)
                    .await;
            }
            self.surroundings
                .registry
                .free(self.submission.id.clone())
                .await;
        }
    }

    fn entered(&mut self, now: Instant, state: Lifecycle, reason: &str) {
        if state >= Lifecycle::TearingDown && self.ended.is_none() {
            self.ended = Some(now);
        }
        self.announce(state, reason);
    }

    fn announce(&self, state: Lifecycle, reason: &str) {
        tracing::info!(parent: &self.span, run = %self.submission.id, state = state.as_str(), reason, "run");
        self.overview.send_modify(|overview| overview.state = state);
        self.log.push(
            self.now_ns(),
            EventKind::State {
                state: state.as_str().to_owned(),
                reason: reason.to_owned(),
            },
        );
    }

    fn stand(&mut self, agent: AgentIndex, standing: Standing) {
        let entry = self
            .roster
            .as_mut()
            .and_then(|roster| roster.entries.get_mut(agent));
        let Some(entry) = entry.filter(|entry| entry.standing != standing) else {
            return;
        };
        entry.standing = standing;
        self.tell_agent_event(agent, standing.as_str());
    }

    fn tell_agent_event(&self, agent: AgentIndex, status: &str) {
        let entry = self
            .roster
            .as_ref()
            .and_then(|roster| roster.entries.get(agent));
        let Some(entry) = entry else { return };
        tracing::debug!(parent: &self.span, agent = %entry.id, status, "agent");
        let (agent, site, status) = (
            entry.id.to_string(),
            entry.site.to_string(),
            status.to_owned(),
        );
        self.log.push(
            self.now_ns(),
            EventKind::Agent {
                agent,
                site,
                status,
            },
        );
    }

    fn note(&mut self, severity: Severity, code: &str, message: String, agent: AgentIndex) {
        let entry = self
            .roster
            .as_ref()
            .and_then(|roster| roster.entries.get(agent));
        let evidence = Evidence {
            agent: entry.map(|entry| entry.id.to_string()),
            site: entry.map(|entry| entry.site.to_string()),
            at: self.started.map(|started| started.elapsed().as_secs_f64()),
            ..Evidence::default()
        };
        self.note_at(severity, code, message, evidence);
    }

    fn note_at(&mut self, severity: Severity, code: &str, message: String, evidence: Evidence) {
        tracing::warn!(parent: &self.span, code, message, "finding");
        if let (Novelty::First, finding) = self.aggregator.note(severity, code, message, evidence) {
            self.log.push(
                self.now_ns(),
                EventKind::Finding {
                    finding: Box::new(finding),
                },
            );
        }
    }

    fn tell_progress(&mut self, now: Instant) {
        let Some(roster) = &self.roster else { return };
        let mut progress = self.aggregator.progress();
        let until = self.ended.unwrap_or(now);
        progress.elapsed = self.started.map_or(0.0, |start| {
            until.saturating_duration_since(start).as_secs_f64()
        });
        progress.planned = self
            .submission
            .terms()
            .planned
            .map_or(0.0, |planned| planned.as_secs_f64());
        progress.agents = u32::try_from(roster.entries.len()).unwrap_or(u32::MAX);
        progress.agents_alive = u32::try_from(roster.alive()).unwrap_or(u32::MAX);
        self.log.progress(self.now_ns(), progress);
    }

    async fn tell(&self, agent: AgentIndex, kind: Kind) {
        if let Some(roster) = &self.roster {
            roster
                .tell(agent, message::outgoing(kind), &self.surroundings.registry)
                .await;
        }
    }

    fn name(&self, agent: AgentIndex) -> String {
        let entry = self
            .roster
            .as_ref()
            .and_then(|roster| roster.entries.get(agent));
        entry.map_or_else(|| format!("#{agent}"), |entry| entry.id.to_string())
    }

    pub(super) fn run_id(&self) -> String {
        self.submission.id.as_str().to_owned()
    }

    pub(super) fn now_ns(&self) -> i64 {
        self.surroundings.anchor.unix_ns_now()
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
fn bounded(mut text: String) -> String {
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
