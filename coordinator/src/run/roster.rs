//! The agents of one run, as the run sees them: how far each came, how it is, and how to tell it something.
use super::event::AgentIndex;
use crate::limits;
use crate::registry::lease::Liveness;
use crate::registry::{MemberId, Outgoing, RegistryHandle, Reservation, Roll, Vitals};
use crate::report::model::{Agent, StartSkew};
use std::time::Duration;
use testmesh_shared::id::{AgentId, Site};
use testmesh_shared::segment::Share;
use tokio::sync::watch;

/// How far one agent has come. Events and the report print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It receives and reads the plan.
    Preparing,
    /// It is ready.
    Armed,
    /// It knows when to start.
    Started,
    /// It is done.
    Drained,
    /// It is given up.
    Lost,
}

impl Standing {
    /// As events and the report print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Armed => "armed",
            Self::Started => "started",
            Self::Drained => "drained",
            Self::Lost => "lost",
        }
    }
}

/// What is believed of an agent that was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is silent for longer than it should be, or is well again.
    Suspected {
        /// Who.
        agent: AgentIndex,
        /// Which of both.
        suspect: bool,
    },
    /// It came back on a new link: what was said on the old one may be lost.
    Returned {
        /// Who.
        agent: AgentIndex,
    },
    /// It is given up.
    Lost {
        /// Who.
        agent: AgentIndex,
        /// Why, for people.
        why: String,
    },
}

/// One agent of a run.
#[derive(Clone, Debug)]
pub struct RosterEntry {
    /// Its id.
    pub id: AgentId,
    /// Where it runs.
    pub site: Site,
    /// Its part of every scenario.
    pub shares: Vec<(String, Share)>,
    /// How far it came.
    pub standing: Standing,
    /// Silent for longer than it should be, and not yet given up.
    pub suspect: bool,
    /// Runtimes that it runs sessions on.
    pub runtimes: u32,
    /// It was started with `--allow-commands`.
    pub may_run_commands: bool,
    /// What it last said of itself.
    pub vitals: Vitals,
    /// The registry gave it up, and that was told.
    gone: bool,
    member: Option<MemberId>,
    cpu_max: f64,
    memory_max: u64,
    started_late_ns: Option<i64>,
}

/// The agents of one run.
#[derive(Debug)]
pub struct Roster {
    /// By the agent's number.
    pub entries: Vec<RosterEntry>,
    roll: watch::Receiver<Roll>,
}

impl Roster {
    /// The agents that the registry reserved, with their shares.
    pub fn new(reservation: Reservation) -> Self {
        let Reservation {
            schedule,
            agents,
            roll,
        } = reservation;
        let members: Vec<_> = roll.borrow().iter().map(|entry| entry.member).collect();
        let entries =
            agents
                .into_iter()
                .zip(schedule.agents)
                .enumerate()
                .map(|(index, (agent, placed))| RosterEntry {
                    gone: false,
                    member: members.get(index).copied(),
                    id: agent.id,
                    site: agent.site,
                    shares: placed.shares,
                    standing: Standing::Preparing,
                    suspect: false,
                    runtimes: agent.runtimes,
                    may_run_commands: agent.may_run_commands,
                    vitals: agent.vitals,
                    cpu_max: 0.0,
                    memory_max: agent.vitals.memory,
                    started_late_ns: None,
                });
        Self {
            entries: entries.collect(),
            roll,
        }
    }

    /// Waits until something is believed of an agent that was not. Cancel safe; pending once the registry has ended.
    pub async fn changed(&mut self) {
        if self.roll.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// What changed: who is suspect, who is well again, who is lost and why, and who came back on a new link.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (agent, (entry, believed)) in self
            .entries
            .iter_mut()
            .zip(self.roll.borrow_and_update().iter())
            .enumerate()
        {
            if believed.liveness == Liveness::Lost {
                if !std::mem::replace(&mut entry.gone, true) {
                    let why = believed.why.clone();
                    changes.push(Change::Lost { agent, why });
                }
                continue;
            }
            let suspect = believed.liveness == Liveness::Suspect;
            if suspect != std::mem::replace(&mut entry.suspect, suspect) {
                changes.push(Change::Suspected { agent, suspect });
            }
            if entry.member.replace(believed.member) != Some(believed.member) {
                changes.push(Change::Returned { agent });
            }
        }
        changes
    }

