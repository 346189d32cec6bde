//! Stages that are wrong: expressions, secrets, names.

#![expect(clippy::too_many_lines, reason = "the functions are tables")]

use super::refuse::check_stages;

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
            &["12:50: not_in_scope: `feed` is not in scope (the plan has no `feeds`)"],
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
