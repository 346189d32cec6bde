//! The registry: one task that owns the list of agents, their leases, and which run has which of them.
//!
//! Links tell it who joined, who was heard of and who left; runs reserve agents and give them back. What a run must know of
//! its agents comes as a `watch` of their liveness: level-triggered, so that a busy run misses no loss and never holds the
//! registry up. Channels in: [`RegistryHandle`]. Channels out: one assignment per link, one liveness per run, and a
//! signal that something changed for whoever waits for agents.
use super::lease::{Lease, Liveness, Terms};
use super::member::{
    AgentReport, Assignment, Hello, JoinError, Membership, Outbound, Outgoing, Vitals,
};
use crate::limits;
use crate::run::{AgentIndex, Inbox};
use crate::scheduler::{self, Candidate, Requirements, Schedule, ScheduleError};
use std::collections::{BTreeMap, VecDeque};
use testmesh_shared::id::{AgentId, RunId, Site};
use testmesh_shared::shutdown::Shutdown;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Identity of one link's membership: an agent that comes back has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(u64);

/// What a run believes of its agents, by their number.
pub type Roll = Vec<RollEntry>;

/// What a run believes of one of its agents.
#[derive(Clone, Debug)]
pub struct RollEntry {
    /// Whether it can be counted on.
    pub liveness: Liveness,
    /// Why it is lost; empty else.
    pub why: String,
    /// How to tell it something. Another one after the agent came back on a new link.
    pub outbound: Outbound,
    /// Its membership, for [`RegistryHandle::eject`]. Another one after the agent came back on a new link.
    pub member: MemberId,
}

/// Agents that a run has.
#[derive(Debug)]
pub struct Reservation {
    /// Who runs what, and why.
    pub schedule: Schedule,
    /// The agents, in the schedule's order.
    pub agents: Vec<Reserved>,
    /// What is believed of them.
    pub roll: watch::Receiver<Roll>,
}

/// One agent of a run.
#[derive(Clone, Debug)]
pub struct Reserved {
    /// Its id.
    pub id: AgentId,
    /// Where it runs.
    pub site: Site,
    /// How it was when it was reserved.
    pub vitals: Vitals,
    /// Runtimes that it runs sessions on.
    pub runtimes: u32,
    /// It was started with `--allow-commands`.
    pub may_run_commands: bool,
}

/// Why no agents are reserved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// There are enough, but other runs have them.
    #[error("the agents that the run needs are busy")]
    Busy,
    /// There are not enough.
    #[error("the run cannot be placed")]
    NotEnough(#[source] ScheduleError),
    /// The registry has ended.
    #[error("the coordinator is shutting down")]
    Gone,
}

enum Command {
    Join {
        hello: Box<Hello>,
        outbound: Outbound,
        reply: oneshot::Sender<Result<Membership, JoinError>>,
    },
    Heard {
        member: MemberId,
        vitals: Option<Vitals>,
    },
    Leave {
        member: MemberId,
        why: String,
    },
    Detach {
        member: MemberId,
        why: String,
    },
    Eject {
        member: MemberId,
        why: String,
    },
    Reserve {
        run: RunId,
        needs: Box<Requirements>,
        inbox: Inbox,
        reply: oneshot::Sender<Result<Reservation, ReserveError>>,
    },
    Free {
        run: RunId,
    },
    List {
        reply: oneshot::Sender<Vec<AgentReport>>,
    },
}

/// How others ask the registry. All methods are cancel safe: a request that was sent is carried out.
#[derive(Clone, Debug)]
pub struct RegistryHandle {
    commands: mpsc::Sender<Command>,
    changes: watch::Receiver<u64>,
}

