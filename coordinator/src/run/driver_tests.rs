//! Whole runs under paused time: the real registry, runs and drivers, with agents that are scripts.
use crate::registry::lease::Terms;
use crate::registry::{Registry, RegistryHandle};
use crate::report::model::{EventKind, Report};
use crate::run::{
    Lifecycle, RunHandle, Runs, RunsHandle, Sealing, StopMode, Submission, Surroundings, Told,
};
use crate::store::{MemoryStore, RunStore};
use crate::verdict::Process;
use scripted_agent::{Agent, Habit, Order};
use std::sync::Arc;
use std::time::Duration;
use testmesh_agent::driver::DRIVERS;
use testmesh_shared::clock::TimeAnchor;
use testmesh_shared::id::RunId;
use testmesh_shared::plan::{self, NoFiles, Source, VarOverrides};
use testmesh_shared::shutdown::{Shutdown, Tasks};

#[path = "scripted_agent.rs"]
mod scripted_agent;

const PLAN: &str = "
testmesh: v1
name: naps
scenarios:
  s:
    load: { virtual_users: 2, for: 10s }
    graceful_stop: 5s
    stages:
      - name: nap
        wait: { for: 1s }
";

const WITH_SETUP: &str = "
testmesh: v1
name: naps
setup:
  - name: ready
    wait: { for: 1s }
teardown:
  - name: tidy
    wait: { for: 1s }
scenarios:
  s:
    load: { virtual_users: 2, for: 10s }
    stages:
      - name: nap
        wait: { for: 1s }
";

struct World {
    registry: RegistryHandle,
    runs: RunsHandle,
    store: Arc<MemoryStore>,
    tasks: Tasks,
}

impl World {
    fn start() -> Self {
        let tasks = Tasks::new(Shutdown::new());
        let terms = Terms {
            suspect_after: Duration::from_secs(3),
            lost_after: Duration::from_secs(10),
        };
        let (registry, handle) = Registry::new(terms);
        tasks.spawn("registry", registry.run(tasks.shutdown().clone()));
        let store = Arc::new(MemoryStore::new(10));
        let dyn_store: Arc<dyn RunStore> = Arc::<MemoryStore>::clone(&store);
        let surroundings = Surroundings {
            registry: handle.clone(),
            anchor: TimeAnchor::now(),
            tasks: tasks.clone(),
            sealing: Sealing {
                store: dyn_store,
                render: |_, _| Vec::new(),
                process: Process::Apart,
            },
        };
        let (runs, runs_handle) = Runs::new(surroundings);
        tasks.spawn("runs", runs.run(tasks.shutdown().clone()));
        Self {
            registry: handle,
            runs: runs_handle,
            store,
            tasks,
        }
    }

    async fn agents(&self, habits: &[Habit]) {
        for (index, habit) in habits.iter().enumerate() {
            let agent = Agent::join(&self.registry, index, *habit).await;
            self.tasks.spawn("agent", agent.live());
        }
    }

    async fn submit(&self, id: &str, text: &str, agents: u32) -> RunHandle {
        let source = Source {
            name: "plan.yaml",
            text,
            files: &NoFiles,
        };
        let (plan, _) = plan::load(source, &VarOverrides::default(), DRIVERS).unwrap();
        let id: RunId = id.parse().unwrap();
        let (plan, vars) = (Arc::new(plan), "{}".to_owned());
        let submission = Submission {
            narrowing: testmesh_shared::plan::Narrowing::default(),
            id: id.clone(),
            plan,
            vars,
            seed: 1,
            agents,
            parent: None,
        };
        self.runs.submit(submission).await.unwrap();
        self.runs.find(id).await.unwrap()
    }

    async fn report(&self, id: &str) -> Arc<Report> {
        self.store
            .find(&id.parse().unwrap())
            .await
            .unwrap()
            .unwrap()
            .report
    }
}

/// Waits until the run has told its end, and returns the states that it went through.
async fn ended(handle: &RunHandle) -> Vec<String> {
    let log = handle.log();
    let mut latest = log.watch();
    loop {
        let (told, over) = log.after(0);
        if over {
            let states = told.iter().filter_map(|told| match told {
                Told::Event(line) => match &line.kind {
                    EventKind::State { state, .. } => Some(state.clone()),
                    _ => None,
                },
                Told::Progress(..) => None,
            });
            return states.collect();
        }
        latest.changed().await.unwrap();
    }
}

fn summary(report: &Report) -> String {
    let codes: Vec<_> = report
        .reasons
        .iter()
        .map(|reason| reason.code.as_str())
        .collect();
    let s = report.sessions;
    format!(
        "{} {} [{}] started {} passed {} lost {}",
        report.verdict,
        report.exit_code,
        codes.join(" "),
        s.started,
        s.passed,
        s.lost
    )
}

