//! The endpoints that only read.

use std::sync::Arc;

use super::body::Body;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::archive;
use super::pages;
use super::refusal::Refusal;
use super::schema;
use super::task_flow;
use crate::behavior::Kind as Behave;
use crate::recordings::{FIXED_END, FIXED_START, STALE_S};
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
    let answer = recordings_in(&server, &body).await;
    if answer.is_err() {
        server.hold(Behave::SlowRefusal).await;
    }
    answer.map(Json)
}

async fn recordings_in(server: &Server, body: &[u8]) -> Result<Value, Refusal> {
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
    let found = archive::list(server, from, to).await?;
    let stale_from = server.clock.now_s().saturating_sub(STALE_S);
    // MongoDB lists it by itself.
    let stale = server.archive.store().is_none()
        && to > stale_from
        && server.struck(Behave::StaleRecording).is_some();
    let stale = stale.then(|| json!([stale_from, -1]));
    let pairs = found.into_iter().map(|recording| {
        // A recording that is still being written has no end yet.
        let end = recording.end.map_or_else(|| json!(-1), |end| json!(end));
        json!([recording.start, end])
    });
    Ok(stale.into_iter().chain(pairs).collect())
}

pub(crate) async fn recordings_timeline(
    State(server): State<Arc<Server>>,
) -> Result<Html<String>, Refusal> {
    let now = server.clock.now_s();
    let recent = archive::list(&server, now.saturating_sub(86_400), now + 1).await?;
    let recent = recent.len();
    let fixed = match server.archive.store() {
        None => format!("<li>{FIXED_START} to {FIXED_END}: without holes</li>"),
        Some(_) => "<li>recordings are in MongoDB</li>".to_owned(),
    };
    Ok(Html(format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Recordings timeline</title><h1>Recordings timeline</h1>\
         <ul>{fixed}<li>last 24 hours: {recent} recordings</li></ul>"
    )))
}

pub(crate) async fn openapi() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        include_str!("openapi.json"),
    )
}
