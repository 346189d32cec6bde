//! Each data fault, as a client sees it on the wire: what it does, how often, and nothing else.

use std::time::Duration;

use serde_json::json;
use testmesh_testbed::pandadatastream::DataStream;
use tokio::time::Instant;

use crate::kit::{Bed, digest, historic, key, live, next, number};

/// A healthy stream and the same stream under a behavior, on a job of each call's own.
async fn pair(behavior: &str) -> (Vec<DataStream>, Vec<DataStream>) {
    let bed = Bed::with(behavior).await;
    let job = bed.job(&historic()).await;
    let (struck, end) = bed.whole(&job, 0).await;
    assert!(end.is_none(), "{end:?}");
    bed.send(
        "PUT",
        "/_testbed/behaviors",
        Some(json!({ "behaviors": [] }).to_string()),
    )
    .await;
    let (healthy, _) = bed.whole(&job, 0).await;
    assert_eq!(healthy.len(), 120);
    (healthy, struck)
}

fn numbers(rows: &[DataStream]) -> Vec<i32> {
    rows.iter().map(number).collect()
}

/// The rows whose payload differs, of two streams with the same numbers.
fn differing(healthy: &[DataStream], struck: &[DataStream]) -> Vec<usize> {
    assert_eq!(numbers(healthy), numbers(struck));
    let pairs = healthy.iter().zip(struck);
    (0..)
        .zip(pairs)
        .filter(|(_, (a, b))| a.main_data != b.main_data)
        .map(|(at, _)| at)
        .collect()
}

#[tokio::test]
async fn flip_bit_inverts_one_bit_of_one_row() {
    let (healthy, struck) = pair("flip-bit").await;
    let places = differing(&healthy, &struck);
    assert_eq!(places.len(), 1);
    assert!((9..50).contains(&places[0]));
    let (a, b) = (
        &healthy[places[0]].main_data[0],
        &struck[places[0]].main_data[0],
    );
    let bits: u32 = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!((a.len(), bits), (b.len(), 1));
}

#[tokio::test]
async fn each_call_is_struck_elsewhere() {
    let bed = Bed::with("flip-bit").await;
    let mut digests = Vec::new();
    for _ in 0..3 {
        let job = bed.job(&historic()).await;
        digests.push(
            bed.whole(&job, 0)
                .await
                .0
                .iter()
                .map(digest)
                .collect::<Vec<_>>(),
        );
    }
    // Of three users, two are right about every row: the majority is the truth.
    let rows = digests[0].iter().zip(&digests[1]).zip(&digests[2]);
    let agree = rows.filter(|((a, b), c)| a == b || a == c || b == c);
    assert_eq!(agree.count(), 120);
    assert!(digests[0] != digests[1] && digests[1] != digests[2]);
}

#[tokio::test]
async fn drop_row_leaves_a_number_out() {
    let (healthy, struck) = pair("drop-row").await;
    assert_eq!(struck.len(), 119);
    let gap = numbers(&struck)
        .windows(2)
        .position(|pair| pair[1] == pair[0] + 2)
        .unwrap();
    assert!((8..49).contains(&gap));
    let good = |row: &DataStream| {
        healthy
            .iter()
            .any(|of| (number(of), &of.main_data) == (number(row), &row.main_data))
    };
    assert!(struck.iter().all(good));
}

#[tokio::test]
async fn repeat_row_sends_a_row_twice() {
    let (_, struck) = pair("repeat-row").await;
    assert_eq!(struck.len(), 121);
    let twice: Vec<_> = struck
        .windows(2)
        .filter(|pair| pair[0] == pair[1])
        .collect();
    assert_eq!(twice.len(), 1);
}

#[tokio::test]
async fn swap_rows_keeps_each_rows_own_number() {
    let (healthy, mut struck) = pair("swap-rows").await;
    assert_eq!(struck.len(), 120);
    let place = numbers(&struck)
        .windows(2)
        .position(|pair| pair[1] < pair[0])
        .unwrap();
    assert_eq!(
        (number(&struck[place]), number(&struck[place + 1])),
        (number(&healthy[place + 1]), number(&healthy[place]))
    );
    struck.sort_by_key(number);
    assert!(
        struck
            .iter()
            .zip(&healthy)
            .all(|(a, b)| a.main_data == b.main_data)
    );
}

