//! `POST /configure`: from a body to a job.

use std::sync::Arc;
use std::time::Duration;

use super::body::Body;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Span;

use super::archive;
use super::pages::recording_metadata;
use super::refusal::Refusal;
use super::rules;
use super::schema;
use crate::archive::Recorded;
use crate::behavior::Kind as Behave;
use crate::broker::Journal;
use crate::jobs::{self, Admission, AdmitError, Beginning, Calls, Display, Extrema, Job};
use crate::profile::{Config, Validation};
use crate::server::Server;
use crate::store::TaskId;
use crate::view::{Request, Source, View};

pub(crate) async fn configure(
    State(server): State<Arc<Server>>,
    Body(body): Body,
) -> Result<Json<Value>, Refusal> {
    server.hold(Behave::SlowStage).await;
    let answer = accept(&server, &body).await;
    if answer.is_err() {
        server.hold(Behave::SlowRefusal).await;
    }
    answer
}

async fn accept(server: &Arc<Server>, body: &Bytes) -> Result<Json<Value>, Refusal> {
    let view = view(body, &server.config, server.clock.now_s(), &slips(server))?;
    let recorded = match archive::recorded(server, view.request.source).await {
        Ok(recorded) => recorded,
        Err(refusal) => {
            if matches!(refusal, Refusal::NotFound(_)) {
                tokio::time::sleep(server.config.no_recording_delay).await;
            }
            return Err(refusal);
        }
    };
    misbehave(server, view.request.source).await?;
    tokio::time::sleep(server.config.configure_delay).await;
    let admission = server
        .jobs
        .admit()
        .map_err(|error| refuse(&error, server.config.validation))?;
    let (job, socket) = job(server, view, recorded, admission);
    let description = job.description.clone();
    let (told, accepted) = oneshot::channel();
    let beginning = Beginning {
        job,
        socket,
        request: body.clone(),
        span: Span::current(),
        told,
    };
    // From here on the job is a task of its own: if the client leaves, its slot is freed all the same.
    server
        .tasks
        .spawn("job", jobs::run(Arc::clone(server), beginning));
    match accepted.await {
        Ok(Ok(())) => Ok(Json(description)),
        Ok(Err(refusal)) => Err(Refusal::Unavailable(refusal)),
        Err(_) => Err(Refusal::Unavailable("the server is ending".to_owned())),
    }
}

/// The behaviors that change what is validated, as far as they strike this request.
pub(crate) fn slips(server: &Server) -> Vec<Behave> {
    let kinds = [
        Behave::ManyAsSingle,
        Behave::Null500,
        Behave::BareWaterfall500,
        Behave::AcceptAll,
    ];
    kinds
        .into_iter()
        .filter(|kind| server.struck(*kind).is_some())
        .collect()
}

/// The behaviors that refuse or delay a request that is right.
async fn misbehave(server: &Server, source: Source) -> Result<(), Refusal> {
    /// As many jobs as an overloaded server bears.
    const BEARABLE: usize = 5;
    let number = server.next_configure();
    if let Some(degrade) = server.struck(Behave::Degrade) {
        tokio::time::sleep(degrade.lasts().saturating_mul(number)).await;
    }
    if source == Source::Live && server.struck(Behave::WaitingForFiber).is_some() {
        return Err(Refusal::Unavailable(
            "Waiting for fiber: missing required fiber metadata fields: prr".to_owned(),
        ));
    }
    if matches!(source, Source::Historic { .. })
        && server.struck(Behave::HistoricNotFound).is_some()
    {
        return Err(Refusal::NotFound("No recording found in given time range"));
    }
    if number % 2 == 1 && server.struck(Behave::Alternate500).is_some() {
        return Err(Refusal::Internal(
            "failed to create pod sandbox: no IP addresses available".to_owned(),
        ));
    }
    if server.struck(Behave::PortTaken).is_some() {
        let port = server.jobs.base();
        return Err(Refusal::Internal(
            AdmitError::PortTaken { port }.to_string(),
        ));
    }
    if server.jobs.list().len() >= BEARABLE && server.struck(Behave::Overload).is_some() {
        return Err(match number % 3 {
            0 => Refusal::Internal("Internal Server Error".to_owned()),
            1 => Refusal::Gateway(StatusCode::BAD_GATEWAY),
            _ => Refusal::Gateway(StatusCode::GATEWAY_TIMEOUT),
        });
    }
    Ok(())
}

/// Reads and validates a body, and derives what it would show.
pub(crate) fn view(
    body: &[u8],
    config: &Config,
    now: u64,
    slips: &[Behave],
) -> Result<View, Refusal> {
    let body = parse(body, config.validation)?;
    let raw = schema::configure(&body).map_err(|refusal| {
        let missing = matches!(&refusal, Refusal::Schema(problems) if problems.iter().any(|problem| problem.kind == "missing"));
        if missing && slips.contains(&Behave::Null500) {
            Refusal::Internal("Error parsing configuration".to_owned())
        } else {
            refusal
        }
    })?;
    let request = rules::apply(&raw, config, now, slips)?;
    let fibre = rules::fibre(config, request.source);
    Ok(View::new(request, fibre))
}

/// What a body would show, or why it is refused.
pub(crate) fn view_of(body: &Value, config: &Config, now: u64) -> Result<View, String> {
    view(body.to_string().as_bytes(), config, now, &[]).map_err(|refusal| refusal.to_string())
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
    recorded: Recorded,
    admission: Admission,
) -> (Arc<Job>, tokio::net::TcpSocket) {
    let Admission {
        slot,
        id,
        port,
        socket,
    } = admission;
    let now_ns = server.clock.now_ns();
    let mut description = describe(&view, &id, port, &server.stream_url, server.config.prr);
    distort(&mut description, server);
    let job = Job {
        description,
        recorded,
        task: server
            .archive
            .store()
            .filter(|_| server.struck(Behave::NotPersisted).is_none())
            .map(|_| TaskId::new()),
        journal: Journal::default(),
        known_from: Instant::now()
            + server
                .struck(Behave::MetadataNotFound)
                .map_or(Duration::ZERO, |late| late.lasts()),
        first_line: view.request.grid.line_after(now_ns),
        calls: Arc::new(Calls::new()),
        life: server.tasks.shutdown().child(),
        extrema: Extrema::new(),
        slot,
        id,
        port,
        display: Display::new(view),
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

/// The behaviors that break the answer's own promises.
fn distort(answer: &mut Value, server: &Server) {
    if server.struck(Behave::WrongAmounts).is_some() {
        for amount in ["frequencies_amount", "channel_amount"] {
            answer[amount] = json!(answer[amount].as_u64().unwrap_or_default() + 1);
        }
    }
    if server.struck(Behave::WrongTypes).is_some() {
        answer["stream_port"] = json!(answer["stream_port"].to_string());
        answer["frequencies_list"] = json!({});
    }
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
