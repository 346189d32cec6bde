//! Plans that are wrong: every bad input has its place, its code and a way out.

use super::accept::{LIVE_VIEW, with_stages};
use super::fake::read;
use crate::plan::{MAX_PLAN, Problem, refuse_size};

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
        (
            "warm_up: 5s",
            "warmup: 5s",
            &["30:5: unknown_key: `scenario` has no key `warmup` (did you mean `warm_up`?)"],
        ),
        (
            "get: /ack",
            "gte: /ack",
            &[
                "22:13: missing_key: `http` needs one of `get`, `post` (write exactly one of them)",
                "22:28: unknown_key: `http` has no key `gte` (did you mean `get`?)",
            ],
        ),
        (
            "name: live-view\n",
            "",
            &["1:1: missing_key: `plan` needs the key `name` (Names the plan in reports.)"],
        ),
        (
            "    load: { virtual_users: \"${vars.users}\", for: \"${vars.for}\", ramp_up: 5s }\n",
            "",
            &[
                "29:5: missing_key: `scenario` needs the key `load` (Who starts sessions, and when.)",
            ],
        ),
        (
            "    warm_up: 5s\n",
            "    warm_up: 5s\n    warm_up: 6s\n",
            &[
                "31:5: duplicate_key: `warm_up` is written twice (the first one is on line 30; remove one of them)",
            ],
        ),
        (
            "blocks:\n",
            "feeds: {}\nblocks:\n",
            &[
                "15:1: not_yet: this build knows `feeds`, but does not run it yet (remove it, or use a build that runs it)",
            ],
        ),
        (
            "virtual_users: \"${vars.users}\"",
            "arrivals: 20/s",
            &[
                "29:13: not_yet: this build knows `arrivals`, but does not run it yet (remove it, or use a build that runs it)",
            ],
        ),
        (
            "truth: { agree: { group: \"live/1-50/${i}\" } }",
            "truth: { mongodb: {} }",
            &[
                "60:24: not_yet: this build knows `mongodb`, but does not run it yet (remove it, or use a build that runs it)",
            ],
        ),
        (
            "  frames: {",
            "  store: { mongodb: x }\n  frames: {",
            &[
                "13:12: not_yet: this build knows `mongodb`, but does not run it yet (remove it, or use a build that runs it)",
            ],
        ),
        (
            "        http: { target: focus, get: \"/metadata/${session.job}\" }\n",
            "        browser: { do: [] }\n",
            &[
                "64:9: not_yet: this build knows `browser`, but does not run it yet (remove it, or use a build that runs it)",
            ],
        ),
        (
            "target: focus, get: /ack",
            "target: focus, get: /ack, post: /x",
            &["22:39: conflict: `get` and `post` exclude each other (remove one of them)"],
        ),
        (
            "    http: { target: focus, get: /ack }\n",
            "",
            &[
                "21:5: missing_key: a stage needs a driver, or `repeat`, `parallel` or `use` (write one of `http`, `grpc`, `repeat`, `parallel`, `use`)",
            ],
        ),
        (
            "sequence: row_index",
            "sequence: { field: row_index, step: 2 }",
            &["56:51: not_yet: this build does not run steps other than 1 yet (remove `step`)"],
        ),
        (
            "name: server-up",
            "nme: server-up",
            &[
                "21:5: unknown_key: `stage` has no key `nme` (did you mean `name`?)",
                "21:5: missing_key: a stage needs the key `name` (names label a stage's metrics)",
            ],
        ),
        (
            "trace: {",
            "on_agent_loss: replace\ntrace: {",
            &[
                "76:16: not_yet: this build does not replace lost agents yet (write `inconclusive`, or remove the key)",
            ],
        ),
        (
            "testmesh: v1",
            "testmesh: v2",
            &["1:11: bad_value: `v2` is not known here (did you mean `v1`?)"],
        ),
    ]);
}

