//! Recordings in MongoDB: played, missing, away, and back.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value, json};
use testmesh_testbed::{Behavior, Config, FIXED_START, Testbed};
use tokio::time::Instant;

use crate::foreign::Mongo;
use crate::kit::{Bed, digest, historic, key, live, next};
use crate::proxy::{Proxy, eventually};

const LIMIT: Duration = Duration::from_secs(5);

fn with(config: Config, behaviors: &str) -> Config {
    config.behaviors(Behavior::parse_list(behaviors).unwrap())
}

/// Two minutes of recordings from `FIXED_START`, and the rows of [`historic`].
fn load_rows(mongo: &Mongo) -> Value {
    let (to, rows_from, rows_to) = (FIXED_START + 120, FIXED_START + 100, FIXED_START + 112);
    let [to, rows_from, rows_to] = [to, rows_from, rows_to].map(|second| second.to_string());
    let view = ["--view", "a", "--duration", "20", "--height", "200"];
    let rows = ["--rows-from", &rows_from, "--rows-to", &rows_to];
    mongo.load(&[&["--to", &to, "--unrecognized", "3"][..], &view, &rows].concat())
}

async fn status(bed: &Bed) -> Value {
    bed.get("/_testbed").await.1
}

async fn jobs(bed: &Bed) -> usize {
    status(bed).await["jobs"].as_array().unwrap().len()
}

/// Configures until MongoDB is noticed to be back.
async fn until_history_is_back(bed: &Bed) -> Duration {
    let start = Instant::now();
    eventually("historic jobs are accepted again", || async {
        (bed.post("/configure", &historic()).await.0 == 200).then_some(())
    })
    .await;
    start.elapsed()
}

#[tokio::test]
async fn what_was_loaded_is_played_and_equals_its_rows() {
    let Some(mongo) = Mongo::fresh("rows").await else {
        return;
    };
    let loaded = load_rows(&mongo);
    assert_eq!(loaded["recordings"], 12);
    assert_eq!(loaded["unrecognized"], 3);
    assert_eq!(loaded["rows"], json!([120, 120, 120]));
    let bed = Bed::start(mongo.config()).await;
    let guid = mongo.guid().await;
    assert_eq!(loaded["guid"], guid.as_str());
    for stream in 0..3 {
        let job = bed.job(&historic()).await;
        let (rows, end) = bed.whole(&job, stream).await;
        assert!(end.is_none(), "{end:?}");
        let seen: Vec<_> = rows.iter().map(|row| (key(row), digest(row))).collect();
        let listed = mongo
            .collection(&format!("{guid}-rows"))
            .find(doc! { "view": "a", "stream": i64::from(stream) })
            .sort(doc! { "key": 1 })
            .await
            .unwrap();
        let listed: Vec<Document> = listed.try_collect().await.unwrap();
        let listed: Vec<_> = listed
            .iter()
            .map(|row| {
                (
                    row.get_i64("key").unwrap(),
                    row.get_str("digest").unwrap().to_owned(),
                )
            })
            .collect();
        assert_eq!(seen.len(), 120);
        assert_eq!(seen, listed);
    }
    bed.testbed.shutdown().await.unwrap();
    mongo.remove().await;
}

#[tokio::test]
async fn a_load_makes_what_a_real_server_has_and_may_be_repeated() {
    let Some(mongo) = Mongo::fresh("load").await else {
        return;
    };
    for _ in 0..2 {
        load_rows(&mongo);
    }
    let guid = mongo.guid().await;
    let count = |name: String| {
        let collection = mongo.collection(&name);
        async move { collection.count_documents(doc! {}).await.unwrap() }
    };
    assert_eq!(count("base_paths".to_owned()).await, 1);
    assert_eq!(count(guid.clone()).await, 12);
    assert_eq!(count(format!("{guid}-unrecognized_recordings")).await, 3);
    assert_eq!(count(format!("{guid}-rows")).await, 360);
    let recordings = mongo.collection(&guid);
    let indexes = recordings.list_indexes().await.unwrap();
    let indexes: Vec<_> = indexes.try_collect().await.unwrap();
    for (field, unique) in [
        ("start_time", false),
        ("end_time", false),
        ("uuid", true),
        ("deleted", false),
    ] {
        let index = indexes.iter().find(|index| index.keys == doc! { field: 1 });
        let index = index.unwrap_or_else(|| panic!("no index on {field}: {indexes:?}"));
        let options = index.options.as_ref();
        let is_unique = options.and_then(|options| options.unique).unwrap_or(false);
        assert_eq!(is_unique, unique, "{field}");
    }
    let first = recordings
        .find_one(doc! {})
        .sort(doc! { "start_time": 1 })
        .await
        .unwrap()
        .unwrap();
    let start = first.get_datetime("start_time").unwrap().timestamp_millis();
    assert_eq!(u64::try_from(start).unwrap(), FIXED_START * 1_000);
    assert!(!first.get_bool("deleted").unwrap());
    mongo.load(&["--drop", "--to", &(FIXED_START + 30).to_string()]);
    assert_eq!(count(guid.clone()).await, 3);
    assert_eq!(count(format!("{guid}-rows")).await, 0);
    mongo.remove().await;
}

