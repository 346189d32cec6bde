//! `/_testbed`: what a test may ask of the stand-in. A real server has none of it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::body::Body;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::archive;
use super::configure;
use super::refusal::Refusal;
use crate::archive::Recorded;
use crate::behavior::{Behavior, TABLE};
use crate::broker::Broker;
use crate::jobs::Job;
use crate::recordings::{FIXED_END, FIXED_START};
use crate::rows::manifest;
use crate::server::Server;
use crate::store::Store;
use crate::view::{Source, View};

/// `GET /_testbed`: what is going on.
pub(crate) async fn status(State(server): State<Arc<Server>>) -> Json<Value> {
    let jobs = server.jobs.list();
    let streams: usize = jobs.iter().map(|job| job.calls.count()).sum();
    let jobs: Vec<_> = jobs.iter().map(|job| describe(job)).collect();
    let recorded = match server.archive.store() {
        None => json!({ "from": FIXED_START, "to": FIXED_END }),
        Some(_) => Value::Null,
    };
    Json(json!({
        "job_ports": server.jobs.base(),
        "streams_open": streams,
        "jobs": jobs,
        "recorded": recorded,
        "mongodb": server.archive.store().map(Store::describe),
        "rabbitmq": server.broker.as_ref().map(Broker::describe),
        "restarts": server.restarts.load(Ordering::Relaxed),
        "behaviors": names(&server.behaviors()),
    }))
}

fn describe(job: &Job) -> Value {
    let shown = job.display.shown();
    let (start, end) = shown.view.request.channels;
    json!({
        "job_id": job.id,
        "port": job.port,
        "streams_open": job.calls.count(),
        "channels": { "min": start, "max": end },
        "colormap": shown.colormap.name(),
        "axis": shown.axis.map(|(min, max)| json!({ "min": min, "max": max })),
        "commands": job.journal.describe(),
    })
}

/// `GET /_testbed/behaviors`: which are on, and which there are.
pub(crate) async fn behaviors(State(server): State<Arc<Server>>) -> Json<Value> {
    let table: Vec<_> = TABLE
        .iter()
        .map(|entry| {
            json!({ "name": entry.name, "finding": entry.finding, "doc": entry.doc, "reason": entry.reason })
        })
        .collect();
    Json(json!({ "behaviors": names(&server.behaviors()), "known": table }))
}

/// `PUT /_testbed/behaviors` with `{"behaviors": ["flip-bit", "stall:2s"]}`: these and no others, for calls to come.
pub(crate) async fn set_behaviors(
    State(server): State<Arc<Server>>,
    Body(body): Body,
) -> Result<Json<Value>, Refusal> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        behaviors: Vec<String>,
    }
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|error| {
        Refusal::Meaning(format!(
            r#"the body must be {{"behaviors": ["NAME[:RATE|:DURATION]", …]}}: {error}"#
        ))
    })?;
    let list = wanted
        .behaviors
        .iter()
        .map(|text| text.parse())
        .collect::<Result<Vec<Behavior>, _>>();
    let list = list.and_then(|list| Behavior::check_list(&list).map(|()| list));
    let list = list.map_err(|error| Refusal::Meaning(error.to_string()))?;
    server
        .config
        .check_behaviors(&list)
        .map_err(|error| Refusal::Meaning(error.to_string()))?;
    let answer = json!({ "behaviors": names(&list) });
    server.set_behaviors(list);
    Ok(Json(answer))
}

#[derive(Debug, Deserialize)]
pub(crate) struct RowsQuery {
    job_id: Option<String>,
    stream: Option<u32>,
}

/// `GET /_testbed/rows?job_id=…&stream=…`: the manifest of a job's stream.
pub(crate) async fn rows_of_job(
    State(server): State<Arc<Server>>,
    Query(query): Query<RowsQuery>,
) -> Result<Response, Refusal> {
    let job_id = query
        .job_id
        .ok_or_else(|| Refusal::Meaning("job_id is required".to_owned()))?;
    let job = server
        .jobs
        .find(&job_id)
        .ok_or(Refusal::NotFound("Invalid job_id"))?;
    let view = Arc::clone(&job.display.shown().view);
    let recorded = job.recorded.clone();
    answer(&server, view, query.stream.unwrap_or(0), recorded).await
}

/// `POST /_testbed/rows?stream=…` with a configure body: the manifest that its job would have.
pub(crate) async fn rows_of_request(
    State(server): State<Arc<Server>>,
    Query(query): Query<RowsQuery>,
    Body(body): Body,
) -> Result<Response, Refusal> {
    let now = server.clock.now_s();
    let view = configure::view(&body, &server.config, now, &[])?;
    let recorded = archive::recorded(&server, view.request.source).await?;
    answer(&server, Arc::new(view), query.stream.unwrap_or(0), recorded).await
}

async fn answer(
    server: &Arc<Server>,
    view: Arc<View>,
    stream: u32,
    recorded: Recorded,
) -> Result<Response, Refusal> {
    let identity = match view.request.source {
        Source::Historic { start, end } => recorded.identity(start, end),
        // Refused below.
        Source::Live => 0,
    };
    let key = (format!("{:?}", view.request), stream, identity);
    let kept = server
        .manifests
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .find(&key);
    let list = match kept {
        Some(list) => list,
        None => {
            // Hashing every row of a range takes long enough to hold up live streams of the same thread.
            let computed = server
                .tasks
                .spawn_blocking("manifest", move || manifest(&view, stream, &recorded));
            let list = computed
                .await
                .map_err(|error| {
                    Refusal::Internal(format!("failed to compute the manifest: {error}"))
                })?
                .map_err(|error| Refusal::Meaning(error.to_string()))?;
            server
                .manifests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .keep(key, list.clone());
            list
        }
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], list).into_response())
}

fn names(behaviors: &[Behavior]) -> Vec<String> {
    behaviors.iter().map(ToString::to_string).collect()
}
