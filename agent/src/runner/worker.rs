//! Workers: threads with a single-threaded runtime each, to which sessions are pinned.
//!
//! A worker takes runs; for each it keeps one recorder, one loop per scenario, and tells the run's assignment, once a
//! second, what was measured. It never waits for the assignment: if that does not listen, the next cut is larger.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use testmesh_shared::clock::TimeAnchor;
use testmesh_shared::load::WorkerShare;
use testmesh_shared::metric::LOOP_LAG_EVERY;
use testmesh_shared::plan::{Begin, Plan};
use testmesh_shared::telemetry::{SpanSink, Traceparent, traceparent::Origin};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet, LocalSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::context::{Part, RunContext, RunFacts, ScenarioContext};
use super::pool::SessionPool;
use super::scenario::{Beginning, Ended, ScenarioLoop};
use super::session::{self, Ending, SessionEnd, SessionStart};
use super::terminate::{Stop, Terminator};
use super::trace::Tracer;
use super::watched::Seen;
use crate::driver::connections::Shared;
use crate::driver::{Connections, Gate};
use crate::integrity::MeshClock;
use crate::limits;
use crate::recorder::{Catalog, Delta, Recorder, RunClock};

/// What setup saved.
pub type Saves = serde_json::Map<String, serde_json::Value>;

/// What an assignment asks of one worker.
#[derive(Clone, Debug)]
pub enum RunCommand {
    /// Run the plan's setup stages.
    SetUp,
    /// Start the scenarios.
    Start {
        /// When.
        at: Instant,
        /// What setup saved.
        saves: Arc<Saves>,
    },
    /// Stop them.
    Stop(Stop),
    /// Run a stage of a fault; a stop does not cut it, and its own time-out does.
    Fault {
        /// The fault's number in the plan.
        fault: usize,
        /// Which of its stages.
        part: FaultPart,
        /// Hears how it ended.
        done: mpsc::Sender<Result<(), String>>,
    },
    /// Look for the first session that started after a fault's end and passes.
    Watch {
        /// The fault's number in the plan.
        fault: usize,
        /// Its end.
        since: Instant,
    },
    /// Run the plan's teardown stages.
    TearDown {
        /// What setup saved.
        saves: Arc<Saves>,
    },
}

/// A part of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultPart {
    /// What injects it.
    Inject,
    /// What reverts it.
    Revert,
}

/// What a worker tells an assignment.
#[derive(Debug)]
pub enum RunEvent {
    /// What it measured since its last cut.
    Measured {
        /// Its number.
        worker: usize,
        /// The measurements.
        delta: Box<Delta>,
    },
    /// Something that a fault waits for.
    Seen(Seen),
    /// Setup is over.
    SetUpDone(Result<Saves, String>),
    /// No session is in flight and none will start. Its measurements were sent before.
    Drained {
        /// How late it started.
        late: Duration,
    },
    /// Teardown is over.
    TearDownDone(Result<(), String>),
}

/// One run for one worker.
#[derive(Debug)]
pub struct WorkerRun {
    /// The run.
    pub facts: Arc<RunFacts>,
    /// Numbers its series, for all workers alike.
    pub catalog: Arc<Catalog>,
    /// What this worker runs of each scenario, in the plan's order; none: no part.
    pub shares: Vec<Option<WorkerShare>>,
    /// What drivers share over all workers of this agent.
    pub shared: Arc<Shared>,
    /// How far the workers of this agent are.
    pub ended: Arc<Ended>,
    /// Where kept spans go.
    pub spans: Option<SpanSink>,
    /// The run's span.
    pub traceparent: Option<Traceparent>,
    /// The process's clock.
    pub anchor: TimeAnchor,
    /// The coordinator's clock.
    pub clock: MeshClock,
    /// What the assignment asks. Closed: the run is released.
    pub commands: mpsc::Receiver<RunCommand>,
    /// What the assignment hears.
    pub events: mpsc::Sender<RunEvent>,
}

/// Which worker of how many.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its number, from 0.
    pub worker: usize,
    /// How many there are.
    pub of: usize,
    /// The agent's bound on connects in flight.
    pub gate: Arc<Gate>,
}

