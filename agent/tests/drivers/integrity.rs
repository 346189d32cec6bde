//! The data of streams: what is wrong with it is found, counted once, and nothing is imagined.

use std::time::Duration;

use testmesh_agent::driver::contract::{RowCounts, RowKey};
use testmesh_agent::integrity::MeshClock;
use testmesh_shared::clock::{OffsetEstimate, Probe, TimeAnchor};
use testmesh_shared::digest::{Digest, RowDigest};
use testmesh_shared::plan::expr::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::grpc::SENT;
use crate::harness::{Bench, scope};
use crate::servers::{self, Act};

/// What a scripted server streams.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Row {
    #[prost(int32, repeated, tag = "1")]
    number: Vec<i32>,
    #[prost(int64, repeated, tag = "2")]
    key: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    data: Vec<Vec<u8>>,
    #[prost(int64, tag = "4")]
    sent_ms: i64,
    #[prost(message, optional, tag = "5")]
    head: Option<Head>,
    #[prost(string, tag = "6")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Head {
    #[prost(sint64, tag = "1")]
    number: i64,
    #[prost(string, tag = "2")]
    id: String,
}

pub(crate) fn row(number: i32, data: &str) -> Row {
    Row {
        number: vec![number],
        key: vec![i64::from(number) * 10],
        data: vec![data.as_bytes().to_vec()],
        sent_ms: 1_000_000 + i64::from(number),
        head: Some(Head {
            number: i64::from(number) - 5,
            id: format!("id{number}"),
        }),
        name: String::new(),
    }
}

pub(crate) fn rows(numbers: impl IntoIterator<Item = i32>) -> Vec<Row> {
    numbers
        .into_iter()
        .map(|number| row(number, &format!("data of {number}")))
        .collect()
}

type Checked = (Bench, Result<(), (&'static str, Option<&'static str>)>);

/// Streams these rows to a stage with this `integrity`.
async fn check(rows: &[Row], end: Act, integrity: &str) -> Checked {
    let target = "grpc: { protos: [protos/t.proto] }";
    check_from(target, MeshClock::default(), rows, end, integrity).await
}

/// The same from a target with these keys, on an agent that knows this of the coordinator's clock.
async fn check_from(
    target: &str,
    clock: MeshClock,
    rows: &[Row],
    end: Act,
    integrity: &str,
) -> Checked {
    let script = rows
        .iter()
        .map(|row| Act::Message(prost::Message::encode_to_vec(row)))
        .chain([SENT, end])
        .collect();
    let server = servers::grpc(script).await;
    let stages = format!(
        "- {{ name: manifest, wait: {{ for: 1s }}, save: {{ list: '[]', digest: '\"\"', nothing: '\"\"' }} }}\n- name: rows\n  grpc: {{ target: a, address: '{}', call: t.S/Rows }}\n  expect: [stream.rows >= 0]\n  \
         integrity: {integrity}",
        server.address
    );
    let mut bench = Bench::new(&format!("a: {{ {target} }}"), &stages);
    bench.clock = clock;
    let mut scope = scope();
    scope.set_field("session", "list", listed());
    let digest = Digest::of(b"data of 0data of 1").to_string();
    scope.set_field("session", "digest", digest);
    let result = bench.run_in("rows", &scope).await;
    let result = result
        .map(drop)
        .map_err(|error| (error.kind.as_str(), error.code));
    (bench, result)
}

/// A manifest of the rows 0 to 9, without row 4, and with another row 5.
fn listed() -> Value {
    let entry = |number: i32| {
        let data = if number == 5 {
            "other".to_owned()
        } else {
            format!("data of {number}")
        };
        let digest = RowDigest::of(data.as_bytes()).to_string();
        Value::map([
            ("key", Value::from(i64::from(number))),
            ("digest", Value::from(digest)),
        ])
    };
    Value::list((0..10).filter(|number| *number != 4).map(entry).collect())
}