    /// Tells an agent something. One that does not read is ejected: its queue holds all that a healthy one can owe.
    pub async fn tell(&self, agent: AgentIndex, message: Outgoing, registry: &RegistryHandle) {
        let target = self
            .roll
            .borrow()
            .get(agent)
            .map(|entry| (entry.outbound.clone(), entry.member, entry.liveness));
        let Some((outbound, member, liveness)) = target else {
            return;
        };
        if liveness == Liveness::Lost {
            return;
        }
        if let Err(tokio::sync::mpsc::error::TrySendError::Full(_)) = outbound.try_send(message) {
            let why = format!("it left {} messages unread", limits::OUTBOUND_QUEUE);
            registry.eject(member, why).await;
        }
    }

    /// Closes the link of an agent that cannot be trusted.
    pub async fn eject(&self, agent: AgentIndex, why: String, registry: &RegistryHandle) {
        let member = self.roll.borrow().get(agent).map(|entry| entry.member);
        if let Some(member) = member {
            registry.eject(member, why).await;
        }
    }

    /// Where messages to an agent go, for a task that waits for room.
    pub fn outbound(&self, agent: AgentIndex) -> Option<crate::registry::Outbound> {
        self.roll
            .borrow()
            .get(agent)
            .map(|entry| entry.outbound.clone())
    }

    /// An agent said how it is.
    pub fn heard(&mut self, agent: AgentIndex, vitals: Vitals) {
        if let Some(entry) = self.entries.get_mut(agent) {
            entry.vitals = vitals;
            entry.cpu_max = entry.cpu_max.max(vitals.cpu);
            entry.memory_max = entry.memory_max.max(vitals.memory);
        }
    }

    /// An agent said how late it started.
    pub fn started_late(&mut self, agent: AgentIndex, late_ns: i64) {
        if let Some(entry) = self.entries.get_mut(agent) {
            entry.started_late_ns = Some(late_ns);
        }
    }

    /// How many agents are not given up.
    pub fn alive(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| entry.standing != Standing::Lost)
            .count()
    }

    /// Ids and sites, by the agents' numbers.
    pub fn names(&self) -> Vec<(AgentId, Site)> {
        self.entries
            .iter()
            .map(|entry| (entry.id.clone(), entry.site.clone()))
            .collect()
    }

    /// As the report lists them; `sessions` are those that each is known to have started.
    pub fn report(&self, sessions: &[u64]) -> Vec<Agent> {
        let line = |(index, entry): (usize, &RosterEntry)| Agent {
            id: entry.id.to_string(),
            site: entry.site.to_string(),
            status: entry.standing.as_str().to_owned(),
            sessions: sessions.get(index).copied().unwrap_or(0),
            clock_offset: entry.vitals.clock().map(|(offset, _)| seconds(offset)),
            clock_uncertainty: entry.vitals.clock().map(|(_, by)| by.as_secs_f64()),
            cpu_max: entry.cpu_max,
            memory_max: entry.memory_max,
        };
        self.entries.iter().enumerate().map(line).collect()
    }

    /// How uncertain each agent's clock is, as far as it is known.
    pub fn clocks(&self) -> Vec<Option<Duration>> {
        let clock = |entry: &RosterEntry| entry.vitals.clock().map(|(_, by)| by);
        self.entries.iter().map(clock).collect()
    }

    /// How far apart the agents started. Two starts differ by what they say, give or take both clocks' uncertainties.
    pub fn start_skew(&self) -> Option<StartSkew> {
        let starts: Vec<_> = self
            .entries
            .iter()
            .filter_map(|entry| {
                Some((
                    seconds(entry.started_late_ns?),
                    entry.vitals.clock()?.1.as_secs_f64(),
                ))
            })
            .collect();
        if starts.len() < 2 {
            return None;
        }
        let over = |pick: fn(&(f64, f64)) -> f64, from: f64, fold: fn(f64, f64) -> f64| {
            starts.iter().map(pick).fold(from, fold)
        };
        let value = over(|one| one.0, f64::MIN, f64::max) - over(|one| one.0, f64::MAX, f64::min);
        // The earliest start that can have been last, and so on.
        let lo = over(|(at, by)| at - by, f64::MIN, f64::max)
            - over(|(at, by)| at + by, f64::MAX, f64::min);
        let hi = over(|(at, by)| at + by, f64::MIN, f64::max)
            - over(|(at, by)| at - by, f64::MAX, f64::min);
        Some(StartSkew {
            value,
            lo: lo.max(0.0),
            hi,
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a difference of two clocks is far below 2^53 microseconds"
)]
fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}
