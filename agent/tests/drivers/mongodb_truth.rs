//! `truth: mongodb`: the rows of a stream against the documents of a collection.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testmesh_agent::driver::contract::RowCounts;
use testmesh_shared::digest::RowDigest;

use crate::grpc::SENT;
use crate::harness::{Bench, scope};
use crate::integrity::{Row, row, rows};
use crate::mongodb::{between, server, target};
use crate::servers::{self, Act};

/// A document for the row of that number, whose key is ten times that.
fn document(number: i32, data: &str) -> String {
    let (raw, digest) = (STANDARD.encode(data), RowDigest::of(data.as_bytes()));
    let key = number * 10;
    format!(
        "{{ _id: {number}, key: {key}, data: {{ $binary: {{ base64: '{raw}', subType: '00' }} }}, digest: '{digest}' }}"
    )
}

fn documents(numbers: impl IntoIterator<Item = i32>) -> Vec<String> {
    numbers
        .into_iter()
        .map(|number| document(number, &format!("data of {number}")))
        .collect()
}

/// By number, and by a key of its own.
const BY_NUMBER: &str = "{ sequence: number, payload: data, truth: { mongodb: { target: store, collection: rows, key: _id, payload: data } } }";
const BY_KEY: &str = "{ sequence: number, key: key, payload: data, truth: { mongodb: { target: store, collection: rows, key: key, digest: digest } } }";

fn complete(integrity: &str) -> String {
    integrity.replace("} } }", "}, complete: true } }")
}

/// A stage that streams these rows, in a database with these documents, which the stage `drop` removes.
async fn bench(
    uri: &str,
    keys: &str,
    documents: &[String],
    rows: &[Row],
    end: &[Act],
    integrity: &str,
) -> Bench {
    let messages = rows
        .iter()
        .map(|row| Act::Message(prost::Message::encode_to_vec(row)));
    let script = messages.chain(end.iter().cloned()).collect();
    let server = servers::grpc(script).await;
    let mut stages = format!(
        "- name: rows\n  grpc: {{ target: a, address: '{}', call: t.S/Rows }}\n  expect: [stream.rows >= 0]\n  integrity: {integrity}\n\
         - {{ name: drop, mongodb: {{ target: store, delete: rows, filter: {{}}, many: true }} }}",
        server.address
    );
    if !documents.is_empty() {
        let documents = documents.join(", ");
        stages.push_str("\n- { name: fill, mongodb: { target: store, insert: rows, documents: [ ");
        stages.push_str(&documents);
        stages.push_str(" ] } }");
    }
    let targets = format!(
        "a: {{ grpc: {{ protos: [protos/t.proto] }} }}\n{}",
        target(uri, keys)
    );
    let bench = Bench::new(&targets, &stages);
    if !documents.is_empty() {
        let filled = bench.run("fill").await.expect("an answer");
        assert!(filled.failure.is_none(), "{:?}", filled.failure);
    }
    bench
}

const WELL: &[Act] = &[SENT, Act::Status(0, "")];

/// What came of one stream, and what was said about it.
async fn check(
    uri: &str,
    documents: &[String],
    rows: &[Row],
    end: &[Act],
    integrity: &str,
) -> (RowCounts, String) {
    let bench = bench(uri, "", documents, rows, end, integrity).await;
    let _ = bench.run("rows").await;
    bench.run("drop").await.expect("an answer");
    found(&bench)
}

fn found(bench: &Bench) -> (RowCounts, String) {
    let faults = bench.meter.faults.borrow();
    let faults: Vec<_> = faults
        .iter()
        .map(|fault| format!("{}: {}", fault.code, fault.message))
        .collect();
    (*bench.meter.counts.borrow(), faults.join("\n"))
}

fn verified(verified: u64) -> RowCounts {
    RowCounts {
        verified,
        ..RowCounts::default()
    }
}

#[tokio::test]
async fn healthy_rows_are_verified_by_their_bytes_and_by_their_digests() {
    let Some(uri) = server() else { return };
    for integrity in [BY_NUMBER, BY_KEY, &complete(BY_NUMBER), &complete(BY_KEY)] {
        let found = check(&uri, &documents(0..20), &rows(0..20), WELL, integrity).await;
        assert_eq!(found, (verified(20), String::new()), "{integrity}");
    }
    // More rows than are handed over at once, and than come in the first reply of a server.
    let found = check(
        &uri,
        &documents(0..2_000),
        &rows(0..2_000),
        WELL,
        &complete(BY_NUMBER),
    )
    .await;
    assert_eq!(found, (verified(2_000), String::new()));
    // Out of order is no matter of the truth.
    let found = check(
        &uri,
        &documents(0..5),
        &rows([0, 2, 1, 3, 4]),
        WELL,
        BY_NUMBER,
    )
    .await
    .0;
    let expect = RowCounts {
        reordered: 1,
        ..verified(5)
    };
    assert_eq!(found, expect);
}

