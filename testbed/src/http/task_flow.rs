//! The endpoints of the older task flow: configure a task, poll its rows, 200 → 201 → 208.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::archive;
use super::body::Body;
use super::pages;
use super::refusal::Refusal;
use crate::behavior::Kind;
use crate::profile::{Config, TaskFlow, Validation};
use crate::server::Server;
use crate::task_flow::{self, Habits, Polled, ROWS_PER_POLL, TaskRow, Unfit};

/// `GET /sensors`: the sensors of the fibre, from 0.
pub(crate) async fn sensors(State(server): State<Arc<Server>>) -> Json<Value> {
    let sensors: Vec<u32> = (0..server.config.highest_channel).collect();
    Json(json!({ "sensors": sensors }))
}

/// `POST /config/{task_id}`.
pub(crate) async fn configure(
    State(server): State<Arc<Server>>,
    Path(task_id): Path<String>,
    Body(body): Body,
) -> Result<Json<Value>, Refusal> {
    server.hold(Kind::SlowStage).await;
    if !task_flow::is_task_id(&task_id) {
        return Err(Refusal::meaning(
            "task_id must be 1 to 256 letters, digits, _ and -",
        ));
    }
    let view = task_flow::read(&body, &server.config)
        .map_err(|unfit| refuse(unfit, server.config.validation))?;
    let recorded = archive::recorded(&server, view.request.source).await?;
    let stuck = server.struck(Kind::StuckTask).is_some();
    let habits = habits(&server.config);
    if !server
        .task_flow
        .configure(&task_id, (view, recorded), habits, stuck)
    {
        return Err(Refusal::Unavailable(format!(
            "{} tasks are running, which is the limit",
            habits.limit
        )));
    }
    Ok(Json(
        json!({ "status": "Config received successfully", "task_id": task_id }),
    ))
}

/// `GET /metadata/{task_id}`: 200 and nothing before the consumer runs, 201 from then on; none: there is no such task.
pub(crate) fn metadata(server: &Server, task_id: &str) -> Option<Response> {
    let answer = if server.task_flow.runs(task_id)? {
        let metadata = pages::recording_metadata(server.config.prr);
        (StatusCode::CREATED, Json(metadata)).into_response()
    } else {
        (StatusCode::OK, Json(json!({}))).into_response()
    };
    Some(answer)
}

/// `GET /waterfall/{task_id}/{row_count}`.
pub(crate) async fn waterfall(
    State(server): State<Arc<Server>>,
    Path((task_id, row_count)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let count = row_count
        .parse()
        .ok()
        .filter(|count| (1..=ROWS_PER_POLL).contains(count))
        .ok_or_else(|| Refusal::meaning(format!("row_count must be from 1 to {ROWS_PER_POLL}")))?;
    if let Some(broker) = &server.broker
        && server.task_flow.runs(&task_id).is_some()
    {
        // As deployed: the server only publishes, and the task's process, which is none here, is kept by it.
        let keepalive =
            json!({ "type": "KeepaliveCommand", "value": { "source": "focus-server" } });
        broker.publish(
            format!("baby_analyzer.commands.keepalive.{task_id}"),
            keepalive,
        );
    }
    let polled = server.task_flow.poll(
        &task_id,
        count,
        server.config.historic_rate,
        habits(&server.config),
        (server.clock.now_ns(), &server.rows),
    );
    let empty = |status: StatusCode| (status, Json(json!([]))).into_response();
    match polled {
        Polled::Unknown => Err(Refusal::NotFound("Consumer not found")),
        Polled::NothingYet => Ok(empty(StatusCode::OK)),
        Polled::Complete => Ok(empty(StatusCode::ALREADY_REPORTED)),
        Polled::Rows(first, rows) => Ok((
            StatusCode::CREATED,
            Json(json!([answer(&task_id, first, &rows)])),
        )
            .into_response()),
    }
}

fn answer(task_id: &str, first: u32, rows: &[TaskRow]) -> Value {
    let least = rows
        .iter()
        .map(|row| row.least)
        .fold(f32::INFINITY, f32::min);
    let greatest = rows.iter().map(|row| row.greatest).fold(0.0, f32::max);
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let sensors: Vec<_> = (first..)
                .zip(&row.sensors)
                .map(|(id, intensity)| json!({ "id": id, "intensity": intensity }))
                .collect();
            json!({
                "canvasId": task_id,
                "sensors": sensors,
                "startTimestamp": row.start_ms,
                "endTimestamp": row.end_ms,
            })
        })
        .collect();
    json!({ "rows": rows, "current_max_amp": greatest, "current_min_amp": least })
}

fn habits(config: &Config) -> Habits {
    Habits {
        ready_after: config.ready_min,
        idle: config.idle_cleanup + config.startup_grace,
        limit: usize::from(config.max_jobs),
    }
}

fn refuse(unfit: Unfit, validation: Validation) -> Refusal {
    match (unfit, validation) {
        (Unfit::Body(message), Validation::Strict) => Refusal::Meaning(message),
        (Unfit::Body(_), Validation::Lenient) => {
            Refusal::Internal("Error parsing configuration".to_owned())
        }
    }
}

/// Whether the flow is served.
pub(crate) fn is_served(server: &Server) -> bool {
    server.config.task_flow == TaskFlow::Served
}
