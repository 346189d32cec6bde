//! The agent as a component: builds every part, wires them, and states the order in which they end.
//!
//! The loop owns the runs and the blobs. It decides nothing about a run: it passes the coordinator's messages on. At the
//! end, in this order: runs drain (or are aborted), their last batches are acknowledged, the link says farewell, the
//! workers' threads are joined.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use testmesh_proto::PROTOCOL;
use testmesh_proto::v1::agent_message::Kind as Outgoing;
use testmesh_proto::v1::coordinator_message::Kind as Incoming;
use testmesh_proto::v1::stop::Mode;
use testmesh_proto::v1::{Capacity, Hello, Prepare, Refused};
use testmesh_shared::clock::{OffsetEstimate, TimeAnchor};
use testmesh_shared::id::Epoch;
use testmesh_shared::shutdown::{Shutdown, Tasks};
use testmesh_shared::telemetry::SpanSink;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};
use crate::driver::{Gate, table};
use crate::limits;
use crate::link::state::Policy;
use crate::link::{Link, LinkConfig, LinkError, LinkEvent};
use crate::runner::assignment::Order;
use crate::runner::blobs::Blobs;
use crate::runner::prepare::{Preparation, Shared};
use crate::runner::terminate::Stop;
use crate::runner::worker::Workers;
use crate::telemetry::Vitals;