async fn check(habits: &[Habit], plan: &str, expect: &str) -> Arc<Report> {
    let world = World::start();
    world.agents(habits).await;
    let handle = world.submit("r1", plan, 0).await;
    let began = tokio::time::Instant::now();
    ended(&handle).await;
    // Whatever agents do, a run of 10 s ends: after its graceful stop and the time to seal.
    assert!(
        began.elapsed() < Duration::from_secs(110),
        "{habits:?} took {:?}",
        began.elapsed()
    );
    let report = world.report("r1").await;
    assert_eq!(
        summary(&report),
        expect,
        "{habits:?}: {:#?}",
        report.reasons
    );
    assert!(world.tasks.panicked().is_none());
    report
}

#[tokio::test(start_paused = true)]
async fn a_broken_threshold_that_aborts_ends_the_run_which_has_failed() {
    let with = |rest: &str| {
        format!(
            "{PLAN}thresholds:\n  - {{ expr: max(stage_duration) < 500ms, abort: true{rest} }}\n"
        )
    };
    let habits = [Habit::Good, Habit::Good];
    // Sessions in flight are the scripts' to forget.
    let expect = "failed 100 [threshold_broken ledger_unbalanced] started 8 passed 4 lost 0";
    let report = check(&habits, &with(""), expect).await;
    assert!(report.run.duration < 5.0, "{}", report.run.duration);
    let message = &report.reasons[0].message;
    assert!(message.contains("which ended the run"), "{message}");
    let found = report.findings.iter().any(|one| one.code == "aborted");
    assert!(found, "{:?}", report.findings);
    // Without `abort`, and before its time, the run goes on.
    let expect = "failed 100 [threshold_broken] started 8 passed 8 lost 0";
    check(
        &habits,
        &with(", after: 1s").replace("abort: true", "abort: false"),
        expect,
    )
    .await;
    let expect = "inconclusive 10 [no_data] started 8 passed 8 lost 0";
    let report = check(&habits, &with(", after: 11s"), expect).await;
    assert_eq!(report.thresholds[0].observed, None);
}

#[tokio::test(start_paused = true)]
async fn phases_and_spans_of_a_plan_are_judged_and_reported() {
    let plan = format!(
        "{PLAN}phases: {{ early: {{ from: 0s, to: 1s }}, late: {{ from: 1s, to: 30s }}, never: {{ from: 1m, to: 2m }} }}\n\
         thresholds:\n  \
         - 5 > count(stage_duration{{phase=\"late\",stage=\"nap\"}})\n  \
         - count(stage_duration{{phase=\"early\"}}) < 0.5 * count(stage_duration{{phase!=\"early\"}})\n  \
         - {{ expr: max(stage_duration) < 2s, over: 2s, abort: true }}\n"
    );
    let expect = "passed 0 [] started 8 passed 8 lost 0";
    let report = check(&[Habit::Good, Habit::Good], &plan, expect).await;
    let thresholds = report.thresholds.iter();
    let judged: Vec<_> = thresholds
        .map(|one| (one.observed.unwrap(), one.limit.unwrap()))
        .collect();
    assert_eq!(judged[..2], [(4.0, 5.0), (0.0, 2.0)]);
    assert!((judged[2].0 - 1.0).abs() < 0.01, "{judged:?}");
    let phases: Vec<_> = report
        .phases
        .iter()
        .map(|phase| (phase.name.as_str(), phase.from, phase.to))
        .collect();
    assert_eq!(phases, [("early", 0.0, 1.0), ("late", 1.0, 2.0)]);
}