#[test]
fn values_of_the_wrong_kind() {
    check_changes(&[
        (
            "users: 20",
            "users: many",
            &[
                "29:28: bad_value: `many` is not a whole number (a whole number is written like `20`)",
            ],
        ),
        (
            "warm_up: 5s",
            "warm_up: 5",
            &[
                "30:14: bad_value: `5` has no unit (a duration is written like `250ms`, `30s` or `1m30s`)",
            ],
        ),
        (
            "warm_up: 5s",
            "warm_up: [5s]",
            &["30:14: wrong_type: a duration is expected, not a list (write a duration here)"],
        ),
        (
            "warm_up: 5s",
            "warm_up:",
            &[
                "30:12: wrong_type: a duration is expected, but nothing is written (write a duration here)",
            ],
        ),
        (
            "attempts: 40",
            "attempts: forty",
            &[
                "54:32: bad_value: `forty` is not a whole number (a whole number is written like `20`)",
            ],
        ),
        (
            "attempts: 40",
            "attempts: 0",
            &["54:32: bad_value: `0` is less than 1 (a whole number is written like `20`)"],
        ),
        (
            "on: [refused, unavailable]",
            "on: [refuse, 503, not_found, flaky]",
            &[
                "54:41: bad_value: `refuse` is neither an error kind nor a status (did you mean `refused`?)",
                "54:65: bad_value: `flaky` is neither an error kind nor a status (error kinds are timeout, refused, unavailable, reset, protocol, status, expectation, integrity, cancelled, internal)",
            ],
        ),
        (
            "dropped_sessions: 1%",
            "dropped_sessions: 101%",
            &[
                "75:47: bad_value: `101%` is not between 0% and 100% (a share is written like `1%` or `0.01`)",
            ],
        ),
        (
            "unit: ms",
            "unit: msec",
            &["59:59: bad_value: `msec` is not known here (write one of s, ms, us, ns)"],
        ),
        (
            "keep: [failed, slowest]",
            "keep: [failed, fastest]",
            &["76:37: bad_value: `fastest` is not known here (write one of failed, slowest)"],
        ),
        (
            "scenarios:\n  live:\n",
            "scenarios:\n  - live:\n",
            &["28:3: wrong_type: a map is expected, not a list (write a map here)"],
        ),
        (
            "        expect:\n          - status == 200\n          - size(body.frequencies_list) == body.frequencies_amount\n",
            "        expect: { a: b }\n",
            &[
                "40:11: yaml: this is not YAML: while parsing a block mapping, did not find expected key (check indentation, quotes and brackets here and on the line before)",
            ],
        ),
        (
            "sequence: row_index",
            "sequence: row index",
            &[
                "56:25: bad_value: `row index` is not a field (write the field's name, or a path like `a.b`)",
            ],
        ),
        (
            "name: configure",
            "name: confi gure",
            &[
                "33:15: bad_value: `confi gure` is not a name (names are made of letters, digits, `_`, `-` and `.`, at most 100)",
            ],
        ),
        (
            "payload: main_data",
            "payload: nothing",
            &["58:24: proto: there is no field `nothing` (see the proto)"],
        ),
        (
            "    cleanup:\n",
            "    cleanup: none\n    other:\n",
            &[
                "61:14: wrong_type: a list is expected, not text (write a list here)",
                "62:5: unknown_key: `scenario` has no key `other` (it has `load`, `sites`, `warm_up`, `graceful_stop`, `stages`, `cleanup`, `start`, `after`)",
            ],
        ),
    ]);
}