#[tokio::test]
async fn a_row_with_other_bytes_is_mismatched_and_so_is_one_that_has_no_document() {
    let Some(uri) = server() else { return };
    let mut wrong = rows(0..10);
    wrong[4] = row(4, "data of 5");
    for integrity in [BY_NUMBER, BY_KEY] {
        let (counts, said) = check(&uri, &documents(0..10), &wrong, WELL, integrity).await;
        let expect = RowCounts {
            mismatched: 1,
            ..verified(9)
        };
        assert_eq!(counts, expect, "{integrity}");
        assert!(
            said.starts_with("rows_mismatched: 1 row differs from its truth: row 4"),
            "{said}"
        );
    }
    let (counts, said) = check(&uri, &documents(0..9), &rows(0..10), WELL, BY_NUMBER).await;
    let expect = RowCounts {
        mismatched: 1,
        ..verified(9)
    };
    assert_eq!(counts, expect);
    assert_eq!(
        said,
        "rows_mismatched: 1 row differs from its truth: row 9 is not in its truth"
    );
}

#[tokio::test]
async fn a_row_that_never_came_is_missing_once() {
    let Some(uri) = server() else { return };
    let expect = RowCounts {
        missing: 1,
        ..verified(4)
    };
    // The sequence misses it, and so does the truth.
    for integrity in [BY_NUMBER, BY_KEY] {
        let (counts, said) =
            check(&uri, &documents(0..5), &rows([0, 1, 3, 4]), WELL, integrity).await;
        assert_eq!(counts, expect, "{integrity}");
        assert_eq!(said, "rows_missing: 1 row never came, first number 2");
    }
    // The sequence does not know of it: only the truth does.
    let mut more = documents(0..4);
    more.push("{ _id: 99, key: 15, digest: '0123456789abcdef' }".to_owned());
    let (counts, said) = check(&uri, &more, &rows(0..4), WELL, BY_KEY).await;
    assert_eq!(counts, expect);
    assert_eq!(said, "rows_missing: 1 row never came, first key 15");
}

#[tokio::test]
async fn both_ends_count_if_the_truth_is_complete_and_the_stream_whole() {
    let Some(uri) = server() else { return };
    let broken = &[SENT, Act::Reset(h2::Reason::INTERNAL_ERROR)];
    for integrity in [BY_NUMBER, BY_KEY] {
        let part = check(&uri, &documents(0..10), &rows(3..6), WELL, integrity).await;
        assert_eq!(part, (verified(3), String::new()), "{integrity}");
        let (counts, said) = check(
            &uri,
            &documents(0..10),
            &rows(3..6),
            WELL,
            &complete(integrity),
        )
        .await;
        let expect = RowCounts {
            missing: 7,
            ..verified(3)
        };
        assert_eq!(counts, expect, "{integrity}");
        assert_eq!(said, "rows_missing: 7 rows never came, first key 0");
        let (counts, _) = check(
            &uri,
            &documents(0..10),
            &rows(3..6),
            broken,
            &complete(integrity),
        )
        .await;
        assert_eq!(counts, verified(3), "{integrity}");
    }
    let (counts, _) = check(&uri, &documents(0..10), &[], WELL, &complete(BY_KEY)).await;
    let expect = RowCounts {
        missing: 10,
        ..RowCounts::default()
    };
    assert_eq!(counts, expect);
}

