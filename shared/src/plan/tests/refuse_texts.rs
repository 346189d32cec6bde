//! Thresholds that are wrong, the traps of YAML, and texts that are no plan.

#![expect(clippy::too_many_lines, reason = "the functions are tables")]

use std::fmt::Write as _;

use super::accept::with_stages;
use super::fake::read;
use super::refuse::{check_all, check_stages};
use crate::plan::{MAX_PLAN, Problem, refuse_size};

#[test]
fn long_thresholds_and_phases_that_cannot_be_judged() {
    let with = |rest: &str| {
        with_stages("      - { name: login, http: { target: web, get: / } }\n") + rest + "\n"
    };
    let of = |long: &str| with(&format!("thresholds:\n  - {long}"));
    check_all(&[
        (
            of("{ expr: count(sessions_failed) == 0, abort: true }"),
            &[],
            &[],
        ),
        (
            of("{ expr: per_second(stream_rows) > 5, abort: true, over: 10m }"),
            &[],
            &[],
        ),
        (
            of("{ expr: min(streams_open) > 5, abort: true, over: 10s }"),
            &[],
            &[],
        ),
        (
            of("{ expr: count(sessions_failed) == 0, over: 500ms }"),
            &[],
            &[
                "14:48: bad_value: a sliding span has 1 second to 10 minutes, in whole seconds (write it like `over: 10s`; measurements are kept by the second)",
            ],
        ),
        (
            of("{ expr: count(sessions_failed) == 0, over: 11m }"),
            &[],
            &[
                "14:48: bad_value: a sliding span has 1 second to 10 minutes, in whole seconds (write it like `over: 10s`; measurements are kept by the second)",
            ],
        ),
        (
            of("{ expr: count(sessions_lost) == 0, after: 5s }"),
            &[],
            &[
                "14:47: threshold: `count(sessions_lost)` is known for the whole run only (judge it over the whole run, or count `sessions_started` or `sessions_failed`)",
            ],
        ),
        (
            of("{ expr: count(stream_rows) > 5, abort: true }"),
            &[],
            &[
                "14:44: threshold: `count(stream_rows)` only comes to its value later, so this would end a good run (leave `abort` out, or abort on what must not become too great)",
            ],
        ),
        (
            of("{ expr: rate(sessions_passed) > 90%, abort: true, over: 10s }"),
            &[],
            &[
                "14:49: threshold: `rate(sessions_passed)` only comes to its value later, so this would end a good run (leave `abort` out, or abort on what must not become too great)",
            ],
        ),
        (
            with(
                "phases: { early: { from: 5s, to: 5s }, warm_up: { from: 0s, to: 1s }, 'a b': { from: 0s, to: 1s } }",
            ),
            &[],
            &[
                "13:18: conflict: the phase `early` ends before it begins (let `from` be less than `to`)",
                "13:40: duplicate_name: `warm_up` is the phase of each scenario's own `warm_up` (choose another name)",
                "13:71: bad_value: `a b` is not a name (names are made of letters, digits, `_`, `-` and `.`, at most 100)",
            ],
        ),
        (
            with("phases: { early: { from: 5s, until: 5s } }"),
            &[],
            &[
                "13:20: missing_key: `phase` needs the key `to` (When it is over.)",
                "13:30: unknown_key: `phase` has no key `until` (it has `from`, `to`)",
            ],
        ),
        (
            with(
                "phases: { early: { from: 0s, to: 5s } }\nthresholds:\n  - p95(stage_duration{phase=\"erly\"}) < 1s",
            ),
            &[],
            &["15:5: unknown_name: there is no phase `erly` (did you mean `early`?)"],
        ),
    ]);
}

