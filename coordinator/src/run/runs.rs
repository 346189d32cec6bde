//! The actor that owns all runs: the queue, the drivers of those that are under way, and the way to those that are sealed.
//!
//! Runs are placed in the order in which they were submitted. A run at the head of the queue whose agents are busy is waited
//! for; one whose agents are not there gets a few seconds for them to dial in, and is then sealed as not placed.
//! Channels in: the handle, the registry's changes. Channels out: one command channel per run.
use super::driver::{Driver, Surroundings};
use super::event::{Lifecycle, PlanAtFault};
use super::inbox::Inbox;
use super::log::EventLog;
use super::submission::{RunCommand, RunHandle, RunOverview, Submission};
use crate::limits;
use crate::registry::ReserveError;
use crate::scheduler::Requirements;
use std::collections::{BTreeMap, VecDeque};
use testmesh_shared::id::RunId;
use testmesh_shared::shutdown::Shutdown;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::Instrument;

/// Why a run is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full.
    #[error("{} runs are waiting already", limits::MAX_QUEUED_RUNS)]
    QueueFull,
    /// The coordinator ends.
    #[error("the coordinator is shutting down")]
    ShuttingDown,
}

enum Command {
    Submit {
        submission: Box<Submission>,
        reply: oneshot::Sender<Result<(), SubmitError>>,
    },
    Find {
        run: RunId,
        reply: oneshot::Sender<Option<RunHandle>>,
    },
    List {
        reply: oneshot::Sender<Vec<RunOverview>>,
    },
    Ended {
        run: RunId,
    },
}

/// How others ask for runs. All methods are cancel safe: a request that was sent is carried out.
#[derive(Clone, Debug)]
pub struct RunsHandle {
    commands: mpsc::Sender<Command>,
}

impl RunsHandle {
    /// Queues a run.
    ///
    /// # Errors
    ///
    /// If there are too many, or the coordinator ends.
    pub async fn submit(&self, submission: Submission) -> Result<(), SubmitError> {
        let (reply, answer) = oneshot::channel();
        let submission = Box::new(submission);
        let _ = self
            .commands
            .send(Command::Submit { submission, reply })
            .await;
        answer.await.unwrap_or(Err(SubmitError::ShuttingDown))
    }

    /// A run that is queued, under way, or sealed lately.
    pub async fn find(&self, run: RunId) -> Option<RunHandle> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Find { run, reply }).await;
        answer.await.ok().flatten()
    }

    /// Every run that [`RunsHandle::find`] finds, the newest first.
    pub async fn list(&self) -> Vec<RunOverview> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::List { reply }).await;
        answer.await.unwrap_or_default()
    }
}

struct Queued {
    run: RunId,
    needs: Requirements,
    inbox: Inbox,
    /// Since when its agents are not even there.
    in_vain_since: Option<Instant>,
}

/// The actor. [`Runs::run`] is its loop.
pub struct Runs {
    surroundings: Surroundings,
    commands: mpsc::Receiver<Command>,
    myself: mpsc::WeakSender<Command>,
    runs: BTreeMap<RunId, RunHandle>,
    queue: VecDeque<Queued>,
    active: usize,
}

impl Runs {
    /// No runs yet, and the handle to them.
    pub fn new(surroundings: Surroundings) -> (Self, RunsHandle) {
        let (sender, commands) = mpsc::channel(limits::RUNS_QUEUE);
        let myself = sender.downgrade();
        let runs = Self {
            surroundings,
            commands,
            myself,
            runs: BTreeMap::new(),
            queue: VecDeque::new(),
            active: 0,
        };
        (runs, RunsHandle { commands: sender })
    }

