//! Stages beside a stream: what they may read, who may read what they save, and what is wrong with them.

use super::accept::with_stages;
use super::fake::{plan, problems};
use super::refuse::check_stages;
use crate::plan::{Action, Stage};

/// A stream with these stages beside it, and this in its own keys.
fn stream(more: &str, during: &str) -> String {
    format!(
        "      - name: a\n        grpc:\n          target: rpc\n          call: a/b\n          {more}\n          during:\n{during}"
    )
}

const SAVES: &str =
    "            - { name: b, http: { target: web, get: / }, save: { x: body.x } }\n";

#[test]
fn they_are_read_like_all_stages() {
    let inner = "            - { name: b, http: { target: web, get: / }, save: { x: body.x } }\n            - { name: c, http: { target: web, get: '/${session.x}' } }\n            - { name: d, repeat: { times: \"2\", as: i }, stages: [ { name: e, http: { target: web, get: '/${i}' } } ] }\n";
    let after = "      - { name: f, http: { target: web, get: '/${session.x}' } }\n";
    let plan = plan(&with_stages(&(stream("", inner) + after)));
    let [stream, _] = &plan.scenarios[0].stages[..] else {
        panic!("two stages")
    };
    let Action::Drive { during, .. } = &stream.action else {
        panic!("a driver's stage")
    };
    let names = |stages: Vec<&Stage>| {
        stages
            .iter()
            .map(|stage| stage.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(stream.inner().collect()), ["b", "c", "d"]);
    assert_eq!(names(during[2].inner().collect()), ["e"]);
}

#[test]
fn a_stage_is_named_with_and_without_its_prefixes() {
    let text = "blocks:\n  act:\n    - { name: b, http: { target: web, get: / } }\n".to_owned();
    let used = stream("", "            - { use: act, as: p }\n");
    let plan = plan(&with_stages(&used).replacen("scenarios:", &(text + "scenarios:"), 1));
    let Action::Drive { during, .. } = &plan.scenarios[0].stages[0].action else {
        panic!("a driver's stage")
    };
    let named = |name: &str| during.iter().filter(|stage| stage.is_named(name)).count();
    assert_eq!([named("b"), named("p.b")], [1, 1]);
    assert_eq!([named(".b"), named("."), named("c")], [0, 0, 0]);
}

#[test]
fn they_are_nested_no_deeper_than_other_stages() {
    let open = |depth| format!("{{ name: n{depth}, grpc: {{ target: rpc, call: a/b, during: [ ");
    let text: String = (0..40).map(open).collect();
    let inner = "{ name: b, http: { target: web, get: / } }";
    let text = format!("      - {text}{inner}{}\n", " ] } }".repeat(40));
    let problems = problems(&with_stages(&text));
    assert!(
        problems.iter().any(|(code, _)| code == "too_large"),
        "{problems:?}"
    );
}

#[test]
fn what_they_save_is_there_for_what_runs_beside_and_after() {
    let beside = stream("when: message.x == session.x", SAVES);
    let own = beside.clone() + "        expect: [stream.messages > session.x]\n";
    let before = stream("message: { x: '${session.x}' }", SAVES);
    let address = stream("address: '${session.x}'", SAVES);
    let unsaved = stream("when: message.x == session.y", SAVES);
    check_stages(&[
        (&beside, &[]),
        (&own, &[]),
        (
            &before,
            &[
                "16:28: not_in_scope: there is no `session.x` here (there are id, index, virtual_user)",
            ],
        ),
        (
            &address,
            &[
                "16:23: not_in_scope: there is no `session.x` here (there are id, index, virtual_user)",
            ],
        ),
        (
            &unsaved,
            &[
                "16:30: not_in_scope: there is no `session.y` here (there are id, index, virtual_user, x)",
            ],
        ),
    ]);
}

#[test]
fn what_is_wrong_with_them_is_told() {
    let twice = stream(
        "",
        "            - { name: a, http: { target: web, get: / } }\n",
    );
    let unknown = stream(
        "",
        "            - { name: b, http: { target: web, gte: / }, extra: 1 }\n",
    );
    let empty = "      - { name: a, grpc: { target: rpc, call: a/b, during: [] } }\n";
    let elsewhere = "      - { name: a, http: { target: web, get: /, during: [] } }\n";
    let forbidden = stream(
        "",
        "            - { name: forbidden, http: { target: web, get: / } }\n",
    );
    let results = stream(
        "",
        "            - { name: b, http: { target: web, get: / }, when: message.x }\n",
    );
    check_stages(&[
        (
            &twice,
            &[
                "18:23: duplicate_name: there is another stage `a` (the first one is on line 12; names label metrics: rename one, or use `as` with `use`)",
            ],
        ),
        (
            &unknown,
            &[
                "18:34: missing_key: `http` needs one of `get`, `post` (write exactly one of them)",
                "18:47: unknown_key: `http` has no key `gte` (did you mean `get`?)",
                "18:57: unknown_key: `stage` has no key `extra` (it has `http`, `grpc`, `name`, `repeat`, `stages`, `parallel`, `use`, `as`, `expect`, `save`, `until`, `every`, `when`, `timeout`, `attempt_timeout`, `retry`, `on_failure`, `integrity`, `stall`)",
            ],
        ),
        (
            empty,
            &[
                "12:60: bad_value: there is nothing to run beside the stream (write at least one stage, or remove the key)",
            ],
        ),
        (
            elsewhere,
            &[
                "12:49: unknown_key: `http` has no key `during` (it has `target`, `get`, `post`, `json`, `body`, `version`)",
            ],
        ),
        (
            &forbidden,
            &["14:11: conflict: the driver forbids it (rename it)"],
        ),
        (
            &results,
            &[
                "18:63: not_in_scope: `message` is not in scope (a message is read by `stop: { when }` and `watch` of its stream; `expect` and `save` read `stream.last`)",
            ],
        ),
    ]);
}
