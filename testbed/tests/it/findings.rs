//! The behaviors that are findings of the real server: what a client sees of each, and that a healthy server is without.

use std::time::Duration;

use serde_json::{Value, json};
use testmesh_testbed::{Behavior, Config, FIXED_START};
use tokio::time::Instant;

use crate::kit::{Bed, connect, historic, live, next};

fn single(max: u32) -> Value {
    let mut body = live();
    body["view_type"] = json!(1);
    body["channels"] = json!({ "min": 1, "max": max });
    body
}

fn waterfall() -> Value {
    json!({ "view_type": 2, "nfftSelection": 1, "displayInfo": { "height": 200 }, "channels": { "min": 1, "max": 50 } })
}

fn without_frequencies() -> Value {
    let mut body = live();
    body["frequencyRange"] = Value::Null;
    body
}

fn without_channels() -> Value {
    let mut body = live();
    body.as_object_mut().unwrap().remove("channels");
    body
}

fn of_the_future() -> Value {
    let mut body = live();
    body["displayInfo"]["height"] = json!(-1);
    body
}

#[tokio::test]
async fn each_answers_its_own_request_otherwise_and_no_other() {
    let requests = [
        live(),
        historic(),
        single(1),
        single(50),
        waterfall(),
        without_frequencies(),
        without_channels(),
        of_the_future(),
    ];
    for (behavior, statuses) in [
        ("", [200, 200, 200, 400, 200, 200, 422, 400]),
        ("port-taken", [500, 500, 500, 400, 500, 500, 422, 400]),
        ("alternate-500", [200, 500, 200, 400, 500, 200, 422, 400]),
        (
            "waiting-for-fiber",
            [503, 200, 503, 400, 503, 503, 422, 400],
        ),
        ("historic-404", [200, 404, 200, 400, 200, 200, 422, 400]),
        ("many-as-single", [200, 200, 200, 200, 200, 200, 422, 400]),
        ("null-500", [200, 200, 200, 400, 200, 500, 500, 400]),
        (
            "bare-waterfall-500",
            [200, 200, 200, 400, 500, 200, 422, 400],
        ),
        ("accept-all", [200, 200, 200, 400, 200, 200, 422, 200]),
        ("overload", [200, 200, 200, 400, 200, 200, 422, 400]),
    ] {
        let bed = Bed::with(behavior).await;
        for (request, expect) in requests.iter().zip(statuses) {
            let (status, answer) = bed.post("/configure", request).await;
            assert_eq!(status, expect, "{behavior}: {request} gave {answer}");
        }
    }
}

#[tokio::test]
async fn an_overloaded_server_answers_as_gateways_do() {
    let bed = Bed::with("overload").await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(bed.post("/configure", &live()).await.0);
    }
    assert_eq!(statuses[..5], [200; 5]);
    statuses.drain(..5);
    statuses.sort_unstable();
    assert_eq!(statuses, [500, 502, 504]);
}

#[tokio::test]
async fn answers_that_break_their_own_promises() {
    let bed = Bed::with("wrong-amounts,wrong-types").await;
    let job = bed.job(&live()).await;
    assert_eq!(
        (&job["channel_amount"], &job["frequencies_amount"]),
        (&json!(51), &json!(65))
    );
    assert_eq!(job["frequencies_list"], json!({}));
    assert!(job["stream_port"].is_string());
}

#[tokio::test]
async fn what_gets_slower() {
    let slow = Duration::from_millis(300);
    for (behavior, path, body) in [
        (
            "slow-recordings:300ms",
            "/recordings_in_time_range",
            json!({ "start_time": FIXED_START, "end_time": FIXED_START + 10 }),
        ),
        (
            "slow-refusal:300ms",
            "/recordings_in_time_range",
            json!({ "start_time": 20, "end_time": 10 }),
        ),
        ("slow-refusal:300ms", "/configure", of_the_future()),
    ] {
        let bed = Bed::with(behavior).await;
        let start = Instant::now();
        bed.post(path, &body).await;
        assert!(start.elapsed() >= slow, "{behavior} {path}");
    }
    let bed = Bed::with("degrade:100ms").await;
    for number in 0..4 {
        let start = Instant::now();
        bed.job(&live()).await;
        assert!(start.elapsed() >= number * Duration::from_millis(100));
    }
}

