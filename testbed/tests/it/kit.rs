//! A running testbed with clients for its two protocols.

use std::time::Duration;

use serde_json::{Value, json};
use testmesh_testbed::pandadatastream::data_stream_service_client::DataStreamServiceClient;
use testmesh_testbed::pandadatastream::{DataStream, StreamDataRequest};
use testmesh_testbed::{Behavior, Config, FIXED_START, Testbed};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// No single wait of a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Bed {
    pub(crate) testbed: Testbed,
    pub(crate) http: reqwest::Client,
}

impl Bed {
    pub(crate) async fn start(config: Config) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            testbed: Testbed::start(config).await.unwrap(),
            http: reqwest::Client::new(),
        }
    }

    pub(crate) async fn quick() -> Self {
        Self::start(Config::quick()).await
    }

    pub(crate) async fn with(behaviors: &str) -> Self {
        Self::start(Config::quick().behaviors(Behavior::parse_list(behaviors).unwrap())).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> (u16, Value) {
        let url = format!("{}{path}", self.testbed.url());
        let mut request = self.http.request(method.parse().unwrap(), url);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let response = timeout(PATIENCE, request.send()).await.unwrap().unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("POST", path, Some(body.to_string())).await
    }

    /// Configures a job that must be accepted.
    pub(crate) async fn job(&self, body: &Value) -> Value {
        let (status, job) = self.post("/configure", body).await;
        assert_eq!(status, 200, "{job}");
        job
    }

    /// Opens a stream as soon as the job's port answers.
    pub(crate) async fn stream(
        &self,
        job: &Value,
        id: i32,
    ) -> Result<Streaming<DataStream>, Status> {
        let mut client = DataStreamServiceClient::new(connect(job).await);
        Ok(client
            .stream_data(StreamDataRequest { stream_id: id })
            .await?
            .into_inner())
    }

    /// The first rows of a stream.
    pub(crate) async fn rows(&self, job: &Value, id: i32, count: usize) -> Vec<DataStream> {
        let mut stream = self.stream(job, id).await.unwrap();
        let mut rows = Vec::new();
        while rows.len() < count {
            rows.push(
                next(&mut stream)
                    .await
                    .unwrap()
                    .expect("the stream goes on"),
            );
        }
        rows
    }

    /// A stream to its end, and how it ended.
    pub(crate) async fn whole(&self, job: &Value, id: i32) -> (Vec<DataStream>, Option<Status>) {
        let mut stream = self.stream(job, id).await.unwrap();
        let mut rows = Vec::new();
        loop {
            match next(&mut stream).await {
                Ok(Some(row)) => rows.push(row),
                Ok(None) => return (rows, None),
                Err(status) => return (rows, Some(status)),
            }
        }
    }

    /// Waits until a GET gives a status.
    pub(crate) async fn until(&self, path: &str, wanted: u16) -> Duration {
        let start = Instant::now();
        loop {
            let (status, body) = self.get(path).await;
            if status == wanted {
                return start.elapsed();
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{path} is still {status}: {body}"
            );
            sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) async fn next(stream: &mut Streaming<DataStream>) -> Result<Option<DataStream>, Status> {
    timeout(PATIENCE, stream.message())
        .await
        .expect("a row in time")
}

/// Connects as a client does: strips the scheme, and tries again while the pod comes up.
pub(crate) async fn connect(job: &Value) -> Channel {
    let host = job["stream_url"]
        .as_str()
        .unwrap()
        .strip_prefix("http://")
        .unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{host}:{}", job["stream_port"])).unwrap();
    let start = Instant::now();
    loop {
        match endpoint.connect().await {
            Ok(channel) => return channel,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error:?}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// A live view of fifty channels at a hundred lines a second.
pub(crate) fn live() -> Value {
    json!({
        "view_type": 0, "displayTimeAxisDuration": 2, "nfftSelection": 1024, "displayInfo": { "height": 200 },
        "channels": { "min": 1, "max": 50 }, "frequencyRange": { "min": 0, "max": 500 },
        "start_time": null, "end_time": null,
    })
}

/// The same view of recordings: twelve seconds of them, 120 lines.
pub(crate) fn historic() -> Value {
    let mut body = live();
    body["displayTimeAxisDuration"] = json!(20);
    body["start_time"] = json!(FIXED_START + 100);
    body["end_time"] = json!(FIXED_START + 112);
    body
}

pub(crate) fn key(row: &DataStream) -> i64 {
    row.timestamp_in_milis[0]
}

pub(crate) fn number(row: &DataStream) -> i32 {
    row.row_index[0]
}

pub(crate) fn digest(row: &DataStream) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&row.main_data[0]))
}
