//! One assignment: the control side of one run on one agent.
//!
//! Runs on the agent's own runtime. It turns the coordinator's messages into commands for the workers, merges what they
//! measured into one batch a second, and says what is so (armed, set up, drained) again after each reconnect: a coordinator
//! takes every message as often as it comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use testmesh_proto::v1::agent_message::Kind as Outgoing;
use testmesh_proto::v1::{self, Armed, Drained, SetUpDone, Start, TearDown, TearDownDone};
use testmesh_shared::clock::{OffsetEstimate, TimeAnchor};
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::terminate::Stop;
use super::watched::Seen;
use super::worker::{RunCommand, RunEvent, Saves};
use crate::fault::{Faults, Told};
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
    /// Do something about a fault.
    Fault(v1::Fault),
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
    /// The run's faults on this agent.
    pub faults: Faults,
    /// What they say.
    pub fault_says: mpsc::Receiver<Told>,
    /// Their names, by their number in the plan.
    pub fault_names: Vec<String>,
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
    /// Faults that this agent may hold.
    held: BTreeSet<String>,
    /// When the first session passed after a fault, as it was told, in coordinator time.
    recovered: BTreeMap<usize, i64>,
    /// The agent is leaving: the run ends once it is drained, acknowledged, and holds no fault.
    leaving: bool,
    /// How long it waits for that.
    leave_at: Option<Instant>,
}

/// What the loop woke up for.
enum Woken {
    Ordered(Option<Order>),
    Happened(RunEvent),
    FaultSaid(Told),
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
            held: BTreeSet::new(),
            recovered: BTreeMap::new(),
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
                Woken::FaultSaid(told) => self.fault_said(told),
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
        let done = self.own.reporter.is_acknowledged() && self.queue.is_empty();
        (done && self.held.is_empty()) || Instant::now() >= leave_at
    }

    async fn wake(&mut self) -> Woken {
        let blocked = self.connected && self.has_more();
        tokio::select! {
            order = self.own.orders.recv() => Woken::Ordered(order),
            Some(event) = self.own.events.recv() => Woken::Happened(event),
            Some(told) = self.own.fault_says.recv() => Woken::FaultSaid(told),
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
                self.own.faults.leave();
                self.stop(stop).await;
            }
            Order::TearDown(tear_down) => {
                let saves = Arc::new(parse_saves(&tear_down.saves));
                if !std::mem::replace(&mut self.torn_down, true) {
                    self.command_first(RunCommand::TearDown { saves }).await;
                }
            }
            Order::Fault(order) => self.fault(order).await,
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
        let at = self.instant(start.at_ns).unwrap_or(now);
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

    /// An instant of this process; none if its clock cannot say it.
    fn instant(&self, coordinator_ns: i64) -> Option<Instant> {
        let offset = self.own.offset.borrow().offset();
        let ours = offset.map_or(coordinator_ns, |clock| clock.ours(coordinator_ns));
        self.own.anchor.instant(ours)
    }

    /// In coordinator time, nanoseconds since the Unix epoch.
    fn coordinator_ns(&self, at: Instant) -> i64 {
        let ours = self.own.anchor.unix_ns(at);
        let offset = self.own.offset.borrow().offset();
        offset.map_or(ours, |clock| clock.theirs(ours))
    }

    async fn fault(&mut self, order: v1::Fault) {
        match order.order() {
            v1::fault::Order::Watch => {
                let names = &self.own.fault_names;
                let fault = names.iter().position(|name| *name == order.fault);
                if let (Some(fault), Some(since)) = (fault, self.instant(order.since_ns)) {
                    self.command_all(&RunCommand::Watch { fault, since }).await;
                }
            }
            v1::fault::Order::Inject if self.leaving => {
                // What could not be put right any more is not broken.
                tracing::warn!(fault = order.fault, "not injected: this agent is leaving");
            }
            what => {
                if what == v1::fault::Order::Inject {
                    self.held.insert(order.fault.clone());
                }
                self.own.faults.order(&order);
            }
        }
    }

    fn fault_said(&mut self, told: Told) {
        if !told.is_open() {
            self.held.remove(&told.fault);
        }
        let at_ns = self.coordinator_ns(told.at);
        let state = told.state();
        self.say_of_fault(v1::FaultState {
            run: self.own.run.clone(),
            fault: told.fault,
            state: state.into(),
            at_ns,
            detail: told.detail,
            unasked: told.unasked,
            scenario: String::new(),
        });
    }

    fn seen(&mut self, seen: Seen) {
        match seen {
            Seen::StagePassed {
                scenario,
                stage,
                at,
            } => {
                // Each worker tells it once; the first of them counts.
                let known = |said: &Outgoing| {
                    matches!(said, Outgoing::StageFirstPassed(first)
                        if first.scenario == scenario && first.stage == stage)
                };
                if !self.said.iter().any(known) {
                    let at_ns = self.coordinator_ns(at);
                    let run = self.own.run.clone();
                    self.say(Outgoing::StageFirstPassed(v1::StageFirstPassed {
                        run,
                        scenario,
                        stage,
                        at_ns,
                    }));
                }
            }
            Seen::Recovered {
                fault,
                scenario,
                at,
            } => {
                let at_ns = self.coordinator_ns(at);
                let first = self.recovered.entry(fault).or_insert(i64::MAX);
                let name = self.own.fault_names.get(fault).cloned();
                if let (Some(name), true) = (name, at_ns < *first) {
                    *first = at_ns;
                    self.say_of_fault(v1::FaultState {
                        run: self.own.run.clone(),
                        fault: name,
                        state: v1::fault_state::State::Recovered.into(),
                        at_ns,
                        detail: String::new(),
                        unasked: false,
                        scenario,
                    });
                }
            }
        }
    }

    /// Of a fault, what was said last is repeated after a reconnect, and not its whole story.
    fn say_of_fault(&mut self, state: v1::FaultState) {
        let recovered = v1::fault_state::State::Recovered;
        let is_recovery = state.state() == recovered;
        self.said.retain(|said| {
            !matches!(said, Outgoing::FaultState(other)
                if other.fault == state.fault && (other.state() == recovered) == is_recovery)
        });
        self.say(Outgoing::FaultState(state));
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
            RunEvent::Seen(seen) => self.seen(seen),
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
