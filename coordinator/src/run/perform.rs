//! What a run's driver does: the actions of its state machine, and what it tells agents, watchers and the log.
use super::driver::Driver;
use super::event::{Action, AgentIndex, Lifecycle, StopMode};
use super::message;
use super::roster::Standing;
use crate::aggregate::Novelty;
use crate::report::model::{EventKind, Evidence, Severity};
use std::sync::Arc;
use testmesh_proto::v1::{self, coordinator_message::Kind};
use testmesh_shared::telemetry::Traceparent;
use testmesh_shared::wire::to_proto;
use tokio::time::Instant;

impl Driver {
    pub(super) async fn perform(&mut self, now: Instant, action: Action) {
        match action {
            Action::Announce { state, reason } => self.entered(now, state, &reason),
            Action::Prepare => {
                let agents = self.agents();
                (0..agents).for_each(|agent| self.prepare(agent));
            }
            Action::PrepareAgain { agent } => self.prepare(agent),
            Action::SetUp { agent } => {
                let run = self.run_id();
                self.tell(agent, Kind::SetUp(v1::SetUp { run })).await;
            }
            Action::Start { at } => self.start(at).await,
            Action::StartAgain { agent } => {
                if let Some(at) = self.started {
                    self.tell_start(agent, at).await;
                }
            }
            Action::StopAgain { agent, mode } => self.tell_stop(agent, mode).await,
            Action::Stop { mode } => {
                for agent in 0..self.agents() {
                    self.tell_stop(agent, mode).await;
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

    pub(super) fn agents(&self) -> usize {
        self.roster
            .as_ref()
            .map_or(0, |roster| roster.entries.len())
    }

    async fn tell_stop(&self, agent: AgentIndex, mode: StopMode) {
        let stop = message::stop(&self.run_id(), mode);
        if let Some(roster) = &self.roster {
            roster.tell(agent, stop, &self.surroundings.registry).await;
        }
    }

    async fn tell_start(&self, agent: AgentIndex, at: Instant) {
        let start = v1::Start {
            run: self.run_id(),
            at_ns: self.surroundings.anchor.unix_ns(at),
            saves: self.saves.clone(),
        };
        self.tell(agent, Kind::Start(start)).await;
    }

    /// Sends an agent its assignment. Blobs go in a task of their own, because they wait for room.
    pub(super) fn prepare(&mut self, index: AgentIndex) {
        let Some(roster) = &self.roster else { return };
        let (Some(entry), Some(outbound)) = (roster.entries.get(index), roster.outbound(index))
        else {
            return;
        };
        let plan = Arc::clone(&self.submission.plan);
        let text_digest = self.submission.text_digest().to_string();
        let files = plan.files.iter().map(|file| v1::FileRef {
            path: file.path.clone(),
            digest: file.digest.to_string(),
            size: u64::try_from(file.bytes.len()).unwrap_or(u64::MAX),
        });
        let traceparent = Traceparent::of(&self.span)
            .or(self.submission.parent)
            .map(|parent| parent.to_string());
        let prepare = v1::Prepare {
            run: self.run_id(),
            plan_file: plan.file.clone(),
            plan_digest: text_digest.clone(),
            files: files.collect(),
            vars: self.submission.vars.clone(),
            seed: self.submission.seed,
            agent_index: u32::try_from(index).unwrap_or(u32::MAX),
            agent_count: u32::try_from(roster.entries.len()).unwrap_or(u32::MAX),
            shares: entry
                .shares
                .iter()
                .map(|(scenario, share)| to_proto::share(scenario, share))
                .collect(),
            traceparent: traceparent.unwrap_or_default(),
            narrowing: to_proto::narrowing(&self.submission.narrowing),
            proxies: self.proxies_of(index),
        };
        let plan = Arc::clone(&plan);
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

    pub(super) async fn start(&mut self, at: Instant) {
        self.started = Some(at);
        let at_ns = self.surroundings.anchor.unix_ns(at);
        self.overview
            .send_modify(|overview| overview.started_ns = at_ns);
        for agent in 0..self.agents() {
            if !self.state.is_gone(agent) {
                self.tell_start(agent, at).await;
                self.stand(agent, Standing::Started);
            }
        }
        self.faults_start(at);
    }

    pub(super) async fn release(&mut self) {
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

    pub(super) fn entered(&mut self, now: Instant, state: Lifecycle, reason: &str) {
        if state >= Lifecycle::TearingDown && self.ended.is_none() {
            self.ended = Some(now);
        }
        // A sealed run has a report: it is announced once the store has it.
        if state != Lifecycle::Sealed {
            self.announce(state, reason);
        }
    }

    pub(super) fn announce(&self, state: Lifecycle, reason: &str) {
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

    pub(super) fn stand(&mut self, agent: AgentIndex, standing: Standing) {
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

    pub(super) fn tell_agent_event(&self, agent: AgentIndex, status: &str) {
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

    pub(super) fn note(
        &mut self,
        severity: Severity,
        code: &str,
        message: String,
        agent: AgentIndex,
    ) {
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

    pub(super) fn note_at(
        &mut self,
        severity: Severity,
        code: &str,
        message: String,
        evidence: Evidence,
    ) {
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

    pub(super) fn tell_progress(&mut self, now: Instant) {
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

    pub(super) async fn tell(&self, agent: AgentIndex, kind: Kind) {
        if let Some(roster) = &self.roster {
            roster
                .tell(agent, message::outgoing(kind), &self.surroundings.registry)
                .await;
        }
    }

    pub(super) fn name(&self, agent: AgentIndex) -> String {
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
