//! Defects that reviews found: what each mend must keep.

use std::fmt::Write as _;
use std::time::Duration;

use super::accept::with_stages;
use super::fake::{plan, read};
use super::refuse::{check_all, check_stages};
use crate::plan::{Action, Problem, ProblemCode};

/// A plan with these lines in `vars` and one stage.
fn with_vars(vars: &str) -> String {
    format!(
        "testmesh: v1\nname: t\nvars:\n{vars}targets:\n  web: {{ http: 'http://x' }}\nscenarios:\n  s:\n    load: once\n    stages:\n      - {{ name: a, http: {{ target: web, get: / }} }}\n"
    )
}

/// The problems of a plan, which must be found within ten seconds, in a debug build on a busy machine.
#[track_caller]
fn problems_soon(text: &str) -> Vec<Problem> {
    let started = tokio::time::Instant::now();
    let problems = read(text, &[]).map_or_else(|problems| problems, |_| Vec::new());
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    problems
}

#[test]
fn keys_that_a_group_would_ignore_are_refused() {
    let inner = "        stages:\n          - { name: s, grpc: { target: rpc, call: a/b } }\n";
    let repeat = format!(
        "      - name: g\n        repeat: {{ times: '3', parallel: true }}\n        integrity: {{ sequence: n }}\n{inner}"
    );
    let parallel = "      - name: g\n        integrity: { sequence: n }\n        parallel:\n          - { name: s, grpc: { target: rpc, call: a/b } }\n";
    let both = format!(
        "      - name: g\n        parallel:\n          - {{ name: p, http: {{ target: web, get: / }} }}\n{inner}"
    );
    check_stages(&[
        (
            &repeat,
            &[
                "14:9: conflict: `integrity` does not go with `repeat`, which has no stream (write it on the inner stage whose stream it verifies)",
            ],
        ),
        (
            parallel,
            &[
                "13:9: conflict: `integrity` does not go with `parallel`, which has no stream (write it on the inner stage whose stream it verifies)",
            ],
        ),
        (
            &both,
            &[
                "15:9: conflict: `stages` does not go with `parallel` (list the stages under `parallel`, or write `repeat: { …, parallel: true }`)",
            ],
        ),
        (
            "      - { name: a, as: i, http: { target: web, get: / } }\n",
            &[
                "12:20: conflict: `as` needs `use` (remove it; it prefixes the names of a block's stages, and a loop's variable is `repeat: { as: … }`)",
            ],
        ),
    ]);
}

#[test]
fn a_block_in_parallel_is_one_branch_and_its_stages_a_sequence() {
    let text = with_stages(
        "      - name: both\n        parallel:\n          - { use: pair, as: x }\n          - { name: alone, http: { target: web, get: / } }\n      - { name: last, http: { target: web, get: '/${session.a}' } }\n",
    ) + "blocks:\n  pair:\n    - { name: one, http: { target: web, get: / }, save: { a: status } }\n    - { name: two, http: { target: web, get: '/${session.a}' } }\n";
    let plan = plan(&text);
    let Action::Parallel(branches) = &plan.scenarios[0].stages[0].action else {
        panic!()
    };
    let names: Vec<Vec<&str>> = branches
        .iter()
        .map(|stages| stages.iter().map(|stage| stage.name.as_str()).collect())
        .collect();
    assert_eq!(names, [vec!["x.one", "x.two"], vec!["alone"]]);
}

#[test]
fn three_thousand_chained_variables_are_refused_soon_in_either_order() {
    let mut lines: Vec<String> = (1..3_000)
        .map(|at| format!("  v{at}: \"${{vars.v{}}}\"\n", at - 1))
        .collect();
    lines.insert(0, "  v0: x\n".to_owned());
    let expected = "more than 64 variables use each other in a row";
    for _ in 0..2 {
        let problems = problems_soon(&with_vars(&lines.concat()));
        let [problem] = problems.as_slice() else {
            panic!("{problems:#?}")
        };
        assert_eq!(problem.code, ProblemCode::TooLarge);
        assert_eq!(problem.message, expected);
        lines.reverse();
    }
    // Sixty-four are a row that is still accepted.
    assert_eq!(problems_soon(&with_vars(&lines[..64].concat())), []);
    assert_eq!(problems_soon(&with_vars(&lines[..65].concat())).len(), 1);
}