    /// Serves until the coordinator drains and the last run is sealed, or until it aborts.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut changes = self.surroundings.registry.changes();
        loop {
            let patience = self
                .queue
                .front()
                .and_then(|first| first.in_vain_since)
                .map(|since| since + limits::AGENTS_WAIT);
            let command = tokio::select! {
                () = shutdown.aborting() => return,
                () = shutdown.draining(), if self.active == 0 => return,
                command = self.commands.recv() => command,
                Ok(()) = changes.changed() => {
                    self.place().await;
                    continue;
                }
                () = sleep_until(patience) => {
                    self.place().await;
                    continue;
                }
            };
            match command {
                Some(command) => self.perform(command, &shutdown).await,
                None => return,
            }
        }
    }

    async fn perform(&mut self, command: Command, shutdown: &Shutdown) {
        match command {
            Command::Submit { submission, reply } => {
                let taken = self.submit(*submission, shutdown);
                let _ = reply.send(taken);
                self.place().await;
            }
            Command::Find { run, reply } => {
                let _ = reply.send(self.runs.get(&run).cloned());
            }
            Command::List { reply } => {
                let _ = reply.send(self.runs.values().rev().map(RunHandle::overview).collect());
            }
            Command::Ended { run } => {
                self.active -= 1;
                self.queue.retain(|queued| queued.run != run);
                self.forget_old();
                self.place().await;
            }
        }
    }

    fn submit(&mut self, submission: Submission, shutdown: &Shutdown) -> Result<(), SubmitError> {
        if shutdown.is_draining() {
            return Err(SubmitError::ShuttingDown);
        }
        if self.queue.len() >= limits::MAX_QUEUED_RUNS
            || self.active >= limits::MAX_ACTIVE_RUNS + limits::MAX_QUEUED_RUNS
        {
            return Err(SubmitError::QueueFull);
        }
        let Some(myself) = self.myself.upgrade() else {
            return Err(SubmitError::ShuttingDown);
        };
        let run = submission.id.clone();
        let needs = Requirements::of(&submission.plan, submission.agents);
        let (inbox, messages) = Inbox::new(limits::RUN_QUEUE, limits::RUN_QUEUE_KIB);
        let (sender, commands) = mpsc::channel(limits::RUNS_QUEUE);
        let log = EventLog::default();
        let (overview, watcher) = watch::channel(RunOverview::queued(
            &submission,
            self.surroundings.anchor.unix_ns_now(),
        ));
        let handle = RunHandle {
            commands: sender,
            overview: watcher,
            log: log.clone(),
        };
        let driver = Driver::new(
            submission,
            self.surroundings.clone(),
            log,
            overview,
            commands,
            messages,
        );
        let (span, ended, shutdown) = (driver.span.clone(), run.clone(), shutdown.clone());
        let registry = self.surroundings.registry.clone();
        self.surroundings.tasks.spawn("run", async move {
            driver.run(shutdown).instrument(span).await;
            // Also for a run that was stopped while its agents were being reserved.
            registry.free(ended.clone()).await;
            let _ = myself.send(Command::Ended { run: ended }).await;
        });
        self.active += 1;
        self.runs.insert(run.clone(), handle);
        self.queue.push_back(Queued {
            run,
            needs,
            inbox,
            in_vain_since: None,
        });
        Ok(())
    }

    /// Gives agents to the runs at the head of the queue, as far as they go.
    async fn place(&mut self) {
        while let Some(first) = self.queue.front_mut() {
            let Some(handle) = self.runs.get(&first.run).cloned() else {
                self.queue.pop_front();
                continue;
            };
            let reserved = self
                .surroundings
                .registry
                .reserve(first.run.clone(), first.needs.clone(), first.inbox.clone())
                .await;
            let command = match reserved {
                Ok(reservation) => RunCommand::Placed(Box::new(reservation)),
                Err(ReserveError::Busy) => {
                    first.in_vain_since = None;
                    return;
                }
                Err(ReserveError::Gone) => return,
                Err(ReserveError::NotEnough(error)) => {
                    let since = *first.in_vain_since.get_or_insert_with(Instant::now);
                    if error.can_be_waited_out() && since.elapsed() < limits::AGENTS_WAIT {
                        return;
                    }
                    let plan_at_fault = match error.is_the_plans() {
                        true => PlanAtFault::Yes,
                        false => PlanAtFault::No,
                    };
                    RunCommand::NotPlaced(error.to_string(), plan_at_fault)
                }
            };
            let run = first.run.clone();
            self.queue.pop_front();
            // A run that ends before it reads this gives its agents back when its task ends; one that has ended cannot.
            if handle.commands.send(command).await.is_err() {
                self.surroundings.registry.free(run).await;
            }
        }
    }

    /// Sealed runs are the store's; a few are kept here for watchers that are about to read their last events.
    fn forget_old(&mut self) {
        let sealed = self
            .runs
            .iter()
            .filter(|(_, handle)| handle.overview.borrow().state == Lifecycle::Sealed);
        let sealed: Vec<_> = sealed.map(|(run, _)| run.clone()).collect();
        for run in sealed
            .iter()
            .take(sealed.len().saturating_sub(limits::MAX_STORED_RUNS))
        {
            self.runs.remove(run);
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