#[test]
fn thresholds_that_cannot_be_judged() {
    let of = |threshold: &str| {
        with_stages("      - { name: login, http: { target: web, get: / } }\n")
            + &format!("thresholds:\n  - {threshold}\n")
    };
    check_all(&[
        (
            of("p95(stage_duraton) < 5s"),
            &[],
            &[
                "14:5: threshold: there is no metric `stage_duraton` (did you mean `stage_duration`?)",
            ],
        ),
        (
            of("p95(stage_duration) < 5"),
            &[],
            &["14:5: threshold: `5` has no unit (a duration is written like `500ms`)"],
        ),
        (
            of("p95(stage_duration{stage=\"logn\"}) < 5s"),
            &[],
            &["14:5: unknown_name: there is no stage `logn` (did you mean `login`?)"],
        ),
        (
            of("p95(stage_duration{stge=\"login\"}) < 5s"),
            &[],
            &["14:5: threshold: `stage_duration` has no label `stge` (did you mean `stage`?)"],
        ),
        (
            of("p95(stage_duration{stage=login}) < 5s"),
            &[],
            &[
                "14:5: threshold: `stage=login` selects no series (write it like `{stage=\"login\", site!=\"haifa\"}`)",
            ],
        ),
        (
            of("avg(stage_duration) < 5s"),
            &[],
            &["14:5: threshold: there is no aggregate `avg` (did you mean `mean`?)"],
        ),
        (
            of("rate(stage_duration) < 1%"),
            &[],
            &[
                "14:5: threshold: `stage_duration` is a trend, which has no `rate` (trends have `count`, `sum`, `min`, `max`, `mean` and percentiles like `p95`)",
            ],
        ),
        (
            of("rate(stage_status) < 1%"),
            &[],
            &[
                "14:5: threshold: `rate(stage_status)` has nothing to divide by (use `count` or `per_second`)",
            ],
        ),
        (
            of("p95(sessions_failed) < 1"),
            &[],
            &[
                "14:5: threshold: `sessions_failed` is a counter, which has no `p95` (counters have `count`, `rate` and `per_second`)",
            ],
        ),
        (
            of("count(streams_open) > 1"),
            &[],
            &[
                "14:5: threshold: `streams_open` is a gauge, which has no `count` (gauges have `min`, `max` and `mean`)",
            ],
        ),
        // Two metrics must measure the same.
        (
            of("p95(stage_duration) < 1.5 * p95(session_duration)"),
            &[],
            &[],
        ),
        (
            of("p95(stage_duration) < count(session_duration)"),
            &[],
            &[
                "14:5: threshold: `p95(stage_duration)` is a duration, and `count(session_duration)` is a number (compare what has the same unit)",
            ],
        ),
        (
            of("rate(sessions_failed) < per_second(stream_bytes)"),
            &[],
            &[
                "14:5: threshold: `rate(sessions_failed)` is a share, and `per_second(stream_bytes)` is a size per second (compare what has the same unit)",
            ],
        ),
        (
            of("500ms < 1s"),
            &[],
            &[
                "14:5: threshold: `500ms` is not an aggregate of a metric (write it like `count(sessions_failed)`)",
            ],
        ),
        (
            of("500ms > count(sessions_failed)"),
            &[],
            &["14:5: threshold: `500ms` is not a number (a count is a plain number)"],
        ),
        (
            of("p95(stage_duration)"),
            &[],
            &[
                "14:5: threshold: a threshold compares a metric with a value or another metric (write it like `p95(stage_duration{stage=\"login\"}) < 500ms`)",
            ],
        ),
        (
            of("p95 stage_duration < 5s"),
            &[],
            &[
                "14:5: threshold: `p95 stage_duration` is not an aggregate of a metric (write it like `count(sessions_failed)`)",
            ],
        ),
        (
            of("p101(stage_duration) < 5s"),
            &[],
            &[
                "14:5: threshold: there is no aggregate `p101` (there are count, sum, rate, per_second, min, max, mean, p95, and any other percentile)",
            ],
        ),
        (
            of("count(sessions_failed) == "),
            &[],
            &["14:5: threshold: there is no value behind the comparison (write it like `< 500ms`)"],
        ),
        // Values per second of a trend are a number of measurements, like its count.
        (of("per_second(stage_duration) > 1.5"), &[], &[]),
        (
            of("per_second(stage_duration) > 100ms"),
            &[],
            &["14:5: threshold: `100ms` is not a number (a number per second is a plain number)"],
        ),
        // Nobody knows where a session that never began would have been.
        (
            of("count(sessions_unstarted{site=\"haifa\"}) == 0"),
            &[],
            &[
                "14:5: threshold: `sessions_unstarted` is known for whole scenarios only, not by `site` (leave `site` out, or count `sessions_started` or `sessions_failed`)",
            ],
        ),
        (
            of("count(sessions_lost{phase=\"warm_up\"}) == 0"),
            &[],
            &[
                "14:5: threshold: `sessions_lost` is known for whole scenarios only, not by `phase` (leave `phase` out, or count `sessions_started` or `sessions_failed`)",
            ],
        ),
        (
            of("rate(sessions_dropped{site=\"haifa\"}) < 1%"),
            &[],
            &[
                "14:5: threshold: `rate(sessions_dropped)` divides by sessions_planned, known for whole scenarios only, not by `site` (leave `site` out, or count `sessions_started` or `sessions_failed`)",
            ],
        ),
        (of("count(sessions_lost{site=\"haifa\"}) == 0"), &[], &[]),
        (of("max(streams_open{scenario=\"s\"}) >= 600"), &[], &[]),
        (
            of("2 * p99.9(stage_duration{stage=\"login\", site!=\"haifa\"}) <= 250ms"),
            &[],
            &[],
        ),
        (of("p95(stage_duration) < ${vars.n}s"), &[], &[]),
        (
            of("p95(stage_duration) < ${session.n}s"),
            &[],
            &[
                "14:29: not_in_scope: `session` is not in scope (this is resolved when the plan is loaded, where only `vars` are known)",
            ],
        ),
    ]);
}

