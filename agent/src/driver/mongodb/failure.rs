//! What an error of the client means for a stage.

use mongodb::error::{Error, ErrorKind as Kind, WriteFailure};
use testmesh_shared::plan::ErrorKind;

use crate::driver::contract::StageError;

/// An error that the server answered with: no failure of the transport, but an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The server's code: 11000 for a duplicate key.
    pub(super) code: i32,
    /// The code's name; empty if the server gives none.
    pub(super) name: String,
    pub(super) message: String,
    /// Which of several documents it was about; those before it were written.
    pub(super) index: Option<usize>,
}

impl Refusal {
    /// The answer in an error, if it is one.
    pub(super) fn of(error: &Error) -> Option<Self> {
        let refusal = |code, name: &str, message: &str, index| Self {
            code,
            name: name.to_owned(),
            message: message.to_owned(),
            index,
        };
        match &*error.kind {
            Kind::Command(error) => {
                Some(refusal(error.code, &error.code_name, &error.message, None))
            }
            Kind::Write(WriteFailure::WriteError(error)) => Some(refusal(
                error.code,
                error.code_name.as_deref().unwrap_or_default(),
                &error.message,
                None,
            )),
            Kind::Write(WriteFailure::WriteConcernError(error)) => {
                Some(refusal(error.code, &error.code_name, &error.message, None))
            }
            Kind::InsertMany(many) => {
                let first = many.write_errors.as_ref().and_then(|all| all.first());
                if let Some(first) = first {
                    let name = first.code_name.as_deref().unwrap_or_default();
                    return Some(refusal(first.code, name, &first.message, Some(first.index)));
                }
                let concern = many.write_concern_error.as_ref()?;
                Some(refusal(
                    concern.code,
                    &concern.code_name,
                    &concern.message,
                    None,
                ))
            }
            _ => None,
        }
    }

    /// As the failure of a stage that does not read `status`.
    pub(super) fn failure(&self, doing: &str) -> StageError {
        let name = match self.name.as_str() {
            "" => "error",
            name => name,
        };
        let message = format!("{doing}: {name} ({}): {}", self.code, self.message);
        StageError::new(ErrorKind::Status, message).with_status(i64::from(self.code))
    }
}

/// The code of a failed authentication.
const AUTHENTICATION_FAILED: i32 = 18;

/// What the standard library says of a name that nobody knows; the error has no kind of its own.
const LOOK_UP: &str = "lookup address information";

/// A failure that is no answer to the operation.
pub(super) fn failure(doing: &str, error: &Error) -> StageError {
    if let Some(refusal) = Refusal::of(error) {
        return refusal.failure(doing);
    }
    let failed = |kind, text: &str| StageError::new(kind, format!("{doing}: {text}"));
    match &*error.kind {
        Kind::Io(io) if io.to_string().contains(LOOK_UP) => {
            failed(ErrorKind::Unavailable, &io.to_string()).with_code("dns")
        }
        Kind::Io(io) => StageError::io(doing, io),
        Kind::Authentication { message, .. } => {
            // The server's own words, where there are some, are behind it.
            let source = std::error::Error::source(error);
            let source = source.and_then(|source| source.downcast_ref::<Error>());
            let refusal = source.and_then(Refusal::of);
            let code = refusal
                .as_ref()
                .map_or(AUTHENTICATION_FAILED, |said| said.code);
            let text = match refusal {
                Some(said) => format!("{message}: {}", said.message),
                None => message.clone(),
            };
            failed(ErrorKind::Status, &text)
                .with_code("auth")
                .with_status(i64::from(code))
        }
        Kind::ServerSelection { message, .. } => failed(ErrorKind::Unavailable, message),
        Kind::ConnectionPoolCleared { message, .. } => failed(ErrorKind::Unavailable, message),
        Kind::Shutdown => failed(ErrorKind::Unavailable, "the client has been shut down"),
        Kind::DnsResolve { message, .. } => {
            failed(ErrorKind::Unavailable, message).with_code("dns")
        }
        Kind::InvalidResponse { message, .. } => {
            failed(ErrorKind::Protocol, message).with_code("garbage")
        }
        Kind::BsonDeserialization(error) => {
            failed(ErrorKind::Protocol, &error.to_string()).with_code("garbage")
        }
        Kind::InvalidTlsConfig { message, .. } => {
            failed(ErrorKind::Protocol, message).with_code("tls")
        }
        Kind::InvalidArgument { message, .. } => {
            failed(ErrorKind::Expectation, message).with_code("bad_request")
        }
        Kind::BsonSerialization(error) => {
            failed(ErrorKind::Expectation, &error.to_string()).with_code("bad_request")
        }
        Kind::Bson(error) => {
            failed(ErrorKind::Expectation, &error.to_string()).with_code("bad_request")
        }
        Kind::IncompatibleServer { message, .. } => {
            failed(ErrorKind::Protocol, message).with_code("incompatible")
        }
        other => failed(ErrorKind::Internal, &other.to_string()),
    }
}
