//! What streams carry: healthy rows, live and historic, against the laws of the grid and the manifest.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use testmesh_shared::clock::TimeAnchor;
use testmesh_testbed::{Config, FIXED_START, HistoricEnd};
use tokio::time::Instant;
use tonic::Code;

use crate::kit::{Bed, connect, digest, historic, key, live, next, number};

#[tokio::test]
async fn live_rows_have_the_shape_and_lie_on_the_grid() {
    let bed = Bed::quick().await;
    let job = bed.job(&live()).await;
    let mut channels = Vec::new();
    for id in 0..3 {
        let rows = bed.rows(&job, id, 5).await;
        for pair in rows.windows(2) {
            assert_eq!(number(&pair[1]), number(&pair[0]) + 1);
            assert_eq!(key(&pair[1]), key(&pair[0]) + 10);
        }
        for row in &rows {
            let block = row.end_channel - row.start_channel + 1;
            assert_eq!(
                (row.data_shape_x, row.data_shape_y, row.data_shape_z),
                (block * 64, 1, None)
            );
            assert_eq!(row.main_data.len(), 1);
            assert_eq!(
                row.main_data[0].len(),
                usize::try_from(row.data_shape_x).unwrap() * 2
            );
            assert_eq!(row.job_id, Some(id));
            assert_eq!(key(row) % 10, 0);
            assert!(row.global_minimum >= 0.0 && row.global_maximum > row.global_minimum);
        }
        channels.push((rows[0].start_channel, rows[0].end_channel));
    }
    assert_eq!(channels, [(1, 17), (18, 34), (35, 50)]);
}

#[tokio::test]
async fn two_jobs_of_one_view_agree_on_every_byte() {
    let bed = Bed::quick().await;
    let other = Bed::quick().await;
    let (a, b, c) = (
        bed.job(&live()).await,
        bed.job(&live()).await,
        other.job(&live()).await,
    );
    // The same lines_dt from other numbers is the same grid.
    let mut scaled = live();
    (
        scaled["displayTimeAxisDuration"],
        scaled["displayInfo"]["height"],
    ) = (json!(4), json!(400));
    let d = bed.job(&scaled).await;
    let (a, b, c, d) = tokio::join!(
        bed.rows(&a, 1, 60),
        bed.rows(&b, 1, 60),
        other.rows(&c, 1, 60),
        bed.rows(&d, 1, 60)
    );
    let seen: HashMap<i64, String> = a.iter().map(|row| (key(row), digest(row))).collect();
    for rows in [b, c, d] {
        let common: Vec<_> = rows
            .iter()
            .filter(|row| seen.contains_key(&key(row)))
            .collect();
        assert!(common.len() > 20, "{} rows in common", common.len());
        assert!(common.iter().all(|row| seen[&key(row)] == digest(row)));
    }
}

#[tokio::test]
async fn a_live_stream_starts_at_the_next_line_and_counts_the_jobs_lines() {
    let bed = Bed::quick().await;
    let job = bed.job(&live()).await;
    let first = bed.rows(&job, 0, 20).await;
    let second = bed.rows(&job, 1, 1).await;
    let (early, late) = (&first[0], &second[0]);
    assert!(
        number(late) >= number(&first[19]),
        "a later call continues the job's count"
    );
    // One mapping of numbers to times for the whole job.
    assert_eq!(
        i64::from(number(late) - number(early)) * 10,
        key(late) - key(early)
    );
}

