//! The REST contract: every status, body and rule of the deployed API.

use serde_json::{Value, json};
use testmesh_testbed::{Config, FIXED_END, FIXED_START};

use crate::kit::{Bed, historic, live};

/// The usual request with some fields set; `"-"` removes one.
fn change(mut body: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value == "-" {
            parent.remove(name);
        } else {
            parent.insert(name.to_owned(), value.clone());
        }
    }
    body
}

fn waterfall() -> Value {
    json!({ "view_type": 2, "nfftSelection": 1, "displayInfo": { "height": 200 }, "channels": { "min": 1, "max": 50 } })
}

#[tokio::test]
async fn configure_answers_with_every_field_and_its_invariants() {
    let bed = Bed::quick().await;
    let job = bed.job(&live()).await;
    let fields: Vec<_> = job
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        fields,
        [
            "status",
            "frequencies_list",
            "lines_dt",
            "channel_to_stream_index",
            "stream_amount",
            "job_id",
            "frequencies_amount",
            "channel_amount",
            "stream_port",
            "stream_url",
            "view_type",
            "metadata",
        ]
    );
    assert_eq!(
        (&job["status"], &job["lines_dt"], &job["job_id"]),
        (&json!(""), &json!(0.01), &json!("0-1"))
    );
    assert_eq!(
        (
            &job["stream_amount"],
            &job["channel_amount"],
            &job["view_type"]
        ),
        (&json!(3), &json!(50), &json!(0))
    );
    assert_eq!(
        job["frequencies_amount"],
        job["frequencies_list"].as_array().unwrap().len()
    );
    assert_eq!(job["frequencies_amount"], 64);
    let map = job["channel_to_stream_index"].as_object().unwrap();
    assert_eq!(map.len(), 50);
    let of = |channel: &str| map[channel].as_i64().unwrap();
    assert_eq!(
        (of("1"), of("17"), of("18"), of("34"), of("35"), of("50")),
        (0, 0, 1, 1, 2, 2)
    );
    assert_eq!(job["stream_url"], "http://127.0.0.1");
    assert_eq!(job["stream_port"], bed.testbed.job_ports());
    assert_eq!(job["metadata"]["parent"]["prr"], 2_000);
    assert_eq!(bed.get("/metadata/0-1").await, (200, job));
    assert_eq!(
        bed.job(&live()).await["stream_port"],
        bed.testbed.job_ports() + 1
    );
}

#[tokio::test]
async fn captured_values_of_lines_dt_and_bins() {
    let bed = Bed::quick().await;
    for (duration, height, lines_dt) in [
        (10, 1_000, 0.01),
        (10, 256, 0.039_062_5),
        (300, 600, 0.5),
        (30, 200, 0.15),
    ] {
        let body = change(
            live(),
            &[
                ("/displayTimeAxisDuration", json!(duration)),
                ("/displayInfo/height", json!(height)),
            ],
        );
        assert_eq!(bed.job(&body).await["lines_dt"], lines_dt);
    }
    for (nfft, bins) in [(256, 16), (512, 32), (1_024, 64)] {
        assert_eq!(
            bed.job(&change(live(), &[("/nfftSelection", json!(nfft))]))
                .await["frequencies_amount"],
            bins
        );
    }
    assert_eq!(bed.job(&historic()).await["frequencies_amount"], 256);
}

