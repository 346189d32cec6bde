//! Plans that are wrong: every bad input has its place, its code and a way out.

use super::accept::{LIVE_VIEW, with_stages};
use super::fake::read;
use crate::plan::{MAX_PLAN, refuse_size};

/// Reads each text and compares its problems, as `line:column: code: message (hint)`.
#[track_caller]
fn check_all(cases: &[(String, &[&str], &[&str])]) {
    let mut differences = String::new();
    for (at, (text, sets, expected)) in cases.iter().enumerate() {
        let found: Vec<String> = match read(text, sets) {
            Ok(_) => Vec::new(),
            Err(problems) => problems
                .iter()
                .map(|problem| problem.to_string().replacen("plan.yaml:", "", 1))
                .collect(),
        };
        if found != *expected {
            let shown: String = text.chars().take(200).collect();
            differences +=
                &format!("\ncase {at} found {found:#?}\nexpected {expected:#?}\nof {shown}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// Changes to the example, and the problems that they make.
#[track_caller]
fn check_changes(cases: &[(&str, &str, &[&str])]) {
    let mut all = Vec::new();
    for (from, to, problems) in cases {
        assert!(LIVE_VIEW.contains(from), "{from}");
        all.push((LIVE_VIEW.replacen(from, to, 1), &[][..], *problems));
    }
    check_all(&all);
}

/// Stages of a small plan, which start on line 12.
#[track_caller]
fn check_stages(cases: &[(&str, &[&str])]) {
    let mut all = Vec::new();
    for (stages, problems) in cases {
        all.push((with_stages(stages), &[][..], *problems));
    }
    check_all(&all);
}

#[test]
fn keys_unknown_missing_twice_and_not_yet() {
    check_changes(&[
        ("name: live-view", "name: live-view", &[]),
        ("warm_up: 5s", "warmup: 5s", &["x"]),
        ("get: /ack", "gte: /ack", &["x"]),
        ("name: live-view\n", "", &["x"]),
        (
            "    load: { virtual_users: \"${vars.users}\", for: \"${vars.for}\", ramp_up: 5s }\n",
            "",
            &["x"],
        ),
        (
            "    warm_up: 5s\n",
            "    warm_up: 5s\n    warm_up: 6s\n",
            &["x"],
        ),
        ("blocks:\n", "feeds: {}\nblocks:\n", &["x"]),
        ("virtual_users: \"${vars.users}\"", "arrivals: 20/s", &["x"]),
        (
            "truth: { agree: { group: \"live/1-50/${i}\" } }",
            "truth: { mongodb: {} }",
            &["x"],
        ),
        (
            "  frames: {",
            "  store: { mongodb: x }\n  frames: {",
            &["x"],
        ),
        (
            "        http: { target: focus, get: \"/metadata/${session.job}\" }\n",
            "        browser: { do: [] }\n",
            &["x"],
        ),
        (
            "target: focus, get: /ack",
            "target: focus, get: /ack, post: /x",
            &["x"],
        ),
        ("    http: { target: focus, get: /ack }\n", "", &["x"]),
        (
            "sequence: row_index",
            "sequence: { field: row_index, step: 2 }",
            &["x"],
        ),
        ("name: server-up", "nme: server-up", &["x"]),
        ("trace: {", "on_agent_loss: replace\ntrace: {", &["x"]),
        ("testmesh: v1", "testmesh: v2", &["x"]),
    ]);
}

#[test]
fn values_of_the_wrong_kind() {
    check_changes(&[
        ("users: 20", "users: many", &["x"]),
        ("warm_up: 5s", "warm_up: 5", &["x"]),
        ("warm_up: 5s", "warm_up: [5s]", &["x"]),
        ("warm_up: 5s", "warm_up:", &["x"]),
        ("attempts: 40", "attempts: forty", &["x"]),
        ("attempts: 40", "attempts: 0", &["x"]),
        (
            "on: [refused, unavailable]",
            "on: [refuse, 503, not_found, flaky]",
            &["x"],
        ),
        ("dropped_sessions: 1%", "dropped_sessions: 101%", &["x"]),
        ("unit: ms", "unit: msec", &["x"]),
        ("keep: [failed, slowest]", "keep: [failed, fastest]", &["x"]),
        ("scenarios:\n  live:\n", "scenarios:\n  - live:\n", &["x"]),
        (
            "        expect:\n          - status == 200\n",
            "        expect: { a: b }\n",
            &["x"],
        ),
        ("sequence: row_index", "sequence: row index", &["x"]),
        ("name: configure", "name: confi gure", &["x"]),
        ("payload: main_data", "payload: nothing", &["x"]),
        ("    cleanup:\n", "    cleanup: none\n    other:\n", &["x"]),
    ]);
}

#[test]
fn ranges_whose_end_is_before_their_start() {
    check_changes(&[
        ("ramp_up: 5s", "ramp_up: 50s, ramp_down: 20s", &["x"]),
        ("warm_up: 5s", "warm_up: 60s", &["x"]),
        (
            "for: \"${vars.for}\", ramp_up",
            "for: 10s, sessions: 5, ramp_up",
            &["x"],
        ),
        (", for: \"${vars.for}\", ramp_up: 5s", "", &["x"]),
        (
            "for: \"${vars.for}\", ramp_up: 5s",
            "sessions: 5, ramp_down: 5s",
            &["x"],
        ),
        (
            "timeout: 5s\n",
            "timeout: 5s\n        attempt_timeout: 6s\n",
            &["x"],
        ),
        (
            "virtual_users: \"${vars.users}\", for: \"${vars.for}\", ramp_up: 5s",
            "once: per_agent, for: 5s",
            &["x"],
        ),
    ]);
}

#[test]
fn variables_cyclic_unknown_and_of_the_wrong_type() {
    let small = with_stages("      - { name: a, http: { target: web, get: / } }\n");
    let with = |to: &str| small.replacen("n: 3", to, 1);
    check_all(&[
        (
            with("n: 3, a: '${vars.b}', b: '${vars.c}', c: 'x${vars.a}'"),
            &[],
            &["x"],
        ),
        (with("n: '${vars.n}'"), &[], &["x"]),
        (with("n: '${vars.m}'"), &[], &["x"]),
        (with("n: '${secrets.token}'"), &[], &["x"]),
        (with("n: '${1 +}'"), &[], &["x"]),
        (with("n-m: 3"), &[], &["x"]),
        (small.clone(), &["n=x"], &["x"]),
        (small.clone(), &["n=1.5"], &["x"]),
        (small.clone(), &["n=[1"], &["x"]),
        (small.clone(), &["hots=x"], &["x"]),
        (small.clone(), &["host=7", "n=4"], &[]),
    ]);
}

#[test]
fn expressions_that_do_not_compile_or_name_what_is_not_there() {
    check_stages(&[
        (
            "      - { name: a, http: { target: web, get: / }, expect: [status = 200] }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, expect: [statsu == 200] }\n",
            &["x"],
        ),
        (
            "      - { name: a, when: status == 200, http: { target: web, get: / } }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, get: '/${session.job}' } }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, get: '/${vars.hots}' }, expect: body.x == vars.m }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, get: '/${i}' } }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, get: '/${' } }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, post: /, json: { a: ['${vars.n}', '${x}'] } } }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, get: '/${feed.views.x}' } }\n",
            &["x"],
        ),
        (
            "      - name: a\n        http: { target: web, get: / }\n        expect:\n          - |\n            status ==\n              201 &&\n              bdy\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, save: { id: body.id, a-b: body.x } }\n",
            &["x"],
        ),
        (
            "      - name: a\n        repeat: { times: 2, as: vars }\n        stages:\n          - { name: b, http: { target: web, get: / } }\n",
            &["x"],
        ),
        (
            "      - name: a\n        repeat: { as: i }\n        stages: []\n",
            &["x"],
        ),
        (
            "      - name: a\n        parallel:\n          - { name: b, http: { target: web, get: / }, save: { x: body } }\n          - { name: c, http: { target: web, get: '/${session.x}' } }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, expect: bdy.map(x, y + size(x)).exist(z, z) }\n",
            &["x"],
        ),
    ]);
}

#[test]
fn secrets_where_their_value_would_be_kept() {
    check_stages(&[
        (
            "      - { name: a, http: { target: web, get: '/${secrets.token}' } }\n",
            &[],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, expect: body.t == secrets.token }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, save: { t: secrets.token } }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, get: '/${secrets.tokn}' } }\n",
            &["x"],
        ),
        (
            "      - { name: a, grpc: { target: rpc, call: a/b }, integrity: { sequence: n, truth: { agree: { group: '${secrets.token}' } } } }\n",
            &["x"],
        ),
    ]);
}

