//! The endpoints that only read.

use std::sync::Arc;

use super::body::Body;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::pages;
use super::refusal::Refusal;
use super::schema;
use super::task_flow;
use crate::behavior::Kind as Behave;
use crate::limits::MAX_RECORDINGS;
use crate::recordings::{self, FIXED_END, FIXED_START};
use crate::server::Server;

pub(crate) async fn ack() -> Json<Value> {
    Json(json!({}))
}

pub(crate) async fn channels(State(server): State<Arc<Server>>) -> Json<Value> {
    Json(json!({ "lowest_channel": 1, "highest_channel": server.config.highest_channel }))
}

pub(crate) async fn live_metadata(State(server): State<Arc<Server>>) -> Json<Value> {
    if server.struck(Behave::WaitingForFiber).is_some() {
        return Json(pages::waiting_for_fiber(&server.config));
    }
    Json(pages::live_metadata(&server.config))
}

pub(crate) async fn metadata(
    State(server): State<Arc<Server>>,
    Path(job_id): Path<String>,
) -> Result<Response, Refusal> {
    let job = server.jobs.find(&job_id);
    if let Some(job) = job.filter(|job| job.known_from <= Instant::now()) {
        return Ok(Json(job.description.clone()).into_response());
    }
    // Jobs and the older server's tasks share this path.
    task_flow::metadata(&server, &job_id).ok_or(Refusal::NotFound("Invalid job_id"))
}

pub(crate) async fn recordings_in_time_range(
    State(server): State<Arc<Server>>,
    Body(body): Body,
) -> Result<Json<Value>, Refusal> {
    server.hold(Behave::SlowRecordings).await;
    let answer = recordings_in(&server, &body);
    if answer.is_err() {
        server.hold(Behave::SlowRefusal).await;
    }
    answer.map(Json)
}

fn recordings_in(server: &Server, body: &[u8]) -> Result<Value, Refusal> {
    /// The age of a stale recording, as observed.
    const STALE_S: u64 = 117 * 3_600;
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::Meaning(format!("the body is not JSON: {error}")))?;
    let (start, end) = schema::time_range(&body)?;
    let (Ok(from), Ok(to)) = (u64::try_from(start), u64::try_from(end)) else {
        return Err(Refusal::Meaning(
            "start_time and end_time must not be negative".to_owned(),
        ));
    };
    if to <= from {
        return Err(Refusal::Meaning(format!(
            "end_time ({end}) must be after start_time ({start})"
        )));
    }
    let now = server.clock.now_s();
    let found = recordings::within(from, to, now, MAX_RECORDINGS);
    let stale_from = now.saturating_sub(STALE_S);
    let stale = to > stale_from && server.struck(Behave::StaleRecording).is_some();
    let stale = stale.then(|| json!([stale_from, -1]));
    let pairs = found.into_iter().map(|recording| {
        // A recording that is still being written has no end yet.
        let end = if recordings::is_open(recording, now) {
            json!(-1)
        } else {
            json!(recording.end())
        };
        json!([recording.start, end])
    });
    Ok(stale.into_iter().chain(pairs).collect())
}

pub(crate) async fn recordings_timeline(State(server): State<Arc<Server>>) -> Html<String> {
    let now = server.clock.now_s();
    let recent = recordings::within(now.saturating_sub(86_400), now + 1, now, MAX_RECORDINGS).len();
    Html(format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Recordings timeline</title><h1>Recordings timeline</h1>\
         <ul><li>{FIXED_START} to {FIXED_END}: without holes</li><li>last 24 hours: {recent} recordings</li></ul>"
    ))
}

pub(crate) async fn openapi() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        include_str!("openapi.json"),
    )
}
