//! One assignment: the control side of one run on one agent.
//!
//! Runs on the agent's own runtime. It turns the coordinator's messages into commands for the workers, merges what they
//! measured into one batch a second, and says what is so (armed, set up, drained) again after each reconnect: a coordinator
//! takes every message as often as it comes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use testmesh_proto::v1::agent_message::Kind as Outgoing;
use testmesh_proto::v1::{Armed, Drained, SetUpDone, Start, TearDown, TearDownDone};
use testmesh_shared::clock::{OffsetEstimate, TimeAnchor};
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::terminate::Stop;
use super::worker::{RunCommand, RunEvent, Saves};
use crate::limits;
use crate::reporter::Reporter;

/// What the agent's loop passes to an assignment.
#[derive(Clone, Debug)]
pub enum Order {
    /// The coordinator can be reached again.
    Up,
    /// The coordinator cannot be reached.
    Down,
    /// Run setup.
    SetUp,
    /// Start.
    Start(Start),
    /// Stop.
    Stop(Stop),
    /// Stop, and end once everything measured is acknowledged: the agent is leaving.
    Leave(Stop),
    /// Run teardown.
    TearDown(TearDown),
    /// Everything up to this number is merged and durable.
    Ack {
        /// The epoch of the batches.
        epoch: u64,
        /// The number.
        seq: u64,
    },
}

/// Where an assignment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Ready; setup may be running.
    Armed,
    /// Scenarios run on so many workers still.
    Running { workers: usize },
    /// No session is in flight and none will start.
    Drained,
}

/// One assignment: run it once.
#[derive(Debug)]
pub struct Assignment {
    /// The run, for messages.
    pub run: String,
    /// This agent's epoch.
    pub epoch: u64,
    /// Makes batches.
    pub reporter: Reporter,
    /// One per worker.
    pub workers: Vec<mpsc::Sender<RunCommand>>,
    /// From all workers.
    pub events: mpsc::Receiver<RunEvent>,
    /// From the agent's loop. Closed: the run is released.
    pub orders: mpsc::Receiver<Order>,
    /// To the coordinator.
    pub out: mpsc::Sender<Outgoing>,
    /// The coordinator's clock.
    pub offset: watch::Receiver<OffsetEstimate>,
    /// This process's clock.
    pub anchor: TimeAnchor,
}

/// An assignment while it runs.
struct Active {
    own: Assignment,
    stage: Stage,
    connected: bool,
    /// The next batch to send; below it, all are sent on this connection.
    cursor: u64,
    /// What was said, to be repeated after a reconnect.
    said: Vec<Outgoing>,
    queue: VecDeque<Outgoing>,
    /// How late the latest worker started.
    late: Duration,
    report_at: Instant,
    /// Setup and teardown run once, however often they are asked for.
    set_up: bool,
    torn_down: bool,
    /// The agent is leaving: the run ends once it is drained and acknowledged.
    leaving: bool,
    /// How long it waits for that.
    leave_at: Option<Instant>,
}

/// What the loop woke up for.
enum Woken {
    Ordered(Option<Order>),
    Happened(RunEvent),
    Report,
    Room,
}

impl Assignment {
    /// Runs until it is released.
    pub async fn run(self) {
        let report_at = Instant::now() + limits::REPORT_EVERY;
        let active = Active {
            own: self,
            stage: Stage::Armed,
            connected: true,
            cursor: 1,
            said: Vec::new(),
            queue: VecDeque::new(),
            late: Duration::ZERO,
            report_at,
            set_up: false,
            torn_down: false,
            leaving: false,
            leave_at: None,
        };
        active.work().await;
    }
}

impl Active {
    async fn work(mut self) {
        self.say(Outgoing::Armed(Armed {
            run: self.own.run.clone(),
        }));
        loop {
            match self.wake().await {
                Woken::Ordered(Some(order)) => self.obey(order).await,
                Woken::Ordered(None) => break,
                Woken::Happened(event) => self.take_in(event),
                Woken::Report => {
                    self.own.reporter.report();
                    self.report_at = Instant::now() + limits::REPORT_EVERY;
                }
                Woken::Room => {}
            }
            self.send();
            if self.may_leave() {
                break;
            }
            // Merging takes its time, and what was just sent, heartbeats above all, may wait behind this very task.
            yield_now().await;
        }
    }

    /// Reports come often enough to look at the clock.
    fn may_leave(&mut self) -> bool {
        if !self.leaving || self.stage != Stage::Drained {
            return false;
        }
        let leave_at = *self
            .leave_at
            .get_or_insert_with(|| Instant::now() + limits::LEAVING);
        (self.own.reporter.is_acknowledged() && self.queue.is_empty()) || Instant::now() >= leave_at
    }