#[test]
fn names_unknown_and_taken() {
    check_stages(&[
        (
            "      - { name: a, http: { target: wbe, get: / } }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: rpc, get: / } }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, get: / } }\n      - { name: a, http: { target: web, get: / } }\n",
            &["x"],
        ),
        ("      - { use: nothing }\n", &["x"]),
        (
            "      - { use: b, name: x }\nblocks:\n  b: [ { use: c } ]\n  c: [ { use: b } ]\n",
            &["x"],
        ),
        (
            "      - { use: b }\n      - { use: b }\nblocks:\n  b:\n    - { name: x, http: { target: web, get: / } }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, post: /, body: b.bin } }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, post: /, body: a.bin } }\n",
            &[],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, integrity: { sequence: n } }\n",
            &["x"],
        ),
        (
            "      - { name: a, grpc: { target: rpc, call: a/b }, integrity: { payload: d } }\n",
            &["x"],
        ),
        (
            "      - { name: a, grpc: { target: rpc, call: a/b }, integrity: { payload: d, truth: { agree: { group: g, of: stream } } } }\n",
            &[],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, stall: 2s, every: 1s }\n",
            &["x"],
        ),
        ("      []\n", &["x"]),
    ]);
}

#[test]
fn thresholds_that_cannot_be_judged() {
    let of = |threshold: &str| {
        with_stages("      - { name: login, http: { target: web, get: / } }\n")
            + &format!("thresholds:\n  - {threshold}\n")
    };
    check_all(&[
        (of("p95(stage_duraton) < 5s"), &[], &["x"]),
        (of("p95(stage_duration) < 5"), &[], &["x"]),
        (of("p95(stage_duration{stage=\"logn\"}) < 5s"), &[], &["x"]),
        (of("p95(stage_duration{stge=\"login\"}) < 5s"), &[], &["x"]),
        (of("p95(stage_duration{stage=login}) < 5s"), &[], &["x"]),
        (of("avg(stage_duration) < 5s"), &[], &["x"]),
        (of("rate(stage_duration) < 1%"), &[], &["x"]),
        (of("rate(stage_status) < 1%"), &[], &["x"]),
        (of("p95(sessions_failed) < 1"), &[], &["x"]),
        (of("count(streams_open) > 1"), &[], &["x"]),
        (
            of("p95(stage_duration) < 1.5 * p95(session_duration)"),
            &[],
            &["x"],
        ),
        (of("p95(stage_duration)"), &[], &["x"]),
        (of("p95 stage_duration < 5s"), &[], &["x"]),
        (of("p101(stage_duration) < 5s"), &[], &["x"]),
        (of("count(sessions_failed) == "), &[], &["x"]),
        (
            of("{ expr: count(sessions_failed) == 0, abort: true }"),
            &[],
            &["x"],
        ),
        (of("max(streams_open{scenario=\"s\"}) >= 600"), &[], &[]),
        (
            of("2 * p99.9(stage_duration{stage=\"login\", site!=\"haifa\"}) <= 250ms"),
            &[],
            &[],
        ),
        (of("p95(stage_duration) < ${vars.n}s"), &[], &[]),
        (of("p95(stage_duration) < ${session.n}s"), &[], &["x"]),
    ]);
}

