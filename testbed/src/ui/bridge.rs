//! `GET /panda/stream`: a browser speaks no gRPC, so a websocket carries a job's messages to it, byte for byte.
//!
//! | frame | from | meaning |
//! | --- | --- | --- |
//! | text `{"event": "open"}` | bridge | the job has answered the call |
//! | binary | bridge | one encoded `DataStream` |
//! | text `{"status": NAME, "message": TEXT}` | bridge | how the call ended; then the websocket closes |
//! | text, a decimal number | page | so many rows were drawn since the last such frame |
//!
//! One task per bridge owns both sides. Rows are pulled from the job only when the page may take one, so HTTP/2 holds the
//! job back; nothing is queued here but the one row in hand. When the page goes, the task ends, and the call with it.

use std::pin::pin;
use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::SplitSink;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tonic::{Code, Status};

use super::dial;
use super::page_link::{Credit, Unread, listen, send};
use crate::limits::{
    BRIDGE_BUFFER, CONNECTION_GRACE, MAX_BRIDGES, MAX_PAGE_FRAME, MAX_PAGE_WINDOW, PAGE_GOODBYE,
    PAGE_PAUSE, PAGE_PING,
};
use crate::server::Server;

type Page = SplitSink<WebSocket, Message>;

/// The query of a bridge, as texts: each is checked with a message of its own.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    job_id: Option<String>,
    stream: Option<String>,
    window: Option<String>,
}

/// What a page wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    job_id: String,
    stream: i32,
    window: Option<usize>,
}

impl Wanted {
    fn read(asked: Asked) -> Result<Self, String> {
        let job_id = asked
            .job_id
            .filter(|id| !id.is_empty())
            .ok_or("job_id is required")?;
        let stream = asked
            .stream
            .and_then(|stream| stream.parse().ok())
            .ok_or("stream must be a whole number, counted from 0")?;
        let window = match asked.window {
            None => None,
            Some(window) => Some(
                window
                    .parse()
                    .ok()
                    .filter(|window| (1..=MAX_PAGE_WINDOW).contains(window))
                    .ok_or_else(|| format!("window must be from 1 to {MAX_PAGE_WINDOW} rows"))?,
            ),
        };
        Ok(Self {
            job_id,
            stream,
            window,
        })
    }
}

/// Answers the upgrade, and lets the bridge run among the server's tasks.
pub(crate) async fn stream(
    State(server): State<Arc<Server>>,
    Extension(places): Extension<Arc<Semaphore>>,
    Query(asked): Query<Asked>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let wanted = match Wanted::read(asked) {
        Ok(wanted) => wanted,
        Err(error) => {
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
        }
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let place = places.try_acquire_owned().ok();
    upgrade
        .max_message_size(MAX_PAGE_FRAME)
        .max_frame_size(MAX_PAGE_FRAME)
        .write_buffer_size(0)
        .max_write_buffer_size(BRIDGE_BUFFER)
        .on_upgrade(async move |socket| {
            let tasks = server.tasks.clone();
            tasks.spawn("bridge", run(server, socket, wanted, place));
        })
}

/// One bridge, to its end. A refusal is a status too: a browser does not show a page why an upgrade was refused.
async fn run(
    server: Arc<Server>,
    socket: WebSocket,
    wanted: Wanted,
    place: Option<OwnedSemaphorePermit>,
) {
    let credit = Credit::new(wanted.window);
    let (mut page, mut from_page) = socket.split();
    let shutdown = server.tasks.shutdown();
    let ended = if place.is_some() {
        tokio::select! {
            biased;
            () = shutdown.draining() => Ok(Status::unavailable("the server is shutting down")),
            () = listen(&mut from_page, &credit) => Err(Unread),
            ended = forward(&server, &wanted, &mut page, &credit) => ended,
        }
    } else {
        Ok(Status::resource_exhausted(format!(
            "{MAX_BRIDGES} streams are shown on pages, which is the limit"
        )))
    };
    let Ok(status) = ended else { return };
    // Whoever has no place must not stay for the goodbye either.
    let patience = match place {
        Some(_) => PAGE_GOODBYE,
        None => CONNECTION_GRACE,
    };
    let goodbye = async {
        say_goodbye(&mut page, &status).await?;
        // Until the page has closed too: to close over what it still sends would reset the connection, and with it
        // what it has not read yet.
        listen(&mut from_page, &credit).await;
        Ok::<_, Unread>(())
    };
    let told = tokio::select! {
        told = timeout(patience, goodbye) => told,
        () = async {
            shutdown.draining().await;
            sleep(CONNECTION_GRACE).await;
        } => return,
    };
    if !matches!(told, Ok(Ok(()))) {
        tracing::debug!(
            job = wanted.job_id,
            "a page left before it was told how its stream ended"
        );
    }
}

/// Tells the page how its stream ended, after all its rows.
async fn say_goodbye(page: &mut Page, status: &Status) -> Result<(), Unread> {
    let status = json!({ "status": name(status.code()), "message": status.message() });
    send(page, Message::text(status.to_string())).await?;
    send(page, Message::Close(None)).await
}

/// Calls the job and forwards its messages, until the call ends.
async fn forward(
    server: &Server,
    wanted: &Wanted,
    page: &mut Page,
    credit: &Credit,
) -> Result<Status, Unread> {
    let mut rows = match dial::open(server, &wanted.job_id, wanted.stream).await {
        Ok(rows) => rows,
        Err(status) => return Ok(status),
    };
    send(page, Message::text(json!({ "event": "open" }).to_string())).await?;
    let mut ping = interval(PAGE_PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = async || -> Result<Option<Bytes>, Status> {
        match timeout(PAGE_PAUSE, credit.take()).await {
            Ok(()) => rows.message().await,
            Err(_) => Err(Status::deadline_exceeded(format!(
                "the page took no row for {} s",
                PAGE_PAUSE.as_secs()
            ))),
        }
    };
    loop {
        let mut row = pin!(next());
        let row = loop {
            tokio::select! {
                row = row.as_mut() => break row,
                _ = ping.tick() => send(page, Message::Ping(Bytes::new())).await?,
            }
        };
        match row {
            Ok(Some(row)) => send(page, Message::Binary(row)).await?,
            Ok(None) => return Ok(Status::new(Code::Ok, "")),
            Err(status) => return Ok(status),
        }
    }
}

/// A status as gRPC writes it.
const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
