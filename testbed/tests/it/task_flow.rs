//! The older task flow: configured, polled 200 → 201 → 208, and gone when nobody polls.

use serde_json::{Value, json};
use testmesh_testbed::{Config, Validation};
use tokio::time::{Instant, sleep};

use crate::kit::{Bed, PATIENCE};

/// Twelve recorded seconds of ten sensors, two lines a second.
fn task() -> Value {
    json!({
        "displayTimeAxisDuration": 30.0, "nfftSelection": 1024, "canvasInfo": { "height": 60 },
        "sensors": { "min": 3, "max": 12 }, "frequencyRange": { "min": 0, "max": 100 },
        "start_time": "231114221320", "end_time": "231114221332",
    })
}

/// Polls until 208; every status and every row on the way.
async fn play(bed: &Bed, id: &str, count: u32) -> (Vec<u16>, Vec<Value>) {
    let (mut statuses, mut rows) = (Vec::new(), Vec::new());
    let start = Instant::now();
    while statuses.last() != Some(&208) {
        let (status, mut body) = bed.get(&format!("/waterfall/{id}/{count}")).await;
        if status == 201 {
            rows.append(body[0]["rows"].as_array_mut().unwrap());
        }
        statuses.push(status);
        assert!(start.elapsed() < PATIENCE, "{statuses:?}");
        sleep(std::time::Duration::from_millis(5)).await;
    }
    (statuses, rows)
}

#[tokio::test]
async fn a_playback_goes_from_200_over_201_to_208() {
    let bed = Bed::quick().await;
    let (status, said) = bed.post("/config/my_task-1", &task()).await;
    assert_eq!((status, &said["task_id"]), (200, &json!("my_task-1")));
    assert_eq!(bed.get("/metadata/my_task-1").await, (200, json!({})));
    let (statuses, rows) = play(&bed, "my_task-1", 7).await;
    assert_eq!(statuses.first(), Some(&200));
    let mut order = statuses;
    order.dedup();
    assert!(order.ends_with(&[201, 208]), "{order:?}");
    assert_eq!(bed.get("/metadata/my_task-1").await.0, 201);
    assert_eq!(rows.len(), 24);
    for (line, row) in (0_i64..).zip(&rows) {
        let start = 1_700_000_000_000_i64 + line * 500;
        assert_eq!(row["startTimestamp"], json!(start));
        assert_eq!(row["endTimestamp"], json!(start + 500));
        assert_eq!(row["canvasId"], json!("my_task-1"));
        let sensors = row["sensors"].as_array().unwrap();
        assert_eq!((sensors.len(), &sensors[0]["id"]), (10, &json!(3)));
        assert_eq!(sensors[0]["intensity"].as_array().unwrap().len(), 51);
    }
}

#[tokio::test]
async fn two_tasks_of_one_range_show_the_same() {
    let bed = Bed::quick().await;
    for id in ["a", "b"] {
        assert_eq!(bed.post(&format!("/config/{id}"), &task()).await.0, 200);
    }
    let without_name = |rows: Vec<Value>| -> Vec<Value> {
        rows.into_iter().map(|row| row["sensors"].clone()).collect()
    };
    let (one, two) = (play(&bed, "a", 5).await.1, play(&bed, "b", 1_000).await.1);
    assert_eq!(without_name(one), without_name(two));
}

#[tokio::test]
async fn a_live_task_shows_what_is_new() {
    let bed = Bed::quick().await;
    let mut body = task();
    body["start_time"] = Value::Null;
    body["end_time"] = Value::Null;
    body["displayTimeAxisDuration"] = json!(0.6);
    assert_eq!(bed.post("/config/live", &body).await.0, 200);
    let mut seen = Vec::new();
    while seen.len() < 20 {
        let (status, answer) = bed.get("/waterfall/live/1000").await;
        assert!(status == 200 || status == 201, "{status}");
        let rows = answer[0]["rows"].as_array().cloned().unwrap_or_default();
        seen.extend(
            rows.iter()
                .map(|row| row["startTimestamp"].as_i64().unwrap()),
        );
        sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(
        seen.windows(2).all(|pair| pair[1] - pair[0] == 10),
        "{seen:?}"
    );
}

#[tokio::test]
async fn what_is_refused() {
    let bed = Bed::quick().await;
    let changed = |pointer: &str, value: Value| {
        let mut body = task();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    for (body, status) in [
        (changed("/displayTimeAxisDuration", json!(0)), 400),
        (changed("/nfftSelection", json!(-1)), 400),
        (changed("/canvasInfo/height", json!(0)), 400),
        (changed("/sensors/min", json!(12)), 400),
        (changed("/sensors/max", json!(2_337)), 400),
        (changed("/frequencyRange/max", json!(0)), 400),
        (changed("/start_time", json!("2023-11-14")), 400),
        (changed("/start_time", Value::Null), 400),
        (changed("/start_time", json!("991114221320")), 400),
        (json!([1]), 400),
    ] {
        assert_eq!(bed.post("/config/t", &body).await.0, status, "{body}");
    }
    let mut long_ago = task();
    long_ago["start_time"] = json!("010101000000");
    long_ago["end_time"] = json!("010101000010");
    assert_eq!(bed.post("/config/t", &long_ago).await.0, 404);
    assert_eq!(bed.post("/config/a%20b", &task()).await.0, 400);
    assert_eq!(bed.get("/waterfall/nobody/10").await.0, 404);
    assert_eq!(bed.post("/config/t", &task()).await.0, 200);
    for count in ["0", "-1", "1001", "many"] {
        assert_eq!(bed.get(&format!("/waterfall/t/{count}")).await.0, 400);
    }
    let mut lenient = Config::quick();
    lenient.validation = Validation::Lenient;
    let lenient = Bed::start(lenient).await;
    assert_eq!(lenient.post("/config/t", &json!({})).await.0, 500);
}

#[tokio::test]
async fn a_task_that_nobody_polls_is_gone() {
    let mut config = Config::quick();
    config.idle_cleanup = std::time::Duration::from_millis(50);
    config.startup_grace = std::time::Duration::from_millis(50);
    let bed = Bed::start(config).await;
    assert_eq!(bed.post("/config/t", &task()).await.0, 200);
    bed.until("/metadata/t", 404).await;
    assert_eq!(bed.get("/waterfall/t/10").await.0, 404);
}

#[tokio::test]
async fn a_stuck_task_never_says_that_it_is_complete() {
    let bed = Bed::with("stuck-task").await;
    assert_eq!(bed.post("/config/t", &task()).await.0, 200);
    let mut lines = 0;
    while lines < 24 {
        let (_, body) = bed.get("/waterfall/t/1000").await;
        lines += body[0]["rows"].as_array().map_or(0, Vec::len);
    }
    for _ in 0..5 {
        assert_eq!(bed.get("/waterfall/t/1000").await.0, 200);
    }
}