async fn counts(rows: &[Row], integrity: &str) -> RowCounts {
    let (bench, result) = check(rows, Act::Status(0, ""), integrity).await;
    assert_eq!(result, Ok(()));
    let counts = *bench.meter.counts.borrow();
    assert_eq!(bench.meter.rows.get(), rows.len() as u64);
    counts
}

const PLAIN: &str = "{ sequence: number, payload: data }";

#[tokio::test]
async fn the_order_of_rows_is_a_truth_by_itself() {
    let expect = |verified, missing, repeated, reordered| RowCounts {
        verified,
        missing,
        repeated,
        reordered,
        ..RowCounts::default()
    };
    assert_eq!(counts(&rows(3..9), PLAIN).await, expect(6, 0, 0, 0));
    assert_eq!(counts(&rows([0, 1, 3, 4]), PLAIN).await, expect(4, 1, 0, 0));
    assert_eq!(counts(&rows([0, 1, 1, 2]), PLAIN).await, expect(4, 0, 1, 0));
    assert_eq!(counts(&rows([0, 2, 1, 3]), PLAIN).await, expect(4, 0, 0, 1));
    assert_eq!(counts(&rows([]), PLAIN).await, RowCounts::default());
    let nested = "{ sequence: head.number, payload: data }";
    assert_eq!(counts(&rows([0, 1, 3]), nested).await, expect(3, 1, 0, 0));
}

#[tokio::test]
async fn a_stream_that_is_cut_misses_nothing_behind_its_last_row() {
    let (bench, result) = check(&rows(0..5), Act::Reset(h2::Reason::INTERNAL_ERROR), PLAIN).await;
    assert_eq!(result, Err(("reset", None)));
    assert_eq!(
        *bench.meter.counts.borrow(),
        RowCounts {
            verified: 5,
            ..RowCounts::default()
        }
    );
}

#[tokio::test]
async fn rows_are_shown_to_the_group_by_key_and_digest() {
    let agree = r#"{ sequence: number, key: key, payload: data, truth: { agree: { group: "g/${session.id}" } } }"#;
    let (bench, result) = check(&rows(1..4), Act::Status(0, ""), agree).await;
    assert_eq!(result, Ok(()));
    let seen: Vec<_> = (1..4)
        .map(|number| {
            let digest = RowDigest::of(format!("data of {number}").as_bytes()).as_u64();
            ("g/abc".to_owned(), RowKey::Number(number * 10), digest)
        })
        .collect();
    assert_eq!(*bench.meter.agreed.borrow(), seen);
    assert_eq!(
        *bench.meter.counts.borrow(),
        RowCounts::default(),
        "the coordinator counts them"
    );
    let by_text =
        r#"{ sequence: number, key: head.id, payload: data, truth: { agree: { group: g } } }"#;
    let (bench, _) = check(&rows(1..2), Act::Status(0, ""), by_text).await;
    assert_eq!(bench.meter.agreed.borrow()[0].1, RowKey::Text("id1".into()));
}

#[tokio::test]
async fn whole_streams_are_compared_by_the_digest_of_their_payload() {
    let agree = "{ payload: data, truth: { agree: { group: g, of: stream } } }";
    let (bench, result) = check(&rows(0..3), Act::Status(0, ""), agree).await;
    assert_eq!(result, Ok(()));
    let digest = Digest::of(b"data of 0data of 1data of 2").as_u128();
    assert_eq!(
        *bench.meter.agreed_streams.borrow(),
        [("g".to_owned(), digest, 3)]
    );
    assert_eq!(*bench.meter.counts.borrow(), RowCounts::default());
    let (bench, _) = check(&rows(0..3), Act::Reset(h2::Reason::INTERNAL_ERROR), agree).await;
    assert!(
        bench.meter.agreed_streams.borrow().is_empty(),
        "a part of a stream proves nothing"
    );
    assert_eq!(
        *bench.meter.counts.borrow(),
        RowCounts {
            unwitnessed: 3,
            ..RowCounts::default()
        }
    );
}