impl RegistryHandle {
    /// Adds an agent.
    ///
    /// # Errors
    ///
    /// If its name is taken or there are too many.
    pub async fn join(&self, hello: Hello, outbound: Outbound) -> Result<Membership, JoinError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Join {
            hello: Box::new(hello),
            outbound,
            reply,
        })
        .await;
        answer.await.unwrap_or(Err(JoinError::ShuttingDown))
    }

    /// An agent showed a sign of life.
    pub async fn heard(&self, member: MemberId, vitals: Option<Vitals>) {
        self.tell(Command::Heard { member, vitals }).await;
    }

    /// An agent's link broke. It stays a member until its lease is over, and may come back until then.
    pub async fn detach(&self, member: MemberId, why: String) {
        self.tell(Command::Detach { member, why }).await;
    }

    /// An agent said goodbye.
    pub async fn leave(&self, member: MemberId, why: String) {
        self.tell(Command::Leave { member, why }).await;
    }

    /// Closes the link of an agent that cannot be trusted.
    pub async fn eject(&self, member: MemberId, why: String) {
        self.tell(Command::Eject { member, why }).await;
    }

    /// Reserves agents for a run, all or none.
    ///
    /// # Errors
    ///
    /// If there are not enough, or not now.
    pub async fn reserve(
        &self,
        run: RunId,
        needs: Requirements,
        inbox: Inbox,
    ) -> Result<Reservation, ReserveError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Reserve {
            run,
            needs: Box::new(needs),
            inbox,
            reply,
        })
        .await;
        answer.await.unwrap_or(Err(ReserveError::Gone))
    }

    /// Gives the agents of a run back.
    pub async fn free(&self, run: RunId) {
        self.tell(Command::Free { run }).await;
    }

    /// Every agent that is there, and those lost lately.
    pub async fn list(&self) -> Vec<AgentReport> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::List { reply }).await;
        answer.await.unwrap_or_default()
    }

    /// Changes whenever agents join, leave or become free.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    async fn tell(&self, command: Command) {
        // A registry that has ended answers nobody; whoever waits for an answer learns it from the dropped reply.
        let _ = self.commands.send(command).await;
    }
}

struct Member {
    hello: Hello,
    outbound: Outbound,
    lease: Lease,
    vitals: Vitals,
    joined: Instant,
    assignment: watch::Sender<Option<Assignment>>,
    run: Option<(RunId, AgentIndex)>,
    /// Why its link is gone, if it is.
    detached: Option<String>,
}

/// The registry. [`Registry::run`] is its loop.
pub struct Registry {
    terms: Terms,
    commands: mpsc::Receiver<Command>,
    changes: watch::Sender<u64>,
    members: BTreeMap<MemberId, Member>,
    rolls: BTreeMap<RunId, watch::Sender<Roll>>,
    departed: VecDeque<AgentReport>,
    next: u64,
}

impl Registry {
    /// An empty registry and its handle.
    pub fn new(terms: Terms) -> (Self, RegistryHandle) {
        let (sender, commands) = mpsc::channel(limits::REGISTRY_QUEUE);
        let (changes, watcher) = watch::channel(0);
        let registry = Self {
            terms,
            commands,
            changes,
            members: BTreeMap::new(),
            rolls: BTreeMap::new(),
            departed: VecDeque::new(),
            next: 1,
        };
        (
            registry,
            RegistryHandle {
                commands: sender,
                changes: watcher,
            },
        )
    }

