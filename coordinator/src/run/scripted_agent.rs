//! Agents that are scripts: good ones, and one for each way to be a bad one.
use crate::registry::{Hello, Membership, Outgoing, RegistryHandle, Vitals};
use crate::run::{AgentInput, FromAgent};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use testmesh_proto::v1::{self, coordinator_message::Kind};
use testmesh_shared::id::{BatchSeq, Epoch, RunId, Site};
use testmesh_shared::metric::{Histogram, LabelSet, MetricId};
use testmesh_shared::wire::BatchBuilder;
use tokio::sync::mpsc;

/// What a scripted agent does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    Good,
    /// Refuses the plan.
    Refuses,
    /// Never says Armed.
    NeverArms,
    /// Its link breaks in the middle, and it does not come back.
    Breaks,
    /// Falls silent in the middle.
    FallsSilent,
    /// Its link breaks in the middle; it comes back and repeats everything.
    Returns,
    /// Never says Drained.
    NeverDrains,
    /// Leaves batches out.
    SkipsBatches,
    /// Sends a batch of strings that are not there.
    SendsNonsense,
    /// Measures the future.
    MeasuresTheFuture,
    /// Counts sessions that nobody knows the end of.
    ForgetsSessions,
    /// Fails setup.
    FailsSetup,
    /// Its link breaks as it is told this for the first time, so that it never hears it; it comes back.
    Misses(Order),
    /// Drains like a good one, and its process ends before anyone tells it to tear down.
    LeavesDrained,
    /// Says that setup is done, although nobody asked it.
    ClaimsSetup,
}

/// What an agent is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Prepare,
    SetUp,
    Start,
    Stop,
    TearDown,
}

fn order(message: &v1::CoordinatorMessage) -> Option<Order> {
    Some(match message.kind.as_ref()? {
        Kind::Prepare(_) => Order::Prepare,
        Kind::SetUp(_) => Order::SetUp,
        Kind::Start(_) => Order::Start,
        Kind::Stop(_) => Order::Stop,
        Kind::TearDown(_) => Order::TearDown,
        _ => return None,
    })
}

/// Where a scripted agent is in its run.
#[derive(Clone, Copy, Debug)]
enum Step {
    First,
    Last,
}

pub(super) struct Agent {
    registry: RegistryHandle,
    habit: Habit,
    hello: Hello,
    pub(super) membership: Membership,
    messages: mpsc::Receiver<Outgoing>,
    run: String,
    batches: Vec<v1::Batch>,
    missed: bool,
}

impl Agent {
    pub(super) async fn join(registry: &RegistryHandle, index: usize, habit: Habit) -> Self {
        let hello = Hello {
            agent: format!("a{index}").parse().unwrap(),
            epoch: Epoch::new(7),
            site: Site::local(),
            labels: BTreeMap::new(),
            version: "0.1.0".into(),
            drivers: BTreeSet::from(["wait".to_owned()]),
            runtimes: 1,
        };
        let (outbound, messages) = mpsc::channel(64);
        let membership = registry.join(hello.clone(), outbound).await.unwrap();
        let (registry, run, batches) = (registry.clone(), String::new(), Vec::new());
        Self {
            registry,
            habit,
            hello,
            membership,
            messages,
            run,
            batches,
            missed: false,
        }
    }

    /// Dials again after its link broke, and repeats all that it said.
    async fn come_back(&mut self) {
        self.registry
            .detach(self.membership.id, "reset".into())
            .await;
        let (outbound, messages) = mpsc::channel(64);
        self.membership = self
            .registry
            .join(self.hello.clone(), outbound)
            .await
            .unwrap();
        self.messages = messages;
        for batch in self.batches.clone() {
            self.say(AgentInput::Batch(Box::new(batch))).await;
        }
        if !self.run.is_empty() {
            self.say(AgentInput::Armed).await;
        }
    }

    async fn say(&self, message: AgentInput) {
        let assignment = self.membership.assignment.borrow().clone();
        if let Some(assignment) = assignment {
            let _ = assignment
                .inbox
                .send(FromAgent {
                    agent: assignment.agent,
                    message,
                })
                .await;
        }
    }

