//! The page's files and its bridge: what a browser gets, against what a gRPC client gets.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use testmesh_testbed::{Config, HistoricEnd};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::kit::{Bed, PATIENCE, historic, live, next};

/// The page's side of a bridge.
struct Bridge(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Bridge {
    async fn open(bed: &Bed, job_id: &str, stream: i32, more: &str) -> Self {
        let address = bed.testbed.address();
        let url = format!("ws://{address}/panda/stream?job_id={job_id}&stream={stream}{more}");
        let connected = timeout(PATIENCE, connect_async(url)).await.unwrap();
        Self(connected.unwrap().0)
    }

    async fn of(bed: &Bed, job: &Value, stream: i32, more: &str) -> Self {
        Self::open(bed, job["job_id"].as_str().unwrap(), stream, more).await
    }

    /// The next frame that is not a ping; none once the bridge has closed.
    async fn frame(&mut self) -> Option<Message> {
        loop {
            let frame = timeout(PATIENCE, self.0.next())
                .await
                .expect("a frame in time");
            match frame {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(frame)) => return Some(frame),
            }
        }
    }

    async fn text(&mut self) -> Value {
        match self.frame().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("not a text: {other:?}"),
        }
    }

    async fn opened(&mut self) {
        assert_eq!(self.text().await, json!({ "event": "open" }));
    }

    async fn row(&mut self) -> Vec<u8> {
        match self.frame().await {
            Some(Message::Binary(row)) => row.to_vec(),
            other => panic!("not a row: {other:?}"),
        }
    }

    /// All rows to the end, and the status that ended them.
    async fn whole(&mut self) -> (Vec<Vec<u8>>, Value) {
        self.opened().await;
        let mut rows = Vec::new();
        loop {
            match self.frame().await {
                Some(Message::Binary(row)) => rows.push(row.to_vec()),
                Some(Message::Text(status)) => {
                    assert!(self.frame().await.is_none(), "the status is the last frame");
                    return (rows, serde_json::from_str(&status).unwrap());
                }
                other => panic!("neither a row nor a status: {other:?}"),
            }
        }
    }

    async fn drew(&mut self, rows: usize) {
        self.0.send(Message::text(rows.to_string())).await.unwrap();
    }
}

async fn streams_open(bed: &Bed) -> u64 {
    bed.get("/_testbed").await.1["streams_open"]
        .as_u64()
        .unwrap()
}