    /// Serves until the process aborts: a run that drains still needs its agents.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            let now = Instant::now();
            let next = self
                .members
                .values()
                .filter_map(|member| member.lease.next_change(now, self.terms))
                .min();
            let command = tokio::select! {
                () = shutdown.aborting() => return,
                command = self.commands.recv() => command,
                () = sleep_until(next) => {
                    self.check_leases();
                    continue;
                }
            };
            match command {
                Some(command) => self.perform(command),
                None => return,
            }
        }
    }

    fn perform(&mut self, command: Command) {
        match command {
            Command::Join {
                hello,
                outbound,
                reply,
            } => {
                // A link that ended meanwhile finds its membership closed, and says that it left.
                let _ = reply.send(self.join(*hello, outbound));
            }
            Command::Heard { member, vitals } => self.heard(member, vitals),
            Command::Leave { member, why } => self.remove(member, &why),
            Command::Detach { member, why } => {
                if let Some(member) = self.members.get_mut(&member) {
                    tracing::warn!(agent = %member.hello.agent, why, "link broke");
                    member.detached = Some(why);
                }
            }
            Command::Eject { member, why } => {
                if let Some(member) = self.members.get(&member) {
                    let _ = member.outbound.try_send(Outgoing::Close(why.clone()));
                }
                self.remove(member, &why);
            }
            Command::Reserve {
                run,
                needs,
                inbox,
                reply,
            } => {
                if let Err(Ok(_)) = reply.send(self.reserve(&run, &needs, &inbox)) {
                    // Whoever asked has gone.
                    self.free(&run);
                }
            }
            Command::Free { run } => self.free(&run),
            Command::List { reply } => {
                let _ = reply.send(self.list());
            }
        }
    }

    fn join(&mut self, hello: Hello, outbound: Outbound) -> Result<Membership, JoinError> {
        let known = self
            .members
            .iter()
            .find(|(_, member)| member.hello.agent == hello.agent);
        match known.map(|(id, member)| {
            (
                *id,
                member.hello.epoch == hello.epoch,
                member.detached.is_some(),
            )
        }) {
            // The same process on a new link: it goes on where it was.
            Some((id, true, _)) => return Ok(self.rejoin(id, hello, outbound)),
            Some((id, false, true)) => self.remove(id, "its process ended, and another one came"),
            Some((_, false, false)) => return Err(JoinError::NameTaken(hello.agent)),
            None => {}
        }
        if self.members.len() >= limits::MAX_AGENTS {
            return Err(JoinError::TooMany);
        }
        let id = MemberId(self.next);
        self.next += 1;
        let now = Instant::now();
        let (assignment, watcher) = watch::channel(None);
        tracing::info!(agent = %hello.agent, site = %hello.site, version = hello.version, "agent joined");
        self.departed.retain(|report| report.id != hello.agent);
        let vitals = Vitals::default();
        let lease = Lease::new(now);
        let (run, detached) = (None, None);
        self.members.insert(
            id,
            Member {
                hello,
                outbound,
                lease,
                vitals,
                joined: now,
                assignment,
                run,
                detached,
            },
        );
        self.changed();
        Ok(Membership {
            id,
            assignment: watcher,
        })
    }

    /// The old link, if it still thinks that it is one, finds its membership closed.
    fn rejoin(&mut self, old: MemberId, hello: Hello, outbound: Outbound) -> Membership {
        let id = MemberId(self.next);
        self.next += 1;
        let mut member = self
            .members
            .remove(&old)
            .expect("the caller found this member");
        tracing::info!(agent = %hello.agent, "agent came back");
        let (assignment, watcher) = watch::channel(member.assignment.borrow().clone());
        member.lease.renew(Instant::now());
        member = Member {
            hello,
            outbound,
            assignment,
            detached: None,
            ..member
        };
        self.members.insert(id, member);
        self.update_roll(id, "");
        Membership {
            id,
            assignment: watcher,
        }
    }

    fn heard(&mut self, id: MemberId, vitals: Option<Vitals>) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        member.lease.renew(Instant::now());
        if let Some(vitals) = vitals {
            member.vitals = vitals;
        }
        self.update_roll(id, "");
    }

    fn check_leases(&mut self) {
        let now = Instant::now();
        let mut lost = Vec::new();
        for (id, member) in &mut self.members {
            match member.lease.check(now, self.terms) {
                Liveness::Lost => lost.push(*id),
                Liveness::Alive | Liveness::Suspect => {}
            }
        }
        for id in lost {
            let broken = self
                .members
                .get(&id)
                .and_then(|member| member.detached.clone());
            let silent = || format!("nothing was heard of it for {:?}", self.terms.lost_after);
            let why = broken.unwrap_or_else(silent);
            if let Some(member) = self.members.get(&id) {
                let _ = member.outbound.try_send(Outgoing::Close(why.clone()));
            }
            self.remove(id, &why);
        }
        let here: Vec<_> = self.members.keys().copied().collect();
        for id in here {
            self.update_roll(id, "");
        }
    }

    fn remove(&mut self, id: MemberId, why: &str) {
        if let Some(member) = self.members.get_mut(&id) {
            member.lease.end();
            self.update_roll(id, why);
        }
        if let Some(member) = self.members.remove(&id) {
            tracing::info!(agent = %member.hello.agent, why, "agent left");
            self.departed.push_back(report(&member, Liveness::Lost));
            if self.departed.len() > limits::MAX_DEPARTED {
                self.departed.pop_front();
            }
            self.changed();
        }
    }

    fn update_roll(&mut self, id: MemberId, why: &str) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let liveness = member.lease.check(Instant::now(), self.terms);
        let Some((run, index)) = &member.run else {
            return;
        };
        let Some(roll) = self.rolls.get(run) else {
            return;
        };
        roll.send_if_modified(|roll| match roll.get_mut(*index) {
            // Lost is final, whoever comes by that name later.
            Some(entry)
                if entry.liveness != Liveness::Lost
                    && (entry.liveness != liveness || entry.member != id) =>
            {
                let (why, outbound) = (why.to_owned(), member.outbound.clone());
                *entry = RollEntry {
                    liveness,
                    why,
                    outbound,
                    member: id,
                };
                true
            }
            _ => false,
        });
    }

    fn reserve(
        &mut self,
        run: &RunId,
        needs: &Requirements,
        inbox: &Inbox,
    ) -> Result<Reservation, ReserveError> {
        let idle = self.candidates(|member| member.run.is_none() && member.detached.is_none());
        let schedule = match scheduler::schedule(needs, &idle) {
            Ok(schedule) => schedule,
            Err(error) => {
                let all = self.candidates(|_| true);
                let would_fit = scheduler::schedule(needs, &all).is_ok();
                return Err(if would_fit {
                    ReserveError::Busy
                } else {
                    ReserveError::NotEnough(error)
                });
            }
        };
        let mut agents = Vec::with_capacity(schedule.agents.len());
        let mut roll = Vec::with_capacity(schedule.agents.len());
        for (index, placed) in schedule.agents.iter().enumerate() {
            let found = self
                .members
                .iter_mut()
                .find(|(_, member)| member.hello.agent.as_str() == placed.id);
            let (id, member) = found.expect("the scheduler only places candidates");
            member.run = Some((run.clone(), index));
            member.assignment.send_replace(Some(Assignment {
                run: run.clone(),
                agent: index,
                inbox: inbox.clone(),
            }));
            let (why, outbound) = (String::new(), member.outbound.clone());
            roll.push(RollEntry {
                liveness: Liveness::Alive,
                why,
                outbound,
                member: *id,
            });
            agents.push(Reserved {
                id: member.hello.agent.clone(),
                site: member.hello.site.clone(),
                vitals: member.vitals,
                runtimes: member.hello.runtimes,
                may_run_commands: member.hello.drivers.contains("command"),
            });
        }
        let (roll, watcher) = watch::channel(roll);
        self.rolls.insert(run.clone(), roll);
        Ok(Reservation {
            schedule,
            agents,
            roll: watcher,
        })
    }

    fn candidates(&self, fits: impl Fn(&Member) -> bool) -> Vec<Candidate> {
        let members = self.members.values().filter(|member| fits(member));
        members
            .map(|member| Candidate {
                id: member.hello.agent.as_str().to_owned(),
                site: member.hello.site.as_str().to_owned(),
                drivers: member.hello.drivers.clone(),
            })
            .collect()
    }

    fn free(&mut self, run: &RunId) {
        self.rolls.remove(run);
        for member in self.members.values_mut() {
            if member.run.as_ref().is_some_and(|(of, _)| of == run) {
                member.run = None;
                member.assignment.send_replace(None);
            }
        }
        self.changed();
    }

    fn list(&self) -> Vec<AgentReport> {
        let now = Instant::now();
        let here = self.members.values();
        let here = here.map(|member| report(member, member.lease.look(now, self.terms)));
        let mut all: Vec<_> = here.collect();
        all.extend(self.departed.iter().cloned());
        all.sort_by(|a, b| (&a.site, &a.id).cmp(&(&b.site, &b.id)));
        all
    }

    fn changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

fn report(member: &Member, liveness: Liveness) -> AgentReport {
    AgentReport {
        id: member.hello.agent.clone(),
        site: member.hello.site.clone(),
        labels: member.hello.labels.clone(),
        version: member.hello.version.clone(),
        liveness,
        run: member.run.as_ref().map(|(run, _)| run.clone()),
        vitals: member.vitals,
        joined: member.joined,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "actor_tests.rs"]
mod tests;