    /// Lives until its link is closed, or until its habit ends it.
    pub(super) async fn live(mut self) {
        let mut heartbeat = tokio::time::interval(Duration::from_secs(1));
        let mut work: Option<(tokio::time::Instant, Step)> = None;
        loop {
            let due = async {
                match work {
                    Some((at, _)) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = heartbeat.tick() => {
                    let vitals = Vitals { clock_uncertainty_ns: 1_000, ..Vitals::default() };
                    self.registry.heard(self.membership.id, Some(vitals)).await;
                    self.say(AgentInput::Heartbeat(vitals)).await;
                }
                () = due => {
                    let (_, step) = work.take().expect("only what is due wakes");
                    let Some(next) = self.work(step).await else { return };
                    work = next;
                }
                message = self.messages.recv() => match message {
                    Some(Outgoing::Message(message)) => {
                        let misses = order(&message).is_some_and(|order| self.habit == Habit::Misses(order));
                        if misses && !std::mem::replace(&mut self.missed, true) {
                            self.come_back().await;
                            continue;
                        }
                        // A Start that comes again is a repetition.
                        let first = work.is_none() && self.batches.is_empty();
                        if let Some(Kind::Start(_)) = &message.kind
                            && first
                        {
                            work = Some((tokio::time::Instant::now() + Duration::from_secs(2), Step::First));
                        }
                        self.take(message).await;
                    }
                    Some(Outgoing::Refuse(_) | Outgoing::Close(_)) | None => return,
                }
            }
        }
    }

    async fn take(&mut self, message: v1::CoordinatorMessage) {
        match message.kind {
            Some(Kind::Prepare(prepare)) => {
                self.run = prepare.run.clone();
                self.batches.clear();
                match self.habit {
                    Habit::NeverArms => {}
                    Habit::Refuses => {
                        let (run, reason) = (prepare.run, "no secret `x` here".into());
                        self.say(AgentInput::Refused(v1::Refused {
                            run,
                            reason,
                            problems: Vec::new(),
                        }))
                        .await;
                    }
                    _ => self.say(AgentInput::Armed).await,
                }
            }
            Some(Kind::SetUp(set_up)) => {
                let error = if self.habit == Habit::FailsSetup {
                    "503"
                } else {
                    ""
                };
                let (error, saves) = (error.to_owned(), r#"{"token":1}"#.to_owned());
                self.say(AgentInput::SetUpDone(v1::SetUpDone {
                    run: set_up.run,
                    error,
                    saves,
                }))
                .await;
            }
            Some(Kind::Start(start))
                if self.hello.agent.as_str() == "a0" && !start.saves.is_empty() =>
            {
                assert_eq!(start.saves, r#"{"token":1}"#);
            }
            Some(Kind::Start(start)) if self.habit == Habit::ClaimsSetup => {
                let (run, error) = (start.run, String::new());
                let saves = r#"{"token":"mine"}"#.to_owned();
                let done = v1::SetUpDone { run, error, saves };
                self.say(AgentInput::SetUpDone(done)).await;
            }
            Some(Kind::Stop(_)) => self.drain().await,
            Some(Kind::TearDown(tear_down)) => {
                assert_eq!(tear_down.saves, r#"{"token":1}"#);
                let done = v1::TearDownDone {
                    run: tear_down.run,
                    error: String::new(),
                };
                self.say(AgentInput::TearDownDone(done)).await;
            }
            _ => {}
        }
    }

    /// Two sessions pass and two are in flight; then the habit shows. None: the agent is gone.
    async fn work(&mut self, step: Step) -> Option<Option<(tokio::time::Instant, Step)>> {
        match step {
            Step::First => {
                self.ship(1, 4, 2).await;
                self.misbehave().await.then(|| {
                    let healthy =
                        !matches!(self.habit, Habit::SendsNonsense | Habit::MeasuresTheFuture);
                    healthy.then(|| {
                        (
                            tokio::time::Instant::now() + Duration::from_secs(9),
                            Step::Last,
                        )
                    })
                })
            }
            Step::Last => {
                if self.habit != Habit::ForgetsSessions {
                    self.ship(2, 0, 2).await;
                }
                if self.habit != Habit::NeverDrains {
                    self.drain().await;
                }
                if self.habit == Habit::LeavesDrained {
                    let why = "it said goodbye".into();
                    self.registry.leave(self.membership.id, why).await;
                    return None;
                }
                Some(None)
            }
        }
    }

    /// What goes wrong in the middle. False: the agent is gone.
    async fn misbehave(&mut self) -> bool {
        match self.habit {
            Habit::Breaks => {
                self.registry
                    .detach(self.membership.id, "reset".into())
                    .await;
                return false;
            }
            // Its process hangs: the link stays, and says nothing.
            Habit::FallsSilent => std::future::pending().await,
            Habit::Returns => {
                self.come_back().await;
            }
            Habit::SendsNonsense => {
                let labels = Some(v1::Labels {
                    metric: 99,
                    pairs: Vec::new(),
                });
                let counters = vec![v1::CounterDelta {
                    labels,
                    second: 0,
                    value: 1,
                }];
                let batch = v1::Batch {
                    run: self.run.clone(),
                    epoch: 7,
                    seq: 2,
                    counters,
                    ..v1::Batch::default()
                };
                self.say(AgentInput::Batch(Box::new(batch))).await;
            }
            Habit::MeasuresTheFuture => self.ship(5_000, 0, 2).await,
            _ => {}
        }
        true
    }

    async fn ship(&mut self, second: u32, started: u64, passed: u64) {
        let seq = u64::try_from(self.batches.len()).unwrap() + 1;
        let seq = if self.habit == Habit::SkipsBatches {
            seq + 1
        } else {
            seq
        };
        let run: RunId = self.run.parse().unwrap();
        let mut batch = BatchBuilder::new(&run, Epoch::new(7), BatchSeq::new(seq), second);
        let labels = LabelSet::new(&[("scenario", "s")]).unwrap();
        batch.counter(MetricId::SessionsStarted, &labels, second, started);
        batch.counter(MetricId::SessionsPassed, &labels, second, passed);
        batch.gauge(MetricId::SessionsActive, &labels, second, 2.0);
        batch.in_flight("s", started.saturating_sub(passed));
        let labels = [("scenario", "s"), ("stage", "nap"), ("outcome", "passed")];
        let mut naps = Histogram::new();
        naps.record(1_000_000_000).unwrap();
        batch.trend(
            MetricId::StageDuration,
            &LabelSet::new(&labels).unwrap(),
            second,
            &naps,
        );
        let batch = batch.build();
        self.batches.push(batch.clone());
        self.say(AgentInput::Batch(Box::new(batch))).await;
    }

    async fn drain(&self) {
        let skipped = u64::from(self.habit == Habit::SkipsBatches);
        let last_seq = u64::try_from(self.batches.len()).unwrap() + skipped;
        let drained = v1::Drained {
            run: self.run.clone(),
            epoch: 7,
            last_seq,
            started_late_ns: 5_000,
        };
        self.say(AgentInput::Drained(drained)).await;
    }
}
