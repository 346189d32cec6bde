//! What is wrong with a stage is found while the plan is read, with its place and the way out.

use testmesh_shared::plan::Problem;

use crate::harness::{Tree, load, tree};

const TARGETS: &str = "web: { http: 'http://localhost:1' }\nrpc: { grpc: { protos: [protos/t.proto] }, address: 'localhost:1' }";

pub(crate) fn problems(targets: &str, stages: &str, tree: &Tree) -> String {
    let problems = match load(targets, stages, tree) {
        Ok((plan, _)) => panic!("accepted: {plan:#?}"),
        Err(problems) => problems,
    };
    let shown = |problem: &Problem| {
        let Problem {
            span,
            code,
            message,
            hint,
            ..
        } = problem;
        format!(
            "{} {code}: {message} ({})",
            span.start,
            hint.as_deref().unwrap_or_default()
        )
    };
    problems.iter().map(shown).collect::<Vec<_>>().join("\n")
}

fn stage(stage: &str) -> String {
    problems(TARGETS, &format!("- {{ name: x, {stage} }}"), &tree())
}

fn targets(target: &str) -> String {
    problems(target, "- { name: x, wait: { for: 1s } }", &tree())
}

#[test]
fn stages_are_checked_against_their_descriptors() {
    insta::assert_snapshot!([
        stage("grpc: { target: rpc, call: t.S/Row }"),
        stage("grpc: { target: rpc, call: t.S/Rows, message: { idd: 1 } }"),
        stage("grpc: { target: rpc, call: t.S/Rows, message: { inner: { text: 5, id: many } } }"),
        stage("grpc: { target: rpc, call: t.S/Rows, message: { colour: GREEN, id: \"${session.id}\" } }"),
        stage("grpc: { target: rpc, call: t.S/Get, stop: { messages: 1 } }"),
        stage("grpc: { target: rpc, call: t.S/Rows, end: [okay] }"),
        stage("grpc: { target: rpc, call: t.S/Rows, stop: { messages: 1, for: 1s } }"),
        stage("grpc: { target: web, call: t.S/Rows }"),
        stage("grpc: { target: rpc, call: t.S/Rows, windows: { stream: 1KiB } }"),
    ]
    .join("\n"));
}

#[test]
fn what_streams_have_is_checked() {
    let rows = |keys: &str| stage(&format!("grpc: {{ target: rpc, call: t.S/Rows, {keys} }}"));
    let during = "during: [ { name: act, wait: { for: 1s }, save: { x: '1' } } ]";
    insta::assert_snapshot!([
        rows("stop: { idle: 0s }"),
        rows("stop: { idle: 1s, for: 1s }"),
        rows("stop: { after: during }"),
        rows("stop: { after: the_end }"),
        rows("stop: { messages: 1, after: during }"),
        rows(&format!("stop: {{ end: true, after: during }}, {during}")),
        rows("stop: {}"),
        rows("stop: { when: 'mesage.number[0] == 1' }"),
        rows("stop: { when: secrets.token == message.name }"),
        rows("watch: { a: 'message.number[0] ==', b: body.x, c d: 'true' }"),
        rows("watch: { a: { expr: 'true', since: act } }"),
        rows(&format!("watch: {{ a: {{ expr: 'true', since: acts }} }}, {during}")),
        rows(&format!("watch: {{ a: {{ since: act }} }}, {during}")),
        rows(&format!("message: {{ id: '${{session.x}}' }}, stop: {{ when: 'session.x == message.number[0]' }}, {during}")),
        rows(&format!("stop: {{ when: session.y == 1 }}, {during}")),
        rows("during: [ { name: x, wait: { for: 1s } } ]"),
        rows("during: [ { name: b, wait: { form: 1s } } ]"),
        rows("during: []"),
        rows("messages: [ {} ]"),
        stage("grpc: { target: rpc, call: t.S/Get, messages: [ {} ] }"),
        stage("grpc: { target: rpc, call: t.S/Get, watch: { a: 'true' } }"),
        stage(&format!("grpc: {{ target: rpc, call: t.S/Upload, {during} }}")),
        stage("grpc: { target: rpc, call: t.S/Upload, stop: { messages: 1 } }"),
        stage("grpc: { target: rpc, call: t.S/Upload, messages: [ {}, { idd: 1 }, { id: many } ] }"),
        stage("grpc: { target: rpc, call: t.S/Upload, messages: [ {} ], message: {} }"),
        stage("grpc: { target: rpc, call: t.S/Upload, messages: { each: '[1]', as: vars } }"),
        stage("grpc: { target: rpc, call: t.S/Upload, messages: { as: i, message: { id: '${j}' }, every: soon } }"),
    ]
    .join("\n"));
}

#[test]
fn the_fields_of_integrity_are_checked() {
    let with = |integrity: &str| {
        stage(&format!(
            "grpc: {{ target: rpc, call: t.S/Rows }}, integrity: {integrity}"
        ))
    };
    insta::assert_snapshot!(
        [
            with("{ sequence: numbr }"),
            with("{ sequence: name }"),
            with("{ sequence: number, key: head, payload: head.nothing }"),
            with("{ sequence: number, payload: name.length }"),
            with("{ sequence: number, sent_at: { field: name, unit: ms } }"),
            stage("grpc: { target: rpc, call: t.S/Get }, integrity: { sequence: number }"),
            stage("http: { target: web, get: / }, integrity: { sequence: number }"),
        ]
        .join("\n")
    );
}

#[test]
fn targets_are_checked() {
    let mut broken = tree();
    broken.0.insert(
        "broken.proto".into(),
        b"syntax = \"proto3\";\nmessage {".to_vec(),
    );
    broken.0.insert(
        "lonely.proto".into(),
        b"syntax = \"proto3\"; import \"gone.proto\";".to_vec(),
    );
    let wait = "- { name: x, wait: { for: 1s } }";
    insta::assert_snapshot!(
        [
            targets("a: { http: 'ftp://x' }"),
            targets("a: { http: 'no url' }"),
            targets("a: { http: 'http://x?q=1' }"),
            targets("a: { http: 'http://x', connections: { shared: 0 } }"),
            targets("a: { http: 'http://x', connections: some }"),
            targets("a: { http: 'http://x', tls: { ca: protos/t.proto } }"),
            targets("a: { grpc: { protos: [gone.proto] } }"),
            targets("a: { grpc: { reflection: false } }"),
            targets("a: { grpc: { descriptors: protos/t.proto } }"),
            problems("a: { grpc: { protos: [broken.proto] } }", wait, &broken),
            problems("a: { grpc: { protos: [lonely.proto] } }", wait, &broken),
            problems(
                "a: { grpc: { reflection: true } }",
                "- { name: x, grpc: { target: a, call: t.S/Get } }",
                &broken
            ),
        ]
        .join("\n")
    );
}

#[test]
fn requests_are_checked() {
    insta::assert_snapshot!(
        [
            stage("http: { target: web, get: /, post: / }"),
            stage("http: { target: web }"),
            stage("http: { target: web, get: /, json: {}, text: x }"),
            stage("http: { target: web, get: /, headers: { 'a b': c } }"),
            stage("http: { target: web, get: /, version: 3 }"),
            stage("http: { target: web, get: /, redirects: some }"),
            stage("http: { target: web, post: /, body: gone.bin }"),
            stage("connect: { target: nobody }"),
            stage("connect: { address: 'a:1', target: web }"),
            stage("wait: {}"),
        ]
        .join("\n")
    );
}