#[tokio::test]
async fn holes_deleted_and_open_recordings() {
    let Some(mongo) = Mongo::fresh("holes").await else {
        return;
    };
    let load = |from: u64, to: u64| {
        mongo.load(&[
            "--from",
            &(FIXED_START + from).to_string(),
            "--to",
            &(FIXED_START + to).to_string(),
        ])
    };
    load(0, 105);
    load(110, 120);
    let recordings = mongo.collection(&mongo.guid().await);
    let bed = Bed::start(mongo.config()).await;
    let range = json!({ "start_time": FIXED_START + 95, "end_time": FIXED_START + 115 });
    let (status, listed) = bed.post("/recordings_in_time_range", &range).await;
    let pair = |from: u64, to: u64| json!([FIXED_START + from, FIXED_START + to]);
    let all = json!([pair(90, 100), pair(100, 105), pair(110, 120)]);
    assert_eq!((status, listed), (200, all));
    let job = bed.job(&historic()).await;
    let (rows, _) = bed.whole(&job, 0).await;
    let start = i64::try_from(FIXED_START + 100).unwrap() * 1_000;
    let times: Vec<_> = rows.iter().map(|row| key(row) - start).collect();
    let expected: Vec<_> = (0..120)
        .map(|line| line * 100)
        .filter(|time| *time < 5_000 || *time >= 10_000)
        .collect();
    assert_eq!(times, expected);
    let manifest = format!(
        "/_testbed/rows?job_id={}&stream=0",
        job["job_id"].as_str().unwrap()
    );
    let (_, manifest) = bed.get(&manifest).await;
    assert_eq!(manifest.as_array().unwrap().len(), expected.len());
    // What is deleted is not there.
    let all = doc! { "$set": { "deleted": true } };
    recordings.update_many(doc! {}, all).await.unwrap();
    let (status, body) = bed.post("/configure", &historic()).await;
    assert_eq!(
        (status, body),
        (
            404,
            json!({ "error": "No recording found in given time range" })
        )
    );
    // One that is being written is listed as open, and plays until now.
    let now = i64::try_from(bed_now(&bed).await).unwrap();
    let open = doc! { "uuid": "open", "start_time": mongodb::bson::DateTime::from_millis((now - 60) * 1_000), "end_time": Bson::Null, "deleted": false };
    recordings.insert_one(open).await.unwrap();
    let range = json!({ "start_time": now - 30, "end_time": now });
    let (_, listed) = bed.post("/recordings_in_time_range", &range).await;
    assert_eq!(listed, json!([[now - 60, -1]]));
    let mut recent = historic();
    (recent["start_time"], recent["end_time"]) = (json!(now - 30), json!(now - 20));
    let job = bed.job(&recent).await;
    assert_eq!(bed.whole(&job, 1).await.0.len(), 100);
    bed.testbed.shutdown().await.unwrap();
    mongo.remove().await;
}

/// The present, from a row of a live stream.
async fn bed_now(bed: &Bed) -> u64 {
    let job = bed.job(&live()).await;
    let row = bed.rows(&job, 0, 1).await;
    u64::try_from(key(&row[0])).unwrap() / 1_000
}

#[tokio::test]
async fn a_storage_path_that_matches_nothing_finds_nothing() {
    let Some(mongo) = Mongo::fresh("path").await else {
        return;
    };
    load_rows(&mongo);
    let bed = Bed::start(Config {
        storage_path: "/focus/elsewhere".to_owned(),
        ..mongo.config()
    })
    .await;
    let (status, _) = bed.post("/configure", &historic()).await;
    assert_eq!(status, 404);
    let range = json!({ "start_time": FIXED_START, "end_time": FIXED_START + 60 });
    assert_eq!(
        bed.post("/recordings_in_time_range", &range).await,
        (200, json!([]))
    );
    bed.testbed.shutdown().await.unwrap();
    mongo.remove().await;
}

