//! Plans that are wrong: every bad input has its place, its code and a way out.

#![expect(clippy::too_many_lines, reason = "the functions are tables")]

use super::accept::{LIVE_VIEW, with_stages};
use super::fake::read;

/// Reads each text and compares its problems, as `line:column: code: message (hint)`.
#[track_caller]
pub(super) fn check_all(cases: &[(String, &[&str], &[&str])]) {
    let mut differences = Vec::new();
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
            differences.push(format!(
                "case {at} found {found:#?}\nexpected {expected:#?}\nof {shown}\n"
            ));
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
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
pub(super) fn check_stages(cases: &[(&str, &[&str])]) {
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
            "virtual_users: \"${vars.users}\"",
            "capacity: 20",
            &[
                "29:13: not_yet: this build knows `capacity`, but does not run it yet (remove it, or use a build that runs it)",
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
            &[],
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
                "39:17: wrong_type: an expression is expected, not a map (an expression that starts with a bracket needs quotes: '{ a: b }')",
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
                "30:14: conflict: the warm-up is as long as the load, so nothing would be judged (shorten it, or lengthen the load)",
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
            &["29:30: unknown_key: `load: once` has no key `for` (it has `once`)"],
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
            &["3:12: expression: the expression does not compile: unexpected end"],
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