#[tokio::test]
async fn rows_are_compared_with_a_list() {
    let listed = "{ sequence: number, payload: data, truth: { rows: session.list } }";
    let found = counts(&rows(0..10), listed).await;
    assert_eq!(
        found,
        RowCounts {
            verified: 8,
            mismatched: 2,
            ..RowCounts::default()
        }
    );
    let unreadable = "{ sequence: number, payload: data, truth: { rows: session.id } }";
    let found = counts(&rows(0..10), unreadable).await;
    assert_eq!(
        found,
        RowCounts {
            unverified: 10,
            ..RowCounts::default()
        }
    );
}

#[tokio::test]
async fn messages_whose_rows_cannot_be_told_apart_are_errors() {
    let two = Row {
        number: vec![0, 1],
        key: vec![0, 1],
        ..row(0, "x")
    };
    let (bench, result) = check(&[row(0, "a"), two], Act::Hang, PLAIN).await;
    assert_eq!(result, Err(("integrity", Some("row_shape"))));
    assert_eq!(
        *bench.meter.counts.borrow(),
        RowCounts {
            verified: 1,
            mismatched: 2,
            ..RowCounts::default()
        }
    );
    let none = Row {
        number: vec![],
        ..row(0, "x")
    };
    let (_, result) = check(&[none], Act::Hang, PLAIN).await;
    assert_eq!(result, Err(("integrity", Some("row_shape"))));
}

#[tokio::test]
async fn a_key_that_comes_again_with_other_bytes_is_no_key() {
    let keyed = "{ sequence: number, key: key, payload: data }";
    let again = Row {
        key: vec![10],
        ..row(2, "other")
    };
    let (_, result) = check(&[row(1, "a"), again], Act::Hang, keyed).await;
    assert_eq!(result, Err(("integrity", Some("key_not_unique"))));
    let same = Row {
        key: vec![10],
        ..row(2, "a")
    };
    let (_, result) = check(&[row(1, "a"), same], Act::Status(0, ""), keyed).await;
    assert_eq!(result, Ok(()));
}

#[tokio::test]
async fn bytes_that_are_no_message_are_mismatched() {
    let script = vec![
        Act::Message(vec![0x08, 1]),
        Act::Message(vec![0xff; 5]),
        Act::Hang,
    ];
    let server = servers::grpc(script).await;
    let stages = format!(
        "- name: rows\n  grpc: {{ target: a, address: '{}', call: t.S/Rows }}\n  integrity: {PLAIN}",
        server.address
    );
    let bench = Bench::new("a: { grpc: { protos: [protos/t.proto] } }", &stages);
    assert_eq!(
        bench.failure("rows").await,
        ("protocol", Some("bad_message"))
    );
    assert_eq!(bench.meter.counts.borrow().mismatched, 1);
}

#[tokio::test]
async fn latency_is_the_excess_over_the_streams_minimum() {
    let sent = "{ sequence: number, payload: data, sent_at: { field: sent_ms, unit: ms } }";
    let mut late = rows(0..4);
    // All come at once: what was sent earlier was under way longer.
    for (row, sent_ms) in late.iter_mut().zip([5_000, 4_990, 5_000, 1 << 40]) {
        row.sent_ms = sent_ms;
    }
    let (bench, result) = check(&late, Act::Status(0, ""), sent).await;
    assert_eq!(result, Ok(()));
    let millis: Vec<_> = bench
        .meter
        .latencies
        .borrow()
        .iter()
        .map(std::time::Duration::as_millis)
        .collect();
    assert_eq!(millis.len(), 3);
    assert!(
        millis[1] >= 10 && millis[0] < 10 && millis.contains(&0),
        "{millis:?}"
    );
    assert_eq!(*bench.meter.losses.borrow(), [("samples_out_of_range", 1)]);
}