/// The worker threads of an agent. They end when this is dropped and their runs are over.
#[derive(Debug)]
pub struct Workers {
    runs: Vec<mpsc::Sender<WorkerRun>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts so many threads.
    ///
    /// # Errors
    ///
    /// If the system grants no thread or no runtime.
    pub fn start(count: usize, gate: &Arc<Gate>) -> io::Result<Self> {
        let mut workers = Self {
            runs: Vec::new(),
            threads: Vec::new(),
        };
        for worker in 0..count {
            let place = Place {
                worker,
                of: count,
                gate: Arc::clone(gate),
            };
            let (runs, taken) = mpsc::channel(limits::RUNS);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let thread = std::thread::Builder::new().name(format!("worker-{worker}"));
            let thread =
                thread.spawn(move || LocalSet::new().block_on(&runtime, serve(place, taken)))?;
            workers.runs.push(runs);
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.runs.len()
    }

    /// Where one worker takes its runs.
    pub fn runs(&self, worker: usize) -> &mpsc::Sender<WorkerRun> {
        &self.runs[worker]
    }

    /// Lets the threads end and waits for them. Blocking: what runs on them is bounded by its own time-outs.
    ///
    /// # Errors
    ///
    /// The number of a worker that panicked.
    pub fn join(self) -> Result<(), usize> {
        drop(self.runs);
        let mut result = Ok(());
        for (worker, thread) in self.threads.into_iter().enumerate() {
            if thread.join().is_err() {
                result = Err(worker);
            }
        }
        result
    }
}

/// Takes runs until there will be no more and all are over.
pub async fn serve(place: Place, mut runs: mpsc::Receiver<WorkerRun>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            run = runs.recv() => match run {
                Some(run) => { running.spawn_local(run.run(place.clone())); }
                None => break,
            },
            Some(ended) = running.join_next() => report_panic(ended),
        }
    }
    while let Some(ended) = running.join_next().await {
        report_panic(ended);
    }
}

fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a worker's run panicked");
    }
}

/// When a scenario of a run that starts at `start` begins.
fn beginning(plan: &Plan, position: usize, start: Instant) -> Beginning {
    let scenario = &plan.scenarios[position];
    if let Some(offset) = plan.begins(scenario) {
        return Beginning::At(start + offset);
    }
    let awaited = match &scenario.begin {
        Begin::After(name) => plan.scenarios.iter().position(|one| one.name == *name),
        Begin::At(_) => None,
    };
    // The reader lets nobody wait for what is not there.
    awaited.map_or(Beginning::At(start), |awaited| {
        Beginning::After(awaited, start)
    })
}

/// A run on a worker, while it runs.
struct Working {
    place: Place,
    run: WorkerRun,
    context: Rc<RunContext>,
    stop: watch::Sender<Stop>,
    scenarios: JoinSet<Duration>,
    /// Scenarios were started and are not all over.
    busy: bool,
    late: Duration,
    once: JoinSet<(Part, SessionEnd)>,
    faults: JoinSet<()>,
    interrupt: CancellationToken,
    /// When the loop is sampled next.
    lag: Option<Instant>,
}

/// What a worker woke up for.
enum Woken {
    Asked(Option<RunCommand>),
    Ended(Result<Duration, JoinError>),
    OnceEnded(Result<(Part, SessionEnd), JoinError>),
    /// Whoever waits for it hears of a panic by the end of its channel.
    FaultEnded(Result<(), JoinError>),
    Seen(Vec<Seen>),
    Cut,
    Lag(Instant),
}

impl WorkerRun {
    /// Runs until the assignment hangs up.
    async fn run(self, place: Place) {
        let [worker, workers] = [place.worker, place.of]
            .map(|number| u32::try_from(number).expect("the number of runtimes is bounded"));
        // Of this run alone: another's targets may have the same names, and other ways to trust.
        let connections = Connections::worker(worker, workers, &place.gate).sharing(&self.shared);
        let recorder = Recorder::new(RunClock::new(), Arc::clone(&self.catalog));
        let facts = Arc::clone(&self.facts);
        let tracer = Tracer {
            sink: self.spans.clone(),
            rules: facts.plan.trace.clone(),
            run: self
                .traceparent
                .map(|parent| parent.span_context(Origin::Remote)),
            seeds: facts.seeds().child("trace").child(facts.run.as_str()),
            anchor: self.anchor,
        };
        let context = RunContext::new(facts, recorder, tracer, connections);
        let context = Rc::new(context.with_clock(self.clock.clone()));
        let working = Working {
            place,
            run: self,
            context,
            stop: watch::channel(Stop::No).0,
            scenarios: JoinSet::new(),
            busy: false,
            late: Duration::ZERO,
            once: JoinSet::new(),
            faults: JoinSet::new(),
            interrupt: CancellationToken::new(),
            lag: None,
        };
        working.work().await;
    }
}

