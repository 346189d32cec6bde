//! Commands over RabbitMQ: what they do to a stream, what is rejected, and what happens while the broker is away.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::types::FieldTable;
use serde_json::{Value, json};
use testmesh_testbed::pandadatastream::DataStream;
use testmesh_testbed::{Behavior, Config};
use tokio::time::{Instant, sleep, timeout};
use tonic::Streaming;

use crate::foreign::Rabbit;
use crate::kit::{Bed, PATIENCE, digest, historic, key, live, next, number};
use crate::proxy::{Proxy, eventually};

const LIMIT: Duration = Duration::from_secs(5);

fn with(config: Config, behaviors: &str) -> Config {
    config.behaviors(Behavior::parse_list(behaviors).unwrap())
}

fn roi(start: i64, end: i64) -> Value {
    json!({ "type": "RegionOfInterestCommand", "value": { "start": start, "end": end } })
}

fn id(job: &Value) -> &str {
    job["job_id"].as_str().unwrap()
}

fn queue(job: &Value) -> String {
    format!("grpc-job-{}-commands", id(job))
}

/// What `/_testbed` says of a job.
async fn told(bed: &Bed, job: &Value) -> Value {
    let (_, status) = bed.get("/_testbed").await;
    let jobs = status["jobs"].as_array().unwrap();
    let found = jobs.iter().find(|one| one["job_id"] == job["job_id"]);
    found.unwrap_or_else(|| panic!("{status}")).clone()
}

async fn until_counted(bed: &Bed, job: &Value, outcome: &str, count: u64) -> Value {
    eventually(&format!("{count} commands are {outcome}"), || async {
        let commands = told(bed, job).await["commands"].clone();
        (commands[outcome] == count).then_some(commands)
    })
    .await
}

/// The first row that shows other channels, with its predecessor's number.
async fn until_shown(stream: &mut Streaming<DataStream>, channels: (i32, i32)) -> DataStream {
    let mut before = None;
    loop {
        let row = next(stream).await.unwrap().expect("the stream goes on");
        if let Some(before) = before {
            assert_eq!(number(&row), before + 1, "no row is lost over a change");
        }
        before = Some(number(&row));
        if (row.start_channel, row.end_channel) == channels {
            return row;
        }
        let bins = 64;
        let shown = row.end_channel - row.start_channel + 1;
        assert_eq!(row.data_shape_x, shown * bins);
    }
}