#[tokio::test(start_paused = true)]
async fn good_agents_pass() {
    let report = check(
        &[Habit::Good, Habit::Good],
        PLAN,
        "passed 0 [] started 8 passed 8 lost 0",
    )
    .await;
    assert_eq!(report.scenarios[0].concurrency_max, 4);
    assert_eq!(
        report
            .agents
            .iter()
            .map(|agent| agent.sessions)
            .collect::<Vec<_>>(),
        [4, 4]
    );
    assert_eq!(report.start_skew.map(|skew| skew.value), Some(0.0));
    assert_eq!((report.stages.len(), report.stages[0].runs), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn setup_and_teardown_are_run_once() {
    let world = World::start();
    world.agents(&[Habit::Good, Habit::Good]).await;
    let handle = world.submit("r1", WITH_SETUP, 0).await;
    let states = ended(&handle).await;
    let all = [
        "queued",
        "preparing",
        "setting_up",
        "starting",
        "running",
        "draining",
        "tearing_down",
        "sealed",
    ];
    assert_eq!(states, all);
    assert_eq!(
        summary(&*world.report("r1").await),
        "passed 0 [] started 8 passed 8 lost 0"
    );
}

#[tokio::test(start_paused = true)]
async fn agents_that_fail_before_the_start_keep_the_run_from_starting() {
    check(
        &[Habit::Good, Habit::Refuses],
        PLAN,
        "inconclusive 10 [plan_refused] started 0 passed 0 lost 0",
    )
    .await;
    check(
        &[Habit::Good, Habit::NeverArms],
        PLAN,
        "inconclusive 10 [start_failed] started 0 passed 0 lost 0",
    )
    .await;
    check(
        &[Habit::FailsSetup],
        WITH_SETUP,
        "inconclusive 10 [setup_failed] started 0 passed 0 lost 0",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_had_in_flight_when_it_was_lost_is_lost() {
    for habit in [Habit::Breaks, Habit::FallsSilent] {
        let lost = "inconclusive 10 [agent_lost] started 8 passed 6 lost 2";
        let report = check(&[Habit::Good, habit], PLAN, lost).await;
        assert_eq!(report.agents[1].status, "lost", "{habit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_comes_back_is_counted_once() {
    check(
        &[Habit::Good, Habit::Returns],
        PLAN,
        "passed 0 [] started 8 passed 8 lost 0",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_was_told_while_its_link_was_broken_is_told_again() {
    for order in [Order::Prepare, Order::SetUp, Order::Start, Order::TearDown] {
        let passed = "passed 0 [] started 8 passed 8 lost 0";
        check(&[Habit::Misses(order), Habit::Good], WITH_SETUP, passed).await;
    }
    let world = World::start();
    world.agents(&[Habit::Misses(Order::Stop)]).await;
    let handle = world.submit("r1", PLAN, 0).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let began = tokio::time::Instant::now();
    handle.stop(StopMode::Drain).await;
    ended(&handle).await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_says_again_that_it_is_armed_is_no_less_far() {
    let world = World::start();
    world.agents(&[Habit::Returns]).await;
    let handle = world.submit("r1", PLAN, 0).await;
    ended(&handle).await;
    let (told, _) = handle.log().after(0);
    let statuses = told.iter().filter_map(|told| match told {
        Told::Event(line) => match &line.kind {
            EventKind::Agent { status, .. } => Some(status.as_str()),
            _ => None,
        },
        Told::Progress(..) => None,
    });
    let statuses: Vec<_> = statuses.collect();
    assert_eq!(statuses, ["connected", "armed", "started", "drained"]);
}

#[tokio::test(start_paused = true)]
async fn teardown_does_not_wait_for_an_agent_that_left_after_it_drained() {
    let passed = "passed 0 [] started 8 passed 8 lost 0";
    let report = check(&[Habit::LeavesDrained, Habit::Good], WITH_SETUP, passed).await;
    assert_eq!(report.agents[0].status, "drained");
    check(
        &[Habit::LeavesDrained],
        WITH_SETUP,
        "passed 0 [] started 4 passed 4 lost 0",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_setup_saved_comes_from_the_agent_that_ran_it() {
    // The good one asserts that it is told what itself has saved, last of all when it tears down.
    let passed = "passed 0 [] started 8 passed 8 lost 0";
    check(&[Habit::Good, Habit::ClaimsSetup], WITH_SETUP, passed).await;
}

#[tokio::test(start_paused = true)]
async fn a_sealed_run_has_a_report() {
    let world = World::start();
    world.agents(&[Habit::Good]).await;
    let handle = world.submit("r1", PLAN, 0).await;
    let log = handle.log();
    let mut latest = log.watch();
    loop {
        let (told, _) = log.after(0);
        let sealed = told.iter().any(|told| {
            matches!(told, Told::Event(line)
                if matches!(&line.kind, EventKind::State { state, .. } if state == "sealed"))
        });
        let id = "r1".parse().unwrap();
        if sealed || handle.overview().state == Lifecycle::Sealed {
            assert!(world.store.find(&id).await.unwrap().is_some());
        }
        if sealed {
            break;
        }
        latest.changed().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_nobody_knows_is_not_perfect() {
    let known = check(
        &[Habit::Good],
        PLAN,
        "passed 0 [] started 4 passed 4 lost 0",
    )
    .await;
    assert_eq!(known.agents[0].clock_uncertainty, Some(0.000_001));
    let world = World::start();
    let mut agent = Agent::join(&world.registry, 0, Habit::NeverArms).await;
    let handle = world.submit("r1", PLAN, 0).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    // It has said nothing of its clock before it was placed, and leaves.
    let assigned = agent.membership.assignment.borrow_and_update().is_some();
    world
        .registry
        .leave(agent.membership.id, "bye".into())
        .await;
    ended(&handle).await;
    let report = world.report("r1").await;
    let clock = (
        report.agents[0].clock_offset,
        report.agents[0].clock_uncertainty,
    );
    assert_eq!((assigned, clock), (true, (None, None)));
}

#[tokio::test(start_paused = true)]
async fn agents_of_a_run_that_ended_before_it_was_placed_are_free() {
    let world = World::start();
    // Nobody is there, so the run waits; it is stopped in the moment in which its agent dials in.
    for id in ["r1", "r2", "r3"] {
        let handle = world.submit(id, PLAN, 1).await;
        handle.stop(StopMode::Abort).await;
        let agent = Agent::join(&world.registry, 0, Habit::NeverArms).await;
        ended(&handle).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        let free = world
            .registry
            .list()
            .await
            .iter()
            .all(|one| one.run.is_none());
        assert!(free, "{id}");
        world
            .registry
            .leave(agent.membership.id, "bye".into())
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn nonsense_costs_its_agent_the_link_and_nobody_else() {
    for habit in [Habit::SendsNonsense, Habit::MeasuresTheFuture] {
        let lost = "inconclusive 10 [agent_lost] started 8 passed 6 lost 2";
        let report = check(&[Habit::Good, habit], PLAN, lost).await;
        assert!(
            report
                .findings
                .iter()
                .any(|finding| finding.code == "nonsense"),
            "{habit:?}"
        );
        assert_eq!(report.agents[0].status, "drained");
    }
}

#[tokio::test(start_paused = true)]
async fn what_never_arrived_or_ended_is_said() {
    // The run waits for the missing batch for a minute after the agent's last word.
    let skipped = "inconclusive 10 [agent_lost measurements_missing] started 8 passed 8 lost 0";
    check(&[Habit::Good, Habit::SkipsBatches], PLAN, skipped).await;
    let undrained = "inconclusive 10 [run_overran] started 8 passed 8 lost 0";
    check(&[Habit::Good, Habit::NeverDrains], PLAN, undrained).await;
    let forgotten = "inconclusive 10 [ledger_unbalanced] started 4 passed 2 lost 0";
    check(&[Habit::ForgetsSessions], PLAN, forgotten).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_without_agents_waits_a_little_and_is_then_not_placed() {
    let world = World::start();
    let handle = world.submit("r1", PLAN, 2).await;
    let began = tokio::time::Instant::now();
    assert_eq!(ended(&handle).await, ["queued", "sealed"]);
    assert_eq!(began.elapsed().as_secs(), 5);
    assert_eq!(
        summary(&*world.report("r1").await),
        "inconclusive 103 [not_enough_agents] started 0 passed 0 lost 0"
    );
    // Agents that dial in meanwhile are taken.
    let handle = world.submit("r2", PLAN, 2).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.agents(&[Habit::Good, Habit::Good]).await;
    ended(&handle).await;
    assert_eq!(
        summary(&*world.report("r2").await),
        "passed 0 [] started 8 passed 8 lost 0"
    );
}

#[tokio::test(start_paused = true)]
async fn runs_wait_for_each_other_or_run_side_by_side() {
    let world = World::start();
    world.agents(&[Habit::Good, Habit::Good]).await;
    let first = world.submit("r1", PLAN, 1).await;
    let beside = world.submit("r2", PLAN, 1).await;
    let third = world.submit("r3", PLAN, 2).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(
        (first.overview().state, beside.overview().state),
        (Lifecycle::Running, Lifecycle::Running)
    );
    assert_eq!(third.overview().state, Lifecycle::Queued);
    ended(&third).await;
    let listed: Vec<_> = world
        .runs
        .list()
        .await
        .iter()
        .map(|run| (run.id.to_string(), run.exit_code))
        .collect();
    assert_eq!(
        listed,
        [
            ("r3".to_owned(), 0),
            ("r2".to_owned(), 0),
            ("r1".to_owned(), 0)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_stopped_run_is_sealed_with_what_it_has() {
    let world = World::start();
    world.agents(&[Habit::Good]).await;
    let handle = world.submit("r1", PLAN, 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    handle.stop(StopMode::Drain).await;
    ended(&handle).await;
    assert_eq!(
        summary(&*world.report("r1").await),
        "inconclusive 105 [stopped] started 0 passed 0 lost 0"
    );
    // In the queue as well.
    let queued = world.submit("r2", PLAN, 5).await;
    queued.stop(StopMode::Abort).await;
    assert_eq!(ended(&queued).await, ["queued", "sealed"]);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_drains_stops_its_runs_first() {
    let world = World::start();
    world.agents(&[Habit::Good]).await;
    let handle = world.submit("r1", PLAN, 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.tasks.shutdown().drain();
    ended(&handle).await;
    assert_eq!(world.report("r1").await.exit_code, 105);
}