/// Why an agent ended with an error.
#[derive(Debug, Error)]
pub enum AgentError {
    /// Its configuration cannot be used.
    #[error("this agent cannot run as configured")]
    Config(#[source] ConfigError),
    /// The system grants no threads.
    #[error("failed to start the worker threads")]
    Workers(#[source] io::Error),
    /// The coordinator cannot be reached, or refused this agent.
    #[error("the link to the coordinator ended")]
    Link(#[source] LinkError),
    /// A worker thread panicked.
    #[error("worker {0} panicked, which is a defect of testmesh")]
    Panicked(usize),
}

/// An agent: configure it, then run it once.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    spans: Option<SpanSink>,
}

/// A run of which this agent has an assignment.
#[derive(Debug)]
struct Run {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

/// What the loop woke up for.
enum Woken {
    Event(Option<LinkEvent>),
    LinkEnded(Result<(), LinkError>),
    RunEnded(String),
    Draining,
    Aborting,
}

/// An agent while it runs.
#[derive(Debug)]
struct Running {
    shared: Shared,
    blobs: Blobs,
    runs: HashMap<String, Run>,
    ended: mpsc::Sender<String>,
    tasks: Tasks,
}

impl Agent {
    /// An agent that will export spans to `spans`.
    ///
    /// # Errors
    ///
    /// If the configuration cannot be used.
    pub fn new(config: Config, spans: Option<SpanSink>) -> Result<Self, AgentError> {
        config.validate().map_err(AgentError::Config)?;
        Ok(Self { config, spans })
    }

    /// Dials in and serves runs until `shutdown` drains (runs in flight are finished) or aborts (they are cut, and their
    /// cleanup still runs).
    ///
    /// # Errors
    ///
    /// The coordinator cannot be reached in time or refuses this agent; the system grants no threads.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the worker threads, which end by themselves once their sessions are cut: use `shutdown`.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), AgentError> {
        let anchor = TimeAnchor::now();
        let epoch = Epoch::at(anchor.unix_ns_now());
        let gate = Arc::new(Gate::default());
        let workers =
            Workers::start(self.config.runtimes.get(), &gate).map_err(AgentError::Workers)?;
        let (out, outgoing) = mpsc::channel(limits::LINK_QUEUE);
        let (events_in, events) = mpsc::channel(limits::EVENT_QUEUE);
        let (offset_in, offset) = watch::channel(OffsetEstimate::new());
        let link_config = link_config(&self.config, epoch, anchor);
        let link = Link::new(link_config, outgoing, events_in, offset_in, Vitals::new());
        let tasks = Tasks::new(shutdown.child());
        let (ended, mut run_ended) = mpsc::channel(limits::RUNS);
        let workers = Arc::new(workers);
        let shared = Shared {
            config: Arc::new(self.config),
            epoch,
            anchor,
            workers: Arc::clone(&workers),
            out,
            offset,
            spans: self.spans,
        };
        let running = Running {
            shared,
            blobs: Blobs::new(limits::BLOB_BYTES),
            runs: HashMap::new(),
            ended,
            tasks,
        };
        let result = running.serve(link, events, &mut run_ended, &shutdown).await;
        drop(run_ended);
        let joined = match Arc::try_unwrap(workers) {
            Ok(workers) => tokio::task::spawn_blocking(|| workers.join())
                .await
                .unwrap_or(Ok(())),
            // A run's task that did not end in time still holds them; the process ends without them.
            Err(_) => Ok(()),
        };
        result?;
        joined.map_err(AgentError::Panicked)
    }
}

impl Running {
    async fn serve(
        mut self,
        link: Link,
        mut events: mpsc::Receiver<LinkEvent>,
        run_ended: &mut mpsc::Receiver<String>,
        shutdown: &Shutdown,
    ) -> Result<(), AgentError> {
        let link_stop = CancellationToken::new();
        let mut link = self.tasks.spawn("link", link.run(link_stop.clone()));
        let (mut draining, mut aborting) = (false, false);
        let result = loop {
            if draining && self.runs.is_empty() {
                break None;
            }
            let woken = tokio::select! {
                event = events.recv() => Woken::Event(event),
                ended = &mut link => Woken::LinkEnded(ended.unwrap_or(Ok(()))),
                Some(run) = run_ended.recv() => Woken::RunEnded(run),
                () = shutdown.draining(), if !draining => Woken::Draining,
                () = shutdown.aborting(), if !aborting => Woken::Aborting,
            };
            match woken {
                Woken::Event(Some(event)) => self.hear(event).await,
                // The link ends first and says why.
                Woken::Event(None) => break Some((&mut link).await.unwrap_or(Ok(()))),
                Woken::LinkEnded(result) => break Some(result),
                Woken::RunEnded(run) => self.forget(&run).await,
                Woken::Draining => {
                    draining = true;
                    self.tell_all(&Order::Leave(Stop::Drain)).await;
                }
                Woken::Aborting => {
                    (draining, aborting) = (true, true);
                    self.tell_all(&Order::Leave(Stop::Abort)).await;
                }
            }
        };
        self.runs.clear();
        link_stop.cancel();
        let link = match result {
            Some(result) => result,
            None => link.await.unwrap_or(Ok(())),
        };
        if let Err(unfinished) = self.tasks.join(limits::ENDING).await {
            tracing::warn!(%unfinished, "some parts of the agent did not end in time");
        }
        link.map_err(AgentError::Link)
    }

    async fn hear(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up => self.tell_all(&Order::Up).await,
            LinkEvent::Down => self.tell_all(&Order::Down).await,
            LinkEvent::LeaseExpired => {
                if !self.runs.is_empty() {
                    tracing::warn!(
                        "nothing heard from the coordinator for a whole lease: draining"
                    );
                }
                self.tell_all(&Order::Stop(Stop::Drain)).await;
            }
            LinkEvent::Message(message) => self.obey(*message).await,
        }
    }

    async fn obey(&mut self, message: Incoming) {
        match message {
            Incoming::Blob(chunk) => {
                if let Err(error) = self.blobs.add(chunk) {
                    tracing::warn!(%error, "a part of a file was not taken");
                }
            }
            Incoming::Prepare(prepare) => self.prepare(prepare).await,
            Incoming::SetUp(set_up) => self.tell(&set_up.run, Order::SetUp).await,
            Incoming::Start(start) => self.tell(&start.run.clone(), Order::Start(start)).await,
            Incoming::Stop(stop) => {
                let word = match stop.mode() {
                    Mode::Abort => Stop::Abort,
                    Mode::Drain | Mode::Unspecified => Stop::Drain,
                };
                self.tell(&stop.run, Order::Stop(word)).await;
            }
            Incoming::TearDown(tear_down) => {
                self.tell(&tear_down.run.clone(), Order::TearDown(tear_down))
                    .await;
            }
            Incoming::Ack(ack) => {
                self.tell(
                    &ack.run,
                    Order::Ack {
                        epoch: ack.epoch,
                        seq: ack.seq,
                    },
                )
                .await
            }
            Incoming::Release(release) => {
                // Its orders close with it, which ends it; its sessions, if any, are cut.
                self.runs.remove(&release.run);
            }
            Incoming::Fault(fault) => self.tell(&fault.run.clone(), Order::Fault(fault)).await,
            // The link keeps these for itself.
            Incoming::Welcome(_) | Incoming::ClockReply(_) => {}
        }
    }

    /// A Prepare that comes again is a repetition, and ignored.
    async fn prepare(&mut self, prepare: Prepare) {
        let run = prepare.run.clone();
        if self.runs.contains_key(&run) {
            return;
        }
        if self.runs.len() >= limits::RUNS {
            let reason = format!("this agent serves {} runs already", limits::RUNS);
            let _ = self
                .shared
                .out
                .send(Outgoing::Refused(Refused {
                    run,
                    reason,
                    problems: Vec::new(),
                }))
                .await;
            return;
        }
        tracing::info!(run, plan = prepare.plan_file, "preparing");
        let (orders, taken) = mpsc::channel(limits::ORDER_QUEUE);
        let preparation = Preparation::new(
            self.shared.clone(),
            prepare,
            &self.blobs,
            taken,
            self.tasks.clone(),
        );
        let ended = self.ended.clone();
        let name = run.clone();
        let task = self.tasks.spawn("run", async move {
            preparation.run().await;
            // The loop may have ended.
            let _ = ended.send(name).await;
        });
        self.runs.insert(run, Run { orders, task });
    }

    /// A run that has ended is forgotten, unless another of its name has begun meanwhile.
    async fn forget(&mut self, run: &str) {
        if self
            .runs
            .get(run)
            .is_some_and(|run| run.task.is_finished() || run.orders.is_closed())
        {
            self.runs.remove(run);
        }
    }

    async fn tell(&self, run: &str, order: Order) {
        match self.runs.get(run) {
            // A run that is ending takes no orders.
            Some(run) => drop(run.orders.send(order).await),
            None => tracing::debug!(run, ?order, "no such run here"),
        }
    }

    async fn tell_all(&self, order: &Order) {
        for run in self.runs.values() {
            let _ = run.orders.send(order.clone()).await;
        }
    }
}

fn link_config(config: &Config, epoch: Epoch, anchor: TimeAnchor) -> LinkConfig {
    let hello = Hello {
        agent: config.id.to_string(),
        epoch: epoch.get(),
        site: config.site.to_string(),
        labels: config.labels.clone().into_iter().collect(),
        version: env!("CARGO_PKG_VERSION").into(),
        protocol_min: PROTOCOL,
        protocol_max: PROTOCOL,
        capacity: Some(Capacity {
            runtimes: u32::try_from(config.runtimes.get()).unwrap_or(u32::MAX),
            sessions: config.sessions.unwrap_or_default(),
            drivers: table::DRIVERS
                .iter()
                .map(|form| form.name)
                .chain(config.allow_commands.then_some("command"))
                .map(str::to_owned)
                .collect(),
        }),
    };
    let policy = Policy {
        backoff_first: limits::LINK_BACKOFF_FIRST,
        backoff_most: limits::LINK_BACKOFF_MOST,
        answer_within: limits::LINK_ANSWER,
        give_up: config.give_up,
        jitter_seed: epoch.get(),
    };
    LinkConfig {
        coordinator: config.coordinator.clone(),
        hello,
        policy,
        anchor,
    }
}
