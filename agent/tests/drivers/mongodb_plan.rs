//! What is wrong with a stage, a target or a truth of `mongodb` is found while the plan is read.

use crate::harness::{load, tree};
use crate::plan::problems;

const STORE: &str = "store: { mongodb: 'mongodb://localhost:1', database: d }\nrpc: { grpc: { protos: [protos/t.proto] }, address: 'localhost:1' }";

fn stage(operation: &str) -> String {
    let stage = format!("- {{ name: x, mongodb: {{ target: store, {operation} }} }}");
    problems(STORE, &stage, &tree())
}

fn target(keys: &str) -> String {
    let target = format!("store: {{ {keys} }}");
    problems(&target, "- { name: x, wait: { for: 1s } }", &tree())
}

#[test]
fn each_operation_takes_only_its_own_keys() {
    insta::assert_snapshot!(
        [
            stage("find: a, pipeline: [], document: {}"),
            stage("count: a, sort: {}"),
            stage("aggregate: a"),
            stage("aggregate: a, pipeline: { $match: {} }"),
            stage("insert: a"),
            stage("insert: a, documents: []"),
            stage("insert: a, document: {}, documents: []"),
            stage("update: a, change: { $set: { b: 1 } }"),
            stage("update: a, filter: {}, change: { b: 1 }"),
            stage("update: a, filter: {}, change: {}, upsert: perhaps"),
            stage("delete: a"),
            stage("delete: a, filter: {}, limit: 1"),
            stage("indexes: a, filter: {}"),
            stage("ping: true, many: true"),
            stage("ping: false"),
            stage("find: a, count: a"),
            stage("filter: {}"),
        ]
        .join("\n")
    );
}

#[test]
fn what_is_written_is_checked() {
    insta::assert_snapshot!(
        [
            stage("find: a, filter: { _id: { $oid: 12 } }"),
            stage("find: a, filter: { at: { $gte: { $date: yesterday } } }"),
            stage("find: a, filter: []"),
            stage("find: a, limit: 0"),
            stage("find: a, filter: { a: '${body.x}' }"),
            stage("insert: a, documents: [ 1 ]"),
            stage("finds: a"),
        ]
        .join("\n")
    );
}

#[test]
fn targets_are_checked() {
    insta::assert_snapshot!(
        [
            target("mongodb: 'mongodb://localhost:1'"),
            target("mongodb: localhost:1, database: d"),
            target("mongodb: 'http://localhost:1', database: d"),
            target("mongodb: 'mongodb://localhost:x', database: d"),
            target("mongodb: 'mongodb://me:s3@cret@localhost:1/?authSource=a', database: d"),
            target("mongodb: 'mongodb://localhost:1', database: 'a b'"),
            target("mongodb: 'mongodb://localhost:1', database: d, tls: { insecure: true }"),
            target(
                "mongodb: 'mongodb://localhost:1/?tls=true', database: d, tls: { ca: gone.pem }"
            ),
            target("mongodb: 'mongodb://localhost:1', database: d, connections: { shared: 0 }"),
        ]
        .join("\n")
    );
}

#[test]
fn a_password_is_in_no_problem() {
    let said = target("mongodb: 'mongodb://me:s3@cret@localhost:1/?authSource=a', database: d");
    assert!(!said.contains("s3") && !said.contains("cret"), "{said}");
}

#[test]
fn truths_are_checked() {
    let truth = |truth: &str| {
        let stage = format!(
            "- {{ name: x, grpc: {{ target: rpc, call: t.S/Rows }}, integrity: {{ sequence: number, truth: {truth} }} }}"
        );
        problems(STORE, &stage, &tree())
    };
    insta::assert_snapshot!(
        [
            truth("{ mongodb: {} }"),
            truth("{ mongodb: { target: rpc, collection: a, key: k, payload: p } }"),
            truth("{ mongodb: { target: store, collection: a, key: k } }"),
            truth("{ mongodb: { target: store, collection: a, key: k, payload: p, digest: d } }"),
            truth("{ mongodb: { target: store, collection: '${body.x}', key: k$, payload: p } }"),
            truth(
                "{ mongodb: { target: store, collection: a, key: k, payload: p, complete: true } }"
            ),
            truth("{ mongodb: { target: store, collection: a, key: k, payload: p }, rows: '[]' }"),
        ]
        .join("\n")
    );
}

#[test]
fn what_fits_is_accepted() {
    let stages = "- { name: a, mongodb: { target: store, update: '${session.id}', filter: { _id: { $oid: '${session.id}' } }, change: [ { $set: { a: $b } } ], many: true } }\n\
                  - { name: b, mongodb: { target: store, insert: a, documents: '${[{}]}' } }\n\
                  - { name: c, mongodb: { target: store, find: a, filter: { secret: '${secrets.token}' } }, expect: [ size(docs) > 0, status == 0 ] }\n\
                  - { name: d, grpc: { target: rpc, call: t.S/Rows }, integrity: { sequence: number, truth: { mongodb: { target: store, collection: a, filter: { a: 1 }, sort: { k: 1 }, key: k.a, payload: p }, complete: true } } }";
    if let Err(problems) = load(STORE, stages, &tree()) {
        panic!("{problems:#?}");
    }
}
