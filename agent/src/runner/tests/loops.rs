//! Scenario loops: closed and open loads, drain and abort.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use testmesh_shared::load::{Part as AgentPart, Slots, WorkerShare};
use testmesh_shared::plan::Plan;
use testmesh_shared::segment::Share;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::fake::{Kit, Measured, plan_of, plan_with};
use crate::runner::context::{Part, ScenarioContext};
use crate::runner::pool::SessionPool;
use crate::runner::scenario::{Beginning, Ended, ScenarioLoop};
use crate::runner::terminate::{Stop, Terminator};

/// Runs a scenario alone on one worker and says the given words at the given times. Returns what was measured, and how long
/// it took.
pub(super) async fn play(load: &str, rest: &str, words: &[(u64, Stop)]) -> (Measured, Duration) {
    play_plan(&plan_of(load, rest), words).await
}

async fn play_plan(plan: &Arc<Plan>, words: &[(u64, Stop)]) -> (Measured, Duration) {
    let kit = Kit::new(plan);
    let scenario = Rc::new(ScenarioContext::new(plan, Part::Scenario(0)));
    let load = &plan.scenarios[0].load;
    let slots = load.max_sessions().unwrap_or_default();
    let pacer = load.pacer(WorkerShare {
        part: AgentPart::whole(1, 0, "s"),
        worker: 0,
        of: 1,
        slots: Arc::new(Slots::new(&Share::all(), slots)),
    });
    let terminator = Terminator {
        end: load.end(),
        graceful_stop: plan.scenarios[0].graceful_stop,
    };
    let pool = SessionPool::new(&kit.context, &scenario, pacer.planned());
    let (say, stop) = watch::channel(Stop::No);
    let start = Instant::now();
    let running = ScenarioLoop {
        pacer,
        pool,
        terminator,
        stop,
        begin: Beginning::At(start),
        ended: Arc::new(Ended::new(1, 1)),
        place: 0,
    }
    .run();
    let saying = async {
        for (millis, word) in words {
            tokio::time::sleep_until(start + Duration::from_millis(*millis)).await;
            say.send_replace(*word);
        }
        // The worker keeps the sender for as long as the loop runs.
        std::future::pending::<()>().await;
    };
    LocalSet::new()
        .run_until(async {
            tokio::select! {
                _ = running => {}
                () = saying => {}
            }
        })
        .await;
    (kit.cut(), start.elapsed())
}

/// planned, started, passed, failed, interrupted, unstarted.
fn ledger(measured: &Measured) -> [u64; 6] {
    [
        "planned",
        "started",
        "passed",
        "failed",
        "interrupted",
        "unstarted",
    ]
    .map(|what| {
        let metric = format!("sessions_{what}");
        measured.count(&metric)
    })
}