#[tokio::test]
async fn without_mongodb_history_is_refused_in_time_and_live_jobs_are_untouched() {
    let Some(mongo) = Mongo::fresh("away").await else {
        return;
    };
    load_rows(&mongo);
    let proxy = Proxy::to(mongo.host(), false).await;
    // It starts while MongoDB is away.
    let bed = Bed::start(mongo.config_at(&proxy.address().to_string())).await;
    let refused = || async {
        let before = jobs(&bed).await;
        let start = Instant::now();
        let (status, body) = bed.post("/configure", &historic()).await;
        assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
        assert_eq!(status, 503, "{body}");
        let text = body["error"].as_str().unwrap();
        assert!(
            text.contains("MongoDB") && !text.contains("127.0.0.1"),
            "{text}"
        );
        assert!(jobs(&bed).await <= before, "no job is left behind");
    };
    refused().await;
    let range = json!({ "start_time": FIXED_START, "end_time": FIXED_START + 60 });
    assert_eq!(bed.post("/recordings_in_time_range", &range).await.0, 503);
    let told = status(&bed).await;
    assert_eq!(told["mongodb"]["state"], "retrying");
    assert!(told["mongodb"]["since"].as_u64().unwrap() > FIXED_START);

    let start = Instant::now();
    let job = bed.job(&live()).await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    let mut stream = bed.stream(&job, 0).await.unwrap();
    let first = next(&mut stream).await.unwrap().unwrap();

    proxy.mend().await;
    let back = until_history_is_back(&bed).await;
    assert!(back < Duration::from_secs(4), "{back:?}");
    assert_eq!(status(&bed).await["mongodb"]["state"], "connected");
    // The live job's document was written as soon as it could be.
    let tasks = mongo.collection("tasks");
    let this = doc! { "job_id": job["job_id"].as_str().unwrap() };
    eventually("the live job has its document", || async {
        tasks.find_one(this.clone()).await.unwrap()
    })
    .await;

    proxy.cut().await;
    refused().await;
    proxy.mend().await;
    until_history_is_back(&bed).await;
    proxy.silence().await;
    refused().await;
    refused().await;
    proxy.mend().await;
    let back = until_history_is_back(&bed).await;
    assert!(back < Duration::from_secs(6), "{back:?}");

    // All the while the stream went on, without a gap.
    let mut expected = key(&first);
    let last = bed_now(&bed).await * 1_000;
    while u64::try_from(expected).unwrap() < last {
        expected += 10;
        assert_eq!(key(&next(&mut stream).await.unwrap().unwrap()), expected);
    }
    bed.testbed.shutdown().await.unwrap();
    mongo.remove().await;
}

#[tokio::test]
async fn how_long_a_request_waits_is_a_number() {
    let patience = Duration::from_millis(700);
    let bed = Bed::start(Config {
        // Nothing listens there.
        mongodb: Some("mongodb://127.0.0.1:1".parse().unwrap()),
        mongodb_patience: patience,
        ..Config::quick()
    })
    .await;
    let start = Instant::now();
    assert_eq!(bed.post("/configure", &historic()).await.0, 503);
    assert!(
        (patience..patience * 2).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        Config::as_observed().mongodb_patience,
        Duration::from_millis(15_400)
    );
    bed.testbed.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_no_connection_string_is_refused_at_the_start() {
    let config = Config {
        mongodb: Some("mongodb://:secret@".parse().unwrap()),
        ..Config::quick()
    };
    let error = Testbed::start(config).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("--mongodb") && !text.contains("secret"),
        "{text}"
    );
}