impl Working {
    async fn work(mut self) {
        let mut cut_at = self.next_cut();
        loop {
            let woken = self.wake(cut_at).await;
            match woken {
                Woken::Asked(Some(command)) => {
                    self.perform(command);
                    cut_at = cut_at.min(self.next_cut());
                }
                Woken::Asked(None) => break,
                Woken::Ended(Ok(late)) => self.late = self.late.max(late),
                // What it had started is lost with it: the ledger will not balance, and the verdict says so.
                Woken::Ended(Err(error)) => tracing::error!(%error, "a scenario panicked"),
                Woken::OnceEnded(Ok((part, end))) => self.once_ended(part, end).await,
                Woken::OnceEnded(Err(error)) => self.once_panicked(&error).await,
                Woken::FaultEnded(ended) => report_panic(ended),
                Woken::Seen(all) => {
                    for seen in all {
                        self.send(RunEvent::Seen(seen)).await;
                    }
                }
                Woken::Lag(due) => self.sample_lag(due),
                Woken::Cut => {
                    cut_at = match self.cut() {
                        true => self.next_cut(),
                        false => Instant::now() + limits::CUT_AGAIN,
                    }
                }
            }
            if self.busy && self.scenarios.is_empty() {
                self.busy = false;
                self.lag = None;
                self.send_cut().await;
                self.send(RunEvent::Drained { late: self.late }).await;
            }
        }
        // Released in mid-run: sessions are cut, their cleanup still runs, nobody listens.
        self.perform(RunCommand::Stop(Stop::Abort));
        while self.scenarios.join_next().await.is_some() {}
        while self.once.join_next().await.is_some() {}
        while self.faults.join_next().await.is_some() {}
    }

