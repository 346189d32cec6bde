//! The matrix *behavior × plan*: a healthy server passes every plan, and each behavior is caught by the plans that must
//! catch it, for its own reason, while nothing else fires.
//!
//! A behavior is run with the plans that its row names for CI. `cargo xtask matrix` sets `TESTMESH_MATRIX=all` and runs
//! it with every plan.

use std::collections::BTreeSet;
use std::env;

use anyhow::Result;
use testmesh_e2e::Expected;
use testmesh_e2e::matrix::{FORMS, Form, ROWS, Row, check_healthy, check_pair};
use testmesh_e2e::real::PAIRS;
use testmesh_testbed::{Entry, Needs, TABLE};

/// At most so many pairs in CI: some minutes on two cores.
const PAIRS_IN_CI: usize = 80;

/// One test for each behavior and for each plan on a healthy server, and the list of them, which a test compares with
/// the tables.
macro_rules! matrix {
    (
        behaviors { $($behavior_test:ident: $behavior:literal,)* }
        plans { $($plan_test:ident: $plan:literal,)* }
    ) => {
        const BEHAVIORS: &[&str] = &[$($behavior),*];
        const PLANS: &[&str] = &[$($plan),*];

        mod behavior {
            use super::*;
            $(
                #[tokio::test]
                async fn $behavior_test() -> Result<()> {
                    is_caught($behavior).await
                }
            )*
        }

        mod healthy {
            use super::*;
            $(
                #[tokio::test]
                async fn $plan_test() -> Result<()> {
                    check_healthy(Form::of($plan)).await
                }
            )*
        }
    };
}

matrix! {
    behaviors {
        flip_bit: "flip-bit",
        drop_row: "drop-row",
        repeat_row: "repeat-row",
        swap_rows: "swap-rows",
        truncate_row: "truncate-row",
        wrong_stream: "wrong-stream",
        stall: "stall",
        early_end: "early-end",
        slow_stage: "slow-stage",
        overload: "overload",
        degrade: "degrade",
        alternate_500: "alternate-500",
        never_ready: "never-ready",
        port_taken: "port-taken",
        leak_job: "leak-job",
        linger: "linger",
        waiting_for_fiber: "waiting-for-fiber",
        slow_refusal: "slow-refusal",
        slow_recordings: "slow-recordings",
        historic_404: "historic-404",
        metadata_404: "metadata-404",
        wrong_amounts: "wrong-amounts",
        wrong_types: "wrong-types",
        many_as_single: "many-as-single",
        null_500: "null-500",
        bare_waterfall_500: "bare-waterfall-500",
        accept_all: "accept-all",
        slow_rows: "slow-rows",
        disconnect: "disconnect",
        slow_ready: "slow-ready",
        unavailable_end: "unavailable-end",
        negative_minimum: "negative-minimum",
        stale_recording: "stale-recording",
        stuck_task: "stuck-task",
    }
    plans {
        api_contract: "api-contract",
        api_latency: "api-latency",
        degradation: "degradation",
        historic_playback: "historic-playback",
        historic_task: "historic-task",
        jobs_200: "jobs-200",
        live_view: "live-view",
        mixed_load: "mixed-load",
        single_channel: "single-channel",
        soak: "soak",
        spike: "spike",
        waterfall: "waterfall",
    }
}

fn row(behavior: &str) -> &'static Row {
    ROWS.iter()
        .find(|row| row.name() == behavior)
        .unwrap_or_else(|| panic!("`{behavior}` has no row in e2e/src/matrix/table.rs"))
}

async fn is_caught(behavior: &str) -> Result<()> {
    let row = row(behavior);
    if env::var("TESTMESH_MATRIX").is_ok_and(|which| which == "all") {
        for form in FORMS {
            check_pair(row, form).await?;
        }
    } else {
        for plan in row.in_ci {
            check_pair(row, Form::of(plan)).await?;
        }
    }
    Ok(())
}

#[test]
fn every_behavior_of_the_testbed_has_a_row_and_a_test() {
    let named = |is_wanted: fn(&Entry) -> bool| {
        let wanted = TABLE.iter().filter(|entry| is_wanted(entry));
        wanted.map(|entry| entry.name).collect::<Vec<_>>()
    };
    let known = named(|entry| entry.needs == Needs::Nothing);
    let rows: Vec<_> = ROWS.iter().map(Row::name).collect();
    assert_eq!(
        rows, known,
        "e2e/src/matrix/table.rs, against the testbed's"
    );
    assert_eq!(BEHAVIORS, known, "the tests, against the testbed's table");
    let others = named(|entry| entry.needs != Needs::Nothing);
    let caught = |name: &&str| {
        let mut pairs = PAIRS.iter().filter(|pair| pair.sign.is_some());
        pairs.any(|pair| pair.name() == *name)
    };
    let missing: Vec<_> = others.into_iter().filter(|name| !caught(name)).collect();
    assert_eq!(
        missing, [""; 0],
        "nothing in e2e/src/real/table.rs catches them"
    );
}

#[test]
fn a_row_gives_the_reason_that_the_testbed_promises() {
    let alone = TABLE.iter().filter(|entry| entry.needs == Needs::Nothing);
    for entry in alone {
        let row = row(entry.name);
        for (plans, sign) in row.caught {
            assert_eq!(sign.reason(), entry.reason, "{} by {plans:?}", entry.name);
        }
    }
}

#[test]
fn ci_runs_each_behavior_with_plans_that_catch_it_and_one_that_cannot() {
    for row in ROWS {
        let blind = row.in_ci.iter().filter(|plan| row.sign(plan).is_none());
        assert_eq!(blind.count(), 1, "{}", row.behavior);
        assert!(row.in_ci.len() >= 2, "{}", row.behavior);
    }
    let pairs: usize = ROWS.iter().map(|row| row.in_ci.len()).sum();
    assert!(pairs <= PAIRS_IN_CI, "{pairs} pairs");
}

#[test]
fn every_plan_for_a_focus_server_has_a_short_form_and_a_test() -> Result<()> {
    let folder = testmesh_e2e::plan("focus");
    let mut shipped = BTreeSet::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        shipped.extend(name.strip_suffix(".yaml").map(str::to_owned));
    }
    let of_real_parts = testmesh_e2e::real::FORMS.iter().map(|form| form.plan);
    let forms = FORMS.iter().map(|form| form.plan).chain(of_real_parts);
    let forms: BTreeSet<_> = forms.map(str::to_owned).collect();
    assert_eq!(forms, shipped);
    let tested: BTreeSet<_> = PLANS.iter().copied().collect();
    assert_eq!(tested, FORMS.iter().map(|form| form.plan).collect());
    Ok(())
}

#[tokio::test]
async fn what_was_specified_and_is_not_deployed_is_found_on_request() -> Result<()> {
    let outcome = Form::of("api-contract")
        .run("")
        .var("wanted", "true")
        .finish()
        .await?;
    Expected::failed()
        .because("threshold_broken")
        .check(&outcome);
    let failed = |stage: &str| {
        let stages = outcome.report["stages"].as_array();
        stages.into_iter().flatten().any(|one| {
            one["stage"] == stage
                && one["errors"]
                    .as_object()
                    .is_some_and(|errors| !errors.is_empty())
        })
    };
    for stage in ["says-what-became-of-it", "cancels", "whole-live-metadata"] {
        assert!(failed(stage), "`{stage}` did not fail");
    }
    Ok(())
}