#[tokio::test]
async fn a_job_has_a_document_until_and_after_its_end() {
    let Some(mongo) = Mongo::fresh("tasks").await else {
        return;
    };
    let moment = Duration::from_millis(100);
    let bed = Bed::start(Config {
        idle_cleanup: moment,
        startup_grace: moment,
        ..mongo.config()
    })
    .await;
    let tasks = mongo.collection("tasks");
    let job = bed.job(&live()).await;
    let id = job["job_id"].as_str().unwrap();
    let created = eventually("the job has its document", || async {
        tasks.find_one(doc! { "job_id": id }).await.unwrap()
    })
    .await;
    let request = created.get_document("request").unwrap();
    assert_eq!(
        request.get_document("channels").unwrap(),
        &doc! { "min": 1_i64, "max": 50_i64 }
    );
    assert!(created.get_datetime("created_at").is_ok());
    eventually("its end is written", || async {
        let found = tasks
            .find_one(doc! { "job_id": id })
            .await
            .unwrap()
            .unwrap();
        found.get_datetime("removed_at").ok().map(drop)
    })
    .await;
    assert_eq!(status(&bed).await["mongodb"]["task_documents_lost"], 0);

    let switched = json!({ "behaviors": ["not-persisted"] });
    let switched = bed
        .send("PUT", "/_testbed/behaviors", Some(switched.to_string()))
        .await;
    assert_eq!(switched.0, 200, "{switched:?}");
    let forgotten = bed.job(&live()).await;
    let switched = json!({ "behaviors": [] });
    bed.send("PUT", "/_testbed/behaviors", Some(switched.to_string()))
        .await;
    let kept = bed.job(&live()).await;
    eventually("the next job has its document", || async {
        tasks
            .find_one(doc! { "job_id": kept["job_id"].as_str().unwrap() })
            .await
            .unwrap()
    })
    .await;
    let this = doc! { "job_id": forgotten["job_id"].as_str().unwrap() };
    assert!(tasks.find_one(this).await.unwrap().is_none());

    // A job that a shutdown ends is written too.
    let last = bed.job(&live()).await;
    bed.testbed.shutdown().await.unwrap();
    let this = doc! { "job_id": last["job_id"].as_str().unwrap() };
    let found = tasks.find_one(this).await.unwrap().unwrap();
    assert!(found.get_datetime("removed_at").is_ok(), "{found}");
    mongo.remove().await;
}