#[tokio::test]
async fn what_cannot_be_read_leaves_rows_unverified_and_says_why() {
    let Some(uri) = server() else { return };
    let with = |from: &str, to: &str| BY_NUMBER.replace(from, to);
    let unverified = RowCounts {
        unverified: 10,
        ..RowCounts::default()
    };
    let cases = [
        (
            with("payload: data }", "payload: nothing }"),
            "document 1 of `rows`: it has no `nothing`",
        ),
        (
            with("payload: data }", "payload: key }"),
            "document 1 of `rows`: `key` is neither binary nor a text",
        ),
        (
            with("key: _id, payload: data", "key: _id, digest: data"),
            "document 1 of `rows`: `data` is no digest of 16 lowercase hex digits",
        ),
        (
            with("collection: rows", "collection: '${session.id + \"$\"}'"),
            "`abc$` is no name of a collection",
        ),
        (
            with(
                "collection: rows",
                "collection: rows, filter: { a: { $oid: '${session.id}' } }",
            ),
            "filter: `a.$oid`: 24 hex digits are expected",
        ),
    ];
    for (integrity, reason) in &cases {
        let (counts, said) = check(&uri, &documents(0..10), &rows(0..10), WELL, integrity).await;
        assert_eq!(counts, unverified, "{integrity}");
        let expect = format!("truth_unreadable: the truth of its rows cannot be read: {reason}");
        assert_eq!(said, expect);
    }
    let nonsense = with(
        "collection: rows",
        "collection: rows, filter: { a: { $nonsense: 1 } }",
    );
    let (counts, said) = check(&uri, &documents(0..10), &rows(0..10), WELL, &nonsense).await;
    assert_eq!(counts, unverified);
    assert!(
        said.contains("cannot be read: find rows in testmesh-"),
        "{said}"
    );
    // Documents in another order: of the one that was read before that was seen, the row is known.
    let backwards = with("collection: rows", "collection: rows, sort: { _id: -1 }");
    let (counts, said) = check(&uri, &documents(0..10), &rows(0..10), WELL, &backwards).await;
    let expect = RowCounts {
        unverified: 9,
        ..verified(1)
    };
    assert_eq!(counts, expect);
    assert!(
        said.contains("do not come in the order of their keys: 8 comes after 9"),
        "{said}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_leaves_rows_unverified() {
    let uri = format!("mongodb://{}", servers::nobody().await);
    let bench = bench(&uri, "", &[], &rows(0..3), WELL, BY_NUMBER).await;
    bench.run("rows").await.expect("the stream itself is well");
    let (counts, said) = found(&bench);
    let expect = RowCounts {
        unverified: 3,
        ..RowCounts::default()
    };
    assert_eq!(counts, expect);
    assert!(said.contains("Connection refused"), "{said}");
}

#[tokio::test]
async fn an_agent_reads_a_query_once() {
    let Some(uri) = server() else { return };
    let filtered = BY_NUMBER.replace(
        "collection: rows",
        "collection: rows, filter: { _id: { $gte: '${session.index - 7}' } }",
    );
    let bench = bench(&uri, "", &documents(0..10), &rows(0..10), WELL, &filtered).await;
    bench.run("rows").await.expect("a stream");
    bench.run("drop").await.expect("an answer");
    // The documents are gone, and what was read is there.
    bench.run("rows").await.expect("a stream");
    assert_eq!(found(&bench), (verified(20), String::new()));
    // Another query is another truth, which nothing is in.
    let mut other = scope();
    other.set_field("session", "index", 8_i64);
    bench.run_in("rows", &other).await.expect("a stream");
    let expect = RowCounts {
        mismatched: 10,
        ..verified(20)
    };
    assert_eq!(found(&bench).0, expect);
}

#[tokio::test]
async fn a_truth_that_is_slow_is_waited_for_and_not_for_ever() {
    let Some(uri) = server() else { return };
    let between = between(&uri).await;
    let bench = bench(
        &between.uri,
        "timeout: 500ms, connections: session",
        &documents(0..5),
        &rows(0..5),
        WELL,
        BY_NUMBER,
    )
    .await;
    between.hold.send_replace(true);
    bench.run("rows").await.expect("the stream itself is well");
    let (counts, said) = found(&bench);
    let unverified = RowCounts {
        unverified: 5,
        ..RowCounts::default()
    };
    assert_eq!(counts, unverified);
    assert!(said.starts_with("truth_unreadable: "), "{said}");
    // A reading that failed is tried again by the next stream.
    between.hold.send_replace(false);
    bench.run("rows").await.expect("a stream");
    let expect = RowCounts {
        unverified: 5,
        ..verified(5)
    };
    assert_eq!(found(&bench).0, expect);
    // The one connection is held for ever.
    bench.next_session();
    bench.run("drop").await.expect("an answer");
}

#[tokio::test]
async fn a_stream_that_is_cut_before_its_truth_was_read_is_unverified() {
    let Some(uri) = server() else { return };
    let between = between(&uri).await;
    let bench = bench(
        &between.uri,
        "connections: session",
        &documents(0..5),
        &rows(0..5),
        &[Act::Hang],
        BY_NUMBER,
    )
    .await;
    between.hold.send_replace(true);
    let cut = tokio::time::timeout(Duration::from_millis(300), bench.run("rows")).await;
    assert!(cut.is_err(), "it hangs");
    let (counts, said) = found(&bench);
    let unverified = RowCounts {
        unverified: 5,
        ..RowCounts::default()
    };
    assert_eq!(counts, unverified);
    assert!(
        said.ends_with("the stream was over before its documents had been read"),
        "{said}"
    );
    between.hold.send_replace(false);
    // The one connection is held for ever.
    bench.next_session();
    bench.run("drop").await.expect("an answer");
}