#[tokio::test]
async fn metadata_is_unknown_for_a_while() {
    let bed = Bed::with("metadata-404:200ms").await;
    let job = bed.job(&live()).await;
    let path = format!("/metadata/{}", job["job_id"].as_str().unwrap());
    assert_eq!(bed.get(&path).await.0, 404);
    bed.until(&path, 200).await;
}

#[tokio::test]
async fn the_fibre_is_waited_for() {
    let bed = Bed::with("waiting-for-fiber").await;
    let (_, live) = bed.get("/live_metadata").await;
    assert_eq!(
        (&live["prr"], &live["sw_version"]),
        (&json!(0.0), &json!("waiting for fiber"))
    );
}

#[tokio::test]
async fn a_stale_recording_is_listed_where_it_would_be() {
    let bed = Bed::with("stale-recording").await;
    let list = |from: u64, to: u64| json!({ "start_time": from, "end_time": to });
    let (_, old) = bed
        .post(
            "/recordings_in_time_range",
            &list(FIXED_START, FIXED_START + 10),
        )
        .await;
    assert_eq!(old, json!([[FIXED_START, FIXED_START + 10]]));
    let (_, ever) = bed
        .post(
            "/recordings_in_time_range",
            &list(FIXED_START, 4_000_000_000),
        )
        .await;
    assert_eq!(ever[0][1], json!(-1));
}

fn hasty(behaviors: &str) -> Config {
    let mut config = Config::quick().behaviors(Behavior::parse_list(behaviors).unwrap());
    config.idle_cleanup = Duration::from_millis(100);
    config.startup_grace = Duration::from_millis(100);
    config
}

#[tokio::test]
async fn pods_that_are_late_or_never_come() {
    let bed = Bed::start(hasty("slow-ready:400ms")).await;
    let start = Instant::now();
    connect(&bed.job(&live()).await).await;
    assert!(start.elapsed() >= Duration::from_millis(450));

    let bed = Bed::start(hasty("never-ready")).await;
    let job = bed.job(&live()).await;
    let port = u16::try_from(job["stream_port"].as_u64().unwrap()).unwrap();
    bed.until(
        &format!("/metadata/{}", job["job_id"].as_str().unwrap()),
        404,
    )
    .await;
    assert!(
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn jobs_that_stay() {
    let bed = Bed::start(hasty("linger:500ms")).await;
    let job = bed.job(&live()).await;
    let start = Instant::now();
    bed.until(
        &format!("/metadata/{}", job["job_id"].as_str().unwrap()),
        404,
    )
    .await;
    assert!(start.elapsed() >= Duration::from_millis(650));

    let bed = Bed::start(hasty("leak-job")).await;
    let job = bed.job(&live()).await;
    drop(bed.rows(&job, 0, 1).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        bed.get(&format!("/metadata/{}", job["job_id"].as_str().unwrap()))
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn streams_that_are_slow_broken_or_black() {
    let bed = Bed::with("slow-rows").await;
    let job = bed.job(&live()).await;
    let start = Instant::now();
    bed.rows(&job, 0, 100).await;
    // A hundred rows of a hundred a second.
    assert!(
        start.elapsed() >= Duration::from_millis(1_900),
        "{:?}",
        start.elapsed()
    );

    let bed = Bed::with("negative-minimum").await;
    let job = bed.job(&live()).await;
    let rows = bed.rows(&job, 0, 3).await;
    assert!(rows.iter().all(|row| row.global_minimum < 0.0));

    let bed = Bed::with("disconnect").await;
    let job = bed.job(&live()).await;
    let mut stream = bed.stream(&job, 0).await.unwrap();
    let mut count = 0;
    while let Ok(Some(_)) = next(&mut stream).await {
        count += 1;
    }
    assert!((9..50).contains(&count), "{count}");
}

#[tokio::test]
async fn a_playback_that_ends_as_in_production() {
    let bed = Bed::with("unavailable-end:100ms").await;
    let job = bed.job(&historic()).await;
    let (rows, status) = bed.whole(&job, 0).await;
    assert_eq!(
        (rows.len(), status.map(|status| status.code())),
        (120, Some(tonic::Code::Unavailable))
    );
}
