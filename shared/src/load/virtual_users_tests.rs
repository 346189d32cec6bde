//! Tests of the load models: see `virtual_users.rs`.

use super::super::testing::load;
use crate::load::{Model, Part};
use crate::plan::tests::fake::problems;
use std::time::Duration;

#[test]
fn a_profile_says_how_long_it_lasts_and_how_many_there_are() {
    let load = load(
        "{ virtual_users: [ { to: 50, over: 30s }, { hold: 60s }, { to: 0, over: 10s } ], pause: 1s }",
    );
    assert_eq!(load.model(), Model::Closed);
    assert_eq!(load.end(), Some(Duration::from_secs(100)));
    assert_eq!(load.planned(&Part::whole(1, 7, "s")), None);
    assert_eq!(load.starts(&Part::whole(1, 7, "s")).count(), 50);
}

/// A load, and the problem that it has.
const NO_LOADS: &[(&str, &str, &str)] = &[
    (
        "{ virtual_users: [], for: 3s }",
        "bad_value",
        "lasts no time",
    ),
    (
        "{ virtual_users: [ { to: 3, over: 1s } ], for: 3s }",
        "conflict",
        "`for` does not go with a profile",
    ),
    (
        "{ virtual_users: [ { to: 3 } ] }",
        "missing_key",
        "`to` needs `over`",
    ),
    (
        "{ virtual_users: [ { hold: 1s, over: 2s } ] }",
        "conflict",
        "leads nowhere",
    ),
    (
        "{ virtual_users: [ { hold: 1s } ] }",
        "bad_value",
        "never has a virtual user",
    ),
    (
        "{ virtual_users: [ { to: 3, hold: 1s } ] }",
        "conflict",
        "exclude each other",
    ),
    (
        "{ arrivals: 20/s, max_sessions: 5 }",
        "missing_key",
        "needs `for`",
    ),
    (
        "{ arrivals: 20/s, for: 5s }",
        "missing_key",
        "needs the key `max_sessions`",
    ),
    (
        "{ arrivals: 20, for: 5s, max_sessions: 5 }",
        "bad_value",
        "says not per which time",
    ),
    (
        "{ arrivals: 0/s, for: 5s, max_sessions: 5 }",
        "bad_value",
        "no session ever arrives",
    ),
    (
        "{ arrivals: 1/s, for: 0s, max_sessions: 5 }",
        "bad_value",
        "lasts no time",
    ),
    (
        "{ arrivals: 1/s, for: 1s, max_sessions: 5, spread: even }",
        "bad_value",
        "is not",
    ),
    (
        "{ arrivals: 1/s, virtual_users: 3, for: 1s, max_sessions: 5 }",
        "conflict",
        "exclude each other",
    ),
    (
        "{ arrivals: 1/s, for: 1s, max_sessions: 5, pause: 1s }",
        "unknown_key",
        "has no key `pause`",
    ),
    ("{ capacity: 1 }", "not_yet", "does not run it yet"),
    ("{ users: 3 }", "missing_key", "needs one of"),
    ("twice", "bad_value", "is no load"),
];

#[test]
fn what_makes_no_load_is_told_with_a_way_out() {
    for (text, code, message) in NO_LOADS {
        let plan = format!(
            "testmesh: v1\nname: t\ntargets: {{ web: {{ http: http://x }} }}\nscenarios:\n  s:\n    load: {text}\n    stages:\n      - {{ name: a, http: {{ target: web, get: / }} }}\n"
        );
        let told = problems(&plan);
        assert!(
            told.iter()
                .any(|(found, text)| found == code && text.contains(message)),
            "{text}: {told:?}"
        );
    }
}