#[test]
fn traps_of_yaml_around_expressions() {
    check_stages(&[
        (
            "      - { name: a, http: { target: web, get: / }, expect: !has(body.x) && true }\n",
            &[
                "12:59: yaml: `!` starts a YAML tag, and tags are not part of plans (an expression that starts with `!` needs quotes: '!has(body.x) && true')",
            ],
        ),
        (
            "      - name: a\n        http: { target: web, get: / }\n        expect: !has(body.x)\n",
            &[
                "14:17: yaml: `!` starts a YAML tag, and tags are not part of plans (an expression that starts with `!` needs quotes: '!has(body.x)')",
            ],
        ),
        (
            "      - name: a\n        http: { target: web, get: / }\n        expect: \"a\" == body.x\n",
            &[
                "14:21: yaml: this is not YAML: invalid trailing content after double-quoted scalar (text that goes on behind its closing quote needs quotes around the whole: '\"a\" == body.x')",
            ],
        ),
        (
            "      - name: a\n        http: { target: web, get: / }\n        expect: body.x == \"a #b\"\n",
            &[
                "14:27: expression: the expression does not compile: unexpected '\"a' (` #` starts a comment; if it belongs to the expression, quote it: 'body.x == \"a #b\"')",
            ],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, save: { x: range(1, 2), y: body.z } }\n",
            &[
                "12:62: yaml: inside of `{…}` and `[…]` a comma ends a value (quote it: 'range(1, 2)')",
            ],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, expect: [body.all(x, x > 1), true] }\n",
            &[
                "12:60: yaml: inside of `{…}` and `[…]` a comma ends a value (quote it: 'body.all(x, x > 1)')",
            ],
        ),
        (
            "      - name: a\n        http: { target: web, get: / }\n        save: { x: {'a': 1}, y: [1, 2] }\n",
            &[
                "14:20: wrong_type: an expression is expected, not a map (an expression that starts with a bracket needs quotes: \"{'a': 1}\")",
                "14:33: wrong_type: an expression is expected, not a list (an expression that starts with a bracket needs quotes: '[1, 2]')",
            ],
        ),
        (
            "      - name: a\n        http: { target: web, get: / }\n        expect: body.x == {a: b}\n",
            &[
                "14:29: yaml: this is not YAML: mapping values are not allowed in this context (text with `: ` in it needs quotes: 'body.x == {a: b}')",
            ],
        ),
        (
            "      - name: a\n        http: &h { target: web, get: / }\n      - name: b\n        http: *h\n",
            &[
                "13:15: yaml: anchors are not part of plans (write the value where it is needed, or use `vars` and `blocks`)",
                "15:15: yaml: aliases are not part of plans (write the value here, or use `vars` and `blocks`; text that starts with `*` needs quotes)",
            ],
        ),
        (
            "      - name: a\n\thttp: x\n",
            &[
                "12:15: yaml: this is not YAML: while scanning a plain scalar, found a tab (YAML is indented with spaces, not tabs)",
            ],
        ),
        (
            "      - name: a\n        http: { target: web, get: /\n",
            &[
                "13:15: yaml: this is not YAML: unclosed bracket '{' (close the bracket or quote; text that starts with one needs quotes around the whole)",
            ],
        ),
        (
            "      - name: a\n        http: { target: web, get: *x }\n",
            &[
                "13:35: yaml: aliases are not part of plans (write the value here, or use `vars` and `blocks`; text that starts with `*` needs quotes)",
            ],
        ),
    ]);
}