    async fn wake(&mut self, cut_at: Instant) -> Woken {
        let lag = async {
            match self.lag {
                Some(due) => {
                    sleep_until(due).await;
                    due
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = self.run.commands.recv() => Woken::Asked(command),
            Some(ended) = self.scenarios.join_next() => Woken::Ended(ended),
            Some(ended) = self.once.join_next() => Woken::OnceEnded(ended),
            Some(ended) = self.faults.join_next() => Woken::FaultEnded(ended),
            seen = self.context.watched.seen() => Woken::Seen(seen),
            () = sleep_until(cut_at) => Woken::Cut,
            () = self.context.recorder.room_is_short() => Woken::Cut,
            due = lag => Woken::Lag(due),
        }
    }

    fn perform(&mut self, command: RunCommand) {
        match command {
            RunCommand::Fault { fault, part, done } => self.run_fault(fault, part, done),
            RunCommand::Watch { fault, since } => {
                let of_plan = self.context.facts.plan.faults.get(fault);
                let scenario = of_plan.and_then(|fault| fault.recovery.clone());
                self.context.watched.watch(fault, since, scenario);
            }
            RunCommand::SetUp => self.run_once(Part::SetUp),
            RunCommand::TearDown { saves } => {
                self.context.set_saves(&saves);
                self.run_once(Part::TearDown);
            }
            RunCommand::Start { at, saves } => {
                self.context.set_saves(&saves);
                self.context.recorder.clock().start_at(at);
                self.start_scenarios(at);
            }
            RunCommand::Stop(stop) => {
                self.stop.send_if_modified(|known| {
                    let stronger = stop > *known;
                    *known = stop.max(*known);
                    stronger
                });
                if stop == Stop::Abort {
                    self.interrupt.cancel();
                    // Teardown comes after, and runs unless it is aborted itself.
                    self.interrupt = CancellationToken::new();
                }
            }
        }
    }

    fn start_scenarios(&mut self, at: Instant) {
        self.busy = true;
        let agent = self.context.facts.agent.as_str();
        self.context.recorder.watch_loop(agent);
        self.lag = Some(at.max(Instant::now()) + LOOP_LAG_EVERY);
        let shares = std::mem::take(&mut self.run.shares);
        for (position, share) in shares.into_iter().enumerate() {
            let Some(share) = share else {
                self.run.ended.end(position);
                continue;
            };
            let scenario = Rc::new(ScenarioContext::new(
                &self.context.facts.plan,
                Part::Scenario(position),
            ));
            let of_plan = scenario
                .scenario()
                .expect("it was made from a scenario of the plan");
            let pacer = of_plan.load.pacer(share);
            let terminator = Terminator {
                end: of_plan.load.end(),
                graceful_stop: of_plan.graceful_stop,
            };
            let pool = SessionPool::new(&self.context, &scenario, pacer.planned());
            let stop = self.stop.subscribe();
            self.scenarios.spawn_local(
                ScenarioLoop {
                    pacer,
                    pool,
                    terminator,
                    stop,
                    begin: beginning(&self.context.facts.plan, position, at),
                    ended: Arc::clone(&self.run.ended),
                    place: position,
                }
                .run(),
            );
        }
    }

    fn run_once(&mut self, part: Part) {
        let scenario = Rc::new(ScenarioContext::new(&self.context.facts.plan, part));
        let start = SessionStart {
            index: 0,
            virtual_user: 0,
            connections: self.context.connections.for_virtual_user(),
        };
        let session = session::run(
            Rc::clone(&self.context),
            scenario,
            start,
            self.interrupt.child_token(),
        );
        self.once.spawn_local(async move { (part, session.await) });
    }

    /// What it measures comes with the next cut.
    fn run_fault(&mut self, fault: usize, part: FaultPart, done: mpsc::Sender<Result<(), String>>) {
        let part = match part {
            FaultPart::Inject => Part::Fault(fault),
            FaultPart::Revert => Part::Revert(fault),
        };
        let scenario = Rc::new(ScenarioContext::new(&self.context.facts.plan, part));
        let within = crate::fault::longest(scenario.stages());
        let start = SessionStart {
            index: 0,
            virtual_user: 0,
            connections: self.context.connections.for_virtual_user(),
        };
        let context = Rc::clone(&self.context);
        let session = session::run(context, scenario, start, CancellationToken::new());
        self.faults.spawn_local(async move {
            let result = match tokio::time::timeout(within, session).await {
                Err(_) => Err(format!("its stage did not end within {within:?}")),
                Ok(end) => match end.ending {
                    Ending::Passed => Ok(()),
                    Ending::Failed | Ending::Interrupted => {
                        Err(end.error.unwrap_or_else(|| "its stage failed".into()))
                    }
                },
            };
            // Nobody may wait for it any more.
            let _ = done.send(result).await;
        });
    }

    async fn once_ended(&mut self, part: Part, end: SessionEnd) {
        self.send_cut().await;
        let error = match end.ending {
            Ending::Passed => None,
            Ending::Failed => Some(end.error.unwrap_or_else(|| "a stage failed".into())),
            Ending::Interrupted => Some("interrupted by a stop".into()),
        };
        let event = match part {
            Part::SetUp => RunEvent::SetUpDone(error.map_or(Ok(end.saves), Err)),
            _ => RunEvent::TearDownDone(error.map_or(Ok(()), Err)),
        };
        self.send(event).await;
    }

    /// Whichever of the two it was, only the one that is waited for is heard.
    async fn once_panicked(&mut self, error: &JoinError) {
        let message = format!("a stage panicked, which is a defect of testmesh: {error}");
        tracing::error!(message);
        self.send(RunEvent::SetUpDone(Err(message.clone()))).await;
        self.send(RunEvent::TearDownDone(Err(message))).await;
    }

    fn sample_lag(&mut self, due: Instant) {
        let now = Instant::now();
        if let Some(next) = &mut self.lag {
            self.context.recorder.sampled_late(now, now - due);
            // From now on, not from when it was due.
            *next = now + LOOP_LAG_EVERY;
        }
    }

    /// Just after the end of the current second of the run.
    fn next_cut(&self) -> Instant {
        let now = Instant::now();
        match self.context.recorder.clock().started_at() {
            Some(start) if now >= start => {
                let seconds = u64::from(self.context.recorder.clock().second(now)) + 1;
                start + Duration::from_secs(seconds)
            }
            _ => now + Duration::from_secs(1),
        }
    }

    /// Cuts if the assignment has room; if not, the next cut is larger. Whether it did.
    fn cut(&self) -> bool {
        let Ok(permit) = self.run.events.try_reserve() else {
            return false;
        };
        permit.send(self.measured());
        true
    }

    async fn send_cut(&self) {
        let measured = self.measured();
        self.send(measured).await;
    }

    fn measured(&self) -> RunEvent {
        let delta = Box::new(self.context.recorder.cut(Instant::now()));
        RunEvent::Measured {
            worker: self.place.worker,
            delta,
        }
    }

    /// The assignment is gone once the run is released: then nobody needs to know.
    async fn send(&self, event: RunEvent) {
        let _ = self.run.events.send(event).await;
    }
}
