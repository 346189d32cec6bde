//! `POST /configure`: from a body to a job.

use std::sync::Arc;

use super::body::Body;
use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::pages::recording_metadata;
use super::refusal::Refusal;
use super::rules;
use super::schema;
use crate::jobs::{self, Admission, AdmitError, Calls, Extrema, Job};
use crate::profile::{Config, Validation};
use crate::server::Server;
use crate::view::{Request, View};

pub(crate) async fn configure(
    State(server): State<Arc<Server>>,
    Body(body): Body,
) -> Result<Json<Value>, Refusal> {
    if let Some(held) = server.configure_held() {
        tokio::time::sleep(held).await;
    }
    let view = match view(&body, &server.config, server.clock.now_s()) {
        Ok(view) => view,
        Err(refusal) => {
            if matches!(refusal, Refusal::NotFound(_)) {
                tokio::time::sleep(server.config.no_recording_delay).await;
            }
            return Err(refusal);
        }
    };
    tokio::time::sleep(server.config.configure_delay).await;
    let admission = server
        .jobs
        .admit()
        .map_err(|error| refuse(&error, server.config.validation))?;
    let (job, socket) = job(&server, view, admission);
    let description = job.description.clone();
    server.jobs.insert(&job);
    server
        .tasks
        .spawn("job", jobs::run(Arc::clone(&server), job, socket));
    Ok(Json(description))
}

/// Reads and validates a body, and derives what it would show.
pub(crate) fn view(body: &[u8], config: &Config, now: u64) -> Result<View, Refusal> {
    let body = parse(body, config.validation)?;
    let request = rules::apply(&schema::configure(&body)?, config, now)?;
    let fibre = rules::fibre(config, request.source);
    Ok(View::new(request, fibre))
}

fn parse(body: &[u8], validation: Validation) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| match validation {
        Validation::Strict => Refusal::Meaning(format!("the body is not JSON: {error}")),
        Validation::Lenient => Refusal::Internal("Error parsing configuration".to_owned()),
    })
}

fn refuse(error: &AdmitError, validation: Validation) -> Refusal {
    match (error, validation) {
        (AdmitError::Full { .. }, _) => Refusal::Unavailable(error.to_string()),
        (AdmitError::PortTaken { .. }, Validation::Strict) => Refusal::Conflict(error.to_string()),
        (AdmitError::PortTaken { .. }, Validation::Lenient) => Refusal::Internal(error.to_string()),
    }
}

fn job(
    server: &Arc<Server>,
    view: View,
    admission: Admission,
) -> (Arc<Job>, tokio::net::TcpSocket) {
    let Admission {
        slot,
        id,
        port,
        socket,
    } = admission;
    let now_ns = server.clock.now_ns();
    let job = Job {
        description: describe(&view, &id, port, &server.stream_url, server.config.prr),
        created: now_ns / 1_000_000_000,
        first_line: view.request.grid.line_after(now_ns),
        calls: Arc::new(Calls::new()),
        life: server.tasks.shutdown().child(),
        extrema: Extrema::new(),
        slot,
        id,
        port,
        view,
    };
    (Arc::new(job), socket)
}

/// The answer to configure, which `/metadata/{job_id}` repeats.
fn describe(view: &View, id: &str, port: u16, stream_url: &str, prr: u32) -> Value {
    let request = &view.request;
    json!({
        "status": "",
        "frequencies_list": view.frequencies,
        "lines_dt": view.lines_dt(),
        "channel_to_stream_index": channel_map(view, request),
        "stream_amount": view.streams.len(),
        "job_id": id,
        "frequencies_amount": view.frequencies.len(),
        "channel_amount": request.channels.1 - request.channels.0 + 1,
        "stream_port": port,
        "stream_url": stream_url,
        "view_type": request.kind.number(),
        "metadata": recording_metadata(prr),
    })
}

fn channel_map(view: &View, request: &Request) -> Map<String, Value> {
    let stream_of = |channel: u32| {
        let holds = |stream: &crate::view::Stream| {
            (stream.channels.0..=stream.channels.1).contains(&channel)
        };
        view.streams.iter().position(holds).unwrap_or(0)
    };
    (request.mapped.0..=request.mapped.1)
        .map(|channel| (channel.to_string(), stream_of(channel).into()))
        .collect()
}