#[tokio::test]
async fn each_fault_of_a_stream_is_told_once_with_its_first_row() {
    let list = "{ sequence: number, payload: data, truth: { rows: session.list } }";
    let (bench, _) = check(&rows([0, 2, 1, 5, 6, 6, 8]), Act::Status(0, ""), list).await;
    let told: Vec<_> = bench
        .meter
        .faults
        .borrow()
        .iter()
        .map(|fault| (fault.code, fault.message.clone()))
        .collect();
    let [missing, repeated, reordered, mismatched] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(
        *missing,
        (
            "rows_missing",
            "3 rows never came, first number 3".to_owned()
        )
    );
    assert_eq!(
        *repeated,
        (
            "rows_repeated",
            "1 row came again, first number 6".to_owned()
        )
    );
    assert_eq!(
        *reordered,
        (
            "rows_reordered",
            "1 row came out of order, first number 1".to_owned()
        )
    );
    assert_eq!(mismatched.0, "rows_mismatched");
    assert!(
        mismatched
            .1
            .starts_with("1 row differs from its truth: row 5 has digest "),
        "{}",
        mismatched.1
    );
}

#[tokio::test]
async fn a_truth_that_cannot_be_read_is_told_with_its_reason() {
    let list = "{ sequence: number, payload: data, truth: { rows: session.id } }";
    let (bench, _) = check(&rows(0..3), Act::Status(0, ""), list).await;
    let faults = bench.meter.faults.borrow();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].code, "truth_unreadable");
}

#[tokio::test]
async fn a_message_without_a_row_is_no_row_that_arrived() {
    let nothing = Row::default();
    let (bench, result) = check(&[row(1, "a"), nothing], Act::Status(0, ""), PLAIN).await;
    assert_eq!(result, Err(("integrity", Some("row_shape"))));
    assert_eq!(bench.meter.counts.borrow().mismatched, 1);
    assert_eq!(bench.meter.rows.get(), 2);
}

#[tokio::test]
async fn rows_that_cannot_be_told_apart_are_counted_as_rows_all_the_same() {
    let mut two = row(1, "a");
    two.number.push(2);
    two.key.push(20);
    for (bad, code) in [
        (prost::Message::encode_to_vec(&two), "row_shape"),
        (b"\xff\xff\xff".to_vec(), "bad_message"),
    ] {
        let server = servers::grpc(vec![Act::Message(bad), SENT, Act::Status(0, "")]).await;
        let stages = format!(
            "- name: rows\n  grpc: {{ target: a, address: '{}', call: t.S/Rows }}\n  integrity: {PLAIN}",
            server.address
        );
        let bench = Bench::new("a: { grpc: { protos: [protos/t.proto] } }", &stages);
        let error = bench.run_in("rows", &scope()).await.unwrap_err();
        assert_eq!(error.code, Some(code));
        assert_eq!(
            bench.meter.rows.get(),
            bench.meter.counts.borrow().mismatched
        );
    }
}

#[tokio::test]
async fn a_key_too_long_for_a_batch_stands_for_itself_by_its_digest() {
    let long = |last: char| Row {
        name: format!("{}{last}", "x".repeat(5_000)),
        ..row(1, "a")
    };
    let agree = "{ sequence: number, key: name, payload: data, truth: { agree: { group: g } } }";
    let (bench, _) = check(&[long('a')], Act::Status(0, ""), agree).await;
    let (other, _) = check(&[long('b')], Act::Status(0, ""), agree).await;
    let key = |bench: &Bench| match &bench.meter.agreed.borrow()[0].1 {
        RowKey::Text(text) => text.clone(),
        RowKey::Number(number) => panic!("{number}"),
    };
    assert!(key(&bench).len() < 100);
    assert_ne!(key(&bench), key(&other));
    assert_eq!(
        key(&bench),
        key(&check(&[long('a')], Act::Status(0, ""), agree).await.0)
    );
}