#[test]
fn texts_that_are_no_plan() {
    let bomb = {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (level, name) in "bcdefghi".chars().enumerate() {
            let before = char::from(b'a' + u8::try_from(level).unwrap());
            let aliases = vec![format!("*{before}"); 9].join(", ");
            writeln!(text, "{name}: &{name} [{aliases}]").unwrap();
        }
        text
    };
    let blocks = |level: u32| {
        format!(
            "  b{level}: [{}]\n",
            format!("{{ use: b{}, as: x }}, ", level + 1).repeat(9)
        )
    };
    let block_bomb = with_stages("      - { use: b0 }\nblocks:\n")
        + &(0..12).map(blocks).collect::<String>()
        + "  b12: []\n";
    let found = read(&bomb, &[]).unwrap_err();
    let aliases = found
        .iter()
        .filter(|problem| problem.message.contains("aliases"));
    assert_eq!(aliases.count(), 8 * 9);
    let found = read(&block_bomb, &[]).unwrap_err();
    let many = |problem: &Problem| problem.message.contains("more than 2000 stages");
    assert!(found.iter().any(many), "{found:#?}");
    let deep = format!("testmesh: {}", "[".repeat(500));
    let wide = format!("testmesh: [{}]", "a, ".repeat(200_000));
    let large = "#".repeat(MAX_PLAN + 1);
    check_all(&[
        (
            String::new(),
            &[],
            &["1:1: yaml: the plan is empty (a plan starts with `testmesh: v1`)"],
        ),
        (
            "# nothing\n".to_owned(),
            &[],
            &["1:1: yaml: the plan is empty (a plan starts with `testmesh: v1`)"],
        ),
        (
            "just text".to_owned(),
            &[],
            &["1:1: wrong_type: a map is expected, not text (write a map here)"],
        ),
        (
            "[a, b]".to_owned(),
            &[],
            &["1:1: wrong_type: a map is expected, not a list (write a map here)"],
        ),
        (
            "a: b\n---\nc: d\n".to_owned(),
            &[],
            &["2:1: yaml: a second document starts here (write each plan into a file of its own)"],
        ),
        (
            "%YAML 1.2\n---\na: b\n".to_owned(),
            &[],
            &[
                "1:1: yaml: this is not YAML: YAML directives are disallowed (check indentation, quotes and brackets here and on the line before)",
            ],
        ),
        (
            "? [a, b]\n: c\n".to_owned(),
            &[],
            &[
                "1:3: yaml: a key must be text (`{…}` and `[…]` at the start of text need quotes around the whole)",
            ],
        ),
        (
            "\u{0}\u{1}\u{2}".to_owned(),
            &[],
            &[
                "1:1: yaml: this is not YAML: unexpected character: `\\u{0}' (check indentation, quotes and brackets here and on the line before)",
            ],
        ),
        (
            deep,
            &[],
            &["1:266: too_large: the plan is nested too deeply (at most 64 levels are allowed)"],
        ),
        (
            wide,
            &[],
            &[
                "1:300003: too_large: the plan is too large (at most 100000 keys and values are allowed; move data into files)",
            ],
        ),
        (
            large,
            &[],
            &[
                "1:1: too_large: the plan has 4194305 bytes, more than the 4194304 allowed (move data into files that the plan names)",
            ],
        ),
    ]);
    let problem = refuse_size("plan.yaml", 100 << 20).unwrap();
    let shown = "plan.yaml:1:1: too_large: the plan has 104857600 bytes, more than the 4194304 allowed (move data into files that the plan names)";
    assert_eq!(problem.to_string(), shown);
    assert_eq!(refuse_size("plan.yaml", 100), None);
}