#[test]
fn ranges_whose_end_is_before_their_start() {
    check_changes(&[
        (
            "ramp_up: 5s",
            "ramp_up: 50s, ramp_down: 20s",
            &[
                "29:90: conflict: the ramps are longer than the load (shorten them, or lengthen `for`)",
            ],
        ),
        (
            "warm_up: 5s",
            "warm_up: 60s",
            &[
                "30:14: conflict: the warm-up is as long as the load, so nothing would be judged (shorten it, or lengthen `for`)",
            ],
        ),
        (
            "for: \"${vars.for}\", ramp_up",
            "for: 10s, sessions: 5, ramp_up",
            &["29:55: conflict: `for` and `sessions` exclude each other (remove one of them)"],
        ),
        (
            ", for: \"${vars.for}\", ramp_up: 5s",
            "",
            &[
                "29:11: missing_key: `virtual_users` needs `for` or `sessions` (say how long they run, or how many sessions)",
            ],
        ),
        (
            "for: \"${vars.for}\", ramp_up: 5s",
            "sessions: 5, ramp_down: 5s",
            &[
                "29:69: conflict: `ramp_down` needs an end in time (use `for` instead of `sessions`)",
            ],
        ),
        (
            "timeout: 5s\n",
            "timeout: 5s\n        attempt_timeout: 6s\n",
            &[
                "44:26: conflict: one try may take longer than the whole stage (shorten it, or lengthen `timeout`)",
            ],
        ),
        (
            "virtual_users: \"${vars.users}\", for: \"${vars.for}\", ramp_up: 5s",
            "once: per_agent, for: 5s",
            &["29:30: conflict: `for` does not go with `once` (remove it, or use `virtual_users`)"],
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
            &[
                "3:15: cycle: variables use each other: a → b → c → a (give one of them a value of its own)",
            ],
        ),
        (
            with("n: '${vars.n}'"),
            &[],
            &["3:9: cycle: variables use each other: n → n (give one of them a value of its own)"],
        ),
        (
            with("n: '${vars.m}'"),
            &[],
            &["3:12: not_in_scope: there is no `vars.m` here (there are n, host, other)"],
        ),
        (
            with("n: '${secrets.token}'"),
            &[],
            &["3:12: not_in_scope: `secrets` is not in scope (in scope are vars)"],
        ),
        (
            with("n: '${1 +}'"),
            &[],
            &[
                "3:12: expression: the expression does not compile: unexpected end (variables may use `vars` only)",
            ],
        ),
        (
            with("n-m: 3"),
            &[],
            &[
                "3:9: bad_value: `n-m` cannot be read as `vars.…` (names of variables are made of letters, digits and `_`)",
            ],
        ),
        (
            small.clone(),
            &["n=x"],
            &[
                "3:9: wrong_type: `n` is set to `x`, but its default is a whole number (set it to a whole number)",
            ],
        ),
        (
            small.clone(),
            &["n=1.5"],
            &[
                "3:9: wrong_type: `n` is set to `1.5`, but its default is a whole number (set it to a whole number)",
            ],
        ),
        (
            small.clone(),
            &["n=[1"],
            &[
                "3:9: bad_value: `n` is set to `[1`: this is not YAML: unclosed bracket '[' (values are written in YAML)",
            ],
        ),
        (
            small.clone(),
            &["hots=x"],
            &["3:1: unknown_name: the plan has no variable `hots` to set (did you mean `host`?)"],
        ),
        (small.clone(), &["host=7", "n=4"], &[]),
    ]);
}

