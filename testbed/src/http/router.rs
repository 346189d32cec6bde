//! Routes, and what holds for every request: unknown routes, wrong methods, CORS, and the caller's trace.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, body::Body};
use serde_json::json;
use tracing::Instrument;

use super::{admin, configure, pages, reads, task_flow};
use crate::limits::MAX_BODY;
use crate::server::Server;
use crate::trace;
use crate::ui;

/// Builds the API.
pub(crate) fn router(server: Arc<Server>) -> Router {
    let deployed = Router::new()
        .route("/configure", post(configure::configure))
        // FastAPI does not answer HEAD where only GET is declared.
        .route("/ack", get(reads::ack).head(not_allowed))
        .route("/channels", get(reads::channels).head(not_allowed))
        .route(
            "/live_metadata",
            get(reads::live_metadata).head(not_allowed),
        )
        .route("/metadata/{job_id}", get(reads::metadata))
        .route(
            "/recordings_in_time_range",
            post(reads::recordings_in_time_range),
        )
        .route("/get_recordings_timeline", get(reads::recordings_timeline))
        .route("/openapi.json", get(reads::openapi))
        .route("/docs", get(pages::docs))
        .route("/_testbed", get(admin::status))
        .route(
            "/_testbed/behaviors",
            get(admin::behaviors).put(admin::set_behaviors),
        )
        .route(
            "/_testbed/rows",
            get(admin::rows_of_job).post(admin::rows_of_request),
        );
    let served = if task_flow::is_served(&server) {
        deployed
            .route("/sensors", get(task_flow::sensors))
            .route("/config/{task_id}", post(task_flow::configure))
            .route(
                "/waterfall/{task_id}/{row_count}",
                get(task_flow::waterfall),
            )
    } else {
        deployed
    };
    served
        .merge(ui::routes())
        .fallback(async || detail(StatusCode::NOT_FOUND, "Not Found"))
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(cross_origin))
        .layer(from_fn(traced))
        .with_state(server)
}

async fn not_allowed() -> Response {
    detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}

fn detail(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({ "detail": detail }))).into_response()
}

/// A server span for every request, under the caller's.
async fn traced(request: Request, next: Next) -> Response {
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{} {}", request.method(), request.uri().path()),
        otel.kind = "server",
        http.request.method = %request.method(),
        url.path = request.uri().path(),
        http.response.status_code = tracing::field::Empty,
    );
    trace::join(&span, request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

/// Open to all origins, as deployed.
async fn cross_origin(request: Request, next: Next) -> Response {
    let from_elsewhere = request.headers().contains_key(header::ORIGIN);
    let preflight = from_elsewhere
        && request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight {
        Response::new(Body::from("OK"))
    } else {
        next.run(request).await
    };
    if from_elsewhere {
        let any = HeaderValue::from_static("*");
        response
            .headers_mut()
            .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any.clone());
        if preflight {
            response
                .headers_mut()
                .insert(header::ACCESS_CONTROL_ALLOW_METHODS, any.clone());
            response
                .headers_mut()
                .insert(header::ACCESS_CONTROL_ALLOW_HEADERS, any);
        }
    }
    response
}
