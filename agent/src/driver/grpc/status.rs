//! How a gRPC call ended, as its server says.

use http::{HeaderMap, HeaderName, StatusCode};
use percent_encoding::percent_decode;
use testmesh_shared::grpc_status::name_of;
use testmesh_shared::plan::ErrorKind;

use crate::driver::contract::StageError;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// A gRPC status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// 0 is OK.
    pub(crate) code: i32,
    /// What the server says about it.
    pub(crate) message: String,
}

pub(crate) const OK: i32 = 0;
const UNKNOWN: i32 = 2;
const DEADLINE_EXCEEDED: i32 = 4;
const UNAVAILABLE: i32 = 14;

/// An answer that is not gRPC: what is known before it has a place.
#[derive(Debug)]
pub(crate) struct NotGrpc {
    status: StatusCode,
    content_type: String,
}

impl NotGrpc {
    /// As a stage's failure: `at` is the call and its server.
    pub(crate) fn at(&self, at: &str) -> StageError {
        let (kind, code) = match self.status.as_u16() {
            // What proxies answer for a server that is not there.
            429 | 502 | 503 | 504 => (ErrorKind::Unavailable, "http_status"),
            200 => (ErrorKind::Protocol, "not_grpc"),
            _ => (ErrorKind::Protocol, "http_status"),
        };
        let Self {
            status,
            content_type,
        } = self;
        let message = format!(
            "{at} answered HTTP {status} with content type `{content_type}` instead of gRPC"
        );
        StageError::new(kind, message)
            .with_code(code)
            .with_status(i64::from(status.as_u16()))
    }
}

impl Status {
    /// What an answer's headers say: nothing yet, or the status of an answer without messages.
    pub(crate) fn of_headers(
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, NotGrpc> {
        let content_type = headers
            .get(http::header::CONTENT_TYPE)
            .map(http::HeaderValue::as_bytes);
        let is_grpc = content_type.is_some_and(|value| value.starts_with(b"application/grpc"));
        match Self::of_trailers(headers) {
            Some(found) => Ok(Some(found)),
            None if is_grpc && status == StatusCode::OK => Ok(None),
            None => Err(NotGrpc {
                status,
                content_type: String::from_utf8_lossy(content_type.unwrap_or_default())
                    .into_owned(),
            }),
        }
    }

    /// What `grpc-status` and `grpc-message` say, if they are there.
    pub(crate) fn of_trailers(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get(GRPC_STATUS)?;
        // Not tonic's reader: it panics on details that do not decode, and what is measured here may send anything.
        let number = code.to_str().ok().and_then(|code| code.parse().ok());
        let message = headers
            .get(GRPC_MESSAGE)
            .map(|message| percent_decode(message.as_bytes()).decode_utf8_lossy());
        Some(Self {
            code: number.filter(|code| *code >= 0).unwrap_or(UNKNOWN),
            message: message.unwrap_or_default().into_owned(),
        })
    }

    /// The name that plans use.
    pub(crate) fn name(&self) -> &'static str {
        name_of(self.code.into()).unwrap_or("unknown")
    }

    /// What the stage fails with, unless it is OK or the plan reads or accepts it.
    pub(crate) fn failure(&self) -> Option<StageError> {
        let kind = match self.code {
            OK => return None,
            UNAVAILABLE => ErrorKind::Unavailable,
            DEADLINE_EXCEEDED => ErrorKind::Timeout,
            _ => ErrorKind::Status,
        };
        let text = match self.message.as_str() {
            "" => format!("status {}", self.name()),
            message => format!("status {}: {message}", self.name()),
        };
        Some(
            StageError::new(kind, text)
                .with_code(self.name())
                .with_status(i64::from(self.code)),
        )
    }
}

#[cfg(test)]
mod tests {
    use testmesh_shared::grpc_status::code_of;

    use super::*;

    #[test]
    fn statuses_have_the_kinds_that_retries_name() {
        let kind = |code| {
            Status {
                code,
                message: String::new(),
            }
            .failure()
            .map(|failure| failure.kind)
        };
        assert_eq!(kind(0), None);
        assert_eq!(kind(14), Some(ErrorKind::Unavailable));
        assert_eq!(kind(4), Some(ErrorKind::Timeout));
        assert_eq!(kind(5), Some(ErrorKind::Status));
        assert_eq!(code_of("not_found"), Some(5));
        assert_eq!(code_of("lost"), None);
    }

    #[test]
    fn whatever_a_server_writes_into_its_trailers_is_a_status() {
        let status = |pairs: &[(&'static str, &'static [u8])]| {
            let headers = pairs.iter().map(|(name, value)| {
                let value = http::HeaderValue::from_bytes(value).expect("a value");
                (HeaderName::from_static(name), value)
            });
            let found = Status::of_trailers(&headers.collect());
            found.map(|status| (status.code, status.message))
        };
        let text = |code, message: &str| Some((code, message.to_owned()));
        assert_eq!(status(&[("grpc-message", b"x")]), None);
        assert_eq!(
            status(&[("grpc-status", b"0"), ("grpc-status-details-bin", b"!!!")]),
            text(0, "")
        );
        assert_eq!(
            status(&[
                ("grpc-status", b"5"),
                ("grpc-message", b"no%20such %E2%98%83 %zz")
            ]),
            text(5, "no such \u{2603} %zz")
        );
        assert_eq!(
            status(&[("grpc-status", b"\xff"), ("grpc-message", b"\xfe")]),
            text(2, "\u{fffd}")
        );
        assert_eq!(status(&[("grpc-status", b"-1")]), text(2, ""));
        assert_eq!(status(&[("grpc-status", b"99")]), text(99, ""));
    }

    #[test]
    fn answers_that_are_not_grpc_are_told_apart() {
        let html = HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            "text/html".parse().expect("a value"),
        )]);
        let kind = |status| Status::of_headers(status, &html).map_err(|error| error.at("x").kind);
        assert_eq!(kind(StatusCode::BAD_GATEWAY), Err(ErrorKind::Unavailable));
        assert_eq!(kind(StatusCode::OK), Err(ErrorKind::Protocol));
    }
}