#[test]
fn expressions_that_do_not_compile_or_name_what_is_not_there() {
    check_stages(&[
        (
            "      - { name: a, http: { target: web, get: / }, expect: [status = 200] }\n",
            &[
                "12:67: expression: the expression does not compile: unexpected '=' (CEL compares with `==`)",
            ],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, expect: [statsu == 200] }\n",
            &["12:60: not_in_scope: `statsu` is not in scope (did you mean `status`?)"],
        ),
        (
            "      - { name: a, when: status == 200, http: { target: web, get: / } }\n",
            &[
                "12:26: not_in_scope: `status` is not in scope (results are for the stage's own `expect`, `until` and `save`; save what later stages need)",
            ],
        ),
        (
            "      - { name: a, http: { target: web, get: '/${session.job}' } }\n",
            &[
                "12:50: not_in_scope: there is no `session.job` here (there are id, index, virtual_user)",
            ],
        ),
        (
            "      - { name: a, http: { target: web, get: '/${vars.hots}' }, expect: body.x == vars.m }\n",
            &[
                "12:50: not_in_scope: there is no `vars.hots` here (did you mean `vars.host`?)",
                "12:83: not_in_scope: there is no `vars.m` here (there are n, host, other)",
            ],
        ),
        (
            "      - { name: a, http: { target: web, get: '/${i}' } }\n",
            &[
                "12:50: not_in_scope: `i` is not in scope (in scope are agent, run, secrets, session, vars)",
            ],
        ),
        (
            "      - { name: a, http: { target: web, get: '/${' } }\n",
            &[
                "12:48: expression: `${` without its `}` (close it, or write `$${` for a literal `${`)",
            ],
        ),
        (
            "      - { name: a, http: { target: web, post: /, json: { a: ['${vars.n}', '${x}'] } } }\n",
            &[
                "12:78: not_in_scope: `x` is not in scope (in scope are agent, run, secrets, session, vars)",
            ],
        ),
        (
            "      - { name: a, http: { target: web, get: '/${feed.views.x}' } }\n",
            &["12:50: not_in_scope: `feed` is not in scope (feeds are not run by this build yet)"],
        ),
        (
            "      - name: a\n        http: { target: web, get: / }\n        expect:\n          - |\n            status ==\n              201 &&\n              bdy\n",
            &["16:13: not_in_scope: `bdy` is not in scope (did you mean `body`?)"],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, save: { id: body.id, a-b: body.x } }\n",
            &[
                "12:59: bad_value: `id` cannot be saved as `session.id` (choose another name of letters, digits and `_`)",
                "12:72: bad_value: `a-b` cannot be saved as `session.a-b` (choose another name of letters, digits and `_`)",
            ],
        ),
        (
            "      - name: a\n        repeat: { times: 2, as: vars }\n        stages:\n          - { name: b, http: { target: web, get: / } }\n",
            &[
                "13:33: bad_value: `vars` cannot be a loop variable (choose a name of letters, digits and `_` that nothing else has)",
            ],
        ),
        (
            "      - name: a\n        repeat: { as: i }\n        stages: []\n",
            &[
                "13:17: missing_key: `repeat` needs `stages` beside it (write what is repeated under `stages`)",
                "13:19: missing_key: `repeat` needs one of `times`, `each` (write exactly one of them)",
            ],
        ),
        (
            "      - name: a\n        parallel:\n          - { name: b, http: { target: web, get: / }, save: { x: body } }\n          - { name: c, http: { target: web, get: '/${session.x}' } }\n",
            &[
                "15:54: not_in_scope: there is no `session.x` here (there are id, index, virtual_user)",
            ],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, expect: bdy.map(x, y + size(x)).exist(z, z) }\n",
            &[
                "12:59: yaml: inside of `{…}` and `[…]` a comma ends a value (quote it: 'bdy.map(x, y + size(x)).exist(z, z)')",
                "12:88: not_in_scope: there is no function `exist` (did you mean `exists`?)",
            ],
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
            &[
                "12:59: secret_exposed: a secret may not be read here (secrets may stand in addresses, headers, metadata, bodies and messages)",
            ],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, save: { t: secrets.token } }\n",
            &[
                "12:62: secret_exposed: a secret may not be read here (secrets may stand in addresses, headers, metadata, bodies and messages)",
            ],
        ),
        (
            "      - { name: a, http: { target: web, get: '/${secrets.tokn}' } }\n",
            &[
                "12:50: not_in_scope: there is no `secrets.tokn` here (did you mean `secrets.token`?)",
            ],
        ),
        (
            "      - { name: a, grpc: { target: rpc, call: a/b }, integrity: { sequence: n, truth: { agree: { group: '${secrets.token}' } } } }\n",
            &[
                "12:105: secret_exposed: a secret may not be read here (secrets may stand in addresses, headers, metadata, bodies and messages)",
            ],
        ),
    ]);
}

