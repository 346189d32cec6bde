//! Tests of the load models: see `arrivals.rs`.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::testing::{SECOND, alone, load, parts, play, run, starts, workers};
use super::*;

#[test]
fn arrivals_do_not_wait_for_sessions() {
    let played = run("{ arrivals: 2/s, for: 5s, max_sessions: 100 }", SECOND * 60);
    let at: Vec<u128> = played
        .started
        .iter()
        .map(|one| one.at.as_millis())
        .collect();
    assert_eq!(at, (0..10).map(|n| n * 500).collect::<Vec<_>>());
    assert_eq!((played.planned, played.dropped), (Some(10), 0));
    let slots: Vec<u64> = played.started.iter().map(|one| one.virtual_user).collect();
    assert_eq!(slots, (0..10).collect::<Vec<_>>());
}

#[test]
fn an_arrival_that_finds_no_place_is_dropped() {
    // Each session takes 3 s, and there are two places: of six arrivals a period, two find one.
    let played = run(
        "{ arrivals: 1/s, for: 12s, max_sessions: 2 }",
        SECOND * 3 - Duration::from_millis(1),
    );
    let at: Vec<u64> = played.started.iter().map(|one| one.at.as_secs()).collect();
    assert_eq!(at, [0, 1, 3, 4, 6, 7, 9, 10]);
    assert_eq!(played.dropped, 4);
    let slots: BTreeSet<u64> = played.started.iter().map(|one| one.virtual_user).collect();
    assert_eq!(
        slots,
        BTreeSet::from([0, 1]),
        "the lowest free place is taken"
    );
}

#[test]
fn what_is_late_catches_up_with_its_planned_time() {
    let load = load("{ arrivals: 10/s, for: 1s, max_sessions: 100 }");
    let mut pacer = load.pacer(alone(Part::whole(1, 7, "s"), load.as_ref()));
    // Nobody asked for a whole second and more.
    let mut planned = Vec::new();
    while let Pace::Start(one) = pacer.try_acquire(SECOND * 2) {
        planned.push(one.at.as_millis());
    }
    assert_eq!(planned, (0..10).map(|n| n * 100).collect::<Vec<_>>());
    assert_eq!(pacer.try_acquire(SECOND * 2), Pace::Done);
}

#[test]
fn a_poisson_sequence_is_as_random_as_it_should_be() {
    let load = load("{ arrivals: 1000/s, for: 100s, max_sessions: 100, spread: poisson }");
    let whole = Part::whole(1, 7, "s");
    let at: Vec<f64> = load
        .starts(&whole)
        .map(|start| start.at.as_secs_f64())
        .collect();
    assert_eq!(load.planned(&whole), Some(at.len() as u64));
    // Expected 100,000, with a standard deviation of 316: five of them are one run in two million.
    assert!(
        (at.len() as f64 - 100_000.0).abs() < 5.0 * 316.3,
        "{}",
        at.len()
    );
    let gaps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    // Exponential: the standard deviation is the mean.
    assert!(
        (variance.sqrt() / mean - 1.0).abs() < 0.02,
        "{mean} {variance}"
    );
    let other = Part::whole(1, 8, "s");
    assert_ne!(
        load.starts(&other).next(),
        load.starts(&whole).next(),
        "the seed decides"
    );
}

#[test]
fn a_poisson_sequence_follows_a_profile() {
    let load =
        load("{ arrivals: [ { to: 200/s, over: 100s } ], max_sessions: 9, spread: poisson }");
    let at: Vec<f64> = load
        .starts(&Part::whole(1, 7, "s"))
        .map(|start| start.at.as_secs_f64())
        .collect();
    // A quarter of the area lies below the middle.
    let early = at.iter().filter(|at| **at < 50.0).count() as f64;
    assert!(
        (early / at.len() as f64 - 0.25).abs() < 0.02,
        "{early} of {}",
        at.len()
    );
}

#[test]
fn a_stream_of_arrivals_stays_the_same_from_build_to_build() {
    let load = load("{ arrivals: 10/s, for: 10s, max_sessions: 9, spread: poisson }");
    let whole = Part::whole(1, 42, "s");
    let first: Vec<u128> = load
        .starts(&whole)
        .take(3)
        .map(|start| start.at.as_nanos())
        .collect();
    assert_eq!(first, FIRST_OF_SEED_42);
}

const FIRST_OF_SEED_42: [u128; 3] = [30_908_047, 159_274_221, 194_346_766];

fn texts() -> impl Strategy<Value = String> {
    let profile = prop::collection::vec((0_u32..40, 0_u32..3_000), 1..5).prop_map(|segments| {
        let segments = segments
            .into_iter()
            .map(|(to, over)| format!("{{ to: {to}/s, over: {over}ms }}"));
        format!(
            "[ {{ to: 5/s, over: 1s }}, {} ]",
            segments.collect::<Vec<_>>().join(", ")
        )
    });
    let load = prop_oneof![
        (1_u32..200).prop_map(|rate| format!("{rate}/s, for: 3s")),
        profile
    ];
    (load, 1_u32..50, any::<bool>()).prop_map(|(load, slots, poisson)| {
        let spread = if poisson { "poisson" } else { "constant" };
        format!("{{ arrivals: {load}, max_sessions: {slots}, spread: {spread} }}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The same for any number of agents: the union of their schedules is the schedule of one, in every place and time.
    #[test]
    fn the_union_of_schedules_is_the_whole(text in texts(), weights in prop::collection::vec(1_u32..6, 1..50)) {
        let load = load(&text);
        let whole = starts(load.as_ref(), &[1]);
        prop_assert_eq!(load.planned(&Part::whole(1, 7, "s")), Some(whole.len() as u64));
        let indices: Vec<u64> = whole.iter().map(|start| start.session.get()).collect();
        let mut sorted = indices;
        sorted.sort_unstable();
        prop_assert_eq!(&sorted, &(0..whole.len() as u64).collect::<Vec<_>>());
        prop_assert_eq!(starts(load.as_ref(), &weights), whole);
    }

    /// Workers share their agent's arrivals exactly, and with room for all none is dropped.
    #[test]
    fn every_arrival_starts_or_is_dropped_once(
        text in texts(), weights in prop::collection::vec(1_u32..4, 1..5), of in 1_usize..4,
    ) {
        let load = load(&text);
        let (mut indices, mut dropped) = (BTreeSet::new(), 0);
        for part in parts(&weights) {
            for share in workers(part, load.as_ref(), of) {
                let played = play(load.as_ref(), share, Duration::from_millis(40), false);
                dropped += played.dropped;
                for one in &played.started {
                    prop_assert!(indices.insert(one.index), "{} started twice", one.index);
                }
                if let Some(planned) = played.planned {
                    prop_assert_eq!(planned, played.started.len() as u64 + played.dropped);
                }
            }
        }
        let planned = load.planned(&Part::whole(1, 7, "s")).unwrap();
        prop_assert_eq!(indices.len() as u64 + dropped, planned);
    }
}