#[test]
fn twenty_thousand_variables_are_read_soon() {
    let mut flat = String::new();
    for at in 0..10_000 {
        writeln!(flat, "  v{at}: {at}\n  w{at}: \"x${{vars.v{at}}}\"").unwrap();
    }
    assert_eq!(problems_soon(&with_vars(&flat)), []);
    // Names are listed and searched for each of these.
    let unknown: String = (0..10_000)
        .map(|at| format!("  v{at}: \"${{vars.nothing{at}}}\"\n"))
        .collect();
    let problems = problems_soon(&with_vars(&unknown));
    assert!(
        problems
            .iter()
            .all(|problem| problem.to_string().len() < 1_000)
    );
    // A circle of all of them.
    let circle: String = (0..20_000)
        .map(|at| format!("  v{at}: \"${{vars.v{}}}\"\n", (at + 1) % 20_000))
        .collect();
    let problems = problems_soon(&with_vars(&circle));
    assert_eq!(problems[0].code, ProblemCode::Cycle);
    assert!(problems[0].message.len() < 200, "{}", problems[0]);
}

#[test]
fn variables_that_double_each_other_are_refused_before_they_fill_memory() {
    let doubling = |from: &str, twice: &str| {
        let mut text = format!("  v0: {from}\n");
        for at in 1..60 {
            let before = twice.replace('V', &format!("${{vars.v{}}}", at - 1));
            writeln!(text, "  v{at}: {before}").unwrap();
        }
        with_vars(&text)
    };
    for text in [
        doubling("xxxx", "\"V V\""),
        doubling("[x]", "[\"V\", \"V\"]"),
        doubling("{ a: x }", "{ a: \"V\", b: \"V\" }"),
    ] {
        let problems = problems_soon(&text);
        let [problem] = problems.as_slice() else {
            panic!("{problems:#?}")
        };
        assert_eq!(problem.code, ProblemCode::TooLarge);
    }
}

#[test]
fn scenarios_with_nothing_behind_them_are_no_plan() {
    let head = "testmesh: v1\nname: t\n";
    check_all(&[
        (
            format!("{head}scenarios:\n"),
            &[],
            &["3:10: bad_value: there are no scenarios (write at least one)"],
        ),
        (
            format!("{head}scenarios: {{}}\n"),
            &[],
            &["3:12: bad_value: there are no scenarios (write at least one)"],
        ),
        (
            with_stages("      - { use: b }\n") + "blocks: { b: [] }\n",
            &[],
            &["9:3: bad_value: the scenario has no stages (write at least one)"],
        ),
    ]);
}

#[test]
fn other_problems_do_not_hide_unknown_names_in_thresholds() {
    let thresholds = "thresholds:\n  - count(stage_duration{stage=\"lgoin\"}) == 0\n  - count(stage_duration{scenario=\"x\"}) == 0\n";
    let unknown = [
        "14:5: unknown_name: there is no stage `lgoin` (did you mean `login`?)",
        "15:5: unknown_name: there is no scenario `x` (there are s, setup, teardown)",
    ];
    let broken = "12:63: not_in_scope: `statsu` is not in scope (did you mean `status`?)";
    let broken_stage =
        "      - { name: login, http: { target: web, get: / }, expect: statsu == 200 }\n";
    let nameless = "      - { nmae: login, http: { target: web, get: / } }\n";
    check_all(&[
        (
            with_stages(broken_stage) + thresholds,
            &[],
            &[broken, unknown[0], unknown[1]],
        ),
        // A threshold may mean the stage whose name could not be read.
        (
            with_stages(nameless) + thresholds,
            &[],
            &[
                "12:11: unknown_key: `stage` has no key `nmae` (did you mean `name`?)",
                "12:11: missing_key: a stage needs the key `name` (names label a stage's metrics)",
                unknown[1],
            ],
        ),
    ]);
}