#[test]
fn names_unknown_and_taken() {
    check_stages(&[
        (
            "      - { name: a, http: { target: wbe, get: / } }\n",
            &["12:36: unknown_name: there is no target `wbe` (did you mean `web`?)"],
        ),
        (
            "      - { name: a, http: { target: rpc, get: / } }\n",
            &[
                "12:36: wrong_type: `rpc` is a target for grpc, not for http (name a target with the key `http`)",
            ],
        ),
        (
            "      - { name: a, http: { target: web, get: / } }\n      - { name: a, http: { target: web, get: / } }\n",
            &[
                "13:17: duplicate_name: there is another stage `a` (the first one is on line 12; names label metrics: rename one, or use `as` with `use`)",
            ],
        ),
        (
            "      - { use: nothing }\n",
            &["12:16: unknown_name: there is no block `nothing` (declare it under `blocks`)"],
        ),
        (
            "      - { use: b, name: x }\nblocks:\n  b: [ { use: c } ]\n  c: [ { use: b } ]\n",
            &[
                "12:19: conflict: `name` does not go with `use` (write it into the block's stages; `as` prefixes their names)",
                "15:15: cycle: blocks use each other: b → c → b (a block may not come back to itself)",
            ],
        ),
        (
            "      - { use: b }\n      - { use: b }\nblocks:\n  b:\n    - { name: x, http: { target: web, get: / } }\n",
            &[
                "16:15: duplicate_name: there is another stage `x` (the first one is on line 16; names label metrics: rename one, or use `as` with `use`)",
            ],
        ),
        (
            "      - { name: a, http: { target: web, post: /, body: b.bin } }\n",
            &["12:56: file: `b.bin` cannot be read: no such file (paths are relative to the plan)"],
        ),
        (
            "      - { name: a, http: { target: web, post: /, body: a.bin } }\n",
            &[],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, integrity: { sequence: n } }\n",
            &[
                "12:62: conflict: this stage has no stream whose rows could be verified (remove `integrity`, or move it to a stage with a stream)",
            ],
        ),
        (
            "      - { name: a, grpc: { target: rpc, call: a/b }, integrity: { payload: d } }\n",
            &[
                "12:65: missing_key: `integrity` needs the key `sequence` (write the field that numbers the rows, or compare whole streams with `truth: { agree: { …, of: stream } }`)",
            ],
        ),
        (
            "      - { name: a, grpc: { target: rpc, call: a/b }, integrity: { payload: d, truth: { agree: { group: g, of: stream } } } }\n",
            &[],
        ),
        (
            "      - { name: a, http: { target: web, get: / }, stall: 2s, every: 1s }\n",
            &[
                "12:58: conflict: this stage has no stream that could stall (remove `stall`)",
                "12:69: conflict: `every` needs `until` (write what to wait for, or remove `every`)",
            ],
        ),
        (
            "      []\n",
            &["9:3: bad_value: the scenario has no stages (write at least one)"],
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
                "14:5: threshold: `stage_duration` is a trend, which has no `rate` (trends have `count`, `min`, `max`, `mean` and percentiles like `p95`)",
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
        (
            of("p95(stage_duration) < 1.5 * p95(session_duration)"),
            &[],
            &["14:5: not_yet: this build does not compare two metrics yet (compare with a value)"],
        ),
        (
            of("p95(stage_duration)"),
            &[],
            &[
                "14:5: threshold: a threshold compares a metric with a value (write it like `p95(stage_duration{stage=\"login\"}) < 500ms`)",
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
        (
            of("{ expr: count(sessions_failed) == 0, abort: true }"),
            &[],
            &[
                "14:42: not_yet: this build knows `abort`, but does not run it yet (remove it, or use a build that runs it)",
            ],
        ),
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
            &[
                "1:266: yaml: this is not YAML: recursion limit exceeded (check indentation, quotes and brackets here and on the line before)",
            ],
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
    assert_eq!(problem.to_string(), "x");
    assert_eq!(refuse_size("plan.yaml", 100), None);
}
