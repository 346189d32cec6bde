//! Asks an API server, and says what its answers and failures mean.

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::Value as Json;
use testmesh_shared::plan::ErrorKind;
use tokio::time::Instant;
use url::form_urlencoded::Serializer;

use super::client::Cluster;
use super::run::Trial;
use crate::driver::contract::{Body as ResultBody, Evidence, Results, StageError};
use crate::driver::limits;
use crate::driver::transport::{chain, find};
use crate::driver::tries::Failure;

/// What is asked, and how messages name it.
#[derive(Debug)]
pub(super) struct Question {
    path: String,
    query: Vec<(String, String)>,
    pub(super) doing: String,
}

impl Question {
    pub(super) fn new(doing: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            query: Vec::new(),
            doing: doing.into(),
        }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A parameter that need not be there.
    pub(super) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn target(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        let path = format!("{}?", self.path);
        let length = path.len();
        let mut query = Serializer::for_suffix(path, length);
        query.extend_pairs(&self.query).finish()
    }
}

/// The start of an answer that the server gave; a refusal has been read to its end.
pub(super) async fn ask(
    trial: &Trial<'_>,
    cluster: &Cluster,
    question: Question,
) -> Result<Response<Body>, Failure> {
    let doing = format!("{} at {}", question.doing, cluster.at);
    let target = question.target();
    trial.asked(|| format!("GET {target} ({doing})"));
    let request = Request::get(&target)
        .header("accept", "application/json")
        .header("user-agent", USER_AGENT)
        .header("traceparent", trial.attempt.traceparent)
        .body(Body::empty())
        .map_err(|error| {
            let message = format!("{doing}: `{target}` cannot be asked for: {error}");
            StageError::new(ErrorKind::Expectation, message).with_code("bad_request")
        })?;
    let asked = Instant::now();
    let answer = cluster.client.send(request).await;
    if let Some(took) = cluster.connects() {
        trial.attempt.meter.connect(took);
    }
    let answer = answer.map_err(|error| failure(&doing, &error))?;
    trial.attempt.meter.first_byte(asked.elapsed());
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status().as_u16();
    let body = read(trial, answer.into_body(), &doing).await?;
    let shown = String::from_utf8_lossy(&body);
    trial.answered(&format!("HTTP {status} in {:.1?}", asked.elapsed()), &shown);
    let said: Json = serde_json::from_slice(&body).unwrap_or_default();
    Err(refusal(&doing, i64::from(status), &said, body))
}

const USER_AGENT: &str = concat!("testmesh/", env!("CARGO_PKG_VERSION"));

/// A `Status` of the server's, as a failure.
pub(super) fn refusal(doing: &str, status: i64, said: &Json, body: Bytes) -> Failure {
    let reason = said["reason"].as_str().unwrap_or("no reason");
    let text = said["message"].as_str().unwrap_or("no message");
    let message = format!("{doing}: {status} {reason}: {text}");
    let evidence = Evidence {
        status: Some(status),
        headers: Vec::new(),
        body: body.slice(..body.len().min(limits::EVIDENCE_BYTES)),
    };
    Failure::Refused(
        StageError::new(ErrorKind::Status, message)
            .with_status(status)
            .with_evidence(evidence),
    )
}

/// Asks, and reads the whole answer.
pub(super) async fn read_all(
    trial: &Trial<'_>,
    cluster: &Cluster,
    question: Question,
) -> Result<Bytes, Failure> {
    let doing = format!("{} at {}", question.doing, cluster.at);
    let answer = ask(trial, cluster, question).await?;
    let body = read(trial, answer.into_body(), &doing).await?;
    trial.answered("HTTP 200", &String::from_utf8_lossy(&body));
    Ok(body)
}

/// The same, for answers that are JSON.
pub(super) async fn read_json(
    trial: &Trial<'_>,
    cluster: &Cluster,
    question: Question,
) -> Result<Json, Failure> {
    let doing = format!("{} at {}", question.doing, cluster.at);
    let body = read_all(trial, cluster, question).await?;
    serde_json::from_slice(&body).map_err(|error| garbage(&doing, &error.to_string()).into())
}

/// What came is not what an API server answers.
pub(super) fn garbage(doing: &str, reason: &str) -> StageError {
    StageError::new(ErrorKind::Protocol, format!("{doing}: {reason}")).with_code("garbage")
}

/// More came than a stage may keep.
pub(super) fn too_large(trial: &Trial<'_>, doing: &str) -> StageError {
    let limit = trial.target().max_body;
    let message =
        format!("{doing}: the answer is larger than the limit of {limit} bytes (max_body)");
    StageError::new(ErrorKind::Protocol, message).with_code("too_large")
}

async fn read(trial: &Trial<'_>, mut body: Body, doing: &str) -> Result<Bytes, StageError> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = chunk(&mut body, doing).await? {
        if whole.len() + chunk.len() > trial.target().max_body {
            return Err(too_large(trial, doing));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// The next bytes of a body.
pub(super) async fn chunk(body: &mut Body, doing: &str) -> Result<Option<Bytes>, StageError> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(failure(doing, &error)),
            Some(Ok(frame)) => {
                // Trailers say nothing to us.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Tells what went wrong while `doing`.
fn failure(doing: &str, error: &kube::Error) -> StageError {
    if let Some(dialling) = find::<StageError>(error) {
        return StageError {
            message: format!("{doing}: {}", dialling.message),
            ..dialling.clone()
        };
    }
    let failed = |kind| StageError::new(kind, format!("{doing}: {}", chain(error)));
    if let kube::Error::Auth(_) = error {
        return failed(ErrorKind::Unavailable).with_code("no_credentials");
    }
    let hyper = find::<hyper::Error>(error);
    if hyper.is_some_and(|error| error.is_parse() || error.is_parse_too_large()) {
        return failed(ErrorKind::Protocol).with_code("garbage");
    }
    if let Some(io) = find::<std::io::Error>(error) {
        return StageError::io(doing, io);
    }
    match hyper {
        Some(error)
            if error.is_incomplete_message() || error.is_canceled() || error.is_closed() =>
        {
            failed(ErrorKind::Reset)
        }
        Some(_) => failed(ErrorKind::Protocol),
        None => failed(ErrorKind::Unavailable),
    }
}

/// An answer with this as its body.
pub(super) fn answer(body: impl Into<Bytes>) -> Results {
    Results {
        status: Some(200),
        body: ResultBody::Bytes(body.into()),
        ..Results::default()
    }
}