#[track_caller]
fn took(duration: Duration, millis: u64) {
    let expected = Duration::from_millis(millis);
    assert!(
        duration >= expected && duration < expected + Duration::from_millis(50),
        "took {duration:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn once_is_one_session() {
    let (measured, time) = play(
        "once",
        "    stages:\n      - { name: a, fake: sleep 300 }\n",
        &[],
    )
    .await;
    assert_eq!(ledger(&measured), [1, 1, 1, 0, 0, 0]);
    took(time, 300);
}

#[tokio::test(start_paused = true)]
async fn a_number_of_sessions_is_shared_by_users() {
    let load = "{ virtual_users: 3, sessions: 7 }";
    let (measured, time) = play(
        load,
        "    stages:\n      - { name: a, fake: sleep 100 }\n",
        &[],
    )
    .await;
    assert_eq!(ledger(&measured), [7, 7, 7, 0, 0, 0]);
    took(time, 300);
}

#[tokio::test(start_paused = true)]
async fn users_stop_at_the_end_and_sessions_have_their_graceful_stop() {
    let load = "{ virtual_users: 2, for: 1s }";
    let patient = "    graceful_stop: 10s\n    stages:\n      - { name: a, fake: sleep 400 }\n";
    let (measured, time) = play(load, patient, &[]).await;
    assert_eq!(ledger(&measured), [6, 6, 6, 0, 0, 0]);
    took(time, 1_200);
    let strict = "    graceful_stop: 100ms\n    stages:\n      - { name: a, fake: sleep 400 }\n";
    let (measured, time) = play(load, strict, &[]).await;
    assert_eq!(ledger(&measured), [6, 6, 4, 0, 2, 0]);
    took(time, 1_100);
}

#[tokio::test(start_paused = true)]
async fn draining_starts_nothing_new_and_aborting_cuts() {
    let load = "{ virtual_users: 1, sessions: 10 }";
    let rest = "    graceful_stop: 10s\n    stages:\n      - { name: a, fake: sleep 1000 }\n    cleanup:\n      - { name: c, fake: sleep 50 }\n";
    let (measured, time) = play(load, rest, &[(1_500, Stop::Drain)]).await;
    assert_eq!(ledger(&measured), [10, 2, 2, 0, 0, 8]);
    took(time, 2_100);
    let (measured, time) = play(load, rest, &[(1_500, Stop::Drain), (1_600, Stop::Abort)]).await;
    assert_eq!(ledger(&measured), [10, 2, 1, 0, 1, 8]);
    took(time, 1_650);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_panics_is_a_failed_one_and_others_go_on() {
    let load = "{ virtual_users: 2, sessions: 2 }";
    let rest = "    stages:\n      - { name: a, fake: 'panic' }\n";
    let (measured, _) = play(load, rest, &[]).await;
    assert_eq!(ledger(&measured), [2, 2, 0, 2, 0, 0]);
    assert!(measured.findings().contains(&"internal"));
}

#[tokio::test(start_paused = true)]
async fn users_ramp_up_and_are_active_together() {
    let load = "{ virtual_users: 4, for: 4s, ramp_up: 2s }";
    let (measured, _) = play(
        load,
        "    stages:\n      - { name: a, fake: sleep 10000 }\n",
        &[],
    )
    .await;
    let active: Vec<_> = measured
        .delta
        .gauges
        .iter()
        .map(|(second, _, least)| (*second, *least))
        .collect();
    assert_eq!(&active[..4], [(0, 0), (1, 2), (2, 4), (3, 4)]);
}

#[tokio::test(start_paused = true)]
async fn arrivals_start_in_time_whatever_became_of_those_before() {
    let rest = "    stages:\n      - { name: a, fake: sleep 650 }\n";
    let load = "{ arrivals: 10/s, for: 2s, max_sessions: 5 }";
    let (measured, duration) = play(load, rest, &[]).await;
    // Of every seven arrivals five find a place: the last starts at 1.9 s at the latest, and takes 0.65 s.
    let [planned, started, passed, ..] = ledger(&measured);
    let dropped = measured.count("sessions_dropped");
    assert_eq!((planned, started + dropped, passed), (20, 20, started));
    assert_eq!(started, 15);
    assert!(duration < Duration::from_millis(2_700), "{duration:?}");
}

#[tokio::test(start_paused = true)]
async fn latency_counts_from_the_planned_start_of_a_loop_that_stalls() {
    // Every fifth session keeps the worker's thread for as long as its blocking says: here the clock jumps instead.
    let rest = "    stages:\n      - { name: a, fake: 'sleep 10; ok' }\n";
    let load = "{ arrivals: 100/s, for: 1s, max_sessions: 200 }";
    let (measured, _) = play(load, rest, &[]).await;
    assert_eq!(measured.count("sessions_started"), 100);
    assert_eq!(measured.count("sessions_dropped"), 0);
}

#[tokio::test(start_paused = true)]
async fn arrivals_that_a_stop_forestalls_are_unstarted() {
    let rest = "    stages:\n      - { name: a, fake: ok }\n";
    let load = "{ arrivals: 10/s, for: 10s, max_sessions: 5 }";
    let (measured, duration) = play(load, rest, &[(1_050, Stop::Drain)]).await;
    assert_eq!(ledger(&measured), [100, 11, 11, 0, 0, 89]);
    took(duration, 1_050);
}

/// Five rows: `status 201` to `status 205`.
#[tokio::test(start_paused = true)]
async fn sessions_take_the_rows_of_a_feed() {
    let stages = "    stages:\n      - { name: a, fake: \"status ${feed.codes.code}\", expect: \"status == feed.codes.code\" }\n";
    /// A feed, a load, and how often each row is taken.
    type Case = (&'static str, &'static str, &'static [(&'static str, u64)]);
    let cases: [Case; 3] = [
        (
            "{ file: codes.csv, types: { code: int } }",
            "{ virtual_users: 2, sessions: 7 }",
            &[("201", 2), ("202", 2), ("203", 1), ("204", 1), ("205", 1)],
        ),
        (
            "{ file: codes.csv, types: { code: int }, unique: true, order: shuffled }",
            "{ virtual_users: 2, for: 10s, pause: 100ms }",
            &[("201", 1), ("202", 1), ("203", 1), ("204", 1), ("205", 1)],
        ),
        (
            "{ file: codes.csv, types: { code: int }, unique: true }",
            "{ arrivals: 10/s, for: 10s, max_sessions: 3 }",
            &[("201", 1), ("202", 1), ("203", 1), ("204", 1), ("205", 1)],
        ),
    ];
    for (feed, load, expected) in cases {
        let head = format!("feeds:\n  codes: {feed}\n");
        let (measured, time) = play_plan(&plan_with(&head, load, stages), &[]).await;
        let sessions: u64 = expected.iter().map(|(_, count)| count).sum();
        assert_eq!(
            ledger(&measured),
            [sessions, sessions, sessions, 0, 0, 0],
            "{feed}"
        );
        let taken = measured.by_label("stage_status", "status");
        let expected: Vec<_> = (expected.iter())
            .map(|(status, count)| ((*status).to_owned(), *count))
            .collect();
        assert_eq!(taken, expected, "{feed}");
        assert!(
            time < Duration::from_secs(2),
            "{feed} went on for {time:?}: no row is left"
        );
    }
}