#[tokio::test]
async fn rows_may_be_numbered_in_steps_and_start_again() {
    let clock = "{ sequence: { field: number, step: 10, wrap: 100 }, payload: data }";
    let sampled = rows([80, 90, 0, 20, 15, 30]);
    let (bench, result) = check(&sampled, Act::Status(0, ""), clock).await;
    assert_eq!(result, Ok(()));
    let expect = RowCounts {
        verified: 6,
        missing: 1,
        reordered: 1,
        ..RowCounts::default()
    };
    assert_eq!(*bench.meter.counts.borrow(), expect);
    let faults = bench.meter.faults.take();
    let told: Vec<_> = faults.iter().map(|fault| &*fault.message).collect();
    assert_eq!(
        told,
        [
            "1 row never came, first number 10",
            "1 row came out of order, 15 is no number of the sequence"
        ]
    );
    let by_type = "{ sequence: { field: number, wrap: type }, payload: data }";
    let found = counts(&rows([i32::MAX, i32::MIN, i32::MIN + 1]), by_type).await;
    assert_eq!((found.verified, found.missing), (3, 0));
}

/// Messages of two rows each.
fn pair(number: i32, data: &[&str]) -> Row {
    Row {
        number: vec![number, number + 1],
        key: vec![i64::from(number) * 10, i64::from(number) * 10 + 10],
        data: data.iter().map(|data| data.as_bytes().to_vec()).collect(),
        ..row(number, "")
    }
}

#[tokio::test]
async fn rows_of_one_message_have_their_own_keys_and_digests() {
    let keyed = |split: &str| {
        format!(
            "{{ sequence: number, key: key, payload: data, split: {split}, truth: {{ agree: {{ group: g }} }} }}"
        )
    };
    for (split, data) in [
        ("rows", ["aabb", "ccdd"]),
        ("{ stride: 1 }", ["abab", "cdcd"]),
        ("{ stride: 2 }", ["aabb", "ccdd"]),
    ] {
        let rows = [pair(0, &data[..1]), pair(2, &data[1..])];
        let (bench, result) = check(&rows, Act::Status(0, ""), &keyed(split)).await;
        assert_eq!(result, Ok(()), "{split}");
        let expect: Vec<_> = ["aa", "bb", "cc", "dd"]
            .into_iter()
            .zip(0..)
            .map(|(row, number)| {
                let digest = RowDigest::of(row.as_bytes()).as_u64();
                ("g".to_owned(), RowKey::Number(number * 10), digest)
            })
            .collect();
        assert_eq!(*bench.meter.agreed.borrow(), expect, "{split}");
        assert_eq!((bench.meter.messages.get(), bench.meter.rows.get()), (2, 4));
    }
}

#[tokio::test]
async fn split_rows_are_ordered_and_compared_like_single_ones() {
    let split = "{ sequence: number, payload: data, split: rows, truth: { rows: session.list } }";
    let rows = [
        pair(0, &["data of 0", "data of 1"]),
        pair(2, &["data of 2data of 3"]),
        pair(7, &["data of 7data of X"]),
    ];
    let (bench, result) = check(&rows, Act::Status(0, ""), split).await;
    assert_eq!(result, Ok(()));
    let expect = RowCounts {
        verified: 5,
        missing: 3,
        mismatched: 1,
        ..RowCounts::default()
    };
    assert_eq!(*bench.meter.counts.borrow(), expect);
}

#[tokio::test]
async fn payloads_that_do_not_divide_are_an_error() {
    for (split, bad) in [
        ("rows", pair(2, &["odd"])),
        ("rows", pair(2, &["a", "bbb"])),
        ("{ stride: 4 }", pair(2, &["aabb"])),
    ] {
        let integrity = format!("{{ sequence: number, payload: data, split: {split} }}");
        let good = pair(0, &["aaaabbbb"]);
        let (bench, result) = check(&[good, bad], Act::Hang, &integrity).await;
        assert_eq!(result, Err(("integrity", Some("row_shape"))), "{split}");
        let counts = *bench.meter.counts.borrow();
        assert_eq!((counts.verified, counts.mismatched), (2, 2));
        assert_eq!(bench.meter.rows.get(), 4);
    }
}