#[tokio::test]
async fn the_other_views() {
    let bed = Bed::quick().await;
    let single = change(
        live(),
        &[
            ("/view_type", json!("1")),
            ("/channels", json!({ "min": 7, "max": 7 })),
        ],
    );
    let job = bed.job(&single).await;
    assert_eq!(
        (
            &job["view_type"],
            &job["stream_amount"],
            &job["channel_amount"]
        ),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(job["channel_to_stream_index"], json!({ "7": 0 }));
    let job = bed.job(&waterfall()).await;
    assert_eq!(
        (&job["view_type"], &job["frequencies_amount"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(
        (&job["stream_amount"], &job["frequencies_list"]),
        (&json!(3), &json!([]))
    );
    // What may be left out, and null where something may.
    for optional in [
        "/nfftSelection",
        "/frequencyRange",
        "/start_time",
        "/end_time",
    ] {
        bed.job(&change(live(), &[(optional, json!("-"))])).await;
        bed.job(&change(live(), &[(optional, Value::Null)])).await;
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn strict_validation_refuses_what_has_no_meaning() {
    let bed = Bed::quick().await;
    let now = 4_000_000_000_u64;
    let table: Vec<(Vec<(&str, Value)>, &str)> = vec![
        (
            vec![("/displayInfo/height", json!(0))],
            "displayInfo.height must be positive",
        ),
        (
            vec![("/displayInfo/height", json!(-5))],
            "displayInfo.height must be positive",
        ),
        (
            vec![("/displayInfo/height", json!(999_999))],
            "displayInfo.height must be at most",
        ),
        (
            vec![("/displayInfo/height", json!(2_001))],
            "lines per second",
        ),
        (
            vec![("/displayTimeAxisDuration", json!(0))],
            "displayTimeAxisDuration must be from 1",
        ),
        (
            vec![("/displayTimeAxisDuration", json!(999_999))],
            "displayTimeAxisDuration must be from 1",
        ),
        (
            vec![("/channels", json!({ "min": 50, "max": 1 }))],
            "must not be less than channels.min",
        ),
        (
            vec![("/channels", json!({ "min": 0, "max": 9 }))],
            "channels.min must be at least 1",
        ),
        (
            vec![("/channels", json!({ "min": 1, "max": 99_999 }))],
            "exceeds the highest channel (2337)",
        ),
        (
            vec![("/channels", json!({ "min": 1, "max": 2_223 }))],
            "at most 2222 channels",
        ),
        (
            vec![("/view_type", json!(1))],
            "requires channels.min == channels.max",
        ),
        (vec![("/view_type", json!(3))], "heatmap"),
        (
            vec![("/nfftSelection", json!(1_000))],
            "power of two from 32 to 2048",
        ),
        (
            vec![("/nfftSelection", json!(4_096))],
            "power of two from 32 to 2048",
        ),
        (vec![("/nfftSelection", json!(-1_024))], "power of two"),
        (
            vec![("/frequencyRange", json!({ "min": 0, "max": 1_500 }))],
            "must be at most 1000 Hz",
        ),
        (
            vec![("/frequencyRange", json!({ "min": -1, "max": 500 }))],
            "must not be negative",
        ),
        (
            vec![("/frequencyRange", json!({ "min": 500, "max": 500 }))],
            "must be greater than",
        ),
        // Live bins are 7.8 Hz apart.
        (
            vec![("/frequencyRange", json!({ "min": 1, "max": 2 }))],
            "holds no frequency",
        ),
        (
            vec![("/start_time", json!(FIXED_START))],
            "must both be set",
        ),
        (
            vec![
                ("/start_time", json!(FIXED_START + 9)),
                ("/end_time", json!(FIXED_START)),
            ],
            "must be after start_time",
        ),
        (
            vec![("/start_time", json!(now)), ("/end_time", json!(now + 9))],
            "lies in the future",
        ),
        (
            vec![("/start_time", json!(-9)), ("/end_time", json!(9))],
            "must not be negative",
        ),
        (
            vec![
                ("/start_time", json!(FIXED_START)),
                ("/end_time", json!(FIXED_START + 61)),
            ],
            "30 windows of 2 s",
        ),
    ];
    for (changes, expect) in table {
        let (status, body) = bed.post("/configure", &change(live(), &changes)).await;
        let error = body["error"].as_str().unwrap_or_default();
        assert!(
            status == 400 && error.contains(expect),
            "{changes:?}: {status} {body}"
        );
    }
    for (field, value) in [
        ("/nfftSelection", json!(1_024)),
        ("/frequencyRange", json!({ "min": 0, "max": 1 })),
        ("/displayTimeAxisDuration", json!(30)),
    ] {
        assert_eq!(
            bed.post("/configure", &change(waterfall(), &[(field, value)]))
                .await
                .0,
            400,
            "{field}"
        );
    }
    assert_eq!(
        bed.get("/_testbed").await.1["jobs"],
        json!([]),
        "nothing was started"
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn schema_violations_are_fastapi_lists() {
    let bed = Bed::quick().await;
    for (pointer, value, kind, loc) in [
        (
            "/displayInfo",
            json!("-"),
            "missing",
            json!(["body", "displayInfo"]),
        ),
        (
            "/displayInfo/height",
            json!("-"),
            "missing",
            json!(["body", "displayInfo", "height"]),
        ),
        (
            "/channels/min",
            json!("-"),
            "missing",
            json!(["body", "channels", "min"]),
        ),
        (
            "/view_type",
            json!("-"),
            "missing",
            json!(["body", "view_type"]),
        ),
        (
            "/displayTimeAxisDuration",
            json!("-"),
            "missing",
            json!(["body", "displayTimeAxisDuration"]),
        ),
        ("/view_type", json!(4), "enum", json!(["body", "view_type"])),
        (
            "/view_type",
            json!("abc"),
            "enum",
            json!(["body", "view_type"]),
        ),
        (
            "/channels/max",
            json!("many"),
            "int_parsing",
            json!(["body", "channels", "max"]),
        ),
        (
            "/channels/max",
            json!(1.5),
            "int_from_float",
            json!(["body", "channels", "max"]),
        ),
        (
            "/channels",
            json!([1, 50]),
            "model_attributes_type",
            json!(["body", "channels"]),
        ),
        (
            "/start_time",
            json!({}),
            "int_type",
            json!(["body", "start_time"]),
        ),
    ] {
        let (status, body) = bed
            .post("/configure", &change(live(), &[(pointer, value)]))
            .await;
        assert_eq!(status, 422, "{pointer}: {body}");
        let detail = &body["detail"][0];
        assert_eq!(
            (&detail["type"], &detail["loc"]),
            (&json!(kind), &loc),
            "{pointer}"
        );
        assert!(detail["msg"].is_string());
    }
    assert_eq!(bed.post("/configure", &json!([])).await.0, 422);
}

#[tokio::test]
async fn bodies_that_are_no_json_or_too_large() {
    let bed = Bed::quick().await;
    for body in ["", "{", "not json", &"[".repeat(100_000)] {
        let (status, answer) = bed.send("POST", "/configure", Some(body.to_owned())).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains("not JSON"));
    }
    let (status, answer) = bed
        .send("POST", "/configure", Some(" ".repeat(2 << 20)))
        .await;
    assert_eq!((status, answer["error"].is_string()), (400, true));
    assert_eq!(bed.get("/ack").await, (200, json!({})));
}

#[tokio::test]
async fn the_reads() {
    let bed = Bed::quick().await;
    assert_eq!(bed.get("/ack").await, (200, json!({})));
    assert_eq!(
        bed.get("/channels").await,
        (
            200,
            json!({ "lowest_channel": 1, "highest_channel": 2_337 })
        )
    );
    let (status, live) = bed.get("/live_metadata").await;
    assert_eq!(
        (status, &live["prr"], live.get("dtype")),
        (200, &json!(2_000.0), None)
    );
    let (status, page) = bed.get("/get_recordings_timeline").await;
    assert!(status == 200 && page.as_str().unwrap().starts_with("<!doctype html>"));
    let (status, api) = bed.get("/openapi.json").await;
    assert_eq!(status, 200);
    assert_eq!(api["openapi"], "3.1.0");
    assert_eq!(bed.get("/docs").await.0, 200);
}

#[tokio::test]
async fn what_is_not_there() {
    let mut config = testmesh_testbed::Config::quick();
    config.task_flow = testmesh_testbed::TaskFlow::Absent;
    let bed = Bed::start(config).await;
    let not_found = json!({ "detail": "Not Found" });
    for (method, path) in [
        ("DELETE", "/job/0-1"),
        ("GET", "/sensors"),
        ("GET", "/health"),
        ("GET", "/info"),
        ("POST", "/config/task"),
        ("GET", "/waterfall/task/10"),
        ("GET", "/"),
    ] {
        assert_eq!(
            bed.send(method, path, None).await,
            (404, not_found.clone()),
            "{method} {path}"
        );
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] {
        assert_eq!(bed.send(method, "/ack", None).await.0, 405, "{method}");
    }
    for id in ["0-1", "7", "x-y", "-1-1", "0-1-2", "99999999999-1"] {
        assert_eq!(
            bed.get(&format!("/metadata/{id}")).await,
            (404, json!({ "error": "Invalid job_id" })),
            "{id}"
        );
    }
}

#[tokio::test]
async fn any_origin_may_ask() {
    let bed = Bed::quick().await;
    let url = format!("{}/ack", bed.testbed.url());
    let response = bed
        .http
        .get(&url)
        .header("origin", "http://elsewhere")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let preflight = bed.http.request("OPTIONS".parse().unwrap(), &url);
    let preflight = preflight
        .header("origin", "http://e")
        .header("access-control-request-method", "GET");
    assert_eq!(preflight.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn recordings_and_their_absence() {
    let bed = Bed::quick().await;
    let range = |start: i64, end: i64| json!({ "start_time": start, "end_time": end });
    let start = i64::try_from(FIXED_START).unwrap();
    let (status, list) = bed
        .post("/recordings_in_time_range", &range(start, start + 25))
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        list,
        json!([
            [start, start + 10],
            [start + 10, start + 20],
            [start + 20, start + 30]
        ])
    );
    assert_eq!(
        bed.post(
            "/recordings_in_time_range",
            &range(9_000_000_000, 9_000_000_100)
        )
        .await,
        (200, json!([]))
    );
    assert_eq!(
        bed.post("/recordings_in_time_range", &range(100, 50))
            .await
            .0,
        400
    );
    assert_eq!(
        bed.post("/recordings_in_time_range", &range(-100, 50))
            .await
            .0,
        400
    );
    assert_eq!(
        bed.post("/recordings_in_time_range", &json!({ "start_time": 1 }))
            .await
            .0,
        422
    );
    let (_, all) = bed
        .post("/recordings_in_time_range", &range(0, i64::MAX))
        .await;
    assert!(all.as_array().unwrap().len() > 8_640);
    // A historic range in which nothing was recorded.
    for start in [1_000_000_000, FIXED_END] {
        let body = change(
            historic(),
            &[
                ("/start_time", json!(start)),
                ("/end_time", json!(start + 60)),
            ],
        );
        let expect = json!({ "error": "No recording found in given time range" });
        assert_eq!(bed.post("/configure", &body).await, (404, expect));
    }
}

#[tokio::test]
async fn no_slot_no_job() {
    let config = Config {
        max_jobs: 2,
        ..Config::quick()
    };
    let bed = Bed::start(config).await;
    bed.job(&live()).await;
    bed.job(&live()).await;
    let (status, body) = bed.post("/configure", &live()).await;
    assert_eq!(status, 503);
    assert_eq!(
        body["error"],
        "no free slot: 2 jobs are running, which is the limit"
    );
}

#[tokio::test]
async fn lenient_validation_is_as_observed() {
    let bed = Bed::start(Config {
        configure_delay: std::time::Duration::ZERO,
        ..Config::as_observed()
    })
    .await;
    for (changes, field, expect) in [
        (
            vec![("/nfftSelection", json!(1_000))],
            "frequencies_amount",
            json!(64),
        ),
        (
            vec![("/displayInfo/height", json!(-5))],
            "stream_amount",
            json!(3),
        ),
        (
            vec![("/frequencyRange", json!({ "min": 0, "max": 5_000 }))],
            "stream_amount",
            json!(3),
        ),
        (
            vec![("/channels", json!({ "min": 0, "max": 99_999 }))],
            "channel_amount",
            json!(2_337),
        ),
        (vec![("/view_type", json!(1))], "channel_amount", json!(1)),
    ] {
        assert_eq!(
            bed.job(&change(live(), &changes)).await[field],
            expect,
            "{changes:?}"
        );
    }
    let many = bed.job(&change(live(), &[("/view_type", json!(1))])).await;
    assert_eq!(many["stream_amount"], 1);
    assert_eq!(
        many["channel_to_stream_index"].as_object().unwrap().len(),
        50,
        "all channels are listed, as found"
    );
    for (field, value) in [
        ("/frequencyRange", Value::Null),
        ("/nfftSelection", json!("-")),
    ] {
        assert_eq!(
            bed.post("/configure", &change(live(), &[(field, value)]))
                .await
                .0,
            500,
            "{field}"
        );
    }
    assert_eq!(bed.post("/configure", &waterfall()).await.0, 500);
    let (status, body) = bed.send("POST", "/configure", Some("{".to_owned())).await;
    assert_eq!(
        (status, body),
        (500, json!({ "error": "Error parsing configuration" }))
    );
    assert_eq!(
        bed.post("/configure", &change(live(), &[("/channels", json!("-"))]))
            .await
            .0,
        422
    );
}

#[tokio::test]
async fn behaviors_over_the_admin_api() {
    let bed = Bed::with("flip-bit").await;
    let (_, listed) = bed.get("/_testbed/behaviors").await;
    assert_eq!(listed["behaviors"], json!(["flip-bit"]));
    assert_eq!(listed["known"][0]["reason"], "rows_mismatched");
    let put = async |body: Value| {
        bed.send("PUT", "/_testbed/behaviors", Some(body.to_string()))
            .await
    };
    let expect = json!({ "behaviors": ["stall:2s", "drop-row:0.001"] });
    assert_eq!(
        put(json!({ "behaviors": ["stall:2s", "drop-row:1e-3"] })).await,
        (200, expect.clone())
    );
    for bad in [
        json!({ "behaviors": ["flip"] }),
        json!({ "behaviors": ["stall", "stall"] }),
        json!(["stall"]),
    ] {
        let (status, answer) = put(bad).await;
        assert_eq!((status, answer["error"].is_string()), (400, true));
    }
    assert_eq!(
        bed.get("/_testbed/behaviors").await.1["behaviors"],
        expect["behaviors"],
        "a bad list changes nothing"
    );
}

#[test]
fn the_readme_lists_every_behavior_with_its_reason_and_every_flag() {
    use clap::CommandFactory;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        _flags: testmesh_testbed::Flags,
    }

    let readme = include_str!("../../README.md");
    for entry in testmesh_testbed::TABLE {
        let lines = || {
            readme
                .lines()
                .filter(|line| line.starts_with(&format!("| `{}`", entry.name)))
        };
        assert!(
            lines().any(|line| line.ends_with(&format!("`{}` |", entry.reason))),
            "{}",
            entry.name
        );
        assert!(
            lines().any(|line| line.contains(entry.finding.split(" (").next().unwrap())),
            "{}",
            entry.finding
        );
    }
    for flag in Cli::command()
        .get_arguments()
        .filter_map(|argument| argument.get_long())
    {
        assert!(readme.contains(&format!("--{flag}")), "--{flag}");
    }
}
