//! Plans that are wrong: every bad input has its place, its code and a way out.

use super::accept::{LIVE_VIEW, with_stages};
use super::fake::read;
use crate::plan::{MAX_PLAN, refuse_size};

/// Reads a text and compares its problems, as `line:column code: message (hint)`.
#[track_caller]
fn check(text: &str, problems: &[&str]) {
    check_set(text, &[], problems);
}

#[track_caller]
fn check_set(text: &str, sets: &[&str], expected: &[&str]) {
    let found = match read(text, sets) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .iter()
            .map(|problem| {
                problem
                    .to_string()
                    .replacen("plan.yaml:", "", 1)
                    .replacen(": ", " ", 1)
            })
            .collect(),
    };
    assert_eq!(
        found,
        expected,
        "\n{}\n--- of\n{}",
        found.join("\n"),
        text.chars().take(2_000).collect::<String>()
    );
}

/// A change to the example, and the problems that it makes.
#[track_caller]
fn check_change(from: &str, to: &str, problems: &[&str]) {
    assert!(LIVE_VIEW.contains(from), "{from}");
    check(&LIVE_VIEW.replacen(from, to, 1), problems);
}

#[test]
fn the_example_has_no_problem() {
    check(LIVE_VIEW, &[]);
}

#[test]
fn keys_unknown_missing_twice_and_not_yet() {
    check_change("warm_up: 5s", "warmup: 5s", &["x"]);
    check_change("get: /ack", "gte: /ack", &["x"]);
    check_change("name: live-view\n", "", &["x"]);
    check_change(
        "    load: { virtual_users: \"${vars.users}\", for: \"${vars.for}\", ramp_up: 5s }\n",
        "",
        &["x"],
    );
    check_change(
        "    warm_up: 5s\n",
        "    warm_up: 5s\n    warm_up: 6s\n",
        &["x"],
    );
    check_change("blocks:\n", "feeds: {}\nblocks:\n", &["x"]);
    check_change("virtual_users: \"${vars.users}\"", "arrivals: 20/s", &["x"]);
    check_change(
        "truth: { agree: { group: \"live/1-50/${i}\" } }",
        "truth: { mongodb: {} }",
        &["x"],
    );
    check_change(
        "  frames: {",
        "  store: { mongodb: x }\n  frames: {",
        &["x"],
    );
    check_change(
        "        http: { target: focus, get: \"/metadata/${session.job}\" }\n",
        "        browser: { do: [] }\n",
        &["x"],
    );
    check_change(
        "target: focus, get: /ack",
        "target: focus, get: /ack, post: /x",
        &["x"],
    );
    check_change("    http: { target: focus, get: /ack }\n", "", &["x"]);
}