#[tokio::test]
async fn all_rows_of_a_message_count_though_one_has_no_key() {
    let keyed = "{ sequence: number, key: key, payload: data, split: rows }";
    let again = Row {
        number: vec![2, 3, 4],
        key: vec![20, 0, 40],
        ..pair(2, &["aabbcc"])
    };
    let (bench, result) = check(&[pair(0, &["xxyy"]), again], Act::Hang, keyed).await;
    assert_eq!(result, Err(("integrity", Some("key_not_unique"))));
    let counts = *bench.meter.counts.borrow();
    assert_eq!((counts.verified, counts.unverified), (4, 1));
    assert_eq!(bench.meter.rows.get(), 5);
}

#[tokio::test]
async fn a_number_that_comes_again_after_a_wrap_is_no_key() {
    let wrapped = "{ sequence: { field: number, wrap: 3 }, key: number, payload: data, truth: { rows: session.list } }";
    let again = [row(0, "a"), row(1, "b"), row(2, "c"), row(0, "d")];
    let (_, result) = check(&again, Act::Hang, wrapped).await;
    assert_eq!(result, Err(("integrity", Some("key_not_unique"))));
}

#[tokio::test]
async fn a_number_that_comes_again_is_no_matter_where_no_row_is_looked_up_by_it() {
    let wrapped = "{ sequence: { field: number, wrap: 3 }, payload: data }";
    let rounds = [
        row(0, "a"),
        row(1, "b"),
        row(2, "c"),
        row(0, "d"),
        row(1, "e"),
    ];
    let expect = RowCounts {
        verified: 5,
        ..RowCounts::default()
    };
    assert_eq!(counts(&rounds, wrapped).await, expect);
}

#[tokio::test]
async fn a_complete_list_finds_what_never_came_at_both_ends() {
    let complete =
        "{ sequence: number, payload: data, truth: { rows: session.list, complete: true } }";
    let some = rows([2, 3, 5, 7]);
    let (bench, _) = check(&some, Act::Status(0, ""), complete).await;
    // 4 and 6 by the sequence, of which only 6 is listed; 0, 1, 8 and 9 by the list.
    assert_eq!(bench.meter.counts.borrow().missing, 6);
    assert_eq!(
        bench.meter.faults.borrow()[0].message,
        "6 rows never came, first number 4"
    );
    let (bench, _) = check(&some, Act::Reset(h2::Reason::INTERNAL_ERROR), complete).await;
    assert_eq!(
        bench.meter.counts.borrow().missing,
        2,
        "a stream that broke owes nothing at its ends"
    );
    let (bench, _) = check(&[], Act::Status(0, ""), complete).await;
    assert_eq!(bench.meter.counts.borrow().missing, 9);
    assert_eq!(
        bench.meter.faults.borrow()[0].message,
        "9 rows never came, first key 0"
    );
    let all: Vec<_> = (0..10).filter(|number| *number != 4).collect();
    let (bench, _) = check(&rows(all), Act::Status(0, ""), complete).await;
    assert_eq!(
        bench.meter.counts.borrow().missing,
        1,
        "the sequence misses what no list has"
    );
}

#[tokio::test]
async fn a_row_that_its_sequence_misses_is_not_missed_again_by_its_own_key() {
    let keyed = "{ sequence: number, key: head.number, payload: data, truth: { rows: session.list, complete: true } }";
    // Keys 0, 1 and 3: the sequence misses key 2, the list also 5 to 9.
    let (bench, _) = check(&rows([5, 6, 8]), Act::Status(0, ""), keyed).await;
    assert_eq!(bench.meter.counts.borrow().missing, 6);
}