#[tokio::test]
async fn rows_come_at_the_rate_of_lines_dt() {
    let bed = Bed::quick().await;
    let job = bed.job(&live()).await;
    let mut stream = bed.stream(&job, 0).await.unwrap();
    next(&mut stream).await.unwrap();
    let start = Instant::now();
    for _ in 0..50 {
        next(&mut stream).await.unwrap();
    }
    let took = start.elapsed();
    assert!(
        (Duration::from_millis(400)..Duration::from_millis(1_500)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test]
async fn live_rows_are_staggered_by_slot() {
    let bed = Bed::start(Config {
        stagger: 2,
        ..Config::quick()
    })
    .await;
    let mut body = live();
    body["displayInfo"]["height"] = json!(10);
    let clock = TimeAnchor::now();
    for late_by in [0, 100_000_000] {
        let job = bed.job(&body).await;
        let mut stream = bed.stream(&job, 0).await.unwrap();
        for _ in 0..3 {
            let row = next(&mut stream).await.unwrap().unwrap();
            // A clock read a moment later may be a moment ahead.
            let age = clock.unix_ns_now() - key(&row) * 1_000_000;
            assert!(
                age >= late_by - 2_000_000,
                "slot {}: {age} ns",
                job["job_id"]
            );
        }
    }
}

#[tokio::test]
async fn a_historic_stream_equals_its_manifest() {
    let bed = Bed::quick().await;
    for id in 0..3 {
        let job = bed.job(&historic()).await;
        let path = format!(
            "/_testbed/rows?job_id={}&stream={id}",
            job["job_id"].as_str().unwrap()
        );
        let (status, manifest) = bed.get(&path).await;
        assert_eq!(status, 200, "{manifest}");
        let (_, by_request) = bed
            .post(&format!("/_testbed/rows?stream={id}"), &historic())
            .await;
        assert_eq!(manifest, by_request);
        let (rows, end) = bed.whole(&job, id).await;
        assert!(end.is_none(), "a clean end");
        let streamed: Value = rows
            .iter()
            .map(|row| json!({ "key": key(row), "digest": digest(row) }))
            .collect();
        assert_eq!(streamed, manifest);
        assert_eq!(rows.len(), 120);
        assert_eq!(
            rows[0].data_shape_x,
            if id == 2 { 16 * 256 } else { 17 * 256 }
        );
        assert!((0..).zip(&rows).all(|(index, row)| number(row) == index));
        assert_eq!(
            key(&rows[0]),
            i64::try_from(FIXED_START + 100).unwrap() * 1_000
        );
    }
}

#[tokio::test]
async fn manifests_that_there_are_not() {
    let bed = Bed::quick().await;
    let job = bed.job(&live()).await;
    let path = format!(
        "/_testbed/rows?job_id={}&stream=0",
        job["job_id"].as_str().unwrap()
    );
    assert_eq!(bed.get(&path).await.0, 400, "a live job has none");
    assert_eq!(bed.get("/_testbed/rows?job_id=9-9").await.0, 404);
    assert_eq!(bed.get("/_testbed/rows").await.0, 400);
    assert_eq!(
        bed.post("/_testbed/rows?stream=3", &historic()).await.0,
        400
    );
    let mut long = historic();
    (
        long["displayTimeAxisDuration"],
        long["displayInfo"]["height"],
    ) = (json!(86_400), json!(1));
    (long["start_time"], long["end_time"]) = (json!(FIXED_START), json!(FIXED_START + 80_000));
    assert_eq!(
        bed.post("/_testbed/rows?stream=0", &long)
            .await
            .1
            .as_array()
            .unwrap()
            .len(),
        1
    );
    long["displayInfo"]["height"] = json!(20_000);
    (long["start_time"], long["end_time"]) =
        (json!(1_500_000_000), json!(1_500_000_000 + 80_000 * 30));
    assert_eq!(bed.post("/_testbed/rows?stream=0", &long).await.0, 404);
    (long["start_time"], long["end_time"]) = (json!(FIXED_START), json!(FIXED_START + 2_500_000));
    let (status, answer) = bed.post("/_testbed/rows?stream=0", &long).await;
    assert!(
        status == 400 && answer["error"].as_str().unwrap().contains("too long"),
        "{answer}"
    );
}

#[tokio::test]
async fn historic_rows_come_at_the_given_rate() {
    // 12 s of recordings at 20 times real time.
    let bed = Bed::start(Config {
        historic_rate: 20.0,
        ..Config::quick()
    })
    .await;
    let job = bed.job(&historic()).await;
    let mut stream = bed.stream(&job, 0).await.unwrap();
    let start = Instant::now();
    while next(&mut stream).await.unwrap().is_some() {}
    let took = start.elapsed();
    assert!(
        (Duration::from_millis(500)..Duration::from_secs(2)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test]
async fn the_observed_end_of_a_historic_stream() {
    let silence = Duration::from_millis(300);
    let config = Config {
        historic_end: HistoricEnd::Unavailable,
        historic_silence: silence,
        ..Config::quick()
    };
    let bed = Bed::start(config).await;
    let job = bed.job(&historic()).await;
    let start = Instant::now();
    let (rows, end) = bed.whole(&job, 0).await;
    let end = end.unwrap();
    assert_eq!(
        (rows.len(), end.code(), end.message()),
        (120, Code::Unavailable, "Cancelling all calls")
    );
    assert!(start.elapsed() >= silence);
}

#[tokio::test]
async fn single_channel_and_waterfall_rows() {
    let bed = Bed::quick().await;
    let mut single = live();
    single["view_type"] = json!(1);
    single["channels"] = json!({ "min": 7, "max": 7 });
    single["nfftSelection"] = json!(4_096);
    let job = bed.job(&single).await;
    let row = &bed.rows(&job, 0, 1).await[0];
    assert_eq!(
        (row.start_channel, row.end_channel, row.data_shape_x),
        (7, 7, 256)
    );
    assert_eq!(
        row.data_shape_x,
        i32::try_from(job["frequencies_amount"].as_i64().unwrap()).unwrap()
    );
    let waterfall = json!({ "view_type": 2, "displayInfo": { "height": 2_000 }, "channels": { "min": 1, "max": 50 } });
    let job = bed.job(&waterfall).await;
    let row = &bed.rows(&job, 2, 1).await[0];
    assert_eq!(
        (row.start_channel, row.end_channel, row.data_shape_x),
        (35, 50, 16)
    );
    assert_eq!(row.main_data[0].len(), 32);
    assert_eq!(key(row) % 15, 0, "30 s in 2,000 lines");
}

#[tokio::test]
async fn streams_that_there_are_not() {
    let bed = Bed::quick().await;
    let job = bed.job(&live()).await;
    for id in [3, -1, i32::MAX] {
        assert_eq!(
            bed.stream(&job, id).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
    let mut grpc = tonic::client::Grpc::new(connect(&job).await);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let path = http::uri::PathAndQuery::from_static("/datastream.StreamSpectrograms/Stream");
    let answer = grpc.unary(tonic::Request::new(()), path, codec).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
}