    async fn wake(&mut self) -> Woken {
        let blocked = self.connected && self.has_more();
        tokio::select! {
            order = self.own.orders.recv() => Woken::Ordered(order),
            Some(event) = self.own.events.recv() => Woken::Happened(event),
            () = sleep_until(self.report_at) => Woken::Report,
            Ok(_) = self.own.out.reserve(), if blocked => Woken::Room,
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Up => {
                self.connected = true;
                self.cursor = 0;
                self.queue = self.said.iter().cloned().collect();
            }
            Order::Down => self.connected = false,
            // A coordinator asks again after a reconnect: what is under way is not begun twice.
            Order::SetUp => {
                if !std::mem::replace(&mut self.set_up, true) {
                    self.command_first(RunCommand::SetUp).await;
                }
            }
            Order::Start(start) => self.start(start).await,
            Order::Stop(stop) => self.stop(stop).await,
            Order::Leave(stop) => {
                self.leaving = true;
                self.stop(stop).await;
            }
            Order::TearDown(tear_down) => {
                let saves = Arc::new(parse_saves(&tear_down.saves));
                if !std::mem::replace(&mut self.torn_down, true) {
                    self.command_first(RunCommand::TearDown { saves }).await;
                }
            }
            Order::Ack { epoch, seq } if epoch == self.own.epoch => {
                self.own.reporter.acknowledge(seq)
            }
            Order::Ack { .. } => {}
        }
    }

    /// A second Start is a repetition, and ignored.
    async fn start(&mut self, start: Start) {
        if self.stage != Stage::Armed {
            return;
        }
        let saves = Arc::new(parse_saves(&start.saves));
        let now = Instant::now();
        let ours = self
            .own
            .offset
            .borrow()
            .offset()
            .map_or(start.at_ns, |clock| clock.ours(start.at_ns));
        let at = self.own.anchor.instant(ours).unwrap_or(now);
        tracing::info!(
            run = self.own.run,
            in_ms = (at.saturating_duration_since(now)).as_millis(),
            "starting"
        );
        self.stage = Stage::Running {
            workers: self.own.workers.len(),
        };
        self.own.reporter.started();
        self.command_all(&RunCommand::Start { at, saves }).await;
    }

    /// A run that never started is drained at once; setup, if it runs, is cut only by an abort.
    async fn stop(&mut self, stop: Stop) {
        self.command_all(&RunCommand::Stop(stop)).await;
        if self.stage == Stage::Armed {
            self.drained();
        }
    }

    fn take_in(&mut self, event: RunEvent) {
        let run = self.own.run.clone();
        match event {
            RunEvent::Measured { worker, delta } => {
                self.own.reporter.add(worker, *delta);
                if self.own.reporter.is_large() {
                    self.own.reporter.report();
                }
            }
            RunEvent::SetUpDone(result) => {
                let (error, saves) = match result {
                    Ok(saves) => (String::new(), serde_json::Value::Object(saves).to_string()),
                    Err(error) => (error, "{}".into()),
                };
                self.own.reporter.report_all();
                self.say(Outgoing::SetUpDone(SetUpDone { run, error, saves }));
            }
            RunEvent::TearDownDone(result) => {
                self.own.reporter.report_all();
                self.say(Outgoing::TearDownDone(TearDownDone {
                    run,
                    error: result.err().unwrap_or_default(),
                }));
            }
            RunEvent::Drained { late } => {
                self.late = self.late.max(late);
                if let Stage::Running { workers } = &mut self.stage {
                    *workers -= 1;
                    if *workers == 0 {
                        self.drained();
                    }
                }
            }
        }
    }

    fn drained(&mut self) {
        self.stage = Stage::Drained;
        self.own.reporter.report_all();
        let message = Drained {
            run: self.own.run.clone(),
            epoch: self.own.epoch,
            last_seq: self.own.reporter.last_seq(),
            started_late_ns: i64::try_from(self.late.as_nanos()).unwrap_or(i64::MAX),
        };
        tracing::info!(run = message.run, batches = message.last_seq, "drained");
        self.say(Outgoing::Drained(message));
    }

    /// Says something now, and again after each reconnect.
    fn say(&mut self, message: Outgoing) {
        self.said.push(message.clone());
        self.queue.push_back(message);
    }

    fn has_more(&self) -> bool {
        !self.queue.is_empty() || self.own.reporter.batch_from(self.cursor).is_some()
    }

    /// Sends what there is room for: batches first, because what is said may count on them.
    fn send(&mut self) {
        while self.connected {
            let Ok(permit) = self.own.out.try_reserve() else {
                return;
            };
            if let Some(batch) = self.own.reporter.batch_from(self.cursor) {
                self.cursor = batch.seq + 1;
                permit.send(Outgoing::Batch(batch.clone()));
            } else if let Some(message) = self.queue.pop_front() {
                permit.send(message);
            } else {
                return;
            }
        }
    }

    async fn command_first(&self, command: RunCommand) {
        if let Some(first) = self.own.workers.first() {
            // A worker that is gone has panicked, which its thread's end tells.
            let _ = first.send(command).await;
        }
    }

    async fn command_all(&self, command: &RunCommand) {
        for worker in &self.own.workers {
            let _ = worker.send(command.clone()).await;
        }
    }
}

/// What setup saved; a coordinator that sends something else has said nothing.
fn parse_saves(text: &str) -> Saves {
    if text.is_empty() {
        return Saves::new();
    }
    serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::warn!(%error, "what setup saved could not be read");
        Saves::new()
    })
}