async fn until_streams_open(bed: &Bed, wanted: u64) {
    let start = Instant::now();
    while streams_open(bed).await != wanted {
        assert!(start.elapsed() < PATIENCE, "not {wanted} streams");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn text_of(bed: &Bed, path: &str) -> (reqwest::header::HeaderMap, String) {
    let url = format!("{}{path}", bed.testbed.url());
    let answer = bed.http.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    (answer.headers().clone(), answer.text().await.unwrap())
}

#[tokio::test]
async fn the_page_and_all_its_files_are_served_with_a_policy_that_they_keep() {
    let bed = Bed::quick().await;
    let (_, page) = text_of(&bed, "/panda").await;
    let mut paths = vec!["/panda".to_owned()];
    for part in page.split("\"panda/").skip(1) {
        paths.push(format!("/panda/{}", part.split('"').next().unwrap()));
    }
    assert_eq!(paths.len(), 4, "icon, style and script: {paths:?}");
    let mut checked = 0;
    while checked < paths.len() {
        let path = paths[checked].clone();
        let (headers, text) = text_of(&bed, &path).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let kind = headers["content-type"].to_str().unwrap();
        let wanted = match path.rsplit_once('.') {
            None => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            Some(other) => panic!("{other:?}"),
        };
        assert_eq!(kind, wanted, "{path}");
        // Modules import their neighbours.
        for part in text
            .split("from \"./")
            .skip(1)
            .filter(|_| wanted.contains("javascript"))
        {
            let import = format!("/panda/{}", part.split('"').next().unwrap());
            if !paths.contains(&import) {
                paths.push(import);
            }
        }
        checked += 1;
    }
    assert!(paths.len() >= 12, "{paths:?}");
    for forbidden in [
        " style=",
        " onclick=",
        " onload=",
        "<style",
        "javascript:",
        "http://",
        "https://",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert_eq!(bed.get("/panda/no.js").await.0, 404);
    assert_eq!(bed.get("/panda/page.html").await.0, 404);
    assert_eq!(bed.post("/panda", &json!({})).await.0, 405);
}

#[tokio::test]
async fn every_control_has_an_accessible_name() {
    let bed = Bed::quick().await;
    let (_, page) = text_of(&bed, "/panda").await;
    let mut controls = 0;
    for kind in ["<input ", "<select ", "<button "] {
        for part in page.split(kind).skip(1) {
            let tag = part.split('>').next().unwrap();
            let id = tag
                .split("id=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap();
            let labelled = page.contains(&format!("<label for=\"{id}\""));
            assert!(labelled || kind == "<button ", "{id} has no label");
            controls += 1;
        }
    }
    assert!(controls >= 20, "{controls}");
    for live in [
        "id=\"error\" role=\"alert\"",
        "id=\"state\" data-state=\"idle\" role=\"status\"",
        "aria-live=\"polite\"",
    ] {
        assert!(page.contains(live), "{live}");
    }
}

#[tokio::test]
async fn the_bridge_carries_the_bytes_of_a_grpc_call() {
    let bed = Bed::quick().await;
    for stream in 0..3 {
        // A job each: the extrema in a row are those of all calls of its job.
        let (direct, bridged) = (bed.job(&historic()).await, bed.job(&historic()).await);
        let (rows, status) = bed.whole(&direct, stream).await;
        assert!(status.is_none());
        let rows: Vec<_> = rows.iter().map(prost::Message::encode_to_vec).collect();
        let (frames, status) = Bridge::of(&bed, &bridged, stream, "").await.whole().await;
        assert_eq!(frames.len(), 120);
        assert!(frames == rows, "stream {stream}: other bytes");
        assert_eq!(status, json!({ "status": "OK", "message": "" }));
    }
}

#[tokio::test]
async fn the_bridge_tells_how_a_call_ended() {
    let bed = Bed::start(Config {
        historic_end: HistoricEnd::Unavailable,
        historic_silence: Duration::from_millis(50),
        ..Config::quick()
    })
    .await;
    let job = bed.job(&historic()).await;
    let (rows, status) = Bridge::of(&bed, &job, 1, "").await.whole().await;
    assert_eq!(rows.len(), 120);
    assert_eq!(
        status,
        json!({ "status": "UNAVAILABLE", "message": "Cancelling all calls" })
    );
    let mut wrong = Bridge::of(&bed, &job, 3, "").await;
    let status = wrong.text().await;
    assert_eq!(status["status"], "INVALID_ARGUMENT", "{status}");
}

#[tokio::test]
async fn a_page_that_goes_ends_its_call_and_the_job_is_idle() {
    let bed = Bed::quick().await;
    let job = bed.job(&live()).await;
    let mut bridge = Bridge::of(&bed, &job, 0, "").await;
    bridge.opened().await;
    bridge.row().await;
    assert_eq!(streams_open(&bed).await, 1);
    // Without a goodbye, as a tab that is closed.
    drop(bridge);
    let start = Instant::now();
    until_streams_open(&bed, 0).await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    bed.until(
        &format!("/metadata/{}", job["job_id"].as_str().unwrap()),
        404,
    )
    .await;

    let job = bed.job(&live()).await;
    let mut bridge = Bridge::of(&bed, &job, 0, "").await;
    bridge.opened().await;
    bridge.0.close(None).await.unwrap();
    until_streams_open(&bed, 0).await;
}

#[tokio::test]
async fn a_window_holds_rows_back_until_the_page_has_drawn_some() {
    let bed = Bed::quick().await;
    let job = bed.job(&historic()).await;
    let mut bridge = Bridge::of(&bed, &job, 0, "&window=4").await;
    bridge.opened().await;
    for more in [4, 2, 4] {
        for _ in 0..more {
            bridge.row().await;
        }
        let early = timeout(Duration::from_millis(300), bridge.frame()).await;
        assert!(early.is_err(), "a row that the page did not ask for");
        // More than it was sent is no reason to send more than the window.
        bridge.drew(if more == 2 { 1_000 } else { 2 }).await;
    }
}

#[tokio::test]
async fn a_page_that_does_not_read_holds_the_job_back() {
    let bed = Bed::quick().await;
    let mut body = historic();
    // 2,400 rows of 17 KB: far more than all buffers in between.
    body["displayTimeAxisDuration"] = json!(2);
    body["frequencyRange"]["max"] = json!(1000);
    let job = bed.job(&body).await;
    let mut bridge = Bridge::of(&bed, &job, 0, "").await;
    bridge.opened().await;
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(streams_open(&bed).await, 1, "the job waits for its reader");
    let mut rows = 0;
    while let Some(Message::Binary(_)) = bridge.frame().await {
        rows += 1;
    }
    assert_eq!(rows, 1_200, "late, and none lost");
}

#[tokio::test]
async fn a_job_that_is_unknown_or_gone_is_not_found() {
    let bed = Bed::quick().await;
    for id in ["0-1", "7-9", "nonsense", "%00"] {
        let status = Bridge::open(&bed, id, 0, "").await.text().await;
        assert_eq!(status["status"], "NOT_FOUND", "{id}: {status}");
    }
}

#[tokio::test]
async fn the_bridge_waits_for_a_pod_that_comes_up() {
    let ready = Duration::from_millis(900);
    let bed = Bed::start(Config {
        ready_min: ready,
        ready_max: ready,
        ..Config::quick()
    })
    .await;
    let start = Instant::now();
    let job = bed.job(&live()).await;
    let mut bridge = Bridge::of(&bed, &job, 2, "").await;
    bridge.opened().await;
    let took = start.elapsed();
    assert!(
        (ready..ready + Duration::from_secs(3)).contains(&took),
        "{took:?}"
    );
    bridge.row().await;
}

#[tokio::test]
async fn a_pod_that_never_comes_up_is_given_up_when_its_job_is() {
    let bed = Bed::with("never-ready").await;
    let job = bed.job(&live()).await;
    let status = Bridge::of(&bed, &job, 0, "").await.text().await;
    assert_eq!(status["status"], "NOT_FOUND", "{status}");
}

#[tokio::test]
async fn a_bridge_never_shows_another_job_that_got_the_port() {
    let bed = Bed::quick().await;
    let first = bed.job(&live()).await;
    let mut stream = bed.stream(&first, 0).await.unwrap();
    next(&mut stream).await.unwrap();
    drop(stream);
    bed.until(
        &format!("/metadata/{}", first["job_id"].as_str().unwrap()),
        404,
    )
    .await;
    let start = Instant::now();
    let second = loop {
        let second = bed.job(&live()).await;
        if second["stream_port"] == first["stream_port"] {
            break second;
        }
        assert!(start.elapsed() < PATIENCE, "the slot was not used again");
        sleep(Duration::from_millis(50)).await;
    };
    let status = Bridge::of(&bed, &first, 0, "").await.text().await;
    assert_eq!(status["status"], "NOT_FOUND");
    Bridge::of(&bed, &second, 0, "").await.opened().await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_before_an_upgrade() {
    let bed = Bed::quick().await;
    for query in [
        "",
        "job_id=0-1",
        "job_id=&stream=0",
        "job_id=0-1&stream=x",
        "job_id=0-1&stream=0&window=0",
        "job_id=0-1&stream=0&window=1025",
        "job_id=0-1&stream=0&window=-1",
    ] {
        let (status, body) = bed.get(&format!("/panda/stream?{query}")).await;
        assert_eq!(status, 400, "{query}: {body}");
        assert!(body["error"].is_string(), "{query}: {body}");
    }
    // A right query without an upgrade.
    assert!((400..500).contains(&bed.get("/panda/stream?job_id=0-1&stream=0").await.0));
}

#[tokio::test]
async fn a_page_that_sends_too_much_is_cut_off() {
    let bed = Bed::quick().await;
    let job = bed.job(&live()).await;
    let mut bridge = Bridge::of(&bed, &job, 0, "").await;
    bridge.opened().await;
    // What is no count is no reason to end.
    bridge.0.send(Message::text("no number")).await.unwrap();
    bridge.row().await;
    let _ = bridge.0.send(Message::text("1".repeat(1 << 20))).await;
    until_streams_open(&bed, 0).await;
}

#[tokio::test]
async fn more_streams_than_the_limit_are_refused_and_places_come_back() {
    const LIMIT: usize = 512;
    let bed = Bed::quick().await;
    let job = bed.job(&live()).await;
    let mut pages = JoinSet::new();
    for _ in 0..LIMIT {
        // They draw nothing, so that they cost nothing, but they answer pings.
        let mut bridge = Bridge::of(&bed, &job, 0, "&window=1").await;
        bridge.opened().await;
        pages.spawn(async move { while let Some(Ok(_)) = bridge.0.next().await {} });
    }
    let status = Bridge::of(&bed, &job, 0, "").await.text().await;
    assert_eq!(status["status"], "RESOURCE_EXHAUSTED", "{status}");
    pages.shutdown().await;
    let start = Instant::now();
    while Bridge::of(&bed, &job, 0, "").await.text().await["event"] != "open" {
        assert!(start.elapsed() < PATIENCE);
    }
}

#[tokio::test]
async fn a_server_that_ends_tells_its_pages_and_waits_for_nobody() {
    let bed = Bed::quick().await;
    let job = bed.job(&live()).await;
    let mut bridge = Bridge::of(&bed, &job, 0, "").await;
    bridge.opened().await;
    let Bed { testbed, .. } = bed;
    let start = Instant::now();
    let ((), status) = tokio::join!(async { testbed.shutdown().await.unwrap() }, async {
        loop {
            match bridge.frame().await {
                Some(Message::Binary(_)) => {}
                Some(Message::Text(status)) => {
                    return serde_json::from_str::<Value>(&status).unwrap();
                }
                other => panic!("no status: {other:?}"),
            }
        }
    });
    assert_eq!(status["status"], "UNAVAILABLE");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}