async fn switch(bed: &Bed, list: &[&str]) {
    let body = json!({ "behaviors": list }).to_string();
    let (status, answer) = bed.send("PUT", "/_testbed/behaviors", Some(body)).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn an_index_goes_missing_and_comes_back() {
    let Some(mongo) = Mongo::fresh("index").await else {
        return;
    };
    load_rows(&mongo);
    let bed = Bed::start(with(mongo.config(), "missing-index")).await;
    let recordings = mongo.collection(&mongo.guid().await);
    let names = || async { recordings.list_index_names().await.unwrap() };
    let is_there = |names: &[String]| names.iter().any(|name| name == "start_time_1");
    let left = eventually("the index is missing", || async {
        Some(names().await).filter(|names| !is_there(names))
    })
    .await;
    assert!(left.iter().any(|name| name == "uuid_1"), "{left:?}");
    assert_eq!(bed.post("/configure", &historic()).await.0, 200);
    switch(&bed, &[]).await;
    eventually("the index is back", || async {
        Some(names().await).filter(|names| is_there(names))
    })
    .await;
    bed.testbed.shutdown().await.unwrap();
    mongo.remove().await;
}

#[tokio::test]
async fn behaviors_show_in_the_database_and_leave_it() {
    let Some(mongo) = Mongo::fresh("behaviors").await else {
        return;
    };
    load_rows(&mongo);
    let bed = Bed::start(mongo.config()).await;
    let guid = mongo.guid().await;
    let recordings = mongo.collection(&guid);
    let folders = mongo.collection(&format!("{guid}-unrecognized_recordings"));
    switch(&bed, &["stale-recording", "null-fields", "low-recognition"]).await;
    // 12 and the stale one are recognized; 3 were loaded.
    eventually("too few are recognized", || async {
        (folders.count_documents(doc! {}).await.unwrap() == 3 + 8).then_some(())
    })
    .await;
    let null = recordings
        .find_one(doc! { "deleted": Bson::Null })
        .await
        .unwrap();
    assert!(null.is_some(), "a recording lacks a field");
    let open = doc! { "deleted": false, "end_time": Bson::Null };
    let stale = recordings.find_one(open).await.unwrap().unwrap();
    let age = mongodb::bson::DateTime::now().timestamp_millis()
        - stale.get_datetime("start_time").unwrap().timestamp_millis();
    let old = 117 * 3_600_000;
    assert!((old..old + 60_000).contains(&age), "{age}");

    let listed = |from: u64, to: u64| {
        let range = json!({ "start_time": from, "end_time": to });
        let bed = &bed;
        async move { bed.post("/recordings_in_time_range", &range).await.1 }
    };
    let loaded = listed(FIXED_START, FIXED_START + 120).await;
    assert_eq!(loaded.as_array().unwrap().len(), 12);
    let now = bed_now(&bed).await;
    let recent = listed(now - 7_200, now).await;
    let recent = recent.as_array().unwrap();
    assert_eq!(recent.len(), 1, "only the stale one: {recent:?}");
    assert_eq!(recent[0][1], -1);
    let mut hole = historic();
    (hole["start_time"], hole["end_time"]) = (json!(now - 200), json!(now - 190));
    let (status, _) = bed.post("/configure", &hole).await;
    assert_eq!(status, 404, "a stale recording has no rows");

    switch(&bed, &[]).await;
    eventually("all is as it was", || async {
        let recordings = recordings.count_documents(doc! {}).await.unwrap();
        let folders = folders.count_documents(doc! {}).await.unwrap();
        ((recordings, folders) == (12, 3)).then_some(())
    })
    .await;
    bed.testbed.shutdown().await.unwrap();
    mongo.remove().await;
}

#[tokio::test]
async fn a_slow_mongodb_is_waited_for_and_one_that_is_too_slow_is_refused() {
    let Some(mongo) = Mongo::fresh("slow").await else {
        return;
    };
    load_rows(&mongo);
    let bed = Bed::start(with(mongo.config(), "slow-mongodb:1s")).await;
    let start = Instant::now();
    bed.job(&historic()).await;
    assert!(start.elapsed() >= Duration::from_secs(1));
    let start = Instant::now();
    bed.job(&live()).await;
    assert!(start.elapsed() < Duration::from_secs(1));
    let body = json!({ "behaviors": ["slow-mongodb:1m"] }).to_string();
    bed.send("PUT", "/_testbed/behaviors", Some(body)).await;
    let start = Instant::now();
    let (status, body) = bed.post("/configure", &historic()).await;
    assert_eq!(status, 503, "{body}");
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    bed.testbed.shutdown().await.unwrap();
    mongo.remove().await;
}

#[tokio::test]
async fn the_api_restarts_while_mongodb_is_away_and_jobs_go_on() {
    let Some(mongo) = Mongo::fresh("crash").await else {
        return;
    };
    load_rows(&mongo);
    let proxy = Proxy::to(mongo.host(), true).await;
    let config = mongo.config_at(&proxy.address().to_string());
    let bed = Bed::start(with(config, "crash-without-mongodb")).await;
    let job = bed.job(&live()).await;
    let mut stream = bed.stream(&job, 0).await.unwrap();
    next(&mut stream).await.unwrap();
    assert_eq!(status(&bed).await["restarts"], 0);
    proxy.cut().await;
    let ack = format!("{}/ack", bed.testbed.url());
    let answers = || async { reqwest::get(&ack).await.is_ok() };
    eventually("the API is away", || async {
        (!answers().await).then_some(())
    })
    .await;
    for _ in 0..50 {
        next(&mut stream).await.unwrap().expect("the job goes on");
    }
    proxy.mend().await;
    eventually("the API is back", || async {
        answers().await.then_some(())
    })
    .await;
    let restarts = eventually("the API stays", || async {
        let (status, body) = bed.get("/_testbed").await;
        (status == 200 && body["mongodb"]["state"] == "connected")
            .then(|| body["restarts"].as_u64().unwrap())
    })
    .await;
    assert!(restarts >= 1);
    bed.testbed.shutdown().await.unwrap();
    mongo.remove().await;
}

#[tokio::test]
async fn behaviors_of_a_server_that_is_not_there_are_refused() {
    for (behavior, flag) in [("missing-index", "--mongodb"), ("leak-queue", "--amqp")] {
        let config = with(Config::quick(), behavior);
        let error = Testbed::start(config).await.unwrap_err().to_string();
        assert!(error.contains(behavior) && error.contains(flag), "{error}");
    }
    let bed = Bed::quick().await;
    let body = json!({ "behaviors": ["slow-mongodb"] }).to_string();
    let (status, body) = bed.send("PUT", "/_testbed/behaviors", Some(body)).await;
    assert_eq!(status, 400, "{body}");
    bed.testbed.shutdown().await.unwrap();
}