#[tokio::test]
async fn a_stream_is_compared_with_its_digest_as_a_whole() {
    let with = |digest: &str| format!("{{ payload: data, truth: {{ digest: '{digest}' }} }}");
    let right = Digest::of(b"data of 0data of 1").to_string();
    let wrong = Digest::of(b"data of 0data of 2").to_string();
    let cut = || Act::Reset(h2::Reason::INTERNAL_ERROR);
    let end = || Act::Status(0, "");
    let counted = |[verified, mismatched, unverified, missing]: [u64; 4]| RowCounts {
        verified,
        mismatched,
        unverified,
        missing,
        ..RowCounts::default()
    };
    for (digest, count, end, expect, code) in [
        (&*right, 2, end(), [2, 0, 0, 0], None),
        ("${session.digest}", 2, end(), [2, 0, 0, 0], None),
        (&wrong, 2, end(), [0, 2, 0, 0], Some("rows_mismatched")),
        (&right, 2, cut(), [0, 0, 2, 0], Some("truth_unreadable")),
        (&right, 0, end(), [0, 0, 0, 1], Some("rows_missing")),
        (
            &right[1..],
            2,
            end(),
            [0, 0, 2, 0],
            Some("truth_unreadable"),
        ),
        (
            &right.to_uppercase(),
            2,
            end(),
            [0, 0, 2, 0],
            Some("truth_unreadable"),
        ),
        (
            "${session.nothing}",
            2,
            end(),
            [0, 0, 2, 0],
            Some("truth_unreadable"),
        ),
    ] {
        let (bench, _) = check(&rows(0..count), end, &with(digest)).await;
        assert_eq!(*bench.meter.counts.borrow(), counted(expect), "{digest}");
        let faults = bench.meter.faults.borrow();
        let told: Vec<_> = faults.iter().map(|fault| fault.code).collect();
        assert_eq!(told, code.into_iter().collect::<Vec<_>>(), "{faults:?}");
    }
}

/// An agent whose clock says that 1,000 s have passed since the epoch, and a coordinator whose says 10 s more.
fn clock() -> MeshClock {
    const AHEAD: i64 = 10_000_000_000;
    let mut offset = OffsetEstimate::new();
    offset.add(Probe {
        sent_ns: 0,
        received_ns: AHEAD,
        replied_ns: AHEAD,
        returned_ns: 0,
    });
    let anchor = TimeAnchor::at(Instant::now(), 1_000_000_000_000);
    MeshClock::new(anchor, watch::channel(offset).1)
}

#[tokio::test]
async fn latency_is_absolute_where_the_servers_clock_is_declared() {
    let sent = "{ sequence: number, payload: data, sent_at: { field: sent_ms, unit: ms } }";
    let mut rows = rows(0..5);
    // By the coordinator's clock it is 1,010 s: a minute late, now, half a minute early, ten minutes early, hours late.
    for (row, sent_s) in rows.iter_mut().zip([950, 1_010, 1_040, 1_610, -9_000]) {
        row.sent_ms = sent_s * 1_000;
    }
    let target = |clock: &str| format!("grpc: {{ protos: [protos/t.proto] }}, clock: {clock}");
    let near = target("{ error: 60s }");
    let (bench, result) = check_from(&near, clock(), &rows, Act::Status(0, ""), sent).await;
    assert_eq!(result, Ok(()));
    let latencies = bench.meter.latencies.take();
    let minute = Duration::from_secs(60);
    assert!(
        (minute..minute + minute / 2).contains(&latencies[0]),
        "{latencies:?}"
    );
    assert!(latencies[1] < minute / 2, "{latencies:?}");
    assert_eq!(latencies[2..], [Duration::ZERO]);
    assert_eq!(
        *bench.meter.losses.borrow(),
        [("samples_out_of_range", 2), ("negative_latencies", 1)]
    );
    let same = target("{ same_as: coordinator }");
    let (bench, _) = check_from(&same, clock(), &rows, Act::Status(0, ""), sent).await;
    assert_eq!(
        bench.meter.latencies.borrow().len(),
        2,
        "none came before it was sent"
    );
    assert_eq!(*bench.meter.losses.borrow(), [("samples_out_of_range", 3)]);
    let unknown = check_from(&same, MeshClock::default(), &rows, Act::Status(0, ""), sent);
    let (bench, _) = unknown.await;
    assert!(
        bench.meter.latencies.borrow().is_empty(),
        "nothing is known, so nothing is said"
    );
    assert_eq!(*bench.meter.losses.borrow(), [("samples_out_of_range", 5)]);
}