#[test]
fn blocks_that_no_stage_uses_are_read_for_their_problems() {
    let stage = "      - { name: a, http: { target: web, get: / } }\n";
    let blocks = |blocks: &str| format!("{}blocks:\n{blocks}", with_stages(stage));
    check_all(&[
        // Where it would stand, something may have been saved, and a loop may have a variable.
        (
            blocks(
                "  b:\n    - { name: x, http: { target: web, get: '/${session.x}/${i}/${run.y}' } }\n",
            ),
            &[],
            &[],
        ),
        (
            blocks(
                "  b:\n    - { name: x, http: { target: wbe, get: '/${vars.hots}' }, expect: status = 1 }\n  c:\n    - { use: d }\n  d:\n    - { use: c }\n",
            ),
            &[],
            &[
                "15:34: unknown_name: there is no target `wbe` (did you mean `web`?)",
                "15:48: not_in_scope: there is no `vars.hots` here (did you mean `vars.host`?)",
                "15:78: expression: the expression does not compile: unexpected '=' (CEL compares with `==`)",
                "19:14: cycle: blocks use each other: c → d → c (a block may not come back to itself)",
            ],
        ),
        (
            blocks("  b:\n    - { name: x, when: status == 1, http: { target: web, get: / } }\n"),
            &[],
            &[
                "15:24: not_in_scope: `status` is not in scope (results are for the stage's own `expect`, `until` and `save`; save what later stages need)",
            ],
        ),
    ]);
}

#[test]
fn blocks_in_blocks_are_refused_before_they_exhaust_the_stack() {
    let chain: String = (0..1_000)
        .map(|at| {
            format!(
                "  b{at}:\n    - {{ name: g{at}, repeat: {{ times: '1' }}, stages: [ {{ use: b{} }} ] }}\n",
                at + 1
            )
        })
        .collect();
    let text = with_stages("      - { use: b0 }\nblocks:\n")
        + &chain
        + "  b1000:\n    - { name: a, http: { target: web, get: / } }\n";
    let problems = problems_soon(&text);
    assert_eq!(problems[0].code, ProblemCode::TooLarge, "{}", problems[0]);
}

#[test]
fn hints_say_what_is_meant_and_mislead_nobody() {
    let load = with_stages("      - { name: a, http: { target: web, get: / } }\n");
    check_all(&[
        (
            load.replace("load: once", "load: twice"),
            &[],
            &[
                "10:11: bad_value: `twice` is no load (write `once`, or an object: `{ virtual_users: 10, for: 30s }`, `{ arrivals: 20/s, for: 30s, max_sessions: 100 }`)",
            ],
        ),
        (
            with_vars("  a: \"${1 +}\"\n  b: \"${session.id}\"\n  c: \"${vars}\"\n"),
            &[],
            &[
                "4:6: expression: the expression does not compile: unexpected end",
                "5:6: not_in_scope: `session` is not in scope (in scope are vars)",
                "6:6: cycle: a variable cannot use `vars` as a whole, which it is part of (name the variables that it uses)",
            ],
        ),
    ]);
}

#[test]
fn the_digest_follows_text_and_files_and_nothing_from_outside() {
    let text = with_stages("      - { name: a, http: { target: web, post: /, body: a.bin } }\n");
    let digest = |text: &str, sets: &[&str]| read(text, sets).unwrap().0.digest;
    let plain = digest(&text, &[]);
    assert_eq!(
        plain,
        digest(&text, &["n=7", "host=http://127.0.0.1:40000"])
    );
    assert_eq!(
        plain,
        digest(&text, &["host=http://127.0.0.1:50000", "n=8"])
    );
    assert_ne!(plain, digest(&text.replace("name: t", "name: u"), &[]));
    let without =
        with_stages("      - { name: a, http: { target: web, post: / } }\n# , body: a.bin\n");
    assert_ne!(plain, digest(&without, &[]));
}