#[tokio::test]
async fn truncate_row_shortens_the_payload_and_nothing_else() {
    let (healthy, struck) = pair("truncate-row").await;
    let places = differing(&healthy, &struck);
    assert_eq!(places.len(), 1);
    let (a, b) = (&healthy[places[0]], &struck[places[0]]);
    assert_eq!(a.data_shape_x, b.data_shape_x);
    assert_eq!(b.main_data[0].len(), a.main_data[0].len() * 3 / 4);
    assert!(a.main_data[0].starts_with(&b.main_data[0]));
}

#[tokio::test]
async fn wrong_stream_holds_from_a_row_on_with_another_streams_payload() {
    let (healthy, struck) = pair("wrong-stream").await;
    let places = differing(&healthy, &struck);
    assert!((9..50).contains(&places[0]));
    assert_eq!(places, (places[0]..120).collect::<Vec<_>>());
    let bed = Bed::quick().await;
    let job = bed.job(&historic()).await;
    let (one, two) = (bed.whole(&job, 1).await.0, bed.whole(&job, 2).await.0);
    // Stream 2 has a channel less than stream 0, whose payload keeps its length.
    let of_one = struck[places[0]].main_data == one[places[0]].main_data;
    let other = if of_one { one } else { two };
    for at in places {
        assert!(
            struck[at].main_data[0].starts_with(&other[at].main_data[0]),
            "another stream's payload"
        );
        assert_eq!(
            struck[at].main_data[0].len(),
            healthy[at].main_data[0].len()
        );
        assert_eq!(
            (struck[at].start_channel, struck[at].end_channel),
            (1, 17),
            "this stream's channels"
        );
    }
}

#[tokio::test]
async fn early_end_is_an_end_with_status_ok() {
    let (healthy, struck) = pair("early-end").await;
    assert!((9..50).contains(&struck.len()));
    assert_eq!(numbers(&struck), numbers(&healthy[..struck.len()]));
}

#[tokio::test]
async fn stall_pauses_once_and_loses_nothing() {
    let bed = Bed::with("stall:300ms").await;
    let job = bed.job(&historic()).await;
    let mut stream = bed.stream(&job, 0).await.unwrap();
    let (mut last, mut pauses, mut rows) = (Instant::now(), 0, 0);
    while next(&mut stream).await.unwrap().is_some() {
        pauses += usize::from(last.elapsed() >= Duration::from_millis(250));
        (last, rows) = (Instant::now(), rows + 1);
    }
    assert_eq!((rows, pauses), (120, 1));
}

#[tokio::test]
async fn live_rows_held_back_by_a_stall_come_late_and_complete() {
    let bed = Bed::with("stall:300ms").await;
    let job = bed.job(&live()).await;
    let rows = bed.rows(&job, 0, 90).await;
    assert!(
        rows.windows(2)
            .all(|pair| number(&pair[1]) == number(&pair[0]) + 1)
    );
    assert!(
        rows.windows(2)
            .all(|pair| key(&pair[1]) == key(&pair[0]) + 10)
    );
}

#[tokio::test]
async fn slow_stage_holds_configure_back() {
    let bed = Bed::with("slow-stage:300ms").await;
    let start = Instant::now();
    bed.job(&historic()).await;
    assert!(start.elapsed() >= Duration::from_millis(300));
    let start = Instant::now();
    bed.get("/ack").await;
    assert!(
        start.elapsed() < Duration::from_millis(250),
        "nothing else is slow"
    );
}

#[tokio::test]
async fn a_rate_strikes_many_rows() {
    let (_, struck) = pair("drop-row:0.5").await;
    assert!((30..90).contains(&struck.len()), "{}", struck.len());
}

#[tokio::test]
async fn several_at_once() {
    let (healthy, struck) = pair("drop-row,repeat-row,flip-bit").await;
    assert_eq!(struck.len(), healthy.len());
    let foreign = struck
        .iter()
        .filter(|row| healthy.iter().all(|good| good.main_data != row.main_data))
        .count();
    // The flipped row may be the repeated one, or the dropped one.
    assert!(foreign <= 2);
}