#[tokio::test]
async fn a_region_of_interest_changes_a_stream_from_its_next_row_on() {
    let Some(rabbit) = Rabbit::fresh("roi").await else {
        return;
    };
    let bed = Bed::start(rabbit.config()).await;
    let commands = rabbit.client().await;
    let (job, other) = (bed.job(&live()).await, bed.job(&live()).await);
    let mut first = bed.stream(&job, 0).await.unwrap();
    let mut last = bed.stream(&job, 2).await.unwrap();
    let mut untouched = bed.stream(&other, 0).await.unwrap();
    until_shown(&mut first, (1, 17)).await;
    until_shown(&mut last, (35, 50)).await;

    let to_one = format!("baby_analyzer.commands.roi.{}", id(&job));
    commands.send(&to_one, &roi(11, 70)).await;
    let changed = until_shown(&mut first, (11, 30)).await;
    assert_eq!(changed.data_shape_x, 20 * 64);
    assert_eq!(changed.main_data[0].len(), 20 * 64 * 2);
    until_shown(&mut last, (51, 70)).await;
    until_shown(&mut untouched, (1, 17)).await;
    assert_eq!(
        told(&bed, &job).await["channels"],
        json!({ "min": 11, "max": 70 })
    );

    // The rows are those of a job that was configured with these channels.
    let mut body = live();
    body["channels"] = json!({ "min": 11, "max": 70 });
    let same = bed.job(&body).await;
    let mut same = bed.stream(&same, 0).await.unwrap();
    let mut compared = 0;
    let (mut a, mut b) = (
        next(&mut first).await.unwrap().unwrap(),
        next(&mut same).await.unwrap().unwrap(),
    );
    while compared < 20 {
        if key(&a) == key(&b) {
            assert_eq!(digest(&a), digest(&b));
            compared += 1;
        }
        if key(&a) <= key(&b) {
            a = next(&mut first).await.unwrap().unwrap();
        } else {
            b = next(&mut same).await.unwrap().unwrap();
        }
    }

    // One for every job.
    commands
        .send("baby_analyzer.commands.roi", &roi(21, 70))
        .await;
    until_shown(&mut first, (21, 37)).await;
    until_counted(&bed, &other, "applied", 1).await;
    bed.testbed.shutdown().await.unwrap();
    rabbit.remove().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_rejected_and_says_why() {
    let Some(rabbit) = Rabbit::fresh("rules").await else {
        return;
    };
    let bed = Bed::start(rabbit.config()).await;
    let commands = rabbit.client().await;
    let job = bed.job(&live()).await;
    let mut stream = bed.stream(&job, 0).await.unwrap();
    let key = format!("baby_analyzer.commands.roi.{}", id(&job));
    let cases = [
        (roi(1, 100).to_string(), "50 channels become 100"),
        (roi(40, 89).to_string(), "the centre moves by 39 channels"),
        (roi(0, 49).to_string(), "not within the fibre"),
        (roi(-1, 49).to_string(), "must not be negative"),
        (roi(49, 1).to_string(), "must be greater"),
        (roi(5, 5).to_string(), "must be greater"),
        (
            "{\"type\":\"RegionOfInterestCommand\"".to_owned(),
            "not a command",
        ),
        (
            json!({ "type": "CaxisCommand", "value": { "min": 2, "max": 1 } }).to_string(),
            "must be greater",
        ),
    ];
    for (body, _) in &cases {
        commands.send_with(&key, body, FieldTable::default()).await;
    }
    let count = u64::try_from(cases.len()).unwrap();
    let told = until_counted(&bed, &job, "rejected", count).await;
    for ((body, reason), entry) in cases.iter().zip(told["last"].as_array().unwrap()) {
        let why = entry["reason"].as_str().unwrap();
        assert!(why.contains(reason), "{body}: {why}");
        assert_eq!(entry["outcome"], "rejected");
    }
    assert_eq!(told["applied"], 0);
    until_shown(&mut stream, (1, 17)).await;
    let depth = || async { rabbit.queue(&queue(&job)).await.unwrap()["messages"].as_u64() };
    eventually("nothing stays in the queue", || async {
        depth().await.filter(|depth| *depth == 0)
    })
    .await;
    bed.testbed.shutdown().await.unwrap();
    rabbit.remove().await;
}

#[tokio::test]
async fn the_other_commands() {
    let Some(rabbit) = Rabbit::fresh("commands").await else {
        return;
    };
    let idle = Duration::from_millis(600);
    let bed = Bed::start(Config {
        idle_cleanup: idle,
        startup_grace: Duration::ZERO,
        ..rabbit.config()
    })
    .await;
    let commands = rabbit.client().await;
    let job = bed.job(&live()).await;
    let mut stream = bed.stream(&job, 0).await.unwrap();
    for (key, body) in [
        (
            "caxis",
            json!({ "type": "CaxisCommand", "value": { "min": -5.5, "max": 7 } }),
        ),
        (
            "colormap",
            json!({ "type": "ColormapCommand", "value": "jet" }),
        ),
        (
            "monitor_queues",
            json!({ "type": "MonitorQueuesCommand", "value": { "queues_to_monitor": ["recorder_input"] } }),
        ),
        (
            "input_changed",
            json!({ "type": "InputChangedCommand", "metadata": { "prr": 2000, "num_samples_per_trace": 9791, "dtype": "float32" } }),
        ),
    ] {
        commands
            .send(&format!("baby_analyzer.commands.{key}"), &body)
            .await;
    }
    until_counted(&bed, &job, "applied", 4).await;
    // Rows that were on their way are older than the command.
    let mut row = next(&mut stream).await.unwrap().unwrap();
    while (row.global_minimum, row.global_maximum) != (-5.5, 7.0) {
        row = next(&mut stream).await.unwrap().unwrap();
    }
    assert_eq!(told(&bed, &job).await["colormap"], "jet");
    drop(stream);

    let keepalive = json!({ "type": "KeepaliveCommand", "value": { "source": "test" } });
    let start = Instant::now();
    while start.elapsed() < idle * 4 {
        sleep(idle / 4).await;
        commands
            .send("baby_analyzer.commands.keepalive", &keepalive)
            .await;
        let path = format!("/metadata/{}", id(&job));
        assert_eq!(bed.get(&path).await.0, 200, "an idle job is kept");
    }
    bed.until(&format!("/metadata/{}", id(&job)), 404).await;
    bed.testbed.shutdown().await.unwrap();
    rabbit.remove().await;
}

#[tokio::test]
async fn a_queue_is_there_as_long_as_its_job() {
    let Some(rabbit) = Rabbit::fresh("queues").await else {
        return;
    };
    let moment = Duration::from_millis(100);
    let config = Config {
        idle_cleanup: moment,
        startup_grace: moment,
        ..rabbit.config()
    };
    let bed = Bed::start(config).await;
    let job = bed.job(&live()).await;
    let mut stream = bed.stream(&job, 0).await.unwrap();
    next(&mut stream).await.unwrap();
    let declared = rabbit.queue(&queue(&job)).await.unwrap();
    assert_eq!(declared["durable"], true);
    assert_eq!(declared["arguments"]["x-max-length-bytes"], 1_074_000_000);
    drop(stream);
    let gone = |job: Value| {
        let rabbit = &rabbit;
        async move {
            let name = queue(&job);
            eventually("the queue is gone", || async {
                rabbit.queue(&name).await.is_none().then_some(())
            })
            .await;
        }
    };
    gone(job).await;

    let body = json!({ "behaviors": ["leak-queue"] }).to_string();
    bed.send("PUT", "/_testbed/behaviors", Some(body)).await;
    let leaked = bed.job(&live()).await;
    bed.until(&format!("/metadata/{}", id(&leaked)), 404).await;
    let body = json!({ "behaviors": [] }).to_string();
    bed.send("PUT", "/_testbed/behaviors", Some(body)).await;
    let job = bed.job(&live()).await;
    gone(job).await;
    assert!(
        rabbit.queue(&queue(&leaked)).await.is_some(),
        "it was left behind"
    );

    // The job of a testbed that ends takes its queue with it.
    let job = bed.job(&live()).await;
    bed.testbed.shutdown().await.unwrap();
    gone(job).await;
    rabbit.remove().await;
}

#[tokio::test]
async fn a_region_may_be_ignored_or_unsafe() {
    let Some(rabbit) = Rabbit::fresh("unsafe").await else {
        return;
    };
    let bed = Bed::start(with(rabbit.config(), "ignore-roi")).await;
    let commands = rabbit.client().await;
    let job = bed.job(&live()).await;
    let mut stream = bed.stream(&job, 0).await.unwrap();
    commands
        .send("baby_analyzer.commands.roi", &roi(1, 60))
        .await;
    until_counted(&bed, &job, "applied", 1).await;
    assert_eq!(told(&bed, &job).await["channels"]["max"], 50);
    let body = json!({ "behaviors": ["unsafe-roi"] }).to_string();
    bed.send("PUT", "/_testbed/behaviors", Some(body)).await;
    commands
        .send("baby_analyzer.commands.roi", &roi(1_000, 1_299))
        .await;
    until_shown(&mut stream, (1_000, 1_099)).await;
    bed.testbed.shutdown().await.unwrap();
    rabbit.remove().await;
}

#[tokio::test]
async fn without_rabbitmq_jobs_are_refused_in_time_and_streams_go_on() {
    let Some(rabbit) = Rabbit::fresh("away").await else {
        return;
    };
    let proxy = Proxy::to(rabbit.host(), false).await;
    let bed = Bed::start(rabbit.config_at(&proxy.address().to_string())).await;
    let refused = || async {
        let start = Instant::now();
        let (status, body) = bed.post("/configure", &live()).await;
        assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
        assert_eq!(status, 503, "{body}");
        let text = body["error"].as_str().unwrap();
        assert!(
            text.contains("RabbitMQ") && !text.contains("127.0.0.1"),
            "{text}"
        );
    };
    refused().await;
    let (_, status) = bed.get("/_testbed").await;
    assert_eq!(status["jobs"], json!([]), "no job is left behind");
    assert_eq!(status["rabbitmq"]["state"], "retrying");
    assert!(!status.to_string().contains("guest"), "{status}");

    proxy.mend().await;
    let job = bed.job(&live()).await;
    assert!(id(&job).starts_with("0-"), "the slot is free again: {job}");
    let mut stream = bed.stream(&job, 0).await.unwrap();
    let mut before = number(&next(&mut stream).await.unwrap().unwrap());
    proxy.cut().await;
    refused().await;
    // A command that is published meanwhile waits in the queue.
    let commands = rabbit.client().await;
    commands
        .send("baby_analyzer.commands.roi", &roi(1, 60))
        .await;
    for _ in 0..100 {
        let row = next(&mut stream).await.unwrap().unwrap();
        assert_eq!(number(&row), before + 1);
        before += 1;
        assert_eq!((row.start_channel, row.end_channel), (1, 17));
    }
    proxy.mend().await;
    until_shown(&mut stream, (1, 20)).await;
    until_counted(&bed, &job, "applied", 1).await;
    proxy.silence().await;
    refused().await;
    proxy.mend().await;
    bed.testbed.shutdown().await.unwrap();
    rabbit.remove().await;
}

#[tokio::test]
async fn a_queue_of_another_testbed_is_left_alone() {
    let Some(rabbit) = Rabbit::fresh("foreign").await else {
        return;
    };
    let bed = Bed::start(rabbit.config()).await;
    let job = bed.job(&live()).await;
    // Another testbed would give its first job the same name.
    let other = Bed::start(rabbit.config()).await;
    let (status, body) = other.post("/configure", &live()).await;
    assert_eq!(status, 503, "{body}");
    other.testbed.shutdown().await.unwrap();
    // The first one's is as it was.
    let commands = rabbit.client().await;
    let key = format!("baby_analyzer.commands.roi.{}", id(&job));
    commands.send(&key, &roi(1, 60)).await;
    until_counted(&bed, &job, "applied", 1).await;
    assert!(rabbit.queue(&queue(&job)).await.is_some());
    bed.testbed.shutdown().await.unwrap();
    rabbit.remove().await;
}

#[tokio::test]
async fn a_poll_of_the_task_flow_publishes_a_keepalive() {
    let Some(rabbit) = Rabbit::fresh("keepalive").await else {
        return;
    };
    let bed = Bed::start(rabbit.config()).await;
    // The first job is accepted when the exchange is there.
    bed.job(&live()).await;
    let commands = rabbit.client().await;
    let mut heard = commands.listen().await;
    let task = json!({
        "displayTimeAxisDuration": 10, "nfftSelection": 1024, "canvasInfo": { "height": 200 },
        "sensors": { "min": 0, "max": 9 }, "frequencyRange": { "min": 0, "max": 500 },
        "start_time": null, "end_time": null,
    });
    assert_eq!(bed.post("/config/t1", &task).await.0, 200);
    bed.get("/waterfall/t1/10").await;
    let message = timeout(PATIENCE, heard.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(
        message.routing_key.as_str(),
        "baby_analyzer.commands.keepalive.t1"
    );
    let body: Value = serde_json::from_slice(&message.data).unwrap();
    assert_eq!(
        body,
        json!({ "type": "KeepaliveCommand", "value": { "source": "focus-server" } })
    );
    assert_eq!(*message.properties.delivery_mode(), Some(2));
    bed.testbed.shutdown().await.unwrap();
    rabbit.remove().await;
}

#[tokio::test]
async fn a_playback_keeps_its_rows_over_other_commands() {
    let Some(rabbit) = Rabbit::fresh("playback").await else {
        return;
    };
    let bed = Bed::start(rabbit.config()).await;
    let commands = rabbit.client().await;
    let job = bed.job(&historic()).await;
    commands
        .send(
            "baby_analyzer.commands.colormap",
            &json!({ "type": "ColormapCommand", "value": "grayscale" }),
        )
        .await;
    until_counted(&bed, &job, "applied", 1).await;
    let (rows, end) = bed.whole(&job, 1).await;
    assert!(end.is_none());
    let (_, manifest) = bed
        .get(&format!("/_testbed/rows?job_id={}&stream=1", id(&job)))
        .await;
    let listed: Vec<_> = manifest
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["digest"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(rows.iter().map(digest).collect::<Vec<_>>(), listed);
    bed.testbed.shutdown().await.unwrap();
    rabbit.remove().await;
}
