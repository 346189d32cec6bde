//! Why a request is refused, and the one place where that becomes a status and a body.

use std::fmt;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

/// One problem of a body, as FastAPI words it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Problem {
    /// Kind, such as `missing` or `int_type`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Where: `body`, then keys.
    pub(crate) loc: Vec<String>,
    pub(crate) msg: String,
    /// What was found there.
    pub(crate) input: Value,
}

/// A refused request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    /// 422 with FastAPI's list: the body does not have the schema.
    Schema(Vec<Problem>),
    /// 400: it has, but means nothing that can be served.
    Meaning(String),
    /// 404.
    NotFound(&'static str),
    /// 409.
    Conflict(String),
    /// 400, as the real server refuses what it does not read to its end.
    TooLarge,
    /// 500, where the real server fails.
    Internal(String),
    /// 502 or 504, from the gateway in front of an overloaded server.
    Gateway(StatusCode),
    /// 503.
    Unavailable(String),
}

impl Refusal {
    /// A 400.
    pub(crate) fn meaning(message: impl Into<String>) -> Self {
        Self::Meaning(message.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema(problems) => {
                let texts: Vec<_> = problems
                    .iter()
                    .map(|problem| format!("{}: {}", problem.loc.join("."), problem.msg))
                    .collect();
                f.write_str(&texts.join(", "))
            }
            Self::Meaning(message)
            | Self::Conflict(message)
            | Self::Internal(message)
            | Self::Unavailable(message) => f.write_str(message),
            Self::NotFound(message) => f.write_str(message),
            Self::TooLarge => f.write_str("the request body is too large"),
            Self::Gateway(status) => write!(f, "{status}"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error =
            |status, message: String| (status, Json(json!({ "error": message }))).into_response();
        match self {
            Self::Schema(problems) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                Json(json!({ "detail": problems })),
            )
                .into_response(),
            Self::Meaning(message) => error(StatusCode::BAD_REQUEST, message),
            Self::NotFound(message) => error(StatusCode::NOT_FOUND, message.to_owned()),
            Self::Conflict(message) => error(StatusCode::CONFLICT, message),
            Self::TooLarge => error(
                StatusCode::BAD_REQUEST,
                "the request body is too large".to_owned(),
            ),
            Self::Internal(message) => error(StatusCode::INTERNAL_SERVER_ERROR, message),
            Self::Gateway(status) => (status, status.to_string()).into_response(),
            Self::Unavailable(message) => error(StatusCode::SERVICE_UNAVAILABLE, message),
        }
    }
}
