//! Tests of the load models: see `closed.rs`.

use proptest::prelude::*;

use super::super::testing::{SECOND, alone, load, parts, play, run, starts, workers};
use super::*;
use crate::load::Part;

#[track_caller]
fn check(text: &str, weights: &[u32], expect: &[(u64, u64)]) {
    let found: Vec<_> = starts(load(text).as_ref(), weights)
        .iter()
        .map(|start| (start.at.as_secs(), start.session.get()))
        .collect();
    assert_eq!(found, expect, "{text}");
}

#[test]
fn first_starts_follow_the_load_model() {
    check("once", &[1, 1, 1], &[(0, 0)]);
    check("{ once: per_agent }", &[2, 1, 1], &[(0, 0), (0, 1), (0, 2)]);
    check("{ once: per_agent }", &[2, 0, 1], &[(0, 0), (0, 2)]);
    check(
        "{ virtual_users: 4, for: 9s, ramp_up: 4s }",
        &[2, 1],
        &[(0, 0), (1, 1), (2, 2), (3, 3)],
    );
    check(
        "{ virtual_users: 4, for: 4s, ramp_up: 4s, sessions: 2 }"
            .replace(", for: 4s", "")
            .as_str(),
        &[1, 1],
        &[(0, 0), (1, 1)],
    );
    check(
        "{ virtual_users: [ { to: 4, over: 4s }, { hold: 2s }, { to: 0, over: 2s } ] }",
        &[1, 3],
        &[(0, 0), (1, 1), (2, 2), (3, 3)],
    );
}

#[test]
fn sessions_belong_to_users_in_turn() {
    let closed = Closed {
        users: 3,
        sessions: Some(7),
        most: None,
        activity: Activity::Always,
        pause: Duration::ZERO,
    };
    assert_eq!(
        [0, 1, 2].map(|user| closed.sessions_of(user)),
        [Some(3), Some(2), Some(2)]
    );
    assert_eq!(closed.session(1, 1).map(SessionIndex::get), Some(4));
    assert_eq!(closed.session(1, 2), None);
    let timed = Closed {
        sessions: None,
        ..closed
    };
    assert_eq!(timed.session(2, 100).map(SessionIndex::get), Some(302));
    assert_eq!(timed.session(2, u64::MAX), None);
}

fn at(played: &[Planned]) -> Vec<(u64, u64)> {
    let mut at: Vec<_> = played
        .iter()
        .map(|one| (one.at.as_secs(), one.index))
        .collect();
    at.sort_unstable();
    at
}

#[test]
fn users_start_over_the_ramp_and_stop_at_the_end() {
    let played = run("{ virtual_users: 4, for: 10s, ramp_up: 4s }", SECOND * 3);
    let expected = [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 3),
        (3, 4),
        (4, 5),
        (5, 6),
        (6, 7),
        (6, 8),
        (7, 9),
        (8, 10),
        (9, 11),
        (9, 12),
    ];
    assert_eq!(at(&played.started), expected);
}

#[test]
fn users_end_over_the_ramp_down() {
    let played = run("{ virtual_users: 2, for: 8s, ramp_down: 4s }", SECOND);
    let count = |user| {
        let own = played.started.iter();
        own.filter(|one| one.virtual_user == user).count()
    };
    assert_eq!((count(0), count(1)), (6, 8));
}

#[test]
fn users_come_and_go_as_the_profile_says() {
    let text = "{ virtual_users: [ { to: 4, over: 4s }, { hold: 2s }, { to: 2, over: 2s }, { hold: 2s }, { to: 4, over: 0s }, { hold: 1s }, { to: 0, over: 4s } ] }";
    let played = run(text, SECOND);
    let seconds = |user| -> Vec<u64> {
        let own = played.started.iter();
        own.filter(|one| one.virtual_user == user)
            .map(|one| one.at.as_secs())
            .collect()
    };
    assert_eq!(seconds(0), (0..15).collect::<Vec<_>>());
    assert_eq!(seconds(1), (1..14).collect::<Vec<_>>());
    // The third goes at second 8, when the level is 2, and comes back with the jump.
    assert_eq!(seconds(2), [2, 3, 4, 5, 6, 7, 10, 11, 12]);
    assert_eq!(seconds(3), [3, 4, 5, 6, 10, 11]);
    assert_eq!(played.planned, None);
}

#[test]
fn a_user_whose_sessions_fail_at_once_does_not_spin() {
    let load = load("{ virtual_users: 1, for: 1s }");
    let share = alone(Part::whole(1, 7, "s"), load.as_ref());
    let played = play(load.as_ref(), share, Duration::ZERO, true);
    assert_eq!(played.started.len(), 10);
}

#[test]
fn users_without_sessions_are_not_waited_for() {
    let played = run("{ virtual_users: 5, sessions: 2 }", SECOND);
    assert_eq!((played.planned, played.started.len()), (Some(2), 2));
}

#[test]
fn users_pause_between_their_sessions() {
    let played = run("{ virtual_users: 1, for: 10s, pause: 2s }", SECOND);
    assert_eq!(at(&played.started), [(0, 0), (3, 1), (6, 2), (9, 3)]);
}

proptest! {
    /// The schedules of all agents together are the schedule of one agent.
    #[test]
    fn the_union_of_schedules_is_the_whole(
        weights in prop::collection::vec(1u32..6, 1..8),
        users in 1u32..60,
        sessions in prop::option::of(1u64..200),
        ramp_up_ms in 0u64..10_000,
    ) {
        let until = sessions.map_or_else(|| "for: 10s".to_owned(), |sessions| format!("sessions: {sessions}"));
        let load = load(&format!("{{ virtual_users: {users}, {until}, ramp_up: {ramp_up_ms}ms }}"));
        prop_assert_eq!(starts(load.as_ref(), &weights), starts(load.as_ref(), &[1]));
        prop_assert_eq!(load.planned(&Part::whole(1, 7, "s")), sessions);
    }

    /// However users are shared among agents and their workers, every session runs once.
    #[test]
    fn every_session_runs_once(
        users in 1_u32..40, sessions in 1_u64..200, weights in prop::collection::vec(0_u32..4, 1..5),
        of in 1_usize..4, millis in 0_u64..50,
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let load = load(&format!("{{ virtual_users: {users}, sessions: {sessions} }}"));
        let mut all = Vec::new();
        for part in parts(&weights) {
            for share in workers(part, load.as_ref(), of) {
                let played = play(load.as_ref(), share, Duration::from_millis(millis), false);
                prop_assert_eq!(played.planned, Some(played.started.len() as u64));
                all.extend(played.started.iter().map(|one| one.index));
            }
        }
        all.sort_unstable();
        prop_assert_eq!(all, (0..sessions).collect::<Vec<_>>());
    }
}