#[test]
fn traps_of_yaml_around_expressions() {
    check_stages(&[
        (
            "      - { name: a, http: { target: web, get: / }, expect: !has(body.x) && true }\n",
            &["x"],
        ),
        (
            "      - name: a\n        http: { target: web, get: / }\n        expect: !has(body.x)\n",
            &["x"],
        ),
        (
            "      - name: a\n        http: { target: web, get: / }\n        expect: \"a\" == body.x\n",
            &["x"],
        ),
        (
            "      - name: a\n        http: { target: web, get: / }\n        expect: body.x == \"a #b\"\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, save: { x: range(1, 2), y: body.z } }\n",
            &["x"],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, expect: [body.all(x, x > 1), true] }\n",
            &["x"],
        ),
        (
            "      - name: a\n        http: { target: web, get: / }\n        save: { x: {'a': 1}, y: [1, 2] }\n",
            &["x"],
        ),
        (
            "      - name: a\n        http: { target: web, get: / }\n        expect: body.x == {a: b}\n",
            &["x"],
        ),
        (
            "      - name: a\n        http: &h { target: web, get: / }\n      - name: b\n        http: *h\n",
            &["x"],
        ),
        ("      - name: a\n\thttp: x\n", &["x"]),
        (
            "      - name: a\n        http: { target: web, get: /\n",
            &["x"],
        ),
        (
            "      - name: a\n        http: { target: web, get: *x }\n",
            &["x"],
        ),
    ]);
}

#[test]
fn texts_that_are_no_plan() {
    let bomb = {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (level, name) in "bcdefghi".chars().enumerate() {
            let before = char::from(b'a' + u8::try_from(level).unwrap());
            text += &format!(
                "{name}: &{name} [{}]\n",
                vec![format!("*{before}"); 9].join(", ")
            );
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
    assert_eq!(found.len(), 9 + 8 * 9 + 9 + 4, "{found:#?}");
    let found = read(&block_bomb, &[]).unwrap_err();
    assert!(
        found
            .iter()
            .all(|problem| problem.to_string().contains("x")),
        "{found:#?}"
    );
    let deep = format!("testmesh: {}", "[".repeat(500));
    let wide = format!("testmesh: [{}]", "a, ".repeat(200_000));
    let large = "#".repeat(MAX_PLAN + 1);
    check_all(&[
        (String::new(), &[], &["x"]),
        ("# nothing\n".to_owned(), &[], &["x"]),
        ("just text".to_owned(), &[], &["x"]),
        ("[a, b]".to_owned(), &[], &["x"]),
        ("a: b\n---\nc: d\n".to_owned(), &[], &["x"]),
        ("%YAML 1.2\n---\na: b\n".to_owned(), &[], &["x"]),
        ("? [a, b]\n: c\n".to_owned(), &[], &["x"]),
        ("\u{0}\u{1}\u{2}".to_owned(), &[], &["x"]),
        (deep, &[], &["x"]),
        (wide, &[], &["x"]),
        (large, &[], &["x"]),
    ]);
    let problem = refuse_size("plan.yaml", 100 << 20).unwrap();
    assert_eq!(problem.to_string(), "x");
    assert_eq!(refuse_size("plan.yaml", 100), None);
}
