//! How problems, the reference and the schema look.

use super::accept::{LIVE_VIEW, with_stages};
use super::fake::{FORMS, read};
use crate::plan::{Colour, reference, render, schema};

#[test]
fn problems_are_shown_with_their_place_and_a_hint() {
    let text = LIVE_VIEW
        .replacen("warm_up: 5s", "warmup: 5s", 1)
        .replacen(
            "size(body.frequencies_list)",
            "size(bdy.frequencies_list)",
            1,
        )
        .replacen(
            "p99(stream_first_message) < 2s",
            "p99(stream_frist_message) < 2",
            1,
        );
    let problems = read(&text, &[]).unwrap_err();
    insta::assert_snapshot!("problems", render(&problems, &text, Colour::Never));
    assert!(render(&problems, &text, Colour::Always).contains('\u{1b}'));
}

#[test]
fn a_long_line_is_shown_around_its_problem() {
    let long = "x".repeat(5_000);
    let text = format!(
        "testmesh: v1\nname: t\ndescription: {long}\nvars: {{ a: '{long}', b: '${{vars.c}}', d: '{long}' }}\nscenarios: {{}}\n"
    );
    let problems = read(&text, &[]).unwrap_err();
    let shown = render(&problems, &text, Colour::Never);
    let place = format!("test.yaml:4:{}", 5_000 + 20);
    assert!(
        shown.contains("${vars.c}") && shown.contains("…xxx"),
        "{shown}"
    );
    assert!(
        shown.contains("[test.yaml:4:5") || shown.contains("[plan.yaml:4:5"),
        "the column is the plan's, near {place}: {shown}"
    );
    let longest = shown.lines().map(|line| line.chars().count()).max();
    assert!(longest < Some(260), "{longest:?}");
}

#[test]
fn traps_are_shown_with_the_quoted_form() {
    let text = with_stages(
        "      - name: a\n        http: { target: web, get: / }\n        expect: !has(body.x) && status == 200\n",
    );
    let problems = read(&text, &[]).unwrap_err();
    insta::assert_snapshot!("trap", render(&problems, &text, Colour::Never));
}

#[test]
fn the_reference_has_every_key() {
    insta::assert_snapshot!("reference", reference(&FORMS));
}

#[test]
fn the_schema_has_every_key_that_is_run() {
    insta::assert_json_snapshot!("schema", schema(&FORMS));
}
