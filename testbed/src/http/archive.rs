//! Recordings for a request, or the refusal that their absence makes.

use testmesh_shared::error::Chain;

use super::refusal::Refusal;
use crate::archive::{Recorded, Recording};
use crate::server::Server;
use crate::store::StoreError;
use crate::view::Source;

/// What a request's job would play; a live one needs no recordings.
///
/// # Errors
///
/// 404 if nothing was recorded in its range, 503 if MongoDB did not say. Cancel safe.
pub(super) async fn recorded(server: &Server, source: Source) -> Result<Recorded, Refusal> {
    let (start, end) = match source {
        Source::Historic { start, end } => (start, end),
        Source::Live => {
            let now = server.clock.now_s();
            return Ok(Recorded::Rule { now });
        }
    };
    let found = server.archive.recorded(server.lookup(start, end)).await;
    let found = found.map_err(|error| refuse(&error))?;
    if found.is_empty(start, end) {
        return Err(Refusal::NotFound("No recording found in given time range"));
    }
    Ok(found)
}

/// The recordings that touch a range of epoch seconds.
///
/// # Errors
///
/// 503 if MongoDB did not say. Cancel safe.
pub(super) async fn list(server: &Server, start: u64, end: u64) -> Result<Vec<Recording>, Refusal> {
    let found = server.archive.list(server.lookup(start, end)).await;
    found.map_err(|error| refuse(&error))
}

/// What a client may know: no address, nothing of the driver's.
fn refuse(error: &StoreError) -> Refusal {
    match error {
        StoreError::TooMany { .. } => Refusal::Meaning(error.to_string()),
        StoreError::Failed { .. } | StoreError::TimedOut { .. } => {
            tracing::warn!(error = %Chain(error), "a request is refused");
            Refusal::Unavailable(format!("MongoDB is unavailable: {error}"))
        }
    }
}
